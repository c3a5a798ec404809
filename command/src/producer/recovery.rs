//! What the producer does when a line breaks, and when the service ends.

use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chaoschain_schemas::Sequence;

use super::BlockProducer;
use crate::append;
use crate::error::SubmitError;
use crate::mempool::Entry;
use crate::shared::{Appended, Stall};
use crate::status::add;

/// The longest pause after losing a position to another producer.
const LOSS_PAUSE_MAX: Duration = Duration::from_millis(64);

impl BlockProducer {
    /// When the line is broken and every append is answered: drops it and sees to it that its events are judged again.
    pub(super) fn clear_line(&mut self) {
        if !self.broken || self.catching_up || self.in_flight.iter().any(|block| block.appended.is_none()) {
            return;
        }
        self.shared.projection.drop_speculative();
        let mut target = Sequence(0);
        let mut stall = None;
        for block in std::mem::take(&mut self.in_flight) {
            let mut entries = block.entries;
            match block.appended {
                // Its parent is not there, or the projection was quicker to drop it; the fold will say.
                Some(Appended::Landed(sequence)) => {
                    target = target.max(sequence);
                    mark_maybe_landed(&mut entries);
                }
                Some(Appended::Lost(tip)) => {
                    target = target.max(tip);
                    add(&self.shared.counters.tip_lost, 1);
                }
                Some(Appended::Refused { code, message }) => {
                    let stall = stall.get_or_insert_with(|| self.stall(code, message));
                    self.shared.turn_away(std::mem::take(&mut entries), &stall.error(Instant::now()));
                }
                Some(Appended::Unknown) | None => {
                    mark_maybe_landed(&mut entries);
                    self.shared.turn_away(std::mem::take(&mut entries), &SubmitError::OutcomeUnknown);
                }
            }
            self.rejudge.extend(entries);
            self.rejudge.extend(block.refused.into_iter().map(|(entry, _)| entry));
        }
        self.shared.counters.in_flight.store(0, Ordering::Relaxed);
        if let Some(stall) = stall {
            self.stalls += 1;
            self.not_before = Some(stall.until);
            tracing::warn!(code = stall.code, "the log takes no blocks: {}", stall.message);
            self.shared.core().stall = Some(stall);
        } else {
            self.losses += 1;
            let pause = Duration::from_millis(1 << self.losses.min(10)).min(LOSS_PAUSE_MAX);
            self.not_before = Some(Instant::now() + self.part_of(pause));
        }
        if target > self.shared.projection.cursor() {
            self.catching_up = true;
            append::catch_up(&self.shared, target);
        } else {
            self.resume(true);
        }
    }

    pub(super) fn stall(&self, code: &'static str, message: String) -> Stall {
        let options = &self.shared.options;
        let pause = options.stall_first.saturating_mul(1 << self.stalls.min(16)).min(options.stall_max);
        let until = Instant::now() + pause / 2 + self.part_of(pause / 2);
        Stall { code, message, until, needs_help: false }
    }

    /// A random part of `span`, so that producers that lost together do not come back together.
    pub(super) fn part_of(&self, span: Duration) -> Duration {
        let random = (self.jitter.hash_one((self.next_number, self.losses, self.stalls)) >> 32) as u32;
        span.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Goes on after the line was cleared and the projection has caught up, or could not.
    pub(super) fn resume(&mut self, caught_up: bool) {
        (self.broken, self.catching_up) = (false, false);
        let entries = std::mem::take(&mut self.rejudge);
        if caught_up {
            let now = Instant::now();
            let mut core = self.shared.core();
            for mut entry in entries {
                entry.maybe_landed = false;
                core.pool.put_back(entry, now);
            }
            core.pool.unpark_all(now);
        } else {
            let unreadable =
                || self.stall("log_unavailable", "the log cannot be followed at the moment".into());
            let stall = unreadable();
            self.not_before = Some(stall.until);
            let error = self.shared.obstacle().unwrap_or_else(|| stall.error(Instant::now()));
            self.shared.core().stall = Some(stall);
            self.shared.turn_away(entries, &error);
        }
    }

    /// Answers whoever is left. What is still on its way may land; nobody here would know.
    pub(super) fn finish(mut self) {
        let mut entries = std::mem::take(&mut self.rejudge);
        entries.extend(self.doubts.take_all());
        for block in self.in_flight.drain(..) {
            let landable = !matches!(block.appended, Some(Appended::Lost(_) | Appended::Refused { .. }));
            for mut entry in block.entries {
                entry.maybe_landed |= landable;
                entries.push(entry);
            }
            entries.extend(block.refused.into_iter().map(|(entry, _)| entry));
        }
        self.shared.projection.drop_speculative();
        self.shared.turn_away(entries, &SubmitError::ShuttingDown);
        self.refuse_pool(&SubmitError::ShuttingDown);
    }
}

fn mark_maybe_landed(entries: &mut [Entry]) {
    for entry in entries {
        entry.maybe_landed = true;
    }
}
