//! Attestations on their way: where validators publish them and everyone reads them.
//!
//! A [`Board`] is not the log: what stands on it is in no root, may come late, twice or from liars, and the newest of a
//! validator is what counts. Whoever reads it verifies ([`verify_attestation`]).

use bytes::Bytes;
use chaoschain_schemas::{Attestation, SignedAttestation};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::log::LogError;
use crate::signature::SecretKey;

/// Where attestations are published.
pub trait Board: std::fmt::Debug + Send + Sync {
    /// Puts a signed attestation up; answers once it is kept.
    fn publish(&self, attestation: SignedAttestation) -> BoxFuture<'_, Result<(), LogError>>;

    /// What is kept, oldest first, then what comes. Unverified bytes; the stream survives losses of the connection and
    /// ends only when the board is closed.
    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, LogError>>;

    /// Lets go of the board; streams end.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Signs an attestation.
pub fn sign_attestation(attestation: &Attestation, key: &SecretKey) -> SignedAttestation {
    let _ = (attestation, key);
    unimplemented!("by the one who builds this module")
}

/// Reads a signed attestation and checks that the signature holds under the key it carries. That the key is the
/// validator's is for the state to say.
///
/// # Errors
/// Why it cannot be believed.
pub fn verify_attestation(bytes: &[u8]) -> Result<(Attestation, SignedAttestation), String> {
    let _ = bytes;
    unimplemented!("by the one who builds this module")
}
