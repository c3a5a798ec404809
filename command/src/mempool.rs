//! What is verified and waits for a block: bounded, fair between authors, in order of nonce within a lane.
//!
//! The pool knows no state. That a nonce lies ahead is the fold's verdict; the pool then parks the event, and everything
//! behind it in its lane, until a predecessor comes in or its time is up.
//!
//! Nor does the pool know whose a key is: anybody can sign with a key of their own and name another as the author. So
//! what is counted, queued and served in turn is not an author but a [`Submitter`], an author together with a key.
//!
//! # Invariants
//! - An event is in the pool from [`Mempool::insert`] until [`Mempool::release`], also while a block holds it, so the
//!   bounds hold for all that is pending.
//! - A submitter is listed for a turn exactly when it has an event that is not parked.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_schemas::{AccountId, PublicKey, Sequence};

use crate::options::MempoolLimits;

/// What part of the pool's events may wait for a predecessor: one in so many.
const PARKED_SHARE: usize = 4;

/// Who fills a place in the pool: who is named as the author, and the key that signed for it.
type Submitter = (AccountId, Option<PublicKey>);

fn submitter(event: &VerifiedEnvelope) -> Submitter {
    (event.body().author, event.parties().first().map(|party| party.key))
}

/// The author under the further keys that have signed for it: a rotation announces the new key in this way.
fn announced(event: &VerifiedEnvelope) -> impl Iterator<Item = Submitter> {
    let author = event.body().author;
    let further = event.parties().iter().skip(1).filter(move |party| party.signer == author);
    further.map(move |party| (author, Some(party.key)))
}

/// An event that waits for its block.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) event: VerifiedEnvelope,
    pub(crate) arrived: Instant,
    /// The place in the order of arrival; names the entry.
    order: u64,
    /// Whether a block with it may be in the log without our knowing: then no refusal is a fact.
    pub(crate) maybe_landed: bool,
    /// How far the log went at some moment since it came in, if it was asked.
    pub(crate) log_reached: Option<Sequence>,
}

struct Queued {
    entry: Entry,
    parked: bool,
}

#[derive(Default)]
struct Pending {
    /// In order of lane, nonce and arrival.
    queue: Vec<Queued>,
    /// How many of its events are on their way in a block.
    taken: usize,
    /// How many events in the pool announce its key.
    announced: usize,
    listed: bool,
}

impl Pending {
    const fn is_over(&self) -> bool {
        self.queue.is_empty() && self.taken == 0 && self.announced == 0
    }
}

/// The pool.
pub(crate) struct Mempool {
    limits: MempoolLimits,
    nonce_wait: Duration,
    submitters: HashMap<Submitter, Pending>,
    turns: VecDeque<Submitter>,
    deadlines: BTreeSet<(Instant, u64, Submitter)>,
    events: usize,
    bytes: usize,
    ready: usize,
    ready_bytes: usize,
    ready_since: Option<Instant>,
    next_order: u64,
}

/// Why the pool takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Pool,
    Author,
}

impl Full {
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Pool => "the mempool is full",
            Self::Author => "the author has as many transitions pending as are allowed",
        }
    }
}

fn lane_of(entry: &Entry) -> u8 {
    entry.event.body().lane
}

fn place(entry: &Entry) -> (u8, u64, u64) {
    let body = entry.event.body();
    (body.lane, body.nonce, entry.order)
}

/// What an envelope costs in a block besides its own bytes, at most.
const EVENT_OVERHEAD_BYTES: usize = 8;

fn size(entry: &Entry) -> usize {
    entry.event.bytes().len() + EVENT_OVERHEAD_BYTES
}

impl Mempool {
    pub(crate) fn new(limits: MempoolLimits, nonce_wait: Duration) -> Self {
        Self {
            limits,
            nonce_wait,
            submitters: HashMap::new(),
            turns: VecDeque::new(),
            deadlines: BTreeSet::new(),
            events: 0,
            bytes: 0,
            ready: 0,
            ready_bytes: 0,
            ready_since: None,
            next_order: 0,
        }
    }

