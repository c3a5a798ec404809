//! What every answer says besides its value: where it was read, and how far that is agreed upon.

use chaoschain_projector::Head;
use chaoschain_schemas::Blob;
use chaoschain_schemas::api::ReadPoint;
use serde::Serialize;

/// How far the block whose state was read is agreed upon, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Label {
    /// A producer has signed the header.
    ProducerSigned,
    /// Besides, validators with more than two thirds of the weight attest it or a descendant.
    Finalized,
    /// Nobody but this node stands for it: it computed this state for a block whose header commits to another one.
    Computed,
}

/// A value, all of it read from the state of one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer<T> {
    /// Where it was read.
    pub at: ReadPoint,
    /// How far that block is agreed upon; an answer about an older one says itself whether that is final.
    pub label: Label,
    /// What was read; `null` in JSON when it does not exist.
    pub value: T,
    /// The bytes of a [`ProofFile`](chaoschain_schemas::ProofFile) of the value, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Blob>,
}

impl<T> Answer<T> {
    /// An answer read at `head`.
    pub const fn at(head: &Head, label: Label, value: T) -> Self {
        Self { at: head.read_point(), label, value, proof: None }
    }
}
