//! Two histories by one key: who has followed the one refuses the other, goes on to serve what it has, and writes evidence
//! that convinces whoever trusts that key, offline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chaoschain_events::nats::Subjects;
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::society::ReputationUpdate;
use chaoschain_schemas::{AccountId, Fixed, Hash, Height};
use chaoschain_test_support::nats::Server;

use crate::harness::network::{Network, Shape};
use crate::harness::{Author, Node, PATIENCE, json, run};

/// Seals one block: `author` rates `subject`.
fn rate(node: &Node, author: &mut Author, subject: AccountId, rating: i64) -> Receipt {
    let rating = ReputationUpdate { subject, rating: Fixed::from_millionths(rating) };
    node.accepted(&[author.sign(&rating).1])[0]
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// Starts `to` on a copy of what `from` has stored.
fn give_store(from: &Server, to: &Server) {
    to.stop();
    std::fs::remove_dir_all(to.store_dir()).ok();
    copy_dir(from.store_dir(), to.store_dir());
    to.restart();
}

/// The one proof of a fork that a node has written.
fn proof_in(dir: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(dir.join("state")).unwrap().map(|file| file.unwrap().path());
    let mut proofs = files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("fork-"));
    let proof = proofs.next();
    assert_eq!(proofs.next(), None);
    proof
}

/// Header hashes by height.
type History = BTreeMap<Height, Hash>;

fn history(receipts: &[Receipt]) -> History {
    receipts.iter().map(|receipt| (receipt.height, receipt.header_hash)).collect()
}

/// That the evidence convinces who trusts the key, and nobody else.
fn convinces(proof: &Path, trust: &Path, ours: &History, theirs: &History) {
    let shown = json(&["verify", "evidence", text(proof), "--trust", text(trust)]);
    assert_eq!((&shown["verified"], &shown["evidence"]), (&true.into(), &"fork".into()), "{shown}");
    let height = Height(shown["height"].as_u64().unwrap());
    for (side, history) in [("ours", ours), ("theirs", theirs)] {
        let side = &shown[side];
        assert_eq!(side["header_hash"], history[&height].to_string(), "{shown}");
        assert_eq!(side["trusted_producer"], true, "{shown}");
    }

    let stranger = trust.with_extension("stranger");
    let trusted = std::fs::read_to_string(trust).unwrap();
    let of_another: Vec<_> = trusted
        .lines()
        .take_while(|line| !line.starts_with("[["))
        .map(|line| match line.split_once(" = ") {
            Some(("producers", _)) => format!("producers = [\"{}\"]", "11".repeat(32)),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&stranger, of_another.join("\n")).unwrap();
    let changed = proof.with_extension("changed");
    let mut bytes = std::fs::read(proof).unwrap();
    // Into the last signature.
    let at = bytes.len() - 16;
    bytes[at] ^= 1;
    std::fs::write(&changed, bytes).unwrap();
    for (line, code) in [
        (&["verify", "proof", text(proof)][..], "trust_missing"),
        (&["verify", "proof", text(proof), "--trust", text(&stranger)], "evidence_untrusted"),
        (&["verify", "proof", text(&changed), "--trust", text(trust)], "header_signature_invalid"),
    ] {
        let said = run(line);
        let error = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(1), "{line:?}: {error}");
        assert!(error.starts_with(&format!("error[{code}]: ")), "{line:?}: {error}");
    }
}

#[test]
fn a_fork_by_the_same_key_is_refused_and_proven() {
    let Some(server) = Server::start() else { return };
    let shape = Shape { commands: 1, queries: 2, validators: 0, replicas: 1 };
    let network = Network::new(&server.url(), shape);
    let (mut ana, mut bob) = (Author::new(network.chain, 1), Author::new(network.chain, 2));
    let command = network.commands[0].up();
    command.accepted(&[ana.register().1, bob.register().1]);
    command.stop();

    // A copy of the producer, key and all, goes on from there on a copy of the log.
    let (original, copy) = (&network.commands[0].dir, network.home.path().join("copy"));
    copy_dir(original, &copy);
    let Some(elsewhere) = Server::start() else { return };
    server.stop();
    give_store(&server, &elsewhere);
    server.restart();
    let forger = Node::up_with(&copy, &["--role", "command,query", "--log", &elsewhere.url()]);
    // Longer than the chain will be, so that a reader cannot take it for a log that lost its end.
    let theirs: Vec<_> = (1..=6).map(|rating| rate(&forger, &mut bob, ana.id, rating)).collect();
    let theirs = history(&theirs);
    let block = network.home.path().join("fork.block");
    json(&["get", "block", "2", "--raw", text(&block), "--node", &forger.url]);
    forger.stop();

    let command = network.commands[0].up();
    let first = rate(&command, &mut ana, bob.id, 30);
    // In the chain's own log the fork is no history, for it comes too late.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let nats = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let late = std::fs::read(&block).unwrap();
        nats.publish(Subjects::of(network.chain).block(), late.into()).await.unwrap().await.unwrap();
    });
    let ours = history(&[first, rate(&command, &mut ana, bob.id, 40)]);
    let head = *ours.keys().last().unwrap();
    let readers = [&network.queries[0], &network.queries[1]].map(|reader| (reader, reader.up()));
    for (_, node) in &readers {
        node.root_at_least(head.0);
        let (_, status) = node.get("/v1/node");
        let skipped = status["projection"]["skipped"].as_object().unwrap();
        assert_eq!(skipped.values().filter_map(serde_json::Value::as_u64).sum::<u64>(), 1, "{status}");
    }
    command.stop();
    let trust = network.home.path().join("chain.trust");
    json(&["trust", "--dir", text(original), "--out", text(&trust)]);
    let [(started, at_start), (running, meanwhile)] = readers;

    // One is started on the other log.
    at_start.stop();
    let other = ["--role", "query", "--log", &elsewhere.url()];
    let Err((exit, said)) = Node::try_up_with(&started.dir, &other) else { panic!("it follows the fork") };
    assert_eq!(exit, Some(4), "{said}");
    assert!(said.contains("error[log_rewritten]: ") && said.contains("fork-"), "{said}");
    convinces(&proof_in(&started.dir).unwrap(), &trust, &ours, &theirs);
    let restore = ["log", "restore", "--dir", text(&started.dir), "--log", &elsewhere.url(), "--apply"];
    let refused = run(&restore);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("error[restore_differs]: "), "{said}");

    // Under the other the log is replaced while it runs.
    let root = meanwhile.root();
    elsewhere.stop();
    give_store(&elsewhere, &server);
    let since = Instant::now();
    // It stops first, then looks into the log, and names what it has written last.
    loop {
        let (_, node) = meanwhile.get("/v1/node");
        if node["projection"]["condition"]["evidence"].is_string() && proof_in(&running.dir).is_some() {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "the fork was not noticed: {node}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, ready) = meanwhile.get("/readyz");
    assert_eq!(status, 503, "{ready}");
    assert_eq!((&ready["code"], &ready["reads"]), (&"log_replaced".into(), &"degraded".into()), "{ready}");
    let proof = proof_in(&running.dir).unwrap();
    assert_eq!(meanwhile.root(), root, "it goes on to serve what it has");
    meanwhile.stop();
    convinces(&proof, &trust, &ours, &theirs);
}
