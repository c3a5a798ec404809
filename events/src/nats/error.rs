//! What can be wrong with a NATS server, told to those who can mend it.

/// Why a NATS server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// Nobody answers there.
    #[error("no NATS server can be reached at {url}: {reason}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        reason: String,
    },
}

impl NatsError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "nats_unreachable",
        }
    }
}
