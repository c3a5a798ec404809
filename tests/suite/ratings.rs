//! A real trust network, imported: the same blocks and the same root, however it is folded.

use std::path::Path;

use serde_json::Value as Json;

use crate::harness::json;

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
    json(&["import", file, "--into", into.to_str().unwrap(), "--seed", "suite"])
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
