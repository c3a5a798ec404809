//! Key files: modes, passphrases, rotation.

use crate::support::{Bench, mode};

#[test]
fn keys_under_a_passphrase() {
    let bench = Bench::new();
    let right = [("CHAOSCHAIN_PASSPHRASE", "correct horse")];
    let wrong = [("CHAOSCHAIN_PASSPHRASE", "battery staple")];
    assert_eq!(bench.run_with(&["key", "new", "ana.key", "--passphrase"], &right).code, 0);
    assert_eq!(mode(&bench.path("ana.key")), 0o600);
    let shown = bench.json(&["key", "show", "ana.key"]);
    assert_eq!(shown["passphrase"], true);
    bench.json(&["init", "--dir", "d"]);
    let node = bench.up("d");
    let submit = [
        "submit",
        "AgentRegistration",
        "--field",
        "personality=Neutral",
        "--key",
        "ana.key",
        "--node",
        &node.url,
    ];
    insta::assert_snapshot!(bench.fails_with(&submit, &wrong), @r"
    exit 1
    error[passphrase_wrong]: the passphrase does not open ana.key, or the file was changed
    ");
    assert_eq!(bench.run_with(&submit, &right).code, 0);
    node.stop();
}

#[test]
fn a_rotated_key_signs_for_its_account() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    let node = bench.up("d");
    let on = |line: &[&str]| bench.json(&[line, &["--node", &node.url]].concat());
    let old = bench.json(&["key", "new", "old.key"]);
    let account = old["account"].as_str().unwrap();
    let new = bench.json(&["key", "new", "new.key", "--account", account]);
    on(&["submit", "AgentRegistration", "--field", "personality=Neutral", "--key", "old.key"]);
    let field = format!("new_key={}", new["public_key"].as_str().unwrap());
    on(&["submit", "KeyRotation", "--field", &field, "--key", "old.key", "--cosign", "new.key"]);
    let status = [
        "submit",
        "StatusUpdate",
        "--field",
        "status=Inactive",
        "--field",
        "reason=rest",
        "--node",
        &node.url,
    ];
    let failed = bench.fails(&[&status[..], &["--key", "old.key"]].concat());
    assert!(failed.starts_with("exit 1\nerror[key_wrong]"), "{failed}");
    assert_eq!(bench.run(&[&status[..], &["--key", "new.key"]].concat()).code, 0);
}

#[test]
fn a_node_whose_key_has_a_passphrase_asks_for_it() {
    let bench = Bench::new();
    let right = [("CHAOSCHAIN_PASSPHRASE", "correct horse")];
    assert_eq!(bench.run_with(&["init", "--dir", "d", "--passphrase"], &right).code, 0);
    let failed = bench.fails_with(&["up", "--dir", "d"], &[("CHAOSCHAIN_PASSPHRASE", "no")]);
    assert!(failed.starts_with("exit 1\nerror[passphrase_wrong]"), "{failed}");
}
