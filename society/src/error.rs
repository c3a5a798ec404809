//! Why the society refuses a transition.

use chaoschain_schemas::limits::{AGENT_ALLIANCES_MAX, DRAMA_MAX};
use chaoschain_schemas::society::{DramaKind, Personality};
use chaoschain_schemas::{AgentId, AllianceId, Fixed, Hash, MemeId, Micros, Timestamp};
use chaoschain_state::Rejection;

use crate::conflict::ConflictError;

/// Why the society refuses a transition; [`SocietyError::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SocietyError {
    /// The account, if there is one, is not registered as an agent.
    #[error("{0} is not registered as an agent")]
    AgentUnknown(AgentId),
    /// The author is an agent already.
    #[error("{0} is registered as an agent already")]
    AgentExists(AgentId),
    /// An agent chose a status that only the kernel gives.
    #[error("no agent can choose the status Suspended")]
    StatusReserved,
    /// Maintenance without an expected duration, or another status with one.
    #[error("an expected duration is needed for Maintenance, above 0, and taken for no other status")]
    StatusDuration,
    /// The author has this personality already.
    #[error("the author is {0} already")]
    PersonalityUnchanged(Personality),
    /// A number is not in its range.
    #[error("{what} is {got}, not in {low} to {high}")]
    OutOfRange {
        /// Which.
        what: &'static str,
        /// The number.
        got: Fixed,
        /// The least it may be.
        low: Fixed,
        /// The most it may be.
        high: Fixed,
    },
    /// The drama level is too high.
    #[error("drama is {0}, not in 0 to {DRAMA_MAX}")]
    DramaOutOfRange(u8),
    /// The author named itself where it must name others.
    #[error("the author cannot be among the {0}")]
    SelfDirected(&'static str),
    /// The author reacts to a meme of its own.
    #[error("meme {0} is the author's own, nobody reacts to its own memes")]
    OwnMeme(MemeId),
    /// The author has rated the subject as often as the parameters allow.
    #[error(
        "the author has rated {subject} {max} times, as often as the parameter ratings_per_subject_max allows"
    )]
    RatingsExhausted {
        /// Who is rated.
        subject: AgentId,
        /// How often one agent may rate another.
        max: u32,
    },
    /// A kind of drama that comes of what agents do and is not theirs to record.
    #[error("drama of kind {0} comes of what agents do; only Drama and Chaos can be recorded")]
    DramaKind(DramaKind),
    /// A list names something twice.
    #[error("the {list} name {item} more than once")]
    Duplicate {
        /// Which list.
        list: &'static str,
        /// What it names twice.
        item: String,
    },
    /// The author forms or revives an alliance without itself.
    #[error("the author {0} is not among the members")]
    AuthorNotMember(AgentId),
    /// An alliance for no time or for too long.
    #[error("the alliance would last {got} µs, not 1 to {max}")]
    AllianceDuration {
        /// How long.
        got: Micros,
        /// How long it may last.
        max: Micros,
    },
    /// A member is in as many live alliances as an agent may be.
    #[error("{0} is in {AGENT_ALLIANCES_MAX} live alliances, no agent can be in more")]
    AllianceLimit(AgentId),
    /// The members are in more than one other live exclusive alliance of the same purpose.
    #[error(
        "the members are in {count} live alliances that are exclusive for the same purpose, {first} and {second} among \
         them; an alliance can be in conflict with one other"
    )]
    AllianceOverlap {
        /// How many.
        count: usize,
        /// The one with the lowest id.
        first: AllianceId,
        /// The next.
        second: AllianceId,
    },
    /// The alliance is in an open conflict.
    #[error("alliance {0} is in an open conflict; wait until that is decided")]
    AllianceContested(AllianceId),
    /// What is refused about conflicts.
    #[error(transparent)]
    Conflict(#[from] ConflictError),
    /// There is no such alliance.
    #[error("there is no alliance {0}")]
    AllianceUnknown(AllianceId),
    /// The alliance is dissolved or its time is over.
    #[error("alliance {alliance} has been over since {since} µs")]
    AllianceOver {
        /// The alliance.
        alliance: AllianceId,
        /// The block time of its end.
        since: Timestamp,
    },
    /// The author is not a member of the alliance.
    #[error("the author is not a member of alliance {0}")]
    NotMember(AllianceId),
    /// Only an alliance that was left or betrayed can be revived.
    #[error("alliance {0} was neither left by all but one nor betrayed; nothing else can be reconciled")]
    AllianceNotDissolved(AllianceId),
    /// The named members are not those of the alliance.
    #[error("the named members are not those that alliance {0} had at its end")]
    MembersDiffer(AllianceId),
    /// A member has betrayed an alliance not long ago.
    #[error("{member} betrayed an alliance and can join no exclusive one before {until} µs")]
    BetrayalRemembered {
        /// The member.
        member: AgentId,
        /// The block time from which on it may.
        until: Timestamp,
    },
    /// The inline content is not what its hash and size say.
    #[error("the inline content has {got_size} bytes and hash {got}, announced are {want_size} and {want}")]
    ContentMismatch {
        /// The announced hash.
        want: Hash,
        /// The announced size, bytes.
        want_size: u64,
        /// The content's hash.
        got: Hash,
        /// The content's size, bytes.
        got_size: u64,
    },
    /// There is no such meme.
    #[error("meme {0} is not published")]
    MemeUnknown(MemeId),
    /// The impact is further from 0 than the author's influence.
    #[error("impact {impact} is beyond the author's influence, {influence} with what its alliances add")]
    ImpactTooLarge {
        /// The impact.
        impact: Fixed,
        /// The author's influence, with what its alliances add.
        influence: Fixed,
    },
    /// The author has moved this meme's influence within this hour of block time.
    #[error(
        "the author has influenced meme {meme} in this hour of block time; the next hour starts in {wait} µs"
    )]
    InfluenceTurnTaken {
        /// The meme.
        meme: MemeId,
        /// How much block time is left of the hour.
        wait: Micros,
    },
    /// The author has reacted to this meme.
    #[error("the author has reacted to meme {0} already")]
    ReactionTaken(MemeId),
    /// An influence would move the creator's view of itself.
    #[error("{0} published the meme and cannot be among the affected agents")]
    CreatorAffected(AgentId),
    /// The author has no such entry.
    #[error("the author has no entry {key:?} in namespace {namespace:?}")]
    EntryUnknown {
        /// The namespace.
        namespace: String,
        /// The key.
        key: String,
    },
    /// Another name of the author's has the same hash.
    #[error(
        "entry {key:?} in namespace {namespace:?} has the same hash and stands there already; choose another name"
    )]
    NameCollision {
        /// The other's namespace.
        namespace: String,
        /// The other's key.
        key: String,
    },
}

