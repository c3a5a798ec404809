//! Every bound on size, count and depth that the formats know, in one place. All are checked before allocating.

use crate::Micros;

/// The longest state key, bytes.
pub const KEY_BYTES_MAX: usize = 96;
/// The longest value of a state record, bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The most nested a MessagePack document may be, levels.
pub const DOCUMENT_DEPTH_MAX: usize = 16;
/// The largest payload of one transition, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// The largest signed body, bytes.
pub const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4 * 1024;
/// The largest envelope (a body and its signatures), bytes.
pub const ENVELOPE_BYTES_MAX: usize = BODY_BYTES_MAX + 12 * 1024;
/// The most signatures on one envelope: the author's and 63 further parties'.
pub const SIGNATURES_MAX: usize = 64;
/// Independent nonce lanes of an account.
pub const LANES: usize = 16;
/// The most expectations one transition may state.
pub const EXPECTS_MAX: usize = 8;
/// The largest header, bytes.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;
/// The most sub-trees a chain may have, the kernel's two included.
pub const SUB_TREES_MAX: usize = 16;
/// The largest block, bytes: below the 1 MiB that NATS accepts by default.
pub const BLOCK_BYTES_MAX: usize = 900 * 1024;
/// The most events in one block.
pub const BLOCK_EVENTS_MAX: usize = 8192;
/// The largest genesis document, bytes.
pub const GENESIS_BYTES_MAX: usize = 512 * 1024;
/// The largest proof that is read, bytes.
pub const PROOF_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest attestation with its signature, bytes.
pub const ATTESTATION_BYTES_MAX: usize = 512;
/// The most validators of a chain.
pub const VALIDATORS_MAX: usize = 256;
/// The most elements (leaves, nodes, hashes) of a proof.
pub const PROOF_ELEMENTS_MAX: usize = 64 * 1024;
/// The largest encoded parameters of a domain, bytes. As many as can be scheduled fit into one record.
pub const DOMAIN_PARAMETERS_BYTES_MAX: usize = 3 * 1024;
/// The longest reason of a suspension or a change of parameters, bytes.
pub const REASON_BYTES_MAX: usize = 256;
/// The most changes that wait for their height at a time.
pub const SCHEDULED_MAX: usize = 16;
/// How far ahead of its event's block a change may be scheduled, blocks.
pub const SCHEDULE_AHEAD_MAX: u64 = 10_000_000;
/// The least that a chain may let block time advance at once: an hour. After an idle span block time comes up to the clock by
/// steps of empty blocks, and nothing else is sealed until it has: with steps of a second, a day would take 86,400 blocks.
pub const TIME_STEP_MIN: Micros = Micros::from_secs(3600);
/// The most that a chain may let block time advance at once: a hundred years, for imports.
pub const TIME_STEP_MAX: Micros = Micros::from_secs(100 * 365 * 24 * 3600);
/// The shortest bound on how far ahead of block time `valid_until` may lie: less, and nobody could submit.
pub const VALID_UNTIL_MIN: Micros = Micros::from_secs(1);
/// The longest bound on how far ahead of block time `valid_until` may lie: a year.
pub const VALID_UNTIL_MAX: Micros = Micros::from_secs(365 * 24 * 3600);
/// The shortest window in which an author's transitions are counted.
pub const AUTHOR_WINDOW_MIN: Micros = Micros::from_secs(1);
/// The longest window in which an author's transitions are counted: a day.
pub const AUTHOR_WINDOW_MAX: Micros = Micros::from_secs(24 * 3600);
/// The largest witness of a block that is written and read, bytes. A block of 8,192 events of the society over a state of a
/// million records needs a few MiB. The dearest blocks there are stay below: 680 interactions, as many as a block has room
/// for, with 32 targets each and profiles of up to 5 KiB show about 105 MiB, 16 conflict reports with 1,024 draws each
/// about 84 MiB.
pub const WITNESS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The most elements (leaves, nodes, hashes) that all pruned trees of a witness have together.
pub const WITNESS_ELEMENTS_MAX: usize = 1024 * 1024;

// The society domain. Texts are measured in bytes of UTF-8.

/// The longest reason of a status change, bytes.
pub const STATUS_REASON_BYTES_MAX: usize = 256;
/// The fewest members of an alliance.
pub const ALLIANCE_MEMBERS_MIN: usize = 2;
/// The most members of an alliance: as many as may sign one envelope.
pub const ALLIANCE_MEMBERS_MAX: usize = SIGNATURES_MAX;
/// The most alliances an agent may be in at a time.
pub const AGENT_ALLIANCES_MAX: usize = 64;
/// The longest text of an alliance's own purpose, bytes.
pub const PURPOSE_BYTES_MAX: usize = 64;
/// The most conditions of an alliance.
pub const ALLIANCE_CONDITIONS_MAX: usize = 8;
/// The longest condition of an alliance, bytes.
pub const ALLIANCE_CONDITION_BYTES_MAX: usize = 256;
/// The most agents that one social interaction is aimed at.
pub const INTERACTION_TARGETS_MAX: usize = 32;
/// The highest drama level.
pub const DRAMA_MAX: u8 = 10;
/// How many of its latest events a relationship names.
pub const RELATIONSHIP_EVENTS_MAX: usize = 16;
/// The largest content that travels with a meme, bytes.
pub const MEME_INLINE_BYTES_MAX: usize = 64 * 1024;
/// The longest metadata of a meme, bytes.
pub const MEME_METADATA_BYTES_MAX: usize = 512;
/// The most memes that a meme refers to.
pub const MEME_REFERENCES_MAX: usize = 16;
/// The most tags of a meme.
pub const MEME_TAGS_MAX: usize = 16;
/// The longest tag, bytes.
pub const MEME_TAG_BYTES_MAX: usize = 32;
/// The most agents that a meme is aimed at.
pub const MEME_TARGETS_MAX: usize = 32;
/// The most agents whose views one influence moves.
pub const INFLUENCE_AFFECTED_MAX: usize = 32;
/// The longest namespace of an entry, bytes.
pub const ENTRY_NAMESPACE_BYTES_MAX: usize = 32;
/// The longest key of an entry, bytes.
pub const ENTRY_KEY_BYTES_MAX: usize = 64;
/// The longest value of an entry, bytes.
pub const ENTRY_VALUE_BYTES_MAX: usize = 4 * 1024;
/// The longest text that goes with an act in the society (a reason, an action, a description), bytes.
pub const ACT_TEXT_BYTES_MAX: usize = 256;
/// The most due entries that are handled at the start of one block.
pub const DUE_ENTRIES_MAX: usize = 256;
/// The most work that is done on due entries at the start of one block, in units of one member, elector or
/// party; a single entry may go beyond.
pub const DUE_WORK_MAX: u32 = 2048;
/// The most claims of one conflict report; with what stands, they are the options.
pub const CONFLICT_CLAIMS_MAX: usize = 7;
/// The most electors of a conflict.
pub const CONFLICT_ELECTORS_MAX: usize = 128;
/// How often an ordinal is drawn at most to find a conflict's electors.
pub const CONFLICT_DRAWS_MAX: u32 = 1024;
/// The most conflicts that are opened in one block.
pub const CONFLICTS_OPENED_MAX: u32 = 16;
/// The most conflicts that are open at a time.
pub const CONFLICTS_OPEN_MAX: u32 = 4096;
