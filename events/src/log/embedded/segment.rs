//! One segment file: walking its records, checked, and finding a place in it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use chaoschain_schemas::Sequence;

use super::format::{FILE_HEADER_BYTES, FileHeader, HeaderError, RECORD_HEADER_BYTES, RecordHeader, VERSION};
use super::{io_error, lock};
use crate::log::LogError;

/// How much is read from a file at once, bytes, at most (a longer record comes in one piece all the same).
pub(super) const WINDOW_BYTES: usize = 1 << 20;
/// The index has one mark for so many bytes of file; so much is read in vain to find a record.
pub(super) const MARK_BYTES: u64 = 64 << 10;

/// A record's place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) sequence: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: FileHeader,
    /// Sparse places, ascending; none until they are needed. Bounded by file length / [`MARK_BYTES`].
    marks: Mutex<Option<Vec<Place>>>,
}

impl Segment {
    pub(super) fn new(path: PathBuf, header: FileHeader) -> Self {
        Self { path, header, marks: Mutex::new(None) }
    }

    /// Reads and checks the header of the file at `path`, whose name says that it starts at `base`.
    pub(super) fn open(path: PathBuf, base: u64) -> Result<(Self, u64), LogError> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
        let mut file = File::open(&path).map_err(io_error("open", &path))?;
        let len = file.metadata().map_err(io_error("read the length of", &path))?.len();
        file.by_ref()
            .take(FILE_HEADER_BYTES as u64)
            .read_to_end(&mut bytes)
            .map_err(io_error("read", &path))?;
        let header = FileHeader::decode(&bytes).map_err(|error| match error {
            HeaderError::Foreign(reason) => LogError::Foreign { file: path.clone(), reason },
            HeaderError::Newer(found) => LogError::NewerFormat { file: path.clone(), found, known: VERSION },
            HeaderError::Damaged(reason) => corrupt(&path, Place { offset: 0, sequence: base }, reason),
        })?;
        if header.base != base {
            let reason = "its name and its header disagree on where it starts: was it renamed?";
            return Err(LogError::Foreign { file: path, reason });
        }
        Ok((Self::new(path, header), len))
    }

    pub(super) fn start(&self) -> Place {
        Place { offset: FILE_HEADER_BYTES as u64, sequence: self.header.base }
    }

    pub(super) fn corrupt(&self, at: Place, reason: &'static str) -> LogError {
        corrupt(&self.path, at, reason)
    }

    /// A walk over the records from `from` to the byte `end`, reading `window_bytes` at once.
    pub(super) fn walk(&self, from: Place, end: u64, window_bytes: usize) -> Result<Walk<'_>, LogError> {
        let file = File::open(&self.path).map_err(io_error("open", &self.path))?;
        Ok(Walk { segment: self, file, next: from, end, window_bytes, window: Bytes::new(), window_start: 0 })
    }

    /// A place at or a little before `sequence`, which must be in the file.
    pub(super) fn near(&self, sequence: u64, end: u64) -> Result<Place, LogError> {
        let mut marks = lock(&self.marks);
        if marks.is_none() {
            let mut found = Vec::new();
            let mut walk = self.walk(self.start(), end, WINDOW_BYTES)?;
            while let Some((place, _)) = walk.next_header()? {
                mark(&mut found, place);
            }
            *marks = Some(found);
        }
        let marks = marks.as_deref().unwrap_or_default();
        let after = marks.partition_point(|place| place.sequence <= sequence);
        Ok(after.checked_sub(1).map_or_else(|| self.start(), |i| marks[i]))
    }

    /// Notes that a record was written at `place`; places must come in ascending order, from the file's first.
    pub(super) fn written(&self, place: Place) {
        mark(lock(&self.marks).get_or_insert_default(), place);
    }
}

fn mark(marks: &mut Vec<Place>, place: Place) {
    let last = marks.last().map_or(FILE_HEADER_BYTES as u64, |place| place.offset);
    if place.offset - last >= MARK_BYTES {
        marks.push(place);
    }
}

fn corrupt(file: &Path, at: Place, reason: &'static str) -> LogError {
    LogError::Corrupt { file: file.to_path_buf(), offset: at.offset, sequence: Sequence(at.sequence), reason }
}

/// One checked record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) payload: Bytes,
}

/// Reads records one after the other, in windows. A failed step leaves the walk where it was.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    segment: &'a Segment,
    file: File,
    next: Place,
    end: u64,
    window_bytes: usize,
    window: Bytes,
    window_start: u64,
}

impl Walk<'_> {
    /// Where the next record begins.
    pub(super) fn place(&self) -> Place {
        self.next
    }

    /// The next record, its bytes checked; none at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, LogError> {
        let Some(head) = self.peek()? else { return Ok(None) };
        let place = self.next;
        let payload = self.bytes_at(place.offset + RECORD_HEADER_BYTES as u64, head.len)?;
        if !head.holds(&payload, &self.segment.header.key) {
            return Err(self.segment.corrupt(place, "the payload's check fails"));
        }
        self.pass(head);
        Ok(Some(Record { place, payload }))
    }

    /// The head of the next record, checked; the payload is neither read nor checked. None at the end.
    pub(super) fn next_header(&mut self) -> Result<Option<(Place, RecordHeader)>, LogError> {
        let Some(head) = self.peek()? else { return Ok(None) };
        let place = self.next;
        self.pass(head);
        Ok(Some((place, head)))
    }

    fn pass(&mut self, head: RecordHeader) {
        self.next.offset += (RECORD_HEADER_BYTES + head.len) as u64;
        self.next.sequence += 1;
    }

    fn peek(&mut self) -> Result<Option<RecordHeader>, LogError> {
        let place = self.next;
        if place.offset >= self.end {
            return Ok(None);
        }
        let broken = |reason| self.segment.corrupt(place, reason);
        let left = self.end - place.offset;
        if left < RECORD_HEADER_BYTES as u64 {
            return Err(broken("the record's head is cut short"));
        }
        let segment = self.segment;
        let bytes = self.bytes_at(place.offset, RECORD_HEADER_BYTES)?;
        let head = RecordHeader::decode(&bytes, &segment.header.key)
            .ok_or_else(|| segment.corrupt(place, "the record's head fails its check"))?;
        if head.sequence != place.sequence {
            return Err(segment.corrupt(place, "the record has another sequence than its place"));
        }
        if left < (RECORD_HEADER_BYTES + head.len) as u64 {
            return Err(segment.corrupt(place, "the record is cut short"));
        }
        Ok(Some(head))
    }

    /// `len` bytes at `offset`, both within `end`, shared with the window they came in.
    fn bytes_at(&mut self, offset: u64, len: usize) -> Result<Bytes, LogError> {
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + len as u64 > window_end {
            let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            let mut window = BytesMut::zeroed(left.min(self.window_bytes.max(len)));
            self.fill(offset, &mut window).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.segment.corrupt(self.next, "the file is cut short"),
                _ => io_error("read", &self.segment.path)(error),
            })?;
            self.window = window.freeze();
            self.window_start = offset;
        }
        let at = (offset - self.window_start) as usize;
        Ok(self.window.slice(at..at + len))
    }

    fn fill(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(bytes)
    }
}
