//! Starting on a log that is not what it was: the same blocks under other numbers are found again, and a log that lost
//! blocks, has others, or belongs to another chain is refused with evidence.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadLimits};
use chaoschain_events::signature::verify_one;
use chaoschain_projector::{Head, OpenError, ProjectionOptions};
use chaoschain_schemas::{
    ForkProof, Header, Height, ProofFile, SealedBlock, Sequence, SignedHeader, SigningContext, codec,
};
use support::*;

/// Seals `blocks` blocks of producer 1, in which `author` registers and adds.
async fn grow(node: &Node, author: u8, blocks: u32) -> Arc<Head> {
    let mut author = Author::new(author, genesis().0);
    node.seal(&[author.register()]).await;
    for slot in 1..blocks {
        node.seal(&[author.add(slot, 1)]).await;
    }
    node.projection.head()
}

async fn append(log: &Arc<dyn EventLog>, message: impl Into<Bytes>) -> Sequence {
    let tip = log.tip().await.unwrap();
    log.append(tip, message.into()).await.unwrap()
}

async fn messages(log: &Arc<dyn EventLog>) -> Vec<Bytes> {
    let entries = log.read(Sequence(1), ReadLimits::default()).await.unwrap();
    entries.into_iter().map(|entry| entry.message).collect()
}

async fn refused(dir: &Path, log: &Arc<dyn EventLog>) -> OpenError {
    open_with(ProjectionOptions::new(dir.join("state")), log).await.map(|_| ()).unwrap_err()
}

/// A chain of 12 blocks with messages in between that are not history, folded into `state`.
async fn chain(dir: &Path) -> (Arc<dyn EventLog>, Arc<Head>) {
    let log = new_log(&dir.join("log")).await;
    append(&log, "noise").await;
    let node = open(&dir.join("state"), &log).await;
    grow(&node, 9, 6).await;
    append(&log, "more noise").await;
    node.caught_up().await;
    let mut bob = Author::new(8, genesis().0);
    node.seal(&[bob.register()]).await;
    for slot in 0..5 {
        node.seal(&[bob.add(slot, 3)]).await;
    }
    let head = node.projection.head();
    node.close().await;
    (log, head)
}

