//! The state of a node is replaced by one replayed from its log, wherever that is interrupted.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;

use crate::support::Bench;

/// A stopped node at height 2, with the two signs of a past that its state has: evidence, and a proof against a validator.
fn stopped() -> Bench {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    register(&bench, "d", &["ana.key", "bob.key"]);
    bench.write("d/state/evidence-3.json", "what was computed");
    bench.write("d/state/equivocation-x-1.proof", "a proof");
    bench
}

/// Registers new agents, each in a block of its own.
fn register(bench: &Bench, dir: &str, keys: &[&str]) {
    let node = bench.up(dir);
    for key in keys {
        bench.json(&["key", "new", key]);
        let register = ["submit", "AgentRegistration", "--field", "personality=Chaotic", "--key", key];
        bench.json(&[&register[..], &["--node", &node.url]].concat());
    }
    node.stop();
}

fn rename(bench: &Bench, from: &str, to: &str) {
    fs::rename(bench.path(from), bench.path(to)).unwrap();
}

/// A state that has been replayed, as it stands before it is put in its place.
fn replayed(bench: &Bench) {
    bench.json(&["replay", "--from", "d", "--into", "d/state.resync"]);
}

/// What has to be there when a resync is done, however it came to that.
fn check(bench: &Bench, done: &Json) {
    let aside = bench.path("d/state.diverged-2");
    let file = |name: &str| fs::read_to_string(aside.join(name)).unwrap();
    assert!(done["kept_as"].as_str().unwrap().ends_with("d/state.diverged-2"), "{done}");
    assert_eq!(file("evidence-3.json"), "what was computed");
    let evidence: Vec<PathBuf> = serde_json::from_value(done["evidence"].clone()).unwrap();
    assert!(evidence.iter().any(|path| path.ends_with("state.diverged-2/evidence-3.json")), "{done}");
    let report: Json = serde_json::from_str(&file("resync.json")).unwrap();
    assert_eq!((&report["stored"]["height"], &report["replayed"]["height"]), (&2.into(), &2.into()));
    assert!(aside.join("projection.redb").is_file() && !bench.path("d/state.resync").exists());
    assert!(bench.path("d/state/equivocation-x-1.proof").is_file(), "it counts no more while it is there");
    assert!(!bench.path("d/state/evidence-3.json").exists());
    assert_eq!(bench.json(&["get", "root", "--dir", "d"])["value"]["height"], 2);
}

#[test]
fn the_old_state_is_kept_with_its_evidence() {
    let bench = stopped();
    let planned = bench.json(&["resync", "--dir", "d", "--dry-run"]);
    assert_eq!((&planned["set_aside_already"], &planned["stored"]["height"]), (&false.into(), &2.into()));
    assert!(!bench.path("d/state.resync").exists());
    // What a replay with a wrong program has left in the state that it was making.
    replayed(&bench);
    bench.write("d/state.resync/evidence-3.json", "computed once more");
    let done = bench.json(&["resync", "--dir", "d"]);
    check(&bench, &done);
    let again = fs::read_to_string(bench.path("d/state.diverged-2/replay-evidence-3.json")).unwrap();
    assert_eq!(again, "computed once more");
    assert_eq!(done["evidence"].as_array().unwrap().len(), 2);
}

/// A node that opened the directory between the two renames would make an empty state, and forget who has equivocated.
#[test]
fn a_swap_that_was_interrupted_is_finished() {
    for reported in [false, true] {
        let bench = stopped();
        // One of long ago is not taken for it.
        fs::create_dir(bench.path("d/state.diverged-1")).unwrap();
        bench.write("d/state.diverged-1/resync.json", "{}");
        std::thread::sleep(std::time::Duration::from_millis(20));
        replayed(&bench);
        rename(&bench, "d/state", "d/state.diverged-2");
        if reported {
            bench.write("d/state.diverged-2/resync.json", "{}");
        }
        for line in [
            &["up", "--dir", "d", "--listen", "127.0.0.1:0"][..],
            &["status", "--dir", "d"],
            &["get", "root", "--dir", "d"],
            &["doctor", "--deep", "--dir", "d"],
        ] {
            let told = bench.fails(line);
            assert!(told.contains("resync_unfinished") || line[0] == "doctor", "{line:?}: {told}");
            assert!(!bench.path("d/state").exists(), "{line:?}");
        }
        let told = bench.fails(&["up", "--dir", "d"]);
        assert!(
            told.starts_with("exit 1\nerror[resync_unfinished]") && told.contains("chaoschain resync"),
            "{told}"
        );
        let planned = bench.json(&["resync", "--dir", "d", "--dry-run"]);
        assert_eq!((&planned["set_aside_already"], &planned["stored"]["height"]), (&true.into(), &2.into()));
        let done = bench.json(&["resync", "--dir", "d"]);
        check(&bench, &done);
    }
}

/// Before the first rename nothing has happened, after the second one everything has.
#[test]
fn on_either_side_of_the_swap_a_node_starts() {
    let bench = stopped();
    replayed(&bench);
    bench.up("d").stop();
    let done = bench.json(&["resync", "--dir", "d"]);
    bench.up("d").stop();
    check(&bench, &done);
}

/// The log of a backup that is older than the state.
#[test]
fn a_log_that_has_lost_its_end_is_not_adopted() {
    let bench = stopped();
    let files = fs::read_dir(bench.path("d/log")).unwrap().flatten().map(|entry| entry.path());
    let log = files.filter(|path| path.extension().is_some_and(|kind| kind == "log")).max().unwrap();
    let bytes = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(bytes - 1).unwrap();
    let told = bench.fails(&["resync", "--dir", "d"]);
    assert!(told.starts_with("exit 4\nerror[log_behind]"), "{told}");
    assert!(told.contains("log restore") && told.contains("nothing was changed"), "{told}");
    unchanged(&bench);
}

/// The log of a copy of the node that lived a life of its own.
#[test]
fn a_log_of_another_history_is_not_adopted() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    let copied = Command::new("cp").arg("-r").args([bench.path("d"), bench.path("e")]).status().unwrap();
    assert!(copied.success());
    register(&bench, "d", &["ana.key", "bob.key"]);
    bench.write("d/state/evidence-3.json", "what was computed");
    register(&bench, "e", &["eve.key"]);
    rename(&bench, "d/log", "d/log.right");
    rename(&bench, "e/log", "d/log");
    for more in [&[][..], &["ned.key", "ugo.key"]] {
        // First it is shorter than what is stored, then longer.
        if !more.is_empty() {
            rename(&bench, "d/log", "e/log");
            register(&bench, "e", more);
            rename(&bench, "e/log", "d/log");
        }
        let told = bench.fails(&["resync", "--dir", "d"]);
        assert!(told.starts_with("exit 4\nerror[replay_differs]"), "{told}");
        assert!(
            told.contains("which of the two is the chain") && told.contains("nothing was changed"),
            "{told}"
        );
        unchanged(&bench);
    }
}

fn unchanged(bench: &Bench) {
    assert!(bench.path("d/state/projection.redb").is_file() && !bench.path("d/state.diverged-2").exists());
    assert!(bench.path("d/state/evidence-3.json").is_file());
}
