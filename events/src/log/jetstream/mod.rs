//! The log in a JetStream stream: several processes append, the server decides.
//!
//! One message of the stream is one message of the log. The server's condition on the last sequence is what makes the tip
//! decide; reading goes by pull consumers, whose place is kept by the reader, or message by message where there is none to be
//! had; whatever has to be certain is asked of the stream's leader.
//!
//! # Layout
//! `append.rs` sends and says what became of it, `pull.rs` is a consumer, `follow.rs` a reader's place, `stream.rs` the
//! configuration, `shared.rs` questions to the leader, `status.rs` the counters.
//!
//! # Guarantees
//! Those of [`EventLog`], as far as the server keeps its own: "durable" is what it acknowledges, so it must sync every
//! write and, where it matters, keep three replicas ([`JetStreamLog::warnings`]). A stream that was deleted, made anew or
//! cut short is noticed and named, never read on from as if nothing had happened. Bytes are checked by the server.

mod append;
mod follow;
mod pull;
mod shared;
mod status;
mod stream;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_schemas::{ChainId, Sequence};
use futures::future::{BoxFuture, FutureExt as _, ready};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};
use crate::nats::{ApiError, Nats, NatsError, Subjects};
use append::{HEADERS_BYTES_MAX, Job, Room, Writer};
use follow::Follower;
use shared::{ASK_PATIENCE, Shared, View, created_of, unavailable};
use status::Counters;
pub use status::JetStreamStatus;

/// The most appends under way at once; one more is answered with [`AppendError::Busy`].
const APPENDS_IN_FLIGHT_MAX: usize = 256;
/// The most bytes of messages under way; above it, [`AppendError::Busy`].
const APPEND_BYTES_MAX: usize = 64 << 20;
/// Reads of so few messages ask for each by itself, without a consumer.
const SINGLE_READS_MAX: u64 = 8;
/// How long closing waits for the appends under way: each of them ends before.
const CLOSE_PATIENCE: Duration = Duration::from_secs(15);

/// The headers a block's message carries for people and tools; nothing here reads them.
pub(crate) mod header_names {
    pub(crate) const HEIGHT: &str = "Chaoschain-Height";
    pub(crate) const STATE_ROOT: &str = "Chaoschain-State-Root";
    pub(crate) const EVENTS: &str = "Chaoschain-Events";
}

/// How a log on JetStream is opened.
#[derive(Clone, Debug)]
pub struct JetStreamOptions {
    /// The chain.
    pub chain: ChainId,
    /// The chain's name, for the stream's description.
    pub name: String,
    /// Whether a stream that is not there is made; without it, that is an error.
    pub create: bool,
    /// On how many servers a new stream is kept: 1, 3 or 5.
    pub replicas: usize,
    /// Whether the server is known to sync every write, as one that we manage is. A client cannot find out.
    pub fsync_always: bool,
}

/// What a log is called on the server.
struct Names {
    stream: String,
    subject: String,
}

/// A log on JetStream.
#[derive(Debug)]
pub struct JetStreamLog {
    shared: Arc<Shared>,
    /// None once closed. Held while a job is queued, so that jobs are in the order of the calls.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    bytes_free: Arc<Semaphore>,
    done: watch::Receiver<bool>,
    warnings: Vec<String>,
}

impl JetStreamLog {
    /// Opens the chain's stream, or makes it; a stream whose configuration could lose or reorder blocks is refused.
    /// Waits up to about 10 s for a cluster that is only starting.
    ///
    /// # Errors
    /// [`NatsError`].
    pub async fn open(nats: Nats, options: JetStreamOptions) -> Result<Self, NatsError> {
        let subjects = Subjects::of(options.chain);
        let names = Names { stream: subjects.log_stream(), subject: subjects.block() };
        let info = stream::open(&nats, &names, &options).await?;
        let warnings = stream::warnings(&nats, &info, &options);
        let view = View::from(&info);
        let shared = Arc::new(Shared {
            stream: names.stream,
            subject: names.subject,
            created: created_of(&info),
            replicas: info.config.num_replicas,
            stream_message_max: usize::try_from(info.config.max_message_size).unwrap_or(0),
            seen: view.tip.into(),
            open: watch::Sender::new(true),
            counters: Counters::default(),
            nats,
        });
        shared.counters.note_cluster(&info);
        let inbox = shared.nats.client().new_inbox();
        let answers = shared.nats.client().subscribe(format!("{inbox}.*")).await;
        let answers = answers.map_err(|error| NatsError::Unreachable {
            url: shared.nats.url().to_owned(),
            reason: error.to_string(),
        })?;
        let (jobs, queue) = mpsc::channel(APPENDS_IN_FLIGHT_MAX);
        let (finished, done) = watch::channel(false);
        let writer = Writer::new(Arc::clone(&shared), queue, inbox, answers);
        tokio::spawn(async move {
            writer.run().await;
            finished.send_replace(true);
        });
        let bytes_free = Arc::new(Semaphore::new(APPEND_BYTES_MAX));
        Ok(Self { shared, jobs: Mutex::new(Some(jobs)), bytes_free, done, warnings })
    }

    /// What an operator should know of this log though it works: how it may still lose what it acknowledged.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The connection it works over.
    pub fn nats(&self) -> &Nats {
        &self.shared.nats
    }

