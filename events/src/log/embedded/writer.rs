//! The thread that writes: groups of appends, one fsync each, and whatever else changes the files.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use chaoschain_schemas::Sequence;
use tokio::sync::oneshot;

use super::format::{FileHeader, push_record};
use super::open::{create_segment, random_key};
use super::segment::{Place, Segment};
use super::shared::{News, Room, Shared};
use super::{io_error, lock, sync_dir};
use crate::log::{AppendError, LogError};

/// The most bytes that are written before an fsync, except for a single message.
const GROUP_BYTES_MAX: usize = 8 << 20;

type Reply<T, E> = oneshot::Sender<Result<T, E>>;

#[derive(Debug)]
pub(super) enum Job {
    Append { expected_tip: Sequence, message: Bytes, reply: Reply<Sequence, AppendError>, room: Room },
    Compact { before: Sequence, reply: Reply<Sequence, LogError> },
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    segment_bytes: u64,
    queue: Receiver<Job>,
    /// Held while this process may write.
    lock: File,
    active: Arc<Segment>,
    file: File,
    /// Where the next record goes.
    end: Place,
    buffer: Vec<u8>,
    /// Why nothing can be written until the log is opened again.
    broken: Option<String>,
}

/// Appends that are written and synced together.
#[derive(Default)]
struct Group {
    replies: Vec<(Sequence, Verdict, Reply<Sequence, AppendError>)>,
    /// Where each of the group's records begins.
    places: Vec<Place>,
    /// Given back when the group is done.
    room: Vec<Room>,
}

