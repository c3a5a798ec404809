//! The command service: signed bytes in, receipts out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_projector::fold::judge;
use chaoschain_projector::{Producer, Projection};
use chaoschain_schemas::api::{ReadPoint, Receipt};
use chaoschain_state::BaseView;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::admission::{self, Queue, Submission, check_size, check_span};
use crate::append;
use crate::error::SubmitError;
use crate::foresight::check_rules_known;
use crate::options::{BATCH_EVENTS_MAX, CommandOptions};
use crate::producer::{BLOCK_BYTES_MIN, BlockProducer};
use crate::rate::{Buckets, Peer};
use crate::reply::{OnOutcome, Outcome, Reply};
use crate::shared::{Shared, may_be_history};
use crate::status::{CommandStatus, add};

/// Takes signed transitions in, has them sealed into blocks, and answers with receipts. Clones share it.
///
/// The same signed bytes, submitted any number of times, give one event and one receipt. Every submission is answered:
/// with a receipt, a refusal, that the service is busy, or that the outcome is unknown.
#[derive(Clone)]
pub struct CommandService(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    buckets: Buckets,
    threads: Mutex<Vec<JoinHandle<()>>>,
    watch: AbortHandle,
}

/// Why a service cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The log's messages are too short for a block.
    #[error("the log takes messages of {log} bytes, a block needs {BLOCK_BYTES_MIN}: raise the log's limit")]
    LogMessagesTooShort {
        /// What the log takes.
        log: usize,
    },
    /// A thread could not be started.
    #[error("a thread of the command service could not be started: {0}")]
    Thread(std::io::Error),
}

/// What would become of a transition if it were submitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum DryRun {
    /// The rules accept it in the block after this one.
    Acceptable(ReadPoint),
    /// It stands in a block already.
    Accepted(Receipt),
}

impl std::fmt::Debug for CommandService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CommandService({:?})", self.0.shared.projection)
    }
}

