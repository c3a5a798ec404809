//! A log whose work is counted.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chaoschain_events::log::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};
use chaoschain_schemas::Sequence;
use futures::future::BoxFuture;
use prometheus::{Histogram, IntCounterVec, IntGauge};

/// What is counted of a log's appends.
#[derive(Clone, Debug)]
pub(crate) struct LogCounters {
    /// Appends that came to an end, by `ok` or the code of the error.
    pub(crate) appends: IntCounterVec,
    /// From the call to the acknowledgement, of those that succeeded.
    pub(crate) seconds: Histogram,
    /// Appends under way.
    pub(crate) in_flight: IntGauge,
}

/// A log that counts.
#[derive(Debug)]
pub(crate) struct Metered {
    log: Arc<dyn EventLog>,
    counters: LogCounters,
}

impl Metered {
    pub(crate) fn new(log: Arc<dyn EventLog>, counters: LogCounters) -> Self {
        Self { log, counters }
    }
}

/// An append under way; it is not any more when this is dropped, whoever lost interest in its outcome.
struct UnderWay(IntGauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl EventLog for Metered {
    fn append(
        &self,
        expected_tip: Sequence,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        let start = Instant::now();
        let LogCounters { appends, seconds, in_flight } = self.counters.clone();
        in_flight.inc();
        let under_way = UnderWay(in_flight);
        let appended = self.log.append(expected_tip, message);
        Box::pin(async move {
            let outcome = appended.await;
            drop(under_way);
            let name = match &outcome {
                Ok(_) => {
                    seconds.observe(start.elapsed().as_secs_f64());
                    "ok"
                }
                Err(error) => error.code(),
            };
            appends.with_label_values(&[name]).inc();
            outcome
        })
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.log.tip()
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.log.first()
    }

    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        self.log.read(from, limits)
    }

    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        self.log.follow(from, limits)
    }

    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.log.compact(before)
    }

    fn message_bytes_max(&self) -> usize {
        self.log.message_bytes_max()
    }

    fn description(&self) -> String {
        self.log.description()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.log.close()
    }
}
