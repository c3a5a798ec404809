//! Attestations on their way: where validators publish them and everyone reads them.
//!
//! A [`Board`] is not the log: what stands on it is in no root, may come late, twice or from liars, and the newest of a
//! validator is what counts. Whoever reads it verifies ([`verify_attestation`]). Boards forget: each keeps a bounded
//! number of attestations and drops the oldest.

mod jetstream;
mod local;

use std::fmt;

use bytes::Bytes;
use chaoschain_schemas::{Attestation, CodecError, SignedAttestation, SigningContext, codec};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use jetstream::{JetStreamBoard, KEPT_PER_VALIDATOR};
pub use local::{LOCAL_KEPT_MIN, LocalBoard};

use crate::log::LogError;
use crate::signature::{SecretKey, verify_one};

/// What comes off a board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// What somebody has put up: bytes that nobody has checked.
    Attestation(Bytes),
    /// Everything that was kept when the following began has been handed over. Comes once.
    CaughtUp,
}

/// Where attestations are published.
pub trait Board: fmt::Debug + Send + Sync {
    /// Puts a signed attestation up; answers once it is kept. Doing so again does no harm.
    fn publish(&self, attestation: SignedAttestation) -> BoxFuture<'_, Result<(), LogError>>;

    /// What is kept, oldest first, then what comes. The stream survives losses of the connection, after which things
    /// may come twice, and ends only when the board is closed.
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Posted>, LogError>>;

    /// Lets go of the board; streams end.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Why an attestation is not believed, whoever it says it is from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// The bytes are no attestation of a known version.
    #[error("not an attestation: {0}")]
    Malformed(#[from] CodecError),
    /// The signature does not hold under the key it carries.
    #[error("the attestation's signature does not hold under the key it carries")]
    Signature,
}

impl AttestationError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "attestation_malformed",
            Self::Signature => "signature_invalid",
        }
    }
}

/// Signs an attestation.
pub fn sign_attestation(attestation: &Attestation, key: &SecretKey) -> SignedAttestation {
    let bytes = codec::encode(attestation);
    let signature = key.sign(SigningContext::Attestation, &bytes);
    SignedAttestation { attestation: bytes.into(), key: key.public(), signature }
}

/// Reads a signed attestation and checks that the signature holds under the key it carries. That the key is the
/// validator's is for the state to say, and the chain for whoever asks.
///
/// # Errors
/// Why it cannot be believed.
pub fn verify_attestation(bytes: &[u8]) -> Result<(Attestation, SignedAttestation), AttestationError> {
    let signed = SignedAttestation::decode(bytes)?;
    let attestation = check_attestation(&signed)?;
    Ok((attestation, signed))
}

/// As [`verify_attestation`], of one that is read already.
///
/// # Errors
/// Why it cannot be believed.
pub fn check_attestation(signed: &SignedAttestation) -> Result<Attestation, AttestationError> {
    let attestation = Attestation::decode(&signed.attestation)?;
    verify_one(SigningContext::Attestation, &signed.key, &signed.signature, &signed.attestation)
        .map_err(|_| AttestationError::Signature)?;
    Ok(attestation)
}