    /// Takes in an event. A submitter that is full of parked events gives up its last one in the lane for one that goes
    /// before it; that one is returned, and is no longer in the pool.
    pub(crate) fn insert(&mut self, event: VerifiedEnvelope, now: Instant) -> Result<Option<Entry>, Full> {
        let bytes = event.bytes().len() + EVENT_OVERHEAD_BYTES;
        if self.events >= self.limits.events || self.bytes + bytes > self.limits.bytes {
            return Err(Full::Pool);
        }
        let own = self.submitters.get(&submitter(&event));
        let pending = own.map_or(0, |own| own.queue.len() + own.taken);
        let displaced = if pending >= self.limits.author_events {
            Some(self.displace(&event, now).ok_or(Full::Author)?)
        } else {
            None
        };
        for heir in announced(&event) {
            self.submitters.entry(heir).or_default().announced += 1;
        }
        let entry =
            Entry { event, arrived: now, order: self.next_order, maybe_landed: false, log_reached: None };
        self.next_order += 1;
        self.events += 1;
        self.bytes += bytes;
        self.enqueue(entry, now);
        Ok(displaced)
    }

    fn displace(&mut self, by: &VerifiedEnvelope, now: Instant) -> Option<Entry> {
        let (id, body) = (submitter(by), by.body());
        let own = self.submitters.get_mut(&id)?;
        let gives_way = |queued: &Queued| {
            queued.parked
                && lane_of(&queued.entry) == body.lane
                && queued.entry.event.body().nonce > body.nonce
        };
        let at = own.queue.iter().rposition(gives_way)?;
        let entry = own.queue.remove(at).entry;
        self.deadlines.remove(&(entry.arrived + self.nonce_wait, entry.order, id));
        self.forget(&entry, now);
        Some(entry)
    }

    /// Puts an entry into its submitter's queue, ready unless a parked one goes before it; what waited for it is ready too.
    fn enqueue(&mut self, entry: Entry, now: Instant) {
        let id = submitter(&entry.event);
        let (lane, key) = (lane_of(&entry), place(&entry));
        let own = self.submitters.entry(id).or_default();
        let at = own.queue.partition_point(|queued| place(&queued.entry) < key);
        let behind_parked = at > 0 && own.queue[at - 1].parked && lane_of(&own.queue[at - 1].entry) == lane;
        let expired = entry.arrived + self.nonce_wait <= now;
        let parked = behind_parked && !expired;
        if parked {
            self.deadlines.insert((entry.arrived + self.nonce_wait, entry.order, id));
        }
        own.queue.insert(at, Queued { entry, parked: true });
        if !parked {
            self.unpark(&id, now, |queued| place(queued) >= key && lane_of(queued) == lane);
        }
    }

    fn unpark(&mut self, id: &Submitter, now: Instant, which: impl Fn(&Entry) -> bool) {
        let Some(own) = self.submitters.get_mut(id) else { return };
        for queued in own.queue.iter_mut().filter(|queued| queued.parked && which(&queued.entry)) {
            queued.parked = false;
            self.deadlines.remove(&(queued.entry.arrived + self.nonce_wait, queued.entry.order, *id));
            self.ready += 1;
            self.ready_bytes += size(&queued.entry);
            self.ready_since.get_or_insert(now);
            if !own.listed {
                own.listed = true;
                self.turns.push_back(*id);
            }
        }
    }

    /// Takes a batch for a block, one event of each submitter in turn, at most so many events and bytes.
    pub(crate) fn take(&mut self, events: usize, bytes: usize, now: Instant) -> Vec<Entry> {
        let mut batch = Vec::with_capacity(events.min(self.ready));
        let mut room = bytes;
        while batch.len() < events {
            let Some(id) = self.turns.pop_front() else { break };
            let Some(own) = self.submitters.get_mut(&id) else { continue };
            let Some(at) = next_of(&own.queue) else {
                own.listed = false;
                continue;
            };
            let cost = size(&own.queue[at].entry);
            if cost > room {
                self.turns.push_front(id);
                break;
            }
            room -= cost;
            batch.push(own.queue.remove(at).entry);
            own.taken += 1;
            self.ready -= 1;
            self.ready_bytes -= cost;
            own.listed = own.queue.iter().any(|queued| !queued.parked);
            if own.listed {
                self.turns.push_back(id);
            }
        }
        // What is left came in while the last block lingered; its own linger starts now.
        self.ready_since = (self.ready > 0).then_some(now);
        batch
    }