/// Checks a fork's proof as somebody would who knows nothing of this node.
fn check_fork(path: &Path, ours: &Header) -> Header {
    let file = ProofFile::decode(&std::fs::read(path).unwrap()).unwrap();
    let ForkProof { ours: mine, theirs } = file.proof.fork.unwrap();
    let read = |signed: &SignedHeader| {
        verify_one(SigningContext::Header, &signed.key, &signed.signature, &signed.header).unwrap();
        Header::decode(&signed.header).unwrap()
    };
    let (mine, other) = (read(&mine), read(&theirs));
    assert_eq!(mine, *ours);
    assert_eq!((other.chain, other.height), (mine.chain, mine.height));
    assert_ne!(other, mine);
    assert_eq!(theirs.key, key(1).public());
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_blocks_under_other_numbers_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, head) = chain(dir.path()).await;
    // As a restore makes it: history alone, and then something else.
    let restored = open_log(&dir.path().join("restored"));
    let blocks: Vec<_> = messages(&log).await.into_iter().filter(|message| message.len() > 20).collect();
    for block in &blocks {
        append(&restored, block.clone()).await;
    }
    append(&restored, "noise behind").await;
    let node = open(&dir.path().join("state"), &restored).await;
    let now = node.caught_up().await;
    assert_eq!((now.hash, now.sequence), (head.hash, Sequence(13)));
    assert_ne!(now.sequence, head.sequence);
    for (height, block) in (0..).map(Height).zip(&blocks) {
        let record = node.projection.block_record(height).unwrap().unwrap();
        assert_eq!(record.sequence, Sequence(height.0 + 1));
        assert_eq!(node.projection.block_message(height).await.unwrap().unwrap(), block);
    }
    let mut cid = Author::new(7, genesis().0);
    let next = node.seal(&[cid.register()]).await;
    node.close().await;
    // The new numbers are stored: nothing has to be looked for again, and nothing is folded twice.
    let node = open(&dir.path().join("state"), &restored).await;
    assert_eq!(node.projection.head().hash, next.hash);
    assert_eq!(node.projection.status().events_folded, 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_is_named_with_the_height_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (log, head) = chain(dir.path()).await;
    let shorter = open_log(&dir.path().join("shorter"));
    for message in &messages(&log).await[..5] {
        append(&shorter, message.clone()).await;
    }
    match refused(dir.path(), &shorter).await {
        OpenError::LogBehind { tip, log_height, folded, height, evidence } => {
            // The second message is noise.
            assert_eq!((tip, log_height), (Sequence(5), Some(Height(3))));
            assert_eq!((folded, height), (head.sequence, head.height()));
            let evidence = std::fs::read_to_string(evidence.unwrap()).unwrap();
            let evidence: serde_json::Value = serde_json::from_str(&evidence).unwrap();
            assert_eq!(evidence["log"]["newest_of_ours"]["height"], 3);
            assert_eq!(evidence["code"], "log_behind");
        }
        other => panic!("{other}"),
    }
    let empty = open_log(&dir.path().join("empty"));
    match refused(dir.path(), &empty).await {
        OpenError::LogBehind { tip, log_height, .. } => assert_eq!((tip, log_height), (Sequence(0), None)),
        other => panic!("{other}"),
    }
    // When the blocks are back the node goes on as if nothing had been.
    for message in &messages(&log).await[5..] {
        append(&shorter, message.clone()).await;
    }
    let node = open(&dir.path().join("state"), &shorter).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_by_the_same_producer_is_refused_and_proven() {
    let dir = tempfile::tempdir().unwrap();
    let (log, head) = chain(dir.path()).await;
    let fork = open_log(&dir.path().join("fork"));
    let shared = messages(&log).await;
    for message in &shared[..4] {
        append(&fork, message.clone()).await;
    }
    let other = open(&dir.path().join("other"), &fork).await;
    other.caught_up().await;
    grow(&other, 5, 20).await;
    other.close().await;
    let OpenError::LogRewritten { height, expected, found, sequence, evidence } =
        refused(dir.path(), &fork).await
    else {
        panic!("the fork was taken")
    };
    // Messages 1, 3 and 4 are blocks 0 to 2, so the first that differs is block 3.
    assert_eq!((height, sequence), (Height(3), Sequence(5)));
    assert!(evidence.unwrap().exists());
    let ours = SealedBlock::decode(&shared[4]).unwrap();
    assert_eq!(expected, Header::hash_of(ours.header));
    let theirs =
        check_fork(&dir.path().join("state").join("fork-3.proof"), &Header::decode(ours.header).unwrap());
    assert_eq!(found, Header::hash_of(&codec::encode(&theirs)));
    // What it had is whole: on its own log it goes on.
    let node = open(&dir.path().join("state"), &log).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_block_in_our_place_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, head) = chain(dir.path()).await;
    let shared = messages(&log).await;
    // Our own header of block 2 with another time, signed by nobody's key: and before and behind the true ones.
    let true_block = SealedBlock::decode(&shared[3]).unwrap();
    let mut header = Header::decode(true_block.header).unwrap();
    assert_eq!(header.height, Height(2));
    header.timestamp.0 += 1;
    let header = codec::encode(&header);
    let stranger = key(77);
    let forged = codec::encode(&SealedBlock {
        header: serde_bytes::Bytes::new(&header),
        key: stranger.public(),
        signature: stranger.sign(SigningContext::Header, &header),
        events: true_block.events.clone(),
    });
    let noisy = open_log(&dir.path().join("noisy"));
    for message in &shared {
        append(&noisy, forged.clone()).await;
        append(&noisy, message.clone()).await;
    }
    let node = open(&dir.path().join("state"), &noisy).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
    // Without the true ones behind it, the log is behind and not rewritten.
    let short = open_log(&dir.path().join("short"));
    for message in &shared[..3] {
        append(&short, message.clone()).await;
    }
    append(&short, forged).await;
    match refused(dir.path(), &short).await {
        OpenError::LogBehind { log_height, .. } => assert_eq!(log_height, Some(Height(1))),
        other => panic!("{other}"),
    }
    assert!(!dir.path().join("state").join("fork-2.proof").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_chain_is_told_from_one_that_lost_blocks() {
    let dir = tempfile::tempdir().unwrap();
    chain(dir.path()).await;
    let other = open_log(&dir.path().join("other"));
    append(&other, genesis_named("another").1).await;
    for _ in 0..20 {
        append(&other, "noise").await;
    }
    let error = refused(dir.path(), &other).await;
    assert_eq!(error.code(), "chain_wrong", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_is_no_lost_one() {
    let dir = tempfile::tempdir().unwrap();
    // A file for each message, so that compaction takes exactly what it is asked to.
    let options = EmbeddedOptions { segment_bytes: 1, ..EmbeddedOptions::default() };
    let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(dir.path().join("log"), options).unwrap());
    append(&log, genesis().1).await;
    let node = open(&dir.path().join("state"), &log).await;
    let head = grow(&node, 9, 10).await;
    node.close().await;
    // The head is left, then nothing is.
    for before in [head.sequence, head.sequence.next()] {
        assert_eq!(log.compact(before).await.unwrap(), before);
        let node = open(&dir.path().join("state"), &log).await;
        assert_eq!(node.caught_up().await.hash, head.hash);
        node.close().await;
    }
    // A block that is appended now is followed.
    let node = open(&dir.path().join("state"), &log).await;
    let mut bob = Author::new(8, genesis().0);
    let next = node.seal(&[bob.register()]).await;
    assert_eq!(next.height(), head.height().next());
    node.close().await;
}
