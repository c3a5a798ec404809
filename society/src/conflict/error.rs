//! Why something about a conflict is refused.

use chaoschain_schemas::control::Role;
use chaoschain_schemas::limits::{CONFLICTS_OPEN_MAX, CONFLICTS_OPENED_MAX};
use chaoschain_schemas::society::ContestedField;
use chaoschain_schemas::{AgentId, ConflictId, Height, Timestamp};

/// Why something about a conflict is refused; [`ConflictError::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConflictError {
    /// There is no room for another conflict now.
    #[error(
        "{open} conflicts are open and {opened} were opened in this block, at most {CONFLICTS_OPEN_MAX} and \
         {CONFLICTS_OPENED_MAX} are possible; try again in a later block"
    )]
    Busy {
        /// How many are open.
        open: u32,
        /// How many were opened in this block.
        opened: u32,
    },
    /// The same is in conflict already.
    #[error("conflict {0} is about the same")]
    Exists(ConflictId),
    /// The reporter has contested a fact that is still open.
    #[error(
        "the author has reported conflict {0}, which is still open; it may report the next when that is decided"
    )]
    ReportOpen(ConflictId),
    /// A claim says what is so already.
    #[error("the {field} of {agent} is {claim} already")]
    ClaimStands {
        /// Whose fact.
        agent: AgentId,
        /// Which one.
        field: ContestedField,
        /// What was claimed.
        claim: String,
    },
    /// A claim that no rule allows to hold.
    #[error("{0}")]
    ClaimInvalid(String),
    /// The reporter's account has not the role that its report needs.
    #[error("a divergence is reported by a producer or a validator, the author is a {0}")]
    RoleRequired(Role),
    /// A divergence at a height that is not history yet.
    #[error("height {got} is not below this block's, {height}")]
    DivergenceAhead {
        /// The height that was named.
        got: Height,
        /// This block's.
        height: Height,
    },
    /// There is no such conflict.
    #[error("there is no conflict {0}")]
    Unknown(ConflictId),
    /// Evidence is not voted on.
    #[error("conflict {0} is evidence of a divergence: a replay of the log decides it, no vote does")]
    NotVotable(ConflictId),
    /// The conflict is decided.
    #[error("conflict {0} is decided; read it for its outcome")]
    Decided(ConflictId),
    /// The time for opinions is over.
    #[error("opinions on conflict {conflict} were taken until {deadline}, block time is {now}")]
    Over {
        /// The conflict.
        conflict: ConflictId,
        /// Its deadline.
        deadline: Timestamp,
        /// Block time.
        now: Timestamp,
    },
    /// The author has no vote.
    #[error("{agent} is no elector of conflict {conflict}; its electors were fixed when it was opened")]
    ElectorRequired {
        /// The author.
        agent: AgentId,
        /// The conflict.
        conflict: ConflictId,
    },
    /// The conflict has no such option.
    #[error("option {option} is not among 0 to {last}")]
    OptionUnknown {
        /// The number.
        option: u8,
        /// The highest number there is.
        last: u8,
    },
    /// The author has said the same before.
    #[error("the author has opted for option {0} before")]
    OpinionTaken(u8),
    /// The author has opted for two options.
    #[error("the author has opted for two different options of conflict {0}, so its opinions are void")]
    OpinionVoided(ConflictId),
    /// It is too early to decide.
    #[error(
        "no option of conflict {conflict} is past the threshold and not all electors have spoken; at {deadline} \
         it is decided by itself"
    )]
    Undecided {
        /// The conflict.
        conflict: ConflictId,
        /// Its deadline.
        deadline: Timestamp,
    },
}

impl ConflictError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "conflicts_busy",
            Self::Exists(_) => "conflict_exists",
            Self::ReportOpen(_) => "report_open",
            Self::ClaimStands { .. } => "claim_stands",
            Self::ClaimInvalid(_) => "claim_invalid",
            Self::RoleRequired(_) => "role_required",
            Self::DivergenceAhead { .. } => "divergence_ahead",
            Self::Unknown(_) => "conflict_unknown",
            Self::NotVotable(_) => "conflict_not_votable",
            Self::Decided(_) => "conflict_decided",
            Self::Over { .. } => "conflict_over",
            Self::ElectorRequired { .. } => "elector_required",
            Self::OptionUnknown { .. } => "option_unknown",
            Self::OpinionTaken(_) => "opinion_taken",
            Self::OpinionVoided(_) => "opinion_voided",
            Self::Undecided { .. } => "conflict_undecided",
        }
    }
}
