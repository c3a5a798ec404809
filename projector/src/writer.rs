//! The background writer: what was folded becomes durable a little later, many blocks at a time.
//!
//! The fold hands every block to a bounded queue. The writer coalesces rows that several blocks changed and commits rows,
//! ids, tiles and head together. When the disk is full it keeps what it has, tries again every [`RETRY`], and the queue
//! holds up the fold once [`DIRTY_ROWS_MAX`] rows wait. Where there is a block archive, a block is committed when it is
//! archived.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chaoschain_schemas::{EventAddress, Height, Sequence, TransitionId};
use chaoschain_state::domain::ReadModel;
use chaoschain_state::{BLOCKS, Change, Key};

use crate::archive::BlockArchive;
use crate::attestations::Checkpoint;
use crate::fold::Folded;
use crate::head::Head;
use crate::skip::Skipped;
use crate::store::{Batch, BlockRecord, Store, StoreError};

/// The most changed rows that may wait to be written before the fold is held up.
pub const DIRTY_ROWS_MAX: usize = 600_000;
/// The most transitions, blocks and skipped messages that may wait besides, however few rows they changed.
const PENDING_MAX: usize = 1_000_000;
/// A commit begins when this many rows, or ids, wait, however little time has passed.
const COMMIT_ROWS: usize = 200_000;
/// A commit begins this long after the last one when anything waits, or after the time the last one took,
/// [`COMMIT_REST`] times: the more there is to do, the more a commit coalesces.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
const COMMIT_REST: u32 = 2;
/// How many records a read model is told at a time when it starts.
const PRIME_PAGE: usize = 4096;
/// How long the writer waits after a failed commit.
const RETRY: Duration = Duration::from_secs(1);

enum Note {
    Folded(Folded),
    Skipped(Skipped),
}

#[derive(Default)]
struct Queue {
    notes: VecDeque<Note>,
    /// The newest finality. An older one that has not been taken up by then need not be stored.
    finality: Option<Checkpoint>,
    /// Rows in the queue and in the writer's batch.
    rows: usize,
    /// Transitions, blocks and skipped messages there.
    pending: usize,
    /// Commits that were asked for, and how far they have come.
    flush_wanted: u64,
    flush_done: u64,
    closing: bool,
    /// Nobody waits for room any more: whoever hands over is about to end.
    released: bool,
    /// The writer's thread is gone.
    ended: bool,
    /// Why the last commit failed, if it did.
    error: Option<(String, String)>,
}

/// Blocks that are folded and not yet stored, and where their transitions stand.
#[derive(Default)]
struct Recent {
    ids: HashMap<TransitionId, EventAddress>,
    blocks: BTreeMap<Height, BlockRecord>,
}

/// What the writer shares with the projection.
#[derive(Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    recent: RwLock<Recent>,
    pub(crate) models: Mutex<Vec<Box<dyn ReadModel>>>,
    stored_height: AtomicU64,
    commits: AtomicU64,
    rows_written: AtomicU64,
}

impl Shared {
    /// What is to be stored of a block that is not stored yet.
    pub(crate) fn block(&self, height: Height) -> Option<BlockRecord> {
        self.recent().blocks.get(&height).cloned()
    }

