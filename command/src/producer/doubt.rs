//! Refusals in view of a head that may not be the newest: another service may have sealed since.
//!
//! What this node has not folded yet may hold what a transition refers to, or the transition itself. So before a refusal
//! is told, the log is asked how far it goes, once for all that wait; where it goes further, they are judged again there.

use std::time::Instant;

use chaoschain_schemas::Sequence;
use chaoschain_state::Rejection;

use super::BlockProducer;
use crate::append;
use crate::mempool::Entry;

/// A refusal that is not yet a fact.
struct Doubted {
    entry: Entry,
    rejection: Rejection,
    /// How far the log was folded when it was judged, at least.
    position: Sequence,
}

/// What waits for the log's word.
#[derive(Default)]
pub(super) struct Doubts {
    /// The log is being asked on account of these.
    asked: Vec<Doubted>,
    /// It is to be asked once more for these: they came after the question.
    next: Vec<Doubted>,
}

impl Doubts {
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Entry> {
        let Self { asked, next } = std::mem::take(self);
        asked.into_iter().chain(next).map(|doubted| doubted.entry)
    }
}

impl BlockProducer {
    /// Answers refusals that were judged with the log folded up to `position`, as soon as they are facts.
    pub(super) fn refuse_if_newest(&mut self, refused: Vec<(Entry, Rejection)>, position: Sequence) {
        let (facts, doubted): (Vec<_>, Vec<_>) = refused
            .into_iter()
            .partition(|(entry, _)| entry.log_reached.is_some_and(|reached| reached <= position));
        self.refuse(facts);
        let doubted = doubted.into_iter().map(|(entry, rejection)| Doubted { entry, rejection, position });
        self.doubts.next.extend(doubted);
        self.ask_on();
    }

    fn ask_on(&mut self) {
        if self.doubts.asked.is_empty() && !self.doubts.next.is_empty() {
            self.doubts.asked = std::mem::take(&mut self.doubts.next);
            append::reach_tip(&self.shared);
        }
    }

    /// The projection has looked at everything up to `tip`, where the log ended after these were judged; `None` when that
    /// could not be found out.
    pub(super) fn reached_tip(&mut self, tip: Option<Sequence>) {
        let asked = std::mem::take(&mut self.doubts.asked);
        if let Some(tip) = tip {
            let (facts, stale): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|doubted| tip <= doubted.position);
            self.refuse(facts.into_iter().map(|doubted| (doubted.entry, doubted.rejection)).collect());
            let now = Instant::now();
            let mut core = self.shared.core();
            for Doubted { mut entry, .. } in stale {
                entry.log_reached = Some(tip);
                core.pool.put_back(entry, now);
            }
        } else {
            let stall = self.stall("log_unavailable", "the log cannot be asked at the moment".into());
            let error = self.shared.obstacle().unwrap_or_else(|| stall.error(Instant::now()));
            self.shared.turn_away(asked.into_iter().map(|doubted| doubted.entry).collect(), &error);
        }
        self.ask_on();
    }
}
