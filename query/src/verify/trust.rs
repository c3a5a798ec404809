//! What a verifier trusts, and what a verification amounts to.

use chaoschain_events::signature;
use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::{ChainId, Header, PublicKey, SignedHeader, SigningContext};
use serde::{Deserialize, Serialize};

use super::VerifyError;

/// What is trusted beforehand. Nothing is ever verified without it.
///
/// As a file it is JSON or TOML with two fields: `chain` and `producers`, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// The chain: the hash of its genesis document.
    pub chain: ChainId,
    /// The keys whose signature on a header is believed; at least one.
    pub producers: Vec<PublicKey>,
}

/// How far a verification went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// The producer's signature and the Merkle proofs hold: these bytes stand under these keys. What they mean was not
    /// looked at.
    #[serde(rename = "signatures and proofs")]
    SignaturesAndProofs,
    /// Besides, the domain's own code read them: the JSON answer follows from the proven bytes.
    #[serde(rename = "decoded by the domain's schema")]
    DecodedBySchema,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SignaturesAndProofs => "signatures and proofs",
            Self::DecodedBySchema => "decoded by the domain's schema",
        })
    }
}

/// A header that a trusted producer signed for the trusted chain.
///
/// What this does not say: that the block is in the log or the newest; that validators agreed (an answer at this level is
/// *producer-signed*); that the producer was authorised at this height, or followed the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHeader {
    pub(super) header: Header,
    pub(super) at: ReadPoint,
    pub(super) key: PublicKey,
}

impl Trust {
    /// Checks a signed header against this trust.
    ///
    /// # Errors
    /// [`VerifyError`] of the header: form, chain, producer, signature or roots.
    pub fn check_header(&self, signed: &SignedHeader) -> Result<TrustedHeader, VerifyError> {
        if self.producers.is_empty() {
            return Err(VerifyError::TrustEmpty);
        }
        let header = Header::decode(&signed.header).map_err(VerifyError::HeaderMalformed)?;
        if header.chain != self.chain {
            return Err(VerifyError::ChainWrong { trusted: self.chain, got: header.chain });
        }
        if !self.producers.contains(&signed.key) {
            return Err(VerifyError::ProducerUntrusted(signed.key));
        }
        signature::verify_one(SigningContext::Header, &signed.key, &signed.signature, &signed.header)
            .map_err(|_| VerifyError::HeaderSignature(signed.key))?;
        if chaoschain_state::state_root(&header.sub_roots) != header.state_root {
            return Err(VerifyError::StateRoot);
        }
        let at = ReadPoint {
            chain: header.chain,
            height: header.height,
            header_hash: Header::hash_of(&signed.header),
            state_root: header.state_root,
            timestamp: header.timestamp,
        };
        Ok(TrustedHeader { header, at, key: signed.key })
    }
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

    /// The trusted key that signed it.
    pub const fn producer_key(&self) -> PublicKey {
        self.key
    }
}