    /// Hands over what makes a height final, all of whose blocks were handed over before. Waits for nothing: on a full
    /// disk only the newest is kept.
    pub(crate) fn finalized(&self, checkpoint: Checkpoint) {
        lock(&self.queue).finality = Some(checkpoint);
        self.changed.notify_all();
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Figures of the writer.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriterStatus {
    pub(crate) stored_height: u64,
    pub(crate) dirty_rows: usize,
    pub(crate) pending_ids: usize,
    pub(crate) commits: u64,
    pub(crate) rows_written: u64,
    pub(crate) error: Option<(String, String)>,
}

/// The writer's thread and its queue.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts to write to `store`, which stands at `head`.
    pub(crate) fn start(
        store: Arc<Store>,
        head: Arc<Head>,
        cursor: Sequence,
        models: Vec<Box<dyn ReadModel>>,
        archive: Option<Arc<BlockArchive>>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        *lock(&shared.models) = models;
        shared.stored_height.store(head.height().0, Ordering::Relaxed);
        let work =
            Work { store, shared: Arc::clone(&shared), head, cursor, archive, batch: Batch::default() };
        let ends = End(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("projection-writer".into()).spawn(move || {
            let _ends = ends;
            work.run();
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Hands over a folded block; waits while too much is waiting.
    pub(crate) fn folded(&self, folded: Folded) {
        let height = folded.head.height();
        {
            let mut recent = self.shared.recent.write().unwrap_or_else(PoisonError::into_inner);
            recent.ids.extend(addresses(&folded));
            recent.blocks.insert(height, BlockRecord::of(&folded.head));
        }
        self.push(folded.changes.len(), folded.ids.len() + 1, Note::Folded(folded));
    }

    /// Hands over a skipped message.
    pub(crate) fn skipped(&self, skipped: Skipped) {
        self.push(0, 1, Note::Skipped(skipped));
    }

    fn push(&self, rows: usize, pending: usize, note: Note) {
        let mut queue = lock(&self.shared.queue);
        let full = |queue: &Queue| queue.rows > DIRTY_ROWS_MAX || queue.pending > PENDING_MAX;
        while full(&queue) && !queue.released && !queue.ended {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.rows += rows;
        queue.pending += pending;
        queue.notes.push_back(note);
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Where a transition of a block that is not stored yet stands.
    pub(crate) fn locate(&self, id: &TransitionId) -> Option<EventAddress> {
        self.recent().ids.get(id).copied()
    }

    /// What is to be stored of a block that is not stored yet.
    pub(crate) fn block(&self, height: Height) -> Option<BlockRecord> {
        self.shared.block(height)
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.shared.recent()
    }

    /// Commits everything handed over so far; the error of the attempt, if it failed.
    pub(crate) fn flush(&self) -> Result<(), (String, String)> {
        let mut queue = lock(&self.shared.queue);
        queue.flush_wanted += 1;
        let wanted = queue.flush_wanted;
        self.shared.changed.notify_all();
        while queue.flush_done < wanted && !queue.ended {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.flush_done < wanted {
            return Err(("store_closed".into(), "the projection is closed, or its writer has failed".into()));
        }
        queue.error.clone().map_or(Ok(()), Err)
    }

    /// Lets go of whoever waits for room, which may never come on a full disk.
    pub(crate) fn release(&self) {
        lock(&self.shared.queue).released = true;
        self.shared.changed.notify_all();
    }

    /// Commits what it can and ends the thread.
    pub(crate) fn close(&self) {
        self.release();
        lock(&self.shared.queue).closing = true;
        self.shared.changed.notify_all();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the projection's writer has panicked; what it had not stored is folded again");
        }
    }

    /// Whether the thread is gone though nobody has closed it: it has panicked.
    pub(crate) fn has_failed(&self) -> bool {
        let queue = lock(&self.shared.queue);
        queue.ended && !queue.closing
    }

    pub(crate) fn status(&self) -> WriterStatus {
        let shared = &self.shared;
        let pending_ids = self.recent().ids.len();
        let queue = lock(&shared.queue);
        WriterStatus {
            pending_ids,
            stored_height: shared.stored_height.load(Ordering::Relaxed),
            dirty_rows: queue.rows,
            commits: shared.commits.load(Ordering::Relaxed),
            rows_written: shared.rows_written.load(Ordering::Relaxed),
            error: queue.error.clone(),
        }
    }
}

/// Says that the writer's thread is gone, in whatever way it went.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.0.queue).ended = true;
        self.0.changed.notify_all();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer's side.
struct Work {
    store: Arc<Store>,
    shared: Arc<Shared>,
    head: Arc<Head>,
    cursor: Sequence,
    archive: Option<Arc<BlockArchive>>,
    batch: Batch,
}

impl Work {
    fn run(mut self) {
        let mut due = Instant::now() + COMMIT_INTERVAL;
        loop {
            let (notes, finality, flush_wanted, closing) = self.wait(due);
            self.batch.finality = finality.or(self.batch.finality.take());
            for note in notes {
                self.absorb(note);
            }
            let wanted = flush_wanted.is_some() || closing;
            let many = self.batch.rows.len().max(self.batch.ids.len()) >= COMMIT_ROWS;
            if wanted || many || Instant::now() >= due {
                let start = Instant::now();
                let done = self.commit();
                due = Instant::now() + COMMIT_INTERVAL.max(start.elapsed() * COMMIT_REST);
                if let Some(wanted) = flush_wanted {
                    lock(&self.shared.queue).flush_done = wanted;
                    self.shared.changed.notify_all();
                }
                if !done && !closing {
                    self.pause();
                }
            }
            if closing {
                let queue = lock(&self.shared.queue);
                if queue.notes.is_empty() && queue.finality.is_none() {
                    return;
                }
            }
        }
    }

    /// Waits until there is something to do; takes what is in the queue.
    fn wait(&self, due: Instant) -> (Vec<Note>, Option<Checkpoint>, Option<u64>, bool) {
        let mut queue = lock(&self.shared.queue);
        loop {
            let flush = (queue.flush_wanted > queue.flush_done).then_some(queue.flush_wanted);
            let left = due.saturating_duration_since(Instant::now());
            let idle = self.batch.is_empty();
            let news = !queue.notes.is_empty() || queue.finality.is_some();
            if news || flush.is_some() || queue.closing || (!idle && left.is_zero()) {
                let finality = queue.finality.take();
                return (queue.notes.drain(..).collect(), finality, flush, queue.closing);
            }
            let changed = &self.shared.changed;
            queue = if idle {
                changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Waits out a failed commit, unless the end is asked for.
    fn pause(&self) {
        let queue = lock(&self.shared.queue);
        let wake = |queue: &mut Queue| !queue.closing && queue.flush_wanted == queue.flush_done;
        drop(self.shared.changed.wait_timeout_while(queue, RETRY, wake));
    }

    fn absorb(&mut self, note: Note) {
        match note {
            Note::Skipped(skipped) => {
                self.cursor = self.cursor.max(skipped.sequence);
                self.batch.skipped.push(skipped);
            }
            Note::Folded(folded) => {
                self.batch.ids.extend(addresses(&folded));
                let Folded { head, changes, .. } = folded;
                apply_all(&mut lock(&self.shared.models), head.height(), &changes);
                let before = self.batch.rows.len();
                self.batch.rows.extend(changes.iter().map(|change| (change.key, change.after.clone())));
                let coalesced = changes.len() - (self.batch.rows.len() - before);
                lock(&self.shared.queue).rows -= coalesced;
                self.batch.blocks.push((head.height(), BlockRecord::of(&head)));
                self.cursor = self.cursor.max(head.sequence);
                self.head = head;
            }
        }
    }

    /// Whether everything is stored now.
    fn commit(&mut self) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let archived = self.archive.as_ref().map_or(Ok(()), |archive| archive.wait(self.head.height()));
        let mut outcome = match archived {
            Ok(()) => self.store.commit(&self.batch, &self.head, self.cursor),
            Err((code, text)) => Err(StoreError::Unarchived(format!("{text} ({code})"))),
        };
        if let Err(error) = &outcome {
            tracing::warn!(code = error.code(), %error, "commit failed, trying again");
            // After a failed write redb refuses everything until the file is opened again.
            if !matches!(error, StoreError::Unarchived(_))
                && let Err(error) = self.store.reopen(false)
            {
                outcome = Err(error);
            }
        }
        let mut queue = lock(&self.shared.queue);
        if let Err(error) = outcome {
            queue.error = Some((error.code().into(), error.to_string()));
            return false;
        }
        let Batch { rows, blocks, ids, skipped, finality: _ } = std::mem::take(&mut self.batch);
        queue.error = None;
        queue.rows -= rows.len();
        queue.pending -= ids.len() + blocks.len() + skipped.len();
        drop(queue);
        self.shared.changed.notify_all();
        self.shared.stored_height.store(self.head.height().0, Ordering::Relaxed);
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.rows_written.fetch_add(rows.len() as u64, Ordering::Relaxed);
        let mut recent = self.shared.recent.write().unwrap_or_else(PoisonError::into_inner);
        for (id, _) in ids {
            recent.ids.remove(&id);
        }
        for (height, _) in blocks {
            recent.blocks.remove(&height);
        }
        true
    }
}

/// Where each transition of a block stands.
fn addresses(folded: &Folded) -> impl Iterator<Item = (TransitionId, EventAddress)> {
    let height = folded.head.height();
    folded.ids.iter().zip(0..).map(move |(id, index)| (*id, EventAddress { height, index }))
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.blocks.is_empty() && self.skipped.is_empty() && self.finality.is_none()
    }
}

/// Gives read models the whole state as one set of changes.
pub(crate) fn prime_models(models: &mut [Box<dyn ReadModel>], head: &Head) {
    for number in 0..head.state.sub_roots().len() as u8 {
        let Some(tree) = head.state.tree(number).filter(|_| number != BLOCKS) else { continue };
        let mut page = Vec::new();
        for (key, value) in tree {
            let Some(key) = Key::from_bytes(number, &key) else { continue };
            page.push(Change { key, before: None, after: Some(value) });
            if page.len() == PRIME_PAGE {
                apply_all(models, head.height(), &page);
                page.clear();
            }
        }
        apply_all(models, head.height(), &page);
    }
}

fn apply_all(models: &mut [Box<dyn ReadModel>], height: Height, changes: &[Change]) {
    for model in models {
        model.apply(height, changes);
    }
}
