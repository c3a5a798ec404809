//! Opening a log's directory: lock, headers, the last file, the torn tail.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::format::{FILE_HEADER_BYTES, FileHeader, RECORD_HEADER_BYTES, find_later_group};
use super::segment::{Place, Segment, WINDOW_BYTES};
use super::shared::{News, Shared, View};
use super::writer::{Job, Writer};
use super::{APPENDS_IN_FLIGHT_MAX, io_error, sync_dir};
use crate::log::LogError;

const LOCK_FILE: &str = "lock";

type Opened = (Writer, Arc<Shared>, SyncSender<Job>);

pub(super) fn open(dir: &Path, segment_bytes: u64) -> Result<Opened, LogError> {
    make_dir(dir)?;
    let lock = take_lock(dir)?;
    let mut segments = BTreeMap::new();
    for base in segment_bases(dir)? {
        let (segment, len) = Segment::open(segment_path(dir, base), base)?;
        check_previous(dir, segments.last_key_value(), &segment.header)?;
        segments.insert(base, (Arc::new(segment), len));
    }
    if segments.is_empty() {
        let (segment, _) = create_segment(
            dir,
            FileHeader { base: 1, previous_base: 0, previous_len: 0, key: random_key(dir)? },
        )?;
        segments.insert(1, (Arc::new(segment), FILE_HEADER_BYTES as u64));
    }
    let Some((segment, len)) = segments.values_mut().next_back() else {
        return Err(LogError::Unavailable { reason: "no segment".into() });
    };
    let mut file = open_private(&segment.path, false).map_err(io_error("open", &segment.path))?;
    let end = scan(segment, &mut file, *len)?;
    *len = end.offset;
    // What a killed process left unsynced is about to be shown to readers.
    file.sync_all().map_err(io_error("sync", &segment.path))?;

    let active = Arc::clone(segment);
    let tip = end.sequence - 1;
    let (jobs, queue) = sync_channel(APPENDS_IN_FLIGHT_MAX);
    let shared = Arc::new(Shared {
        dir: dir.to_path_buf(),
        view: Mutex::new(View { segments, tip, open: true }),
        news: watch::Sender::new(News { tip, open: true }),
        waiting_bytes: Mutex::new(0),
    });
    let writer = Writer::new(Arc::clone(&shared), segment_bytes, queue, lock, active, file, end);
    Ok((writer, shared, jobs))
}

fn make_dir(dir: &Path) -> Result<(), LogError> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(io_error("make the directory", dir))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_dir(parent).map_err(io_error("sync", parent))
}

fn take_lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join(LOCK_FILE);
    let mut file = open_private(&path, true).map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // The number is a help for people; it may be missing.
            let pid = fs::read_to_string(&path).unwrap_or_default();
            let pid = pid.trim();
            let holder = if pid.is_empty() { "another process".into() } else { format!("process {pid}") };
            return Err(LogError::Locked { dir: dir.to_path_buf(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
    }
    let note = format!("{}\n", std::process::id());
    // A full disk must not keep a log from being read, and the lock holds without the note.
    if file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).is_err() {
        tracing::debug!(path = %path.display(), "could not note the process id");
    }
    Ok(file)
}

/// The first sequences of the segment files in `dir`, ascending. Other files are left alone.
fn segment_bases(dir: &Path) -> Result<Vec<u64>, LogError> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let name = entry.map_err(io_error("list", dir))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(base) = name.strip_suffix(".log").and_then(segment_base) {
            bases.push(base);
        } else if name.strip_suffix(".log.tmp").and_then(segment_base).is_some() {
            // A crash while a file was made; nothing can stand in it yet.
            let path = dir.join(name);
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

fn segment_base(stem: &str) -> Option<u64> {
    (stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit())).then(|| stem.parse().ok()).flatten()
}

