//! Figures of the log on JetStream, on one server and on three of this machine, every write synced.
//!
//! `cargo bench -p chaoschain-events --bench jetstream`; needs nats-server, as the tests do.

// Rates are printed, not computed with.
#![allow(clippy::cast_precision_loss)]

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use chaoschain_events::log::{AppendError, EventLog as _, JetStreamLog, JetStreamOptions, ReadLimits};
use chaoschain_events::nats::{NatsOptions, connect};
use chaoschain_schemas::{ChainId, Sequence};
use chaoschain_test_support::nats::{Cluster, Server};
use futures::future::BoxFuture;

#[tokio::main]
async fn main() {
    if let Some(server) = Server::start() {
        println!("one server");
        run(&server.url(), 1).await;
    }
    if let Some(cluster) = Cluster::start() {
        println!("three servers, three replicas");
        run(&cluster.urls(), 3).await;
    }
}

async fn run(url: &str, replicas: usize) {
    for (number, (bytes, messages, in_flight)) in (0..).zip([
        (1 << 10, 4000, 1),
        (1 << 10, 20_000, 64),
        (64 << 10, 2000, 1),
        (64 << 10, 4000, 4),
        (64 << 10, 4000, 16),
        (900 << 10, 300, 1),
        (900 << 10, 300, 4),
    ]) {
        let nats =
            connect(&NatsOptions { url: url.to_owned(), ..NatsOptions::default() }).await.expect("a server");
        let chain = ChainId::new([number; 32]);
        let options =
            JetStreamOptions { chain, name: "bench".into(), create: true, replicas, fsync_always: true };
        let log = JetStreamLog::open(nats, options).await.expect("a log");
        let message = Bytes::from(vec![7; bytes]);
        let start = Instant::now();
        let mut under_way: VecDeque<BoxFuture<'static, Result<Sequence, AppendError>>> = VecDeque::new();
        for at in 0..messages {
            if under_way.len() == in_flight {
                under_way.pop_front().expect("some").await.expect("appended");
            }
            under_way.push_back(log.append(Sequence(at), message.clone()));
        }
        for append in under_way {
            append.await.expect("appended");
        }
        let append = messages as f64 / start.elapsed().as_secs_f64();
        let mut follower =
            log.follow(Sequence(1), ReadLimits { messages: 4096, bytes: 8 << 20 }).await.expect("follow");
        let start = Instant::now();
        let mut read = 0;
        while read < messages {
            read += follower.next_batch().await.expect("a batch").len() as u64;
        }
        let follow = messages as f64 / start.elapsed().as_secs_f64();
        let megabytes = |rate: f64| rate * bytes as f64 / 1e6;
        println!(
            "{:>4} KiB, {in_flight:>2} in flight: {append:>8.0} appends/s ({:>4.0} MB/s), {:>6} µs at most; followed {follow:>8.0}/s ({:>5.0} MB/s)",
            bytes >> 10,
            megabytes(append),
            log.status().append_micros_max,
            megabytes(follow),
        );
        log.nats().jetstream().delete_stream(log.status().stream).await.expect("deleted");
    }
}
