//! The thread that turns the mempool into blocks.
//!
//! It seals on the speculative line and appends without waiting, a few blocks ahead of the log's answers. While all goes
//! well, an answer confirms the oldest block and its submitters get their receipts. When an append fails, the rest of
//! the line cannot stand either: the producer waits for every answer, drops the line, lets the projection fold what is
//! in the log, and puts the events back to be judged again. Judging again settles everything: what did land is then
//! refused as used, and history has its receipt.
//!
//! # Invariants
//! - A block is appended only at the position after its parent's, so what the log takes is the next valid block.
//! - No block is appended at or below a height that validators have attested.
//! - A block of no events is appended only when block time must move: for events that wait, or for what is due.
//! - A refusal is answered when every block it was judged on is in the log, and the log held no more when it was judged;
//!   until then it is no fact.

mod doubt;
mod guard;
mod heartbeat;
mod recovery;

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_projector::fold::next_context;
use chaoschain_projector::{BlockLimits, Confirmed, FoldError, Producer, Proposed, Verdict};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, ENVELOPE_BYTES_MAX, HEADER_BYTES_MAX};
use chaoschain_schemas::{Hash, Sequence};
use chaoschain_state::Rejection;

use crate::append;
use crate::error::SubmitError;
use crate::linger::{ENOUGH_EVENTS, Linger};
use crate::mempool::{Entry, Mempool};
use crate::shared::{Appended, Note, Shared, may_be_history};
use crate::status::add;

/// What a block's message holds besides envelopes, at most, bytes.
const BLOCK_OVERHEAD_BYTES: usize = HEADER_BYTES_MAX + 512;
/// The smallest block that any envelope fits.
pub(crate) const BLOCK_BYTES_MIN: usize = ENVELOPE_BYTES_MAX + 2 * BLOCK_OVERHEAD_BYTES;
/// A block on its way to the log.
struct InFlight {
    number: u64,
    expected: Sequence,
    proposed: Proposed,
    /// Its events, by index.
    entries: Vec<Entry>,
    /// What was refused in view of it.
    refused: Vec<(Entry, Rejection)>,
    appended: Option<Appended>,
}

pub(crate) struct BlockProducer {
    shared: Arc<Shared>,
    producer: Producer,
    limits: BlockLimits,
    in_flight: VecDeque<InFlight>,
    linger: Linger,
    next_number: u64,
    /// The line was dropped under us, or an append has failed: nothing is sealed until it is cleared.
    broken: bool,
    /// Events to be judged again once the projection has caught up.
    rejudge: Vec<Entry>,
    catching_up: bool,
    /// Nothing is sealed before.
    not_before: Option<Instant>,
    losses: u32,
    stalls: u32,
    newest_own: Hash,
    guard: guard::Guard,
    doubts: doubt::Doubts,
    heartbeat: heartbeat::Heartbeat,
    /// When the service stops: the last moment for answers.
    stop_at: Option<Instant>,
    jitter: RandomState,
}

impl BlockProducer {
    pub(crate) fn new(shared: Arc<Shared>, producer: Producer) -> Self {
        let block = shared.options.block;
        let bytes_max = BLOCK_BYTES_MAX.min(shared.projection.log().message_bytes_max());
        let limits = BlockLimits {
            events: block.events.clamp(1, BLOCK_EVENTS_MAX),
            bytes: block.bytes.max(BLOCK_BYTES_MIN).min(bytes_max),
        };
        Self {
            linger: Linger::new(shared.options.linger_max, Instant::now()),
            shared,
            producer,
            limits,
            in_flight: VecDeque::new(),
            next_number: 0,
            broken: false,
            rejudge: Vec::new(),
            catching_up: false,
            not_before: None,
            losses: 0,
            stalls: 0,
            newest_own: Hash::ZERO,
            guard: guard::Guard::default(),
            doubts: doubt::Doubts::default(),
            heartbeat: heartbeat::Heartbeat::new(Instant::now()),
            stop_at: None,
            jitter: RandomState::new(),
        }
    }

