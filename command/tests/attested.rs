//! A producer never appends at or below a height that validators have attested, and never mistakes being late for a loss.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chaoschain_command::{CommandService, Peer};
use chaoschain_events::attest::{Board, LocalBoard, Posted, sign_attestation};
use chaoschain_events::log::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};
use chaoschain_projector::Projection;
use chaoschain_schemas::{ATTESTATION_VERSION, Attestation, Hash, Height, Sequence, SignedAttestation};
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::BoxStream;
use support::*;
use tokio::sync::Semaphore;

/// The word of producer 2, who has half of the weight.
fn attest(height: Height, header_hash: Hash) -> SignedAttestation {
    let (chain, validator) = (genesis().0, producer(2));
    let version = ATTESTATION_VERSION;
    let account = validator.account;
    sign_attestation(&Attestation { version, chain, validator: account, height, header_hash }, &validator.key)
}

async fn attested(projection: &Projection, height: u64) {
    while projection.attestations().highest_attested() < Height(height) {
        tokio::task::yield_now().await;
    }
}

fn board(node: &Node) -> Arc<LocalBoard> {
    Arc::new(LocalBoard::open(node.dir.path().join("board")).unwrap())
}

/// A log that was restored from a copy of old ends below what validators have seen in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_attested_blocks_takes_no_others() {
    let whole = node().await;
    for number in 1..=3 {
        whole.service.submit(author(number).register(), Peer::Local).await.unwrap();
    }
    let newest = whole.caught_up().await;
    assert_eq!(newest.height(), Height(3));

    let node = node().await;
    let board = board(&node);
    node.projection.follow_board(board.clone());
    board.publish(attest(newest.height(), newest.hash)).await.unwrap();
    attested(&node.projection, 3).await;
    let envelope = author(9).register();
    let error = node.service.submit(envelope.clone(), Peer::Local).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), ("below_attested", 503));
    assert!(
        error.to_string().contains("attested block 3") && error.to_string().contains("ends at block 0"),
        "{error}"
    );
    assert_eq!((node.log.tip().await.unwrap().0, node.log.appends.load(Ordering::SeqCst)), (1, 0));
    // With some of it back, it is still less.
    let entries = whole.log.read(Sequence(2), ReadLimits::default()).await.unwrap();
    for (nth, entry) in entries.into_iter().enumerate() {
        node.log.append(node.log.tip().await.unwrap(), entry.message).await.unwrap();
        node.caught_up().await;
        if nth < 2 {
            let error = node.service.submit(envelope.clone(), Peer::Local).await.unwrap_err();
            assert_eq!(error.code(), "below_attested");
        }
    }
    // The loss is made good, and the producer comes back by itself.
    let receipt = loop {
        match node.service.submit(envelope.clone(), Peer::Local).await {
            Ok(receipt) => break receipt,
            Err(error) => assert_eq!(error.code(), "below_attested"),
        }
    };
    assert_eq!(receipt.height, Height(4));
    node.close().await;
    whole.close().await;
}

/// Another producer's block is attested before this node has folded it: that is every day's business.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_late_is_not_held_back() {
    let one = node().await;
    let board = board(&one);
    let gate = Arc::new(Semaphore::new(0));
    let log: Arc<dyn EventLog> = Arc::new(Late { log: one.log.clone(), gate: gate.clone() });
    let projection = open(&one.dir.path().join("other"), &log).await;
    projection.follow_board(board.clone());
    let two = CommandService::start(projection.clone(), producer(2), options()).unwrap();
    let receipt = one.service.submit(author(1).register(), Peer::Local).await.unwrap();
    board.publish(attest(receipt.height, receipt.header_hash)).await.unwrap();
    attested(&projection, 1).await;
    assert_eq!(projection.head().height(), Height(0));
    let reads = one.log.reads.load(Ordering::SeqCst);
    let submitted = two.submit(author(2).register(), Peer::Local);
    let opened = async {
        while two.status().pending == 0 && two.status().refused.is_empty() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(submitted, opened);
    assert_eq!(answer.unwrap().height, Height(2));
    assert_eq!(two.status().stalled, None);
    assert_eq!(one.log.reads.load(Ordering::SeqCst), reads, "nothing was appended in vain and read back");
    two.shut_down().await;
    tokio::task::spawn_blocking(move || projection.close()).await.unwrap();
    one.close().await;
}

/// A log whose news come only when the gate is open.
#[derive(Debug)]
struct Late {
    log: Arc<Scripted>,
    gate: Arc<Semaphore>,
}

#[derive(Debug)]
struct LateSubscription {
    subscription: Box<dyn Subscription>,
    gate: Arc<Semaphore>,
}

impl Subscription for LateSubscription {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        async {
            drop(self.gate.acquire().await.unwrap());
            self.subscription.next_batch().await
        }
        .boxed()
    }
}

impl EventLog for Late {
    fn append(&self, tip: Sequence, message: Bytes) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        self.log.append(tip, message)
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.log.tip()
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.log.first()
    }

    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        self.log.read(from, limits)
    }

    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        async move {
            let (subscription, gate) = (self.log.follow(from, limits).await?, Arc::clone(&self.gate));
            Ok(Box::new(LateSubscription { subscription, gate }) as Box<dyn Subscription>)
        }
        .boxed()
    }

    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.log.compact(before)
    }

    fn message_bytes_max(&self) -> usize {
        self.log.message_bytes_max()
    }

    fn description(&self) -> String {
        self.log.description()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.log.close()
    }
}

/// A board that cannot be read until the gate opens.
#[derive(Debug)]
struct Gated {
    board: Arc<LocalBoard>,
    gate: Semaphore,
}

impl Board for Gated {
    fn publish(&self, attestation: SignedAttestation) -> BoxFuture<'_, Result<(), LogError>> {
        self.board.publish(attestation)
    }

    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Posted>, LogError>> {
        async {
            self.gate.acquire().await.unwrap().forget();
            self.board.follow().await
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.board.close()
    }
}

/// A node that has just started does not know yet what was attested; it seals nothing before.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sealed_before_the_attestations_are_read() {
    let node = node().await;
    let gated = Arc::new(Gated { board: board(&node), gate: Semaphore::new(0) });
    gated.publish(attest(Height(3), Hash::new([6; 32]))).await.unwrap();
    node.projection.follow_board(gated.clone());
    assert!(!node.projection.attestations().is_caught_up());
    let submitted = node.service.submit(author(1).register(), Peer::Local);
    let opened = async {
        while node.service.status().pending == 0 {
            tokio::task::yield_now().await;
        }
        gated.gate.add_permits(1);
    };
    let (outcome, ()) = tokio::join!(submitted, opened);
    assert_eq!(outcome.unwrap_err().code(), "below_attested");
    assert_eq!(node.log.tip().await.unwrap().0, 1);
    node.close().await;
}
