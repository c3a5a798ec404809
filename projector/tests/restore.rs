//! Putting lost blocks back into a log from a node that has them.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_projector::restore::{BlockSource, RestoreError, apply, plan, survey};
use chaoschain_projector::{Head, ProjectionOptions, Store};
use chaoschain_schemas::{Height, Sequence};
use support::switch_log::SwitchLog;
use support::*;

fn options(dir: &Path) -> ProjectionOptions {
    ProjectionOptions { archive: Some(dir.join("blocks")), ..ProjectionOptions::new(dir.join("state")) }
}

/// A node of 200 blocks on a log with a message in between that is not history; the log's messages and the head.
async fn chain(dir: &Path) -> (Vec<Bytes>, Arc<Head>) {
    let log = new_log(&dir.join("log")).await;
    log.append(Sequence(1), "noise".into()).await.unwrap();
    let node = open_with(options(dir), &log).await.unwrap();
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    for slot in 0..199 {
        node.seal(&[ana.add(slot % 50, 1), ana.add(slot, 2)]).await;
    }
    let head = node.projection.head();
    node.close().await;
    let mut messages = Vec::new();
    while (messages.len() as u64) < head.sequence.0 {
        let next = Sequence(messages.len() as u64 + 1);
        messages.extend(
            log.read(next, ReadLimits::default()).await.unwrap().into_iter().map(|entry| entry.message),
        );
    }
    (messages, head)
}

async fn log_of(dir: &Path, messages: &[Bytes]) -> Arc<dyn EventLog> {
    let log = open_log(dir);
    for (tip, message) in (0..).zip(messages) {
        log.append(Sequence(tip), message.clone()).await.unwrap();
    }
    log
}

async fn archive(dir: &Path) -> BlockSource {
    let store = Arc::new(Store::open(&dir.join("state")).unwrap());
    BlockSource::archive(open_log(&dir.join("blocks")), Some(store)).await.unwrap()
}

