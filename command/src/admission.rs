//! The way in: a bounded queue of bytes, and the one thread that makes verified transitions of them.
//!
//! The thread takes whatever has gathered, checks it as one batch over all cores, hands it to the mempool and comes
//! back. Alone, a submission is thus checked at once; under load batches grow by themselves.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::envelope::{EnvelopeError, VerifiedEnvelope, verify_envelopes_if};
use chaoschain_projector::{DIRTY_ROWS_MAX, Projection};
use chaoschain_schemas::limits::ENVELOPE_BYTES_MAX;
use chaoschain_schemas::{Body, ChainId, CodecError, TransitionId};
use chaoschain_state::Rejection;

use crate::error::SubmitError;
use crate::foresight::check_rules_known;
use crate::options::VERIFY_BATCH_MAX;
use crate::reply::{Joined, Outcome, Reply};
use crate::shared::{Shared, may_be_history};
use crate::status::add;

/// When to come back after a full queue or mempool.
pub(crate) const BUSY_RETRY_AFTER: Duration = Duration::from_millis(100);

/// How much may wait to be stored, while the store cannot be written, before nothing more is taken in: half of what
/// holds up the fold, rows.
const UNSTORED_ROWS_MAX: usize = DIRTY_ROWS_MAX / 2;
/// How often the store is looked at, at most.
const STORE_LOOK: Duration = Duration::from_millis(100);
/// When to come back while the store cannot be written.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bytes on their way in.
pub(crate) struct Submission {
    pub(crate) envelope: Bytes,
    pub(crate) reply: Reply,
}

/// The queue before verification.
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    bell: Condvar,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct QueueState {
    submissions: VecDeque<Submission>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { state: Mutex::default(), bell: Condvar::new(), events_max, bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what there is room for and gives back the rest, with the reason.
    pub(crate) fn push(
        &self,
        submissions: impl Iterator<Item = Submission>,
    ) -> Vec<(Submission, SubmitError)> {
        let mut state = self.lock();
        let mut refused = Vec::new();
        for submission in submissions {
            let bytes = state.bytes + submission.envelope.len();
            if state.closed {
                refused.push((submission, SubmitError::ShuttingDown));
            } else if state.submissions.len() >= self.events_max || bytes > self.bytes_max {
                refused.push((submission, busy("too many submissions wait to be checked")));
            } else {
                state.bytes = bytes;
                state.submissions.push_back(submission);
            }
        }
        drop(state);
        self.bell.notify_one();
        refused
    }

    /// Waits for submissions and takes what is there, up to a batch; `None` when nothing comes any more.
    fn take(&self) -> Option<Vec<Submission>> {
        let mut state = self.lock();
        while state.submissions.is_empty() && !state.closed {
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        let count = state.submissions.len().min(VERIFY_BATCH_MAX);
        let batch: Vec<Submission> = state.submissions.drain(..count).collect();
        state.bytes -= batch.iter().map(|submission| submission.envelope.len()).sum::<usize>();
        Some(batch)
    }

    /// Takes nothing in from now on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_one();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().submissions.len()
    }
}

pub(crate) fn busy(what: &'static str) -> SubmitError {
    SubmitError::Busy { what, retry_after: BUSY_RETRY_AFTER }
}

/// Refuses what is too large to be an envelope, before anything is done with it.
pub(crate) const fn check_size(envelope: &Bytes) -> Result<(), SubmitError> {
    if envelope.len() > ENVELOPE_BYTES_MAX {
        let error = CodecError::TooLarge { bytes: envelope.len(), max: ENVELOPE_BYTES_MAX };
        return Err(SubmitError::Malformed(error));
    }
    Ok(())
}

impl From<EnvelopeError> for SubmitError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Envelope(error) | EnvelopeError::Body(error) => Self::Malformed(error),
            other => Self::Signature(other.to_string()),
        }
    }
}

/// Checks what needs no state but the newest header: chain and epoch.
pub(crate) fn check_span(body: &Body, chain: ChainId, epoch: u64) -> Result<(), Rejection> {
    if body.chain != chain {
        return Err(Rejection::ChainWrong { want: chain.into(), got: body.chain.into() });
    }
    if body.epoch != epoch {
        return Err(Rejection::EpochWrong { want: epoch, got: body.epoch });
    }
    Ok(())
}

/// Why bytes do not become a verified transition.
enum Unfit {
    Envelope(EnvelopeError),
    Span(TransitionId, Box<Rejection>),
}

impl From<EnvelopeError> for Unfit {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

/// Knows, as of a moment ago, whether the projection's store is so far behind that confirming blocks would soon block.
#[derive(Default)]
struct StoreWatch {
    looked: Option<Instant>,
    behind: bool,
}

impl StoreWatch {
    fn is_behind(&mut self, now: Instant, look: impl FnOnce() -> bool) -> bool {
        if self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= STORE_LOOK) {
            (self.looked, self.behind) = (Some(now), look());
        }
        self.behind
    }
}

fn store_is_behind(projection: &Projection) -> bool {
    let status = projection.status();
    is_too_much_unstored(status.store_error.as_deref(), status.dirty_rows)
}

const fn is_too_much_unstored(store_error: Option<&str>, rows: usize) -> bool {
    store_error.is_some() && rows > UNSTORED_ROWS_MAX
}

/// Runs the stage until the queue is closed; then everything in it is answered and the producer told to end.
pub(crate) fn run(queue: &Queue, shared: &Arc<Shared>) {
    let mut store = StoreWatch::default();
    while let Some(batch) = queue.take() {
        admit(shared, &mut store, batch);
    }
    let left: Vec<_> = queue.lock().submissions.drain(..).collect();
    for submission in left {
        answer(shared, submission.reply, Err(SubmitError::ShuttingDown));
    }
    shared.tell(|core| core.stop = true);
}

