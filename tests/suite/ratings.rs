//! A real trust network, imported: the same blocks and the same root, however it is folded.

use std::path::Path;

use chaoschain_test_support::nats::{Cluster, Server};
use serde_json::Value as Json;

use crate::harness::{Node, json};

/// The file of real ratings, or nothing, said loudly.
fn ratings() -> Option<String> {
    let path = std::env::var("CHAOSCHAIN_RATINGS").unwrap_or_default();
    if path.is_empty() {
        eprintln!(
            "SKIPPED: CHAOSCHAIN_RATINGS names no file of ratings (CSV), so no real network is imported"
        );
        return None;
    }
    Some(path)
}

fn import(file: &str, into: &Path) -> Json {
    import_onto(file, into, &["--log", "embedded"])
}

fn import_onto(file: &str, into: &Path, log: &[&str]) -> Json {
    json(&[&["import", file, "--into", into.to_str().unwrap(), "--seed", "suite"], log].concat())
}

/// Two replicas of the chain on the servers at `url`: where each comes to.
fn replicas(dir: &Path, url: &str, imported: &Json) -> Vec<(u64, String)> {
    let up = |name| {
        let dir = dir.join(name);
        let chain = imported["chain"].as_str().unwrap();
        json(&["join", "--dir", dir.to_str().unwrap(), "--chain", chain, "--log", url]);
        Node::up_with(&dir, &["--role", "query"])
    };
    let nodes = [up("replica-one"), up("replica-two")];
    let height = imported["height"].as_u64().unwrap();
    nodes.iter().map(|node| node.root_at_least(height)).collect()
}

#[test]
fn every_home_of_the_log_gives_one_root() {
    let Some(file) = ratings() else { return };
    let (Some(server), Some(cluster)) = (Server::start(), Cluster::start()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let embedded = import(&file, &dir.path().join("embedded"));
    let root = embedded["state_root"].as_str().unwrap();
    for (name, url, copies) in [("r1", server.url(), "1"), ("r3", cluster.urls(), "3")] {
        let home = dir.path().join(name);
        std::fs::create_dir(&home).unwrap();
        let imported = import_onto(&file, &home.join("node"), &["--log", &url, "--replicas", copies]);
        for what in ["chain", "height", "header_hash", "state_root"] {
            assert_eq!(imported[what], embedded[what], "{name}: {what}");
        }
        for (height, replica) in replicas(&home, &url, &imported) {
            assert_eq!((height, &*replica), (embedded["height"].as_u64().unwrap(), root), "{name}");
        }
    }
}

#[test]
fn imports_and_replays_agree() {
    let Some(file) = ratings() else { return };
    let dir = tempfile::tempdir().unwrap();
    let first = import(&file, &dir.path().join("a"));
    let second = import(&file, &dir.path().join("b"));
    for what in ["chain", "height", "header_hash", "state_root"] {
        assert_eq!(first[what], second[what], "{what}");
    }
    let rows = std::fs::read_to_string(&file).unwrap().lines().count() as u64 - 1;
    let imported = first["ratings"].as_u64().unwrap() + first["skipped_self_ratings"].as_u64().unwrap();
    assert_eq!(imported, rows, "every row is a rating or is counted as skipped");
    let from = dir.path().join("a");
    for (batch, threads) in [("1", "1"), ("1", "2"), ("1000", "1"), ("1000", "2")] {
        let into = dir.path().join(format!("replay-{batch}-{threads}"));
        let line = ["replay", "--from", from.to_str().unwrap(), "--into", into.to_str().unwrap()];
        let replayed = json(&[&line[..], &["--batch", batch, "--threads", threads]].concat());
        assert_eq!(replayed["state_root"], first["state_root"], "batch {batch}, threads {threads}");
        assert_eq!(replayed["header_hash"], first["header_hash"], "batch {batch}, threads {threads}");
    }
}
