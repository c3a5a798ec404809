//! Verification of evidence: that a validator, or a producer, has said two things about one height.

use chaoschain_schemas::{
    AccountId, EquivocationProof, FinalityProof, ForkProof, Hash, Header, Height, PublicKey, SignedHeader,
};

use super::finality::check_attestation;
use super::trust::check_signature;
use super::{Agreement, Trust, VerifyError};

/// Two attestations of one chain, one validator and one height, signed with one key, that name two headers.
///
/// # What it proves
/// Whoever holds the key has signed both, which no honest validator does, whatever happens to the log.
///
/// # What it does not say
/// That the account is a validator of the chain with this key, unless [`VerifiedEquivocation::weight`] does: an account that
/// is not may sign what it likes. Which of the two headers is history, or that either exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEquivocation {
    /// The validator's account.
    pub validator: AccountId,
    /// The key that signed both.
    pub key: PublicKey,
    /// The height.
    pub height: Height,
    /// The two header hashes, as the file has them.
    pub hashes: [Hash; 2],
    /// The validator's weight, if it is a trusted one with this key.
    pub weight: Option<u64>,
}

/// Two headers of one chain and one height whose producers' signatures hold.
///
/// # What it proves
/// Both were signed, with one key or with two trusted ones. So whoever had one of them in the history of a log, and now finds
/// the other there, knows that the log was rewritten or replaced.
///
/// # What it does not say
/// That the producer did wrong: a block that lost its place in the log is orphaned, and another takes its height. Which of
/// the two is history: the file's maker says it was `ours`; only [`VerifiedFork::agreement`] of more than a producer shows it.
/// Anything at all, unless [`VerifiedFork::by_producer`]: anyone can make such a pair with a key of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedFork {
    /// The height.
    pub height: Height,
    /// The header that was part of the history, as the file says.
    pub ours: ForkSide,
    /// The header that came in its place.
    pub theirs: ForkSide,
    /// Why `ours` is believed to be of the chain; `None` if nothing trusted vouches for it.
    pub agreement: Option<Agreement>,
    /// Whether a producer has signed both, as far as trust goes: a trusted one, or the one that a believed `ours` names. A
    /// header is believed by its hash, whoever signed it: without this, anyone can have signed both, also a header that is
    /// final.
    ///
    /// A producer's account has the hash of its first key as id. Of one that has rotated its key, the new one has to be
    /// among the trusted; and that the first was still its key at that height is not known, unless it is trusted itself.
    pub by_producer: bool,
}

/// One of two headers of a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkSide {
    /// The header.
    pub header: Header,
    /// Its hash.
    pub hash: Hash,
    /// The key that signed it.
    pub key: PublicKey,
    /// Whether that is a trusted producer's.
    pub trusted: bool,
}

/// Verifies that a validator has attested two headers at one height.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_equivocation(
    proof: &EquivocationProof,
    trust: &Trust,
) -> Result<VerifiedEquivocation, VerifyError> {
    trust.check()?;
    let (first, second) = (check_attestation(&proof.first)?, check_attestation(&proof.second)?);
    trust.check_chain(first.chain)?;
    trust.check_chain(second.chain)?;
    let key = proof.first.key;
    let differ = if key != proof.second.key {
        Some("they are signed with two keys")
    } else if first.validator != second.validator {
        Some("they are of two validators")
    } else if first.height != second.height {
        Some("they are of two heights")
    } else if first.header_hash == second.header_hash {
        Some("they name the same header")
    } else {
        None
    };
    if let Some(why) = differ {
        return Err(VerifyError::NoEquivocation(why));
    }
    let trusted = trust.validators.iter().find(|known| known.account == first.validator && known.key == key);
    Ok(VerifiedEquivocation {
        validator: first.validator,
        key,
        height: first.height,
        hashes: [first.header_hash, second.header_hash],
        weight: trusted.map(|validator| validator.weight),
    })
}

/// Verifies that two headers of one height are signed, and by whom. `finality` is about the one that was history.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_fork(
    proof: &ForkProof,
    finality: Option<&FinalityProof>,
    trust: &Trust,
) -> Result<VerifiedFork, VerifyError> {
    trust.check()?;
    let (ours, theirs) = (side(&proof.ours, trust)?, side(&proof.theirs, trust)?);
    let height = ours.header.height;
    if theirs.header.height != height {
        return Err(VerifyError::NoFork("they are of two heights"));
    }
    if ours.hash == theirs.hash {
        return Err(VerifyError::NoFork("they are the same"));
    }
    if ours.key != theirs.key && !(ours.trusted && theirs.trusted) {
        return Err(VerifyError::NoFork(
            "they are signed with two keys, and not both are trusted producers'",
        ));
    }
    let (_, at) = trust.read_header(&proof.ours.header)?;
    let agreement = match trust.agreement(&ours.key, &at, finality) {
        Ok(agreement) => Some(agreement),
        // Nothing trusted vouches for it, and the fork is no less one.
        Err(
            VerifyError::ProducerUntrusted(_)
            | VerifyError::HeaderUntrusted(_)
            | VerifyError::FinalityMissing
            | VerifyError::FinalityShort { .. },
        ) => None,
        Err(error) => return Err(error),
    };
    let is_named = || AccountId::from_first_key(&ours.key) == ours.header.producer;
    let by_producer = ours.trusted || (agreement.is_some() && is_named());
    Ok(VerifiedFork { height, ours, theirs, agreement, by_producer })
}

fn side(signed: &SignedHeader, trust: &Trust) -> Result<ForkSide, VerifyError> {
    let (header, at) = trust.read_header(&signed.header)?;
    check_signature(signed)?;
    let trusted = trust.producers.contains(&signed.key);
    Ok(ForkSide { header, hash: at.header_hash, key: signed.key, trusted })
}
