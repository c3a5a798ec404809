//! The asking side: the same bytes again until there is an answer, or patience ends.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use chaoschain_schemas::api::ErrorBody;
use chaoschain_schemas::codec;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::message::{Form, find, header};
use crate::trace::{TRACEPARENT, TraceContext};

/// How long the first try waits for its answer; then the same is asked again, of whichever instance. A request may be lost
/// with a connection, so this is short; an answer may be slow, so each further try waits twice as long.
pub const TRY_FIRST: Duration = Duration::from_secs(2);
/// The longest that one try waits.
pub const TRY_MAX: Duration = Duration::from_secs(30);
/// The pause after nobody was there to answer.
const ABSENCE_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before asking again.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The longest refusal that is read, bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The service refuses.
    #[error("{}", body.message)]
    Refused {
        /// The HTTP status that says the same.
        status: u16,
        /// What it says.
        body: ErrorBody,
    },
    /// Nobody answered within the patience given. What was submitted may have been accepted: submit the same bytes again.
    #[error("nobody answered at {subject} within {} ms: {reason}", patience.as_millis())]
    Unanswered {
        /// Where it was asked.
        subject: String,
        /// For how long.
        patience: Duration,
        /// What happened to the last try.
        reason: String,
    },
    /// The request is larger than the server takes.
    #[error(
        "the request has {bytes} bytes, this NATS server takes messages of {max}: send less at once, or over HTTP"
    )]
    TooLarge {
        /// Its bytes, headers not counted.
        bytes: usize,
        /// What the server takes, headers included.
        max: usize,
    },
    /// The answer cannot be read.
    #[error("the answer from {subject} cannot be read: {reason}")]
    Malformed {
        /// Where it was asked.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl AskError {
    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { body, .. } => &body.code,
            Self::Unanswered { .. } => "nats_unanswered",
            Self::TooLarge { .. } => "request_too_large",
            Self::Malformed { .. } => "answer_malformed",
        }
    }
}

/// What to ask, and how.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// Where.
    pub subject: &'a str,
    /// The bytes; every try sends the same, so they must mean the same however often they come.
    pub payload: Bytes,
    /// Their form.
    pub content: Form,
    /// The form of the answer.
    pub accept: Form,
    /// For how long to try, at least once.
    pub patience: Duration,
}

/// Asks until there is an answer other than "later". One trace spans all tries.
///
/// # Errors
/// [`AskError`]
pub async fn ask(client: &Client, asking: Asking<'_>) -> Result<Bytes, AskError> {
    let Asking { subject, payload, content, accept, patience } = asking;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content.content_type());
    headers.insert(header::ACCEPT, accept.content_type());
    headers.insert(TRACEPARENT, TraceContext::fresh().to_string());
    let deadline = Instant::now() + patience;
    let mut one_try = TRY_FIRST;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = Request::new()
            .headers(headers.clone())
            .payload(payload.clone())
            .timeout(Some(left.clamp(ABSENCE_PAUSE, one_try)));
        let (failed, pause) = match client.send_request(subject.to_owned(), request).await {
            Ok(answer) => match read(subject, answer) {
                Ok(payload) => return Ok(payload),
                Err(error) => match later(&error) {
                    Some(pause) => (error, pause),
                    None => return Err(error),
                },
            },
            Err(error) => {
                if error.kind() == RequestErrorKind::MaxPayloadExceeded {
                    return Err(AskError::TooLarge { bytes: payload.len(), max: client.max_payload() });
                }
                let pause = if error.kind() == RequestErrorKind::TimedOut {
                    one_try = (2 * one_try).min(TRY_MAX);
                    Duration::ZERO
                } else {
                    ABSENCE_PAUSE
                };
                // The kind says it all, but for the one that says nothing.
                let reason = match error.kind() {
                    RequestErrorKind::Other => error.to_string(),
                    kind => kind.to_string(),
                };
                let subject = subject.to_owned();
                (AskError::Unanswered { subject, patience, reason }, pause)
            }
        };
        if Instant::now() + pause >= deadline {
            return Err(failed);
        }
        tracing::debug!(code = failed.code(), "no answer yet from {subject}, asking again");
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before asking again, where that makes sense.
fn later(error: &AskError) -> Option<Duration> {
    let AskError::Refused { status: 429 | 503, body } = error else { return None };
    body.retry_after_ms.map(|millis| Duration::from_millis(millis).min(PAUSE_MAX))
}

fn read(subject: &str, answer: Message) -> Result<Bytes, AskError> {
    let headers = answer.headers.as_ref();
    let Some(status) = find(headers, header::ERROR_CODE) else { return Ok(answer.payload) };
    let status = status.parse().map_err(|_| AskError::Malformed {
        subject: subject.to_owned(),
        reason: format!("its error code is {status:?}"),
    })?;
    let body = match find(headers, header::CONTENT_TYPE).map(Form::of) {
        Some(Ok(Form::Json)) => serde_json::from_slice(&answer.payload).ok(),
        Some(Ok(Form::MsgPack)) => codec::decode(&answer.payload, REFUSAL_BYTES_MAX).ok(),
        _ => None,
    };
    let body = body.unwrap_or_else(|| ErrorBody {
        code: "refused".into(),
        message: find(headers, header::ERROR).unwrap_or("the service refuses and says no reason").to_owned(),
        retry_after_ms: None,
    });
    Err(AskError::Refused { status, body })
}

/// Reads a JSON answer that came from `subject`.
///
/// # Errors
/// [`AskError::Malformed`]
pub fn read_json<T: DeserializeOwned>(subject: &str, answer: &[u8]) -> Result<T, AskError> {
    serde_json::from_slice(answer)
        .map_err(|error| AskError::Malformed { subject: subject.to_owned(), reason: error.to_string() })
}