pub(super) fn segment_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// Checks that the file before is the one the header was written after, and as long as it was then.
fn check_previous(
    dir: &Path,
    previous: Option<(&u64, &(Arc<Segment>, u64))>,
    header: &FileHeader,
) -> Result<(), LogError> {
    // Before the first file lies what was compacted.
    let Some((&base, (segment, len))) = previous else { return Ok(()) };
    if base != header.previous_base {
        return Err(LogError::Corrupt {
            file: segment_path(dir, header.previous_base),
            offset: 0,
            sequence: chaoschain_schemas::Sequence(header.previous_base),
            reason: "the file is missing",
        });
    }
    if *len == header.previous_len {
        return Ok(());
    }
    let at = Place { offset: (*len).min(header.previous_len), sequence: base };
    Err(segment.corrupt(at, "the file has another length than when it was finished"))
}

/// Makes a segment file that is there whole or, after a crash, not at all.
pub(super) fn create_segment(dir: &Path, header: FileHeader) -> Result<(Segment, File), LogError> {
    let path = segment_path(dir, header.base);
    let temporary = path.with_extension("log.tmp");
    let make = || {
        let mut file = open_private(&temporary, true)?;
        file.set_len(0)?;
        file.write_all(&header.encode())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_dir(dir)?;
        Ok(file)
    };
    match make() {
        Ok(file) => Ok((Segment::new(path, header), file)),
        Err(error) => {
            // The file before may still grow, so this one must not stay. A temporary one goes on the next start.
            let _ = fs::remove_file(&temporary);
            let _ = fs::remove_file(&path);
            Err(io_error("make", &path)(error))
        }
    }
}

pub(super) fn random_key(dir: &Path) -> Result<[u8; 32], LogError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| io_error("draw a random key for", dir)(std::io::Error::other(error.to_string())))?;
    Ok(key)
}

fn open_private(path: &Path, create: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads the last segment whole, cuts off a torn tail, and answers where the next record goes.
fn scan(segment: &Segment, file: &mut File, len: u64) -> Result<Place, LogError> {
    let mut walk = segment.walk(segment.start(), len, WINDOW_BYTES)?;
    loop {
        match walk.next_record() {
            Ok(Some(record)) => segment.written(record.place),
            Ok(None) => return Ok(walk.place()),
            Err(damage @ LogError::Corrupt { .. }) => {
                let at = walk.place();
                let tail = read_tail(segment, file, at, len)?;
                if later_group_follows(segment, &tail, at) {
                    return Err(damage);
                }
                let kept = keep_tail(segment, &tail, at);
                tracing::warn!(
                    file = %segment.path.display(), offset = at.offset, bytes = tail.len(), kept = ?kept,
                    "cut off the log's torn tail: a crash in mid-append leaves one, and then nothing in it was acknowledged"
                );
                file.set_len(at.offset).map_err(io_error("shorten", &segment.path))?;
                return Ok(at);
            }
            Err(error) => return Err(error),
        }
    }
}

fn read_tail(segment: &Segment, file: &mut File, at: Place, len: u64) -> Result<Vec<u8>, LogError> {
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(at.offset))
        .and_then(|_| file.take(len - at.offset).read_to_end(&mut tail))
        .map_err(io_error("read", &segment.path))?;
    Ok(tail)
}

/// Keeps what is cut off in a file beside the segment: damage to the newest group looks like a torn append, and then
/// somebody may want these bytes. A full disk must not keep the log from opening, so failing is no error.
fn keep_tail(segment: &Segment, tail: &[u8], at: Place) -> Option<PathBuf> {
    let path = segment.path.with_extension(format!("torn-{}", at.offset));
    let write = || {
        let mut file = open_private(&path, true)?;
        file.set_len(0)?;
        file.write_all(tail)?;
        file.sync_all()
    };
    if write().is_ok() {
        return Some(path);
    }
    let _ = fs::remove_file(&path);
    None
}

fn later_group_follows(segment: &Segment, tail: &[u8], at: Place) -> bool {
    let most = at.sequence + (tail.len() / RECORD_HEADER_BYTES) as u64;
    find_later_group(tail, &segment.header.key, at.sequence, at.sequence + 1..most + 1).is_some()
}
