//! What a log on JetStream counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use serde::Serialize;

/// How a log on JetStream is doing. Counts are since it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JetStreamStatus {
    /// The stream's name.
    pub stream: String,
    /// The server connected to last.
    pub server: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// On how many servers the stream is kept.
    pub replicas: usize,
    /// The server that leads the stream, where it is replicated and was told.
    pub leader: Option<String>,
    /// How many of the other replicas were not up to date when last told.
    pub replicas_behind: u64,
    /// The highest sequence seen.
    pub tip_seen: u64,
    /// Appends under way.
    pub appends_in_flight: u64,
    /// Appends that succeeded.
    pub appends: u64,
    /// Appends that lost their position to another message.
    pub appends_tip_moved: u64,
    /// Appends that failed in another way and were certainly not kept.
    pub appends_refused: u64,
    /// Appends whose outcome stayed unclear.
    pub appends_unclear: u64,
    /// Appends whose answer was lost and whose outcome was found by reading back.
    pub appends_read_back: u64,
    /// The time from sending to acknowledgement of the appends that were acknowledged, all together, microseconds.
    pub append_micros_total: u64,
    /// The longest of them.
    pub append_micros_max: u64,
    /// The last of them.
    pub append_micros_last: u64,
    /// Messages read.
    pub messages_read: u64,
    /// Payload bytes read.
    pub bytes_read: u64,
    /// How often a follower's consumer was made anew because it was lost or stood still.
    pub consumers_remade: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) in_flight: AtomicU64,
    pub(super) appends: AtomicU64,
    pub(super) tip_moved: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unclear: AtomicU64,
    pub(super) read_back: AtomicU64,
    pub(super) micros_total: AtomicU64,
    pub(super) micros_max: AtomicU64,
    pub(super) micros_last: AtomicU64,
    pub(super) messages_read: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    pub(super) consumers_remade: AtomicU64,
    behind: AtomicU64,
    leader: Mutex<Option<String>>,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn acknowledged(&self, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        add(&self.micros_total, micros);
        self.micros_max.fetch_max(micros, Ordering::Relaxed);
        self.micros_last.store(micros, Ordering::Relaxed);
    }

    pub(super) fn note_cluster(&self, info: &Info) {
        let Some(cluster) = &info.cluster else { return };
        let behind = cluster.replicas.iter().filter(|peer| !peer.current || peer.offline).count();
        self.behind.store(behind as u64, Ordering::Relaxed);
        self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&cluster.leader);
    }
}

impl super::JetStreamLog {
    /// How the log is doing.
    pub fn status(&self) -> JetStreamStatus {
        let (shared, counters) = (&self.shared, &self.shared.counters);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JetStreamStatus {
            stream: shared.stream.clone(),
            server: shared.nats.server(),
            connected: shared.nats.is_connected(),
            replicas: shared.replicas,
            leader: counters.leader.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            replicas_behind: load(&counters.behind),
            tip_seen: load(&shared.seen),
            appends_in_flight: load(&counters.in_flight),
            appends: load(&counters.appends),
            appends_tip_moved: load(&counters.tip_moved),
            appends_refused: load(&counters.refused),
            appends_unclear: load(&counters.unclear),
            appends_read_back: load(&counters.read_back),
            append_micros_total: load(&counters.micros_total),
            append_micros_max: load(&counters.micros_max),
            append_micros_last: load(&counters.micros_last),
            messages_read: load(&counters.messages_read),
            bytes_read: load(&counters.bytes_read),
            consumers_remade: load(&counters.consumers_remade),
        }
    }
}
