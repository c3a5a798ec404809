//! The board on a NATS server: it is found and not made by everyone, forgets the oldest, and outlives the server's faults.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use chaoschain_events::attest::{
    Board, JetStreamBoard, KEPT_PER_VALIDATOR, Posted, sign_attestation, verify_attestation,
};
use chaoschain_events::log::LogError;
use chaoschain_events::nats::{Nats, NatsOptions, Subjects, connect};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::{
    ATTESTATION_VERSION, AccountId, Attestation, ChainId, Hash, Height, SignedAttestation,
};
use chaoschain_test_support::Proxy;
use chaoschain_test_support::nats::{Cluster, Server};
use futures::StreamExt as _;
use futures::stream::BoxStream;

const CHAIN: ChainId = ChainId::new([1; 32]);

fn said(validator: u8, height: u64) -> SignedAttestation {
    let attestation = Attestation {
        version: ATTESTATION_VERSION,
        chain: CHAIN,
        validator: AccountId::new([validator; 32]),
        height: Height(height),
        header_hash: Hash::new([3; 32]),
    };
    sign_attestation(&attestation, &SecretKey::from_seed(&[validator; 32]))
}

async fn nats(url: String) -> Nats {
    connect(&NatsOptions { url, ..NatsOptions::default() }).await.unwrap()
}

async fn next(posts: &mut BoxStream<'static, Posted>) -> Option<u64> {
    match posts.next().await.expect("the board is open") {
        Posted::Attestation(bytes) => Some(verify_attestation(&bytes).unwrap().0.height.0),
        Posted::CaughtUp => None,
    }
}

async fn take(posts: &mut BoxStream<'static, Posted>, count: usize) -> Vec<Option<u64>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(next(posts).await);
    }
    taken
}

/// Publishes until it is kept, as a validator does.
async fn publish(board: &JetStreamBoard, signed: &SignedAttestation) {
    while let Err(error) = board.publish(signed.clone()).await {
        assert!(matches!(error, LogError::Unavailable { .. }), "{error}");
        tokio::task::yield_now().await;
    }
}

