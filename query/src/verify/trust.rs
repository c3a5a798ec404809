//! What a verifier trusts, and what a verification amounts to.

use std::collections::BTreeSet;

use chaoschain_events::signature;
use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::limits::VALIDATORS_MAX;
use chaoschain_schemas::{
    AccountId, Blob, ChainId, FinalityProof, Hash, Header, PublicKey, SignedHeader, SigningContext,
};
use chaoschain_state::domain::Machine;
use serde::{Deserialize, Serialize};

use super::{VerifyError, finality};

/// What is trusted beforehand. Nothing is ever verified without it.
///
/// As a file it is JSON or TOML. Of `producers`, `validators` and `header` at least one says something; each is a way for a
/// header to be believed, and [`Agreement`] tells which it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The chain: the hash of its genesis document.
    pub chain: ChainId,
    /// The name of the domain whose rules the chain runs, so that a program of another one says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The keys whose signature on a header is believed.
    #[serde(default)]
    pub producers: Vec<PublicKey>,
    /// The validators. A header is final, and believed whoever sealed it, when more than two thirds of their weight attest
    /// it or a descendant. At most [`VALIDATORS_MAX`], none twice, weights together below 2^64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validators: Vec<TrustedValidator>,
    /// The hash of one header that is believed as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Hash>,
}

/// A validator whose attestations count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedValidator {
    /// Its account.
    pub account: AccountId,
    /// The account's key.
    pub key: PublicKey,
    /// Its share of the total weight.
    pub weight: u64,
}

/// How far a verification went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// Signatures and Merkle proofs hold: these bytes stand under these keys. What they mean was not looked at.
    #[serde(rename = "signatures and proofs")]
    SignaturesAndProofs,
    /// Besides, the domain's own code read them: the JSON answer follows from the proven bytes.
    #[serde(rename = "decoded by the domain's schema")]
    DecodedBySchema,
    /// Besides, the domain's rules, in the version that was in force, were run again: the roots after the block follow from
    /// the roots before it.
    #[serde(rename = "re-execution with the rules in force")]
    ReExecuted,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SignaturesAndProofs => "signatures and proofs",
            Self::DecodedBySchema => "decoded by the domain's schema",
            Self::ReExecuted => "re-execution with the rules in force",
        })
    }
}

/// Who vouches for a header: why it is believed. Where several do, the first that holds of finalized, pinned,
/// producer-signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Agreement {
    /// A trusted producer signed it. One key is enough to make another header of that height.
    ProducerSigned,
    /// Trusted validators attest it or a descendant: `weight` of `total`, more than two thirds.
    Finalized {
        /// What attests it.
        weight: u64,
        /// What all trusted validators have together.
        total: u64,
    },
    /// It is the trusted header.
    Pinned,
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ProducerSigned => f.write_str("producer-signed"),
            Self::Finalized { weight, total } => write!(f, "finalized ({weight} of {total})"),
            Self::Pinned => f.write_str("pinned"),
        }
    }
}

/// A header of the trusted chain that is believed, [`TrustedHeader::agreement`] says why; its signature holds under the
/// key that it carries.
///
/// What this does not say: that the block is the newest; that its producer was authorised at this height, or followed the
/// rules, where only a producer vouches ([`Agreement::ProducerSigned`]). More than two thirds of honest validators have
/// folded what they attest, so a finalized header was made by the rules if less than a third of their weight is faulty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHeader {
    pub(super) header: Header,
    pub(super) at: ReadPoint,
    pub(super) key: PublicKey,
    pub(super) agreement: Agreement,
}

impl Trust {
    /// Trusts producers of a chain, and nothing else.
    pub const fn in_producers(chain: ChainId, producers: Vec<PublicKey>) -> Self {
        Self { chain, domain: None, producers, validators: Vec::new(), header: None }
    }

    /// Checks a signed header against this trust, with the proof that it is final where there is one. A proof of finality
    /// that does not hold is refused even where something else vouches for the header.
    ///
    /// # Errors
    /// [`VerifyError`] of the trust itself, and of the header: form, chain, finality, producer, signature or roots.
    pub fn check_header(
        &self,
        signed: &SignedHeader,
        finality: Option<&FinalityProof>,
    ) -> Result<TrustedHeader, VerifyError> {
        self.check()?;
        let (header, at) = self.read_header(&signed.header)?;
        let agreement = self.agreement(&signed.key, &at, finality)?;
        check_signature(signed)?;
        if chaoschain_state::state_root(&header.sub_roots) != header.state_root {
            return Err(VerifyError::StateRoot);
        }
        Ok(TrustedHeader { header, at, key: signed.key, agreement })
    }

