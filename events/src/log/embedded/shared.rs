//! What the writer publishes and readers go by: which files there are and how much of them is durable.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use chaoschain_schemas::Sequence;
use tokio::sync::watch;

use super::segment::Segment;
use super::{APPEND_BYTES_MAX, lock};
use crate::log::LogError;

/// What readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) view: Mutex<View>,
    pub(super) news: watch::Sender<News>,
    /// Bytes of messages that wait to be written.
    pub(super) waiting_bytes: Mutex<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) tip: u64,
    pub(super) open: bool,
}

/// What is durable.
#[derive(Debug)]
pub(super) struct View {
    /// By first sequence; never empty.
    pub(super) segments: BTreeMap<u64, (Arc<Segment>, u64)>,
    pub(super) tip: u64,
    pub(super) open: bool,
}

/// The durable part of a segment: up to the byte `len` and the sequence `last`.
#[derive(Debug)]
pub(super) struct Extent {
    pub(super) segment: Arc<Segment>,
    pub(super) len: u64,
    pub(super) last: u64,
}

impl View {
    pub(super) fn first(&self) -> u64 {
        self.segments.first_key_value().map_or(self.tip + 1, |(base, _)| *base)
    }

    pub(super) fn check_from(&self, from: u64) -> Result<(), LogError> {
        if from < self.first() {
            return Err(LogError::Compacted { first: Sequence(self.first()) });
        }
        Ok(())
    }

    /// The segment that holds `sequence`, or none beyond the tip.
    pub(super) fn locate(&self, sequence: u64) -> Result<Option<Extent>, LogError> {
        self.check_from(sequence)?;
        if sequence > self.tip {
            return Ok(None);
        }
        let last = self.segments.range(sequence + 1..).next().map_or(self.tip, |(base, _)| base - 1);
        let found = self.segments.range(..=sequence).next_back();
        Ok(found.map(|(_, (segment, len))| Extent { segment: Arc::clone(segment), len: *len, last }))
    }
}

impl Shared {
    pub(super) fn view(&self) -> Result<MutexGuard<'_, View>, LogError> {
        let view = lock(&self.view);
        if view.open { Ok(view) } else { Err(LogError::Closed) }
    }

    pub(super) fn extents(&self) -> Result<Vec<Extent>, LogError> {
        let view = self.view()?;
        let ends = view.segments.keys().skip(1).map(|base| base - 1).chain([view.tip]);
        let extent = |((segment, len), last): (&(Arc<Segment>, u64), u64)| Extent {
            segment: Arc::clone(segment),
            len: *len,
            last,
        };
        Ok(view.segments.values().zip(ends).map(extent).collect())
    }

    /// Turns the error for a file that compaction took away meanwhile into what that means.
    pub(super) fn unless_gone<T>(
        &self,
        segment: &Segment,
        result: Result<T, LogError>,
    ) -> Result<T, LogError> {
        match result {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.view()?.check_from(segment.header.base)?;
                Err(segment.corrupt(segment.start(), "the file was removed while the log is open"))
            }
            other => other,
        }
    }
}

/// A share of the bytes that may wait; given back when dropped.
#[derive(Debug)]
pub(super) struct Room(Arc<Shared>, usize);

impl Room {
    pub(super) fn take(shared: &Arc<Shared>, bytes: usize) -> Option<Self> {
        let mut waiting = lock(&shared.waiting_bytes);
        if *waiting + bytes > APPEND_BYTES_MAX {
            return None;
        }
        *waiting += bytes;
        Some(Self(Arc::clone(shared), bytes))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *lock(&self.0.waiting_bytes) -= self.1;
    }
}