impl SocietyError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AgentUnknown(_) => "agent_unknown",
            Self::AgentExists(_) => "agent_exists",
            Self::StatusReserved => "status_reserved",
            Self::StatusDuration => "status_duration",
            Self::PersonalityUnchanged(_) => "personality_unchanged",
            Self::OutOfRange { .. } | Self::DramaOutOfRange(_) => "out_of_range",
            Self::SelfDirected(_) | Self::OwnMeme(_) => "self_directed",
            Self::RatingsExhausted { .. } => "ratings_exhausted",
            Self::DramaKind(_) => "drama_kind",
            Self::Duplicate { .. } => "duplicate",
            Self::AuthorNotMember(_) => "author_not_member",
            Self::AllianceDuration { .. } => "alliance_duration",
            Self::AllianceLimit(_) => "alliance_limit",
            Self::AllianceOverlap { .. } => "alliance_overlap",
            Self::AllianceContested(_) => "alliance_contested",
            Self::Conflict(error) => error.code(),
            Self::AllianceUnknown(_) => "alliance_unknown",
            Self::AllianceOver { .. } => "alliance_over",
            Self::NotMember(_) => "not_member",
            Self::AllianceNotDissolved(_) => "alliance_not_dissolved",
            Self::MembersDiffer(_) => "members_differ",
            Self::BetrayalRemembered { .. } => "betrayal_remembered",
            Self::ContentMismatch { .. } => "content_mismatch",
            Self::MemeUnknown(_) => "meme_unknown",
            Self::ImpactTooLarge { .. } => "impact_too_large",
            Self::InfluenceTurnTaken { .. } => "influence_turn_taken",
            Self::ReactionTaken(_) => "reaction_taken",
            Self::CreatorAffected(_) => "creator_affected",
            Self::EntryUnknown { .. } => "entry_unknown",
            Self::NameCollision { .. } => "name_collision",
        }
    }
}

impl From<SocietyError> for Rejection {
    fn from(error: SocietyError) -> Self {
        Self::domain(error.code(), error.to_string())
    }
}
