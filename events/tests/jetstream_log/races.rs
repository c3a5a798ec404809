//! Several writers at one tip: the server compares numbers, and everyone is told the truth.

use std::collections::BTreeSet;
use std::sync::Arc;

use chaoschain_events::log::{AppendError, EventLog, LogError};
use chaoschain_schemas::Sequence;
use chaoschain_test_support::nats::{Cluster, PATIENCE, Server};
use futures::future::join_all;

use crate::support::*;

/// Two processes append as producers do, four at a time, and go back to the tip whenever one is lost.
async fn race(urls: &str, replicas: usize, each: usize) {
    let chain = new_chain();
    let options = chaoschain_events::log::JetStreamOptions { replicas, ..options(chain) };
    let mut writers = Vec::new();
    for name in ["a", "b"] {
        let log =
            chaoschain_events::log::JetStreamLog::open(nats(urls).await, options.clone()).await.unwrap();
        writers.push(tokio::spawn(async move {
            let (mut won, mut unclear) = (Vec::new(), BTreeSet::new());
            let own = |sequence: u64| (sequence, format!("{name}{}", sequence - 1));
            while won.len() < each {
                let tip = match log.tip().await {
                    Ok(tip) => tip.0,
                    Err(LogError::Unavailable { .. }) => continue,
                    Err(other) => panic!("{other}"),
                };
                let appends = (tip..tip + 4).map(|at| log.append(Sequence(at), format!("{name}{at}").into()));
                for outcome in join_all(appends).await {
                    match outcome {
                        Ok(sequence) => won.push(own(sequence.0)),
                        Err(AppendError::Unclear { expected_tip, .. }) => {
                            unclear.insert(own(expected_tip.0 + 1));
                        }
                        Err(AppendError::TipMoved { .. } | AppendError::Unavailable { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            (log, won, unclear)
        }));
    }
    let (mut won, mut unclear) = (Vec::new(), BTreeSet::new());
    let mut last = None;
    for outcome in tokio::time::timeout(PATIENCE, join_all(writers)).await.unwrap() {
        let (log, positions, unsure) = outcome.unwrap();
        won.extend(positions);
        unclear.extend(unsure);
        last = Some(log);
    }
    let there = contents_patiently(&last.unwrap()).await;
    // Where a slow server left it open, the log itself says who has won.
    unclear.retain(|one| there.contains(one) && !won.contains(one));
    won.extend(unclear);
    won.sort();
    assert_eq!(there, won, "what was acknowledged stands there, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_on_one_server() {
    let Some(server) = Server::start() else { return };
    race(&server.url(), 1, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_writers_on_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    race(&cluster.urls(), 3, 50).await;
}

/// The line was built upon a message that lost its place to a rival's. The server compares numbers alone, so what was
/// to follow it stands behind the rival's now: whoever folds this log sees that it does not fit.
#[tokio::test]
async fn a_rival_that_takes_exactly_the_place_of_the_first_lets_the_second_in() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let (ours, rival) = (open(&server.url(), chain).await, open(&server.url(), chain).await);
    fill(&*ours, 3).await;
    rival.append(Sequence(3), "rival".into()).await.unwrap();
    let first = ours.append(Sequence(3), "first".into());
    let second = ours.append(Sequence(4), "second".into());
    assert_eq!(first.await, Err(AppendError::TipMoved { tip: Sequence(4) }));
    assert_eq!(second.await, Ok(Sequence(5)));
    let there = contents(&*rival).await;
    assert_eq!(there[3..], [(4, "rival".to_owned()), (5, "second".to_owned())]);
}

#[tokio::test]
async fn too_many_at_once_are_told_to_wait() {
    let Some(server) = Server::start() else { return };
    let log = open(&server.url(), new_chain()).await;
    // The writer does not run while this task does not wait.
    let appends: Vec<_> = (0..300).map(|at| log.append(Sequence(at), message(at + 1))).collect();
    let outcomes = join_all(appends).await;
    let (taken, refused) = outcomes.split_at(256);
    assert_eq!(taken, (1..=256).map(|at| Ok(Sequence(at))).collect::<Vec<_>>());
    assert!(refused.iter().all(|outcome| *outcome == Err(AppendError::Busy { in_flight_max: 256 })));
    assert_eq!(log.append(Sequence(256), message(257)).await, Ok(Sequence(257)), "there is room again");
    let status = log.status();
    assert_eq!((status.appends, status.appends_in_flight, status.tip_seen), (257, 0, 257));
}

#[tokio::test]
async fn a_full_stream_takes_nothing_and_says_so() {
    let limits = chaoschain_test_support::nats::Options::new().jetstream("max_file_store: 1MB");
    let Some(server) = Server::with(&limits) else { return };
    let log = open(&server.url(), new_chain()).await;
    let message = bytes::Bytes::from(vec![7; 200 << 10]);
    let mut tip = Sequence(0);
    let full = loop {
        match log.append(tip, message.clone()).await {
            Ok(sequence) => tip = sequence,
            Err(error) => break error,
        }
        assert!(tip < Sequence(20), "it takes any amount");
    };
    assert_eq!(full, AppendError::NoSpace);
    assert_eq!(log.tip().await.unwrap(), tip);
    // Room is made, and it goes on.
    log.compact(tip.next()).await.unwrap();
    assert_eq!(log.append(tip, message).await, Ok(tip.next()));
    let log: Arc<dyn EventLog> = log;
    log.close().await;
}
