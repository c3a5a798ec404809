//! Headers and sealed blocks: what a log message holds.
//!
//! # Format
//! A message is one [`SealedBlock`]. The producer signs `ChaosChain-Ed25519 header v1\0` followed by the header's bytes;
//! the header hash is over the header's bytes alone. Block 0 carries the genesis document as its only event.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::codec::{self, CodecError};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, HEADER_BYTES_MAX, SUB_TREES_MAX};
use crate::{AccountId, ChainId, Hash, Height, PublicKey, Purpose, Signature, Timestamp};

/// The number of the header's format that this build writes and reads.
pub const HEADER_VERSION: u16 = 1;

/// What a block commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's number, [`HEADER_VERSION`].
    pub version: u16,
    /// The chain.
    pub chain: ChainId,
    /// The chain's epoch after this block.
    pub epoch: u64,
    /// The version of the domain's rules the block was made under.
    pub rules: u16,
    /// The block's number, 0 for genesis.
    pub height: Height,
    /// The hash of the header before; zero for genesis.
    pub parent: Hash,
    /// Block time: not before the parent's, at most `time_step_max` after it.
    pub timestamp: Timestamp,
    /// The account that sealed it.
    pub producer: AccountId,
    /// How many events it holds.
    pub event_count: u32,
    /// The root over index → envelope.
    pub events_root: Hash,
    /// The root over sub-tree number → sub-tree root, after the block.
    pub state_root: Hash,
    /// Every sub-tree's root after the block, by number.
    pub sub_roots: Vec<Hash>,
}

impl Header {
    /// Reads a header, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let header: Self = codec::decode(bytes, HEADER_BYTES_MAX)?;
        if header.version != HEADER_VERSION {
            let text =
                format!("header version {} is unknown; this build reads {HEADER_VERSION}", header.version);
            return Err(CodecError::Form(text));
        }
        if header.sub_roots.len() > SUB_TREES_MAX {
            let text = format!("{} sub-trees are more than {SUB_TREES_MAX}", header.sub_roots.len());
            return Err(CodecError::Form(text));
        }
        Ok(header)
    }

    /// The hash of a header's bytes: what the next header names as parent and validators attest.
    pub fn hash_of(bytes: &[u8]) -> Hash {
        Purpose::Header.hash(bytes)
    }
}

/// A block as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedBlock<'a> {
    /// The header's bytes.
    #[serde(borrow)]
    pub header: &'a Bytes,
    /// The producer's key.
    pub key: PublicKey,
    /// The producer's signature over tag and header.
    pub signature: Signature,
    /// The envelopes, each as it was received.
    #[serde(borrow)]
    pub events: Vec<&'a Bytes>,
}

impl<'a> SealedBlock<'a> {
    /// Reads a block without reading its header or events, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let block: Self = codec::decode(bytes, BLOCK_BYTES_MAX)?;
        if block.events.len() > BLOCK_EVENTS_MAX {
            let text = format!("{} events are more than {BLOCK_EVENTS_MAX}", block.events.len());
            return Err(CodecError::Form(text));
        }
        Ok(block)
    }
}

/// The address of an event: the block it stands in and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventAddress {
    /// The block's height.
    pub height: Height,
    /// The place in the block, from 0.
    pub index: u32,
}

impl std::fmt::Display for EventAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.height, self.index)
    }
}
