//! What every answer says besides its value: where it was read, and how far that is agreed upon.

use chaoschain_projector::Head;
use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::{Blob, ProofFile, codec};
use serde::Serialize;

/// How far the state that was read is agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Label {
    /// A producer has signed the header; no validator's attestation was looked at.
    ProducerSigned,
}

/// A value, all of it read from the state of one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer<T> {
    /// Where it was read.
    pub at: ReadPoint,
    /// How far that is agreed upon.
    pub label: Label,
    /// What was read; `null` in JSON when it does not exist.
    pub value: T,
    /// The bytes of a [`ProofFile`] of the value, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Blob>,
}

impl<T> Answer<T> {
    /// An answer read at `head`.
    pub fn at(head: &Head, value: T) -> Self {
        Self { at: head.read_point(), label: Label::ProducerSigned, value, proof: None }
    }

    /// This answer with its proof.
    #[must_use]
    pub fn proven_by(self, proof: Option<&ProofFile>) -> Self {
        Self { proof: proof.map(|file| codec::encode(file).into()), ..self }
    }
}
