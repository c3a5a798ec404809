//! What a submission looks like in a request and its answer, the same over every transport.

use bytes::Bytes;
use chaoschain_events::micro::{Form, Refusal};
use chaoschain_schemas::api::{BatchOutcome, BatchSubmission, Submission};
use chaoschain_schemas::limits::ENVELOPE_BYTES_MAX;
use chaoschain_schemas::{Blob, CodecError, codec};
use serde::de::DeserializeOwned;

use crate::error::SubmitError;
use crate::options::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use crate::reply::Outcome;

/// The largest request that holds one envelope, bytes: base64 takes four for three, and there is a little JSON around it.
pub(crate) const REQUEST_BYTES_MAX: usize = ENVELOPE_BYTES_MAX / 3 * 4 + 1024;
/// The largest request that holds a batch, bytes.
pub(crate) const BATCH_REQUEST_BYTES_MAX: usize = BATCH_BYTES_MAX / 3 * 4 + 16 * BATCH_EVENTS_MAX;

/// The envelope that a request holds; as MessagePack it is the request.
pub(crate) fn envelope(form: Form, request: Bytes) -> Result<Bytes, SubmitError> {
    match form {
        Form::MsgPack => Ok(request),
        Form::Json => Ok(from_json::<Submission>(&request)?.envelope.0.into()),
    }
}

/// The envelopes that a request holds.
pub(crate) fn envelopes(form: Form, request: &[u8]) -> Result<Vec<Bytes>, Refusal> {
    let envelopes: Vec<Blob> = match form {
        Form::MsgPack => codec::decode(request, BATCH_BYTES_MAX).map_err(SubmitError::Malformed)?,
        Form::Json => from_json::<BatchSubmission>(request)?.envelopes,
    };
    if envelopes.len() > BATCH_EVENTS_MAX {
        let text = format!("{} envelopes are more than the {BATCH_EVENTS_MAX} of a batch", envelopes.len());
        return Err(Refusal::new(413, "too_large", text));
    }
    Ok(envelopes.into_iter().map(|envelope| envelope.0.into()).collect())
}

/// What the envelopes of a batch came to, as it is answered.
pub(crate) fn outcomes(outcomes: Vec<Outcome>) -> Vec<BatchOutcome> {
    let tell = |outcome| match outcome {
        Ok(receipt) => BatchOutcome { receipt: Some(receipt), error: None },
        Err(error) => BatchOutcome { receipt: None, error: Some(SubmitError::body(&error)) },
    };
    outcomes.into_iter().map(tell).collect()
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, SubmitError> {
    serde_json::from_slice(body).map_err(|error| SubmitError::Malformed(CodecError::Form(error.to_string())))
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        Self { status: error.http_status(), body: error.body() }
    }
}
