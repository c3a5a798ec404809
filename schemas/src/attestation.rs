//! A validator's word on a block: it has folded the chain up to here and its root was the header's.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits::ATTESTATION_BYTES_MAX;
use crate::{AccountId, Blob, ChainId, Hash, Height, PublicKey, Signature};

/// The number of the attestations' format that this build writes and reads.
pub const ATTESTATION_VERSION: u16 = 1;

/// What a validator signs. It covers every ancestor of the block as well.
///
/// A validator signs at most one hash for a height, and never a lower height after a higher one: two attestations of
/// one validator that name one height and two hashes are *equivocation*, and prove themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// The format's number, [`ATTESTATION_VERSION`].
    pub version: u16,
    /// The chain.
    pub chain: ChainId,
    /// The validator's account.
    pub validator: AccountId,
    /// The block's height.
    pub height: Height,
    /// The hash of the block's header.
    pub header_hash: Hash,
}

/// An attestation's bytes and the signature over tag and bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAttestation {
    /// The signed bytes: an [`Attestation`].
    pub attestation: Blob,
    /// The key it is signed with; that it is the validator's is for the state to say.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

impl Attestation {
    /// Reads an attestation, checking form and version.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let attestation: Self = codec::decode(bytes, ATTESTATION_BYTES_MAX)?;
        if attestation.version != ATTESTATION_VERSION {
            let version = attestation.version;
            let text =
                format!("attestation version {version} is unknown; this build reads {ATTESTATION_VERSION}");
            return Err(CodecError::Form(text));
        }
        Ok(attestation)
    }
}

impl SignedAttestation {
    /// Reads a signed attestation, checking form and size. The attestation in it is not read yet.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes, ATTESTATION_BYTES_MAX)
    }
}
