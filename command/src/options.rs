//! What a command service may be told, and the bounds it keeps.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chaoschain_projector::BlockLimits;
use chaoschain_schemas::Timestamp;

use crate::rate::Rate;

/// The most envelopes one batch submission may hold.
pub const BATCH_EVENTS_MAX: usize = 1024;
/// The largest batch submission, bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most submissions of the very same bytes that wait for one answer.
pub const DUPLICATES_MAX: usize = 256;
/// The most submissions whose signatures are checked together.
pub const VERIFY_BATCH_MAX: usize = 2048;

/// How a command service behaves. The defaults suit one node on one machine.
#[derive(Clone, Debug)]
pub struct CommandOptions {
    /// How many submissions may wait for their signatures to be checked.
    pub queue_events_max: usize,
    /// How many bytes these may have.
    pub queue_bytes_max: usize,
    /// What the mempool holds at most.
    pub mempool: MempoolLimits,
    /// How long a transition whose nonce lies ahead waits for its predecessor.
    pub nonce_wait: Duration,
    /// How large a block gets.
    pub block: BlockLimits,
    /// How long a block under load waits for more events; an idle service seals at once.
    pub linger_max: Duration,
    /// How many blocks may be on their way to the log.
    pub in_flight_max: usize,
    /// How long an append may take before it is also looked for in the log.
    pub append_patience: Duration,
    /// How long a late append is then waited for, or the outcome of an unclear one looked for, before submitters are told
    /// that it is unknown.
    pub outcome_patience: Duration,
    /// How long a submitter waits at most; then the outcome is unknown to it, whatever it comes to.
    pub answer_patience: Duration,
    /// How long blocks on their way may take when the service shuts down.
    pub shutdown_patience: Duration,
    /// The first pause after the log has refused a block; each further one in a row is twice as long.
    pub stall_first: Duration,
    /// The longest such pause.
    pub stall_max: Duration,
    /// How fast one peer may submit; unlimited where absent. Local callers are not limited.
    pub peer_rate: Option<Rate>,
    /// How fast all peers together may submit; unlimited where absent.
    pub global_rate: Option<Rate>,
    /// Where block time comes from.
    pub clock: Clock,
    /// Who is told how long receipts take.
    pub observer: Observer,
}

impl Default for CommandOptions {
    fn default() -> Self {
        Self {
            queue_events_max: 16 * 1024,
            queue_bytes_max: 32 * 1024 * 1024,
            mempool: MempoolLimits::default(),
            nonce_wait: Duration::from_secs(1),
            block: BlockLimits::default(),
            linger_max: Duration::from_millis(20),
            in_flight_max: 4,
            append_patience: Duration::from_secs(10),
            outcome_patience: Duration::from_secs(10),
            answer_patience: Duration::from_secs(30),
            shutdown_patience: Duration::from_secs(5),
            stall_first: Duration::from_millis(100),
            stall_max: Duration::from_secs(2),
            peer_rate: None,
            global_rate: None,
            clock: Clock::system(),
            observer: Observer::default(),
        }
    }
}

/// What the mempool holds at most, blocks on their way included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolLimits {
    /// Events in all.
    pub events: usize,
    /// Their bytes in all.
    pub bytes: usize,
    /// Events of one author, counted for each key that signs for it: nobody uses up another's share.
    pub author_events: usize,
}

impl Default for MempoolLimits {
    fn default() -> Self {
        Self { events: 64 * 1024, bytes: 64 * 1024 * 1024, author_events: 16 }
    }
}

/// Tells the time of the world.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
        })
    }

    /// A clock that shows whatever `now` says.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Is told of every receipt how long it took, from the check of its signatures to the answer; for metrics.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn Fn(Duration) + Send + Sync>>);

impl Observer {
    /// Has `tell` called for each receipt, from a thread of the service: it must be quick and must not block.
    pub fn new(tell: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(crate) fn receipt(&self, took: Duration) {
        if let Some(tell) = &self.0 {
            tell(took);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "Observer(nobody)" })
    }
}
