//! The block archive: the message of every folded block, kept on this machine when the log is elsewhere.
//!
//! A log can lose what it acknowledged; then these are the blocks it is restored from ([`crate::restore`]). And while the
//! log is away, blocks are read here.
//!
//! # Format
//! An [`EmbeddedLog`] in a directory of its own, in which the block at height *h* is message *h* + 1. An empty message
//! stands for a block that the log did not have any more when the archive was begun.
//!
//! # Invariants
//! - It holds history alone, without gaps.
//! - The store is never ahead of it: a block is stored when it is archived. So whatever a node answers for after a restart
//!   can be put back into the log.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::log::{AppendError, EmbeddedLog, EmbeddedOptions, EventLog, LogError, ReadLimits};
use chaoschain_schemas::{Hash, Header, Height, SealedBlock, Sequence};
use tokio::runtime::Handle;

use crate::head::Head;
use crate::store::{BlockRecord, Store, StoreError};
use crate::writer::lock;

/// The most blocks that may be folded and not yet archived; then the fold is held up.
pub const ARCHIVE_AHEAD_BLOCKS_MAX: usize = 4096;
/// The most bytes of blocks that may be folded and not yet archived; then the fold is held up.
pub const ARCHIVE_AHEAD_BYTES_MAX: usize = 32 << 20;
/// How many blocks are appended together, within what an embedded log takes at once.
const GROUP_BLOCKS: usize = 128;
const GROUP_BYTES: usize = 16 << 20;
/// How long the archive waits after a failed append.
const RETRY: Duration = Duration::from_secs(1);
/// How many blocks are read at a time.
const READ_BLOCKS: ReadLimits = ReadLimits { messages: 256, bytes: 8 << 20 };

/// Why a block archive cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It is damaged.
    #[error(
        "{source}. Move {} aside: it is filled again from the log, as far as the log has the blocks", dir.display()
    )]
    Damaged {
        /// Its directory.
        dir: PathBuf,
        /// What is wrong.
        source: LogError,
    },
    /// It cannot be opened or read.
    #[error(transparent)]
    Log(LogError),
    /// It cannot be written.
    #[error("cannot be written: {0}")]
    Append(#[from] AppendError),
    /// The log that it is filled from cannot be read.
    #[error("cannot be filled: {0}")]
    Source(LogError),
    /// What is stored of the blocks cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has another block than the state.
    #[error(
        "{} has {archived} at height {height}, the state has {stored}: they are of two histories. Move aside the one that \
         is not of this chain's log", dir.display()
    )]
    Differs {
        /// Its directory.
        dir: PathBuf,
        /// The height.
        height: Height,
        /// The archived header hash.
        archived: Hash,
        /// The folded one.
        stored: Hash,
    },
}

