//! A log that can go away, lose its tail or be another one from one moment to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chaoschain_events::log::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};
use chaoschain_schemas::Sequence;
use futures::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::watch;

/// What is wrong with a log.
#[derive(Clone, Debug)]
pub enum Fault {
    Away,
    Replaced,
    Lost { tip: Sequence, seen: Sequence },
}

impl Fault {
    fn error(&self) -> LogError {
        match self {
            Self::Away => LogError::Unavailable { reason: "the cable is out".into() },
            Self::Replaced => {
                LogError::Replaced { log: "switch log".into(), reason: "it was created again".into() }
            }
            Self::Lost { tip, seen } => LogError::Lost { tip: *tip, seen: *seen },
        }
    }
}

#[derive(Clone)]
struct State {
    log: Arc<dyn EventLog>,
    generation: u64,
    fault: Option<Fault>,
}

/// Passes everything on to a log that can be exchanged.
pub struct SwitchLog {
    state: watch::Sender<State>,
    /// How many appends still succeed.
    appends_left: AtomicU64,
}

impl std::fmt::Debug for SwitchLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SwitchLog")
    }
}

impl SwitchLog {
    pub fn new(log: &Arc<dyn EventLog>) -> Arc<Self> {
        let state = State { log: Arc::clone(log), generation: 0, fault: None };
        Arc::new(Self { state: watch::Sender::new(state), appends_left: AtomicU64::new(u64::MAX) })
    }

    pub fn fail(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = Some(fault));
    }

    pub fn heal(&self) {
        self.state.send_modify(|state| state.fault = None);
    }

    /// Puts another log in its place. Nobody is told: subscriptions go on in the new one.
    pub fn replace(&self, log: &Arc<dyn EventLog>) {
        self.state.send_modify(|state| {
            state.log = Arc::clone(log);
            state.generation += 1;
        });
    }

    /// The connection breaks after so many more appends.
    pub fn break_after(&self, appends: u64) {
        self.appends_left.store(appends, Ordering::Relaxed);
    }

    fn log(&self) -> Result<Arc<dyn EventLog>, LogError> {
        let state = self.state.borrow();
        state.fault.as_ref().map_or_else(|| Ok(Arc::clone(&state.log)), |fault| Err(fault.error()))
    }
}

impl EventLog for SwitchLog {
    fn append(
        &self,
        expected_tip: Sequence,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        let cut = || AppendError::Unavailable { reason: "the cable is out".into() };
        let left =
            self.appends_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match self.log() {
            Ok(log) if left.is_ok() => log.append(expected_tip, message),
            _ => ready(Err(cut())).boxed(),
        }
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        async move { self.log()?.tip().await }.boxed()
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        async move { self.log()?.first().await }.boxed()
    }

    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        async move { self.log()?.read(from, limits).await }.boxed()
    }

    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        async move {
            let state = self.state.subscribe();
            let generation = state.borrow().generation;
            let inner = self.log()?.follow(from, limits).await?;
            Ok(Box::new(Switched { state, generation, inner, next: from, limits }) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        async move { self.log()?.compact(before).await }.boxed()
    }

    fn message_bytes_max(&self) -> usize {
        self.state.borrow().log.message_bytes_max()
    }

    fn description(&self) -> String {
        "switch log".into()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

struct Switched {
    state: watch::Receiver<State>,
    generation: u64,
    inner: Box<dyn Subscription>,
    next: Sequence,
    limits: ReadLimits,
}

impl std::fmt::Debug for Switched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Switched({})", self.next)
    }
}

impl Subscription for Switched {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        async move {
            loop {
                let state = self.state.borrow_and_update().clone();
                if let Some(fault) = state.fault {
                    return Err(fault.error());
                }
                if state.generation != self.generation {
                    self.inner = state.log.follow(self.next, self.limits).await?;
                    self.generation = state.generation;
                }
                tokio::select! {
                    batch = self.inner.next_batch() => {
                        let batch = batch?;
                        self.next = batch.last().map_or(self.next, |last| last.sequence.next());
                        return Ok(batch);
                    }
                    _ = self.state.changed() => {}
                }
            }
        }
        .boxed()
    }
}
