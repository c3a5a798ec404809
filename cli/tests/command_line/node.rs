//! A chain from `init` to a verified proof, its end and its new start.

use chaoschain_schemas::{Fixed, Hash};
use serde_json::{Value as Json, json};

use crate::support::{Bench, mode};

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{name} in {json}"))
}

#[test]
fn the_main_job_end_to_end() {
    let bench = Bench::new();
    let made = bench.json(&["init", "--dir", "d", "--name", "demo"]);
    let node = bench.up("d");
    assert_eq!(text(&node.ready, "chain"), text(&made, "chain"));
    let url = node.url.as_str();
    let on = |line: &[&str]| bench.json(&[line, &["--node", url]].concat());

    let ana = bench.json(&["key", "new", "ana.key"]);
    let bob = bench.json(&["key", "new", "bob.key"]);
    let (ana, bob) = (text(&ana, "account").to_owned(), text(&bob, "account").to_owned());
    on(&["submit", "AgentRegistration", "--field", "personality=Chaotic", "--key", "ana.key"]);
    on(&["submit", "AgentRegistration", "--json-body", r#"{"personality":"Lawful"}"#, "--key", "bob.key"]);
    let rate = ["submit", "ReputationUpdate", "--field", "rating=0.8", "--key", "ana.key"];
    let subject = format!("subject={bob}");
    let verdict = on(&[&rate[..], &["--field", &subject, "--dry-run"]].concat());
    assert_eq!(verdict["verdict"], "acceptable");
    let receipt = on(&[&rate[..], &["--field", &subject]].concat());

    let height = receipt["height"].to_string();
    let answer = on(&["get", "agent", &bob, "--min-height", &height, "--proof", "bob.proof"]);
    // 0.5 + 0.8 × 0.05 × 0.5
    assert_eq!(text(&answer["value"], "reputation"), "0.52".parse::<Fixed>().unwrap().to_string());
    on(&["get", "agent", text(&made, "producer"), "--proof", "none.proof"]);
    on(&["get", "event", text(&receipt, "id"), "--proof", "event.proof"]);
    on(&["get", "block", &height, "--raw", "rating.block"]);
    assert!(on(&["get", "relationship", &ana, &bob])["value"]["trust"].is_string());
    assert_eq!(on(&["get", "leaderboard"])["value"][0]["id"], bob.as_str());
    assert_eq!(on(&["status"])["projection"]["condition"]["state"], "following");
    assert!(on(&["get", "reads"])["value"]["reads"].is_array());

    bench.json(&["trust", "--dir", "d", "--out", "demo.trust"]);
    bench.json(&["trust", "--dir", "d", "--out", "demo.json"]);
    let verified = bench.json(&["verify", "proof", "bob.proof", "--trust", "demo.trust"]);
    assert_eq!(verified["answer"], answer["value"]);
    assert_eq!(text(&verified, "level"), "decoded by the domain's schema");
    assert!(verified["not_checked"].as_array().unwrap().len() >= 3);
    assert!(bench.json(&["verify", "proof", "none.proof", "--trust", "demo.json"])["answer"].is_null());
    let event = bench.json(&["verify", "proof", "event.proof", "--trust", "demo.trust"]);
    assert_eq!(text(&event["event"], "author"), ana);
    bench.json(&["verify", "block", "rating.block", "--trust", "demo.trust"]);

    let mut proof = std::fs::read(bench.path("bob.proof")).unwrap();
    let last = proof.len() - 1;
    proof[last] ^= 1;
    std::fs::write(bench.path("bent.proof"), proof).unwrap();
    assert!(bench.fails(&["verify", "proof", "bent.proof", "--trust", "demo.trust"]).starts_with("exit 1"));

    node.stop();
    let stored = bench.json(&["get", "root", "--dir", "d"]);
    assert_eq!(stored["value"]["height"], receipt["height"]);
    assert_eq!(bench.json(&["doctor", "--deep", "--dir", "d"])["healthy"], true);
    let again = bench.json(&["replay", "--from", "d", "--into", "again", "--batch", "1"]);
    assert_eq!(again["state_root"], stored["value"]["state_root"]);
}

/// What a killed node had acknowledged is there when it starts again.
#[test]
fn a_killed_node_goes_on() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    bench.json(&["key", "new", "ana.key"]);
    let node = bench.up("d");
    let submit = [
        "submit",
        "AgentRegistration",
        "--field",
        "personality=Greedy",
        "--key",
        "ana.key",
        "--node",
        &node.url,
    ];
    let receipt = bench.json(&submit);
    node.kill();
    let event = bench.json(&["get", "event", text(&receipt, "id"), "--dir", "d"]);
    assert_eq!(event["value"]["receipt"], receipt);
    let node = bench.up("d");
    assert_eq!(node.ready["height"], receipt["height"]);
    node.stop();
}

#[test]
fn one_process_works_on_a_directory() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    let node = bench.up("d");
    for line in [
        &["up", "--dir", "d"][..],
        &["get", "root", "--dir", "d"],
        &["doctor", "--dir", "d"],
        &["status", "--dir", "d"],
    ] {
        let failed = bench.fails(line);
        assert!(failed.starts_with("exit 3\nerror[log_locked]: d/log is in use by process "), "{failed}");
    }
    node.stop();
    assert_eq!(bench.run(&["doctor", "--dir", "d"]).code, 0);
}

