//! A log that goes away, loses its tail or becomes another one under a node that follows it.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_projector::{Condition, LogState, ProjectionStatus};
use chaoschain_schemas::{Height, ProofFile, Sequence};
use support::switch_log::{Fault, SwitchLog};
use support::*;

/// Waits until the figures say so.
async fn until(node: &Node, wanted: impl Fn(&ProjectionStatus) -> bool) -> ProjectionStatus {
    for _ in 0..3000 {
        let status = node.projection.status();
        if wanted(&status) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came: {:?}", node.projection.status());
}

/// A node on a log that can be exchanged, with a few blocks, and that log.
async fn node_on_switch(dir: &Path) -> (Node, Arc<SwitchLog>, Arc<dyn EventLog>, Author) {
    let log = new_log(&dir.join("log")).await;
    let switch = SwitchLog::new(&log);
    let node = open(&dir.join("state"), &(Arc::clone(&switch) as Arc<dyn EventLog>)).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    node.seal(&[ana.add(1, 1)]).await;
    node.caught_up().await;
    (node, switch, log, ana)
}

/// Another history of the same genesis and producer, `blocks` long.
async fn fork(dir: &Path, blocks: u32) -> Arc<dyn EventLog> {
    let log = new_log(&dir.join("fork-log")).await;
    let node = open(&dir.join("fork-state"), &log).await;
    let mut eve = Author::new(5, genesis().0);
    node.seal(&[eve.register()]).await;
    for slot in 1..blocks {
        node.seal(&[eve.add(slot, 9)]).await;
    }
    node.close().await;
    log
}

/// The condition once its evidence is written.
async fn stopped(node: &Node) -> (String, String, std::path::PathBuf) {
    let mut condition = node.projection.watch_condition();
    let stopped = condition
        .wait_for(|condition| matches!(condition, Condition::Degraded { evidence: Some(_), .. }))
        .await
        .unwrap();
    match &*stopped {
        Condition::Degraded { code, message, evidence: Some(evidence) } => {
            (code.clone(), message.clone(), evidence.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_while_the_log_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let (node, switch, log, mut ana) = node_on_switch(dir.path()).await;
    let event = ana.add(2, 2);
    let head = node.seal(std::slice::from_ref(&event)).await;
    switch.fail(Fault::Away);
    let status = until(&node, |status| status.log_state != LogState::Reachable).await;
    let LogState::Away { since, code, message } = status.log_state else { unreachable!() };
    assert!(since.0 > 0);
    assert_eq!(code, "log_unavailable");
    assert!(message.contains("the cable is out"), "{message}");
    assert_eq!(status.condition, Condition::Following);
    assert_eq!(node.projection.head().hash, head.hash);
    assert_eq!(node.projection.receipt(&event.id()).unwrap().unwrap().header_hash, head.hash);
    // Meanwhile somebody else goes on with the chain.
    let other = open(&dir.path().join("other"), &log).await;
    other.caught_up().await;
    let newest = other.seal(&[ana.add(3, 3)]).await;
    other.close().await;
    assert_eq!(node.projection.head().hash, head.hash);
    switch.heal();
    let caught = node.projection.wait_for(newest.height(), Duration::from_mins(1)).await.unwrap();
    assert_eq!(caught.hash, newest.hash);
    let well = |status: &ProjectionStatus| status.log_state == LogState::Reachable && status.lag_blocks == 0;
    let status = until(&node, well).await;
    assert_eq!((status.log_tip, status.lag_seconds), (newest.sequence, 0));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_refuses_a_fork_and_proves_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, switch, _, _) = node_on_switch(dir.path()).await;
    let good = node.projection.head();
    // Nothing is announced: the subscription just goes on in the other log.
    switch.replace(&fork(dir.path(), 9).await);
    let (code, message, evidence) = stopped(&node).await;
    assert_eq!(code, "log_replaced");
    assert!(message.contains("log restore"), "{message}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(evidence).unwrap()).unwrap();
    assert_eq!(report["rival"]["height"], 1);
    assert_eq!(report["last_good"]["height"], good.height().0);
    let proof = std::fs::read(dir.path().join("state").join("fork-1.proof")).unwrap();
    let fork = ProofFile::decode(&proof).unwrap().proof.fork.unwrap();
    assert_eq!(fork.ours, node.projection.block_record(Height(1)).unwrap().unwrap().signed);
    assert_eq!(fork.ours.key, fork.theirs.key);
    // It stays where it was, and goes on to answer.
    assert_eq!(node.projection.head().hash, good.hash);
    assert!(node.projection.head().state.tree(2).unwrap().get(slot_key(1).as_bytes()).is_some());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_log_is_noticed_though_nothing_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let (node, switch, _, _) = node_on_switch(dir.path()).await;
    let good = node.projection.head();
    switch.replace(&new_log(&dir.path().join("shorter")).await);
    let (code, _, evidence) = stopped(&node).await;
    assert_eq!(code, "log_replaced");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(evidence).unwrap()).unwrap();
    assert_eq!(report["log"]["newest_of_ours"]["height"], 0);
    assert!(report["rival"].is_null());
    assert_eq!(node.projection.head().hash, good.hash);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_log_says_of_itself_stops_the_node() {
    for (fault, expected) in
        [(Fault::Replaced, "log_replaced"), (Fault::Lost { tip: Sequence(1), seen: Sequence(3) }, "log_lost")]
    {
        let dir = tempfile::tempdir().unwrap();
        let (node, switch, _, _) = node_on_switch(dir.path()).await;
        let good = node.projection.head();
        switch.fail(fault);
        let (code, message, _) = stopped(&node).await;
        assert_eq!(code, expected);
        assert!(message.contains("log restore"), "{message}");
        assert_eq!(node.projection.head().hash, good.hash);
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_blocks_alone_stop_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (node, switch, log, mut ana) = node_on_switch(dir.path()).await;
    // Two blocks of the other producer that lost their places, and one of ours once more.
    let rivals = fork(dir.path(), 4).await;
    let mut stale = Vec::new();
    for sequence in [2, 3, 4] {
        let entries = rivals.read(Sequence(sequence), ReadLimits::default()).await.unwrap();
        stale.push(entries[0].message.clone());
    }
    stale.push(node.projection.block_message(Height(1)).await.unwrap().unwrap());
    for message in stale {
        let tip = log.tip().await.unwrap();
        log.append(tip, message).await.unwrap();
    }
    node.caught_up().await;
    let head = node.seal(&[ana.add(4, 4)]).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    let status = node.projection.status();
    assert_eq!(status.condition, Condition::Following);
    assert_eq!(status.skipped.values().sum::<u64>(), 4);
    drop(switch);
    node.close().await;
}