pub(crate) fn answer(shared: &Shared, reply: Reply, outcome: Outcome) {
    shared.counters.count(&outcome);
    reply.answer(outcome);
}

fn admit(shared: &Arc<Shared>, store: &mut StoreWatch, batch: Vec<Submission>) {
    let stall = shared.core().stall.clone();
    let now = Instant::now();
    let stalled = stall.filter(|stall| stall.until > now).map(|stall| stall.error(now));
    let unstored = || {
        let what = "the state cannot be stored, and too much of it waits to be";
        let behind = store.is_behind(now, || store_is_behind(&shared.projection));
        behind.then_some(SubmitError::Busy { what, retry_after: STORE_RETRY_AFTER })
    };
    if let Some(error) = shared.obstacle().or(stalled).or_else(unstored) {
        for submission in batch {
            answer(shared, submission.reply, Err(error.clone()));
        }
        return;
    }
    let fresh = join(shared, batch);
    let head = shared.projection.head();
    let (chain, epoch) = (head.header.chain, head.header.epoch);
    let span = |id: &TransitionId, body: &Body| {
        check_span(body, chain, epoch).map_err(|rejection| Unfit::Span(*id, Box::new(rejection)))
    };
    let mut refused: Vec<(Bytes, Outcome)> = Vec::new();
    let mut verified = Vec::with_capacity(fresh.len());
    for (envelope, outcome) in fresh.iter().zip(verify_envelopes_if(&fresh, span)) {
        let error = match outcome {
            Ok(event) => {
                match check_rules_known(&**shared.projection.machine(), event.body()) {
                    Ok(()) => verified.push(event),
                    Err(error) => look_up(shared, envelope.clone(), event.id(), error),
                }
                continue;
            }
            Err(Unfit::Span(id, rejection)) if may_be_history(&rejection) => {
                look_up(shared, envelope.clone(), id, SubmitError::Rejected(*rejection));
                continue;
            }
            Err(Unfit::Span(_, rejection)) => SubmitError::Rejected(*rejection),
            Err(Unfit::Envelope(error)) => error.into(),
        };
        refused.push((envelope.clone(), Err(error)));
    }
    refused.extend(insert(shared, verified));
    respond(shared, refused);
}

/// Joins each submission to those of the same bytes; the bytes that are new come back.
fn join(shared: &Shared, batch: Vec<Submission>) -> Vec<Bytes> {
    let mut fresh = Vec::with_capacity(batch.len());
    let mut refused = Vec::new();
    let mut core = shared.core();
    for Submission { envelope, reply } in batch {
        match core.waiting.join(&envelope, reply) {
            Joined::First => fresh.push(envelope),
            Joined::Shared => add(&shared.counters.duplicates, 1),
            Joined::TooMany(reply) => refused.push(reply),
        }
    }
    drop(core);
    for reply in refused {
        answer(shared, reply, Err(busy("too many wait for the answer to this very transition")));
    }
    fresh
}

fn insert(shared: &Shared, verified: Vec<VerifiedEnvelope>) -> Vec<(Bytes, Outcome)> {
    let mut refused = Vec::new();
    let now = Instant::now();
    shared.tell(|core| {
        for event in verified {
            let bytes = event.bytes().clone();
            match core.pool.insert(event, now) {
                Ok(None) => {}
                Ok(Some(displaced)) => {
                    let full = crate::mempool::Full::Author;
                    refused.push((displaced.event.bytes().clone(), Err(busy(full.what()))));
                }
                Err(full) => refused.push((bytes, Err(busy(full.what())))),
            }
        }
    });
    refused
}

fn respond(shared: &Shared, outcomes: Vec<(Bytes, Outcome)>) {
    if outcomes.is_empty() {
        return;
    }
    let answers: Vec<_> = {
        let mut core = shared.core();
        outcomes.iter().map(|(envelope, _)| core.waiting.leave(envelope)).collect()
    };
    for ((_, outcome), replies) in outcomes.into_iter().zip(answers) {
        shared.counters.count(&outcome);
        if let Some(replies) = replies {
            replies.answer(outcome);
        }
    }
}

/// Answers a transition that is not to come in off this thread: its receipt, should it have one, may be on disk.
fn look_up(shared: &Arc<Shared>, envelope: Bytes, id: TransitionId, refused: SubmitError) {
    let here = Arc::clone(shared);
    shared.runtime.spawn_blocking(move || {
        let outcome = here.verdict_of_history(&id, refused);
        respond(&here, vec![(envelope, outcome)]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_that_fails_and_is_far_behind_keeps_submissions_out() {
        let cases = [
            (None, 0, false),
            (None, DIRTY_ROWS_MAX, false),
            (Some("no space"), UNSTORED_ROWS_MAX, false),
            (Some("no space"), UNSTORED_ROWS_MAX + 1, true),
        ];
        for (error, rows, out) in cases {
            assert_eq!(is_too_much_unstored(error, rows), out, "{error:?} {rows}");
        }
    }

    #[test]
    fn the_store_is_looked_at_once_in_a_while() {
        let (mut watch, start) = (StoreWatch::default(), Instant::now());
        assert!(watch.is_behind(start, || true));
        assert!(watch.is_behind(start + STORE_LOOK / 2, || panic!("it was looked at a moment ago")));
        assert!(!watch.is_behind(start + STORE_LOOK, || false));
    }
}
