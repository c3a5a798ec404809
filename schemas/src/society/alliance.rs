//! Alliances: agents that signed up for something together.

use serde::{Deserialize, Serialize};

use super::{Payload, check_count, check_text};
use crate::limits::{
    ACT_TEXT_BYTES_MAX, ALLIANCE_CONDITION_BYTES_MAX, ALLIANCE_CONDITIONS_MAX, ALLIANCE_MEMBERS_MAX,
    ALLIANCE_MEMBERS_MIN, PURPOSE_BYTES_MAX,
};
use crate::{AgentId, AllianceId, ConflictId, Fixed, Micros, NameHash, Timestamp, code_enum, codec};

code_enum! {
    /// What an alliance is for.
    PurposeKind {
        /// Producing blocks.
        BlockProduction = 0,
        /// Spreading memes.
        MemePromotion = 1,
        /// Deciding together.
        Governance = 2,
        /// Protecting one another.
        Defence = 3,
        /// Company.
        Social = 4,
        /// What its text says.
        Other = 5,
    }
}

code_enum! {
    /// How an alliance stands.
    AllianceState {
        /// Not all members have signed.
        Forming = 0,
        /// In force.
        Active = 1,
        /// In conflict with another.
        Contested = 2,
        /// Ended before its time.
        Dissolved = 3,
        /// Its time is over.
        Expired = 4,
    }
}

code_enum! {
    /// What members promise one another.
    Benefit {
        /// More weight in staking.
        StakeBoost = 0,
        /// Louder drama.
        DramaBoost = 1,
        /// More weight in votes.
        VotingPower = 2,
        /// Memes that carry further.
        MemeInfluence = 3,
    }
}

/// What an alliance is for, with a text where no word fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlliancePurpose {
    /// The word for it.
    pub kind: PurposeKind,
    /// 1 to [`PURPOSE_BYTES_MAX`] bytes for [`PurposeKind::Other`], `None` for everything else.
    pub text: Option<String>,
}

impl AlliancePurpose {
    /// A purpose that a word names.
    pub const fn of(kind: PurposeKind) -> Self {
        Self { kind, text: None }
    }

    /// Two purposes are the same when these are.
    pub fn hash(&self) -> NameHash {
        NameHash::of(&codec::encode(self))
    }

    fn check(&self) -> Result<(), String> {
        match (self.kind, &self.text) {
            (PurposeKind::Other, Some(text)) => check_text("the purpose's text", text, 1, PURPOSE_BYTES_MAX),
            (PurposeKind::Other, None) => Err("purpose Other needs a text".into()),
            (_, None) => Ok(()),
            (kind, Some(_)) => Err(format!("purpose {kind} takes no text")),
        }
    }
}

/// What members agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllianceTerms {
    /// How long it lasts from its formation on: more than 0, at most the parameter `alliance_duration_max`.
    pub duration: Micros,
    /// What members promise one another, each at most once.
    #[serde(default)]
    pub benefits: Vec<Benefit>,
    /// Further conditions in words, at most [`ALLIANCE_CONDITIONS_MAX`].
    #[serde(default)]
    pub conditions: Vec<String>,
}

impl AllianceTerms {
    fn check(&self) -> Result<(), String> {
        check_count("benefits", &self.benefits, 0, Benefit::ALL.len())?;
        check_count("conditions", &self.conditions, 0, ALLIANCE_CONDITIONS_MAX)?;
        self.conditions
            .iter()
            .try_for_each(|text| check_text("a condition", text, 1, ALLIANCE_CONDITION_BYTES_MAX))
    }
}