#[test]
fn files_are_their_owners_alone() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    bench.up("d").stop();
    for (name, expected) in [
        ("d", 0o700),
        ("d/keys", 0o700),
        ("d/log", 0o700),
        ("d/state", 0o700),
        ("d/chain.toml", 0o600),
        ("d/keys/producer.key", 0o600),
        ("d/state/projection.redb", 0o600),
        ("d/log/00000000000000000001.log", 0o600),
    ] {
        assert_eq!(mode(&bench.path(name)), expected, "{name}");
    }
    std::fs::set_permissions(bench.path("d/chain.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    insta::assert_snapshot!(bench.fails(&["doctor", "--dir", "d"]), @r"
    exit 1
    error[file_open_to_others]: d is not well: d/chain.toml can be used by others, and 0 more
      hint: chmod -R go-rwx d
    ");
}

/// Whoever looks at a stopped node learns that its log has lost what was folded, and no plan says otherwise.
#[test]
fn a_log_that_was_lost_is_noticed_by_whoever_looks() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    std::fs::create_dir(bench.path("backup")).unwrap();
    let segment = "00000000000000000001.log";
    std::fs::copy(bench.path("d/log").join(segment), bench.path("backup").join(segment)).unwrap();
    bench.json(&["key", "new", "ana.key"]);
    let node = bench.up("d");
    let register = ["submit", "AgentRegistration", "--field", "personality=Lawful", "--key", "ana.key"];
    bench.json(&[&register[..], &["--node", &node.url]].concat());
    node.stop();
    let whole = bench.json(&["status", "--dir", "d"]);
    assert_eq!((&whole["log"]["tip"], &whole["evidence"]), (&2.into(), &json!([])));
    for gone in ["d/log", "d/attestations"] {
        std::fs::remove_dir_all(bench.path(gone)).unwrap();
    }
    let commands =
        [&["status", "--dir", "d"][..], &["doctor", "--dir", "d"], &["resync", "--dir", "d", "--dry-run"]];
    for line in commands {
        let told = bench.fails(line);
        assert!(told.starts_with("exit 4\nerror[log_missing]"), "{line:?}: {told}");
    }
    // As if from a backup that is too old: the same chain, and less of it.
    std::fs::rename(bench.path("backup"), bench.path("d/log")).unwrap();
    for line in commands {
        let told = bench.fails(line);
        assert!(told.starts_with("exit 4\nerror[log_behind]"), "{line:?}: {told}");
        assert!(!bench.path("d/state.resync").exists());
    }
}

/// The same seed, time and name make the same chain.
#[test]
fn chains_can_be_made_again() {
    let bench = Bench::new();
    let line = |dir: &'static str| ["init", "--dir", dir, "--seed", "s", "--time", "1000000"];
    let (one, two) = (bench.json(&line("one")), bench.json(&line("two")));
    assert_eq!(one["chain"], two["chain"]);
    assert!(text(&one, "chain").parse::<Hash>().is_ok());
    bench.write("p.toml", "[kernel]\ntime_step_max = 3600000000\n");
    let other = bench.json(&[&line("three")[..], &["--parameters", "p.toml"]].concat());
    assert_ne!(one["chain"], other["chain"]);
}
