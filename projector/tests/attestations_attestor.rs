//! The attestor: never two hashes at one height, through crashes, lost files and rewritten logs.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod attestations_support;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestations_support::*;
use chaoschain_events::attest::{Board, verify_attestation};
use chaoschain_events::log::{EventLog, LogError};
use chaoschain_projector::{AttestError, Attestor, AttestorOptions, Projection};
use chaoschain_schemas::{Blob, Hash, Height, Sequence, SignedAttestation, Timestamp};
use support::*;

fn options(dir: &Path) -> AttestorOptions {
    AttestorOptions { dir: dir.into(), interval: Duration::from_millis(1) }
}

fn start(projection: &Projection, board: &Arc<MemoryBoard>, dir: &Path) -> Result<Attestor, AttestError> {
    let board: Arc<dyn Board> = board.clone();
    Attestor::start(projection.clone(), board, validator(0), options(dir))
}

/// A node of a chain of four validators with this many blocks, each of which adds `amount` somewhere.
async fn chain_of(dir: &Path, blocks: u64, amount: u64) -> (Arc<dyn EventLog>, Node) {
    let log = log_of_four(&dir.join("log")).await;
    let node = open(&dir.join("state"), &log).await;
    grow(&node, blocks, amount).await;
    (log, node)
}

async fn grow(node: &Node, blocks: u64, amount: u64) {
    let mut author = Author::new(90 + amount as u8, chain());
    for nth in 0..blocks {
        let event = if nth == 0 { author.register() } else { author.add(1, amount) };
        node.seal(&[event]).await;
    }
}

async fn obstacle(attestor: &Attestor, wanted: &str) {
    while attestor.status().obstacle != Some(wanted) {
        tokio::task::yield_now().await;
    }
}

fn stored(dir: &Path) -> Option<SignedAttestation> {
    let bytes = fs::read(dir.join("attested.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let message: Blob = serde_json::from_value(json["message"].clone()).unwrap();
    Some(verify_attestation(&message).unwrap().1)
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_head_is_attested_after_it_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 2, 1).await;
    let file = dir.path().join("attest");
    let board = MemoryBoard::new();
    let looked = file.clone();
    board.hook(move |signed| {
        assert_eq!(stored(&looked).as_ref(), Some(signed), "it is durable before anyone sees it");
        Ok(())
    });
    let attestor = start(&node.projection, &board, &file).unwrap();
    assert_eq!(board.heights(1).await, [2]);
    assert_eq!(board.posts()[0], attest(&validator(0), &node.projection.head()));
    grow(&node, 3, 2).await;
    let newest = node.projection.head();
    while board.posts().last() != Some(&attest(&validator(0), &newest)) {
        tokio::task::yield_now().await;
    }
    let heights = board.heights(2).await;
    assert!(heights.is_sorted_by(|a, b| a < b), "{heights:?}");
    published(&attestor, Height(5)).await;
    let status = attestor.status();
    assert_eq!((status.signed, status.published, status.failures), (Some(Height(5)), Some(Height(5)), 0));
    assert_eq!(status.publications, heights.len() as u64);
    attestor.shut_down().await;
    assert_eq!(attestor.status().obstacle, Some("stopped"));
    // The same again after a restart, and nothing else until there is news.
    let attestor = start(&node.projection, &board, &file).unwrap();
    let count = heights.len() + 1;
    assert_eq!(board.heights(count).await.last(), Some(&5));
    grow(&node, 1, 3).await;
    assert_eq!(board.heights(count + 1).await[count..], [6]);
    attestor.shut_down().await;
    node.close().await;
}

/// Waits until a publication of this height is counted, which comes after the board has it.
async fn published(attestor: &Attestor, height: Height) {
    let counted = async {
        while attestor.status().published != Some(height) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), counted).await.unwrap();
}