    /// Runs until the service stops and everybody is answered.
    pub(crate) fn run(mut self) {
        loop {
            self.read_notes();
            self.confirm_landed();
            if self.in_flight.iter().any(|block| failed(block.appended.as_ref())) {
                self.broken = true;
            }
            if let Some(stop_at) = self.stop_at {
                self.refuse_pool(&SubmitError::ShuttingDown);
                let waiting = self.in_flight.iter().any(|block| block.appended.is_none());
                if !waiting || Instant::now() >= stop_at {
                    return self.finish();
                }
            } else {
                self.clear_line();
                if self.may_seal() && self.seal() {
                    continue;
                }
            }
            self.wait();
        }
    }

    fn read_notes(&mut self) {
        let now = Instant::now();
        let (notes, stop) = {
            let mut core = self.shared.core();
            core.pool.unpark_due(now);
            if std::mem::take(&mut core.head_moved) && self.shared.projection.head().hash != self.newest_own {
                core.pool.unpark_all(now);
            }
            (std::mem::take(&mut core.notes), core.stop)
        };
        if stop && self.stop_at.is_none() {
            self.stop_at = Some(now + self.shared.options.shutdown_patience);
        }
        for note in notes {
            match note {
                Note::Appended(number, appended) => {
                    let block = self.in_flight.iter_mut().find(|block| block.number == number);
                    if let Some(block) = block {
                        block.appended = Some(appended);
                    }
                }
                Note::ReachedTip(tip) => self.reached_tip(tip),
                Note::CaughtUp(reached) => {
                    if !reached {
                        self.guard.asked_for = None;
                        self.heartbeat.asked = false;
                    }
                    self.resume(reached);
                }
            }
        }
    }

    /// Confirms from the front what the log has, and answers its submitters.
    fn confirm_landed(&mut self) {
        while let Some(front) = self.in_flight.front() {
            let Some(Appended::Landed(sequence)) = front.appended else { return };
            let hash = front.proposed.header_hash();
            match self.shared.projection.confirm(&hash, sequence) {
                Confirmed::Adopted(_) | Confirmed::AlreadyFolded => {}
                Confirmed::Dropped => {
                    self.broken = true;
                    return;
                }
            }
            let Some(block) = self.in_flight.pop_front() else { return };
            self.newest_own = hash;
            self.succeeded(block);
        }
    }

    fn succeeded(&mut self, block: InFlight) {
        (self.losses, self.stalls) = (0, 0);
        let counters = &self.shared.counters;
        add(&counters.blocks, 1);
        counters.in_flight.store(self.in_flight.len() as u64, Ordering::Relaxed);
        let (hash, height) = (block.proposed.header_hash(), block.proposed.block.header().height);
        let receipt = |(index, entry): (usize, Entry)| {
            let id = entry.event.id();
            (entry, Ok(Receipt { id, height, index: index as u32, header_hash: hash }))
        };
        self.shared.settle(block.entries.into_iter().enumerate().map(receipt).collect());
        self.refuse(block.refused);
    }

