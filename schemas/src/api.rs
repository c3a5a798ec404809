//! What services answer, the same over every transport.

use serde::{Deserialize, Serialize};

use crate::{Blob, ChainId, Hash, Height, Timestamp, TransitionId};

/// Says where an accepted transition stands. It is a fact about the chain, the same from every service, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The transition.
    pub id: TransitionId,
    /// The block it stands in.
    pub height: Height,
    /// Its place in the block.
    pub index: u32,
    /// The hash of the block's header.
    pub header_hash: Hash,
}

/// A submission as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The envelope's bytes, base64.
    pub envelope: Blob,
}

/// Several submissions as JSON. As MessagePack a batch is the array of envelopes alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSubmission {
    /// The envelopes' bytes, each base64.
    pub envelopes: Vec<Blob>,
}

/// What one envelope of a batch came to: exactly one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchOutcome {
    /// Where it stands, when it was accepted.
    pub receipt: Option<Receipt>,
    /// Why it was not.
    pub error: Option<ErrorBody>,
}

/// Why a request was not answered; the same shape for every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable word for programs, such as `nonce_used`.
    pub code: String,
    /// What failed, on what, and what to do.
    pub message: String,
    /// When trying the same again makes sense, milliseconds; absent when it does not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

/// Where an answer was read: every answer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPoint {
    /// The chain.
    pub chain: ChainId,
    /// The height of the state that was read.
    pub height: Height,
    /// The hash of the header at that height.
    pub header_hash: Hash,
    /// The state root at that height.
    pub state_root: Hash,
    /// Block time at that height.
    pub timestamp: Timestamp,
}
