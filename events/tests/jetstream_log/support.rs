//! Servers, connections and logs, made in a line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::log::conformance::read_on;
use chaoschain_events::log::{
    AppendError, Entry, EventLog, JetStreamLog, JetStreamOptions, LogError, ReadLimits, Subscription,
};
use chaoschain_events::nats::{Nats, NatsError, NatsOptions, Subjects, connect};
use chaoschain_schemas::{ChainId, Sequence};

pub(crate) const ALL: ReadLimits = ReadLimits { messages: usize::MAX, bytes: usize::MAX };

/// A chain that no other test of this process has.
pub(crate) fn new_chain() -> ChainId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0xc5; 32];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    ChainId::new(id)
}

pub(crate) fn at(url: &str) -> NatsOptions {
    NatsOptions { url: url.to_owned(), name: "test".to_owned(), ..NatsOptions::default() }
}

pub(crate) async fn nats(url: &str) -> Nats {
    connect(&at(url)).await.unwrap()
}

pub(crate) fn options(chain: ChainId) -> JetStreamOptions {
    JetStreamOptions { chain, name: "test".to_owned(), create: true, replicas: 1, fsync_always: true }
}

pub(crate) async fn open(url: &str, chain: ChainId) -> Arc<JetStreamLog> {
    Arc::new(JetStreamLog::open(nats(url).await, options(chain)).await.unwrap())
}

/// Opens what should not open.
pub(crate) async fn refused(url: &str, options: JetStreamOptions) -> NatsError {
    JetStreamLog::open(nats(url).await, options).await.unwrap_err()
}

pub(crate) fn message(n: u64) -> Bytes {
    format!("message {n}").into()
}

pub(crate) async fn fill(log: &dyn EventLog, messages: u64) {
    for _ in 0..messages {
        let tip = log.tip().await.unwrap();
        assert_eq!(log.append(tip, message(tip.0 + 1)).await, Ok(tip.next()));
    }
}

/// Appends until it stands there, as a producer would.
pub(crate) async fn append_somehow(log: &dyn EventLog, n: u64) {
    eventually("it is appended", async || {
        let outcome = log.append(Sequence(n - 1), message(n)).await;
        match outcome {
            Ok(sequence) => {
                assert_eq!(sequence, Sequence(n));
                true
            }
            // Only our own bytes can stand there: an earlier attempt has landed.
            Err(AppendError::TipMoved { tip }) => tip >= Sequence(n),
            // Producers pause before they come back.
            Err(AppendError::Unavailable { .. } | AppendError::Unclear { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    })
    .await;
}

async fn whole(log: &dyn EventLog) -> Result<Vec<Entry>, LogError> {
    read_on(log, log.first().await?).await
}

pub(crate) async fn contents(log: &dyn EventLog) -> Vec<(u64, String)> {
    texts(&whole(log).await.unwrap())
}

/// As [`contents`], where the servers may be busy with themselves.
pub(crate) async fn contents_patiently(log: &dyn EventLog) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    eventually("it can be read", async || {
        match whole(log).await {
            Ok(entries) => found = texts(&entries),
            Err(error) => assert_eq!(error.code(), "log_unavailable", "{error}"),
        }
        !found.is_empty()
    })
    .await;
    found
}

/// Asks until the answer is yes, for a minute at most.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_mins(1), asking).await.is_ok(),
        "waited in vain until {what}"
    );
}

pub(crate) fn texts(entries: &[Entry]) -> Vec<(u64, String)> {
    let text = |entry: &Entry| String::from_utf8_lossy(&entry.message).into_owned();
    entries.iter().map(|entry| (entry.sequence.0, text(entry))).collect()
}

pub(crate) fn filled(sequences: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    sequences.map(|n| (n, format!("message {n}"))).collect()
}

pub(crate) async fn take(subscription: &mut dyn Subscription, count: usize) -> Vec<(u64, String)> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(subscription.next_batch().await.unwrap());
    }
    texts(&entries)
}

/// As [`take`], for a reader that may be told of trouble meanwhile and asks again.
pub(crate) async fn take_patiently(subscription: &mut dyn Subscription, count: usize) -> Vec<(u64, String)> {
    let mut entries = Vec::new();
    while entries.len() < count {
        match subscription.next_batch().await {
            Ok(batch) => entries.extend(batch),
            Err(error) => assert_eq!(error.code(), "log_unavailable", "{error}"),
        }
    }
    texts(&entries)
}

/// The stream of a chain, by the server's own client.
pub(crate) async fn raw_stream(nats: &Nats, chain: ChainId) -> async_nats::jetstream::stream::Stream {
    nats.jetstream().get_stream(Subjects::of(chain).log_stream()).await.unwrap()
}
