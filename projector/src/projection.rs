//! The projection: a node's one view of its chain, followed live, shared by every role in the process.
//!
//! # Invariants
//! - What [`Projection::head`] answers was folded here and its roots equal its header's.
//! - A block is visible to readers before it is stored and after it is in the log. A crash in between costs a refold.
//! - When the projection cannot go on it says why in [`Projection::condition`] and goes on to serve its last good height.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::block::{BlockError, VerifiedBlock};
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_events::log::{EventLog, LogError, ReadLimits};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::{ChainId, EventAddress, Hash, Height, Sequence, Timestamp, TransitionId};
use chaoschain_state::domain::{Machine, ReadError, ReadModel};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::watch;

use crate::fold::{BlockLimits, Fold, FoldError, Folded, Producer, Proposed, Verdict};
use crate::follower;
use crate::genesis::{Beginning, open_genesis};
use crate::head::Head;
use crate::recover::{self, OpenError, Recovered, check_log, recover};
use crate::skip::{SkipClass, Skipped};
use crate::store::{BlockRecord, Store, StoreError, create_private_file};
use crate::writer::{Writer, lock, prime_models};

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
}

impl ProjectionOptions {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), chain: None, fold_batch: 256, diagnose: true }
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

/// What became of a block of our own that the log has taken.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// It is the head now.
    Adopted(Arc<Head>),
    /// The follower was quicker and has looked at this sequence already; [`Projection::block_record`] tells whether the
    /// block became history.
    AlreadyFolded,
    /// It was given up as speculative before the log's answer came; the follower will judge it.
    Dropped,
}

