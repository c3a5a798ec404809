//! Conflicts: what agents see differently, and how it is decided.

use serde::{Deserialize, Serialize};

use super::agent::{AgentStatus, Personality};
use super::{Payload, check_count, check_text};
use crate::limits::{ACT_TEXT_BYTES_MAX, CONFLICT_CLAIMS_MAX};
use crate::{AgentId, AllianceId, ConflictId, Fixed, Hash, Height, Purpose, Timestamp, code_enum, codec};

code_enum! {
    /// What a conflict is about.
    ConflictKind {
        /// Two nodes computed different states. It is evidence; nobody votes on it, for every honest fold gives one root.
        DivergentTransitions = 0,
        /// A fact about an agent is contested.
        InconsistentAgentState = 1,
        /// Two live exclusive alliances of one purpose have a member in common.
        ConflictingAlliances = 2,
    }
}

code_enum! {
    /// How electors are weighed.
    Strategy {
        /// Each counts the same.
        Majority = 0,
        /// By personality, see [`super::PersonalityWeights`].
        Personality = 1,
        /// By reputation and influence.
        SocialInfluence = 2,
    }
}

code_enum! {
    /// The field of an agent that a claim is about.
    ContestedField {
        /// Its personality.
        Personality = 0,
        /// Its status.
        Status = 1,
        /// Its reputation.
        Reputation = 2,
    }
}

/// What an agent's field should be. Exactly one field is set.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Claim {
    /// Its personality.
    pub personality: Option<Personality>,
    /// Its status: `Active` or `Inactive`.
    pub status: Option<AgentStatus>,
    /// Its reputation, in \[0, 1\].
    pub reputation: Option<Fixed>,
}

impl Claim {
    /// The field it is about; `None` unless exactly one is set.
    pub fn field(&self) -> Option<ContestedField> {
        match (self.personality, self.status, self.reputation) {
            (Some(_), None, None) => Some(ContestedField::Personality),
            (None, Some(_), None) => Some(ContestedField::Status),
            (None, None, Some(_)) => Some(ContestedField::Reputation),
            _ => None,
        }
    }
}

/// A contested fact about an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContestedFact {
    /// Whose.
    pub agent: AgentId,
    /// Which of its fields.
    pub field: ContestedField,
}

/// Evidence that a node computed another state than a block commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divergence {
    /// The block's height.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// The state root that the reporter computed.
    pub computed: Hash,
}

/// What a conflict is about. Exactly one field is set; a conflict of alliances has none, its options say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConflictSubject {
    /// A fact about an agent.
    pub fact: Option<ContestedFact>,
    /// A divergence.
    pub divergence: Option<Divergence>,
}

/// Something that can be opted for. Option 0 of a contested fact has neither field: that it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConflictOption {
    /// The alliance that is to stand.
    pub alliance: Option<AllianceId>,
    /// The claim that is to hold.
    pub claim: Option<Claim>,
}

/// A conflict, open or decided, with all that its tally is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// What kind it is.
    pub kind: ConflictKind,
    /// What it is about.
    pub subject: ConflictSubject,
    /// What can be opted for: the earlier-formed alliance, or the fact as it stands, first. None for evidence.
    pub options: Vec<ConflictOption>,
    /// How electors were weighed.
    pub strategy: Strategy,
    /// Who reported it, or formed the later alliance.
    pub reporter: AgentId,
    /// Why, in the reporter's words.
    pub reason: String,
    /// The block that opened it.
    pub opened_height: Height,
    /// Block time when it was opened.
    pub opened_at: Timestamp,
    /// The block time from which on no more opinions are taken.
    pub deadline: Timestamp,
    /// An option is decided for at once when it has more than this share of all electors' weight.
    pub threshold: Fixed,
    /// The share of all electors' weight that must have an opinion for the deadline to decide.
    pub participation_min: Fixed,
    /// Who may vote, ascending, with weights fixed at the opening; at most [`crate::limits::CONFLICT_ELECTORS_MAX`].
    pub electors: Vec<Elector>,
    /// How it was decided; `None` while it is open, and for evidence.
    pub outcome: Option<ConflictOutcome>,
}

/// Somebody who may vote on a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elector {
    /// Who.
    pub agent: AgentId,
    /// Its weight, millionths.
    pub weight: u64,
    /// The option it is for, while it has said one and nothing else.
    pub opinion: Option<u8>,
    /// It has opted for two different options: its opinions are void.
    pub voided: bool,
}

