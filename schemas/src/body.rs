//! What an author signs, and the envelope it travels in.
//!
//! # Format
//! [`Body`] and [`Envelope`] are arrays of their fields in declared order (see [`crate::codec`]). The signature of every
//! party is over `ChaosChain-Ed25519 transition v1\0` followed by the body's bytes as received.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::codec::{self, CodecError};
use crate::limits::{
    BODY_BYTES_MAX, ENVELOPE_BYTES_MAX, EXPECTS_MAX, KEY_BYTES_MAX, LANES, PAYLOAD_BYTES_MAX, SIGNATURES_MAX,
};
use crate::{AccountId, Blob, ChainId, CorrelationId, Hash, PublicKey, Signature, Timestamp, TransitionId};

/// The number of the body's format that this build writes and reads.
pub const BODY_VERSION: u16 = 1;

/// A transition as its author signs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The format's number, [`BODY_VERSION`].
    pub version: u16,
    /// The chain it is for.
    pub chain: ChainId,
    /// The epoch it is for; a rollback of the chain starts a new one.
    pub epoch: u64,
    /// Who acts.
    pub author: AccountId,
    /// Which of the author's independent nonce counters it uses, 0–15.
    pub lane: u8,
    /// The counter's next number: 0 for the first transition of a lane.
    pub nonce: u64,
    /// The last block time at which it may be accepted.
    pub valid_until: Timestamp,
    /// When the thing happened, in the author's words; the rules never read it.
    pub occurred_at: Option<Timestamp>,
    /// The piece of work it belongs to.
    pub correlation: Option<CorrelationId>,
    /// The transition that caused it.
    pub causation: Option<TransitionId>,
    /// What must hold of the state for it to be accepted; at most [`EXPECTS_MAX`].
    pub expects: Vec<Expectation>,
    /// A payload that is kept beside the log and may be shredded; the rules never read it.
    pub attachment: Option<Attachment>,
    /// Which transition it is; below 256 the kernel's, from 256 on the domain's.
    pub kind: u16,
    /// The transition's own fields, encoded by the kind's owner.
    pub payload: Blob,
}

/// An expected version: the record at a key, by the hash of its value, or its absence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// The number of the sub-tree.
    pub sub_tree: u8,
    /// The record's key in it.
    pub key: Blob,
    /// The hash of the record's value; `None` when there must be no record.
    pub value: Option<Hash>,
}

/// A commitment to a payload beside the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The keyed hash of a 16-byte salt followed by the payload.
    pub commitment: Hash,
    /// The payload's size, bytes.
    pub size: u64,
}

impl Body {
    /// Reads a body, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`]; a limit overstepped is told as a form error that names it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let body: Self = codec::decode(bytes, BODY_BYTES_MAX)?;
        let wrong = |what: String| Err(CodecError::Form(what));
        if body.version != BODY_VERSION {
            return wrong(format!(
                "body version {} is unknown; this build reads {BODY_VERSION}",
                body.version
            ));
        }
        if usize::from(body.lane) >= LANES {
            return wrong(format!("lane {} is not below {LANES}", body.lane));
        }
        if body.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(CodecError::TooLarge { bytes: body.payload.len(), max: PAYLOAD_BYTES_MAX });
        }
        if body.expects.len() > EXPECTS_MAX {
            return wrong(format!("{} expectations are more than {EXPECTS_MAX}", body.expects.len()));
        }
        if let Some(long) = body.expects.iter().find(|expect| expect.key.len() > KEY_BYTES_MAX) {
            return wrong(format!(
                "an expected key of {} bytes is longer than {KEY_BYTES_MAX}",
                long.key.len()
            ));
        }
        Ok(body)
    }
}

/// A party's agreement to a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartySignature {
    /// Whose agreement it is.
    pub signer: AccountId,
    /// The key it is signed with; the rules check that it is the signer's.
    pub key: PublicKey,
    /// The signature over tag and body.
    pub signature: Signature,
}

/// A body with the signatures of its author, first, and of each further party in ascending order of (id, key).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// The signed bytes, exactly as the author made them.
    #[serde(borrow)]
    pub body: &'a Bytes,
    /// One to [`SIGNATURES_MAX`] signatures.
    pub signatures: Vec<PartySignature>,
}

impl<'a> Envelope<'a> {
    /// Reads an envelope without reading its body, checking form, limits and the order of the signatures.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let envelope: Self = codec::decode(bytes, ENVELOPE_BYTES_MAX)?;
        let count = envelope.signatures.len();
        if count == 0 || count > SIGNATURES_MAX {
            return Err(CodecError::Form(format!("{count} signatures, not 1 to {SIGNATURES_MAX}")));
        }
        let order = |party: &PartySignature| (party.signer, party.key);
        if !envelope.signatures[1..].is_sorted_by(|a, b| order(a) < order(b)) {
            return Err(CodecError::Form(
                "further signatures are not in ascending order of signer and key".into(),
            ));
        }
        Ok(envelope)
    }
}
