//! What an auditor trusts, and what `verify` makes of proofs and evidence by it.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::support::Bench;

/// The frozen proof files, by what they are about, and what is trusted for them.
fn golden(bench: &Bench) -> Json {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden/proof.json");
    let vectors: Vec<Json> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let named = |name: &str| {
        vectors
            .iter()
            .find(|vector| vector["name"].as_str().is_some_and(|known| known.starts_with(name)))
            .unwrap()
    };
    for (name, file) in [
        ("read: agent, final", "final.proof"),
        ("read: account", "read.proof"),
        ("equivocation", "equivocation.proof"),
        ("fork", "fork.proof"),
    ] {
        let bytes = hex::decode(named(name)["hex"].as_str().unwrap()).unwrap();
        std::fs::write(bench.path(file), bytes).unwrap();
    }
    named("what is trusted")["json"].clone()
}

#[test]
fn verify_says_who_vouches() {
    let bench = Bench::new();
    let all = golden(&bench);
    let validators_only = json!({ "chain": all["chain"], "validators": all["validators"] });
    let producers_only = json!({ "chain": all["chain"], "producers": all["producers"] });
    let header = bench.json(&{
        bench.write("all.json", &all.to_string());
        ["verify", "proof", "read.proof", "--trust", "all.json"]
    })["at"]["header_hash"]
        .clone();
    let pinned = json!({ "chain": all["chain"], "header": header });
    let elsewhere = json!({ "chain": all["chain"], "producers": all["producers"], "domain": "escrow" });
    let nothing = json!({ "chain": all["chain"] });
    let mut shown = String::new();
    for (trusted, trust) in [
        ("everybody", &all),
        ("validators", &validators_only),
        ("producers", &producers_only),
        ("one header", &pinned),
        ("another domain", &elsewhere),
        ("nothing", &nothing),
    ] {
        bench.write("trust.json", &trust.to_string());
        for file in ["final.proof", "read.proof", "equivocation.proof", "fork.proof"] {
            let line = ["verify", "evidence", file, "--trust", "trust.json"];
            let ran = bench.run(&line);
            let said = if ran.code == 0 {
                let verified = bench.json(&line);
                assert_eq!(verified["verified"], true);
                let by = &verified["agreement"];
                match verified["evidence"].as_str() {
                    Some(evidence) => format!("{evidence}, weight {}, agreement {by}", verified["weight"]),
                    None => format!("{by}, level {}", verified["level"]),
                }
            } else {
                bench
                    .fails(&line)
                    .lines()
                    .nth(1)
                    .unwrap_or_default()
                    .split(':')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            };
            writeln!(shown, "{trusted}: {file}: {said}").unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_verified_looks_so() {
    let bench = Bench::new();
    bench.write("all.json", &golden(&bench).to_string());
    let shown = ["final.proof", "equivocation.proof", "fork.proof"].map(|file| {
        let ran = bench.run(&["verify", "proof", file, "--trust", "all.json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        format!("verify proof {file}\n{}", ran.stdout)
    });
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn trust_is_written_from_a_directory_or_a_node() {
    let bench = Bench::new();
    let made = bench.json(&["init", "--dir", "d"]);
    let stopped = bench.json(&["trust", "--dir", "d"]);
    assert_eq!((&stopped["chain"], &stopped["domain"]), (&made["chain"], &json!("society")));
    let [validator] = &stopped["validators"].as_array().unwrap()[..] else { panic!("{stopped}") };
    assert_eq!((&validator["account"], &validator["weight"]), (&made["producer"], &json!(1)));
    assert_eq!(stopped["producers"], json!([validator["key"]]));

    let node = bench.up("d");
    let url = node.url.clone();
    assert_eq!(bench.json(&["trust", "--dir", "d", "--node", &url]), stopped);
    let word = bench.json(&["trust", "--node", &url, "--out", "node.trust"]);
    assert_eq!(word["trust"], stopped);
    assert!(word["note"].as_str().unwrap().contains("word"));
    // The file is read back as it was written.
    bench.json(&["get", "root", "--node", &url, "--proof", "root.proof"]);
    assert_eq!(bench.json(&["verify", "proof", "root.proof", "--trust", "node.trust"])["verified"], true);
    // Nobody to ask: the producer's key is in the directory, and that the validators are missing is said.
    let unasked = bench.run_with(
        &["--json", "trust", "--dir", "d", "--out", "alone.json"],
        &[("CHAOSCHAIN_NODE", "http://127.0.0.1:9")],
    );
    let unasked: Json = serde_json::from_str(&unasked.stdout).unwrap();
    assert_eq!(unasked["trust"]["producers"], stopped["producers"]);
    assert_eq!(unasked["trust"]["validators"], Json::Null);
    assert!(unasked["note"].as_str().unwrap().contains("--node"), "{unasked}");

    bench.json(&["init", "--dir", "other"]);
    assert!(bench.fails(&["trust", "--dir", "other", "--node", &url]).contains("chain_wrong"));
    node.stop();
}

/// Keys of producers that had been demoted were once written all the same, and those granted later were not.
#[test]
fn trust_is_in_whoever_may_seal_now() {
    let bench = Bench::new();
    let made = bench.json(&["init", "--dir", "d"]);
    let new = bench.json(&["key", "new", "new.key"]);
    let node = bench.up("d");
    let submit = |what: &[&str]| {
        bench.json(&[&["submit"], what, &["--node", &node.url]].concat())["height"].as_u64().unwrap()
    };
    let registration = ["AgentRegistration", "--field", "personality=Chaotic", "--key", "new.key"];
    let mut height = submit(&registration);
    let producer = made["producer"].as_str().unwrap();
    let grants = [(new["account"].as_str().unwrap(), "Producer", 0), (producer, "Validator", 1)];
    for (nth, (account, role, weight)) in grants.into_iter().enumerate() {
        // In force with the block after, which a rating that nobody needs makes.
        let grant = json!({
            "account": account, "role": role, "weight": weight, "sponsorships": 0, "at": height + 2,
        });
        submit(&["RoleGrant", "--json-body", &grant.to_string(), "--key", "d/keys/producer.key"]);
        let subject = format!("subject={producer}");
        let other: &[&str] = if nth == 0 {
            &["AgentRegistration", "--field", "personality=Lawful", "--key", "d/keys/producer.key"]
        } else {
            &["ReputationUpdate", "--field", "rating=0.5", "--field", &subject, "--key", "new.key"]
        };
        height = submit(other);
    }
    let word = bench.json(&["trust", "--dir", "d", "--node", &node.url, "--out", "node.trust"]);
    assert_eq!(word["trust"]["producers"], json!([]), "a node is asked for those of genesis alone");
    assert!(word["note"].as_str().unwrap().contains("made later"), "{word}");
    node.stop();
    let trust = bench.json(&["trust", "--dir", "d"]);
    assert_eq!(trust["producers"], json!([new["public_key"]]));
    assert_eq!(trust["validators"][0]["account"], made["producer"]);
}