/// Reads on until this height comes; what comes twice is passed over.
async fn until(posts: &mut BoxStream<'static, Posted>, height: u64) {
    while next(posts).await != Some(height) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_comes_first_then_what_comes() {
    let Some(server) = Server::start() else { return };
    let nats = nats(server.url()).await;
    let missing = JetStreamBoard::open(nats.clone(), CHAIN, 1, false).await.unwrap_err();
    assert!(missing.to_string().contains("there is no stream"), "{missing}");
    let board = JetStreamBoard::open(nats.clone(), CHAIN, 1, true).await.unwrap();
    let mut early = board.follow().await.unwrap();
    assert_eq!(next(&mut early).await, None);
    board.publish(said(1, 1)).await.unwrap();
    board.publish(said(2, 1)).await.unwrap();
    // Another one finds what there is.
    let other = JetStreamBoard::open(nats, CHAIN, 1, true).await.unwrap();
    let mut late = other.follow().await.unwrap();
    assert_eq!(take(&mut late, 3).await, [Some(1), Some(1), None]);
    board.publish(said(1, 2)).await.unwrap();
    assert_eq!(take(&mut early, 3).await, [Some(1), Some(1), Some(2)]);
    assert_eq!(next(&mut late).await, Some(2));
    other.close().await;
    assert_eq!(late.next().await, None);
    assert!(matches!(other.publish(said(1, 3)).await, Err(LogError::Closed)));
    board.publish(said(1, 3)).await.unwrap();
    assert_eq!(next(&mut early).await, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_each_validator_the_newest_are_kept() {
    let Some(server) = Server::start() else { return };
    let board = JetStreamBoard::open(nats(server.url()).await, CHAIN, 1, true).await.unwrap();
    board.publish(said(1, 7)).await.unwrap();
    let kept = KEPT_PER_VALIDATOR as u64;
    for height in 0..kept + 3 {
        board.publish(said(2, height)).await.unwrap();
    }
    let mut posts = board.follow().await.unwrap();
    let all = take(&mut posts, kept as usize + 2).await;
    assert_eq!(
        (all[0], all[1], all[kept as usize], all[kept as usize + 1]),
        (Some(7), Some(3), Some(kept + 2), None)
    );
}

/// Makes a stream in the place of one that was just deleted: the server may still be about its files.
async fn made(nats: &Nats, config: Config) {
    let making = async {
        while nats.jetstream().create_stream(config.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), making).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_would_not_keep_them_is_refused() {
    let Some(server) = Server::start() else { return };
    let nats = nats(server.url()).await;
    let subjects = Subjects::of(CHAIN);
    let good = Config {
        name: subjects.attest_stream(),
        subjects: vec![subjects.attest_all()],
        discard: DiscardPolicy::Old,
        max_messages_per_subject: 8,
        ..Config::default()
    };
    let wrong = [
        Config { subjects: vec![subjects.block()], ..good.clone() },
        Config { discard: DiscardPolicy::New, ..good.clone() },
        Config { max_message_size: 100, ..good.clone() },
        Config { storage: StorageType::Memory, ..good.clone() },
        Config { max_age: Duration::from_hours(1), ..good.clone() },
    ];
    for config in wrong {
        made(&nats, config).await;
        let refused = JetStreamBoard::open(nats.clone(), CHAIN, 1, true).await.unwrap_err();
        assert!(refused.to_string().contains("cannot be used"), "{refused}");
        nats.jetstream().delete_stream(subjects.attest_stream()).await.unwrap();
    }
    // An operator's own limits are fine.
    made(&nats, good).await;
    JetStreamBoard::open(nats, CHAIN, 3, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_outlive_the_servers_faults() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.address());
    let board = JetStreamBoard::open(nats(proxy.url()).await, CHAIN, 1, true).await.unwrap();
    let mut posts = board.follow().await.unwrap();
    publish(&board, &said(1, 1)).await;
    until(&mut posts, 1).await;
    // A cut connection.
    proxy.cut();
    proxy.heal();
    publish(&board, &said(1, 2)).await;
    until(&mut posts, 2).await;
    // A crash; the consumer was in the server's memory.
    server.kill();
    server.restart();
    publish(&board, &said(1, 3)).await;
    until(&mut posts, 3).await;
    // A stall: nothing is refused and nothing comes. Another connection publishes meanwhile.
    let direct = nats(server.url()).await;
    let beside = JetStreamBoard::open(direct.clone(), CHAIN, 1, false).await.unwrap();
    proxy.stall();
    publish(&beside, &said(1, 4)).await;
    proxy.flow();
    until(&mut posts, 4).await;
    // A stream made anew counts from 1 again.
    direct.jetstream().delete_stream(Subjects::of(CHAIN).attest_stream()).await.unwrap();
    let again = JetStreamBoard::open(direct, CHAIN, 1, true).await.unwrap();
    publish(&again, &said(1, 5)).await;
    until(&mut posts, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_them_without_one_of_its_servers() {
    let Some(cluster) = Cluster::start() else { return };
    let board = JetStreamBoard::open(nats(cluster.urls()).await, CHAIN, 3, true).await.unwrap();
    let mut posts = board.follow().await.unwrap();
    publish(&board, &said(1, 1)).await;
    until(&mut posts, 1).await;
    cluster.server(cluster.leader_of(&Subjects::of(CHAIN).attest_stream())).kill();
    publish(&board, &said(1, 2)).await;
    until(&mut posts, 2).await;
}

/// The stream has no leader yet, as after a cluster was started: it is asked again, since whoever opens the board may have
/// to do without it otherwise, or not start at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_does_not_answer_yet_is_waited_for() {
    let Some(server) = Server::start() else { return };
    JetStreamBoard::open(nats(server.url()).await, CHAIN, 1, true).await.unwrap();
    let proxy = Proxy::start(server.address());
    let late = nats(proxy.url()).await;
    proxy.drop_answers(true);
    let opening = tokio::spawn(JetStreamBoard::open(late.clone(), CHAIN, 1, false));
    // As patient as a question is, and asked after it: when this is given up, so is that.
    let stream = Subjects::of(CHAIN).attest_stream();
    assert!(late.jetstream().get_stream(stream).await.is_err());
    proxy.drop_answers(false);
    opening.await.unwrap().unwrap();
}
