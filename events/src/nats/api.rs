//! Requests, answered or plainly not.

use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use async_nats::{Message, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use super::link::Denial;
use super::{Denied, Nats, NatsError};

/// JetStream's numbers for what passes when a cluster is up: "incomplete results", "not in clustered mode", "temporarily
/// unavailable", "cannot handle request".
const NOT_READY: [u32; 4] = [10004, 10006, 10008, 10009];
/// JetStream's numbers for "no suitable peers" and "insufficient resources": there are too few servers, or a leader has not
/// heard of the others yet.
const TOO_FEW_SERVERS: [u32; 2] = [10005, 10023];
/// JetStream's number for a stream that could not be made: its server may still be about the files of one of that name which
/// was deleted ("error creating store for stream"). What does not pass has this number as well.
const STREAM_NOT_MADE: u32 = 10049;
/// JetStream's numbers for "there is no such stream", and for one of this name with another configuration.
const STREAM_NOT_FOUND: u32 = 10059;
const STREAM_NAME_TAKEN: u32 = 10058;

/// Why a request of the JetStream API has no answer that could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// JetStream says no.
    Refused(Refusal),
    /// Nobody listens: JetStream is off, or what was asked for is not there, or has no leader now.
    NoResponders { subject: String },
    /// Nothing was heard, and there was a connection.
    TimedOut { server: String, subject: String },
    /// There is no connection.
    Disconnected,
    /// The user may not ask this.
    Denied(Denial),
    /// The answer is not one.
    Malformed { subject: String, reason: String },
}

impl ApiError {
    /// Whether it may be otherwise in a moment, as with a cluster that is only starting.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                refusal.is_not_ready()
                    || TOO_FEW_SERVERS.contains(&refusal.err_code)
                    || refusal.err_code == STREAM_NOT_MADE
            }
            Self::TimedOut { .. } | Self::Disconnected => true,
            Self::NoResponders { .. } | Self::Denied(_) | Self::Malformed { .. } => false,
        }
    }
}

impl Refusal {
    /// Whether the servers have no leader, or are only starting.
    pub(crate) fn is_not_ready(&self) -> bool {
        NOT_READY.contains(&self.err_code)
    }

    /// Whether there is no such stream.
    pub(crate) fn is_stream_not_found(&self) -> bool {
        self.err_code == STREAM_NOT_FOUND
    }

    /// Whether there is a stream of this name with another configuration.
    pub(crate) fn is_stream_name_taken(&self) -> bool {
        self.err_code == STREAM_NAME_TAKEN
    }
}

/// JetStream's way of saying no.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} (code {err_code})")]
pub(crate) struct Refusal {
    /// As in HTTP.
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

/// An answer of JetStream, or its refusal.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer<T> {
    No { error: Refusal },
    Yes(T),
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "JetStream says: {refusal}"),
            Self::NoResponders { subject } => write!(f, "nobody answers {subject} now"),
            Self::TimedOut { server, subject } => write!(f, "{server} did not answer {subject} in time"),
            Self::Disconnected => f.write_str("there is no connection to the NATS server"),
            Self::Denied(denial) => NatsError::from(denial.clone()).fmt(f),
            Self::Malformed { subject, reason } => {
                write!(f, "the answer to {subject} cannot be read: {reason}")
            }
        }
    }
}

impl Nats {
    /// Asks the JetStream API: `subject` without `$JS.API.`, `payload` JSON or nothing.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        subject: &str,
        payload: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<T, ApiError> {
        let subject = format!("$JS.API.{subject}");
        let message = self.ask(&subject, payload.into(), patience).await?;
        match serde_json::from_slice(&message.payload) {
            Ok(Answer::Yes(answer)) => Ok(answer),
            Ok(Answer::No { error }) => Err(ApiError::Refused(error)),
            Err(error) => Err(ApiError::Malformed { subject, reason: error.to_string() }),
        }
    }

    /// Sends a request and waits for its answer, or for the word that it is not allowed.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Message, ApiError> {
        let mut denials = self.denials();
        let request = Request::new().payload(payload).timeout(Some(patience));
        // The time-out of the request alone does not bound the wait for room in the client's queue.
        let answer = tokio::time::timeout(
            patience + Duration::from_millis(100),
            self.client().send_request(subject.to_owned(), request),
        );
        let answer = tokio::select! {
            answer = answer => answer,
            denial = denied(&mut denials, subject) => return Err(ApiError::Denied(denial)),
        };
        let kind = match answer {
            Ok(Ok(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                RequestErrorKind::NoResponders
            }
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(error)) => error.kind(),
            Err(_) => RequestErrorKind::TimedOut,
        };
        let subject = subject.to_owned();
        Err(match kind {
            RequestErrorKind::NoResponders => ApiError::NoResponders { subject },
            _ if !self.is_connected() => ApiError::Disconnected,
            RequestErrorKind::TimedOut => match self.inbox_denied() {
                Some(denial) => ApiError::Denied(denial),
                None => ApiError::TimedOut { server: self.server(), subject },
            },
            kind => ApiError::Malformed { subject, reason: kind.to_string() },
        })
    }
}

/// Waits until the server says that `subject`, or being answered, is not allowed.
pub(crate) async fn denied(denials: &mut broadcast::Receiver<Denial>, subject: &str) -> Denial {
    loop {
        match denials.recv().await {
            Ok(denial) if denial.action == Denied::Publish && denial.subject == subject => return denial,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
