//! Why a transition is not accepted, in the author's terms.

use chaoschain_schemas::limits::{SCHEDULED_MAX, SIGNATURES_MAX, VALIDATORS_MAX};
use chaoschain_schemas::{AccountId, CodecError, Hash, Height, PublicKey, Timestamp};

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
    /// The author has had as many transitions accepted as one may in this window of block time.
    #[error(
        "the author's {max} transitions of this window of block time are used; the next begins at {next}"
    )]
    AuthorRateLimited {
        /// How many a window has.
        max: u32,
        /// Block time from which on there are more.
        next: Timestamp,
    },
    /// A new account needs a sponsor, and none has signed.
    #[error("registration needs the signature of a sponsor: an account with sponsorships left")]
    SponsorMissing,
    /// Who signed for a new account may sponsor no more.
    #[error("{0} has no sponsorships left")]
    SponsorshipsUsed(AccountId),
    /// Only a validator may author this.
    #[error("{0} is not a validator, and only one may author this")]
    ValidatorRequired(AccountId),
    /// Too few validators have signed.
    #[error("validators with a weight of {weight} of {total} have signed; more than two thirds must")]
    QuorumMissing {
        /// The weight of those who signed.
        weight: u64,
        /// The weight of all.
        total: u64,
    },
    /// A change is scheduled for a height that it may not have.
    #[error("a change for block {at} cannot be scheduled now; it may be for blocks {first} to {last}")]
    ScheduleHeightWrong {
        /// The change's height.
        at: Height,
        /// The first it may have.
        first: Height,
        /// The last it may have.
        last: Height,
    },
    /// As many changes as there may be wait for their height.
    #[error("{SCHEDULED_MAX} changes are scheduled already; wait until one takes effect")]
    ScheduleFull,
    /// The version of the rules is not the one after that in force at its height.
    #[error("rules version {got} cannot follow version {current}, which is in force at that height")]
    RulesVersionWrong {
        /// The version in force before the change.
        current: u16,
        /// The change's.
        got: u16,
    },
    /// Nobody could seal a block any more.
    #[error("{0} is the last producer that may seal blocks; make another one first")]
    LastProducer(AccountId),
    /// Validators could decide nothing any more.
    #[error(
        "with this change of {account} the validators that may sign would have {left} of {total} weight, not more than two thirds; change weights first"
    )]
    LastValidator {
        /// Whose weight or suspension it is about.
        account: AccountId,
        /// The weight of the validators that would not be suspended.
        left: u64,
        /// The weight that all would have.
        total: u64,
    },
    /// More validators would have to sign a decision than one envelope has signatures.
    #[error(
        "with this change of {account} the {SIGNATURES_MAX} heaviest validators, less all that is suspended, would have {signable} of {total} weight, not more than two thirds, and no more can sign one decision; give fewer validators more weight"
    )]
    QuorumUnsignable {
        /// Whose weight or suspension it is about.
        account: AccountId,
        /// The weight of as many as can sign, less all that is suspended.
        signable: u64,
        /// The weight that all would have.
        total: u64,
    },
    /// There are as many validators as a chain may have.
    #[error("there are {VALIDATORS_MAX} validators, the most there may be; take the weight of one first")]
    ValidatorsFull,
    /// The weights would not fit into a number.
    #[error("the validators' weights together would be more than 2^64 - 1")]
    WeightTooLarge,
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
            Self::AuthorRateLimited { .. } => "author_rate_limited",
            Self::SponsorMissing => "sponsor_missing",
            Self::SponsorshipsUsed(_) => "sponsorships_used",
            Self::ValidatorRequired(_) => "validator_required",
            Self::QuorumMissing { .. } => "quorum_missing",
            Self::ScheduleHeightWrong { .. } => "schedule_height_wrong",
            Self::ScheduleFull => "schedule_full",
            Self::RulesVersionWrong { .. } => "rules_version_wrong",
            Self::LastProducer(_) => "last_producer",
            Self::LastValidator { .. } => "last_validator",
            Self::QuorumUnsignable { .. } => "quorum_unsignable",
            Self::ValidatorsFull => "validators_full",
            Self::WeightTooLarge => "weight_too_large",
            Self::Domain { code, .. } => code,
        }
    }
}
