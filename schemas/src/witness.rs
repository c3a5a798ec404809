//! A block with as much of the state before it as it takes to check it: what a stateless verifier reads.
//!
//! # Format
//! A witness file is one [`WitnessFile`] of at most [`WITNESS_BYTES_MAX`] bytes. The pruned trees' bytes and those of the
//! shown frontier are defined by the tree itself (`state::merkle`).

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits::{SUB_TREES_MAX, WITNESS_BYTES_MAX};
use crate::{Blob, FinalityProof, SignedHeader, SubTreeProof};

/// The number of the witnesses' format that this build writes and reads.
pub const WITNESS_VERSION: u16 = 1;

/// A block, its parent's header, and the part of the parent's state that deciding about the block takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessFile {
    /// The format's number, [`WITNESS_VERSION`].
    pub version: u16,
    /// The header of the block before, with its producer's signature.
    pub parent: SignedHeader,
    /// The block as it stands in the log.
    pub block: Blob,
    /// The shown frontier of the parent's tree of blocks.
    pub blocks: Blob,
    /// What is shown of the parent's other sub-trees, by ascending number.
    pub sub_trees: Vec<SubTreeProof>,
    /// That validators have agreed on the parent, where they have.
    pub finality: Option<FinalityProof>,
}

impl WitnessFile {
    /// Reads a witness file, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let file: Self = codec::decode(bytes, WITNESS_BYTES_MAX)?;
        if file.version != WITNESS_VERSION {
            let text =
                format!("witness version {} is unknown; this build reads {WITNESS_VERSION}", file.version);
            return Err(CodecError::Form(text));
        }
        if file.sub_trees.len() > SUB_TREES_MAX {
            let text = format!("{} sub-trees are more than {SUB_TREES_MAX}", file.sub_trees.len());
            return Err(CodecError::Form(text));
        }
        Ok(file)
    }

    /// Whether bytes that are a block or a witness file are the latter: a block begins with its header's bytes, a witness
    /// with a number.
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.get(1).is_some_and(|first| *first <= 0x7f || matches!(first, 0xcc..=0xcf))
    }
}
