//! The demo: what it shows a person, and what a program is told.

use std::path::PathBuf;

use serde_json::json;

use crate::support::Bench;

/// What the README shows is what everybody gets, roots included.
#[test]
fn it_ends_as_the_readme_says() {
    let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, excerpt) = readme.split_once("The demo ends like this:\n\n```\n").unwrap();
    let (excerpt, _) = excerpt.split_once("```").unwrap();
    let ran = Bench::new().run(&["demo"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains(excerpt), "put the end of this into the README:\n{}", ran.stdout);
}

#[test]
fn it_plays_the_simulated_society_and_proves_what_it_says() {
    let bench = Bench::new();
    let demo = bench.json(&["demo", "--keep", "kept"]);
    let line = ["simulate", "--dir", "society", "--agents", "40", "--events", "3000", "--seed", "demo"];
    let simulated = bench.json(&line);
    assert_eq!(demo["report"], simulated["report"]);

    assert_eq!(demo["conflict"]["value"]["stage"], "Decided");
    assert_eq!(demo["conflict"]["value"]["tally"]["agrees"], true);
    assert_eq!(demo["block"]["height"], demo["conflict"]["value"]["outcome"]["height"]);
    assert_eq!(demo["block"]["level"], "re-execution with the rules in force");
    assert_eq!(demo["block"]["another_root"], "state_root_wrong");
    assert!(!demo["dramas"]["events"].as_array().unwrap().is_empty());
    assert_eq!(demo["dramas"]["one_left_out"], "read_unproven");
    assert_eq!(demo["read"]["flips_unnoticed"], 0);
    assert_eq!(demo["read"]["value"]["id"], demo["leaderboard"][0]["id"]);
    let codes: Vec<_> = demo["attacks"].as_array().unwrap().iter().map(|attack| &attack["code"]).collect();
    assert_eq!(codes, [&json!("row_changed"), &json!("root_mismatch")]);

    insta::assert_snapshot!(bench.fails(&["demo", "--keep", "kept"]), @r"
    exit 2
    error[directory_exists]: kept is there already
      hint: name a new directory
    ");
}