impl CommandService {
    /// Starts a service that seals blocks as `producer` on what `projection` follows.
    ///
    /// Must be called within a tokio runtime, which has to outlive the service.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(
        projection: Projection,
        producer: Producer,
        options: CommandOptions,
    ) -> Result<Self, StartError> {
        let log = projection.log().message_bytes_max();
        if log < BLOCK_BYTES_MIN {
            return Err(StartError::LogMessagesTooShort { log });
        }
        let queue = Arc::new(Queue::new(options.queue_events_max, options.queue_bytes_max));
        let buckets = Buckets::new(options.peer_rate, options.global_rate, Instant::now());
        let shared = Arc::new(Shared::new(projection, options, tokio::runtime::Handle::current()));
        let sealer = BlockProducer::new(Arc::clone(&shared), producer);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).map_err(StartError::Thread)
        };
        let seal = spawn("command-producer", Box::new(move || sealer.run()))?;
        let (ours, theirs) = (Arc::clone(&queue), Arc::clone(&shared));
        let admit = match spawn("command-admission", Box::new(move || admission::run(&ours, &theirs))) {
            Ok(admit) => admit,
            Err(error) => {
                shared.tell(|core| core.stop = true);
                return Err(error);
            }
        };
        let watch = append::watch_head(&shared);
        Ok(Self(Arc::new(Inner { shared, queue, buckets, threads: Mutex::new(vec![admit, seal]), watch })))
    }

    /// Submits one envelope and waits for what it comes to, at most [`CommandOptions::answer_patience`].
    ///
    /// # Errors
    /// [`SubmitError`]
    pub async fn submit(&self, envelope: Bytes, peer: Peer) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        let mut sender = Some(sender);
        self.enqueue([envelope], peer, |_| Reply::one(sender.take()));
        match tokio::time::timeout(self.0.shared.options.answer_patience, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(SubmitError::OutcomeUnknown),
        }
    }

    /// Submits up to [`BATCH_EVENTS_MAX`] envelopes and waits for what each comes to. They are judged one by one, in
    /// order within an author's lane; that one is refused does not keep the others.
    ///
    /// # Errors
    /// [`SubmitError::Busy`] for the envelopes beyond the bound, which are not looked at.
    pub async fn submit_batch(&self, envelopes: Vec<Bytes>, peer: Peer) -> Vec<Outcome> {
        let count = envelopes.len();
        let gather = Arc::new(Gather {
            outcomes: Mutex::new(vec![Err(SubmitError::OutcomeUnknown); count]),
            left: AtomicUsize::new(count),
            done: Mutex::new(None),
        });
        let (done, all_answered) = oneshot::channel();
        *gather.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        let into = Arc::clone(&gather);
        let on_outcome: OnOutcome = Arc::new(move |place, outcome| into.put(place, outcome));
        let mut envelopes = envelopes;
        for place in BATCH_EVENTS_MAX..count {
            on_outcome(place, Err(admission::busy("the batch holds more envelopes than are taken at once")));
        }
        envelopes.truncate(BATCH_EVENTS_MAX);
        self.submit_many(envelopes, peer, &on_outcome);
        if count > 0 {
            let patience = self.0.shared.options.answer_patience;
            drop(tokio::time::timeout(patience, all_answered).await);
        }
        gather.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Submits any number of envelopes without waiting. `on_outcome` is called exactly once for each, with its place
    /// among them; envelopes for which the queue has no room are answered as busy before this returns.
    pub fn submit_many(
        &self,
        envelopes: impl IntoIterator<Item = Bytes, IntoIter: ExactSizeIterator>,
        peer: Peer,
        on_outcome: &OnOutcome,
    ) {
        self.enqueue(envelopes, peer, |place| Reply::many(on_outcome, place));
    }

    fn enqueue(
        &self,
        envelopes: impl IntoIterator<Item = Bytes, IntoIter: ExactSizeIterator>,
        peer: Peer,
        mut reply: impl FnMut(usize) -> Reply,
    ) {
        let Inner { shared, queue, buckets, .. } = &*self.0;
        let envelopes = envelopes.into_iter();
        let count = envelopes.len();
        add(&shared.counters.submitted, count as u64);
        let (granted, wait) = buckets.take(peer, count, Instant::now());
        let mut refused = Vec::new();
        let submissions = envelopes.enumerate().filter_map(|(place, envelope)| {
            let reply = reply(place);
            let checked = if place < granted {
                check_size(&envelope)
            } else {
                let what = "submissions come faster than this service allows";
                Err(SubmitError::Busy { what, retry_after: wait })
            };
            match checked {
                Ok(()) => Some(Submission { envelope, reply }),
                Err(error) => {
                    refused.push((reply, error));
                    None
                }
            }
        });
        let turned_away = queue.push(submissions);
        refused.extend(turned_away.into_iter().map(|(submission, error)| (submission.reply, error)));
        for (reply, error) in refused {
            admission::answer(shared, reply, Err(error));
        }
    }

    /// Says what would become of an envelope on the newest confirmed height, without submitting it.
    ///
    /// # Errors
    /// The [`SubmitError`] that submitting it would give now, as far as can be told.
    pub async fn dry_run(&self, envelope: Bytes, peer: Peer) -> Result<DryRun, SubmitError> {
        let Inner { shared, buckets, .. } = &*self.0;
        let (granted, wait) = buckets.take(peer, 1, Instant::now());
        if granted == 0 {
            let what = "submissions come faster than this service allows";
            return Err(SubmitError::Busy { what, retry_after: wait });
        }
        check_size(&envelope)?;
        let shared = Arc::clone(shared);
        let judged = tokio::task::spawn_blocking(move || judge_now(&shared, envelope)).await;
        judged.unwrap_or(Err(SubmitError::OutcomeUnknown))
    }

    /// Figures of the service.
    pub fn status(&self) -> CommandStatus {
        let shared = &self.0.shared;
        let mut status = shared.counters.status();
        status.queued = self.0.queue.len();
        let (head, clock) = (shared.projection.head(), shared.options.clock.now());
        status.block_time_lag_us = clock.since(head.header.timestamp).0;
        let due = shared.projection.machine().next_due(&BaseView::new(&*head.state));
        status.due_lag_us = due.map_or(0, |due| clock.since(due).0);
        let core = self.0.shared.core();
        status.pending = core.pool.len();
        let now = Instant::now();
        status.stalled =
            core.stall.as_ref().filter(|stall| stall.until > now).map(|stall| stall.message.clone());
        status
    }

    /// [`CommandOptions::answer_patience`]
    pub(crate) fn answer_patience(&self) -> std::time::Duration {
        self.0.shared.options.answer_patience
    }

    /// The projection that it works on.
    pub fn projection(&self) -> &Projection {
        &self.0.shared.projection
    }

    /// Takes nothing more in, waits for the blocks on their way, answers everybody and ends. Doing so twice is doing it
    /// once.
    pub async fn shut_down(&self) {
        self.0.stop();
        let threads: Vec<_> =
            self.0.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the command service has panicked");
                }
            }
        });
        drop(joined.await);
    }
}

impl Inner {
    fn stop(&self) {
        self.queue.close();
        self.watch.abort();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Gathers the outcomes of a batch.
struct Gather {
    outcomes: Mutex<Vec<Outcome>>,
    left: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Gather {
    fn put(&self, place: usize, outcome: Outcome) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)[place] = outcome;
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // Whoever waited may have lost patience.
            done.send(()).ok();
        }
    }
}

fn judge_now(shared: &Shared, envelope: Bytes) -> Result<DryRun, SubmitError> {
    let event = VerifiedEnvelope::verify(envelope)?;
    let head = shared.projection.head();
    let now = shared.options.clock.now();
    let judged = match check_span(event.body(), head.header.chain, head.header.epoch) {
        Ok(()) => judge(&head, &**shared.projection.machine(), now, &event).map_err(|error| {
            let code = error.code().into();
            SubmitError::Unavailable { code, message: error.to_string(), retry_after: None }
        })?,
        Err(rejection) => Err(rejection),
    };
    if let Err(unknown) = check_rules_known(&**shared.projection.machine(), event.body()) {
        return shared.verdict_of_history(&event.id(), unknown).map(DryRun::Accepted);
    }
    match judged {
        Ok(()) => Ok(DryRun::Acceptable(head.read_point())),
        Err(rejection) if may_be_history(&rejection) => {
            let refused = SubmitError::Rejected(rejection);
            shared.verdict_of_history(&event.id(), refused).map(DryRun::Accepted)
        }
        Err(rejection) => Err(SubmitError::Rejected(rejection)),
    }
}