    /// Checks that a program's domain is the chain's, as far as this trust says.
    ///
    /// # Errors
    /// [`VerifyError::DomainOther`].
    pub fn check_domain(&self, machine: &dyn Machine) -> Result<(), VerifyError> {
        match &self.domain {
            Some(domain) if domain != machine.id() => {
                Err(VerifyError::DomainOther { trusted: domain.clone(), program: machine.id().to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that something is trusted, and that the validators make sense together.
    pub(super) fn check(&self) -> Result<(), VerifyError> {
        if self.producers.is_empty() && self.validators.is_empty() && self.header.is_none() {
            return Err(VerifyError::TrustEmpty);
        }
        let wrong = |text: &str| Err(VerifyError::TrustMalformed(text.to_owned()));
        if self.validators.len() > VALIDATORS_MAX {
            return wrong(&format!("it has more than {VALIDATORS_MAX} validators"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.validators.iter().find(|validator| !seen.insert(validator.account)) {
            return wrong(&format!("validator {} is there twice", twice.account));
        }
        let weights = self.validators.iter().map(|validator| validator.weight);
        if weights.into_iter().try_fold(0, u64::checked_add).is_none() {
            return wrong("the validators' weights together are more than 2^64 - 1");
        }
        Ok(())
    }

    /// Reads a header that has to be of the trusted chain.
    pub(super) fn read_header(&self, bytes: &Blob) -> Result<(Header, ReadPoint), VerifyError> {
        let header = Header::decode(bytes).map_err(VerifyError::HeaderMalformed)?;
        self.check_chain(header.chain)?;
        let at = ReadPoint {
            chain: header.chain,
            height: header.height,
            header_hash: Header::hash_of(bytes),
            state_root: header.state_root,
            timestamp: header.timestamp,
        };
        Ok((header, at))
    }

    pub(super) fn check_chain(&self, got: ChainId) -> Result<(), VerifyError> {
        if got == self.chain { Ok(()) } else { Err(VerifyError::ChainWrong { trusted: self.chain, got }) }
    }

    /// Who vouches for the header at this point, signed with `key`.
    pub(super) fn agreement(
        &self,
        key: &PublicKey,
        at: &ReadPoint,
        proof: Option<&FinalityProof>,
    ) -> Result<Agreement, VerifyError> {
        let weighed = proof.map(|proof| finality::weigh(self, proof, at)).transpose()?;
        match weighed {
            Some(weighed) if weighed.is_final() => {
                let finality::Weighed { weight, total } = weighed;
                Ok(Agreement::Finalized { weight, total })
            }
            _ if self.header == Some(at.header_hash) => Ok(Agreement::Pinned),
            _ if self.producers.contains(key) => Ok(Agreement::ProducerSigned),
            Some(finality::Weighed { weight, total }) if total > 0 => {
                Err(VerifyError::FinalityShort { weight, total })
            }
            _ if !self.producers.is_empty() => Err(VerifyError::ProducerUntrusted(*key)),
            _ if !self.validators.is_empty() => Err(VerifyError::FinalityMissing),
            _ => Err(VerifyError::HeaderUntrusted(at.header_hash)),
        }
    }
}

/// Checks that a header's signature holds under the key it carries.
pub(crate) fn check_signature(signed: &SignedHeader) -> Result<(), VerifyError> {
    signature::verify_one(SigningContext::Header, &signed.key, &signed.signature, &signed.header)
        .map_err(|_| VerifyError::HeaderSignature(signed.key))
}

impl TrustedHeader {
    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The chain, height, header hash and state root.
    pub const fn at(&self) -> ReadPoint {
        self.at
    }

    /// The key that signed it; a trusted one only where that is why it is believed.
    pub const fn producer_key(&self) -> PublicKey {
        self.key
    }

    /// Why it is believed.
    pub const fn agreement(&self) -> Agreement {
        self.agreement
    }
}
