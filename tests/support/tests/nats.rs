//! Servers and clusters that are killed, paused and restarted, seen by a client of a few lines.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test's own helpers may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chaoschain_test_support::nats::{Cluster, FakeServer, Options, PATIENCE, SERVERS, Server};
use serde_json::{Value, json};

/// Just enough NATS to ask JetStream something. What is `None` was not answered in time.
struct Client {
    info: Value,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr, options: &str, timeout: Duration) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(timeout)).unwrap();
        let mut reader = BufReader::new(stream);
        let info = serde_json::from_str(line(&mut reader)?.strip_prefix("INFO ")?).unwrap();
        let mut client = Self { info, reader };
        client.send(&format!("CONNECT {{\"verbose\":false,\"headers\":true{options}}}\r\nSUB inbox 1\r\n"));
        Some(client)
    }

    fn send(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line that is not housekeeping.
    fn next(&mut self) -> Option<String> {
        loop {
            let line = line(&mut self.reader)?;
            match line.split(' ').next() {
                Some("PING") => self.send("PONG\r\n"),
                Some("INFO" | "PONG") => {}
                _ => return Some(line),
            }
        }
    }

    fn answer(&mut self) -> Option<Value> {
        let message = self.next()?;
        let length: usize = message.rsplit(' ').next()?.parse().expect(&message);
        let mut payload = vec![0; length + 2];
        self.reader.read_exact(&mut payload).ok()?;
        let answer: Value = serde_json::from_slice(&payload[..length]).unwrap();
        answer.get("error").is_none().then_some(answer)
    }

    fn request(&mut self, subject: &str, payload: &str) -> Option<Value> {
        self.send(&format!("PUB {subject} inbox {}\r\n{payload}\r\n", payload.len()));
        self.answer()
    }

    fn create_stream(&mut self, replicas: u32) -> Option<Value> {
        let config =
            json!({"name": "LOG", "subjects": ["log.>"], "storage": "file", "num_replicas": replicas});
        self.request("$JS.API.STREAM.CREATE.LOG", &config.to_string())
    }

    /// The sequence of a message, the same however often it is appended.
    fn append(&mut self, payload: &str) -> Option<u64> {
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {payload}\r\n\r\n");
        let (head, whole) = (headers.len(), headers.len() + payload.len());
        self.send(&format!("HPUB log.a inbox {head} {whole}\r\n{headers}{payload}\r\n"));
        self.answer()?["seq"].as_u64()
    }

    fn messages(&mut self) -> Option<u64> {
        self.request("$JS.API.STREAM.INFO.LOG", "")?["state"]["messages"].as_u64()
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}

fn client_with(server: &Server, options: &str) -> Client {
    Client::connect(server.address(), options, PATIENCE).unwrap()
}

/// Asks one server after the other, as a cluster's clients do, until one gives an answer that will do.
fn eventually<T>(cluster: &Cluster, ask: impl Fn(&mut Client) -> Option<T>) -> T {
    let begun = Instant::now();
    for index in (0..SERVERS).cycle() {
        let client = Client::connect(cluster.server(index).address(), "", Duration::from_secs(1));
        if let Some(answer) = client.and_then(|mut client| ask(&mut client)) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "no server of the cluster answers");
    }
    unreachable!("a cycle has no end")
}

fn client(server: &Server) -> Client {
    client_with(server, "")
}

/// What the monitoring port says, asked again where it takes longer than one question waits.
fn monitored(server: &Server, path: &str) -> (u16, Value) {
    let begun = Instant::now();
    loop {
        if let Some(answer) = server.monitor(path) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "{path} is not answered: {}", server.log());
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_server_comes_back_with_its_port_and_its_streams() {
    let Some(server) = Server::start() else { return };
    let (url, pid) = (server.url(), server.pid().unwrap());
    let mut before = client(&server);
    before.create_stream(1).unwrap();
    assert_eq!(before.append("one"), Some(1));
    server.kill();
    assert_eq!(server.pid(), None);
    assert!(TcpStream::connect(server.address()).is_err());
    assert_eq!(server.monitor("/varz"), None);

    server.restart();
    assert_eq!(server.url(), url);
    assert_ne!(server.pid().unwrap(), pid);
    let mut after = client(&server);
    assert_eq!(after.messages(), Some(1));
    assert_eq!(after.append("two"), Some(2));

    server.stop();
    assert!(server.log().contains("Server Exiting"), "{}", server.log());
    server.stop();
    server.restart();
    assert_eq!(client(&server).messages(), Some(2));
    let (status, said) = monitored(&server, "/varz");
    assert_eq!((status, &said["server_name"]), (200, &json!(server.name())));
}

#[test]
fn a_store_may_be_put_back() {
    let Some(server) = Server::start() else { return };
    client(&server).create_stream(1).unwrap();
    client(&server).append("one").unwrap();
    server.stop();
    let kept = tempfile::tempdir().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    };
    copy(&server.store_dir().join("jetstream"), kept.path());
    server.restart();
    client(&server).append("two").unwrap();
    server.stop();
    std::fs::remove_dir_all(server.store_dir().join("jetstream")).unwrap();
    copy(&kept.path().join("jetstream"), server.store_dir());
    server.restart();
    assert_eq!(client(&server).messages(), Some(1));
}