code_enum! {
    /// What decided a conflict.
    DecidedBy {
        /// An option had more than the threshold.
        Threshold = 0,
        /// Every elector had spoken, and somebody asked for the evaluation.
        AllSpoken = 1,
        /// The deadline, with enough participation and a heaviest option.
        Deadline = 2,
        /// The first option, for want of participation or for a tie.
        Default = 3,
        /// The other alliances' time was over.
        Expiry = 4,
        /// There was nothing left to decide about.
        Lapse = 5,
    }
}

/// How a conflict was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictOutcome {
    /// The winning option; `None` when it lapsed.
    pub option: Option<u8>,
    /// What decided.
    pub by: DecidedBy,
    /// Block time of the decision.
    pub at: Timestamp,
    /// The height of the decision.
    pub height: Height,
    /// The weight of each option, millionths, by its number.
    pub weights: Vec<u64>,
    /// The weight of all electors, millionths.
    pub total: u64,
    /// The options that could win then, ascending: all that are about a fact, and of alliances those that were still in
    /// force.
    pub competing: Vec<u8>,
}

/// The open conflict about a fact, or the open conflict that an agent has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConflict {
    /// The conflict.
    pub conflict: ConflictId,
}

/// How many conflicts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConflictCounts {
    /// How many were ever opened, evidence included.
    pub opened: u64,
    /// How many of them are open.
    pub open: u32,
    /// The newest height at which one was opened.
    pub newest_height: Height,
    /// How many were opened there.
    pub newest_opened: u32,
}

/// What the id of a conflict is the hash of.
#[derive(Serialize)]
struct ConflictName<'a> {
    kind: ConflictKind,
    subject: &'a ConflictSubject,
    options: &'a [ConflictOption],
    opened_height: Height,
}

impl Conflict {
    /// The conflict's id.
    pub fn id(&self) -> ConflictId {
        let name = ConflictName {
            kind: self.kind,
            subject: &self.subject,
            options: &self.options,
            opened_height: self.opened_height,
        };
        Purpose::Conflict.hash(&codec::encode(&name)).into()
    }
}

/// Contests a fact about an agent, or reports a divergence. Exactly one of the two is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictReport {
    /// The contested fact.
    pub fact: Option<FactReport>,
    /// The divergence.
    pub divergence: Option<Divergence>,
    /// How electors are to be weighed; the parameter `conflict_strategy` when it is left out.
    pub strategy: Option<Strategy>,
    /// Why, 1 to [`ACT_TEXT_BYTES_MAX`] bytes.
    pub reason: String,
}

/// A contested fact, with what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactReport {
    /// Whose; not the author.
    pub agent: AgentId,
    /// 1 to [`CONFLICT_CLAIMS_MAX`] different claims about one field, none of them what stands.
    pub claims: Vec<Claim>,
}

impl Payload for ConflictReport {
    const KIND: u16 = 336;
    const NAME: &'static str = "ConflictReport";

    fn check(&self) -> Result<(), String> {
        check_text("reason", &self.reason, 1, ACT_TEXT_BYTES_MAX)?;
        match (&self.fact, &self.divergence) {
            (Some(fact), None) => {
                check_count("claims", &fact.claims, 1, CONFLICT_CLAIMS_MAX)?;
                let field = fact.claims[0].field();
                if field.is_none() || fact.claims.iter().any(|claim| claim.field() != field) {
                    return Err("each claim sets one field, the same in all claims".into());
                }
                Ok(())
            }
            (None, Some(_)) => Ok(()),
            _ => Err("a report has either a fact or a divergence".into()),
        }
    }
}

/// Opts for an option of an open conflict. A second, different opinion voids both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpinionCast {
    /// The conflict; the author is one of its electors.
    pub conflict: ConflictId,
    /// The option's number.
    pub option: u8,
}

impl Payload for OpinionCast {
    const KIND: u16 = 337;
    const NAME: &'static str = "OpinionCast";
}

/// Asks for an open conflict to be evaluated, when it can be decided before its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictResolution {
    /// The conflict.
    pub conflict: ConflictId,
}

impl Payload for ConflictResolution {
    const KIND: u16 = 338;
    const NAME: &'static str = "ConflictResolution";
}
