//! What goes wrong says what failed, on what, and what to do.

use crate::support::Bench;

/// Commands and how each fails.
fn transcript(cases: &[&[&str]], fails: impl Fn(&[&str]) -> String) -> String {
    let shown: Vec<String> =
        cases.iter().map(|line| format!("$ {}\n{}\n\n", line.join(" "), fails(line))).collect();
    shown.concat()
}

#[test]
fn errors_without_a_node() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    bench.json(&["key", "new", "ana.key"]);
    bench.write("junk", "junk");
    let nobody = "http://127.0.0.1:1";
    let cases: &[&[&str]] = &[
        &["init", "--dir", "d"],
        &["init", "--dir", "e", "--name", "no spaces"],
        &["init", "--dir", "e", "--parameters", "junk"],
        &["up", "--dir", "nowhere"],
        &["key", "new", "ana.key"],
        &["key", "show", "missing.key"],
        &["key", "show", "junk"],
        &["submit", "Nonsense", "--key", "ana.key"],
        &["submit", "StatusUpdate", "--field", "status=Asleep", "--key", "ana.key"],
        &["submit", "StatusUpdate", "--json-body", "{", "--key", "ana.key"],
        &[
            "submit",
            "CustomDelete",
            "--json-body",
            r#"{"namespace":"a","key":"b"}"#,
            "--key",
            "ana.key",
            "--expect",
            "agents",
        ],
        &["get", "nonsense"],
        &["get", "block"],
        &["get", "status", "--node", "https://example.org"],
        &["verify", "proof", "junk"],
        &["verify", "proof", "junk", "--trust", "junk"],
        &["replay", "--from", "nowhere", "--into", "e"],
        &["config", "show", "--config", "missing.toml"],
        &["config", "show", "--config", "junk"],
        &["import", "missing.csv", "--into", "e"],
        &["status", "--log-level", "=,="],
    ];
    let shown = transcript(cases, |line| bench.fails(line));
    insta::assert_snapshot!(shown);
    let refused = bench.fails(&["get", "status", "--node", nobody]);
    assert!(refused.starts_with("exit 3\nerror[node_unreachable]"), "{refused}");
    assert_eq!(bench.run(&["submit"]).code, 2);
}

#[test]
fn errors_of_a_node() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d", "--seed", "s"]);
    bench.json(&["key", "new", "ana.key", "--seed", "s", "--label", "ana"]);
    let node = bench.up("d");
    let on = |line: &[&str]| bench.fails(&[line, &["--node", &node.url]].concat());
    let zeros = "00".repeat(32);
    let rate = ["submit", "ReputationUpdate", "--field", "rating=0.5", "--key", "ana.key", "--field"];
    let subject = format!("subject={zeros}");
    let absent = ["get", "agent", &zeros];
    let cases: &[&[&str]] = &[
        &[&rate[..], &[&subject]].concat(),
        &[&rate[..], &[&subject, "--nonce", "7"]].concat(),
        &[
            "submit",
            "AgentRegistration",
            "--field",
            "personality=Neutral",
            "--key",
            "ana.key",
            "--expect",
            "agents/00=absent",
            "--nonce",
            "3",
        ],
        &absent,
        &["get", "agent", "xyz"],
        &["get", "block", "99"],
        &["get", "event", "0", "9"],
        &["get", "leaderboard", "--proof", "p"],
    ];
    let shown = transcript(cases, on);
    let root = node.ready["state_root"].as_str().unwrap();
    insta::assert_snapshot!(shown.replace(root, "ROOT"));
    let json = bench.run(&["--json", "get", "agent", &zeros, "--node", &node.url]);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(error["code"], "absent");
    assert!(error["message"].is_string() && error["hint"].is_string());
}
