//! The projection: a node's one view of its chain, followed live, shared by every role in the process.
//!
//! # Invariants
//! - What [`Projection::head`] answers was folded here and its roots equal its header's.
//! - A block is visible to readers before it is stored and after it is in the log. A crash in between costs a refold.
//! - When the projection cannot go on it says why in [`Projection::condition`] and goes on to serve its last good height.

mod open;
mod producer;
mod status;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{EventLog, LogError, ReadLimits};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::{
    ChainId, EventAddress, Hash, Header, Height, PublicKey, Sequence, SignedHeader, TransitionId,
};
use chaoschain_state::domain::{Machine, ReadError};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::watch;

pub use producer::Confirmed;
pub(crate) use producer::{Brought, Taken};
pub use status::ProjectionStatus;

use crate::anchor::{History, Known};
use crate::archive::{BlockArchive, header_hash};
use crate::attestations::Attestations;
use crate::divergence::Diverged;
use crate::fold::{Fold, is_producer};
use crate::follower;
use crate::head::Head;
use crate::log_watch::LogWatch;
use crate::skip::SkipClass;
use crate::store::{BlockRecord, Store, StoreError};
use crate::writer::{Writer, lock};

/// How long an older head stays at hand for reads at its height.
pub const RETAINED_FOR: Duration = Duration::from_mins(10);
/// The most older heads at hand.
pub const RETAINED_HEADS_MAX: usize = 1024;
/// The most changed records that older heads may hold on to, together.
pub const RETAINED_RECORDS_MAX: usize = 400_000;

/// How a projection is opened.
#[derive(Clone, Debug)]
pub struct ProjectionOptions {
    /// The directory of its file.
    pub dir: PathBuf,
    /// The chain it must be; `None` takes whatever the log holds.
    pub chain: Option<ChainId>,
    /// The most messages that are read, verified and folded together.
    pub fold_batch: usize,
    /// Whether a root mismatch at start is looked into by refolding the log, to name the row.
    pub diagnose: bool,
    /// The directory of the block archive; `None` where the log's own files are on this machine.
    pub archive: Option<PathBuf>,
}

impl ProjectionOptions {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), chain: None, fold_batch: 256, diagnose: true, archive: None }
    }
}

/// Whether a projection moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Condition {
    /// It folds what the log brings.
    Following,
    /// It has stopped at its last good height, which it still serves.
    Degraded {
        /// A stable word for the reason.
        code: String,
        /// The reason, and what to do.
        message: String,
        /// The file with what proves it.
        evidence: Option<PathBuf>,
    },
}

/// Why a block's message could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBlockError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A node's view of its chain. Clones share it.
#[derive(Clone)]
pub struct Projection(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: ProjectionOptions,
    machine: Arc<dyn Machine>,
    log: Arc<dyn EventLog>,
    pub(crate) store: Arc<Store>,
    fold: Mutex<Fold>,
    /// Our own blocks that the log may already have: the follower need not verify them again.
    own: Mutex<HashMap<Hash, Arc<VerifiedBlock>>>,
    published: watch::Sender<Arc<Head>>,
    retained: Mutex<Retained>,
    writer: Writer,
    pub(crate) archive: Option<Arc<BlockArchive>>,
    pub(crate) log_watch: LogWatch,
    /// Where the log ended when the projection was opened.
    opened_tip: Sequence,
    condition: watch::Sender<Condition>,
    /// The last message looked at.
    cursor: watch::Sender<Sequence>,
    pub(crate) attestations: Attestations,
    /// The block at which this fold and its producer's disagree, once that has stopped it.
    pub(crate) diverged: OnceLock<Diverged>,
    skipped: Mutex<BTreeMap<SkipClass, u64>>,
    events_folded: AtomicU64,
    pub(crate) rows_scrubbed: AtomicU64,
    pub(crate) closing: AtomicBool,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    /// Woken when background work is to stop resting.
    rest: Condvar,
}

