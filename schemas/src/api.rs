//! What services answer, the same over every transport.

use serde::ser::{SerializeStruct, Serializer};
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ErrorBody {
    /// A stable word for programs, such as `nonce_used`.
    pub code: String,
    /// What failed, on what, and what to do.
    pub message: String,
    /// When trying the same again makes sense, milliseconds; `None` (in JSON: not there) when it does not.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

impl Serialize for ErrorBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An array has no names, so only JSON may leave a field out.
        let leave_out = serializer.is_human_readable() && self.retry_after_ms.is_none();
        let mut body = serializer.serialize_struct("ErrorBody", if leave_out { 2 } else { 3 })?;
        body.serialize_field("code", &self.code)?;
        body.serialize_field("message", &self.message)?;
        if !leave_out {
            body.serialize_field("retry_after_ms", &self.retry_after_ms)?;
        }
        body.end()
    }
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