    fn room(&self, bytes: usize) -> Option<Room> {
        let shared = &self.shared;
        let bytes = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.bytes_free).try_acquire_many_owned(bytes).ok()?;
        let in_flight = &shared.counters.in_flight;
        let taken = in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < APPENDS_IN_FLIGHT_MAX as u64).then_some(count + 1)
        });
        taken.ok().map(|_| Room { shared: Arc::clone(shared), _bytes: permit })
    }

    fn queue(&self, job: Job) -> Result<(), AppendError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            None | Some(Err(mpsc::error::TrySendError::Closed(_))) => Err(AppendError::Closed),
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                Err(AppendError::Busy { in_flight_max: APPENDS_IN_FLIGHT_MAX })
            }
            Some(Ok(())) => Ok(()),
        }
    }

    async fn read_from(&self, from: u64, limits: ReadLimits) -> Result<Vec<Entry>, LogError> {
        let shared = &self.shared;
        if limits.messages <= 1 {
            return Ok(shared.get_checked(from).await?.into_iter().collect());
        }
        let view = shared.look().await?;
        view.check_from(from)?;
        if from > view.tip {
            return Ok(Vec::new());
        }
        let there = view.tip - from + 1;
        if there > SINGLE_READS_MAX && limits.messages as u64 > SINGLE_READS_MAX {
            return Follower::new(Arc::clone(shared), from, limits).read_to(view.tip).await;
        }
        let (mut entries, mut next, mut bytes): (Vec<Entry>, _, usize) = (Vec::new(), from, 0);
        while next <= view.tip && entries.len() < limits.messages {
            let entry = match shared.get_checked(next).await {
                Ok(Some(entry)) => entry,
                Err(error) if entries.is_empty() => return Err(error),
                Ok(None) | Err(_) => break,
            };
            bytes = bytes.saturating_add(entry.message.len());
            if bytes > limits.bytes && !entries.is_empty() {
                break;
            }
            next = entry.sequence.0 + 1;
            entries.push(entry);
            if bytes >= limits.bytes {
                break;
            }
        }
        Ok(entries)
    }

    async fn purge(&self, before: Sequence) -> Result<Sequence, LogError> {
        let shared = &self.shared;
        let view = shared.look().await?;
        if before.0 > view.tip + 1 {
            return Err(LogError::BeyondTip { tip: Sequence(view.tip) });
        }
        if before.0 <= view.first {
            return Ok(Sequence(view.first));
        }
        let subject = format!("STREAM.PURGE.{}", shared.stream);
        let request = json!({ "seq": before.0 }).to_string();
        // It may have to remove many files; on a cluster, everywhere.
        let purged: Result<serde_json::Value, ApiError> =
            shared.nats.api(&subject, request, ASK_PATIENCE * 5).await;
        match purged {
            Ok(_) => {}
            Err(ApiError::Refused(refusal)) if refusal.is_stream_not_found() => {}
            Err(error) => return Err(unavailable(&error)),
        }
        Ok(Sequence(shared.look().await?.first))
    }

    /// Runs `work`, unless the log is closed or gets closed.
    async fn while_open<T>(&self, work: impl Future<Output = Result<T, LogError>>) -> Result<T, LogError> {
        self.shared.check_open()?;
        tokio::select! {
            biased;
            () = self.shared.closed() => Err(LogError::Closed),
            done = work => done,
        }
    }
}

impl EventLog for JetStreamLog {
    fn append(
        &self,
        expected_tip: Sequence,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        let (bytes, max) = (message.len(), self.shared.message_bytes_max());
        if bytes > max {
            return ready(Err(AppendError::TooLarge { bytes, max })).boxed();
        }
        let Some(room) = self.room(bytes) else {
            return ready(Err(AppendError::Busy { in_flight_max: APPENDS_IN_FLIGHT_MAX })).boxed();
        };
        let (reply, answer) = oneshot::channel();
        match self.queue(Job { expected_tip, message, reply, queued: Instant::now(), room }) {
            Err(error) => ready(Err(error)).boxed(),
            Ok(()) => answer
                .map(move |answer| {
                    let reason = || "the connection was closed".to_owned();
                    answer.unwrap_or_else(|_| Err(AppendError::Unclear { expected_tip, reason: reason() }))
                })
                .boxed(),
        }
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.while_open(self.shared.look().map(|view| Ok(Sequence(view?.tip)))).boxed()
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.while_open(self.shared.look().map(|view| Ok(Sequence(view?.first)))).boxed()
    }

    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        self.while_open(self.read_from(from.0.max(1), limits)).boxed()
    }

    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        let from = from.0.max(1);
        self.while_open(async move {
            self.shared.look().await?.check_from(from)?;
            let follower = Follower::new(Arc::clone(&self.shared), from, limits);
            Ok(Box::new(follower) as Box<dyn Subscription>)
        })
        .boxed()
    }

    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.while_open(self.purge(before)).boxed()
    }

    fn message_bytes_max(&self) -> usize {
        self.shared.message_bytes_max()
    }

    fn description(&self) -> String {
        let replicas = match self.shared.replicas {
            0 | 1 => "1 replica".to_owned(),
            count => format!("{count} replicas"),
        };
        format!("JetStream {}, {replicas}", self.shared.name())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut done = self.done.clone();
        async move {
            // An error means that the writer is gone, which is as good.
            let _ = tokio::time::timeout(CLOSE_PATIENCE, done.wait_for(|done| *done)).await;
            self.shared.open.send_replace(false);
        }
        .boxed()
    }
}

impl Drop for JetStreamLog {
    /// Subscriptions end with the log; appends under way are still seen to.
    fn drop(&mut self) {
        self.shared.open.send_replace(false);
    }
}

impl Shared {
    fn message_bytes_max(&self) -> usize {
        let server = self.nats.client().max_payload();
        let stream = if self.stream_message_max == 0 { server } else { self.stream_message_max };
        server.min(stream).saturating_sub(HEADERS_BYTES_MAX)
    }
}
