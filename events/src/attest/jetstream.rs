//! A board on a NATS server: a stream of its own, one subject for each validator.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use bytes::Bytes;
use chaoschain_schemas::limits::{ATTESTATION_BYTES_MAX, VALIDATORS_MAX};
use chaoschain_schemas::{Attestation, ChainId, SignedAttestation, codec};
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;

use super::{Board, Posted};
use crate::log::LogError;
use crate::nats::{ApiError, Nats, Subjects};

/// How many attestations of one validator are kept; its oldest go first.
pub const KEPT_PER_VALIDATOR: i64 = 256;
/// How long a reader waits before it tries again after a failure.
const READ_RETRY: Duration = Duration::from_millis(500);
/// How often an idle server is to give a sign of life, and how long a request for messages stands.
const HEARTBEAT: Duration = Duration::from_secs(2);
const EXPIRES: Duration = Duration::from_secs(10);
/// How many messages are asked for at a time.
const BATCH_MESSAGES: usize = 256;
/// How long the server keeps a reader that is gone.
const READER_IDLE: Duration = Duration::from_mins(1);

/// Attestations in a JetStream stream. It is made by whoever makes the chain and found by everyone else.
#[derive(Debug)]
pub struct JetStreamBoard {
    nats: Nats,
    subjects: Subjects,
    closed: watch::Sender<bool>,
}

impl JetStreamBoard {
    /// Opens the board of `chain`. Where there is none it is made, on `replicas` servers, if `create` says so. Waits up to
    /// about 10 s for a cluster that is only starting.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the server cannot be asked, has no such stream, or has it in a form in which it
    /// would not keep attestations.
    pub async fn open(nats: Nats, chain: ChainId, replicas: usize, create: bool) -> Result<Self, LogError> {
        let subjects = Subjects::of(chain);
        let wanted = config(subjects, replicas);
        let found = match nats.open_stream(&wanted, create).await {
            Ok(info) => info.config,
            Err(ApiError::Refused(refusal)) if refusal.is_stream_not_found() => {
                let reason =
                    format!("there is no stream {}: was the chain made on this server?", wanted.name);
                return Err(LogError::Unavailable { reason });
            }
            Err(error) => return Err(unavailable(error)),
        };
        check(&found, &wanted)?;
        Ok(Self { nats, subjects, closed: watch::Sender::new(false) })
    }

    async fn put(&self, signed: SignedAttestation) -> Result<(), LogError> {
        if *self.closed.borrow() {
            return Err(LogError::Closed);
        }
        let attestation = Attestation::decode(&signed.attestation).map_err(unavailable)?;
        let subject = self.subjects.attest(&attestation.validator);
        let message = Bytes::from(codec::encode(&signed));
        let acknowledged = self.nats.jetstream().publish(subject, message).await.map_err(unavailable)?;
        acknowledged.await.map_err(unavailable)?;
        Ok(())
    }
}

impl Board for JetStreamBoard {
    fn publish(&self, attestation: SignedAttestation) -> BoxFuture<'_, Result<(), LogError>> {
        self.put(attestation).boxed()
    }

    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Posted>, LogError>> {
        let reader = Reader {
            nats: self.nats.clone(),
            stream: self.subjects.attest_stream(),
            created: None,
            next: 1,
            kept: Kept::Unknown,
            messages: None,
        };
        let posted = stream::unfold(reader, |mut reader| async move { Some((reader.next().await, reader)) });
        let mut closed = self.closed.subscribe();
        // A board that was dropped is closed as well.
        let closed = async move { drop(closed.wait_for(|closed| *closed).await) };
        ready(if *self.closed.borrow() {
            Err(LogError::Closed)
        } else {
            Ok(posted.take_until(closed).boxed())
        })
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.send_replace(true);
        ready(()).boxed()
    }
}

/// How far what was kept at the beginning reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Unknown,
    UpTo(u64),
    HandedOver,
}

/// A follower's place in the stream. The server's consumer is made anew whenever it fails.
struct Reader {
    nats: Nats,
    stream: String,
    /// When the stream was made: another one starts to count again.
    created: Option<String>,
    next: u64,
    kept: Kept,
    messages: Option<pull::Stream>,
}

