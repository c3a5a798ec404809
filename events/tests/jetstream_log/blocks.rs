//! What stands in the stream: headers for people, and whatever others have put there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use chaoschain_events::block::{events_root, seal};
use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_events::nats::Subjects;
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::{AccountId, HEADER_VERSION, Hash, Header, Height, Sequence, Timestamp};
use chaoschain_test_support::nats::Server;

use crate::support::*;

#[tokio::test]
async fn a_block_carries_its_height_and_root_for_people() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    let key = SecretKey::from_seed(&[3; 32]);
    let header = Header {
        version: HEADER_VERSION,
        chain,
        epoch: 0,
        rules: 1,
        height: Height(7),
        parent: Hash::ZERO,
        timestamp: Timestamp(5),
        producer: AccountId::from_first_key(&key.public()),
        event_count: 0,
        events_root: events_root(&[]),
        state_root: Hash::new([0xab; 32]),
        sub_roots: Vec::new(),
    };
    let block = seal(header, Vec::new(), &key).unwrap();
    log.append(Sequence(0), block.message().clone()).await.unwrap();
    log.append(Sequence(1), "not a block".into()).await.unwrap();
    let stream = raw_stream(log.nats(), chain).await;
    let headers = stream.get_raw_message(1).await.unwrap().headers;
    let shown: Vec<_> = ["Chaoschain-Height", "Chaoschain-State-Root", "Chaoschain-Events"]
        .map(|name| headers.get(name).unwrap().to_string())
        .into();
    assert_eq!(shown, ["7".to_owned(), "ab".repeat(32), "0".to_owned()]);
    assert_eq!(headers.get("Nats-Msg-Id"), None, "it would swallow a restored block");
    let headers = stream.get_raw_message(2).await.unwrap().headers;
    assert_eq!(headers.get("Chaoschain-Height"), None);
    assert_eq!(log.read(Sequence(1), ALL).await.unwrap()[0].message, block.message());
}

/// Publishes with headers no client library would write.
fn publish_raw(address: SocketAddr, subject: &str, headers: &[u8], payload: &[u8]) {
    let mut server = TcpStream::connect(address).unwrap();
    write!(server, "CONNECT {{\"verbose\":false,\"headers\":true}}\r\n").unwrap();
    write!(server, "HPUB {subject} {} {}\r\n", headers.len(), headers.len() + payload.len()).unwrap();
    server.write_all(headers).unwrap();
    server.write_all(payload).unwrap();
    server.write_all(b"\r\nPING\r\n").unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while !said.windows(4).any(|window| window == b"PONG") {
        let read = server.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&buffer[..read]);
    }
}

/// Whoever may publish to the subject can store headers that look like the server's own words, or that the client cannot
/// even parse, which makes it drop its connection. The log is read past them all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_by_others_do_not_stop_readers() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    fill(&*log, 2).await;
    let subject = Subjects::of(chain).block();
    let strange: [&[u8]; 5] = [
        b"NATS/1.0 404 No Messages\r\n\r\n",
        b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n",
        b"NATS/1.0\r\nName: \xff\xfe\r\n\r\n",
        b"NATS/1.0 not a status\r\nno colon\r\n\r\n",
    ];
    for (n, headers) in (3..).zip(strange) {
        publish_raw(server.address(), &subject, headers, message(n).as_ref());
        // The server answers before it has stored it.
        while log.tip().await.unwrap() < Sequence(n) {
            tokio::task::yield_now().await;
        }
    }
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    assert_eq!(take_patiently(&mut *subscription, 7).await, filled(1..=7));
    append_somehow(&*log, 8).await;
    assert_eq!(take_patiently(&mut *subscription, 1).await, filled(8..=8));
}