impl Inner {
    /// Rests for `span`; whether the projection is closing.
    pub(crate) fn rest(&self, span: Duration) -> bool {
        let threads = lock(&self.threads);
        let closing = |_: &mut Vec<JoinHandle<()>>| !self.closing.load(Ordering::Acquire);
        drop(self.rest.wait_timeout_while(threads, span, closing));
        self.closing.load(Ordering::Acquire)
    }
}

#[derive(Default)]
struct Retained {
    heads: VecDeque<(Instant, Arc<Head>, usize)>,
    records: usize,
}

impl Retained {
    fn push(&mut self, head: Arc<Head>, records: usize) {
        self.heads.push_back((Instant::now(), head, records));
        self.records += records;
        while self.heads.len() > 1 {
            let Some((since, _, records)) = self.heads.front() else { return };
            let within = since.elapsed() <= RETAINED_FOR
                && self.heads.len() <= RETAINED_HEADS_MAX
                && self.records <= RETAINED_RECORDS_MAX;
            if within {
                return;
            }
            self.records -= records;
            self.heads.pop_front();
        }
    }
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Projection({:?})", self.head())
    }
}

impl Projection {
    /// Starts to fold what the log brings, and to scrub the stored rows in the background.
    ///
    /// Must be called within a tokio runtime, once.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(&self) -> std::io::Result<()> {
        let threads = follower::start(self, &tokio::runtime::Handle::current())?;
        lock(&self.0.threads).extend(threads);
        Ok(())
    }

    /// Stops following, stores what was folded, ends the threads and lets go of the file. Blocks; call it off the async
    /// threads.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.condition.send_modify(|_| {});
        self.0.rest.notify_all();
        self.0.writer.release();
        if let Some(archive) = &self.0.archive {
            archive.release();
        }
        let threads: Vec<_> = lock(&self.0.threads).drain(..).collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the projection has panicked");
            }
        }
        self.0.writer.close();
        if let Some(archive) = &self.0.archive {
            archive.close();
        }
        self.0.store.close();
    }

    /// Stores everything folded so far. Blocks.
    ///
    /// # Errors
    /// Code and text of why it could not be stored.
    pub fn flush(&self) -> Result<(), (String, String)> {
        self.0.writer.flush()
    }

    /// The newest block and its state. Hold it as long as needed: it does not change.
    pub fn head(&self) -> Arc<Head> {
        Arc::clone(&self.0.published.borrow())
    }

    /// Changes with every new head.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Head>> {
        self.0.published.subscribe()
    }

    /// Changes when the projection stops to move.
    pub fn watch_condition(&self) -> watch::Receiver<Condition> {
        self.0.condition.subscribe()
    }

    /// The first head at `height` or above, or the newest one after `patience`.
    ///
    /// # Errors
    /// The newest head, when it is still below `height`.
    pub async fn wait_for(&self, height: Height, patience: Duration) -> Result<Arc<Head>, Arc<Head>> {
        let mut heads = self.subscribe();
        let reached = tokio::time::timeout(patience, heads.wait_for(|head| head.height() >= height)).await;
        match reached {
            Ok(Ok(head)) => Ok(Arc::clone(&head)),
            _ => Err(self.head()),
        }
    }

    /// Waits until every message up to `sequence` was looked at, or the projection stops.
    ///
    /// # Errors
    /// The condition that stopped it.
    pub async fn wait_cursor(&self, sequence: Sequence) -> Result<(), Condition> {
        let mut cursor = self.0.cursor.subscribe();
        let mut condition = self.0.condition.subscribe();
        tokio::select! {
            _ = cursor.wait_for(|at| *at >= sequence) => Ok(()),
            stopped = condition.wait_for(|condition| *condition != Condition::Following) => {
                Err(stopped.map_or(Condition::Following, |condition| condition.clone()))
            }
        }
    }

    /// The last message of the log that was looked at.
    pub fn cursor(&self) -> Sequence {
        *self.0.cursor.borrow()
    }

    /// The head at `height`, while it is retained.
    pub fn head_at(&self, height: Height) -> Option<Arc<Head>> {
        let retained = lock(&self.0.retained);
        let (_, first, _) = retained.heads.front()?;
        let place = height.0.checked_sub(first.height().0)?;
        retained.heads.get(usize::try_from(place).ok()?).map(|(_, head, _)| Arc::clone(head))
    }

    /// The oldest height whose head is retained.
    pub fn first_retained(&self) -> Height {
        let first = lock(&self.0.retained).heads.front().map(|(_, head, _)| head.height());
        first.unwrap_or_else(|| self.head().height())
    }

    /// The rules.
    pub fn machine(&self) -> &Arc<dyn Machine> {
        &self.0.machine
    }

    /// The log that is followed.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.0.log
    }

    /// The chain.
    pub fn chain(&self) -> ChainId {
        self.0.published.borrow().header.chain
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.0.options.dir
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    /// Whether the projection moves.
    pub fn condition(&self) -> Condition {
        self.0.condition.borrow().clone()
    }

    /// The receipt of a transition, whatever its age; `None` if it is in no block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn receipt(&self, id: &TransitionId) -> Result<Option<Receipt>, StoreError> {
        let Some(EventAddress { height, index }) = self.locate(id)? else { return Ok(None) };
        let record = self.block_record(height)?;
        Ok(record.map(|record| Receipt { id: *id, height, index, header_hash: record.header_hash }))
    }

    /// Where a transition stands; `None` if it is in no block.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn locate(&self, id: &TransitionId) -> Result<Option<EventAddress>, StoreError> {
        match self.0.writer.locate(id) {
            Some(address) => Ok(Some(address)),
            None => self.0.store.locate(id),
        }
    }

    /// Header and sequence of the block at `height`; `None` above the head.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn block_record(&self, height: Height) -> Result<Option<BlockRecord>, StoreError> {
        if let Some(head) = self.head_at(height) {
            return Ok(Some(BlockRecord::of(&head)));
        }
        match self.0.writer.block(height) {
            Some(record) => Ok(Some(record)),
            None => self.0.store.block(height),
        }
    }

    /// The block at `height` as it stands in the log, out of the block archive where there is one; `None` above the head.
    ///
    /// # Errors
    /// [`ReadBlockError`], among them a log that was compacted beyond it.
    pub async fn block_message(&self, height: Height) -> Result<Option<Bytes>, ReadBlockError> {
        let Some(record) = self.block_record(height)? else { return Ok(None) };
        if let Some(archive) = &self.0.archive {
            match archive.message(height).await {
                Ok(Some(message)) if header_hash(&message) == Some(record.header_hash) => {
                    return Ok(Some(message));
                }
                Ok(None) => {}
                Ok(Some(_)) => {
                    tracing::warn!(%height, "the block archive has another block: reading the log");
                }
                Err(error) => {
                    tracing::warn!(%height, %error, "the block archive cannot be read: reading the log");
                }
            }
        }
        let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
        let entries = self.0.log.read(record.sequence, limits).await?;
        Ok(entries.into_iter().find(|entry| entry.sequence == record.sequence).map(|entry| entry.message))
    }

    /// Asks the read model of this name; `None` if there is none.
    pub fn model(&self, name: &str, arguments: &[String]) -> Option<Result<Json, ReadError>> {
        let models = lock(&self.0.writer.shared().models);
        models.iter().find(|model| model.name() == name).map(|model| model.query(arguments))
    }

    /// The names of the read models.
    pub fn model_names(&self) -> Vec<String> {
        lock(&self.0.writer.shared().models).iter().map(|model| model.name().to_owned()).collect()
    }

    /// The block archive, where there is one.
    pub fn archive(&self) -> Option<&Arc<BlockArchive>> {
        self.0.archive.as_ref()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl History for Projection {
    fn block(&self, height: Height) -> Result<Option<Known>, StoreError> {
        Ok(self.block_record(height)?.as_ref().map(Known::from))
    }

    fn signed(&self, height: Height) -> Result<Option<SignedHeader>, StoreError> {
        Ok(self.block_record(height)?.map(|record| record.signed))
    }

    fn is_producer(&self, header: &Header, key: &PublicKey) -> bool {
        is_producer(&self.head(), header.producer, key)
    }
}
