//! Rules and records change, logs do not: a log of an earlier version replays for ever, across the height from which the
//! next version is in force, and a build that knows only the earlier one stops there and goes on serving.
//!
//! Each folder of `fixtures` is such a log, with what was recorded when it was made. See the README there for what must not
//! be done to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::block::verify_blocks;
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadLimits};
use chaoschain_projector::{Fold, open_genesis};
use chaoschain_schemas::society::{Agent, AllianceBetrayal, Payload};
use chaoschain_schemas::{AgentId, Hash, Height, Sequence, Timestamp, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::Machine;
use chaoschain_state::{BaseView, View};
use serde_json::{Value as Json, json as value};

use crate::harness::{Altered, Node, PATIENCE, json, run, run_altered};

/// The versions that there is a log of, each of which goes on under the next one.
const VERSIONS: [u16; 2] = [1, 2];

/// What was recorded when the fixture was made.
#[derive(serde::Deserialize)]
struct Recorded {
    chain: String,
    /// The last block under the version, the first under the next one, the last block of all.
    points: [Point; 3],
    /// Files of answers and witnesses, with what verifying them has to show.
    verified: Vec<Expected>,
}

#[derive(serde::Deserialize)]
struct Point {
    height: Height,
    rules: u16,
    header_hash: Hash,
    state_root: Hash,
}

#[derive(serde::Deserialize)]
struct Expected {
    file: String,
    shows: BTreeMap<String, Json>,
}

fn fixture(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("v{version}"))
}

fn recorded(version: u16) -> Recorded {
    serde_json::from_slice(&std::fs::read(fixture(version).join("recorded.json")).unwrap()).unwrap()
}

/// A directory with a copy of the fixture's chain.
fn copied(version: u16) -> tempfile::TempDir {
    let fixture = fixture(version);
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    std::fs::copy(fixture.join("chain.toml"), dir.path().join("chain.toml")).unwrap();
    for entry in std::fs::read_dir(fixture.join("log")).unwrap() {
        let from = entry.unwrap().path();
        std::fs::copy(&from, dir.path().join("log").join(from.file_name().unwrap())).unwrap();
    }
    dir
}

