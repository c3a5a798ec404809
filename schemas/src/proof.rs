//! Answers that carry their own proof, as files and HTTP bodies hold them.
//!
//! A pruned tree's bytes are defined by the tree itself (`state::merkle`); here is what surrounds them.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits::PROOF_BYTES_MAX;
use crate::{Blob, PublicKey, Signature};

/// The number of the proofs' format that this build writes and reads.
pub const PROOF_VERSION: u16 = 1;

/// A header and its producer's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHeader {
    /// The header's bytes.
    pub header: Blob,
    /// The producer's key.
    pub key: PublicKey,
    /// The producer's signature over tag and header.
    pub signature: Signature,
}

/// The part of one sub-tree that an answer was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubTreeProof {
    /// The sub-tree's number.
    pub sub_tree: u8,
    /// The pruned tree; empty bytes for an empty tree.
    pub tree: Blob,
    /// The records that were read, by ascending key.
    pub records: Vec<ProvenRecord>,
}

/// A key and the value that stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenRecord {
    /// The key.
    pub key: Blob,
    /// The value.
    pub value: Blob,
}

/// A file with a proof in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofFile {
    /// The format's number, [`PROOF_VERSION`].
    pub version: u16,
    /// What is proven.
    pub proof: Proof,
}

/// What a proof file proves. Exactly one field is set.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proof {
    /// A named read of the state.
    pub read: Option<ReadProof>,
    /// An event's place in a block.
    pub event: Option<EventProof>,
}

/// Proves the answer of a named read at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadProof {
    /// The header whose state was read.
    pub header: SignedHeader,
    /// The domain's name of the read.
    pub read: String,
    /// The read's arguments.
    pub arguments: Vec<String>,
    /// What was read, by ascending number of sub-tree.
    pub sub_trees: Vec<SubTreeProof>,
}

/// Proves that an event stands at its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventProof {
    /// The header of the event's block.
    pub header: SignedHeader,
    /// The event's place in the block.
    pub index: u32,
    /// The envelope.
    pub envelope: Blob,
    /// The pruned tree over index → envelope that opens the index.
    pub tree: Blob,
}

impl ProofFile {
    /// Wraps a read's proof.
    pub fn of_read(read: ReadProof) -> Self {
        Self { version: PROOF_VERSION, proof: Proof { read: Some(read), event: None } }
    }

    /// Wraps an event's proof.
    pub fn of_event(event: EventProof) -> Self {
        Self { version: PROOF_VERSION, proof: Proof { read: None, event: Some(event) } }
    }

    /// Reads a proof file, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let file: Self = codec::decode(bytes, PROOF_BYTES_MAX)?;
        if file.version != PROOF_VERSION {
            let text = format!("proof version {} is unknown; this build reads {PROOF_VERSION}", file.version);
            return Err(CodecError::Form(text));
        }
        if file.proof.read.is_some() == file.proof.event.is_some() {
            return Err(CodecError::Form("a proof file holds exactly one proof".into()));
        }
        Ok(file)
    }
}
