//! The whole node on this domain, end to end: the program of `src/main.rs` and nothing of the kernel changed.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};

/// Runs the program to its end in `dir`; its exit code, and its answer or its error as JSON.
fn run(dir: &Path, line: &[&str]) -> (i32, Json) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaoschain-escrow"));
    let output = command.current_dir(dir).args(line).arg("--json").output().unwrap();
    let said = if output.status.success() { output.stdout } else { output.stderr };
    let said = String::from_utf8(said).unwrap();
    let json = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{line:?}: {error}: {said}"));
    (output.status.code().unwrap(), json)
}

/// Runs what must succeed.
fn done(dir: &Path, line: &[&str]) -> Json {
    let (exit, answer) = run(dir, line);
    assert_eq!(exit, 0, "{line:?}: {answer}");
    answer
}

/// Runs what must be refused; the code that says why.
fn refused(dir: &Path, line: &[&str]) -> String {
    let (exit, error) = run(dir, line);
    assert_eq!(exit, 1, "{line:?}: {error}");
    error["code"].as_str().unwrap().to_owned()
}

fn text(answer: &Json, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

fn submit<'a>(kind: &'a str, payload: &'a str, key: &'a str) -> [&'a str; 6] {
    ["submit", kind, "--json-body", payload, "--key", key]
}

/// A node of its own process on `dir`'s chain; killed when dropped.
struct Node {
    process: Child,
    url: String,
}