impl Reader {
    async fn next(&mut self) -> Posted {
        loop {
            let failed = match self.advance().await {
                Ok(Some(posted)) => return posted,
                Ok(None) => continue,
                Err(failed) => failed,
            };
            tracing::warn!(%failed, stream = self.stream, "attestations cannot be read, trying again");
            self.messages = None;
            tokio::time::sleep(READ_RETRY).await;
        }
    }

    async fn advance(&mut self) -> Result<Option<Posted>, String> {
        if self.messages.is_none() {
            self.messages = Some(self.subscribe().await?);
        }
        if let Kept::UpTo(last) = self.kept
            && self.next > last
        {
            self.kept = Kept::HandedOver;
            return Ok(Some(Posted::CaughtUp));
        }
        let Some(messages) = &mut self.messages else { return Ok(None) };
        match messages.next().await {
            Some(Ok(message)) => self.take(message),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the server has ended the delivery".into()),
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Posted>, String> {
        let info = message.info().map_err(|error| error.to_string())?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        if sequence < self.next {
            return Ok(None);
        }
        self.next = sequence + 1;
        // What was kept may have been dropped while it was read.
        if let (Kept::UpTo(last), 0) = (self.kept, pending) {
            self.kept = Kept::UpTo(last.min(sequence));
        }
        Ok(Some(Posted::Attestation(message.message.payload)))
    }

    async fn subscribe(&mut self) -> Result<pull::Stream, String> {
        let stream =
            self.nats.jetstream().get_stream(&self.stream).await.map_err(|error| error.to_string())?;
        let info = stream.cached_info();
        let created = info.created.to_string();
        let other = self.created.as_ref().is_some_and(|known| *known != created);
        if other || info.state.last_sequence + 1 < self.next {
            tracing::warn!(
                stream = self.stream,
                "the stream of attestations was made anew; reading all of it"
            );
            self.next = 1;
        }
        self.created = Some(created);
        // Where it was made anew, what was kept there does not come any more.
        if self.kept == Kept::Unknown || (other && self.kept != Kept::HandedOver) {
            let last = if info.state.messages == 0 { 0 } else { info.state.last_sequence };
            self.kept = Kept::UpTo(last);
        }
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: self.next },
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| error.to_string())?;
        let messages =
            consumer.stream().max_messages_per_batch(BATCH_MESSAGES).heartbeat(HEARTBEAT).expires(EXPIRES);
        messages.messages().await.map_err(|error| error.to_string())
    }
}

fn config(subjects: Subjects, replicas: usize) -> Config {
    Config {
        name: subjects.attest_stream(),
        description: Some("attestations of a chaoschain".into()),
        subjects: vec![subjects.attest_all()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        max_messages_per_subject: KEPT_PER_VALIDATOR,
        max_messages: KEPT_PER_VALIDATOR.saturating_mul(i64::try_from(VALIDATORS_MAX).unwrap_or(i64::MAX)),
        max_message_size: i32::try_from(ATTESTATION_BYTES_MAX).unwrap_or(i32::MAX),
        num_replicas: replicas,
        ..Config::default()
    }
}

/// Refuses a stream that would not keep what is published. Replicas and larger limits are the operator's choice.
fn check(found: &Config, wanted: &Config) -> Result<(), LogError> {
    let keeps = |limit: i64| limit == -1 || limit >= 1;
    let wrong = if found.subjects != wanted.subjects {
        Some(format!("its subjects are {:?}, not {:?}", found.subjects, wanted.subjects))
    } else if found.retention != wanted.retention || found.discard != wanted.discard {
        Some("it is not limited by dropping the oldest (retention limits, discard old)".to_owned())
    } else if found.storage != wanted.storage || !found.max_age.is_zero() || found.no_ack {
        Some("it forgets: it must be in files, without an age limit, and acknowledge".to_owned())
    } else if !keeps(found.max_messages_per_subject)
        || !keeps(found.max_messages)
        || (found.max_message_size != -1 && found.max_message_size < wanted.max_message_size)
    {
        Some("its limits are too small for attestations".to_owned())
    } else {
        None
    };
    wrong.map_or(Ok(()), |wrong| {
        let reason = format!("the stream {} cannot be used: {wrong}; mend or remove it", found.name);
        Err(LogError::Unavailable { reason })
    })
}

fn unavailable(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable { reason: error.to_string() }
}
