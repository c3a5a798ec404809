//! The embedded log: the suite of every home, then what only files can suffer (crashes, flipped bits, a full disk).

// In tests a panic is the report; the lint's own exception misses their helpers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chaoschain_events::log::conformance::{self, Home};
use chaoschain_events::log::{AppendError, EmbeddedLog, EmbeddedOptions, EventLog, LogError, ReadLimits};
use chaoschain_schemas::Sequence;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use proptest::prelude::*;

const ALL: ReadLimits = ReadLimits { messages: usize::MAX, bytes: usize::MAX };

fn small_segments() -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 2000, ..EmbeddedOptions::default() }
}

struct Directories {
    root: tempfile::TempDir,
    made: AtomicUsize,
    options: EmbeddedOptions,
}

impl Directories {
    fn open(&self, dir: &Path) -> Arc<dyn EventLog> {
        Arc::new(EmbeddedLog::open(dir, self.options).unwrap())
    }
}

impl Home for Directories {
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        let dir = self.root.path().join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        async move { self.open(&dir) }.boxed()
    }

    fn reopen(&self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Arc<dyn EventLog>> {
        async move {
            let description = log.description();
            log.close().await;
            self.open(Path::new(description.strip_prefix("embedded log at ").unwrap()))
        }
        .boxed()
    }

    /// Opens a copy of the files as they lie there while the log is open, so nothing of a close is in it.
    fn crash(&self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Arc<dyn EventLog>> {
        let dir = self.root.path().join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        async move {
            let description = log.description();
            fs::create_dir(&dir).unwrap();
            for file in fs::read_dir(description.strip_prefix("embedded log at ").unwrap()).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), dir.join(file.file_name())).unwrap();
            }
            self.open(&dir)
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_with_small_segments() {
    let root = tempfile::tempdir().unwrap();
    conformance::run(&Directories { root, made: AtomicUsize::new(0), options: small_segments() }).await;
}

#[tokio::test(flavor = "current_thread")]
async fn conforms_on_one_thread() {
    let root = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { segment_bytes: 6_000, ..EmbeddedOptions::default() };
    conformance::run(&Directories { root, made: AtomicUsize::new(0), options }).await;
}

fn open(dir: &Path) -> Result<EmbeddedLog, LogError> {
    EmbeddedLog::open(dir, EmbeddedOptions::default())
}

/// Appends one by one, so that each message is a group of its own.
async fn append_each(log: &EmbeddedLog, messages: &[&[u8]]) {
    for message in messages {
        let tip = log.tip().await.unwrap();
        log.append(tip, Bytes::copy_from_slice(message)).await.unwrap();
    }
}

async fn contents(log: &EmbeddedLog) -> Vec<Vec<u8>> {
    let first = log.first().await.unwrap();
    log.read(first, ALL).await.unwrap().into_iter().map(|entry| entry.message.to_vec()).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files
}

/// A crash can leave any prefix of what was being written, or a file whose new part is zeros.
#[tokio::test]
async fn a_torn_tail_is_cut_off_wherever_it_tore() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_each(&log, &[b"one", b"two"]).await;
    let file = segments(dir.path()).remove(0);
    let before = fs::metadata(&file).unwrap().len();
    append_each(&log, &[b"the last of them"]).await;
    drop(log);
    let whole = fs::read(&file).unwrap();
    for len in before..whole.len() as u64 {
        for zeros in [false, true] {
            let mut torn = whole[..len as usize].to_vec();
            if zeros {
                torn.resize(whole.len(), 0);
            }
            fs::write(&file, &torn).unwrap();
            let log = open(dir.path()).unwrap();
            assert_eq!(contents(&log).await, [b"one", b"two"], "torn at {len}, zeros: {zeros}");
            let tail = &torn[before as usize..];
            if !tail.is_empty() {
                // What was cut off is kept beside the log.
                assert_eq!(fs::read(file.with_extension(format!("torn-{before}"))).unwrap(), tail);
            }
            assert_eq!(log.append(Sequence(2), "again".into()).await, Ok(Sequence(3)));
            drop(log);
            let log = open(dir.path()).unwrap();
            assert_eq!(contents(&log).await, [&b"one"[..], b"two", b"again"]);
        }
    }
}