impl Node {
    fn up(dir: &Path) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_chaoschain-escrow"))
            .current_dir(dir)
            .args("up --dir chain --listen 127.0.0.1:0 --ready-file ready.json --log-level warn".split(' '))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut node = Self { process, url: String::new() };
        // It stands whole or not at all once the node serves; a node that ends before does not come up any more.
        while node.url.is_empty() {
            if let Ok(ready) = std::fs::read(dir.join("ready.json")) {
                node.url = text(&serde_json::from_slice(&ready).unwrap(), "address");
            } else {
                assert_eq!(node.process.try_wait().unwrap(), None, "the node ended before it served");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn an_escrow_from_genesis_to_a_proof() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let [ana, bob] = ["ana.key", "bob.key"].map(|key| text(&done(dir, &["key", "new", key]), "account"));
    let parameters = json!({ "domain": { "grants": [{ "account": ana, "amount": 100 }] } });
    std::fs::write(dir.join("parameters.json"), parameters.to_string()).unwrap();
    let made = done(dir, &["init", "--dir", "chain", "--parameters", "parameters.json"]);
    assert_eq!(made["domain"], "escrow");
    done(dir, &["trust", "--dir", "chain", "--out", "chain.trust"]);

    let node = Node::up(dir);
    let there = ["--node", &node.url];
    let done_there = |line: &[&str]| done(dir, &[line, &there].concat());
    let refused_there = |line: &[&str]| refused(dir, &[line, &there].concat());
    let open =
        |amount: u64| json!({ "payee": bob, "amount": amount, "duration": 3_600_000_000_u64 }).to_string();

    assert_eq!(refused_there(&submit("Open", &open(30), "ana.key")), "account_unknown");
    for key in ["ana.key", "bob.key"] {
        done_there(&submit("AccountRegistration", "{}", key));
    }
    assert_eq!(refused_there(&submit("Open", &open(101), "ana.key")), "funds_short");
    let escrow = text(&done_there(&submit("Open", &open(30), "ana.key")), "id");
    let settle = json!({ "escrow": escrow }).to_string();
    assert_eq!(refused_there(&submit("Release", &settle, "bob.key")), "not_payer");
    assert_eq!(done_there(&["get", "balance", &bob])["value"]["amount"], 0);
    let released = done_there(&submit("Release", &settle, "ana.key"));
    assert_eq!(refused_there(&submit("Refund", &settle, "bob.key")), "not_held");

    assert_eq!(done_there(&["get", "balance", &ana])["value"]["amount"], 70);
    assert_eq!(done_there(&["get", "balance", &bob, "--proof", "balance.proof"])["value"]["amount"], 30);
    let answer = done_there(&["get", "escrow", &escrow, "--proof", "escrow.proof"]);
    assert_eq!(answer["value"]["escrow"]["state"], "Released");
    let totals = done_there(&["get", "totals"]);
    assert_eq!(totals["value"][0], json!({ "state": "Held", "count": 0, "amount": "0" }));
    assert_eq!(totals["value"][1], json!({ "state": "Released", "count": 1, "amount": "30" }));

    // Killed, not stopped: what was acknowledged is there again, read models too, and proofs need no node.
    let at = node.url.clone();
    drop(node);
    assert_eq!(run(dir, &["get", "totals", "--node", &at]).0, 3, "the node is gone");
    let verify = |proof| ["verify", "proof", proof, "--trust", "chain.trust"];
    let verified = done(dir, &verify("escrow.proof"));
    assert_eq!((&verified["verified"], &verified["answer"]), (&json!(true), &answer["value"]));
    assert_eq!(verified["at"]["header_hash"], released["header_hash"]);
    assert_eq!(done(dir, &verify("balance.proof"))["answer"]["amount"], 30);
    let mut forged = std::fs::read(dir.join("escrow.proof")).unwrap();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    std::fs::write(dir.join("forged.proof"), forged).unwrap();
    assert_eq!(run(dir, &verify("forged.proof")).0, 1);

    std::fs::remove_file(dir.join("ready.json")).unwrap();
    let node = Node::up(dir);
    let again = done(dir, &["get", "totals", "--node", &node.url]);
    assert_eq!((&again["value"], &again["at"]), (&totals["value"], &totals["at"]));
}

/// Nobody submits anything after the opening: the node sees to it that block time goes on.
#[test]
fn an_escrow_that_is_forgotten_goes_back() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let [ana, bob] = ["ana.key", "bob.key"].map(|key| text(&done(dir, &["key", "new", key]), "account"));
    let parameters = json!({ "domain": { "grants": [{ "account": ana, "amount": 100 }] } });
    std::fs::write(dir.join("parameters.json"), parameters.to_string()).unwrap();
    done(dir, &["init", "--dir", "chain", "--parameters", "parameters.json"]);
    let node = Node::up(dir);
    let there = ["--node", &node.url];
    let done_there = |line: &[&str]| done(dir, &[line, &there].concat());
    for key in ["ana.key", "bob.key"] {
        done_there(&submit("AccountRegistration", "{}", key));
    }
    let open = json!({ "payee": bob, "amount": 30, "duration": 200_000 }).to_string();
    let opened = done_there(&submit("Open", &open, "ana.key"));
    let answer = loop {
        let answer = done_there(&["get", "balance", &ana]);
        if answer["value"]["amount"] == 100 {
            break answer;
        }
        assert_eq!(answer["value"]["amount"], 70);
        std::thread::sleep(Duration::from_millis(20));
    };
    let next = opened["height"].as_u64().unwrap() + 1;
    assert_eq!(answer["at"]["height"], next, "one block of no events");
    assert_eq!(done_there(&["get", "escrow", &text(&opened, "id")])["value"]["escrow"]["state"], "Refunded");
}

#[test]
fn what_is_the_societys_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    std::fs::write(dir.join("ratings.csv"), "1,2,5,1000\n").unwrap();
    assert_eq!(refused(dir, &["import", "ratings.csv", "--into", "ratings"]), "domain_wrong");
    assert!(!dir.join("ratings").exists());

    // A directory says whose it is in chain.toml, and its log says so again.
    done(dir, &["init", "--dir", "chain"]);
    let toml = dir.join("chain").join("chain.toml");
    let said = std::fs::read_to_string(&toml).unwrap();
    assert!(said.contains("\"escrow\""), "{said}");
    std::fs::write(&toml, said.replace("\"escrow\"", "\"society\"")).unwrap();
    for command in ["up", "doctor"] {
        assert_eq!(refused(dir, &[command, "--dir", "chain"]), "domain_wrong", "{command}");
    }
}