    /// Puts a taken entry back, to be judged again.
    pub(crate) fn put_back(&mut self, entry: Entry, now: Instant) {
        self.untake(&entry);
        self.enqueue(entry, now);
    }

    /// Puts back a taken entry whose nonce lies ahead or whose key is announced, to wait for its predecessor; gives it up when its time is over or
    /// too many wait already.
    pub(crate) fn park(&mut self, entry: Entry, now: Instant) -> Result<(), Entry> {
        let deadline = entry.arrived + self.nonce_wait;
        if deadline <= now || self.deadlines.len() >= self.limits.events.div_ceil(PARKED_SHARE) {
            return Err(entry);
        }
        let id = submitter(&entry.event);
        let (lane, key) = (lane_of(&entry), place(&entry));
        self.untake(&entry);
        let own = self.submitters.entry(id).or_default();
        let at = own.queue.partition_point(|queued| place(&queued.entry) < key);
        // A predecessor came in meanwhile: then this one goes after it.
        let follows = at > 0 && !own.queue[at - 1].parked && lane_of(&own.queue[at - 1].entry) == lane;
        if follows {
            self.enqueue(entry, now);
            return Ok(());
        }
        self.deadlines.insert((deadline, entry.order, id));
        own.queue.insert(at, Queued { entry, parked: true });
        Ok(())
    }

    fn untake(&mut self, entry: &Entry) {
        if let Some(own) = self.submitters.get_mut(&submitter(&entry.event)) {
            own.taken -= 1;
        }
    }

    /// Forgets a taken entry that was answered.
    pub(crate) fn release(&mut self, entry: &Entry, now: Instant) {
        self.untake(entry);
        self.forget(entry, now);
        self.tidy(&submitter(&entry.event));
    }

    /// Gives an entry's room free. What waited for the key that it announced is ready to be judged.
    fn forget(&mut self, entry: &Entry, now: Instant) {
        self.events -= 1;
        self.bytes -= size(entry);
        for heir in announced(&entry.event) {
            if let Some(pending) = self.submitters.get_mut(&heir) {
                pending.announced -= 1;
            }
            self.unpark(&heir, now, |_| true);
            self.tidy(&heir);
        }
    }

    fn tidy(&mut self, id: &Submitter) {
        if self.submitters.get(id).is_some_and(Pending::is_over) {
            self.submitters.remove(id);
        }
    }

    /// Whether an event in the pool may make the key that signed this entry its author's.
    pub(crate) fn is_key_announced(&self, entry: &Entry) -> bool {
        self.submitters.get(&submitter(&entry.event)).is_some_and(|own| own.announced > 0)
    }

    /// Makes the parked entries ready whose time is up, for a last judgement.
    pub(crate) fn unpark_due(&mut self, now: Instant) {
        while let Some((deadline, order, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.unpark(&id, now, |entry| entry.order == order);
            self.deadlines.remove(&(deadline, order, id));
        }
    }

    /// Makes every parked entry ready: the state has moved in a way that the pool did not see.
    pub(crate) fn unpark_all(&mut self, now: Instant) {
        let ids: BTreeSet<Submitter> = self.deadlines.iter().map(|(_, _, id)| *id).collect();
        for id in ids {
            self.unpark(&id, now, |_| true);
        }
    }

    /// When [`Mempool::unpark_due`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, ..)| *deadline)
    }

    /// How many events could go into a block now, and their bytes.
    pub(crate) const fn ready(&self) -> (usize, usize) {
        (self.ready, self.ready_bytes)
    }

    /// Since when there is something for a block.
    pub(crate) const fn ready_since(&self) -> Option<Instant> {
        self.ready_since
    }