enum Verdict {
    Written(Sequence),
    Refused,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        segment_bytes: u64,
        queue: Receiver<Job>,
        lock: File,
        active: Arc<Segment>,
        file: File,
        end: Place,
    ) -> Self {
        Self { shared, segment_bytes, queue, lock, active, file, end, buffer: Vec::new(), broken: None }
    }

    /// Works until every sender is gone, then frees the directory.
    pub(super) fn run(mut self) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| self.queue.recv().ok()) {
            match job {
                Job::Append { .. } => held = self.append_group(job),
                // Whoever asked may have stopped waiting.
                Job::Compact { before, reply } => drop(reply.send(self.compact(before))),
            }
        }
        drop(self);
    }

    fn tip(&self) -> u64 {
        self.end.sequence - 1
    }

    /// Appends `job` and what waits behind it; answers the job that did not fit into the group.
    fn append_group(&mut self, job: Job) -> Option<Job> {
        let mut group = Group::default();
        self.buffer.clear();
        // Before the group is laid out: its records name their places in this file.
        let full = self.end.offset >= self.segment_bytes && self.end != self.active.start();
        let rolled = if full { self.roll() } else { Ok(()) };
        let mut next = Some(job);
        let left_over = loop {
            match next.take().or_else(|| self.queue.try_recv().ok()) {
                Some(Job::Append { expected_tip, message, reply, room }) => {
                    self.add(&mut group, expected_tip, &message, reply);
                    group.room.push(room);
                }
                other => break other,
            }
            if self.buffer.len() >= GROUP_BYTES_MAX {
                break None;
            }
        };
        let outcome = rolled.and_then(|()| self.write(&group));
        self.answer(group, &outcome);
        left_over
    }

    fn add(
        &mut self,
        group: &mut Group,
        expected_tip: Sequence,
        message: &Bytes,
        reply: Reply<Sequence, AppendError>,
    ) {
        let place_in_group = group.places.len() as u64;
        let sequence = self.end.sequence + place_in_group;
        if expected_tip.0 != sequence - 1 {
            group.replies.push((expected_tip, Verdict::Refused, reply));
            return;
        }
        group.places.push(Place { offset: self.end.offset + self.buffer.len() as u64, sequence });
        push_record(&mut self.buffer, &self.active.header.key, sequence, place_in_group as u32, message);
        group.replies.push((expected_tip, Verdict::Written(Sequence(sequence)), reply));
    }

    /// Makes the group durable and visible, or leaves the file as it was.
    fn write(&mut self, group: &Group) -> Result<(), Failure> {
        let Some(last) = group.places.last() else { return Ok(()) };
        if let Some(reason) = &self.broken {
            return Err(Failure::Unavailable(reason.clone()));
        }
        let written =
            self.file.seek(SeekFrom::Start(self.end.offset)).and_then(|_| self.file.write_all(&self.buffer));
        if let Err(error) = written {
            // Synced, lest a crash brings back what is now answered as not appended.
            let undone = self.file.set_len(self.end.offset).and_then(|()| self.file.sync_all());
            return Err(match undone {
                Ok(()) => Failure::of(&error),
                Err(undo) => self.break_off(format!("{error}; and cutting it off again: {undo}")),
            });
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the pages: another fsync that succeeds would mean nothing.
            return Err(self.break_off(format!("fsync failed: {error}")));
        }
        self.end = Place { offset: self.end.offset + self.buffer.len() as u64, sequence: last.sequence + 1 };
        group.places.iter().for_each(|place| self.active.written(*place));
        self.publish();
        Ok(())
    }

    fn break_off(&mut self, reason: String) -> Failure {
        tracing::error!(file = %self.active.path.display(), reason, "the log takes no appends until it is reopened");
        self.broken = Some(format!("{reason}; open the log again"));
        Failure::Unclear(reason)
    }

    fn publish(&self) {
        let tip = self.tip();
        let mut view = lock(&self.shared.view);
        view.segments.insert(self.active.header.base, (Arc::clone(&self.active), self.end.offset));
        view.tip = tip;
        drop(view);
        self.shared.news.send_replace(News { tip, open: true });
    }

    fn answer(&self, group: Group, outcome: &Result<(), Failure>) {
        for (expected_tip, verdict, reply) in group.replies {
            let answer = match (outcome, verdict) {
                (Ok(()), Verdict::Written(sequence)) => Ok(sequence),
                // A refused one was right after all if what it lost to was not written.
                (Err(failure), verdict)
                    if matches!(verdict, Verdict::Written(_)) || expected_tip.0 == self.tip() =>
                {
                    Err(failure.answer(expected_tip))
                }
                _ => Err(AppendError::TipMoved { tip: Sequence(self.tip()) }),
            };
            // Whoever asked may have stopped waiting.
            let _ = reply.send(answer);
        }
    }

    /// Goes on in a new file.
    fn roll(&mut self) -> Result<(), Failure> {
        // The file's end on disk is not known then, and the next file's header would state a wrong one.
        if let Some(reason) = &self.broken {
            return Err(Failure::Unavailable(reason.clone()));
        }
        let made = random_key(&self.shared.dir).and_then(|key| {
            create_segment(
                &self.shared.dir,
                FileHeader {
                    base: self.end.sequence,
                    previous_base: self.active.header.base,
                    previous_len: self.end.offset,
                    key,
                },
            )
        });
        let (segment, file) = made.map_err(|error| match error {
            LogError::Io { source, .. } => Failure::of(&source),
            other => Failure::Unavailable(other.to_string()),
        })?;
        self.end = segment.start();
        self.active = Arc::new(segment);
        self.file = file;
        self.publish();
        Ok(())
    }

    fn compact(&mut self, before: Sequence) -> Result<Sequence, LogError> {
        if before.0 > self.tip() + 1 {
            return Err(LogError::BeyondTip { tip: Sequence(self.tip()) });
        }
        if before.0 == self.tip() + 1 && self.end != self.active.start() {
            self.roll().map_err(|failure| LogError::Unavailable {
                reason: failure.answer(Sequence(self.tip())).to_string(),
            })?;
        }
        let mut dropped = false;
        loop {
            // Oldest first: a crash in between leaves a log that is whole from its first file on.
            let (path, first) = {
                let mut view = lock(&self.shared.view);
                let second = view.segments.keys().nth(1).copied();
                match second.filter(|second| *second <= before.0).and_then(|_| view.segments.pop_first()) {
                    Some((_, (segment, _))) => (Some(segment.path.clone()), view.first()),
                    None => (None, view.first()),
                }
            };
            let Some(path) = path else {
                if dropped {
                    sync_dir(&self.shared.dir).map_err(io_error("sync", &self.shared.dir))?;
                }
                return Ok(Sequence(first));
            };
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
            dropped = true;
        }
    }
}

impl Drop for Writer {
    /// Also on a panic: nobody is to wait for a writer that is gone.
    fn drop(&mut self) {
        lock(&self.shared.view).open = false;
        // Closing the file frees it in any case.
        let _ = self.lock.unlock();
        self.shared.news.send_modify(|news| news.open = false);
    }
}

/// Why a group was not written.
#[derive(Debug)]
enum Failure {
    NoSpace,
    Unavailable(String),
    Unclear(String),
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Unavailable(error.to_string()),
        }
    }

    fn answer(&self, expected_tip: Sequence) -> AppendError {
        match self {
            Self::NoSpace => AppendError::NoSpace,
            Self::Unavailable(reason) => AppendError::Unavailable { reason: reason.clone() },
            Self::Unclear(reason) => AppendError::Unclear { expected_tip, reason: reason.clone() },
        }
    }
}