/// The validator crashes before or after it wrote down what it signed, and before or after it was published; then it
/// meets a log that was rewritten from block 2 on.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_anywhere_leads_to_no_second_hash() {
    let dir = tempfile::tempdir().unwrap();
    let (log, node) = chain_of(dir.path(), 1, 1).await;
    let file = dir.path().join("attest");
    let copies: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let board = MemoryBoard::new();
    let (from, to, taken) = (file.clone(), dir.path().to_owned(), Arc::clone(&copies));
    board.hook(move |_| {
        let mut taken = taken.lock().unwrap();
        let copy = to.join(format!("copy-{}", taken.len()));
        copy_dir(&from, &copy);
        taken.push(copy);
        Ok(())
    });
    let attestor = start(&node.projection, &board, &file).unwrap();
    board.heights(1).await;
    grow(&node, 1, 2).await;
    board.heights(2).await;
    grow(&node, 1, 3).await;
    board.heights(3).await;
    attestor.shut_down().await;
    let copies: Vec<PathBuf> = copies.lock().unwrap().clone();
    let said = board.posts();

    // The other history: the same first block, then others.
    let other_dir = tempfile::tempdir().unwrap();
    let other_log = log_of_four(&other_dir.path().join("log")).await;
    copy_log(&log, &other_log, 2).await;
    let other = open(&other_dir.path().join("state"), &other_log).await;
    other.caught_up().await;
    grow(&other, 1, 7).await;
    // Block 1 was written down, or 2 or 3 and published or not: `copies[n]` is of the moment before publication n.
    for (nth, published) in [(0, 1), (1, 1), (1, 2), (2, 2), (2, 3)] {
        let case = format!("copy {nth}, {published} published");
        let dir = other_dir.path().join(format!("case-{nth}-{published}"));
        copy_dir(&copies[nth], &dir);
        let board = MemoryBoard::new();
        said[..published].iter().for_each(|signed| board.post(signed));
        let started = start(&other.projection, &board, &dir);
        match nth {
            0 => {
                // Nobody has seen more than block 1, which both histories have.
                let attestor = started.unwrap();
                assert_eq!(board.heights(published + 2).await, [1, 1, 2], "{case}");
                attestor.shut_down().await;
            }
            1 => assert!(matches!(started, Err(AttestError::Conflict { height: Height(2), .. })), "{case}"),
            // The other history does not go as far yet; nothing is signed until it does, nor then.
            _ => {
                let attestor = started.unwrap();
                obstacle(&attestor, "behind_last_signed").await;
                assert_eq!(board.posts().len(), published, "{case}");
                attestor.shut_down().await;
            }
        }
    }
    let board = MemoryBoard::new();
    let attestor = start(&other.projection, &board, &copies[2]).unwrap();
    obstacle(&attestor, "behind_last_signed").await;
    grow(&other, 1, 8).await;
    obstacle(&attestor, "attest_conflict").await;
    assert_eq!(board.posts(), []);
    assert_eq!(start(&other.projection, &board, &file).map(drop).unwrap_err().code(), "attest_conflict");
    other.close().await;
    node.close().await;
}