#[test]
fn a_paused_server_answers_when_it_is_resumed() {
    let Some(server) = Server::start() else { return };
    let mut client = client(&server);
    client.create_stream(1).unwrap();
    server.pause();
    client.send("PUB log.a inbox 3\r\none\r\n");
    assert_eq!(server.monitor("/varz"), None);
    server.resume();
    assert!(client.next().unwrap().starts_with("MSG inbox"));
    server.pause();
    server.stop();
    assert_eq!(server.pid(), None);
}

#[test]
fn writes_are_synced_unless_told_otherwise() {
    for (options, always) in [(Options::new(), true), (Options::new().lazy_sync(), false)] {
        let Some(server) = Server::with(&options) else { return };
        let (_, jetstream) = monitored(&server, "/varz");
        let config = &jetstream["jetstream"]["config"];
        assert_eq!(config["sync_always"].as_bool().unwrap_or(false), always, "{config}");
    }
}

#[test]
fn options_reach_the_server() {
    let users = "accounts { A { jetstream: enabled, users: [ { user: ana, password: secret,
        permissions { publish { deny: \"log.>\" } } } ] } }\n";
    let options =
        Options::new().config(&format!("{users}max_payload: 4096")).jetstream("max_file_store: 1MB");
    let Some(server) = Server::with(&options) else { return };
    let mut ana = client_with(&server, ",\"user\":\"ana\",\"pass\":\"secret\"");
    assert_eq!(ana.info["max_payload"], 4096);
    ana.create_stream(1).unwrap();
    ana.send("PUB log.a 3\r\none\r\n");
    assert!(ana.next().unwrap().starts_with("-ERR 'Permissions Violation for Publish"));
    let mut nobody = client(&server);
    assert!(nobody.next().unwrap().starts_with("-ERR 'Authorization Violation"));
    let (_, jetstream) = monitored(&server, "/jsz");
    assert_eq!(jetstream["config"]["max_storage"], 1 << 20);

    server.configure(Options::new().without_jetstream());
    server.restart();
    assert_eq!(client(&server).info.get("jetstream"), None);
}

#[test]
#[should_panic(expected = "Parse error")]
fn a_server_that_does_not_start_says_why() {
    let Some(_server) = Server::with(&Options::new().config("accounts: [")) else {
        panic!("there is no nats-server: Parse error was not seen")
    };
}

#[test]
fn a_port_that_another_has_taken_is_given_back_or_waited_for() {
    let Some(server) = Server::start() else { return };
    server.kill();
    let thief = std::net::TcpListener::bind(server.address()).unwrap();
    std::thread::scope(|scope| {
        let restarted = scope.spawn(|| server.restart());
        let begun = Instant::now();
        while !server.log().contains("address already in use") {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::yield_now();
        }
        drop(thief);
        restarted.join().unwrap();
    });
    assert_eq!(client(&server).info["server_name"], server.name());
}

#[test]
fn a_cluster_survives_one_server_and_comes_back_from_none() {
    let Some(cluster) = Cluster::start() else { return };
    assert_eq!(cluster.urls().split(',').count(), 3);
    assert!(cluster.meta_leader() < SERVERS);
    eventually(&cluster, |client| client.create_stream(3));
    assert_eq!(eventually(&cluster, |client| client.append("one")), 1);

    let leader = cluster.leader_of("LOG");
    cluster.server(leader).kill();
    assert_ne!(cluster.leader_of("LOG"), leader);
    assert_eq!(eventually(&cluster, |client| client.append("two")), 2);
    cluster.server(leader).restart();
    cluster.await_ready();

    cluster.kill_all();
    assert!((0..SERVERS).all(|index| cluster.server(index).pid().is_none()));
    cluster.restart_all();
    let leader = cluster.leader_of("LOG");
    eventually(&cluster, |client| (client.messages() == Some(2)).then_some(()));

    cluster.server(leader).pause();
    assert_ne!(cluster.leader_of("LOG"), leader);
    assert_eq!(eventually(&cluster, |client| client.append("three")), 3);
    cluster.server(leader).resume();
    cluster.await_ready();
}

#[test]
fn a_fake_server_has_the_version_it_is_given() {
    let fake = FakeServer::with_version("2.9.10");
    let address = fake.url().strip_prefix("nats://").unwrap().parse().unwrap();
    let mut client = Client::connect(address, "", PATIENCE).unwrap();
    assert_eq!(client.info["version"], "2.9.10");
    client.send("PING\r\n");
    assert_eq!(line(&mut client.reader).unwrap(), "PONG");
    drop(fake);
    // A process that another test is just starting may hold the listener for a moment, but nobody greets.
    let greeted = TcpStream::connect(address).map_or(0, |mut late| late.read(&mut [0]).unwrap_or(0));
    assert_eq!(greeted, 0);
}
