//! What the parts of one log on JetStream share: the stream's names, what was seen of it, and questions to its leader.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::stream::{Info, RawMessage};
use async_nats::{HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chaoschain_schemas::Sequence;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;

use super::status::Counters;
use crate::log::{Entry, LogError};
use crate::nats::{ApiError, Nats};

/// How long one question to the leader may take.
pub(super) const ASK_PATIENCE: Duration = Duration::from_secs(2);
/// How often a question that nobody answered is asked: its server may have been about to go.
const QUESTIONS_MAX: u32 = 2;
/// How often a stream that seems deleted, replaced or shortened is looked at again before that is believed: a leader
/// that was just elected may not know yet what it has.
const SECOND_LOOKS: u32 = 20;
const SECOND_LOOK_PAUSE: Duration = Duration::from_millis(250);

/// JetStream's number for "there is no such message".
const NO_MESSAGE_FOUND: u32 = 10037;

/// One log, as its parts know it.
pub(super) struct Shared {
    pub(super) nats: Nats,
    pub(super) stream: String,
    pub(super) subject: String,
    /// When the stream was made, in its server's words: a stream of another time is another stream.
    pub(super) created: String,
    pub(super) replicas: usize,
    /// The largest message the stream takes, bytes with headers; 0 where only the server limits it.
    pub(super) stream_message_max: usize,
    /// The highest sequence that was acknowledged, read or told.
    pub(super) seen: AtomicU64,
    pub(super) open: watch::Sender<bool>,
    pub(super) counters: Counters,
}

/// Where the stream begins and ends, as its leader says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) first: u64,
    pub(super) tip: u64,
}

impl From<&Info> for View {
    fn from(info: &Info) -> Self {
        let state = &info.state;
        let first = if state.messages == 0 { state.last_sequence + 1 } else { state.first_sequence };
        Self { first, tip: state.last_sequence }
    }
}

