//! Two nodes are compared: what a script learns from the exit code, and what a peer cannot do to it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::Bench;

#[test]
fn the_exit_code_says_whether_they_were_compared() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    bench.json(&["init", "--dir", "e"]);
    let (node, other) = (bench.up("d"), bench.up_with("e", &["--role", "query"]));
    let same = bench.json(&["diff", &node.url, "--node", &node.url]);
    assert_eq!(same["found"]["found"], "same");
    let told = |peer: &str| bench.fails(&["diff", peer, "--node", &node.url]);
    assert!(told(&other.url).starts_with("exit 2\nerror[chain_wrong]"), "{}", told(&other.url));
    assert!(told("http://127.0.0.1:1").starts_with("exit 3\nerror[node_unreachable]"));
    let nats = format!("nats://127.0.0.1:1?chain={}", "11".repeat(32));
    assert!(told(&nats).starts_with("exit 2\nerror[node_address_wrong]"), "{}", told(&nats));
    other.stop();
    let command = bench.up_with("e", &["--role", "command"]);
    assert!(told(&command.url).starts_with("exit 2\nerror[role_absent]"), "{}", told(&command.url));
}

/// A peer that answers without end is not listened to without end.
#[test]
fn an_answer_without_end_is_broken_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = 0_usize;
        let read = stream.read(&mut [0; 4096]).unwrap();
        assert!(read > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").unwrap();
        let blanks = vec![b' '; 65_536];
        while stream.write_all(&blanks).is_ok() {
            sent += blanks.len();
        }
        sent
    });
    let bench = Bench::new();
    let started = Instant::now();
    let told = bench.fails(&["diff", "http://127.0.0.1:1", "--node", &peer]);
    assert!(told.starts_with("exit 3\nerror[answer_malformed]") && told.contains("more than"), "{told}");
    assert!(started.elapsed() < Duration::from_mins(1));
    let sent = serving.join().unwrap();
    // What is on its way in buffers is not read.
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}
