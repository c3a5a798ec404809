//! Empty blocks for what waits for block time.
//!
//! A domain's things become due by block time, and block time moves with blocks. While something is due by the clock and
//! no events come, the producer seals a block of none, again and again until nothing that is due is left: block time
//! follows the clock by bounded steps, and a block handles a bounded share. A chain on which nothing is due writes nothing.
//!
//! A backlog, or block time that is more than a step behind, is worked off block upon block. What becomes due one by one is
//! gathered: such blocks keep [`HEARTBEAT_INTERVAL`] from the block before them.
//!
//! Any one of several services will do. The one that sealed the newest block goes first; the others leave it time to, and
//! ask the log how far it goes before they step in.

use std::time::{Duration, Instant};

use chaoschain_projector::Head;
use chaoschain_projector::fold::next_context;
use chaoschain_schemas::{Hash, Timestamp};
use chaoschain_state::BaseView;

use super::BlockProducer;
use crate::append;

/// How long at least between a block and an empty one after it, for what has become due since.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The same where the block before has left something due.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(50);
/// How long other services leave to the one that sealed the newest block, and at most as long again.
const STEP_IN_AFTER: Duration = Duration::from_millis(50);
/// After how long at most the clock is looked at again while something waits for it: it may have been set.
const CLOCK_LOOK_MAX: Duration = Duration::from_secs(1);

/// What the producer knows of things that wait for block time.
pub(super) struct Heartbeat {
    /// The head that the rest is about.
    head: Hash,
    /// When that head was first seen.
    seen: Instant,
    /// What becomes due next, in block time.
    next: Option<Timestamp>,
    /// Since when that is due.
    due_since: Option<Instant>,
    /// Whether the log was asked for what stands behind the head.
    pub(super) asked: bool,
    /// When to look again.
    pub(super) wake: Option<Instant>,
}

impl Heartbeat {
    pub(super) const fn new(now: Instant) -> Self {
        Self { head: Hash::ZERO, seen: now, next: None, due_since: None, asked: false, wake: None }
    }
}

impl BlockProducer {
    /// Whether a block is to be sealed now though there may be no events for it.
    pub(super) fn heartbeat_is_due(&mut self, now: Instant) -> bool {
        self.heartbeat.wake = None;
        // What is on its way moves block time as well.
        if !self.in_flight.is_empty() || self.shared.obstacle().is_some() {
            return false;
        }
        let head = self.shared.projection.head();
        if self.heartbeat.head != head.hash {
            let next = self.shared.projection.machine().next_due(&BaseView::new(&*head.state));
            self.heartbeat = Heartbeat { head: head.hash, next, ..Heartbeat::new(now) };
        }
        let Some(next) = self.heartbeat.next else { return false };
        // The block will have this time, or one as far toward it as a step goes.
        let reached = self.shared.options.clock.now().max(head.header.timestamp);
        if next > reached {
            let wait = Duration::from_micros(next.since(reached).0);
            self.heartbeat.wake = Some(now + wait.min(CLOCK_LOOK_MAX));
            return false;
        }
        let is_ours = head.header.producer == self.producer.account;
        let due_since = *self.heartbeat.due_since.get_or_insert(now);
        let turn = due_since.max(self.heartbeat.seen + self.interval(&head, next, reached));
        let turn = if is_ours { turn } else { turn + STEP_IN_AFTER + self.part_of(STEP_IN_AFTER) };
        let at = self.not_before.map_or(turn, |not_before| turn.max(not_before));
        self.heartbeat.wake = Some(at);
        if at > now {
            return false;
        }
        if !is_ours && !self.heartbeat.asked {
            self.heartbeat.asked = true;
            self.catching_up = true;
            append::catch_up_to_tip(&self.shared);
            return false;
        }
        true
    }

    /// How long an empty block keeps from `head` that is sealed for what is due at `next`, when the clock is at `clock`.
    fn interval(&self, head: &Head, next: Timestamp, clock: Timestamp) -> Duration {
        let context = next_context(head, &**self.shared.projection.machine(), clock);
        let behind = context.is_ok_and(|context| context.now < clock);
        if behind || next <= head.header.timestamp { BACKLOG_INTERVAL } else { HEARTBEAT_INTERVAL }
    }
}