impl ArchiveError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "archive_damaged",
            Self::Differs { .. } => "archive_differs",
            Self::Log(error) | Self::Source(error) => error.code(),
            Self::Append(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

/// Where a height stands in an archive.
pub(crate) const fn place(height: Height) -> Sequence {
    Sequence(height.0 + 1)
}

/// The header hash of a block's message.
pub(crate) fn header_hash(message: &[u8]) -> Option<Hash> {
    SealedBlock::decode(message).ok().map(|sealed| Header::hash_of(sealed.header))
}

#[derive(Default)]
struct Queue {
    /// Blocks that wait, ascending without gaps.
    blocks: VecDeque<Bytes>,
    bytes: usize,
    /// How many blocks are archived, durably: the height of the first one in the queue.
    durable: u64,
    closing: bool,
    /// Nobody waits any more: whoever hands over is about to end.
    released: bool,
    ended: bool,
    /// Code and text of why the last append failed, if it did.
    error: Option<(String, String)>,
}

struct Shared {
    dir: PathBuf,
    log: RwLock<Arc<EmbeddedLog>>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// A node's own copy of its blocks.
pub struct BlockArchive {
    shared: Arc<Shared>,
    /// How many blocks it had when it was opened.
    opened: u64,
    runtime: Handle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for BlockArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockArchive({})", self.shared.dir.display())
    }
}

impl BlockArchive {
    /// Opens the archive in `dir`, or makes one, brings it up to `head` from `log`, and starts to write.
    ///
    /// Without a head there is nothing to compare or to fill.
    pub(crate) async fn open(
        dir: &Path,
        store: &Store,
        head: Option<&Head>,
        log: &dyn EventLog,
    ) -> Result<Self, ArchiveError> {
        let archive = open_archive_log(dir)?;
        let mut count = archive.tip().await.map_err(ArchiveError::Log)?.0;
        if let Some(head) = head {
            compare(&archive, dir, store, head, count).await?;
            if count <= head.height().0 {
                count = fill(&archive, store, head, log, count).await?;
            }
        }
        let shared = Arc::new(Shared {
            dir: dir.into(),
            log: RwLock::new(Arc::new(archive)),
            queue: Mutex::new(Queue { durable: count, ..Queue::default() }),
            changed: Condvar::new(),
        });
        let (work, runtime) = (Arc::clone(&shared), Handle::current());
        let thread = std::thread::Builder::new()
            .name("projection-archive".into())
            .spawn(move || {
                let _end = End(&work);
                work.run(&runtime);
            })
            .map_err(|source| {
                ArchiveError::Log(LogError::Io { action: "start the thread of", path: dir.into(), source })
            })?;
        Ok(Self { shared, opened: count, runtime: Handle::current(), thread: Mutex::new(Some(thread)) })
    }

    /// The newest height that is durable here; `None` while there is none.
    pub fn height(&self) -> Option<Height> {
        lock(&self.shared.queue).durable.checked_sub(1).map(Height)
    }

    /// The newest height that was here when the archive was opened.
    pub(crate) fn opened_height(&self) -> Option<Height> {
        self.opened.checked_sub(1).map(Height)
    }

    /// Code and text of why blocks cannot be archived at present.
    pub fn error(&self) -> Option<(String, String)> {
        lock(&self.shared.queue).error.clone()
    }

    /// The block at `height`; `None` if it is not here.
    ///
    /// # Errors
    /// [`LogError`], among them `Corrupt`.
    pub async fn message(&self, height: Height) -> Result<Option<Bytes>, LogError> {
        let log = {
            let queue = lock(&self.shared.queue);
            if let Some(waiting) = height.0.checked_sub(queue.durable) {
                let waiting = usize::try_from(waiting).ok().and_then(|place| queue.blocks.get(place));
                return Ok(waiting.cloned());
            }
            self.shared.log()
        };
        let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
        let entries = log.read(place(height), limits).await?;
        Ok(entries.into_iter().next().map(|entry| entry.message).filter(|message| !message.is_empty()))
    }

    /// [`BlockArchive::message`] for threads that may block; never call it from async code.
    pub(crate) fn message_blocking(&self, height: Height) -> Result<Option<Bytes>, LogError> {
        self.runtime.block_on(self.message(height))
    }

    /// The header hashes of those of `heights` that were here when the archive was opened.
    pub(crate) async fn opened_hashes(
        &self,
        heights: impl Iterator<Item = Height>,
    ) -> Result<BTreeMap<Height, Hash>, LogError> {
        let mut hashes = BTreeMap::new();
        let log = self.shared.log();
        for height in heights.filter(|height| height.0 < self.opened) {
            if hashes.contains_key(&height) {
                continue;
            }
            let entries = log.read(place(height), READ_BLOCKS).await.map_err(|error| match error {
                LogError::Closed => {
                    LogError::Unavailable { reason: "the block archive is being opened again".into() }
                }
                error => error,
            })?;
            for entry in entries {
                if let Some(hash) = header_hash(&entry.message) {
                    hashes.insert(Height(entry.sequence.0 - 1), hash);
                }
            }
        }
        Ok(hashes)
    }

    /// Hands over the block at `height`, the next one or one that is here already; waits while too much is waiting.
    pub(crate) fn push(&self, height: Height, message: Bytes) {
        let mut queue = lock(&self.shared.queue);
        let full = |queue: &Queue| {
            queue.blocks.len() >= ARCHIVE_AHEAD_BLOCKS_MAX || queue.bytes > ARCHIVE_AHEAD_BYTES_MAX
        };
        while full(&queue) && !queue.released && !queue.ended {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if height.0 != queue.durable + queue.blocks.len() as u64 {
            return;
        }
        queue.bytes += message.len();
        queue.blocks.push_back(message);
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Waits until the block at `height` is durable here.
    ///
    /// # Errors
    /// Code and text of why it could not be written.
    pub(crate) fn wait(&self, height: Height) -> Result<(), (String, String)> {
        let mut queue = lock(&self.shared.queue);
        loop {
            if queue.durable > height.0 {
                return Ok(());
            }
            if let Some(error) = &queue.error {
                return Err(error.clone());
            }
            if queue.ended {
                return Err(("log_closed".into(), "the block archive is closed".into()));
            }
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets go of whoever waits for room, which may never come on a full disk.
    pub(crate) fn release(&self) {
        lock(&self.shared.queue).released = true;
        self.shared.changed.notify_all();
    }

    /// Archives what it can, ends the thread and lets go of the directory. Blocks.
    pub(crate) fn close(&self) {
        {
            let mut queue = lock(&self.shared.queue);
            (queue.released, queue.closing) = (true, true);
        }
        self.shared.changed.notify_all();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(
                "the block archive's thread has panicked; what it had not written is read from the log again"
            );
        }
    }
}

impl Drop for BlockArchive {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn log(&self) -> Arc<EmbeddedLog> {
        Arc::clone(&self.log.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, runtime: &Handle) {
        loop {
            let Some((durable, group)) = self.next_group() else { break };
            let (done, failed) = runtime.block_on(append(&self.log(), Sequence(durable), &group));
            let mut queue = lock(&self.queue);
            queue.remove(done);
            queue.error = failed.as_ref().map(|error| (error.code().to_owned(), error.to_string()));
            let closing = queue.closing;
            drop(queue);
            self.changed.notify_all();
            let Some(error) = failed else { continue };
            tracing::warn!(code = error.code(), %error, "the block archive cannot be written");
            if closing {
                break;
            }
            self.pause();
            if !matches!(error, AppendError::NoSpace | AppendError::Busy { .. }) {
                self.reopen(runtime);
            }
        }
        runtime.block_on(self.log().close());
    }

    /// Waits for blocks; how many are archived, and the next ones. `None` when there is nothing more to do.
    fn next_group(&self) -> Option<(u64, Vec<Bytes>)> {
        let mut queue = lock(&self.queue);
        while queue.blocks.is_empty() {
            if queue.closing {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut room = GROUP_BYTES;
        let group = queue.blocks.iter().take(GROUP_BLOCKS).take_while(|message| {
            let fits = room > 0;
            room = room.saturating_sub(message.len());
            fits
        });
        Some((queue.durable, group.cloned().collect()))
    }

    /// Waits out a failed append, unless the end is asked for.
    fn pause(&self) {
        let queue = lock(&self.queue);
        drop(self.changed.wait_timeout_while(queue, RETRY, |queue| !queue.closing));
    }

    /// Opens the files again, which a log asks for after a failed fsync, and sees what is there.
    fn reopen(&self, runtime: &Handle) {
        let again = runtime.block_on(async {
            self.log().close().await;
            let log = open_archive_log(&self.dir)?;
            let count = log.tip().await.map_err(ArchiveError::Log)?.0;
            Ok::<_, ArchiveError>((log, count))
        });
        let mut queue = lock(&self.queue);
        match again {
            Ok((log, count)) => {
                let Some(more) = count.checked_sub(queue.durable) else {
                    queue.error = Some((
                        "archive_damaged".into(),
                        format!("{} has lost blocks: restart to fill it again", self.dir.display()),
                    ));
                    return;
                };
                queue.remove(usize::try_from(more).unwrap_or(usize::MAX));
                *self.log.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(log);
            }
            Err(error) => queue.error = Some((error.code().into(), error.to_string())),
        }
    }
}

impl Queue {
    /// Notes that the first `count` blocks are durable.
    fn remove(&mut self, count: usize) {
        for message in self.blocks.drain(..count.min(self.blocks.len())) {
            self.bytes -= message.len();
            self.durable += 1;
        }
    }
}

/// Says that the thread is gone, in whatever way it went.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).ended = true;
        self.0.changed.notify_all();
    }
}

/// Opens the files of an archive.
///
/// # Errors
/// [`ArchiveError`].
pub(crate) fn open_archive_log(dir: &Path) -> Result<EmbeddedLog, ArchiveError> {
    EmbeddedLog::open(dir, EmbeddedOptions::default()).map_err(|error| named(dir, error))
}

fn named(dir: &Path, error: LogError) -> ArchiveError {
    match error {
        LogError::Corrupt { .. } | LogError::Foreign { .. } => {
            ArchiveError::Damaged { dir: dir.into(), source: error }
        }
        other => ArchiveError::Log(other),
    }
}

/// Appends blocks behind `tip`; how many of them are durable, and what stopped the others.
async fn append(log: &EmbeddedLog, tip: Sequence, group: &[Bytes]) -> (usize, Option<AppendError>) {
    let under_way: Vec<_> =
        (tip.0..).zip(group).map(|(tip, message)| log.append(Sequence(tip), message.clone())).collect();
    let (mut done, mut failed) = (0, None);
    for answer in under_way {
        match answer.await {
            Ok(_) => done += 1,
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    (done, failed)
}

/// Checks that the newest archived block that was folded is the one that was folded.
async fn compare(
    archive: &EmbeddedLog,
    dir: &Path,
    store: &Store,
    head: &Head,
    count: u64,
) -> Result<(), ArchiveError> {
    let Some(newest) = count.checked_sub(1) else { return Ok(()) };
    let height = Height(newest).min(head.height());
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    let entries = archive.read(place(height), limits).await.map_err(|error| named(dir, error))?;
    let archived = entries.first().and_then(|entry| header_hash(&entry.message));
    let stored = store.block(height)?.map(|record| record.header_hash);
    match (archived, stored) {
        (Some(archived), Some(stored)) if archived != stored => {
            Err(ArchiveError::Differs { dir: dir.into(), height, archived, stored })
        }
        _ => Ok(()),
    }
}

/// Copies what is missing up to `head` out of the log; how many blocks are archived then.
async fn fill(
    archive: &EmbeddedLog,
    store: &Store,
    head: &Head,
    log: &dyn EventLog,
    mut count: u64,
) -> Result<u64, ArchiveError> {
    let missing = head.height().0 + 1 - count;
    if missing > ARCHIVE_AHEAD_BLOCKS_MAX as u64 {
        tracing::info!(blocks = missing, "filling the block archive from the log");
    }
    while count <= head.height().0 {
        let group = next_missing(store, head, log, Height(count)).await?;
        let (done, failed) = append(archive, Sequence(count), &group).await;
        count += done as u64;
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    Ok(count)
}

/// The blocks from `from` on, at least one; an empty message for one that the log does not have any more.
async fn next_missing(
    store: &Store,
    head: &Head,
    log: &dyn EventLog,
    from: Height,
) -> Result<Vec<Bytes>, ArchiveError> {
    let record = |height: Height| -> Result<_, StoreError> {
        let record = store.block(height)?;
        record.ok_or_else(|| StoreError::Corrupt(format!("block {height} is not recorded")))
    };
    let mut wanted = record(from)?;
    let limits = ReadLimits { messages: GROUP_BLOCKS, bytes: GROUP_BYTES };
    let entries = match log.read(wanted.sequence, limits).await {
        Ok(entries) => entries,
        Err(LogError::Compacted { first }) => return gone(&record, head, from, first),
        Err(error) => return Err(ArchiveError::Source(error)),
    };
    let mut group = Vec::new();
    let mut height = from;
    for entry in entries {
        if entry.sequence < wanted.sequence {
            continue;
        }
        if entry.sequence > wanted.sequence || header_hash(&entry.message) != Some(wanted.header_hash) {
            break;
        }
        group.push(entry.message);
        height = height.next();
        if height > head.height() {
            break;
        }
        wanted = record(height)?;
    }
    if group.is_empty() {
        tracing::debug!(height = %from, "the log has this block no more: it is not archived");
        group.push(Bytes::new());
    }
    Ok(group)
}

/// Empty messages for the blocks from `from` on that stood before `first`, at least one.
fn gone(
    record: &dyn Fn(Height) -> Result<BlockRecord, StoreError>,
    head: &Head,
    from: Height,
    first: Sequence,
) -> Result<Vec<Bytes>, ArchiveError> {
    let mut group = vec![Bytes::new()];
    let mut height = from.next();
    while group.len() < GROUP_BLOCKS && height <= head.height() && record(height)?.sequence < first {
        group.push(Bytes::new());
        height = height.next();
    }
    Ok(group)
}
