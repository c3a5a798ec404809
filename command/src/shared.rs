//! What the stages of a command service share.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chaoschain_projector::{Condition, Projection};
use chaoschain_schemas::Sequence;
use chaoschain_state::Rejection;
use tokio::runtime::Handle;

use crate::error::SubmitError;
use crate::mempool::{Entry, Mempool};
use crate::options::CommandOptions;
use crate::reply::{Outcome, Waiting};
use crate::status::Counters;

/// What the stages of a service share. Locks are held for moving things, never for work.
pub(crate) struct Shared {
    pub(crate) projection: Projection,
    pub(crate) options: CommandOptions,
    pub(crate) runtime: Handle,
    pub(crate) counters: Counters,
    core: Mutex<Core>,
    /// Wakes the producer.
    bell: Condvar,
}

/// What waits, for whom, and the producer's post.
pub(crate) struct Core {
    pub(crate) waiting: Waiting,
    pub(crate) pool: Mempool,
    pub(crate) notes: VecDeque<Note>,
    pub(crate) head_moved: bool,
    /// Nothing more comes in: the producer is to end.
    pub(crate) stop: bool,
    pub(crate) stall: Option<Stall>,
}

/// News for the producer.
pub(crate) enum Note {
    /// What became of the append of the block with this number.
    Appended(u64, Appended),
    /// The projection has looked at everything it was to look at; not so when it stopped or took too long.
    CaughtUp(bool),
    /// The same up to here, where the log ended when it was asked; `None` when that could not be found out.
    ReachedTip(Option<Sequence>),
}

/// What became of an append, after reading back where that was needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The log has it there.
    Landed(Sequence),
    /// The log does not have it: somebody was quicker. The log goes up to here at least.
    Lost(Sequence),
    /// The log does not have it and takes nothing now.
    Refused { code: &'static str, message: String },
    /// It could not be found out.
    Unknown,
}

/// The log takes nothing for a while.
#[derive(Clone, Debug)]
pub(crate) struct Stall {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) until: Instant,
    /// Waiting does not help: somebody has to.
    pub(crate) needs_help: bool,
}

impl Stall {
    pub(crate) fn error(&self, now: Instant) -> SubmitError {
        SubmitError::Unavailable {
            code: self.code.into(),
            message: self.message.clone(),
            retry_after: (!self.needs_help).then(|| self.until.saturating_duration_since(now)),
        }
    }
}

impl Shared {
    pub(crate) fn new(projection: Projection, options: CommandOptions, runtime: Handle) -> Self {
        let core = Core {
            waiting: Waiting::default(),
            pool: Mempool::new(options.mempool, options.nonce_wait),
            notes: VecDeque::new(),
            head_moved: false,
            stop: false,
            stall: None,
        };
        Self {
            projection,
            options,
            runtime,
            counters: Counters::default(),
            core: Mutex::new(core),
            bell: Condvar::new(),
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something the producer looks at, and wakes it.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut Core)) {
        change(&mut self.core());
        self.bell.notify_one();
    }

    /// Waits until somebody tells something, at most until `until`.
    pub(crate) fn listen<'a>(
        &self,
        core: MutexGuard<'a, Core>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, Core> {
        let Some(until) = until else {
            return self.bell.wait(core).unwrap_or_else(PoisonError::into_inner);
        };
        let span = until.saturating_duration_since(Instant::now());
        self.bell.wait_timeout(core, span).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Why nothing can be sealed now, if so.
    pub(crate) fn obstacle(&self) -> Option<SubmitError> {
        match self.projection.condition() {
            Condition::Following => None,
            Condition::Degraded { code, message, .. } => {
                Some(SubmitError::Unavailable { code: code.into(), message, retry_after: None })
            }
        }
    }

    /// Answers events that the pool has handed out, and forgets them.
    pub(crate) fn settle(&self, outcomes: Vec<(Entry, Outcome)>) {
        if outcomes.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(outcomes.len());
        let now = Instant::now();
        self.tell(|core| {
            for (entry, _) in &outcomes {
                core.pool.release(entry, now);
                answers.push(core.waiting.leave(entry.event.bytes()));
            }
        });
        for ((entry, outcome), replies) in outcomes.into_iter().zip(answers) {
            self.counters.count(&outcome);
            if outcome.is_ok() {
                self.options.observer.receipt(now.saturating_duration_since(entry.arrived));
            }
            if let Some(replies) = replies {
                replies.answer(outcome);
            }
        }
    }

    /// Answers events with what keeps them from a block; where a block with them may be in the log, that is unknown.
    pub(crate) fn turn_away(&self, entries: Vec<Entry>, error: &SubmitError) {
        let answer = |entry: Entry| {
            let error = if entry.maybe_landed { SubmitError::OutcomeUnknown } else { error.clone() };
            (entry, Err(error))
        };
        self.settle(entries.into_iter().map(answer).collect());
    }

    /// The final word on an event that the rules refuse: if it stands in a block already, that is its receipt. Reads the
    /// disk for old transitions.
    pub(crate) fn verdict_of_history(
        &self,
        id: &chaoschain_schemas::TransitionId,
        refused: SubmitError,
    ) -> Outcome {
        match self.projection.receipt(id) {
            Ok(Some(receipt)) => Ok(receipt),
            Ok(None) => Err(refused),
            Err(error) => Err(SubmitError::Unavailable {
                code: error.code().into(),
                message: error.to_string(),
                retry_after: None,
            }),
        }
    }
}

/// Whether a transition that stands in a block already may be refused for this reason when it comes again.
pub(crate) const fn may_be_history(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::NonceUsed { .. }
            | Rejection::EpochWrong { .. }
            | Rejection::Expired { .. }
            | Rejection::ValidityTooLong { .. }
            | Rejection::AccountSuspended(_)
            | Rejection::KeyWrong { .. }
            | Rejection::KindUnknown(_)
    )
}
