//! Where the society's records stand. A first byte tells the record's type, all parts are of fixed length.

use chaoschain_schemas::society::{ContestedFact, DueKind};
use chaoschain_schemas::{
    AgentId, AllianceId, ConflictId, EventAddress, Height, MemeId, NameHash, Timestamp,
};
use chaoschain_state::{DOMAIN_FIRST, Key, SubTree};

/// The sub-tree of agents, their entries and how they changed.
pub const AGENTS: SubTree = DOMAIN_FIRST;
/// The sub-tree of alliances, relationships, influence, drama, what is due, and conflicts.
pub const SOCIAL: SubTree = DOMAIN_FIRST + 1;
/// The sub-tree of memes and of who moved them.
pub const MEMES: SubTree = DOMAIN_FIRST + 2;

pub(crate) const TAG_AGENT_COUNT: u8 = 0x00;
pub(crate) const TAG_AGENT: u8 = 0x01;
pub(crate) const TAG_ENTRY: u8 = 0x02;
pub(crate) const TAG_ORDINAL: u8 = 0x03;
pub(crate) const TAG_PERSONALITY: u8 = 0x04;
pub(crate) const TAG_ALLIANCE: u8 = 0x01;
pub(crate) const TAG_RELATIONSHIP: u8 = 0x02;
pub(crate) const TAG_INFLUENCE: u8 = 0x03;
pub(crate) const TAG_DRAMA: u8 = 0x04;
pub(crate) const TAG_DUE: u8 = 0x05;
pub(crate) const TAG_CONFLICT: u8 = 0x06;
pub(crate) const TAG_OPEN_CONFLICT: u8 = 0x07;
pub(crate) const TAG_CONFLICT_COUNTS: u8 = 0x08;
pub(crate) const TAG_OPEN_REPORT: u8 = 0x09;
pub(crate) const TAG_MEME: u8 = 0x01;
pub(crate) const TAG_INFLUENCE_TURN: u8 = 0x02;
pub(crate) const TAG_REACTION: u8 = 0x03;

/// How many agents there are.
pub fn agent_count() -> Key {
    Key::new(AGENTS, &[&[TAG_AGENT_COUNT]])
}

/// An agent.
pub fn agent(id: &AgentId) -> Key {
    Key::new(AGENTS, &[&[TAG_AGENT], id.as_bytes()])
}

/// An entry of `owner`'s.
pub fn entry(owner: &AgentId, namespace: &str, key: &str) -> Key {
    let (namespace, key) = (NameHash::of(namespace.as_bytes()), NameHash::of(key.as_bytes()));
    Key::new(AGENTS, &[&[TAG_ENTRY], owner.as_bytes(), namespace.as_bytes(), key.as_bytes()])
}

/// The agent of an ordinal.
pub fn ordinal(ordinal: u64) -> Key {
    Key::new(AGENTS, &[&[TAG_ORDINAL], &ordinal.to_be_bytes()])
}

/// How an agent changed its personality.
pub fn personality(id: &AgentId) -> Key {
    Key::new(AGENTS, &[&[TAG_PERSONALITY], id.as_bytes()])
}

/// An alliance.
pub fn alliance(id: &AllianceId) -> Key {
    Key::new(SOCIAL, &[&[TAG_ALLIANCE], id.as_bytes()])
}

/// The view that `from` has of `to`.
pub fn relationship(from: &AgentId, to: &AgentId) -> Key {
    Key::new(SOCIAL, &[&[TAG_RELATIONSHIP], from.as_bytes(), to.as_bytes()])
}

/// How far a meme carries.
pub fn influence(meme: &MemeId) -> Key {
    Key::new(SOCIAL, &[&[TAG_INFLUENCE], meme.as_bytes()])
}

/// The drama event that came of the transition at this address.
pub fn drama(address: EventAddress) -> Key {
    let EventAddress { height, index } = address;
    Key::new(SOCIAL, &[&[TAG_DRAMA], &height.0.to_be_bytes(), &index.to_be_bytes()])
}

/// What is due at `time`; the first key of a time has the lowest kind and id.
pub fn due(time: Timestamp, kind: DueKind, id: &[u8; 32]) -> Key {
    Key::new(SOCIAL, &[&[TAG_DUE], &time.0.to_be_bytes(), &[kind as u8], id])
}

/// The last key that a drama event can have.
pub fn drama_last() -> Key {
    drama(EventAddress { height: Height(u64::MAX), index: u32::MAX })
}

/// The first and the last key of the due queue up to `time`, which is included.
pub fn due_until(time: Timestamp) -> (Key, Key) {
    let first = Key::new(SOCIAL, &[&[TAG_DUE]]);
    (first, first.then(&time.0.to_be_bytes()).upper_bound())
}

/// A conflict.
pub fn conflict(id: &ConflictId) -> Key {
    Key::new(SOCIAL, &[&[TAG_CONFLICT], id.as_bytes()])
}

/// The open conflict about a fact.
pub fn open_conflict(fact: &ContestedFact) -> Key {
    Key::new(SOCIAL, &[&[TAG_OPEN_CONFLICT], fact.agent.as_bytes(), &[fact.field as u8]])
}

/// The open conflict about a fact that `reporter` has contested.
pub fn open_report(reporter: &AgentId) -> Key {
    Key::new(SOCIAL, &[&[TAG_OPEN_REPORT], reporter.as_bytes()])
}

/// How many conflicts there are.
pub fn conflict_counts() -> Key {
    Key::new(SOCIAL, &[&[TAG_CONFLICT_COUNTS]])
}

/// A meme.
pub fn meme(id: &MemeId) -> Key {
    Key::new(MEMES, &[&[TAG_MEME], id.as_bytes()])
}

/// When `author` last moved the influence of `meme`.
pub fn influence_turn(meme: &MemeId, author: &AgentId) -> Key {
    Key::new(MEMES, &[&[TAG_INFLUENCE_TURN], meme.as_bytes(), author.as_bytes()])
}

/// The reaction of `author` to `meme`.
pub fn reaction(meme: &MemeId, author: &AgentId) -> Key {
    Key::new(MEMES, &[&[TAG_REACTION], meme.as_bytes(), author.as_bytes()])
}
