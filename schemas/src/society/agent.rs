//! Agents: who takes part, and what others think of them.

use serde::{Deserialize, Serialize};

use super::alliance::Benefit;
use super::{Payload, check_text};
use crate::limits::{ACT_TEXT_BYTES_MAX, STATUS_REASON_BYTES_MAX};
use crate::{AgentId, AllianceId, Fixed, Micros, NameHash, Timestamp, code_enum};

code_enum! {
    /// How an agent is disposed.
    Personality {
        /// Keeps to the rules.
        Lawful = 0,
        /// Takes no side.
        Neutral = 1,
        /// Breaks things to see what happens.
        Chaotic = 2,
        /// Lives for memes.
        Memetic = 3,
        /// Wants more.
        Greedy = 4,
        /// Wants a stage.
        Dramatic = 5,
        /// Reasons.
        Rational = 6,
        /// Feels.
        Emotional = 7,
        /// Plans ahead.
        Strategic = 8,
    }
}

code_enum! {
    /// What an agent is doing.
    AgentStatus {
        /// Takes part.
        Active = 0,
        /// Does not take part for now.
        Inactive = 1,
        /// Is being worked on, for an expected time.
        Maintenance = 2,
        /// May submit nothing. It is the kernel's word, so no [`Agent`] record holds it and no agent can choose it.
        Suspended = 3,
    }
}

/// What the society knows of an agent; its key, nonces and last activity are in the kernel's account of the same id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// How it is disposed.
    pub personality: Personality,
    /// What others think of it, in \[0, 1\].
    pub reputation: Fixed,
    /// How far its memes carry, in \[0, 1\].
    pub influence: Fixed,
    /// What it is doing.
    pub status: AgentStatus,
    /// Why, in its own words; empty before its first status change.
    pub status_reason: String,
    /// Block time of the last status change, or of its registration.
    pub status_since: Timestamp,
    /// How long the status is expected to last; only for maintenance.
    pub status_expected: Option<Micros>,
    /// Its alliances in the order of their formation, at most [`crate::limits::AGENT_ALLIANCES_MAX`]. Expired ones stay
    /// listed until the list is next written.
    pub alliances: Vec<Membership>,
    /// Block time of its registration.
    pub registered_at: Timestamp,
    /// How many agents were registered before it.
    pub ordinal: u64,
    /// Block time of its last betrayal; known from rules version 2 on. The record ends before this field where there is
    /// none, as every record of version 1 does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub betrayed_at: Option<Timestamp>,
}

/// An agent's own note of an alliance that it is a member of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The alliance.
    pub id: AllianceId,
    /// The block time from which on it is no more.
    pub expires_at: Timestamp,
    /// The purpose it is exclusive for, by the hash of the purpose's bytes; `None` when it is not exclusive.
    pub exclusive_for: Option<NameHash>,
    /// What members promised one another.
    pub benefits: Vec<Benefit>,
    /// The alliance's strength when it was formed, in \[0, 1\]; what its benefits are worth.
    pub strength: Fixed,
    /// Whether the alliance is in an open conflict; its benefits rest until that is decided.
    pub contested: bool,
}

/// How many agents there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgentCount {
    /// The number of registered agents, and the ordinal of the next.
    pub agents: u64,
}

/// The agent of an ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentOrdinal {
    /// Who was registered as that one.
    pub agent: AgentId,
}

/// How often an agent has changed its own personality, and the last time it did. There is none before the first change;
/// what a conflict decided is in the conflict's record alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalityHistory {
    /// How many changes there were; stays at its largest value once there.
    pub count: u32,
    /// What it was before the last one, whoever had made it so.
    pub old: Personality,
    /// What the agent made it.
    pub new: Personality,
    /// Why, in its own words.
    pub reason: String,
    /// How dramatic it was, 0 to 10.
    pub drama: u8,
    /// Block time of the last change.
    pub changed_at: Timestamp,
}

/// Makes the author an agent; registers its account as well where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRegistration {
    /// How it is disposed.
    pub personality: Personality,
}

impl Payload for AgentRegistration {
    const KIND: u16 = 256;
    const NAME: &'static str = "AgentRegistration";
}

/// Changes the author's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusUpdate {
    /// The new status; not suspended.
    pub status: AgentStatus,
    /// Why, 1 to [`STATUS_REASON_BYTES_MAX`] bytes.
    pub reason: String,
    /// How long it is expected to last: more than 0 for maintenance, `None` for everything else.
    pub expected: Option<Micros>,
}

impl Payload for StatusUpdate {
    const KIND: u16 = 257;
    const NAME: &'static str = "StatusUpdate";

    fn check(&self) -> Result<(), String> {
        check_text("reason", &self.reason, 1, STATUS_REASON_BYTES_MAX)
    }
}

/// Rates another agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReputationUpdate {
    /// Who is rated; not the author.
    pub subject: AgentId,
    /// The rating, in \[−1, 1\].
    pub rating: Fixed,
}

impl Payload for ReputationUpdate {
    const KIND: u16 = 258;
    const NAME: &'static str = "ReputationUpdate";
}

/// Changes the author's personality.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonalityShift {
    /// The new personality; not the present one.
    pub personality: Personality,
    /// Why, 1 to [`ACT_TEXT_BYTES_MAX`] bytes.
    pub reason: String,
    /// How dramatic it is, 0 to 10.
    pub drama: u8,
}

impl Payload for PersonalityShift {
    const KIND: u16 = 259;
    const NAME: &'static str = "PersonalityShift";

    fn check(&self) -> Result<(), String> {
        check_text("reason", &self.reason, 1, ACT_TEXT_BYTES_MAX)
    }
}
