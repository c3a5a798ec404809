//! The embedded home of the log: a directory of segment files, an fsync before every acknowledgement, no server.
//!
//! One thread writes. Appends that arrive while an fsync runs wait in a bounded queue and are then written and synced
//! together. Readers open the files for themselves and see only what is durable. `format.rs` has the bytes.
//!
//! # Integrity
//! Opening reads the last file whole and, of the others, the headers, which tell a missing or shortened file. Every
//! record is checked again whenever it is read; [`EmbeddedLog::scrub`] reads them all. A torn tail, left by a crash in
//! mid-append, is cut off with a warning: no part of it was acknowledged. A damaged last group of records cannot be
//! told from that; whoever folded it notices that the log is behind.

mod format;
mod open;
mod reader;
mod segment;
mod shared;
mod writer;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use chaoschain_schemas::{Sequence, limits};
use futures::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::oneshot;

use super::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};
use reader::{Cursor, Follower, blocking};
use segment::WINDOW_BYTES;
use shared::{Extent, Room, Shared};
use writer::Job;

/// The most appends under way at once; one more is answered with [`AppendError::Busy`].
const APPENDS_IN_FLIGHT_MAX: usize = 256;
/// The most bytes of messages waiting to be written; above it, [`AppendError::Busy`].
const APPEND_BYTES_MAX: usize = 64 << 20;

/// How an [`EmbeddedLog`] is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// The longest message, bytes; at most 16 MiB. Default: a block and 64 KiB.
    pub message_bytes_max: usize,
    /// A file that is longer is not written to again, bytes; at most 1 GiB. Default: 64 MiB. Compaction drops whole
    /// files.
    pub segment_bytes: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { message_bytes_max: limits::BLOCK_BYTES_MAX + (64 << 10), segment_bytes: 64 << 20 }
    }
}

/// How far a scrub has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Messages found whole.
    pub messages: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes to read in all.
    pub bytes_total: u64,
}

/// A log in a directory of this machine; see the module's text for what it guarantees.
#[derive(Debug)]
pub struct EmbeddedLog {
    options: EmbeddedOptions,
    shared: Arc<Shared>,
    /// None once closed. Held while a job is queued, so that jobs are in the order of the calls.
    jobs: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, or makes one. Blocks: reads up to a whole segment.
    ///
    /// # Errors
    /// [`LogError::Locked`] when another process has it, [`LogError::Corrupt`], [`LogError::Foreign`],
    /// [`LogError::NewerFormat`], [`LogError::Io`].
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self, LogError> {
        let options = EmbeddedOptions {
            message_bytes_max: options.message_bytes_max.min(format::PAYLOAD_BYTES_MAX),
            segment_bytes: options.segment_bytes.min(1 << 30),
        };
        let (writer, shared, jobs) = open::open(dir.as_ref(), options.segment_bytes)?;
        let thread = std::thread::Builder::new()
            .name("chaoschain-log".into())
            .spawn(move || writer.run())
            .map_err(io_error("start the writer thread of", dir.as_ref()))?;
        Ok(Self { options, shared, jobs: Mutex::new(Some(jobs)), writer: Mutex::new(Some(thread)) })
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Reads and checks every message up to the tip, telling `progress` after each file's MiB. Blocks.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] names the first damaged message.
    pub fn scrub(&self, mut progress: impl FnMut(ScrubProgress)) -> Result<ScrubProgress, LogError> {
        let extents = self.shared.extents()?;
        let bytes_total = extents.iter().map(|extent| extent.len).sum();
        let mut done = ScrubProgress { bytes_total, ..ScrubProgress::default() };
        for Extent { segment, len, last } in extents {
            let before = done.bytes;
            let mut told = 0;
            let mut walk =
                self.shared.unless_gone(&segment, segment.walk(segment.start(), len, WINDOW_BYTES))?;
            while walk.next_record()?.is_some() {
                done.messages += 1;
                let at = walk.place().offset;
                done.bytes = before + at;
                if at >> 20 != told {
                    told = at >> 20;
                    progress(done);
                }
            }
            done.bytes = before + len;
            if walk.place().sequence != last + 1 {
                return Err(segment.corrupt(walk.place(), "messages are missing at the end of the file"));
            }
        }
        progress(done);
        Ok(done)
    }

    fn queue(&self, job: Job) -> Result<(), AppendError> {
        match lock(&self.jobs).as_ref().map(|jobs| jobs.try_send(job)) {
            None | Some(Err(TrySendError::Disconnected(_))) => Err(AppendError::Closed),
            Some(Err(TrySendError::Full(_))) => {
                Err(AppendError::Busy { in_flight_max: APPENDS_IN_FLIGHT_MAX })
            }
            Some(Ok(())) => Ok(()),
        }
    }
}

impl EventLog for EmbeddedLog {
    fn append(
        &self,
        expected_tip: Sequence,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        let (bytes, max) = (message.len(), self.options.message_bytes_max);
        if bytes > max {
            return ready(Err(AppendError::TooLarge { bytes, max })).boxed();
        }
        let Some(room) = Room::take(&self.shared, bytes) else {
            return ready(Err(AppendError::Busy { in_flight_max: APPENDS_IN_FLIGHT_MAX })).boxed();
        };
        let (reply, answer) = oneshot::channel();
        match self.queue(Job::Append { expected_tip, message, reply, room }) {
            Err(error) => ready(Err(error)).boxed(),
            Ok(()) => answer
                .map(move |answer| {
                    let reason = || "the writer stopped".to_owned();
                    answer.unwrap_or_else(|_| Err(AppendError::Unclear { expected_tip, reason: reason() }))
                })
                .boxed(),
        }
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        ready(self.shared.view().map(|view| Sequence(view.tip))).boxed()
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        ready(self.shared.view().map(|view| Sequence(view.first()))).boxed()
    }

    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        let mut cursor = Cursor::at(from);
        let shared = Arc::clone(&self.shared);
        async move { blocking(move || cursor.read(&shared, limits)).await }.boxed()
    }

    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        let cursor = Cursor::at(from);
        let subscription = self.shared.view().and_then(|view| {
            view.check_from(cursor.next)?;
            let news = self.shared.news.subscribe();
            let shared = Arc::clone(&self.shared);
            Ok(Box::new(Follower { shared, cursor, limits, news }) as Box<dyn Subscription>)
        });
        ready(subscription).boxed()
    }

    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        let (reply, answer) = oneshot::channel();
        let queued = self.queue(Job::Compact { before, reply });
        async move {
            queued.map_err(|error| match error {
                AppendError::Closed => LogError::Closed,
                busy => LogError::Unavailable { reason: busy.to_string() },
            })?;
            answer.await.unwrap_or(Err(LogError::Closed))
        }
        .boxed()
    }

    fn message_bytes_max(&self) -> usize {
        self.options.message_bytes_max
    }

    fn description(&self) -> String {
        format!("embedded log at {}", self.shared.dir.display())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        drop(lock(&self.jobs).take());
        let mut news = self.shared.news.subscribe();
        async move {
            // An error means that the sender is gone, which `self` prevents.
            let _ = news.wait_for(|news| !news.open).await;
        }
        .boxed()
    }
}

impl Drop for EmbeddedLog {
    /// Waits for the appends under way, so that the directory is free afterwards.
    fn drop(&mut self) {
        drop(lock(&self.jobs).take());
        if let Some(thread) = lock(&self.writer).take() {
            // A panic of the writer was already reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Every critical section here leaves its data whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| LogError::Io { action, path, source }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    // Windows has no handle to a directory that could be synced; its file system orders this itself.
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
