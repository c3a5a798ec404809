//! A client in Python written from the documents and the vectors: it can work a node, and checks all that it answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use chaoschain_test_support::{nats, python};
use serde_json::Value as Json;

use crate::harness::{self, Node};

/// Runs a script of the client to its end; the JSON it prints. `None` where there is no Python for it.
fn client(script: &str, arguments: &[&str]) -> Option<Json> {
    let interpreter = python::with_requirements(include_str!("../client/requirements.txt"))?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("client");
    // Nothing is written beside the sources.
    let output =
        Command::new(interpreter).arg("-B").arg(folder.join(script)).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {arguments:?}: {out}{err}");
    Some(serde_json::from_str(&out).unwrap_or_else(|error| panic!("{script}: {error}: {out}")))
}

/// A new chain of one producer, who is its validator too, where agents may vote at once; and the trust file for it.
fn chain(dir: &Path, log: &str) -> (PathBuf, PathBuf) {
    let (data, trust, parameters) = (dir.join("chain"), dir.join("trust.json"), dir.join("parameters.json"));
    std::fs::write(&parameters, r#"{"domain": {"elector_age_min": 0}}"#).unwrap();
    let (made, parameters) = (data.to_str().unwrap(), parameters.to_str().unwrap());
    harness::json(&["init", "--name", "client", "--log", log, "--parameters", parameters, "--dir", made]);
    harness::json(&["trust", "--dir", made, "--out", trust.to_str().unwrap()]);
    (data, trust)
}

/// Lets the client work a node, over HTTP and perhaps NATS, and looks at what it says it has checked.
fn work(node: &Node, trust: &Path, nats: &[&str]) {
    let line = ["--node", &node.url, "--trust", trust.to_str().unwrap(), "--final"];
    let Some(counts) = client("run.py", &[&line[..], nats].concat()) else { return };
    let expected = [
        ("accepted", 36),
        ("refused", 59),
        ("reads", 69),
        ("absent", 14),
        ("ranges", 2),
        ("events", 72),
        ("final", 6),
    ];
    for (what, count) in expected {
        assert_eq!(counts[what], count, "{what}: {counts}");
    }
    // A few mutations leave the bytes as they were.
    assert!(counts["mutations"].as_u64().unwrap() > 380, "{counts}");
    let blocks = counts["blocks"].as_u64().unwrap();
    assert!(blocks > 10, "{counts}");
    // Genesis has no state before it.
    assert_eq!(counts["witnesses"], blocks - 1, "{counts}");
}

/// Every vector of a file was held against the client, and so were the examples of the society's document.
#[test]
fn the_vectors_hold() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden");
    let Some(counts) = client("vectors.py", &[golden.to_str().unwrap()]) else { return };
    for entry in std::fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "openapi.json" {
            continue;
        }
        let vectors: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        // merkle.json is an object of several lists.
        let least = vectors.as_array().map_or(1, Vec::len) as u64;
        assert!(counts[name].as_u64().unwrap_or(0) >= least, "{name}: {counts}");
    }
    assert_eq!(counts["domain.md"], 10, "{counts}");
    let formulas: Json = serde_json::from_str(include_str!("../../society/golden/formulas.json")).unwrap();
    assert_eq!(counts["formulas.json"], formulas.as_array().unwrap().len(), "{counts}");
}

#[test]
fn it_works_a_node_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let (data, trust) = chain(dir.path(), "embedded");
    work(&Node::up(&data), &trust, &[]);
}

#[test]
fn it_works_a_node_over_nats() {
    let Some(server) = nats::Server::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (data, trust) = chain(dir.path(), &server.url());
    work(&Node::up(&data), &trust, &["--nats", &server.url()]);
}
