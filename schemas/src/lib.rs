//! Words and bytes of chaoschain: identifiers, units, transitions, blocks, records and their one encoding.
//!
//! Everything that is signed, hashed or stored is defined here and in `docs/format.md`; `golden/` freezes it as vectors.
//!
//! # Invariants
//! - A value has exactly one encoding ([`codec`]), so equal values have equal hashes.
//! - Nothing here is a float, depends on a clock or on the order of a hash map.
//! - Every bound is a name in [`limits`].

pub mod api;
mod attestation;
mod blob;
mod block;
mod body;
pub mod bytes;
mod code;
pub mod codec;
pub mod control;
mod hash;
mod ids;
mod keys;
pub mod limits;
mod proof;
pub mod society;
mod units;
mod witness;

pub use attestation::{ATTESTATION_VERSION, Attestation, SignedAttestation};
pub use blob::Blob;
pub use block::{EventAddress, HEADER_VERSION, Header, SealedBlock};
pub use body::{Attachment, BODY_VERSION, Body, Envelope, Expectation, PartySignature};
pub use codec::CodecError;
pub use hash::{Hash, Purpose};
pub use ids::{
    AccountId, AgentId, AllianceId, ChainId, ConflictId, CorrelationId, MemeId, NameHash, TransitionId,
};
pub use keys::{PublicKey, Signature, SigningContext};
pub use proof::{
    AttestedHeader, EquivocationProof, EventProof, FinalityProof, ForkProof, PROOF_VERSION, Proof, ProofFile,
    ProvenRecord, ReadProof, SignedHeader, SubTreeProof,
};
pub use units::{Fixed, FixedError, Height, Micros, Sequence, Timestamp};
pub use witness::{WITNESS_VERSION, WitnessFile};
