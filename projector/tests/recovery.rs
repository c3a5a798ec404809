//! Starting again: from the last commit, from a damaged file, from a log that is not what it was.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use chaoschain_events::log::EventLog;
use chaoschain_projector::{FILE_NAME, Head, OpenError, ProjectionOptions, StoreError};
use chaoschain_schemas::Sequence;
use chaoschain_state::merkle::{leaf_hash, value_hash};
use redb::{Database, ReadableTable, TableDefinition};
use support::*;

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// A chain of some blocks, folded into `state` and closed.
async fn chain(dir: &Path) -> (Arc<dyn EventLog>, Arc<Head>) {
    let log = new_log(&dir.join("log")).await;
    let node = open(&dir.join("state"), &log).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    for slot in 0..50 {
        node.seal(&[ana.add(slot, 1), ana.add(slot + 1, 2)]).await;
    }
    let head = node.projection.head();
    node.close().await;
    (log, head)
}

async fn refused(dir: &Path, log: &Arc<dyn EventLog>) -> OpenError {
    open_with(ProjectionOptions::new(dir.join("state")), log).await.map(|_| ()).unwrap_err()
}

fn edit_row(dir: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let database = Database::open(dir.join("state").join(FILE_NAME)).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut table = txn.open_table(ROWS).unwrap();
        let key = [&[2], slot_key(7).as_bytes()].concat();
        let mut row = table.get(&key[..]).unwrap().unwrap().value().to_vec();
        edit(&mut row);
        table.insert(&key[..], &row[..]).unwrap();
    }
    txn.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (log, head) = chain(dir.path()).await;
    let node = open(&dir.path().join("state"), &log).await;
    // Nothing was folded again: the head was stored.
    assert_eq!(node.projection.head().hash, head.hash);
    assert_eq!(node.projection.status().events_folded, 0);
    let mut bob = Author::new(8, genesis().0);
    let next = node.seal(&[bob.register(), bob.add(3, 3)]).await;
    node.close().await;
    // A node that starts from nothing comes to the same head.
    let fresh = open(&dir.path().join("fresh"), &log).await;
    assert_eq!(fresh.caught_up().await.hash, next.hash);
    fresh.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_store_is_brought_up_by_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let state = dir.path().join("state");
    let node = open(&state, &log).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    node.projection.flush().unwrap();
    // What a crash would leave: the file as it was at a commit.
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(state.join(FILE_NAME), copy.join(FILE_NAME)).unwrap();
    for slot in 0..20 {
        node.seal(&[ana.add(slot, 1)]).await;
    }
    let head = node.projection.head();
    node.close().await;
    let node = open(&copy, &log).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_named_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = chain(dir.path()).await;
    edit_row(dir.path(), |row| *row.last_mut().unwrap() ^= 1);
    match refused(dir.path(), &log).await {
        OpenError::Store(StoreError::RowChanged(key)) => assert_eq!(key, slot_key(7)),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_with_a_matching_hash_is_named_by_a_refold() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = chain(dir.path()).await;
    edit_row(dir.path(), |row| {
        *row.last_mut().unwrap() ^= 1;
        let leaf = leaf_hash(slot_key(7).as_bytes(), &value_hash(&row[32..]));
        row[..32].copy_from_slice(leaf.as_bytes());
    });
    match refused(dir.path(), &log).await {
        OpenError::RootMismatch { key, sub_tree, .. } => {
            assert_eq!((key, sub_tree), (Some(Box::new(slot_key(7))), 2));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_never_goes_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, head) = chain(dir.path()).await;
    let path = dir.path().join("state").join(FILE_NAME);
    let whole = fs::read(&path).unwrap();
    // A prime step visits every kind of page; the file is small.
    for at in (0..whole.len()).step_by(9973) {
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte[0] ^ 0x10]).unwrap();
        drop(file);
        match open_with(ProjectionOptions::new(dir.path().join("state")), &log).await {
            Ok(node) => {
                // The bit was in a page that nothing uses, or the other commit slot was taken: the state is right.
                assert_eq!(node.caught_up().await.hash, head.hash, "byte {at}");
                node.close().await;
            }
            Err(OpenError::Store(error)) => assert_ne!(error.code(), "store_locked", "byte {at}"),
            Err(other) => panic!("byte {at}: {other}"),
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_file_and_a_second_process_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join(FILE_NAME), b"this is a text file, and a rather long one".repeat(200)).unwrap();
    assert_eq!(refused(dir.path(), &log).await.code(), "store_foreign");
    fs::remove_file(state.join(FILE_NAME)).unwrap();
    let node = open(&state, &log).await;
    assert_eq!(refused(dir.path(), &log).await.code(), "store_locked");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_or_changed_blocks_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let (_, head) = chain(dir.path()).await;
    let shorter = new_log(&dir.path().join("shorter")).await;
    match refused(dir.path(), &shorter).await {
        OpenError::LogBehind { tip, folded, .. } => assert_eq!((tip, folded), (Sequence(1), head.sequence)),
        other => panic!("{other}"),
    }
    // Another history of the same length.
    let node = open(&dir.path().join("other"), &shorter).await;
    let mut bob = Author::new(8, genesis().0);
    node.seal(&[bob.register()]).await;
    for slot in 0..60 {
        node.seal(&[bob.add(slot, 9)]).await;
    }
    node.close().await;
    assert_eq!(refused(dir.path(), &shorter).await.code(), "log_rewritten");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = chain(dir.path()).await;
    let other = Some(chaoschain_schemas::ChainId::new([3; 32]));
    for state in ["state", "empty"] {
        let options = ProjectionOptions { chain: other, ..ProjectionOptions::new(dir.path().join(state)) };
        let error = open_with(options, &log).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "chain_wrong");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    chain(dir.path()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("state").join(FILE_NAME)), 0o600);
    assert_eq!(mode(&dir.path().join("state")), 0o700);
}