/// Pages of one write reach the disk in any order: records of the group that was being written may survive one that
/// did not. That is still a torn tail.
#[tokio::test(flavor = "current_thread")]
async fn a_hole_in_the_last_group_is_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    // Appends under way together are a group, if the writer does not start on the first too early: then try again.
    let (start, end, group) = loop {
        let tip = log.tip().await.unwrap().0;
        let file = segments(dir.path()).remove(0);
        let start = fs::metadata(&file).unwrap().len() as usize;
        let appends: Vec<_> =
            (0..4).map(|n| log.append(Sequence(tip + n), vec![n as u8; 100].into())).collect();
        join_all(appends).await.into_iter().for_each(|outcome| assert!(outcome.is_ok()));
        let bytes = fs::read(&file).unwrap();
        let places: Vec<u32> = (0..4)
            .map(|n| start + n * 132 + 4)
            .map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
            .collect();
        // The last two were written together.
        if places[3] > 0 {
            break (start, bytes.len(), tip);
        }
    };
    drop(log);
    let file = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&file).unwrap();
    assert_eq!(end, start + 4 * 132);
    bytes[start + 2 * 132 + 50] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let log = open(dir.path()).unwrap();
    assert_eq!(
        log.tip().await.unwrap(),
        Sequence(group + 2),
        "cut at the hole, though a whole record follows it"
    );
}

#[tokio::test]
async fn damage_in_the_middle_is_named_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append_each(&log, &[b"one", b"two", b"three"]).await;
    drop(log);
    let file = segments(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let second = 80 + 35;
    for at in 80..second + 35 {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        fs::write(&file, &bad).unwrap();
        match open(dir.path()) {
            Err(LogError::Corrupt { file: named, offset, sequence, .. }) => {
                assert_eq!(named, file);
                let expected = if at < second { (80, Sequence(1)) } else { (second as u64, Sequence(2)) };
                assert_eq!((offset, sequence), expected, "flipped at {at}");
            }
            other => panic!("flipped at {at}: {other:?}"),
        }
        assert_eq!(fs::read(&file).unwrap(), bad, "the file is left as it is");
    }
    for at in 0..80 {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        fs::write(&file, &bad).unwrap();
        let error = open(dir.path()).unwrap_err();
        let code = error.code();
        assert!(["log_corrupt", "log_foreign_file", "log_newer_format"].contains(&code), "at {at}: {error}");
    }
}

async fn several_segments(dir: &Path) -> EmbeddedLog {
    let log = EmbeddedLog::open(dir, small_segments()).unwrap();
    for at in 0..40 {
        log.append(Sequence(at), vec![at as u8; 300].into()).await.unwrap();
    }
    assert!(segments(dir).len() > 4);
    log
}

#[tokio::test]
async fn damage_in_an_older_file_is_found_by_reading_and_by_scrub() {
    let dir = tempfile::tempdir().unwrap();
    let log = several_segments(dir.path()).await;
    let mut told = Vec::new();
    let done = log.scrub(|progress| told.push(progress)).unwrap();
    assert_eq!((done.messages, done.bytes), (40, done.bytes_total));
    assert_eq!(told.last(), Some(&done));
    let file = segments(dir.path()).remove(1);
    let first: u64 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[80 + 332 + 100] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let damaged = Sequence(first + 1);
    let is_it = |error: LogError| matches!(error, LogError::Corrupt { sequence, .. } if sequence == damaged);
    assert!(is_it(log.scrub(|_| {}).unwrap_err()));
    assert!(is_it(log.read(damaged, ALL).await.unwrap_err()));
    // What lies before it can still be read, and what lies after.
    let before = log.read(Sequence(1), ALL).await.unwrap();
    assert_eq!(before.last().unwrap().sequence, Sequence(first));
    let after = log.read(Sequence(first + 2), ALL).await.unwrap();
    assert_eq!(after.last().unwrap().sequence, Sequence(40));
    // A follower stays at the damage and says so each time.
    let mut follower = log.follow(Sequence(first), ALL).await.unwrap();
    assert_eq!(follower.next_batch().await.unwrap().len(), 1);
    assert!(is_it(follower.next_batch().await.unwrap_err()));
    assert!(is_it(follower.next_batch().await.unwrap_err()));
}

