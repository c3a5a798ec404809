//! Answers that carry their own proof, as files and HTTP bodies hold them.
//!
//! A pruned tree's bytes are defined by the tree itself (`state::merkle`); here is what surrounds them.

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits::PROOF_BYTES_MAX;
use crate::{Blob, PublicKey, Signature, SignedAttestation};

/// The number of the proofs' format that this build writes. It reads 1 as well, which knew only reads and events.
pub const PROOF_VERSION: u16 = 2;

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
    /// That validators have agreed on the block the proof is about, where they have.
    pub finality: Option<FinalityProof>,
}

/// What a proof file proves. Exactly one field is set.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proof {
    /// A named read of the state.
    pub read: Option<ReadProof>,
    /// An event's place in a block.
    pub event: Option<EventProof>,
    /// A validator's two words on one height.
    pub equivocation: Option<EquivocationProof>,
    /// A producer's two blocks at one height.
    pub fork: Option<ForkProof>,
}

/// Proves that validators have attested a header, or descendants of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalityProof {
    /// What was attested, by ascending height; at most one attestation of a validator counts.
    pub attested: Vec<AttestedHeader>,
}

/// A header with attestations of it, and its tie to the header that is to be final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedHeader {
    /// The attested header's bytes.
    pub header: Blob,
    /// The pruned tree of its blocks sub-tree that opens the final header's height; empty bytes when it is that header
    /// itself.
    pub ancestor: Blob,
    /// The attestations, in ascending order of key.
    pub attestations: Vec<SignedAttestation>,
}

/// Proves that a validator has signed two hashes at one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquivocationProof {
    /// One of the two.
    pub first: SignedAttestation,
    /// The other.
    pub second: SignedAttestation,
}

/// Proves that one producer's key has sealed two blocks at one height.
///
/// By itself that is no misconduct: a block that lost its place in the log is orphaned, and its producer seals another.
/// Held against a log that had one of the two, the other shows that the log was rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkProof {
    /// The header that was part of the history.
    pub ours: SignedHeader,
    /// The header that came in its place.
    pub theirs: SignedHeader,
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

/// A proof file of version 1.
#[derive(Deserialize, Serialize)]
struct ProofFileV1 {
    version: u16,
    proof: ProofV1,
}

#[derive(Deserialize, Serialize)]
struct ProofV1 {
    read: Option<ReadProof>,
    event: Option<EventProof>,
}

impl ProofFile {
    /// Wraps a proof.
    pub const fn of(proof: Proof) -> Self {
        Self { version: PROOF_VERSION, proof, finality: None }
    }

    /// Wraps a read's proof.
    pub fn of_read(read: ReadProof) -> Self {
        Self::of(Proof { read: Some(read), ..Proof::default() })
    }

    /// Wraps an event's proof.
    pub fn of_event(event: EventProof) -> Self {
        Self::of(Proof { event: Some(event), ..Proof::default() })
    }

    /// Wraps the proof of an equivocation.
    pub fn of_equivocation(equivocation: EquivocationProof) -> Self {
        Self::of(Proof { equivocation: Some(equivocation), ..Proof::default() })
    }

    /// Wraps the proof of a fork.
    pub fn of_fork(fork: ForkProof) -> Self {
        Self::of(Proof { fork: Some(fork), ..Proof::default() })
    }

    /// This proof, of a block that is final.
    #[must_use]
    pub fn with_finality(self, finality: Option<FinalityProof>) -> Self {
        Self { finality, ..self }
    }

    /// Reads a proof file of any version this build knows, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        // The version is the first item of the outermost array, and so far always a single byte.
        let file = match bytes.get(1) {
            Some(1) => {
                let ProofFileV1 { proof: ProofV1 { read, event }, .. } =
                    codec::decode(bytes, PROOF_BYTES_MAX)?;
                Self::of(Proof { read, event, ..Proof::default() })
            }
            _ => codec::decode::<Self>(bytes, PROOF_BYTES_MAX)?,
        };
        if file.version != PROOF_VERSION {
            let text =
                format!("proof version {} is unknown; this build reads 1 to {PROOF_VERSION}", file.version);
            return Err(CodecError::Form(text));
        }
        let Proof { read, event, equivocation, fork } = &file.proof;
        let proofs = [read.is_some(), event.is_some(), equivocation.is_some(), fork.is_some()];
        if proofs.into_iter().filter(|set| *set).count() != 1 {
            return Err(CodecError::Form("a proof file holds exactly one proof".into()));
        }
        Ok(file)
    }
}
