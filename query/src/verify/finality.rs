//! Verification that validators agree on a header.

use std::collections::BTreeSet;

use chaoschain_events::attest;
use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::control::is_quorum;
use chaoschain_schemas::limits::VALIDATORS_MAX;
use chaoschain_schemas::{
    Attestation, AttestedHeader, FinalityProof, Hash, Height, PublicKey, SignedAttestation,
};
use chaoschain_state::BLOCKS;
use chaoschain_state::merkle::{Lookup, ProofError, Pruned, value_hash};

use super::{Trust, VerifyError};

/// The longest proof that a header is among those before another: a node and a hash for each bit of a height, and a leaf.
const ANCESTOR_BYTES_MAX: usize = 64 * (3 + 32) + 43;

/// What is wrong with a proof of finality.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FinalityFault {
    /// More attestations or headers than a chain may have validators, or a header without any.
    #[error(
        "it has {attestations} attestations of {headers} headers; each header wants at least one, and \
        {VALIDATORS_MAX} are the most"
    )]
    Count {
        /// How many headers.
        headers: usize,
        /// How many attestations, all together.
        attestations: usize,
    },
    /// Headers not in ascending order of height, or attestations of one not in ascending order of key.
    #[error("its headers are not in ascending order of height, or a header's attestations not of key")]
    Order,
    /// An attested header below the one that is to be final, or another one of its height.
    #[error("the attested header at height {0} is no descendant of the one that is to be final")]
    NotDescendant(Height),
    /// A tie to the final header that is longer than any such.
    #[error(
        "the proof that the attested header at height {height} has the final one as its ancestor has {bytes} bytes, \
        {ANCESTOR_BYTES_MAX} are the most"
    )]
    AncestorTooLong {
        /// The attested height.
        height: Height,
        /// Its length.
        bytes: usize,
    },
    /// A tie to the final header that cannot be read.
    #[error(
        "the proof that the attested header at height {height} has the final one as its ancestor cannot be \
        read: {error}"
    )]
    AncestorMalformed {
        /// The attested height.
        height: Height,
        /// What is wrong.
        error: ProofError,
    },
    /// A tie to the final header that has another root than the attested header.
    #[error(
        "the proof that the attested header at height {0} has the final one as its ancestor has not the \
        root that this header commits to"
    )]
    AncestorRoot(Height),
    /// An attestation of another header.
    #[error("the attestation signed with {0} names another height or header than the one it stands at")]
    AttestationOther(PublicKey),
}

impl FinalityFault {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Count { .. } => "finality_count_wrong",
            Self::Order => "finality_unordered",
            Self::NotDescendant(_) => "finality_not_descendant",
            Self::AncestorTooLong { .. } | Self::AncestorMalformed { .. } => "finality_ancestor_malformed",
            Self::AncestorRoot(_) => "finality_ancestor_root_wrong",
            Self::AttestationOther(_) => "attestation_other",
        }
    }
}

/// How much of the trusted validators' weight stands behind a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weighed {
    pub(super) weight: u64,
    pub(super) total: u64,
}

impl Weighed {
    /// Whether it is more than two thirds.
    pub(super) const fn is_final(self) -> bool {
        is_quorum(self.weight, self.total)
    }
}

/// Checks all of a proof that the header at `at` is final and weighs it. Attestations of accounts or with keys that are not
/// trusted have to hold like the others and count nothing; a validator counts once. `trust` has been checked.
pub(super) fn weigh(trust: &Trust, proof: &FinalityProof, at: &ReadPoint) -> Result<Weighed, VerifyError> {
    let attestations = proof.attested.iter().map(|attested| attested.attestations.len()).sum();
    let count = FinalityFault::Count { headers: proof.attested.len(), attestations };
    let empty = proof.attested.iter().any(|attested| attested.attestations.is_empty());
    if proof.attested.is_empty() || empty || attestations > VALIDATORS_MAX {
        return Err(count.into());
    }
    let mut counted = BTreeSet::new();
    let mut above = None;
    for attested in &proof.attested {
        let (header, here) = trust.read_header(&attested.header)?;
        if above.is_some_and(|above| above >= here.height) {
            return Err(FinalityFault::Order.into());
        }
        above = Some(here.height);
        let blocks_root = header.sub_roots.get(usize::from(BLOCKS)).copied().unwrap_or_default();
        check_descent(attested, &here, blocks_root, at)?;
        if !attested.attestations.is_sorted_by(|a, b| a.key < b.key) {
            return Err(FinalityFault::Order.into());
        }
        for signed in &attested.attestations {
            let word = check_attestation(signed)?;
            trust.check_chain(word.chain)?;
            if (word.height, word.header_hash) != (here.height, here.header_hash) {
                return Err(FinalityFault::AttestationOther(signed.key).into());
            }
            counted.insert((word.validator, signed.key));
        }
    }
    // An account has one trusted key, so no validator is summed twice.
    let of = |validator: &&super::TrustedValidator| counted.contains(&(validator.account, validator.key));
    let weight = trust.validators.iter().filter(of).map(|validator| validator.weight).sum();
    let total = trust.validators.iter().map(|validator| validator.weight).sum();
    Ok(Weighed { weight, total })
}

/// Checks that the header at `last` is an ancestor of the attested one, or is it.
fn check_descent(
    attested: &AttestedHeader,
    here: &ReadPoint,
    blocks_root: Hash,
    last: &ReadPoint,
) -> Result<(), FinalityFault> {
    let (height, ancestor) = (here.height, &attested.ancestor);
    if here.header_hash == last.header_hash && ancestor.is_empty() {
        return Ok(());
    }
    if height <= last.height {
        return Err(FinalityFault::NotDescendant(height));
    }
    let malformed = |error| FinalityFault::AncestorMalformed { height, error };
    if ancestor.len() > ANCESTOR_BYTES_MAX {
        return Err(FinalityFault::AncestorTooLong { height, bytes: ancestor.len() });
    }
    let tree = Pruned::parse(ancestor).map_err(malformed)?;
    if tree.root() != blocks_root {
        return Err(FinalityFault::AncestorRoot(height));
    }
    let there = tree.get(&last.height.0.to_be_bytes());
    if there == Lookup::Present(value_hash(last.header_hash.as_bytes())) {
        Ok(())
    } else {
        Err(FinalityFault::NotDescendant(height))
    }
}

/// Reads an attestation and checks its signature under the key it carries. Whose key that is, the caller knows.
pub(super) fn check_attestation(signed: &SignedAttestation) -> Result<Attestation, VerifyError> {
    attest::check_attestation(signed).map_err(|error| VerifyError::Attestation { key: signed.key, error })
}
