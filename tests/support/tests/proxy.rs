//! A proxy that cuts, stalls and loses answers, before a server that answers every line.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test's own helpers may panic")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use chaoschain_test_support::Proxy;

/// A server that answers every line with itself, and a way to see what has arrived.
fn echo() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, arrivals) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let arrived = arrived.clone();
            std::thread::spawn(move || {
                let mut client = client.unwrap();
                for line in BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok) {
                    writeln!(client, "{line}").ok();
                    if arrived.send(line).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, arrivals)
}

/// An address that nobody listens at or is given meanwhile: its port is below those that a system chooses, and below those
/// that test servers take. Processes that run at once begin at different ones.
fn closed() -> SocketAddr {
    let first = 10_000 + (std::process::id() % 4_000) as u16;
    let mut addresses = (first..15_000).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addresses.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, line: &str) {
        writeln!(self.0.get_mut(), "{line}").unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.hear()
    }

    /// Whether nothing is to be read. Only a hint that nothing will be, so tests ask it where a fault would show soon.
    fn is_silent(&mut self) -> bool {
        let stream = self.0.get_mut();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let read = stream.read(&mut [0; 1]);
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        matches!(read.unwrap_err().kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
    }

    fn is_closed(&mut self) -> bool {
        !matches!(self.0.get_mut().read(&mut [0; 1]), Ok(1..))
    }
}

#[test]
fn what_is_sent_arrives_both_ways() {
    let (target, _arrivals) = echo();
    let proxy = Proxy::start(target);
    assert_eq!(proxy.url(), format!("nats://{}", proxy.address()));
    let (mut ana, mut bob) = (Client::connect(&proxy), Client::connect(&proxy));
    let long = "x".repeat(1 << 20);
    assert_eq!(ana.ask(&long), long);
    assert_eq!(bob.ask("bob"), "bob");
    assert_eq!((proxy.connections(), proxy.accepted()), (2, 2));
    bob.0.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(bob.is_closed());
    assert_eq!(ana.ask("ana"), "ana");
}

#[test]
fn a_cut_closes_what_is_open_and_what_comes() {
    let (target, _arrivals) = echo();
    let proxy = Proxy::start(target);
    let mut before = Client::connect(&proxy);
    assert_eq!(before.ask("one"), "one");
    proxy.cut();
    assert_eq!(proxy.connections(), 0);
    assert!(before.is_closed());
    assert!(Client::connect(&proxy).is_closed());
    proxy.heal();
    assert_eq!(Client::connect(&proxy).ask("two"), "two");
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn a_stall_holds_back_and_loses_nothing() {
    let (target, arrivals) = echo();
    let proxy = Proxy::start(target);
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("one"), "one");
    assert_eq!(arrivals.recv().unwrap(), "one");
    proxy.stall();
    client.send("two");
    let mut late = Client::connect(&proxy);
    late.send("three");
    assert!(client.is_silent());
    assert!(late.is_silent());
    assert!(arrivals.try_recv().is_err());
    proxy.flow();
    assert_eq!(client.hear(), "two");
    assert_eq!(late.hear(), "three");
    // A stalled connection can still be cut.
    proxy.stall();
    client.send("four");
    proxy.cut();
    assert!(client.is_closed());
    assert!(!arrivals.try_iter().any(|line| line == "four"));
}

#[test]
fn lost_answers_belong_to_requests_that_arrived() {
    let (target, arrivals) = echo();
    let proxy = Proxy::start(target);
    let (mut loser, mut idle) = (Client::connect(&proxy), Client::connect(&proxy));
    assert_eq!((loser.ask("one"), idle.ask("two")), ("one".to_owned(), "two".to_owned()));
    assert_eq!(arrivals.iter().take(2).count(), 2);
    proxy.drop_answers(true);
    loser.send("three");
    assert_eq!(arrivals.recv().unwrap(), "three");
    assert!(loser.is_silent());
    proxy.drop_answers(false);
    assert!(loser.is_closed());
    assert_eq!(idle.ask("four"), "four");
    assert_eq!(Client::connect(&proxy).ask("five"), "five");
}

#[test]
fn a_target_that_does_not_listen_closes_its_client_and_may_come_later() {
    let address = closed();
    let proxy = Proxy::start(address);
    assert!(Client::connect(&proxy).is_closed());
    let again = TcpListener::bind(address).unwrap();
    let mut client = Client::connect(&proxy);
    let (mut server, _) = again.accept().unwrap();
    server.write_all(b"welcome\n").unwrap();
    assert_eq!(client.hear(), "welcome");
}

#[test]
fn a_dropped_proxy_leaves_nobody_connected() {
    let (target, _arrivals) = echo();
    let proxy = Proxy::start(target);
    let address = proxy.address();
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("one"), "one");
    drop(proxy);
    assert!(client.is_closed());
    assert!(TcpStream::connect(address).is_err());
}