    /// Events in the pool, those in blocks on their way included.
    pub(crate) const fn len(&self) -> usize {
        self.events
    }

    /// Takes everything that is not on its way, to be refused.
    pub(crate) fn take_all(&mut self, now: Instant) -> Vec<Entry> {
        self.unpark_all(now);
        self.take(usize::MAX, usize::MAX, now)
    }
}

/// Of the first ready entries of each lane, the one that came first.
fn next_of(queue: &[Queued]) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut lane = None;
    for (at, queued) in queue.iter().enumerate() {
        if queued.parked || lane == Some(lane_of(&queued.entry)) {
            continue;
        }
        lane = Some(lane_of(&queued.entry));
        if best.is_none_or(|best| queued.entry.order < queue[best].entry.order) {
            best = Some(at);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use chaoschain_events::envelope::sign;
    use chaoschain_events::signature::SecretKey;
    use chaoschain_schemas::{BODY_VERSION, Body, ChainId, Timestamp};

    use super::*;

    const WAIT: Duration = Duration::from_secs(1);

    fn event(author: u8, lane: u8, nonce: u64) -> VerifiedEnvelope {
        signed(author, &[author], lane, nonce)
    }

    /// An event that names `author` and is signed for it with the keys of `signers`.
    fn signed(author: u8, signers: &[u8], lane: u8, nonce: u64) -> VerifiedEnvelope {
        let key = |seed: u8| SecretKey::from_seed(&[seed; 32]);
        let id = AccountId::from_first_key(&key(author).public());
        let body = Body {
            version: BODY_VERSION,
            chain: ChainId::default(),
            epoch: 0,
            author: id,
            lane,
            nonce,
            valid_until: Timestamp(0),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind: 256,
            payload: Vec::new().into(),
        };
        let keys: Vec<_> = signers.iter().map(|&signer| key(signer)).collect();
        sign(&body, &keys.iter().map(|key| (id, key)).collect::<Vec<_>>()).unwrap()
    }

    fn pool(events: usize, author_events: usize) -> (Mempool, Instant) {
        (Mempool::new(MempoolLimits { events, bytes: 1 << 20, author_events }, WAIT), Instant::now())
    }

    fn lanes_and_nonces(entries: &[Entry]) -> Vec<(u8, u64)> {
        entries.iter().map(|entry| (entry.event.body().lane, entry.event.body().nonce)).collect()
    }

    #[test]
    fn a_batch_is_fair_between_authors_and_in_order_within_a_lane() {
        let (mut pool, now) = pool(100, 16);
        for nonce in [3, 1, 0, 2] {
            pool.insert(event(1, 0, nonce), now).unwrap();
        }
        pool.insert(event(2, 5, 9), now).unwrap();
        pool.insert(event(2, 0, 0), now).unwrap();
        pool.insert(event(3, 0, 7), now).unwrap();
        let batch = pool.take(5, usize::MAX, now);
        assert_eq!(lanes_and_nonces(&batch), [(0, 0), (5, 9), (0, 7), (0, 1), (0, 0)]);
        let rest = pool.take(5, usize::MAX, now);
        assert_eq!(lanes_and_nonces(&rest), [(0, 2), (0, 3)]);
        for entry in batch.iter().chain(&rest) {
            pool.release(entry, now);
        }
        assert_eq!((pool.len(), pool.ready(), pool.ready_since()), (0, (0, 0), None));
        assert!(pool.submitters.is_empty() && pool.turns.is_empty() && pool.deadlines.is_empty());
    }

    #[test]
    fn what_is_ahead_waits_for_its_predecessor_and_no_longer_than_its_time() {
        let (mut pool, now) = pool(100, 16);
        for nonce in [5, 6] {
            pool.insert(event(1, 0, nonce), now).unwrap();
        }
        for entry in pool.take(9, usize::MAX, now) {
            pool.park(entry, now).unwrap();
        }
        assert_eq!(pool.ready().0, 0);
        pool.insert(event(1, 0, 7), now).unwrap();
        assert_eq!(pool.ready().0, 0, "it stands behind what waits");
        pool.insert(event(1, 0, 4), now).unwrap();
        let batch = pool.take(9, usize::MAX, now);
        assert_eq!(lanes_and_nonces(&batch), [(0, 4), (0, 5), (0, 6), (0, 7)]);
        for entry in batch {
            pool.park(entry, now).unwrap();
        }
        assert_eq!(pool.next_deadline(), Some(now + WAIT));
        pool.unpark_due(now + WAIT);
        let batch = pool.take(9, usize::MAX, now + WAIT);
        assert_eq!(batch.len(), 4);
        for entry in batch {
            let given_up = pool.park(entry, now + WAIT).unwrap_err();
            pool.release(&given_up, now);
        }
        assert_eq!((pool.len(), pool.next_deadline()), (0, None));
    }

    #[test]
    fn bounds_hold_for_what_is_on_its_way_too() {
        let (mut pool, now) = pool(5, 3);
        for nonce in 0..3 {
            pool.insert(event(1, 0, nonce), now).unwrap();
        }
        let taken = pool.take(2, usize::MAX, now);
        assert!(matches!(pool.insert(event(1, 0, 3), now), Err(Full::Author)));
        pool.insert(event(2, 0, 0), now).unwrap();
        pool.insert(event(3, 0, 0), now).unwrap();
        assert!(matches!(pool.insert(event(4, 0, 0), now), Err(Full::Pool)));
        pool.release(&taken[0], now);
        pool.insert(event(1, 0, 3), now).unwrap();
        assert_eq!(pool.len(), 5);
    }

    #[test]
    fn a_full_authors_last_waiting_event_gives_way_to_an_earlier_one() {
        let (mut pool, now) = pool(100, 2);
        for nonce in [8, 9] {
            pool.insert(event(1, 0, nonce), now).unwrap();
        }
        for entry in pool.take(9, usize::MAX, now) {
            pool.park(entry, now).unwrap();
        }
        assert!(matches!(pool.insert(event(1, 0, 10), now), Err(Full::Author)));
        let displaced = pool.insert(event(1, 0, 7), now).unwrap().unwrap();
        assert_eq!(displaced.event.body().nonce, 9);
        assert_eq!(lanes_and_nonces(&pool.take_all(now)), [(0, 7), (0, 8)]);
    }

    #[test]
    fn who_names_another_as_the_author_takes_neither_its_places_nor_its_turns() {
        let (mut pool, now) = pool(100, 3);
        for nonce in 0..3 {
            pool.insert(signed(1, &[9], 0, nonce), now).unwrap();
        }
        assert!(matches!(pool.insert(signed(1, &[9], 0, 3), now), Err(Full::Author)));
        for nonce in 4..7 {
            pool.insert(event(1, 0, nonce), now).unwrap();
        }
        let batch = pool.take(4, usize::MAX, now);
        assert_eq!(lanes_and_nonces(&batch), [(0, 0), (0, 4), (0, 1), (0, 5)]);
    }

    #[test]
    fn what_is_signed_with_an_announced_key_waits_until_the_announcement_is_answered() {
        let (mut pool, now) = pool(100, 16);
        pool.insert(signed(1, &[1, 2], 0, 4), now).unwrap();
        pool.insert(signed(1, &[2], 0, 5), now).unwrap();
        pool.insert(signed(1, &[9], 0, 5), now).unwrap();
        let batch = pool.take(9, usize::MAX, now);
        let [rotation, heir, impostor] = &batch[..] else { panic!("{batch:?}") };
        assert!(pool.is_key_announced(heir) && !pool.is_key_announced(impostor));
        pool.release(impostor, now);
        pool.park(heir.clone(), now).unwrap();
        assert_eq!(pool.ready().0, 0);
        pool.release(rotation, now);
        assert_eq!(pool.ready().0, 1);
        let batch = pool.take(9, usize::MAX, now);
        assert_eq!(lanes_and_nonces(&batch), [(0, 5)]);
        assert!(!pool.is_key_announced(&batch[0]));
        pool.release(&batch[0], now);
        assert!(pool.submitters.is_empty() && pool.deadlines.is_empty());
    }
}