    /// Answers refusals that are facts; those that history may answer are looked up off this thread.
    fn refuse(&self, refused: Vec<(Entry, Rejection)>) {
        let (old, new): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|(_, rejection)| may_be_history(rejection));
        let outcomes =
            new.into_iter().map(|(entry, rejection)| (entry, Err(SubmitError::Rejected(rejection))));
        self.shared.settle(outcomes.collect());
        if old.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn_blocking(move || {
            let outcomes = old.into_iter().map(|(entry, rejection)| {
                let refused = SubmitError::Rejected(rejection);
                let outcome = shared.verdict_of_history(&entry.event.id(), refused);
                (entry, outcome)
            });
            shared.settle(outcomes.collect());
        });
    }

    fn may_seal(&self) -> bool {
        !self.broken
            && !self.catching_up
            && self.stop_at.is_none()
            && self.in_flight.len() < self.in_flight_max()
    }

    /// How many blocks may be on their way. Where another producer sealed the newest block, one: the log compares numbers
    /// and not parents, so a rival's block in the first place would leave the others standing behind it, for nothing.
    fn in_flight_max(&self) -> usize {
        let is_alone =
            self.losses == 0 && self.shared.projection.head().header.producer == self.producer.account;
        if is_alone { self.shared.options.in_flight_max.max(1) } else { 1 }
    }

    /// When the next block is due; `None` when there is nothing for it.
    fn due(&mut self, pool: &Mempool, now: Instant) -> Option<Instant> {
        let (events, bytes) = pool.ready();
        let since = pool.ready_since()?;
        let full = events >= ENOUGH_EVENTS.min(self.limits.events) || bytes >= self.limits.bytes / 2;
        let due = if full { now } else { since + self.linger.span(now) };
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// Seals a block and sends it off, if events or the clock make one due. Whether anything was done.
    fn seal(&mut self) -> bool {
        let now = Instant::now();
        let shared = Arc::clone(&self.shared);
        let heartbeat = self.heartbeat_is_due(now);
        let core = shared.core();
        let events = self.may_seal() && self.due(&core.pool, now).is_some_and(|due| due <= now);
        drop(core);
        if !events && !heartbeat {
            return false;
        }
        if let Some(obstacle) = shared.obstacle() {
            self.refuse_pool(&obstacle);
            return true;
        }
        if self.is_held_back() {
            return true;
        }
        // Before the proposal: if the projection moves on in between, the append loses, and no block has a wrong parent.
        let position = shared.projection.cursor();
        let clock = shared.options.clock.now();
        let (tip, _) = shared.projection.tip();
        let behind = match next_context(&tip, &**shared.projection.machine(), clock) {
            Ok(context) => context.now < clock,
            Err(error) => return self.cannot_seal(Vec::new(), &error),
        };
        let mut core = shared.core();
        // While block time is more than a step behind, an author's validity would lie too far ahead.
        let room = self.limits.bytes - BLOCK_OVERHEAD_BYTES;
        let batch = if behind { Vec::new() } else { core.pool.take(self.limits.events, room, now) };
        drop(core);
        let events: Vec<VerifiedEnvelope> = batch.iter().map(|entry| entry.event.clone()).collect();
        let proposal =
            shared.projection.propose(&self.producer, clock, self.limits, &events, behind || heartbeat);
        let is_empty = match proposal {
            Ok((proposed, verdicts)) => {
                let is_empty =
                    proposed.as_ref().is_some_and(|proposed| proposed.block.header().event_count == 0);
                self.send_off(position, proposed, batch, verdicts);
                is_empty
            }
            Err(error) => return self.cannot_seal(batch, &error),
        };
        self.linger.observe(events.len(), now);
        let counters = &shared.counters;
        counters.rate.store(self.linger.rate(), Ordering::Relaxed);
        let linger = self.linger.span(now).as_micros();
        counters.linger_us.store(u64::try_from(linger).unwrap_or(u64::MAX), Ordering::Relaxed);
        add(&counters.heartbeats, u64::from(is_empty && heartbeat));
        add(&counters.catch_up_blocks, u64::from(is_empty && !heartbeat));
        true
    }

    fn send_off(
        &mut self,
        position: Sequence,
        proposed: Option<Proposed>,
        batch: Vec<Entry>,
        verdicts: Vec<Verdict>,
    ) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut refused = Vec::new();
        let mut unplaced = Vec::new();
        for (entry, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Accepted(_) => entries.push(entry),
                Verdict::Rejected(rejection) if awaits_predecessor(&entry, &rejection) => {
                    unplaced.push((entry, Some(rejection)));
                }
                Verdict::Rejected(rejection) => refused.push((entry, rejection)),
                Verdict::NoRoom => unplaced.push((entry, None)),
            }
        }
        if !unplaced.is_empty() {
            let now = Instant::now();
            let mut core = self.shared.core();
            for (entry, rejection) in unplaced {
                match rejection {
                    None => core.pool.put_back(entry, now),
                    Some(Rejection::KeyWrong { .. }) if !core.pool.is_key_announced(&entry) => {
                        refused.extend(rejection.map(|rejection| (entry, rejection)));
                    }
                    Some(rejection) => {
                        if let Err(entry) = core.pool.park(entry, now) {
                            refused.push((entry, rejection));
                        }
                    }
                }
            }
        }
        let Some(proposed) = proposed else {
            match self.in_flight.back_mut() {
                Some(newest) => newest.refused.extend(refused),
                None => self.refuse_if_newest(refused, position),
            }
            return;
        };
        let parent = proposed.block.header().parent;
        let expected = match self.in_flight.back() {
            // The projection has dropped our line, so this block stands on another than the one before it.
            Some(newest) if newest.proposed.header_hash() != parent => {
                self.broken = true;
                self.rejudge.extend(entries);
                self.rejudge.extend(refused.into_iter().map(|(entry, _)| entry));
                return;
            }
            Some(newest) => newest.expected.next(),
            None => position,
        };
        let number = self.next_number;
        self.next_number += 1;
        append::start(&self.shared, number, expected, proposed.message());
        self.in_flight.push_back(InFlight { number, expected, proposed, entries, refused, appended: None });
        self.shared.counters.in_flight.store(self.in_flight.len() as u64, Ordering::Relaxed);
    }

    /// This node's state or rules do not allow a block.
    fn cannot_seal(&mut self, batch: Vec<Entry>, error: &FoldError) -> bool {
        let before = self.shared.core().stall.as_ref().map(|stall| stall.code);
        // Whoever submits meets it again and again; the log need not say so each time.
        if self.stalls == 0 || before != Some(error.code()) {
            tracing::error!(code = error.code(), "no block can be sealed: {error}");
        }
        let mut stall = self.stall(error.code(), error.to_string());
        stall.needs_help = matches!(error, FoldError::NotProducer(_));
        self.stalls += 1;
        self.not_before = Some(stall.until);
        let refusal = stall.error(Instant::now());
        self.shared.core().stall = Some(stall);
        self.shared.turn_away(batch, &refusal);
        self.refuse_pool(&refusal);
        true
    }

    fn refuse_pool(&mut self, error: &SubmitError) {
        let mut entries = self.shared.core().pool.take_all(Instant::now());
        entries.append(&mut self.rejudge);
        self.shared.turn_away(entries, error);
    }

    fn wait(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.core();
        loop {
            if !core.notes.is_empty() || core.head_moved || (core.stop && self.stop_at.is_none()) {
                return;
            }
            let now = Instant::now();
            let (due, wake) =
                if self.may_seal() { (self.due(&core.pool, now), self.heartbeat.wake) } else { (None, None) };
            let next = [core.pool.next_deadline(), due, wake, self.stop_at].into_iter().flatten().min();
            if next.is_some_and(|next| next <= now) {
                return;
            }
            core = shared.listen(core, next);
        }
    }
}

/// Whether the author's own transition before this one, should it come, could change the verdict.
fn awaits_predecessor(entry: &Entry, rejection: &Rejection) -> bool {
    let body = entry.event.body();
    match rejection {
        Rejection::NonceAhead { .. } => true,
        // The registration may still be on its way.
        Rejection::AccountUnknown(account) => *account == body.author && body.nonce > 0,
        // So may a rotation to this key, which the pool would know of.
        Rejection::KeyWrong { signer, .. } => *signer == body.author,
        _ => false,
    }
}

const fn failed(appended: Option<&Appended>) -> bool {
    matches!(appended, Some(Appended::Lost(_) | Appended::Refused { .. } | Appended::Unknown))
}
