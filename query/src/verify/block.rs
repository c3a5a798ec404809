//! Verification of a whole block.

use bytes::Bytes;
use chaoschain_events::block;
use chaoschain_schemas::{Blob, FinalityProof, SealedBlock, SignedHeader};

use super::{Level, Trust, TrustedHeader, VerifyError};

/// A block whose form, signatures and events root hold, with a header that is believed.
///
/// # What it does not say
/// Anything that needs the chain before it: that its parent is on the chain, that its events are acceptable, that the
/// state root follows from them. Replay the log for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBlock {
    /// The header.
    pub header: TrustedHeader,
    /// The block with its events.
    pub block: block::VerifiedBlock,
    /// How far the verification went.
    pub level: Level,
}

/// Verifies a message of the log: form, header, events root, and every signature on every envelope. `finality` is about its
/// header, where there is one.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_block(
    message: &[u8],
    finality: Option<&FinalityProof>,
    trust: &Trust,
) -> Result<VerifiedBlock, VerifyError> {
    let sealed = SealedBlock::decode(message).map_err(VerifyError::Malformed)?;
    let signed =
        SignedHeader { header: Blob::from(&sealed.header[..]), key: sealed.key, signature: sealed.signature };
    let header = trust.check_header(&signed, finality)?;
    let block = block::VerifiedBlock::verify(Bytes::copy_from_slice(message));
    let block = block.map_err(|error| VerifyError::Block(error.fault))?;
    Ok(VerifiedBlock { header, block, level: Level::SignaturesAndProofs })
}
