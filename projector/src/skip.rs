//! Messages that are not history.

use chaoschain_schemas::{AccountId, Sequence};

/// What kind of not-history a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipClass {
    /// A block that lost the race for its height.
    Stale,
    /// Not from an authorised producer, or not for this chain, or no block at all.
    Foreign,
    /// From an authorised producer, but its form, signatures, parent or rules do not hold.
    Invalid,
}

impl SkipClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Stale, Self::Foreign, Self::Invalid];

    /// A stable word for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Foreign => "foreign",
            Self::Invalid => "invalid",
        }
    }
}

/// Why a message was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// What kind of not-history it is.
    pub class: SkipClass,
    /// A stable word for the reason.
    pub code: &'static str,
    /// The reason, for people.
    pub message: String,
    /// Who the block says sealed it, where it is a block.
    pub producer: Option<AccountId>,
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} message skipped ({}): {}", self.class.name(), self.code, self.message)
    }
}

/// A skipped message, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The message.
    pub sequence: Sequence,
    /// [`SkipClass::name`]
    pub class: String,
    /// [`Skip::code`]
    pub code: String,
    /// [`Skip::message`]
    pub message: String,
}