async fn refusal(source: &BlockSource, log: &Arc<dyn EventLog>) -> RestoreError {
    plan(source, &**log, &|_| {}).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_tail_is_put_back_and_the_node_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (messages, head) = chain(dir.path()).await;
    for kept in [0, 1, 2, 3, 120, 201] {
        let lost = log_of(&dir.path().join(format!("lost-{kept}")), &messages[..kept]).await;
        let source = archive(dir.path()).await;
        let planned = plan(&source, &*lost, &|_| {}).await.unwrap();
        // The second message is noise, so one block less than messages once it is there.
        let in_log = kept as u64 - u64::from(kept >= 2);
        assert_eq!(planned.log_height, in_log.checked_sub(1).map(Height), "{kept} kept");
        assert_eq!((planned.blocks, planned.node_height), (201 - in_log, Height(200)));
        assert_eq!(planned.from.unwrap().height, Height(in_log));
        assert_eq!(planned.to.unwrap().header_hash, head.hash);
        let history: Vec<_> = messages.iter().filter(|message| message.len() > 20).collect();
        let bytes: usize = history[in_log as usize..].iter().map(|message| message.len()).sum();
        assert_eq!(planned.bytes, bytes as u64);
        assert_eq!(lost.tip().await.unwrap(), Sequence(kept as u64), "planning changes nothing");
        apply(&source, &*lost, &planned, &|_| {}).await.unwrap();
        // Once more: nothing is left to do.
        let again = plan(&source, &*lost, &|_| {}).await.unwrap();
        assert_eq!((again.blocks, again.from, again.log_height), (0, None, Some(Height(200))));
        apply(&source, &*lost, &again, &|_| {}).await.unwrap();
        drop(source);
        let node = open_with(options(dir.path()), &lost).await.unwrap();
        assert_eq!(node.caught_up().await.hash, head.hash);
        node.close().await;
        // And so does one that has nothing.
        let node = open(&dir.path().join(format!("fresh-{kept}")), &lost).await;
        assert_eq!(node.caught_up().await.hash, head.hash);
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_emptied_and_restored_can_be_started_from() {
    let dir = tempfile::tempdir().unwrap();
    let (_, head) = chain(dir.path()).await;
    let log = open_log(&dir.path().join("emptied"));
    for tip in 0..7 {
        log.append(Sequence(tip), "gone".into()).await.unwrap();
    }
    assert_eq!(log.compact(Sequence(8)).await.unwrap(), Sequence(8));
    let source = archive(dir.path()).await;
    let planned = plan(&source, &*log, &|_| {}).await.unwrap();
    apply(&source, &*log, &planned, &|_| {}).await.unwrap();
    let node = open(&dir.path().join("fresh"), &log).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
    // One that begins behind its genesis is not.
    assert_eq!(log.compact(Sequence(209)).await.unwrap(), Sequence(209));
    log.append(Sequence(208), "more".into()).await.unwrap();
    let refused = open_with(options(&dir.path().join("late")), &log).await.err().unwrap();
    assert_eq!(refused.code(), "log_compacted");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_alone_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (_, head) = chain(dir.path()).await;
    let empty = open_log(&dir.path().join("empty"));
    let source = BlockSource::archive(open_log(&dir.path().join("blocks")), None).await.unwrap();
    assert_eq!((source.chain(), source.newest()), (genesis().0, Height(200)));
    let planned = plan(&source, &*empty, &|_| {}).await.unwrap();
    apply(&source, &*empty, &planned, &|_| {}).await.unwrap();
    let found = survey(&*empty, Some(genesis().0)).await.unwrap();
    assert_eq!((found.first, found.tip), (Sequence(1), Sequence(201)));
    let newest = found.newest.unwrap();
    assert_eq!((newest.height, newest.header_hash, newest.sequence), (Height(200), head.hash, Sequence(201)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_log_is_a_source_too() {
    let dir = tempfile::tempdir().unwrap();
    let (messages, head) = chain(dir.path()).await;
    let lost = log_of(&dir.path().join("lost"), &messages[..50]).await;
    let store = Arc::new(Store::open(&dir.path().join("state")).unwrap());
    let source = BlockSource::log(open_log(&dir.path().join("log")), store).await.unwrap();
    let planned = plan(&source, &*lost, &|_| {}).await.unwrap();
    assert_eq!(planned.blocks, 152);
    apply(&source, &*lost, &planned, &|_| {}).await.unwrap();
    let node = open(&dir.path().join("fresh"), &lost).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_broken_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (messages, head) = chain(dir.path()).await;
    let lost = log_of(&dir.path().join("lost"), &messages[..10]).await;
    let source = archive(dir.path()).await;
    let mut missing = 192;
    for appends in [0, 1, 70, 100] {
        let switch = SwitchLog::new(&lost);
        switch.break_after(appends);
        let planned = plan(&source, &*switch, &|_| {}).await.unwrap();
        assert_eq!(planned.blocks, missing);
        let error = apply(&source, &*switch, &planned, &|_| {}).await.unwrap_err();
        let RestoreError::Append { height, .. } = error else { panic!("{error}") };
        assert_eq!(height, Height(planned.from.unwrap().height.0 + appends));
        missing -= appends;
    }
    let planned = plan(&source, &*lost, &|_| {}).await.unwrap();
    assert_eq!(planned.blocks, missing);
    apply(&source, &*lost, &planned, &|_| {}).await.unwrap();
    drop(source);
    let node = open_with(options(dir.path()), &lost).await.unwrap();
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_on_top_of_another_history() {
    let dir = tempfile::tempdir().unwrap();
    let (messages, _) = chain(dir.path()).await;
    // The same producer's other blocks, from block 3 on.
    let fork = log_of(&dir.path().join("fork"), &messages[..4]).await;
    let node = open(&dir.path().join("fork-state"), &fork).await;
    node.caught_up().await;
    let mut eve = Author::new(5, genesis().0);
    node.seal(&[eve.register()]).await;
    node.seal(&[eve.add(1, 1)]).await;
    node.close().await;
    let source = archive(dir.path()).await;
    match refusal(&source, &fork).await {
        RestoreError::Differs { height, ours, theirs, headers } => {
            assert_eq!(height, Height(3));
            assert_ne!(ours, theirs);
            assert_eq!(headers.0.key, headers.1.key);
        }
        other => panic!("{other}"),
    }
    let strange = open_log(&dir.path().join("strange"));
    strange.append(Sequence(0), genesis_named("strange").1).await.unwrap();
    assert_eq!(refusal(&source, &strange).await.code(), "chain_wrong");
    // Somebody appends between the look and the deed.
    let raced = log_of(&dir.path().join("raced"), &messages[..20]).await;
    let planned = plan(&source, &*raced, &|_| {}).await.unwrap();
    raced.append(Sequence(20), "I was here".into()).await.unwrap();
    assert_eq!(apply(&source, &*raced, &planned, &|_| {}).await.unwrap_err().code(), "restore_raced");
    assert_eq!(raced.tip().await.unwrap(), Sequence(21));
    drop(source);
    // A log that goes further than the node.
    let ahead = log_of(&dir.path().join("ahead"), &messages).await;
    let node = open_with(ProjectionOptions::new(dir.path().join("ahead-state")), &ahead).await.unwrap();
    node.caught_up().await;
    let mut bob = Author::new(8, genesis().0);
    node.seal(&[bob.register()]).await;
    node.close().await;
    let source = archive(dir.path()).await;
    match refusal(&source, &ahead).await {
        RestoreError::Ahead { log_height, height } => {
            assert_eq!((log_height, height), (Height(201), Height(200)));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_does_not_hold_is_not_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let (messages, _) = chain(dir.path()).await;
    let history: Vec<_> = messages.into_iter().filter(|message| message.len() > 20).collect();
    let empty = open_log(&dir.path().join("empty"));
    let mut changed = history[30].to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let cases: [(&str, Bytes, &str); 3] = [
        ("changed", changed.into(), "restore_block_invalid"),
        ("misplaced", history[31].clone(), "restore_block_invalid"),
        ("absent", Bytes::new(), "restore_block_missing"),
    ];
    for (name, block, code) in cases {
        let mut blocks = history.clone();
        blocks[30] = block;
        let archive = log_of(&dir.path().join(name), &blocks).await;
        let source = BlockSource::archive(archive, None).await.unwrap();
        let error = refusal(&source, &empty).await;
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains("block 30"), "{name}: {error}");
    }
    let nothing = BlockSource::archive(open_log(&dir.path().join("nothing")), None).await.unwrap_err();
    assert_eq!(nothing.code(), "restore_empty");
    assert_eq!(empty.tip().await.unwrap(), Sequence(0));
    let found = survey(&*empty, None).await.unwrap();
    assert_eq!((found.first, found.tip, found.newest), (Sequence(1), Sequence(0), None));
}
