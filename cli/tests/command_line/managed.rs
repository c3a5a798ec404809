//! A node with a nats-server of its own, which dies, is missed, is shared by nobody, and ends with the node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use chaoschain_test_support::nats;

use crate::support::{Bench, Node};

/// How long a process may take to start or to end before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

fn server() -> Option<String> {
    nats::binary().map(|path| path.to_str().unwrap().to_owned())
}

/// The pid of the server that runs in a data directory, once it has written its ports file: that may be after it listens.
fn server_pid(dir: &Path) -> u32 {
    let mut pid = None;
    until("the server writes its ports file", || {
        pid = written_pid(dir);
        pid.is_some()
    });
    pid.unwrap()
}

/// The pid in the name of a ports file.
fn written_pid(dir: &Path) -> Option<u32> {
    let name =
        |path: PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.rsplit_once('_')?.1.parse().ok());
    let entries = std::fs::read_dir(dir.join("nats")).unwrap();
    let mut ports = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "ports"));
    ports.find_map(name)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process has ended, even if nobody has waited for it.
#[cfg(target_os = "linux")]
fn has_ended(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state comes after the name, in which anything may stand.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

fn metric(node: &Node, name: &str) -> u64 {
    let (_, text) = node.get("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn a_server_that_dies_is_started_again() {
    let Some(server) = server() else { return };
    let bench = Bench::new();
    let with = ["--nats-server", server.as_str()];
    bench.json(&[&["init", "--dir", "d", "--log", "managed"], &with[..]].concat());
    let node = bench.up_with("d", &with);
    let submit = |key: &str| {
        bench.json(&["key", "new", key]);
        let line = ["submit", "AgentRegistration", "--field", "personality=Greedy", "--key", key];
        bench.json(&[&line[..], &["--node", &node.url]].concat())
    };
    assert_eq!(submit("ana.key")["height"], 1);
    // Nobody else gets at its files.
    let locked = bench.fails(&[&["status", "--dir", "d"], &with[..]].concat());
    assert!(locked.starts_with("exit 3\nerror[log_locked]: "), "{locked}");

    kill(server_pid(&bench.path("d")));
    until("the server is started again", || metric(&node, "chaoschain_log_server_restarts_total") >= 1);
    assert_eq!(submit("bob.key")["height"], 2);

    // The node is killed: its server ends with it, and nothing is lost.
    let pid = server_pid(&bench.path("d"));
    node.kill();
    #[cfg(target_os = "linux")]
    until("the server has ended", || has_ended(pid));
    let _ = pid;
    let node = bench.up_with("d", &with);
    assert_eq!(node.ready["height"], 2);
    let pid = server_pid(&bench.path("d"));
    node.stop();
    #[cfg(target_os = "linux")]
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a node that stops waits for its server");
    let _ = pid;
    let doctor = bench.json(&[&["doctor", "--deep", "--dir", "d"], &with[..]].concat());
    assert_eq!(doctor["healthy"], true, "{doctor}");
}

#[test]
fn a_server_that_is_missing_old_or_unwilling_is_named() {
    let bench = Bench::new();
    let init = |server: &str, more: &[&str]| {
        let line = ["init", "--dir", "d", "--log", "managed", "--nats-server", server];
        bench.fails(&[&line[..], more].concat())
    };
    let missing = init("nowhere", &[]);
    assert!(
        missing.starts_with("exit 2\nerror[nats_server_missing]: --nats-server names nowhere, "),
        "{missing}"
    );
    assert!(missing.contains("brew install nats-server"), "{missing}");
    // What is open for writing cannot be run, and a child that another test just starts would hold open what this process
    // writes; so another process writes it.
    let script = bench.write("old.sh", "#!/bin/sh\necho 'nats-server: v2.9.10'\n");
    let old = bench.path("nats-server");
    assert!(Command::new("install").args(["-m", "700"]).args([script, old]).status().unwrap().success());
    let refused = init("./nats-server", &[]);
    assert!(refused.starts_with("exit 1\nerror[nats_server_too_old]: "), "{refused}");
    assert!(refused.contains("is nats-server 2.9.10, which is too old: 2.10 is needed"), "{refused}");

    let Some(server) = server() else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    bench.write("c.toml", &format!("managed_port = {port}\n"));
    // What was refused so far has left nothing behind.
    assert!(!bench.path("d").exists());
    let unwilling = init(&server, &["--config", "c.toml"]);
    assert!(unwilling.starts_with("exit 3\nerror[nats_server_not_started]: "), "{unwilling}");
    assert!(unwilling.contains("address already in use"), "{unwilling}");
}
