//! Much more load than a node takes: every request is answered, memory stays bounded, and sockets that say nothing hinder
//! nobody.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chaoschain_schemas::Blob;
use chaoschain_schemas::society::ReputationUpdate;
use chaoschain_schemas::{Fixed, codec};
use rayon::prelude::*;

use crate::harness::{ANSWER_PATIENCE, Author, Node, agent, json};

/// How long the short run floods, seconds; `CHAOSCHAIN_OVERLOAD_SECONDS` says otherwise.
const SECONDS_DEFAULT: u64 = 5;
const SLOW_SOCKETS: usize = 200;
/// Connections that flood, each with a request of [`BATCH`] envelopes under way at all times.
const CLIENTS: usize = 64;
const BATCH: usize = 1024;
const AUTHORS: u64 = 512;
/// The most memory a node may take meanwhile, KiB: its queues full, and what the allocator keeps.
const RSS_MAX_KIB: u64 = 1_500_000;

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Connections whose request never ends.
fn slow_sockets(url: &str) -> Vec<TcpStream> {
    let address = url.trim_start_matches("http://");
    let open = |number: usize| {
        let mut socket = TcpStream::connect(address).unwrap();
        // Some send nothing, some half a head, some a head and half a body.
        let said: &[u8] = match number % 3 {
            0 => b"",
            1 => b"POST /v1/transitions HTTP/1.1\r\nhost: x\r\ncontent-",
            _ => b"POST /v1/transitions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{\"envelope\"",
        };
        socket.write_all(said).unwrap();
        socket
    };
    (0..SLOW_SOCKETS).map(open).collect()
}

#[test]
fn every_request_is_answered_under_much_too_much_load() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    json(&["init", "--dir", data.to_str().unwrap(), "--name", "flood"]);
    let node = Node::up(&data);
    let mut authors: Vec<_> = (0..AUTHORS).map(|number| Author::new(node.chain, number)).collect();
    let registrations: Vec<Blob> = authors.iter_mut().map(|author| author.register().1).collect();
    node.accepted(&registrations);
    let subject = authors[0].id;
    // Each client has a part of the authors to itself, and sends what they signed again and again from the start.
    let batches: Vec<Vec<u8>> = authors
        .par_chunks_mut(AUTHORS as usize / CLIENTS)
        .map(|authors| {
            let rounds = BATCH / authors.len();
            let mut envelopes = Vec::new();
            for round in 0..i64::try_from(rounds).unwrap() {
                let rating = Fixed::from_millionths(round * 1000);
                envelopes.extend(
                    authors.iter_mut().map(|author| author.sign(&ReputationUpdate { subject, rating }).1),
                );
            }
            codec::encode(&envelopes)
        })
        .collect();
    let seconds = std::env::var("CHAOSCHAIN_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT));
    let slow = slow_sockets(&node.url);
    let (answered, busy, accepted) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let flooding = AtomicBool::new(true);
    let peak = std::thread::scope(|scope| {
        for batch in &batches {
            let (node, answered, busy, accepted, flooding) = (&node, &answered, &busy, &accepted, &flooding);
            scope.spawn(move || {
                let agent = agent(ANSWER_PATIENCE);
                while flooding.load(Ordering::Acquire) {
                    let request = agent.post(format!("{}/v1/transitions/batch", node.url));
                    let request = request.header("content-type", "application/msgpack");
                    let mut answer = request.send(&batch[..]).expect("every request is answered");
                    let status = answer.status().as_u16();
                    let body: serde_json::Value = answer.body_mut().read_json().expect("answers are whole");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if status != 200 {
                        assert!([429, 503].contains(&status) && body["code"].is_string(), "{status} {body}");
                        busy.fetch_add(BATCH as u64, Ordering::Relaxed);
                        continue;
                    }
                    let outcomes = body.as_array().unwrap();
                    assert_eq!(outcomes.len(), BATCH);
                    for outcome in outcomes {
                        if outcome["receipt"].is_object() {
                            accepted.fetch_add(1, Ordering::Relaxed);
                        } else {
                            assert!(outcome["error"]["code"].is_string(), "{outcome}");
                            busy.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        // Others get their answers meanwhile.
        let (started, mut peak) = (Instant::now(), 0);
        while started.elapsed() < span {
            let (status, answer) = node.get("/v1/root");
            assert!(status == 200 || status == 503, "{status} {answer}");
            peak = peak.max(rss_kib(node.pid()));
            std::thread::sleep(Duration::from_millis(100));
        }
        flooding.store(false, Ordering::Release);
        peak
    });
    drop(slow);
    let (answered, busy) = (answered.into_inner(), busy.into_inner());
    eprintln!(
        "overload: {answered} requests of {BATCH} in {} s, {} transitions answered with receipts, {busy} put off; peak {} MiB",
        span.as_secs(),
        accepted.into_inner(),
        peak / 1024
    );
    assert!(busy > 0, "the node was never overloaded, so this shows nothing");
    assert!(peak < RSS_MAX_KIB, "{peak} KiB");
    assert_eq!(node.get("/readyz").0, 200);
    node.stop();
}