/// Figures of a projection.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectionStatus {
    /// The chain.
    pub chain: ChainId,
    /// The newest height.
    pub height: Height,
    /// Its header hash.
    pub header_hash: Hash,
    /// Its state root.
    pub state_root: Hash,
    /// Its block time.
    pub timestamp: Timestamp,
    /// The epoch.
    pub epoch: u64,
    /// The last message of the log that was looked at.
    pub cursor: Sequence,
    /// The height that is durable in the store.
    pub stored_height: Height,
    /// Rows that wait to be stored.
    pub dirty_rows: usize,
    /// Commits since the start.
    pub commits: u64,
    /// Rows written since the start.
    pub rows_written: u64,
    /// Events folded since the start.
    pub events_folded: u64,
    /// Records in the state.
    pub records: u64,
    /// Messages skipped since the start, by class.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Why the store lags, if it cannot be written.
    pub store_error: Option<String>,
    /// Rows that the background scrub has compared since the start.
    pub rows_scrubbed: u64,
    /// Whether it moves.
    pub condition: Condition,
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
    condition: watch::Sender<Condition>,
    /// The last message looked at.
    cursor: watch::Sender<Sequence>,
    skipped: Mutex<BTreeMap<SkipClass, u64>>,
    events_folded: AtomicU64,
    pub(crate) rows_scrubbed: AtomicU64,
    pub(crate) closing: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
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
    /// Opens what is stored in `options.dir`, or begins at the log's first block, and checks that the log still has
    /// what was folded from it. Nothing is followed yet.
    ///
    /// `progress` is told how many stored rows are checked.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        options: ProjectionOptions,
        machine: Arc<dyn Machine>,
        log: Arc<dyn EventLog>,
        mut models: Vec<Box<dyn ReadModel>>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Self, OpenError> {
        let store = Arc::new(Store::open(&options.dir)?);
        let recovered = match recover(&store, &*machine, options.chain, progress) {
            Err(OpenError::RootMismatch { height, sub_tree, recorded, rebuilt, .. }) if options.diagnose => {
                let key = name_difference(&store, &machine, &log, &options, height).await.map(Box::new);
                return Err(OpenError::RootMismatch { height, sub_tree, recorded, rebuilt, key });
            }
            recovered => recovered?,
        };
        let mut begun = None;
        let Recovered { forest, head, cursor } = if let Some(recovered) = recovered {
            check_log(&*log, &recovered.head).await?;
            // The log may have lost skipped messages behind the head; others may come to stand in their place.
            let cursor = recovered.cursor.min(log.tip().await?);
            Recovered { cursor, ..recovered }
        } else {
            let Beginning { forest, head, changes } = begin(&*machine, &*log, options.chain).await?;
            let cursor = head.sequence;
            begun = Some(changes);
            Recovered { forest, head, cursor }
        };
        if begun.is_none() {
            prime_models(&mut models, &head);
        }
        let writer = Writer::start(Arc::clone(&store), Arc::clone(&head), cursor, models)
            .map_err(OpenError::Thread)?;
        if let Some(changes) = begun {
            let (changes, ids) = (Arc::new(changes), Arc::default());
            writer.folded(Folded { head: Arc::clone(&head), changes, ids });
        }
        let mut retained = Retained::default();
        retained.push(Arc::clone(&head), 0);
        Ok(Self(Arc::new(Inner {
            options,
            fold: Mutex::new(Fold::new(Arc::clone(&machine), forest, Arc::clone(&head))),
            machine,
            log,
            store,
            own: Mutex::default(),
            published: watch::Sender::new(head),
            retained: Mutex::new(retained),
            writer,
            condition: watch::Sender::new(Condition::Following),
            cursor: watch::Sender::new(cursor),
            skipped: Mutex::default(),
            events_folded: AtomicU64::new(0),
            rows_scrubbed: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            threads: Mutex::default(),
            rest: Condvar::new(),
        })))
    }

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
        let threads: Vec<_> = lock(&self.0.threads).drain(..).collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the projection has panicked");
            }
        }
        self.0.writer.close();
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

    /// The block at `height` as it stands in the log; `None` above the head.
    ///
    /// # Errors
    /// [`ReadBlockError`], among them a log that was compacted beyond it.
    pub async fn block_message(&self, height: Height) -> Result<Option<Bytes>, ReadBlockError> {
        let Some(record) = self.block_record(height)? else { return Ok(None) };
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

    /// Figures for people and metrics.
    pub fn status(&self) -> ProjectionStatus {
        let head = self.head();
        let writer = self.0.writer.status();
        let skipped = lock(&self.0.skipped);
        ProjectionStatus {
            chain: head.header.chain,
            height: head.height(),
            header_hash: head.hash,
            state_root: head.header.state_root,
            timestamp: head.header.timestamp,
            epoch: head.header.epoch,
            cursor: self.cursor(),
            stored_height: Height(writer.stored_height),
            dirty_rows: writer.dirty_rows,
            commits: writer.commits,
            rows_written: writer.rows_written,
            events_folded: self.0.events_folded.load(Ordering::Relaxed),
            records: head.state.record_count(),
            skipped: SkipClass::ALL
                .iter()
                .map(|class| (class.name(), skipped.get(class).copied().unwrap_or(0)))
                .collect(),
            store_error: writer.error.map(|(_, text)| text),
            rows_scrubbed: self.0.rows_scrubbed.load(Ordering::Relaxed),
            condition: self.condition(),
        }
    }

    /// Seals a block on top of the newest one, our own speculative ones included; see [`Fold::propose`]. Blocks while the
    /// fold is busy.
    ///
    /// # Errors
    /// [`FoldError`].
    pub fn propose(
        &self,
        producer: &Producer,
        now: Timestamp,
        limits: BlockLimits,
        candidates: &[VerifiedEnvelope],
        empty: bool,
    ) -> Result<(Option<Proposed>, Vec<Verdict>), FoldError> {
        let mut fold = lock(&self.0.fold);
        let (proposed, verdicts) = fold.propose(producer, now, limits, candidates, empty)?;
        if let Some(proposed) = &proposed {
            lock(&self.0.own).insert(proposed.header_hash(), Arc::clone(&proposed.block));
        }
        Ok((proposed, verdicts))
    }

    /// Reports that the log has our block at `sequence`. Blocks while the fold is busy.
    pub fn confirm(&self, header_hash: &Hash, sequence: Sequence) -> Confirmed {
        let mut fold = lock(&self.0.fold);
        if fold.head().sequence >= sequence {
            return Confirmed::AlreadyFolded;
        }
        match fold.confirm_if(header_hash, sequence) {
            Some(folded) => {
                let head = Arc::clone(&folded.head);
                self.publish(folded);
                Confirmed::Adopted(head)
            }
            None => Confirmed::Dropped,
        }
    }

    /// Gives up our blocks that the log has not confirmed. Blocks while the fold is busy.
    pub fn drop_speculative(&self) {
        let mut fold = lock(&self.0.fold);
        fold.drop_speculative();
        lock(&self.0.own).clear();
    }

    /// The height and log sequence of the tip that the next proposal stands on; the sequence counts our blocks in
    /// flight as if the log had them in a row.
    pub fn tip(&self) -> (Arc<Head>, usize) {
        let fold = lock(&self.0.fold);
        (Arc::clone(fold.tip()), fold.speculative_len())
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Hands a folded block to the writer, then makes it visible, so that whoever sees it finds its receipts. Called with
    /// the fold locked, so in order.
    fn publish(&self, folded: Folded) {
        let head = Arc::clone(&folded.head);
        lock(&self.0.own).retain(|_, own| own.header().height > head.height());
        self.0.events_folded.fetch_add(folded.ids.len() as u64, Ordering::Relaxed);
        lock(&self.0.retained).push(Arc::clone(&head), folded.changes.len());
        let sequence = head.sequence;
        self.0.writer.folded(folded);
        if self.0.writer.has_failed() {
            self.degrade(
                "store_writer_failed",
                "the writer has ended: nothing is stored any more, restart",
                None,
            );
        }
        self.0.published.send_replace(head);
        self.0.cursor.send_if_modified(|cursor| advance(cursor, sequence));
    }

    /// Folds what a message brought. Whether to go on.
    pub(crate) fn take(
        &self,
        sequence: Sequence,
        brought: Result<Arc<VerifiedBlock>, BlockError>,
        message: &Bytes,
    ) -> bool {
        let mut fold = lock(&self.0.fold);
        if fold.head().sequence >= sequence {
            return true;
        }
        let outcome = match brought {
            Ok(block) => fold.fold(sequence, &block),
            Err(error) => Err(FoldError::Skip(fold.skip_of(&error))),
        };
        match outcome {
            Ok(folded) => {
                self.publish(folded);
                true
            }
            Err(FoldError::Skip(skip)) => {
                tracing::warn!(%sequence, class = skip.class.name(), code = skip.code, "{skip}");
                *lock(&self.0.skipped).entry(skip.class).or_default() += 1;
                let (class, code) = (skip.class.name().to_owned(), skip.code.to_owned());
                self.0.writer.skipped(Skipped { sequence, class, code, message: skip.message });
                self.0.cursor.send_if_modified(|cursor| advance(cursor, sequence));
                true
            }
            Err(error) => {
                let evidence = self.write_evidence(sequence, fold.head(), &error, message);
                self.degrade(error.code(), &error.to_string(), evidence);
                false
            }
        }
    }

    /// Stops at the last good height.
    pub(crate) fn degrade(&self, code: &str, message: &str, evidence: Option<PathBuf>) {
        tracing::error!(code, "{message}; this node stays at height {}", self.head().height());
        let degraded = Condition::Degraded { code: code.to_owned(), message: message.to_owned(), evidence };
        self.0.condition.send_if_modified(|condition| {
            // The first reason is the one that matters.
            let first = *condition == Condition::Following;
            if first {
                *condition = degraded;
            }
            first
        });
    }

    fn write_evidence(
        &self,
        sequence: Sequence,
        head: &Head,
        error: &FoldError,
        message: &Bytes,
    ) -> Option<PathBuf> {
        let path = self.0.options.dir.join(format!("evidence-{sequence}.json"));
        let evidence = serde_json::json!({
            "code": error.code(),
            "reason": error.to_string(),
            "sequence": sequence,
            "last_good": { "height": head.height(), "header_hash": head.hash, "state_root": head.header.state_root },
            "message": chaoschain_schemas::Blob(message.to_vec()),
        });
        let made = create_private_file(&path);
        match made.and_then(|()| std::fs::write(&path, evidence.to_string())) {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::error!(%error, "the evidence could not be written to {}", path.display());
                None
            }
        }
    }

    /// Our own block of this hash, if we have proposed it and it is not history yet.
    pub(crate) fn own_block(&self, header_hash: &Hash) -> Option<Arc<VerifiedBlock>> {
        lock(&self.0.own).get(header_hash).cloned()
    }
}

fn advance(cursor: &mut Sequence, to: Sequence) -> bool {
    let ahead = *cursor < to;
    *cursor = to.max(*cursor);
    ahead
}

/// Begins at the log's first message.
async fn begin(
    machine: &dyn Machine,
    log: &dyn EventLog,
    chain: Option<ChainId>,
) -> Result<Beginning, OpenError> {
    let first = log.first().await?;
    if first > Sequence(1) {
        return Err(OpenError::LogCompacted { first });
    }
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    let entry = log.read(first, limits).await?.into_iter().next().ok_or(OpenError::LogEmpty)?;
    Ok(open_genesis(machine, entry.sequence, &entry.message, chain)?)
}

/// Refolds the log in memory up to `height` to name the first stored row that differs; `None` when that cannot be done.
async fn name_difference(
    store: &Store,
    machine: &Arc<dyn Machine>,
    log: &Arc<dyn EventLog>,
    options: &ProjectionOptions,
    height: Height,
) -> Option<chaoschain_state::Key> {
    tracing::warn!(%height, "the stored rows do not give the recorded root; refolding the log to name the row");
    let head = follower::refold(machine, &**log, options.chain, height).await.ok()?;
    recover::first_difference(store, &head).ok().flatten()
}
