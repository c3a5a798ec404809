//! A node's own copy of its blocks: whole at any time, never behind the store, and a witness against the log.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadLimits};
use chaoschain_projector::{Condition, FILE_NAME, Head, OpenError, ProjectionOptions, ReadBlockError};
use chaoschain_schemas::{Height, ProofFile, Sequence};
use chaoschain_test_support::SmallDisk;
use support::switch_log::{Fault, SwitchLog};
use support::*;

fn options(dir: &Path) -> ProjectionOptions {
    ProjectionOptions { archive: Some(dir.join("blocks")), ..ProjectionOptions::new(dir.join("state")) }
}

async fn grow(node: &Node, author: u8, blocks: u32) -> Arc<Head> {
    let mut author = Author::new(author, genesis().0);
    node.seal(&[author.register()]).await;
    for slot in 1..blocks {
        node.seal(&[author.add(slot, 1)]).await;
    }
    node.projection.head()
}

/// Every block up to `newest` as the log has it.
async fn blocks_in(node: &Node, newest: Height) -> Vec<Bytes> {
    let mut blocks = Vec::new();
    for height in (0..=newest.0).map(Height) {
        let sequence = node.projection.block_record(height).unwrap().unwrap().sequence;
        blocks.push(node.log.read(sequence, ReadLimits::default()).await.unwrap()[0].message.clone());
    }
    blocks
}

