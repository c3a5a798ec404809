//! Following the stream from a place in it, and not being fooled by a consumer that stands still.

use std::sync::Arc;
use std::time::Duration;

use chaoschain_schemas::Sequence;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::pull::{Brought, Pull, SILENCE_MAX};
use super::shared::{ASK_PATIENCE, Shared, unavailable};
use super::status::add;
use crate::log::{Entry, LogError, ReadLimits, Subscription};
use crate::nats::{ApiError, Denial, denied};

/// How long a batch waits for messages that the server says it has, once there are some.
const GATHER_PATIENCE: Duration = Duration::from_millis(100);
/// How long a reader that has nothing waits before it asks the leader whether that is right; twice as long each time.
const DOUBT_AFTER: Duration = Duration::from_millis(250);
const DOUBT_AFTER_MAX: Duration = Duration::from_secs(2);
/// How often a consumer is made anew without a message having come, before the reader is told.
const REMAKES_MAX: u32 = 4;
/// How many messages are read without a consumer when one did not come through twice, or could not be made.
const SINGLE_READS: u32 = 64;
const REMAKE_PAUSE: Duration = Duration::from_millis(50);
/// How long a lost connection is waited for before the reader is told.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(5);

/// A place in the stream and how it is read on from there.
pub(super) struct Follower {
    shared: Arc<Shared>,
    /// The next sequence to hand out, gathered ones apart.
    next: u64,
    limits: ReadLimits,
    pull: Option<Pull>,
    denials: broadcast::Receiver<Denial>,
    gathered: Vec<Entry>,
    gathered_bytes: usize,
    /// A message that came after a gap, or that no longer fitted into the batch.
    held: Option<Held>,
    /// Whether the consumer has more.
    pending: bool,
    /// Consumers made anew since the last message, and what was wrong with the last of them.
    remakes: u32,
    trouble: String,
    /// How many messages are read one by one before a consumer is tried again.
    singly: u32,
    /// Whether that is because none could be made, of which a reader that has to wait is told.
    refused: bool,
    /// What the leader has up to here was erased.
    nothing_to: u64,
    doubt_after: Duration,
    /// Since when nothing has come and nobody was asked; what only says that it is there does not count.
    quiet_since: Instant,
    /// Whether the leader already said that there is something, and still nothing came.
    stalled: bool,
    last_word: Instant,
}