/// Opens the log once nobody holds it: another test that starts a process may hold a copy of its lock for a moment,
/// between fork and exec.
fn open_free(dir: &Path) -> Result<EmbeddedLog, LogError> {
    let opened = || EmbeddedLog::open(dir, small_segments());
    let locked = |outcome: &Result<_, LogError>| matches!(outcome, Err(LogError::Locked { .. }));
    for _ in 0..500 {
        let outcome = opened();
        if !locked(&outcome) {
            return outcome;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    opened()
}

#[tokio::test]
async fn a_missing_or_shortened_file_is_found_at_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(several_segments(dir.path()).await);
    let file = segments(dir.path()).remove(2);
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let error = open_free(dir.path()).unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { file: missing, .. } if *missing == file), "{error}");
    fs::write(&file, &bytes[..bytes.len() - 332]).unwrap();
    let error = open_free(dir.path()).unwrap_err();
    assert!(matches!(&error, LogError::Corrupt { file: short, .. } if *short == file), "{error}");
    fs::write(&file, &bytes).unwrap();
    let log = open_free(dir.path()).unwrap();
    assert_eq!(log.scrub(|_| {}).unwrap().messages, 40);
}

#[tokio::test]
async fn any_place_can_be_found_in_a_large_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    for at in 0..600_u64 {
        let len = [0, 10, 1000, 70_000][at as usize % 4];
        let message = [&at.to_be_bytes()[..], &vec![3; len]].concat();
        let append = log.append(Sequence(at), message.into());
        if at % 50 == 49 {
            append.await.unwrap();
        }
    }
    assert_eq!(log.tip().await.unwrap(), Sequence(600));
    let check = async |log: &EmbeddedLog| {
        let tip = log.tip().await.unwrap().0;
        for from in (1..=tip).step_by(7) {
            let read = log.read(Sequence(from), ReadLimits { messages: 2, bytes: 1 }).await.unwrap();
            assert_eq!(read[0].sequence, Sequence(from));
        }
    };
    check(&log).await;
    drop(log);
    check(&open(dir.path()).unwrap()).await;
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    let expected = format!("process {}", std::process::id());
    assert!(matches!(&error, LogError::Locked { holder, .. } if *holder == expected), "{error}");
    log.close().await;
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn strange_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let log = open(dir.path()).unwrap();
    append_each(&log, &[b"one"]).await;
    drop(log);
    let file = segments(dir.path()).remove(0);
    let good = fs::read(&file).unwrap();

    let leftover = dir.path().join("00000000000000000002.log.tmp");
    fs::write(&leftover, "half a header").unwrap();
    drop(open(dir.path()).unwrap());
    assert!(!leftover.exists(), "what a crash left of a new file is removed");

    fs::write(&file, "#!/bin/sh").unwrap();
    assert_eq!(open(dir.path()).unwrap_err().code(), "log_foreign_file");
    let mut newer = good.clone();
    newer[9] = 2;
    fs::write(&file, &newer).unwrap();
    assert!(matches!(open(dir.path()).unwrap_err(), LogError::NewerFormat { found: 2, known: 1, .. }));
    fs::write(&file, &good).unwrap();
    fs::rename(&file, dir.path().join("00000000000000000005.log")).unwrap();
    assert_eq!(open(dir.path()).unwrap_err().code(), "log_foreign_file");
    assert_eq!(fs::read_to_string(dir.path().join("notes.txt")).unwrap(), "mine");
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let log = several_segments(&dir).await;
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in fs::read_dir(log.dir()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn too_many_appends_under_way_are_refused_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    let appends: Vec<_> =
        (0..5000).map(|at| log.append(Sequence(at), vec![0; 800_000 / 16].into())).collect();
    let outcomes = join_all(appends).await;
    let done = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(outcomes.contains(&Err(AppendError::Busy { in_flight_max: 256 })), "5000 exceed every bound");
    assert!(
        outcomes[done..].iter().all(|outcome| {
            matches!(outcome, Err(AppendError::Busy { .. } | AppendError::TipMoved { .. }))
        })
    );
    assert_eq!(log.tip().await.unwrap(), Sequence(done as u64));
}