/// The file is lost, or a copy of old was put in its place: the board remembers.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_on_the_board_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 3, 1).await;
    let head = node.projection.head();
    let board = MemoryBoard::new();
    let other = attest_hash(&validator(0), Height(2), Hash::new([6; 32]));
    // Others may write in its name, with their own keys.
    let mut stranger = validator(0);
    stranger.key = key(60);
    board.post(&attest_hash(&stranger, Height(1000), Hash::new([6; 32])));
    board.put(&b"garbage"[..]);
    board.post(&attest(&validator(0), &head));
    board.post(&attest(&validator(1), &head));
    let attestor = start(&node.projection, &board, &dir.path().join("lost")).unwrap();
    let published = board.heights(5).await;
    assert_eq!(published.last(), Some(&3));
    assert_eq!(stored(&dir.path().join("lost")), Some(attest(&validator(0), &head)));
    attestor.shut_down().await;
    // Had it attested another history, it would not attest this one.
    let board = MemoryBoard::new();
    board.post(&other);
    let attestor = start(&node.projection, &board, &dir.path().join("old")).unwrap();
    obstacle(&attestor, "attest_conflict").await;
    assert_eq!(board.posts().len(), 1);
    // And not at the next start, when the board has forgotten.
    let refused = start(&node.projection, &MemoryBoard::new(), &dir.path().join("old"));
    assert_eq!(refused.map(drop).unwrap_err().code(), "attest_conflict");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_says_nothing_is_not_worked_without() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 1, 1).await;
    let file = dir.path().join("attested.json");
    let board = MemoryBoard::new();
    let of_another = attest(&validator(1), &node.projection.head());
    let of_another =
        serde_json::json!({ "message": Blob(chaoschain_schemas::codec::encode(&of_another)) }).to_string();
    for text in ["", "{}", r#"{"message":"AAAA"}"#, &of_another] {
        fs::write(&file, text).unwrap();
        let error = start(&node.projection, &board, dir.path()).map(drop).unwrap_err();
        assert_eq!(error.code(), "attest_file", "{text}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_validator_waits_to_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 1, 1).await;
    let board = MemoryBoard::new();
    let as_board: Arc<dyn Board> = board.clone();
    let new_key = chaoschain_projector::Producer { account: validator(0).account, key: key(70) };
    let attestor =
        Attestor::start(node.projection.clone(), as_board, new_key, options(&dir.path().join("attest")))
            .unwrap();
    obstacle(&attestor, "not_validator").await;
    assert_eq!(board.posts(), []);
    let second = start(&node.projection, &board, &dir.path().join("attest")).map(drop).unwrap_err();
    assert!(second.to_string().contains("another"), "the first one has the file open: {second}");
    node.seal(&[Author::new(2, chain()).rotate(70)]).await;
    assert_eq!(board.heights(1).await, [2]);
    attestor.shut_down().await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_from_the_future_is_not_attested() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    // The year 2200.
    let (_, genesis) = genesis_with(&[1], Timestamp(7_258_118_400_000_000));
    log.append(Sequence(0), genesis).await.unwrap();
    let node = open(&dir.path().join("state"), &log).await;
    let board = MemoryBoard::new();
    let attestor = start(&node.projection, &board, &dir.path().join("attest")).unwrap();
    obstacle(&attestor, "block_from_future").await;
    assert_eq!((board.posts(), attestor.status().signed), (Vec::new(), None));
    attestor.shut_down().await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_published_is_published_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 1, 1).await;
    let board = MemoryBoard::new();
    let tried: Arc<Mutex<Vec<SignedAttestation>>> = Arc::default();
    let record = Arc::clone(&tried);
    let (projection, told) = (node.projection.clone(), tokio::sync::watch::Sender::new(0));
    let mut told_rx = told.subscribe();
    board.hook(move |signed| {
        let mut record = record.lock().unwrap();
        record.push(signed.clone());
        told.send_replace(record.len());
        if projection.head().height() < Height(2) {
            Err(LogError::Unavailable { reason: "scripted".into() })
        } else {
            Ok(())
        }
    });
    let attestor = start(&node.projection, &board, &dir.path().join("attest")).unwrap();
    drop(told_rx.wait_for(|count| *count >= 2).await.unwrap());
    obstacle(&attestor, "board_unavailable").await;
    // In between the chain goes on; what was signed comes first all the same.
    grow(&node, 1, 2).await;
    assert_eq!(board.heights(2).await, [1, 2]);
    let tried = tried.lock().unwrap().clone();
    let firsts = tried.iter().filter(|signed| **signed == tried[0]).count();
    assert!(firsts >= 3 && firsts + 1 == tried.len(), "{firsts} of {}", tried.len());
    attestor.shut_down().await;
    node.close().await;
}

/// As on a full disk: what cannot be written down is not published, and is once it can.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 1, 1).await;
    let board = MemoryBoard::new();
    let file = dir.path().join("attest");
    // Where the new file would be written first.
    let in_the_way = file.join("attested.json.new");
    fs::create_dir_all(&in_the_way).unwrap();
    let attestor = start(&node.projection, &board, &file).unwrap();
    obstacle(&attestor, "attest_file").await;
    assert_eq!((board.posts(), stored(&file)), (Vec::new(), None));
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(board.heights(1).await, [1]);
    assert_eq!(stored(&file).as_ref(), board.posts().first());
    attestor.shut_down().await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_stopped_attests_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, node) = chain_of(dir.path(), 1, 1).await;
    let board = MemoryBoard::new();
    node.projection.follow_board(board.clone());
    for place in 1..4 {
        board.post(&attest_hash(&validator(place), Height(1), Hash::new([6; 32])));
    }
    let mut condition = node.projection.watch_condition();
    drop(
        condition
            .wait_for(|condition| *condition != chaoschain_projector::Condition::Following)
            .await
            .unwrap(),
    );
    let attestor = start(&node.projection, &board, &dir.path().join("attest")).unwrap();
    obstacle(&attestor, "projection_stopped").await;
    assert_eq!(board.posts().len(), 3);
    attestor.shut_down().await;
    node.close().await;
}