async fn assert_archived(node: &Node, blocks: &[Bytes]) {
    let archive = node.projection.archive().unwrap();
    for (height, block) in (0..).map(Height).zip(blocks) {
        assert_eq!(archive.message(height).await.unwrap().unwrap(), block, "height {height}");
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn last_segment(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_block_is_here_while_the_log_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let switch = SwitchLog::new(&log);
    let node = open_with(options(dir.path()), &(Arc::clone(&switch) as Arc<dyn EventLog>)).await.unwrap();
    let head = grow(&node, 9, 20).await;
    let blocks = blocks_in(&node, head.height()).await;
    switch.fail(Fault::Away);
    for (height, block) in (0..).map(Height).zip(&blocks) {
        assert_eq!(node.projection.block_message(height).await.unwrap().unwrap(), block);
    }
    node.projection.flush().unwrap();
    let status = node.projection.status();
    assert_eq!((status.archive_height, status.stored_height), (Some(head.height()), head.height()));
    node.close().await;
    // A node without an archive has nothing to answer with.
    switch.heal();
    let without = ProjectionOptions::new(dir.path().join("state"));
    let node = open_with(without, &(Arc::clone(&switch) as Arc<dyn EventLog>)).await.unwrap();
    switch.fail(Fault::Away);
    let error = node.projection.block_message(Height(3)).await.unwrap_err();
    assert!(matches!(error, ReadBlockError::Log(_)), "{error}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_begun_later_is_filled_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let segments = EmbeddedOptions { segment_bytes: 1, ..EmbeddedOptions::default() };
    let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(dir.path().join("log"), segments).unwrap());
    log.append(Sequence(0), genesis().1).await.unwrap();
    log.append(Sequence(1), "noise".into()).await.unwrap();
    let node = open(&dir.path().join("state"), &log).await;
    // More than one group of appends.
    let head = grow(&node, 9, 300).await;
    let blocks = blocks_in(&node, head.height()).await;
    node.close().await;
    let node = open_with(options(dir.path()), &log).await.unwrap();
    assert_eq!(node.projection.archive().unwrap().height(), Some(head.height()));
    assert_archived(&node, &blocks).await;
    node.close().await;
    // What the log does not have any more leaves a gap, and the rest is there.
    fs::remove_dir_all(dir.path().join("blocks")).unwrap();
    log.compact(Sequence(200)).await.unwrap();
    let node = open_with(options(dir.path()), &log).await.unwrap();
    let archive = node.projection.archive().unwrap();
    assert_eq!(archive.height(), Some(head.height()));
    // Message 200 is block 198.
    assert_eq!(archive.message(Height(197)).await.unwrap(), None);
    assert_eq!(archive.message(Height(198)).await.unwrap().unwrap(), blocks[198]);
    assert_eq!(archive.message(head.height()).await.unwrap().unwrap(), blocks[300]);
    assert_eq!(archive.message(head.height().next()).await.unwrap(), None);
    node.close().await;
}

/// A crash may leave any beginning of the archive, and a store of any earlier commit.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_crash_leaves_of_the_archive_is_made_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open_with(options(dir.path()), &log).await.unwrap();
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    // The file as it is at some commits, with the length of the archive then: the store is never ahead.
    let mut commits = Vec::new();
    for slot in 0..30 {
        node.seal(&[ana.add(slot, 1), ana.add(slot, 2)]).await;
        if slot % 10 == 5 {
            node.projection.flush().unwrap();
            let copy = dir.path().join(format!("state-{slot}"));
            copy_dir(&dir.path().join("state"), &copy);
            let archived = fs::metadata(last_segment(&dir.path().join("blocks"))).unwrap().len();
            assert!(
                node.projection.status().archive_height.unwrap() >= node.projection.status().stored_height
            );
            commits.push((copy, archived));
        }
    }
    let head = node.projection.head();
    let blocks = blocks_in(&node, head.height()).await;
    node.close().await;
    let whole = fs::metadata(last_segment(&dir.path().join("blocks"))).unwrap().len();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..60 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (state, archived) = &commits[(random >> 33) as usize % commits.len()];
        // Anywhere between what was durable at that commit and all of it; in every third round before, as if files had been
        // put back from different backups.
        let least = if round % 3 == 0 { 64 } else { *archived };
        let cut = least + (random >> 17) % (whole - least + 1);
        let place = dir.path().join(format!("crash-{round}"));
        copy_dir(state, &place.join("state"));
        copy_dir(&dir.path().join("blocks"), &place.join("blocks"));
        let file = fs::OpenOptions::new().write(true).open(last_segment(&place.join("blocks"))).unwrap();
        file.set_len(cut).unwrap();
        let node =
            open_with(options(&place), &log).await.unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(node.caught_up().await.hash, head.hash, "cut at {cut}");
        node.projection.flush().unwrap();
        assert_archived(&node, &blocks).await;
        node.close().await;
        fs::remove_dir_all(place).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_log_is_told_by_the_archive_though_the_state_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open_with(options(dir.path()), &log).await.unwrap();
    grow(&node, 9, 10).await;
    let blocks = blocks_in(&node, Height(10)).await;
    let ours = node.projection.block_record(Height(4)).unwrap().unwrap();
    node.close().await;
    // The same up to block 3, then other blocks by the same producer.
    let fork = open_log(&dir.path().join("fork"));
    for (tip, block) in (0..4).zip(&blocks) {
        fork.append(Sequence(tip), block.clone()).await.unwrap();
    }
    let other = open(&dir.path().join("other"), &fork).await;
    other.caught_up().await;
    grow(&other, 5, 12).await;
    other.close().await;
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let node = open_with(options(dir.path()), &fork).await.unwrap();
    let tip = fork.tip().await.unwrap();
    let Err(Condition::Degraded { code, evidence, .. }) = node.projection.wait_cursor(tip).await else {
        panic!("the fork was folded")
    };
    assert_eq!(code, "log_rewritten");
    assert!(evidence.unwrap().exists());
    // It stands at the last block that both have, and nothing of the fork is stored or archived.
    assert_eq!(node.projection.head().height(), Height(3));
    assert_archived(&node, &blocks).await;
    let proof = ProofFile::decode(&fs::read(dir.path().join("state").join("fork-4.proof")).unwrap()).unwrap();
    let proof = proof.proof.fork.unwrap();
    assert_eq!(proof.ours, ours.signed);
    assert_eq!(proof.ours.key, proof.theirs.key);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_goes_further_than_the_log_shows_what_the_log_lost() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open_with(options(dir.path()), &log).await.unwrap();
    node.projection.flush().unwrap();
    let early = dir.path().join("early");
    copy_dir(&dir.path().join("state"), &early);
    grow(&node, 9, 10).await;
    let blocks = blocks_in(&node, Height(10)).await;
    node.close().await;
    let shorter = open_log(&dir.path().join("shorter"));
    for (tip, block) in (0..6).zip(&blocks) {
        shorter.append(Sequence(tip), block.clone()).await.unwrap();
    }
    // An old store, and none at all: neither knows how far the chain had come.
    for state in [Some(&early), None] {
        fs::remove_dir_all(dir.path().join("state")).unwrap();
        if let Some(state) = state {
            copy_dir(state, &dir.path().join("state"));
        }
        let node = open_with(options(dir.path()), &shorter).await.unwrap();
        let mut condition = node.projection.watch_condition();
        condition.wait_for(|condition| *condition != Condition::Following).await.unwrap();
        let Condition::Degraded { code, message, .. } = node.projection.condition() else { unreachable!() };
        assert_eq!(code, "log_behind");
        assert!(message.contains("height 5") && message.contains("height 10"), "{message}");
        assert_eq!(node.projection.head().height(), Height(5));
        node.close().await;
    }
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let empty = open_log(&dir.path().join("empty"));
    match open_with(options(dir.path()), &empty).await.map(|_| ()).unwrap_err() {
        OpenError::LogBehind { tip, height, .. } => assert_eq!((tip, height), (Sequence(0), Height(10))),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_foreign_archive_is_named_and_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open_with(options(dir.path()), &log).await.unwrap();
    let head = grow(&node, 9, 30).await;
    let blocks = blocks_in(&node, head.height()).await;
    node.close().await;
    let refused = async || open_with(options(dir.path()), &log).await.map(|_| ()).unwrap_err();

    let archive = dir.path().join("blocks");
    let file = last_segment(&archive);
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&file, &damaged).unwrap();
    let error = refused().await;
    assert_eq!(error.code(), "archive_damaged");
    assert!(error.to_string().contains("Move"), "{error}");
    assert!(error.to_string().contains(archive.to_str().unwrap()), "{error}");

    // Another history's.
    fs::remove_dir_all(&archive).unwrap();
    let other_log = new_log(&dir.path().join("other-log")).await;
    let other = dir.path().join("other");
    let node = open_with(options(&other), &other_log).await.unwrap();
    grow(&node, 5, 3).await;
    node.close().await;
    copy_dir(&other.join("blocks"), &archive);
    assert_eq!(refused().await.code(), "archive_differs");

    fs::remove_dir_all(&archive).unwrap();
    let node = open_with(options(dir.path()), &log).await.unwrap();
    assert_archived(&node, &blocks).await;
    // It is this node's alone.
    let second = ProjectionOptions { dir: dir.path().join("second"), ..options(dir.path()) };
    let error = open_with(second, &log).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "log_locked");
    node.close().await;
    assert!(dir.path().join("state").join(FILE_NAME).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_archive_holds_up_the_store_and_no_reader() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("blocks");
    let Some(disk) = SmallDisk::mount(&small, "1m") else { return };
    let log = new_log(&dir.path().join("log")).await;
    let node = open_with(options(dir.path()), &log).await.unwrap();
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    let mut sealed = 0;
    let failed = loop {
        let events: Vec<_> = (0..500).map(|slot| ana.add(slot, 1)).collect();
        node.seal(&events).await;
        sealed += 1;
        if let Err(failed) = node.projection.flush() {
            break failed;
        }
        assert!(sealed < 100, "the disk never filled up");
    };
    assert_eq!(failed.0, "archive_unwritable", "{}", failed.1);
    let status = node.projection.status();
    assert_eq!(status.store_error_code.as_deref(), Some("archive_unwritable"));
    assert!(status.archive_error.unwrap().contains("space"));
    assert!(status.archive_height.unwrap() >= status.stored_height);
    assert!(status.stored_height < status.height);
    let head = node.seal(&[ana.add(7, 7)]).await;
    assert_eq!(node.projection.block_message(head.height()).await.unwrap().unwrap().len(), {
        let entries = log.read(head.sequence, ReadLimits::default()).await.unwrap();
        entries[0].message.len()
    });
    disk.grow("100m");
    // The archive tries again by itself; until then the store says why it waits.
    while node.projection.flush().is_err() {
        tokio::task::yield_now().await;
    }
    let status = node.projection.status();
    assert_eq!((status.stored_height, status.archive_height), (head.height(), Some(head.height())));
    assert_eq!((status.archive_error, status.store_error), (None, None));
    node.close().await;
}