impl View {
    pub(super) fn check_from(self, from: u64) -> Result<(), LogError> {
        if from < self.first {
            return Err(LogError::Compacted { first: Sequence(self.first) });
        }
        Ok(())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream")
            .field("nats", &self.nats)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// When a stream was made.
pub(super) fn created_of(info: &Info) -> String {
    info.created.to_string()
}

impl Shared {
    pub(super) fn check_open(&self) -> Result<(), LogError> {
        if *self.open.borrow() { Ok(()) } else { Err(LogError::Closed) }
    }

    /// Resolves when the log is closed.
    pub(super) async fn closed(&self) {
        let mut open = self.open.subscribe();
        // An error means that the sender is gone, which `self` prevents.
        let _ = open.wait_for(|open| !open).await;
    }

    pub(super) fn saw(&self, sequence: u64) {
        self.seen.fetch_max(sequence, Ordering::Relaxed);
    }

    /// For messages to people.
    pub(super) fn name(&self) -> String {
        format!("stream {} at {}", self.stream, self.nats.server())
    }

    /// Asks the leader where the stream begins and ends, and whether it is still the one that was opened.
    pub(super) async fn look(&self) -> Result<View, LogError> {
        let mut looks = 0;
        loop {
            let before = self.seen.load(Ordering::Relaxed);
            let doubt = match self.info().await {
                Ok(info) if created_of(&info) != self.created => LogError::Replaced {
                    log: self.name(),
                    reason: format!("it was made at {}, and that one at {}", created_of(&info), self.created),
                },
                Ok(info) => {
                    let view = View::from(&info);
                    self.counters.note_cluster(&info);
                    if view.tip >= before {
                        self.saw(view.tip);
                        return Ok(view);
                    }
                    // Without a leader every server that keeps the stream says what it has itself.
                    if info.cluster.as_ref().is_some_and(|cluster| cluster.leader.is_none()) {
                        let reason = format!("the {} has no leader now", self.name());
                        return Err(LogError::Unavailable { reason });
                    }
                    LogError::Lost { tip: Sequence(view.tip), seen: Sequence(before) }
                }
                Err(ApiError::Refused(refusal)) if refusal.is_stream_not_found() => {
                    LogError::Replaced { log: self.name(), reason: "it was deleted".into() }
                }
                Err(error) => return Err(unavailable(&error)),
            };
            looks += 1;
            if looks > SECOND_LOOKS {
                return Err(doubt);
            }
            tokio::time::sleep(SECOND_LOOK_PAUSE).await;
        }
    }

    async fn info(&self) -> Result<Info, ApiError> {
        self.ask(&format!("STREAM.INFO.{}", self.stream), "", ASK_PATIENCE).await
    }

    /// Asks JetStream's API, and again where nothing is heard within `patience`.
    async fn ask<T: DeserializeOwned>(
        &self,
        subject: &str,
        payload: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<T, ApiError> {
        let payload = payload.into();
        let mut asked = 0;
        loop {
            let answer = self.nats.api(subject, payload.clone(), patience).await;
            asked += 1;
            if !matches!(answer, Err(ApiError::TimedOut { .. })) || asked == QUESTIONS_MAX {
                return answer;
            }
        }
    }

    /// The first message at or after `from`, from the leader; none beyond the tip.
    ///
    /// Where JetStream itself has no leader it refuses that, and still answers for what a stream has: then any server that
    /// keeps the stream is asked, and believed only if it has a message, for it may be behind.
    pub(super) async fn get(&self, from: u64, patience: Duration) -> Result<Option<Entry>, LogError> {
        let subject = format!("STREAM.MSG.GET.{}", self.stream);
        let request = json!({ "seq": from, "next_by_subj": self.subject }).to_string();
        let found: Result<Found, ApiError> = self.ask(&subject, request.clone(), patience).await;
        match found {
            Ok(Found { message }) => {
                let bytes = STANDARD.decode(&message.payload).map_err(|error| LogError::Unavailable {
                    reason: format!(
                        "message {} of the {} cannot be read: {error}",
                        message.sequence,
                        self.name()
                    ),
                })?;
                self.saw(message.sequence);
                Ok(Some(Entry { sequence: Sequence(message.sequence), message: Bytes::from(bytes) }))
            }
            Err(ApiError::Refused(refusal)) if refusal.err_code == NO_MESSAGE_FOUND => Ok(None),
            // It says why the stream is not there.
            Err(ApiError::Refused(refusal)) if refusal.is_stream_not_found() => {
                self.look().await.map(|_| None)
            }
            Err(ApiError::Refused(refusal)) if refusal.is_not_ready() => {
                let entry = self.get_from_any(request, patience).await;
                entry.map(Some).ok_or_else(|| unavailable(&ApiError::Refused(refusal)))
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// The message that this request of [`get`](Self::get) asks for, from any server that has it.
    async fn get_from_any(&self, request: String, patience: Duration) -> Option<Entry> {
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream);
        let message = self.nats.ask(&subject, request.into(), patience).await.ok()?;
        let headers = message.headers.filter(|_| message.status.is_none())?;
        // What the server says comes after what the message was stored with.
        let said = |name| headers.get_last(name).map(HeaderValue::as_str);
        if said(header::NATS_STREAM) != Some(&*self.stream) {
            return None;
        }
        let sequence = said(header::NATS_SEQUENCE)?.parse().ok()?;
        self.saw(sequence);
        Some(Entry { sequence: Sequence(sequence), message: message.payload })
    }

    /// [`get`](Self::get), with the checks a reader is owed.
    pub(super) async fn get_checked(&self, from: u64) -> Result<Option<Entry>, LogError> {
        let entry = self.get(from, ASK_PATIENCE).await?;
        if entry.as_ref().is_some_and(|entry| entry.sequence.0 == from) {
            return Ok(entry);
        }
        // Beyond the tip, in a gap, or compacted away.
        self.look().await?.check_from(from)?;
        Ok(entry)
    }
}

#[derive(serde::Deserialize)]
struct Found {
    message: RawMessage,
}

pub(super) fn unavailable(error: &ApiError) -> LogError {
    LogError::Unavailable { reason: error.to_string() }
}