async fn messages(dir: &Path) -> Vec<Bytes> {
    let log = EmbeddedLog::open(dir.join("log"), EmbeddedOptions::default()).unwrap();
    let (tip, mut messages) = (log.tip().await.unwrap(), Vec::new());
    while (messages.len() as u64) < tip.0 {
        let from = Sequence(messages.len() as u64 + 1);
        let entries = log.read(from, ReadLimits::default()).await.unwrap();
        messages.extend(entries.into_iter().map(|entry| entry.message));
    }
    log.close().await;
    messages
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What became of a fixture's log.
struct Folded {
    fold: Fold,
    /// Under the version and under the next one: how often each kind occurred, and who betrayed an alliance last when.
    kinds: [BTreeMap<u16, u32>; 2],
    traitors: [BTreeMap<AgentId, Timestamp>; 2],
}

/// Folds a fixture's log, which has to come to what was recorded.
async fn folded(version: u16) -> Folded {
    let recorded = recorded(version);
    let dir = copied(version);
    let messages = messages(dir.path()).await;
    let chain = Some(recorded.chain.parse().unwrap());
    let beginning = open_genesis(&Society, Sequence(1), &messages[0], chain).unwrap();
    let mut fold = Fold::new(Arc::new(Society), beginning.forest, beginning.head);
    assert_eq!(fold.head().header.rules, version);
    let mut points = BTreeMap::new();
    let mut kinds: [BTreeMap<u16, u32>; 2] = Default::default();
    let mut traitors: [BTreeMap<AgentId, Timestamp>; 2] = Default::default();
    for block in verify_blocks(&messages[1..]) {
        let block = block.unwrap();
        let (header, sequence) = (block.header().clone(), Sequence(block.header().height.0 + 1));
        fold.fold(sequence, &block).unwrap();
        let later = usize::from(header.rules - version);
        for event in block.events() {
            *kinds[later].entry(event.body().kind).or_default() += 1;
            if event.body().kind == AllianceBetrayal::KIND {
                traitors[later].insert(event.body().author, header.timestamp);
            }
        }
        points.insert(header.height, (header.rules, block.header_hash(), fold.head().state.root()));
    }
    for point in &recorded.points {
        let found = points[&point.height];
        assert_eq!(found, (point.rules, point.header_hash, point.state_root), "block {}", point.height);
    }
    let [before, first, last] = &recorded.points;
    assert_eq!((before.height.next(), before.rules, first.rules), (first.height, version, version + 1));
    assert_eq!(last.height, fold.head().height());
    Folded { fold, kinds, traitors }
}

#[tokio::test]
async fn logs_of_earlier_versions_fold_to_what_was_recorded() {
    for version in VERSIONS {
        let Folded { kinds, .. } = folded(version).await;
        for spec in Society.kinds() {
            assert!(kinds[0].contains_key(&spec.kind), "no {} under version {version}", spec.name);
        }
    }
}

/// Betrayals of version 1 stay forgotten, those of version 2 are in the traitor's record.
#[tokio::test]
async fn betrayals_of_version_1_stay_forgotten() {
    let Folded { fold, traitors: [forgotten, known], .. } = folded(1).await;
    let view = BaseView::new(&*fold.head().state);
    let remembered = |id: &AgentId| {
        let agent: Agent = (&view as &dyn View).record(&keys::agent(id)).unwrap();
        agent.betrayed_at
    };
    assert!(!known.is_empty() && forgotten.keys().any(|id| !known.contains_key(id)));
    for (id, at) in &known {
        assert_eq!(remembered(id), Some(*at));
    }
    for id in forgotten.keys().filter(|id| !known.contains_key(id)) {
        assert_eq!(remembered(id), None);
    }
    // Records are written as they were found: a profile of version 1 has no place for it.
    let agents = fold.head().state.tree(keys::AGENTS).unwrap().iter();
    let profiles: Vec<_> = agents.filter(|(key, _)| key.first() == Some(&0x01)).collect();
    for (_, bytes) in &profiles {
        let agent: Agent = codec::decode(bytes, bytes.len()).unwrap();
        assert_eq!(bytes[0], if agent.betrayed_at.is_some() { 0x9b } else { 0x9a });
    }
}

#[test]
fn what_was_proven_then_verifies() {
    for version in VERSIONS {
        let trust = fixture(version).join("trust.json");
        let recorded = recorded(version);
        assert!(recorded.verified.len() >= 5);
        for Expected { file, shows } in recorded.verified {
            let path = fixture(version).join(&file);
            let what = if file.ends_with(".witness") { "block" } else { "proof" };
            let shown = json(&["verify", what, text(&path), "--trust", text(&trust)]);
            for (pointer, expected) in shows {
                assert_eq!(shown.pointer(&pointer), Some(&expected), "{file}: {pointer} in {shown}");
            }
        }
    }
}

#[test]
fn a_build_that_knows_version_1_stops_where_2_begins_and_serves() {
    an_older_build_stops_and_serves(1);
}

#[test]
fn a_build_that_knows_version_2_stops_where_3_begins_and_serves() {
    an_older_build_stops_and_serves(2);
}

fn an_older_build_stops_and_serves(version: u16) {
    let recorded = recorded(version);
    let [before, first, last] = &recorded.points;
    let dir = copied(version);
    let older = Altered::Older(version);

    let node = Node::up_altered(dir.path(), &["--role", "query"], older);
    let started = Instant::now();
    let ready = loop {
        let (status, ready) = node.get("/readyz");
        if status != 200 && ready["code"] == "rules_unknown" {
            break ready;
        }
        assert!(started.elapsed() < PATIENCE, "{ready}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(ready["height"], before.height.0, "{ready}");
    // It says what to do, and answers for its last good height, provably.
    let told = ready.to_string();
    assert!(told.contains(&format!("version {}", version + 1)) && told.contains("use a newer"), "{told}");
    assert_eq!(node.root(), (before.height.0, before.state_root.to_string()));
    let agent = recorded.verified.iter().find(|one| one.file == "agent.proof").unwrap();
    let id = agent.shows["/answer/id"].as_str().unwrap();
    let proof = dir.path().join("agent.proof");
    let answer = json(&["get", "agent", id, "--proof", text(&proof), "--node", &node.url]);
    assert_eq!(
        (&answer["value"]["id"], &answer["at"]["height"]),
        (&value!(id), &value!(before.height.0)),
        "{answer}"
    );
    let trust = fixture(version).join("trust.json");
    let shown = json(&["verify", "proof", text(&proof), "--trust", text(&trust)]);
    assert_eq!(shown["at"]["state_root"], value!(before.state_root));
    node.stop();

    // A replay by it ends there too, and an offline check of the first block of the next version says why it cannot.
    let code = |output: std::process::Output| {
        // Log lines come before it.
        let told = String::from_utf8(output.stderr).unwrap();
        let error: Json = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        (output.status.code(), error["code"].as_str().unwrap().to_owned())
    };
    let again = dir.path().join("again");
    let replay = ["replay", "--from", text(dir.path()), "--into", text(&again), "--json"];
    assert_eq!(code(run_altered(older, &replay)), (Some(4), "rules_unknown".into()));
    let witness = fixture(version).join("activation.witness");
    let verify = ["verify", "block", text(&witness), "--trust", text(&trust), "--json"];
    assert_eq!(code(run_altered(older, &verify)).1, "rules_unknown");
    assert_eq!(run(&verify).status.code(), Some(0));

    // The newer build goes on from there, with the same state directory.
    let went_on = json(&replay[..5]);
    for (what, expected) in [("header_hash", last.header_hash), ("state_root", last.state_root)] {
        assert_eq!(went_on[what], value!(expected));
    }
    assert_eq!(went_on["blocks"], last.height.0 - before.height.0, "{went_on}");
    let node = Node::up_with(dir.path(), &["--role", "query"]);
    let reached = node.root_at_least(last.height.0);
    assert_eq!(reached, (last.height.0, last.state_root.to_string()));
    assert_eq!(node.get(&format!("/v1/blocks/{}", first.height)).1["value"]["header"]["rules"], first.rules);
    node.stop();
}
