//! Why a transition is not accepted, in the author's terms.

use chaoschain_schemas::{AccountId, CodecError, Hash, PublicKey, Timestamp};

use crate::key::Key;

/// Why a transition is not accepted. Every reason is a fact about the state it met; [`Rejection::code`] is stable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The body is for another chain.
    #[error("the transition is for chain {got}, this is {want}")]
    ChainWrong {
        /// This chain.
        want: Hash,
        /// The chain it is for.
        got: Hash,
    },
    /// The body was signed for another epoch.
    #[error("the transition was signed for epoch {got}, the chain is in epoch {want}; sign it again")]
    EpochWrong {
        /// The chain's epoch.
        want: u64,
        /// The body's.
        got: u64,
    },
    /// Block time has passed the last moment the author allowed.
    #[error("the transition was valid until {until}, block time is {now}")]
    Expired {
        /// The body's `valid_until`.
        until: Timestamp,
        /// Block time.
        now: Timestamp,
    },
    /// `valid_until` lies further ahead than the chain's parameter allows.
    #[error("valid_until {until} lies beyond {latest}, the furthest allowed at present block time")]
    ValidityTooLong {
        /// The body's `valid_until`.
        until: Timestamp,
        /// The latest that would be accepted.
        latest: Timestamp,
    },
    /// No account has this id.
    #[error("account {0} is not registered")]
    AccountUnknown(AccountId),
    /// The account exists already.
    #[error("account {0} is registered already")]
    AccountExists(AccountId),
    /// A registering author's id is not that of its key.
    #[error("the author's id must be the hash of the key it registers, {0}")]
    AccountIdWrong(AccountId),
    /// The account is suspended.
    #[error("account {0} is suspended")]
    AccountSuspended(AccountId),
    /// A signature was made with a key that is not the signer's current one.
    #[error("{signer} signs with {got}, its key is {want}")]
    KeyWrong {
        /// Whose signature.
        signer: AccountId,
        /// The current key.
        want: PublicKey,
        /// The key that was used.
        got: PublicKey,
    },
    /// The key cannot be an account's: not a point in canonical form, or of small order.
    #[error("key {0} is weak or not in canonical form and cannot be an account's")]
    KeyWeak(PublicKey),
    /// The envelope's first signature is not the author's.
    #[error("the first signature is {got}'s, it must be the author's, {want}")]
    AuthorSignatureMissing {
        /// The author.
        want: AccountId,
        /// The first signer.
        got: AccountId,
    },
    /// A party whose agreement the transition needs has not signed.
    #[error("the signature of {0} is missing")]
    CosignatureMissing(AccountId),
    /// Somebody signed whose agreement the transition does not need.
    #[error("the signature of {0} is not needed and must be left out")]
    CosignatureUnneeded(AccountId),
    /// The nonce was used.
    #[error("nonce {got} of lane {lane} was used; the next is {want}")]
    NonceUsed {
        /// The lane.
        lane: u8,
        /// The next nonce.
        want: u64,
        /// The body's.
        got: u64,
    },
    /// The nonce lies ahead of the next one.
    #[error("nonce {got} of lane {lane} lies ahead; the next is {want}")]
    NonceAhead {
        /// The lane.
        lane: u8,
        /// The next nonce.
        want: u64,
        /// The body's.
        got: u64,
    },
    /// A stated expectation does not hold.
    #[error("the record at {key} is not as expected: its value's hash is {}", .got.map_or_else(|| "absent".to_owned(), |hash| hash.to_string()))]
    ExpectationFailed {
        /// The record.
        key: Box<Key>,
        /// The hash of its value, if there is one.
        got: Option<Hash>,
    },
    /// An expectation names a sub-tree that holds no records.
    #[error("sub-tree {0} holds no records that could be expected")]
    ExpectationUnreadable(u8),
    /// No transition has this kind.
    #[error("transition kind {0} is unknown")]
    KindUnknown(u16),
    /// The payload is not of its kind's form.
    #[error("the payload of kind {kind} is refused: {error}")]
    Payload {
        /// The kind.
        kind: u16,
        /// Why.
        error: CodecError,
    },
    /// A rule of the domain.
    #[error("{message}")]
    Domain {
        /// The domain's stable word.
        code: &'static str,
        /// The fact that failed.
        message: String,
    },
}

impl Rejection {
    /// A domain's rejection.
    pub fn domain(code: &'static str, message: impl Into<String>) -> Self {
        Self::Domain { code, message: message.into() }
    }

    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ChainWrong { .. } => "chain_wrong",
            Self::EpochWrong { .. } => "epoch_wrong",
            Self::Expired { .. } => "expired",
            Self::ValidityTooLong { .. } => "validity_too_long",
            Self::AccountUnknown(_) => "account_unknown",
            Self::AccountExists(_) => "account_exists",
            Self::AccountIdWrong(_) => "account_id_wrong",
            Self::AccountSuspended(_) => "account_suspended",
            Self::KeyWrong { .. } => "key_wrong",
            Self::KeyWeak(_) => "key_weak",
            Self::AuthorSignatureMissing { .. } => "author_signature_missing",
            Self::CosignatureMissing(_) => "cosignature_missing",
            Self::CosignatureUnneeded(_) => "cosignature_unneeded",
            Self::NonceUsed { .. } => "nonce_used",
            Self::NonceAhead { .. } => "nonce_ahead",
            Self::ExpectationFailed { .. } => "expectation_failed",
            Self::ExpectationUnreadable(_) => "expectation_unreadable",
            Self::KindUnknown(_) => "kind_unknown",
            Self::Payload { error, .. } => error.code(),
            Self::Domain { code, .. } => code,
        }
    }
}
