//! Why a submission got no receipt, shaped by what the submitter does next.

use std::borrow::Cow;
use std::time::Duration;

use chaoschain_schemas::CodecError;
use chaoschain_schemas::api::ErrorBody;
use chaoschain_state::Rejection;

/// Why a submission got no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The bytes are no envelope, or what it holds is no body: fix the client.
    #[error("the envelope is refused: {0}")]
    Malformed(CodecError),
    /// A signature does not hold under the key it carries.
    #[error("{0}")]
    Signature(String),
    /// The rules refuse the transition.
    #[error("{0}")]
    Rejected(Rejection),
    /// Too much is under way, of this peer, this author or altogether; nothing was taken in. Try again later.
    #[error("{what}; try again in {} ms", retry_after.as_millis())]
    Busy {
        /// What is full.
        what: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// The service cannot seal blocks now; nothing was appended.
    #[error("{message}")]
    Unavailable {
        /// A stable word for what is in the way.
        code: Cow<'static, str>,
        /// The same for people.
        message: String,
        /// When to try again; absent where somebody has to help first.
        retry_after: Option<Duration>,
    },
    /// The transition may or may not be in the log: submit the same bytes again to learn which.
    #[error("it is not known whether the log has the transition; submit the same bytes again to learn it")]
    OutcomeUnknown,
    /// The service stops; nothing was appended.
    #[error("the service is shutting down; nothing was appended")]
    ShuttingDown,
}

/// When to ask again after an unknown outcome.
const UNKNOWN_RETRY_AFTER: Duration = Duration::from_secs(1);

impl SubmitError {
    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Malformed(error) => error.code(),
            Self::Signature(_) => "signature_invalid",
            Self::Rejected(rejection) => rejection.code(),
            Self::Busy { .. } => "busy",
            Self::Unavailable { code, .. } => code,
            Self::OutcomeUnknown => "outcome_unknown",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// The HTTP status that says the same.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(CodecError::TooLarge { .. })
            | Self::Rejected(Rejection::Payload { error: CodecError::TooLarge { .. }, .. }) => 413,
            Self::Malformed(_) | Self::Rejected(Rejection::Payload { .. }) => 400,
            Self::Rejected(
                Rejection::NonceUsed { .. }
                | Rejection::NonceAhead { .. }
                | Rejection::ExpectationFailed { .. }
                | Rejection::AccountExists(_),
            ) => 409,
            Self::Signature(_) | Self::Rejected(_) => 422,
            Self::Busy { .. } => 429,
            Self::Unavailable { .. } | Self::OutcomeUnknown | Self::ShuttingDown => 503,
        }
    }

    /// When trying the same bytes again makes sense; absent when it does not.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } => *retry_after,
            Self::OutcomeUnknown | Self::ShuttingDown => Some(UNKNOWN_RETRY_AFTER),
            Self::Malformed(_) | Self::Signature(_) | Self::Rejected(_) => None,
        }
    }

    /// The same as every transport answers it.
    pub fn body(&self) -> ErrorBody {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        ErrorBody {
            code: self.code().to_owned(),
            message: self.to_string(),
            retry_after_ms: self.retry_after().map(millis),
        }
    }
}