struct Held {
    entry: Entry,
    pending: bool,
    /// Whether the leader said that what it jumps over is not there.
    checked: bool,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("shared", &self.shared)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, from: u64, limits: ReadLimits) -> Self {
        Self {
            denials: shared.nats.denials(),
            shared,
            next: from.max(1),
            limits,
            pull: None,
            gathered: Vec::new(),
            gathered_bytes: 0,
            held: None,
            pending: false,
            remakes: 0,
            trouble: String::new(),
            singly: 0,
            refused: false,
            nothing_to: 0,
            doubt_after: DOUBT_AFTER,
            quiet_since: Instant::now(),
            stalled: false,
            last_word: Instant::now(),
        }
    }

    /// The next batch; where `finite`, empty once the leader has nothing from here on.
    async fn batch(&mut self, finite: bool) -> Result<Vec<Entry>, LogError> {
        loop {
            if let Some(batch) = self.take_batch() {
                return Ok(batch);
            }
            let shared = Arc::clone(&self.shared);
            shared.check_open()?;
            let step = tokio::select! {
                biased;
                () = shared.closed() => Err(LogError::Closed),
                step = self.step(finite) => step,
            };
            match step {
                Ok(true) => {}
                Ok(false) => return Ok(self.hand_over()),
                // What was gathered is handed over first; the error comes again.
                Err(_) if !self.gathered.is_empty() => return Ok(self.hand_over()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Messages up to `until`, within the limits: a read.
    pub(super) async fn read_to(mut self, until: u64) -> Result<Vec<Entry>, LogError> {
        let limits = self.limits;
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        loop {
            self.limits = ReadLimits {
                messages: limits.messages - entries.len(),
                bytes: limits.bytes.saturating_sub(bytes),
            };
            let batch = match self.batch(true).await {
                Ok(batch) => batch,
                Err(_) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            };
            let Some(last) = batch.last().map(|entry| entry.sequence.0) else { break };
            for entry in batch {
                if !entries.is_empty() && bytes + entry.message.len() > limits.bytes {
                    return Ok(entries);
                }
                bytes += entry.message.len();
                entries.push(entry);
            }
            if last >= until || entries.len() >= limits.messages.max(1) || bytes >= limits.bytes {
                break;
            }
            // The consumer has no more: what is left up to the end was erased.
            if !self.pending
                && self.held.is_none()
                && matches!(self.shared.get(self.next, ASK_PATIENCE).await, Ok(None))
            {
                break;
            }
        }
        Ok(entries)
    }

    /// What is gathered, if it is to be handed over now.
    fn take_batch(&mut self) -> Option<Vec<Entry>> {
        self.gather_held();
        let full = self.gathered.len() >= self.limits.messages.max(1)
            || self.gathered_bytes >= self.limits.bytes
            || self.held.as_ref().is_some_and(|held| held.checked);
        (!self.gathered.is_empty() && (full || !self.pending)).then(|| self.hand_over())
    }

    fn hand_over(&mut self) -> Vec<Entry> {
        self.gathered_bytes = 0;
        let batch = std::mem::take(&mut self.gathered);
        let counters = &self.shared.counters;
        add(&counters.messages_read, batch.len() as u64);
        add(&counters.bytes_read, batch.iter().map(|entry| entry.message.len() as u64).sum());
        if let Some(last) = batch.last() {
            self.shared.saw(last.sequence.0);
        }
        batch
    }

    /// Puts the held message into the batch, if it is known to be the next and fits.
    fn gather_held(&mut self) {
        let Some(held) = self.held.take_if(|held| held.checked || held.entry.sequence.0 == self.next) else {
            return;
        };
        let fits = self.gathered.len() < self.limits.messages.max(1)
            && self.gathered_bytes.saturating_add(held.entry.message.len()) <= self.limits.bytes;
        if fits || self.gathered.is_empty() {
            self.next = held.entry.sequence.0 + 1;
            self.gathered_bytes += held.entry.message.len();
            self.pending = held.pending;
            self.gathered.push(held.entry);
        } else {
            self.held = Some(Held { checked: true, ..held });
        }
    }

    /// Waits for one thing to happen; `false` when what is gathered is to be handed over. Each wait can be dropped.
    async fn step(&mut self, finite: bool) -> Result<bool, LogError> {
        if let Some(held) = &mut self.held
            && !held.checked
        {
            // It jumps over something: compacted, or only erased?
            if let Err(error) = self.shared.look().await.and_then(|view| view.check_from(self.next)) {
                self.forget();
                return Err(error);
            }
            held.checked = true;
            return Ok(true);
        }
        self.wait_for_connection().await?;
        if self.singly > 0 {
            let is_read = self.read_single().await?;
            if !is_read && !finite && std::mem::take(&mut self.refused) {
                return Err(LogError::Unavailable { reason: std::mem::take(&mut self.trouble) });
            }
            return Ok(is_read || !finite);
        }
        if self.pull.is_none() {
            // That may take long, and fail.
            if !self.gathered.is_empty() {
                self.pending = false;
                return Ok(false);
            }
            self.make_consumer().await?;
        }
        let wait = if self.gathered.is_empty() {
            self.doubt_after.saturating_sub(self.quiet_since.elapsed())
        } else {
            GATHER_PATIENCE
        };
        let messages = self.limits.messages.max(1) - self.gathered.len();
        let bytes = self.limits.bytes.saturating_sub(self.gathered_bytes);
        let Some(pull) = &mut self.pull else { return Ok(true) };
        if let Err(reason) = pull.ask(messages, bytes).await {
            self.broken(&reason);
            return Ok(true);
        }
        let mut link = self.shared.nats.watch();
        let (losses, subject) = (pull.losses, pull.next_subject.clone());
        let lost = async { link.wait_for(|link| link.losses != losses).await.map(drop) };
        let brought = tokio::select! {
            biased;
            brought = pull.next() => brought,
            _ = lost => Brought::Broken("the connection was lost".into()),
            denial = denied(&mut self.denials, &subject) => {
                return Err(unavailable(&ApiError::Denied(denial)));
            }
            () = tokio::time::sleep(wait) => {
                if !self.gathered.is_empty() {
                    self.pending = false;
                    return Ok(false);
                }
                return self.doubt(finite).await;
            }
        };
        self.last_word = Instant::now();
        match brought {
            Brought::Message { sequence, message, pending } => self.accept(sequence, message, pending > 0),
            Brought::Ended | Brought::Nothing => {}
            Brought::Broken(reason) => self.broken(&reason),
        }
        Ok(true)
    }

    fn accept(&mut self, sequence: u64, message: bytes::Bytes, pending: bool) {
        if sequence < self.next {
            return;
        }
        (self.remakes, self.doubt_after, self.stalled) = (0, DOUBT_AFTER, false);
        self.quiet_since = Instant::now();
        let entry = Entry { sequence: Sequence(sequence), message };
        self.held = Some(Held { entry, pending, checked: false });
        self.gather_held();
    }

    async fn wait_for_connection(&self) -> Result<(), LogError> {
        if self.shared.nats.is_connected() {
            return Ok(());
        }
        let mut link = self.shared.nats.watch();
        let connected =
            async { link.wait_for(|link| link.connected || link.closed).await.map(|link| link.connected) };
        match tokio::time::timeout(CONNECTION_PATIENCE, connected).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(unavailable(&ApiError::Disconnected)),
        }
    }

    async fn make_consumer(&mut self) -> Result<(), LogError> {
        if self.remakes > REMAKES_MAX {
            self.remakes = 1;
            return Err(LogError::Unavailable { reason: std::mem::take(&mut self.trouble) });
        }
        if self.remakes > 0 {
            tokio::time::sleep(REMAKE_PAUSE * self.remakes).await;
        }
        match Pull::start(&self.shared, self.next).await {
            Ok(pull) => {
                self.refused = false;
                // After it was made: a consumer does not outlive its stream, so it is of the one that was opened.
                self.shared.look().await?.check_from(self.next)?;
                self.pull = Some(pull);
                (self.last_word, self.quiet_since) = (Instant::now(), Instant::now());
                Ok(())
            }
            // Why the stream is not there is for the leader to say.
            Err(ApiError::Refused(refusal)) if refusal.is_stream_not_found() => {
                self.shared.look().await.map(|_| ())
            }
            // The servers together have to agree on a consumer, and cannot while one of them is missed or a leader is
            // elected; what is in the stream can be read all the same.
            Err(error @ (ApiError::TimedOut { .. } | ApiError::Refused(_))) if error.may_pass() => {
                tracing::debug!(%error, next = self.next, "no consumer can be made");
                self.trouble = error.to_string();
                (self.singly, self.refused) = (SINGLE_READS, true);
                Ok(())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Reads the next message without a consumer: there may be none to be had, and a message whose headers the client
    /// cannot parse ends the connection each time that it is delivered. `false` when there is none.
    async fn read_single(&mut self) -> Result<bool, LogError> {
        let view = self.shared.look().await?;
        view.check_from(self.next)?;
        let entry =
            if view.tip < self.next { None } else { self.shared.get(self.next, ASK_PATIENCE).await? };
        let Some(entry) = entry else {
            (self.singly, self.remakes) = (0, 1);
            self.nothing_to = view.tip;
            return Ok(false);
        };
        self.singly -= 1;
        // What it jumps over, if anything, may have been compacted since.
        let checked = entry.sequence.0 == self.next;
        self.held = Some(Held { pending: entry.sequence.0 < view.tip, entry, checked });
        Ok(true)
    }

    /// Lets go of the consumer; the next one begins at the reader's place.
    fn broken(&mut self, reason: &str) {
        tracing::debug!(reason, next = self.next, "a consumer is made anew");
        reason.clone_into(&mut self.trouble);
        self.remakes += 1;
        if self.remakes >= 2 {
            self.singly = SINGLE_READS;
        }
        add(&self.shared.counters.consumers_remade, 1);
        self.forget();
    }

    fn forget(&mut self) {
        (self.pull, self.held, self.pending, self.stalled) = (None, None, false, false);
    }

    /// Nothing came for a while: asks the leader whether there is something.
    async fn doubt(&mut self, finite: bool) -> Result<bool, LogError> {
        // Not that of the question, during which nothing is read.
        let silent = self.last_word.elapsed();
        let view = self.shared.look().await;
        self.doubt_after = (self.doubt_after * 2).min(DOUBT_AFTER_MAX);
        self.quiet_since = Instant::now();
        let view = view?;
        view.check_from(self.next).inspect_err(|_| self.forget())?;
        if view.tip < self.next || view.tip <= self.nothing_to {
            self.stalled = false;
            if silent > SILENCE_MAX {
                self.broken("it does not even say that it has nothing");
                // That is no fault of the place.
                (self.remakes, self.singly) = (1, 0);
            }
            return Ok(!finite);
        }
        if self.stalled {
            self.broken("it stands still though there is something to read");
        } else {
            self.stalled = true;
        }
        Ok(true)
    }
}

impl Subscription for Follower {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        self.batch(false).boxed()
    }
}
