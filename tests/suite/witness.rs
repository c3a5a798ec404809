//! Blocks of a running node, checked by somebody who has a trust file and witnesses, and no state.

use std::path::Path;

use crate::harness::{Author, Node, json, run};

fn fetch(node: &Node, height: u64, into: &Path) -> serde_json::Value {
    let height = height.to_string();
    let line = ["get", "witness", &height, "--out", into.to_str().unwrap(), "--node", &node.url];
    json(&line)
}

#[test]
fn every_block_in_the_window_is_checked_offline() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("node");
    json(&["init", "--dir", home.to_str().unwrap(), "--name", "witnessed"]);
    let trust = dir.path().join("trust.json");
    let told = json(&["trust", "--dir", home.to_str().unwrap()]);
    std::fs::write(&trust, told.to_string()).unwrap();
    let node = Node::up(&home);
    for number in 0..6 {
        let mut author = Author::new(node.chain, number);
        let (_, envelope) = author.register();
        node.accepted(&[envelope]);
    }
    let (newest, root) = node.root();
    assert!(newest >= 1, "{newest}");
    // A directory that never had a node in it.
    let fresh = dir.path().join("auditor");
    std::fs::create_dir(&fresh).unwrap();
    let verify = |file: &Path| {
        run(&["verify", "block", file.to_str().unwrap(), "--trust", trust.to_str().unwrap(), "--json"])
    };
    let mut checked = Vec::new();
    for height in 1..=newest {
        let file = fresh.join(format!("{height}.witness"));
        fetch(&node, height, &file);
        let output = verify(&file);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verified["level"], "re-execution with the rules in force");
        assert_eq!((&verified["at"]["height"], verified["verified"].as_bool()), (&height.into(), Some(true)));
        checked.push(verified);
    }
    // Each follows from the one before, so together they are the chain.
    for pair in checked.windows(2) {
        assert_eq!(pair[1]["parent"]["at"]["header_hash"], pair[0]["at"]["header_hash"]);
    }
    assert_eq!(checked.last().unwrap()["at"]["state_root"], *root);

    // Who mixes up the two kinds of file is told.
    let (file, proof) = (fresh.join("1.witness"), fresh.join("root.proof"));
    json(&["get", "validators", "--proof", proof.to_str().unwrap(), "--node", &node.url]);
    for (command, file) in [("proof", &file), ("block", &proof)] {
        let line = ["verify", command, file.to_str().unwrap(), "--trust", trust.to_str().unwrap(), "--json"];
        let mixed_up = run(&line);
        let told = String::from_utf8_lossy(&mixed_up.stderr);
        assert!(mixed_up.status.code() == Some(2) && told.contains("file_of_another_kind"), "{told}");
    }

    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(verify(&file).status.code(), Some(1));
    let beyond = (newest + 1_000).to_string();
    let refused =
        run(&["get", "witness", &beyond, "--out", file.to_str().unwrap(), "--node", &node.url, "--json"]);
    assert!(!refused.status.success());
    node.stop();

    // A node that was restarted has only the state that it stored.
    let node = Node::up(&home);
    let (status, answer) = node.get("/v1/blocks/1/witness");
    assert_eq!((status, answer["code"].as_str()), (410, Some("outside_window")));
    assert!(
        answer["message"].as_str().unwrap().contains("a node has none before it folds blocks"),
        "{answer}"
    );
    node.stop();
}