/// An alliance; its id is that of the transition that formed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alliance {
    /// Its members, ascending.
    pub members: Vec<AgentId>,
    /// What it is for.
    pub purpose: AlliancePurpose,
    /// What was agreed.
    pub terms: AllianceTerms,
    /// Whether its members may be in no other exclusive alliance of the same purpose.
    pub exclusive: bool,
    /// How it stands. Once its time is over it counts as expired, whether the record says so already or not.
    pub state: AllianceState,
    /// Block time of its formation, or of its latest reconciliation.
    pub formed_at: Timestamp,
    /// The block time from which on it is no more.
    pub expires_at: Timestamp,
    /// Its strength when it was formed, in \[0, 1\].
    pub strength: Fixed,
    /// The open conflict it is in; only while it is contested.
    pub conflict: Option<ConflictId>,
    /// How it ended; only when it is dissolved.
    pub end: Option<AllianceEnd>,
}

code_enum! {
    /// What dissolved an alliance.
    AllianceEndCause {
        /// So many left that fewer than two were left.
        Departure = 0,
        /// A member betrayed it.
        Betrayal = 1,
        /// It lost a conflict with another alliance.
        Conflict = 2,
    }
}

/// How an alliance ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllianceEnd {
    /// Block time of the end.
    pub at: Timestamp,
    /// Why.
    pub cause: AllianceEndCause,
    /// The member that left or betrayed it.
    pub by: Option<AgentId>,
}

/// Forms an alliance. Every member signs; the author is one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllianceFormation {
    /// Its members, 2 to 64, the author included, in any order.
    pub members: Vec<AgentId>,
    /// What it is for.
    pub purpose: AlliancePurpose,
    /// What is agreed.
    pub terms: AllianceTerms,
    /// Whether its members may be in no other exclusive alliance of the same purpose.
    #[serde(default)]
    pub exclusive: bool,
}

impl Payload for AllianceFormation {
    const KIND: u16 = 272;
    const NAME: &'static str = "AllianceFormation";

    fn check(&self) -> Result<(), String> {
        check_count("members", &self.members, ALLIANCE_MEMBERS_MIN, ALLIANCE_MEMBERS_MAX)?;
        self.purpose.check()?;
        self.terms.check()
    }
}

/// Leaves an alliance. When fewer than two members are left, it dissolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllianceDeparture {
    /// The alliance; the author is a member.
    pub alliance: AllianceId,
    /// Why, at most [`ACT_TEXT_BYTES_MAX`] bytes.
    #[serde(default)]
    pub reason: String,
    /// How dramatic it is, 0 to 10; a departure with drama is recorded as a dramatic breakup.
    #[serde(default)]
    pub drama: u8,
}

impl Payload for AllianceDeparture {
    const KIND: u16 = 273;
    const NAME: &'static str = "AllianceDeparture";

    fn check(&self) -> Result<(), String> {
        check_text("reason", &self.reason, 0, ACT_TEXT_BYTES_MAX)
    }
}

/// Betrays an alliance: dissolves it, and costs the author the trust of all other members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllianceBetrayal {
    /// The alliance; the author is a member.
    pub alliance: AllianceId,
    /// What happened, 1 to [`ACT_TEXT_BYTES_MAX`] bytes.
    pub description: String,
    /// How dramatic it is, 0 to 10.
    pub drama: u8,
}

impl Payload for AllianceBetrayal {
    const KIND: u16 = 274;
    const NAME: &'static str = "AllianceBetrayal";

    fn check(&self) -> Result<(), String> {
        check_text("description", &self.description, 1, ACT_TEXT_BYTES_MAX)
    }
}

/// Revives an alliance that was left or betrayed, on its old terms. Every member signs; the author is one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllianceReconciliation {
    /// The dissolved alliance.
    pub alliance: AllianceId,
    /// Its members as its record lists them, in any order: who signs is known without reading the state.
    pub members: Vec<AgentId>,
}

impl Payload for AllianceReconciliation {
    const KIND: u16 = 275;
    const NAME: &'static str = "AllianceReconciliation";

    fn check(&self) -> Result<(), String> {
        check_count("members", &self.members, ALLIANCE_MEMBERS_MIN, ALLIANCE_MEMBERS_MAX)
    }
}
