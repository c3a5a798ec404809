//! Blocks in a format that this build does not know stop a node where it is, if a producer made them.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use chaoschain_events::signature::SecretKey;
use chaoschain_projector::Condition;
use chaoschain_schemas::{Body, Envelope, Header, SealedBlock, SigningContext, codec};
use chaoschain_state::merkle::{root_of, value_hash};
use support::*;

fn sealed(header: &[u8], key: &SecretKey, events: Vec<&serde_bytes::Bytes>) -> Vec<u8> {
    codec::encode(&SealedBlock {
        header: serde_bytes::Bytes::new(header),
        key: key.public(),
        signature: key.sign(SigningContext::Header, header),
        events,
    })
}

/// A header of format 2 with fields of its own.
fn newer_header() -> Vec<u8> {
    codec::encode(&(2_u16, "whatever", 7_u64))
}

/// What a node with a few blocks makes of a message.
async fn outcome(message: impl AsyncFnOnce(&Node) -> Vec<u8>) -> (Condition, Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open(&dir.path().join("state"), &log).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    // The second producer goes on under another key.
    let mut two = Author::new(2, genesis().0);
    let head = node.seal(&[two.rotate(22)]).await;
    let message = message(&node).await;
    let sequence = log.append(log.tip().await.unwrap(), message.into()).await.unwrap();
    let outcome = match node.projection.wait_cursor(sequence).await {
        Ok(()) => {
            node.projection.flush().unwrap();
            let skipped = node.projection.store().skipped(1).unwrap().pop().unwrap();
            (Condition::Following, Some(format!("{} {}", skipped.class, skipped.code)))
        }
        Err(condition) => (condition, None),
    };
    assert_eq!(node.projection.head().hash, head.hash);
    node.close().await;
    outcome
}

fn assert_stopped((condition, _): (Condition, Option<String>), what: &str) {
    let Condition::Degraded { code, message, evidence } = condition else { panic!("the node goes on") };
    assert_eq!(code, "format_unknown");
    assert!(message.contains(what) && message.contains("format 2"), "{message}");
    assert!(evidence.is_some());
}

fn assert_skipped((_, skipped): (Condition, Option<String>), how: &str) {
    assert_eq!(skipped.as_deref(), Some(how));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_newer_header_stops_the_node() {
    assert_stopped(outcome(async |_| sealed(&newer_header(), &key(1), vec![])).await, "header");
    // Whose key is not the one the account began with.
    assert_stopped(outcome(async |_| sealed(&newer_header(), &key(22), vec![])).await, "header");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_header_of_nobody_in_particular_is_foreign() {
    // An account that is no producer, a stranger, and a key that was rotated away.
    for number in [9, 77, 2] {
        assert_skipped(
            outcome(async |_| sealed(&newer_header(), &key(number), vec![])).await,
            "foreign header_malformed",
        );
    }
    let unsigned = outcome(async |_| {
        let header = newer_header();
        let other = key(1).sign(SigningContext::Header, b"another header");
        let (header, key) = (serde_bytes::Bytes::new(&header), key(1).public());
        codec::encode(&SealedBlock { header, key, signature: other, events: vec![] })
    });
    assert_skipped(unsigned.await, "foreign header_malformed");
    // Of this format's number, and malformed all the same.
    let malformed = codec::encode(&(1_u16, "whatever"));
    assert_skipped(outcome(async |_| sealed(&malformed, &key(1), vec![])).await, "foreign header_malformed");
}

/// The next block on `node`, with one event whose body is of format `version`, to which the header commits or not.
fn with_body(node: &Node, version: u16, heights_ahead: u64, committed: bool) -> Vec<u8> {
    let mut ana = Author::new(9, genesis().0);
    ana.nonce = 1;
    let event = ana.add(1, 1);
    let body = Body { version, ..event.body().clone() };
    let body = codec::encode(&body);
    let envelope = codec::encode(&Envelope {
        body: serde_bytes::Bytes::new(&body),
        signatures: event.parties().to_vec(),
    });
    let head = node.projection.head();
    let events = [(0_u32.to_be_bytes(), value_hash(&envelope))];
    let header = Header {
        height: chaoschain_schemas::Height(head.height().0 + heights_ahead),
        parent: head.hash,
        producer: producer(1).account,
        event_count: 1,
        events_root: if committed { root_of(events) } else { head.header.events_root },
        ..head.header.clone()
    };
    sealed(&codec::encode(&header), &key(1), vec![serde_bytes::Bytes::new(&envelope)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_body_in_the_next_block_stops_the_node() {
    assert_stopped(outcome(async |node| with_body(node, 2, 1, true)).await, "body");
    // The same of the known format, and a newer one where no block of ours would stand.
    assert_skipped(outcome(async |node| with_body(node, 1, 1, false)).await, "invalid events_root_wrong");
    assert_skipped(outcome(async |node| with_body(node, 2, 2, true)).await, "invalid events_refused");
}

/// Rules that are not known may bring bodies that cannot be read: the block that activates them was once skipped for its
/// bodies, and the node went on without it.
#[tokio::test(flavor = "multi_thread")]
async fn newer_rules_stop_the_node_even_where_bodies_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open(&dir.path().join("state"), &log).await;
    let (mut one, two) = (Author::new(1, genesis().0), Author::new(2, genesis().0));
    let head = node.seal(&[one.move_rules(&two, 2, chaoschain_schemas::Height(2))]).await;
    for (version, ahead, committed) in [(2, 2, true), (1, 0, false), (2, 1, true)] {
        let message = with_body(&node, version, ahead, committed);
        let sequence = log.append(log.tip().await.unwrap(), message.into()).await.unwrap();
        let stopped = node.projection.wait_cursor(sequence).await;
        if ahead != 1 {
            assert_eq!(stopped, Ok(()), "no block of ours would stand there");
            continue;
        }
        let Err(Condition::Degraded { code, .. }) = stopped else { panic!("the node goes on") };
        assert_eq!(code, "rules_unknown");
    }
    assert_eq!(node.projection.head().hash, head.hash);
    node.close().await;
}

/// Whoever carries a block to the log could put other events under its header; no producer has signed those.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_body_that_the_header_does_not_commit_to_stops_nobody() {
    assert_skipped(outcome(async |node| with_body(node, 2, 1, false)).await, "invalid events_refused");
}