/// Needs root to mount a small file system; without, it says so and proves nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_stops_appends_but_nothing_else() {
    use std::process::Command;
    struct Mount(PathBuf);
    impl Drop for Mount {
        fn drop(&mut self) {
            drop(Command::new("umount").arg(&self.0).status());
        }
    }
    let root = tempfile::tempdir().unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(root.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a full disk was not tried, mounting a tmpfs is not permitted here");
        return;
    }
    let mount = Mount(root.path().to_path_buf());
    let ballast = mount.0.join("ballast");
    let dir = mount.0.join("log");
    // In the second round every append or two needs a new file, which may not fit either.
    for (segment_bytes, ballast_bytes) in [(64 << 20, 500_000), (50_000, 200_000)] {
        fs::write(&ballast, vec![0; ballast_bytes]).unwrap();
        let options = EmbeddedOptions { segment_bytes, ..EmbeddedOptions::default() };
        let log = EmbeddedLog::open(&dir, options).unwrap();
        let mut tip = log.tip().await.unwrap();
        let refused = loop {
            match log.append(tip, vec![tip.0 as u8; 30_000].into()).await {
                Ok(next) => tip = next,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, AppendError::NoSpace);
        assert_eq!(log.append(tip, vec![0; 30_000].into()).await, Err(AppendError::NoSpace));
        assert_eq!(log.read(Sequence(1), ALL).await.unwrap().len() as u64, tip.0, "reads go on");
        assert_eq!(log.scrub(|_| {}).unwrap().messages, tip.0);
        drop(log);
        let log = EmbeddedLog::open(&dir, options).unwrap();
        assert_eq!(log.tip().await.unwrap(), tip, "a full disk does not keep the log from opening");
        assert_eq!(log.append(tip, vec![0; 30_000].into()).await, Err(AppendError::NoSpace));
        fs::remove_file(&ballast).unwrap();
        for _ in 0..3 {
            tip = log.append(tip, vec![tip.0 as u8; 30_000].into()).await.unwrap();
        }
        assert_eq!(log.scrub(|_| {}).unwrap().messages, tip.0, "appends resume when there is room");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever bits flip in whichever files, what can still be read is what was appended, in place.
    #[test]
    fn flipped_bits_never_change_what_is_read(flips in proptest::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let log = EmbeddedLog::open(dir.path(), EmbeddedOptions { segment_bytes: 400, ..EmbeddedOptions::default() }).unwrap();
            let appends: Vec<_> = (0..12_u64).map(|at| log.append(Sequence(at), vec![at as u8 + 1; 60].into())).collect();
            join_all(appends).await;
            log.close().await;
            let files = segments(dir.path());
            let mut bytes: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
            let bits: usize = bytes.iter().map(|bytes| bytes.len() * 8).sum();
            for flip in flips {
                let mut bit = flip.index(bits);
                let file = bytes.iter_mut().find(|bytes| {
                    let here = bit < bytes.len() * 8;
                    if !here { bit -= bytes.len() * 8 }
                    here
                });
                file.unwrap()[bit / 8] ^= 1 << (bit % 8);
            }
            files.iter().zip(&bytes).for_each(|(file, bytes)| fs::write(file, bytes).unwrap());
            let Ok(log) = open(dir.path()) else { return };
            let tip = log.tip().await.unwrap().0;
            for from in 1..=tip {
                for entry in log.read(Sequence(from), ALL).await.unwrap_or_default() {
                    assert!(entry.sequence.0 >= from);
                    assert_eq!(entry.message, vec![entry.sequence.0 as u8; 60]);
                }
            }
        });
    }
}
