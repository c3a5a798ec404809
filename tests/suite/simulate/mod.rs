//! A society that lives by itself: everything occurs in it, and it comes to the same root wherever its log is and
//! however it is folded.

mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chaoschain_cli::simulate::{Options, Report, SHARES, Simulation};
use chaoschain_events::block::{VerifiedBlock, verify_blocks};
use chaoschain_projector::{Fold, open_genesis};
use chaoschain_schemas::society::{
    Agent, AgentCount, Alliance, AllianceState, Conflict, ConflictCounts, ConflictKind, DecidedBy,
    InfluenceScore, Relationship, Strategy,
};
use chaoschain_schemas::{AgentId, AllianceId, ConflictId, Fixed, Sequence, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::{BaseView, StateVersion, View};
use chaoschain_test_support::nats::{Cluster, Server};
use serde_json::Value as Json;

use crate::harness::{BINARY, Node, json, run};

const AGENTS: usize = 1000;
const EVENTS: u64 = 100_000;
const SEED: &str = "suite";

/// The society of 1,000 agents and 100,000 events, made once for all tests.
struct Made {
    messages: Vec<Bytes>,
    report: Report,
}

static MADE: LazyLock<Made> = LazyLock::new(|| make(AGENTS, EVENTS));

fn make(agents: usize, events: u64) -> Made {
    let mut simulation = Simulation::new(&Options { seed: SEED.into(), agents, events }).unwrap();
    let mut messages = vec![simulation.genesis_message()];
    while let Some(block) = simulation.next_block().unwrap() {
        messages.push(block.message);
    }
    Made { messages, report: simulation.report() }
}

/// Block by block, verified; the state after each is told.
fn fold(messages: &[Bytes], mut tell: impl FnMut(&VerifiedBlock, &StateVersion)) -> Arc<StateVersion> {
    let beginning = open_genesis(&Society, Sequence(1), &messages[0], None).unwrap();
    let mut fold = Fold::new(Arc::new(Society), beginning.forest, beginning.head);
    let mut sequence = Sequence(1);
    for chunk in messages[1..].chunks(256) {
        for block in verify_blocks(chunk) {
            let (block, before) = (block.unwrap(), Arc::clone(&fold.head().state));
            sequence = sequence.next();
            tell(&block, &before);
            fold.fold(sequence, &block).unwrap();
        }
    }
    Arc::clone(&fold.head().state)
}

#[test]
fn everything_occurs_and_the_shares_are_those_of_the_table() {
    let Made { messages, report, .. } = &*MADE;
    println!("{}", report.tables());
    assert!(report.events >= EVENTS);
    assert_eq!(report.rules, 3, "the next version of the rules was activated on the way");
    for kind in &report.kinds {
        assert!(kind.count > 0, "no {}", kind.name);
    }
    for personality in &report.personalities {
        for deed in &personality.deeds {
            let (who, events) = (personality.personality, personality.events);
            assert!(deed.is_as_the_table_says(events), "{who}: {deed:?} of {events}");
        }
    }
    assert_eq!(report.dropped, 0);
    assert!(report.owed < 500, "{} deeds wait for their occasion", report.owed);
    for refused in [
        "self_directed",
        "out_of_range",
        "meme_unknown",
        "conflict_unknown",
        "agent_exists",
        "duplicate",
        "nonce_ahead",
        "account_suspended",
    ] {
        let found = report.refused.iter().find(|one| one.code == refused);
        assert!(found.is_some_and(|one| one.meant > 0), "nothing was refused with {refused}");
    }
    recount(messages, report);
}

/// The report says what stands in the blocks.
fn recount(messages: &[Bytes], report: &Report) {
    let mut kinds: BTreeMap<u16, [u64; 2]> = BTreeMap::new();
    let mut deeds: BTreeMap<(u8, u16), u64> = BTreeMap::new();
    let mut of_table: BTreeSet<u16> = SHARES.iter().map(|(deed, _)| deed.kind()).collect();
    of_table.insert(0);
    fold(messages, |block, before| {
        let view = BaseView::new(before);
        for event in block.events() {
            let body = event.body();
            let staged = body.correlation.is_some();
            let [all, in_scenes] = kinds.entry(body.kind).or_default();
            *all += 1;
            *in_scenes += u64::from(staged);
            if !staged && of_table.contains(&body.kind) {
                let agent: Agent = (&view as &dyn View).record(&keys::agent(&body.author)).unwrap();
                *deeds.entry((agent.personality as u8, body.kind)).or_default() += 1;
            }
        }
    });
    for kind in &report.kinds {
        assert_eq!(kinds.get(&kind.kind), Some(&[kind.count, kind.staged]), "{}", kind.name);
    }
    for personality in &report.personalities {
        for (deed, (number, _)) in personality.deeds.iter().zip(SHARES) {
            let counted = deeds.get(&(personality.personality as u8, number.kind())).copied().unwrap_or(0);
            assert_eq!(counted, deed.count, "{}: {}", personality.personality, deed.name);
        }
    }
}

#[test]
fn every_path_of_a_conflict_occurs() {
    let report = &MADE.report;
    let occurs = |kind, by| report.conflicts.iter().any(|one| one.kind == kind && one.by == by);
    let (facts, alliances) = (ConflictKind::InconsistentAgentState, ConflictKind::ConflictingAlliances);
    for by in [DecidedBy::Threshold, DecidedBy::AllSpoken, DecidedBy::Deadline, DecidedBy::Default] {
        assert!(occurs(facts, by), "no fact was decided by {by}");
        assert!(occurs(alliances, by), "no conflict of alliances was decided by {by}");
    }
    for by in [DecidedBy::Expiry, DecidedBy::Lapse] {
        assert!(occurs(alliances, by), "no conflict of alliances was decided by {by}");
    }
    for kind in [facts, alliances] {
        for strategy in Strategy::ALL {
            let found = report.conflicts.iter().any(|one| one.kind == kind && one.strategy == *strategy);
            assert!(found, "no {kind} was weighed by {strategy}");
        }
    }
    assert!(report.opinions_voided > 0 && report.divergences > 0);
    let (mut ties, mut silences) = (0, 0);
    let state = fold(&MADE.messages, |_, _| {});
    for conflict in records::<Conflict>(&state, keys::SOCIAL, 0x06).into_values() {
        let Some(outcome) = &conflict.outcome else { continue };
        assert_eq!(chaoschain_society::conflict::agrees(&conflict), Some(true), "{conflict:?}");
        if outcome.by == DecidedBy::Default {
            let spoken: u64 = outcome.weights.iter().sum();
            let quiet = (spoken as u128) * 1_000_000
                < u128::from(outcome.total) * conflict.participation_min.millionths().unsigned_abs() as u128;
            *(if quiet { &mut silences } else { &mut ties }) += 1;
        }
    }
    println!("decided by default: {ties} for a tie, {silences} for want of participation");
    assert!(ties > 0 && silences > 0);
}

/// The records whose keys start with `tag`, by the 32 bytes that follow it.
fn records<R: serde::de::DeserializeOwned>(state: &StateVersion, tree: u8, tag: u8) -> BTreeMap<[u8; 32], R> {
    let all = state.tree(tree).unwrap().iter();
    let ours = all.filter(|(key, _)| key.first() == Some(&tag) && key.len() == 33);
    ours.map(|(key, value)| (key[1..].try_into().unwrap(), codec::decode_trusted(&value).unwrap())).collect()
}

#[test]
fn the_final_state_holds_together() {
    let mut now = None;
    let state = fold(&MADE.messages, |block, _| now = Some(block.header().timestamp));
    let now = now.unwrap();
    let agents: BTreeMap<[u8; 32], Agent> = records(&state, keys::AGENTS, 0x01);
    let alliances: BTreeMap<[u8; 32], Alliance> = records(&state, keys::SOCIAL, 0x01);
    let conflicts: BTreeMap<[u8; 32], Conflict> = records(&state, keys::SOCIAL, 0x06);
    let within = |value: Fixed| value.is_within(Fixed::ZERO, Fixed::ONE);
    let view = BaseView::new(&*state);
    let view: &dyn View = &view;

    assert_eq!(view.record::<AgentCount>(&keys::agent_count()).unwrap().agents, agents.len() as u64);
    let live = |alliance: &Alliance| {
        matches!(alliance.state, AllianceState::Active | AllianceState::Contested)
            && now < alliance.expires_at
    };
    for (id, agent) in &agents {
        assert!(within(agent.reputation) && within(agent.influence), "{agent:?}");
        for membership in agent.alliances.iter().filter(|one| now < one.expires_at) {
            let alliance = &alliances[membership.id.as_bytes()];
            assert!(live(alliance) && alliance.members.contains(&AgentId::new(*id)), "{membership:?}");
            assert_eq!(membership.contested, alliance.state == AllianceState::Contested);
        }
    }
    for (id, alliance) in &alliances {
        assert!(within(alliance.strength));
        let listed = |member: &AgentId| {
            agents[member.as_bytes()].alliances.iter().any(|one| one.id == AllianceId::new(*id))
        };
        if live(alliance) {
            assert!(alliance.members.iter().all(listed), "{alliance:?}");
        }
        assert_eq!(alliance.state == AllianceState::Contested, alliance.conflict.is_some());
        if let Some(conflict) = alliance.conflict {
            assert!(conflicts[conflict.as_bytes()].outcome.is_none());
        }
    }
    let social = state.tree(keys::SOCIAL).unwrap();
    for (key, value) in social.iter().filter(|(key, _)| key.first() == Some(&0x02)) {
        let relationship: Relationship = codec::decode_trusted(&value).unwrap();
        assert!(within(relationship.trust) && relationship.events.len() <= 16, "{key:?}");
    }
    let scores: BTreeMap<[u8; 32], InfluenceScore> = records(&state, keys::SOCIAL, 0x03);
    let mut reactions: BTreeMap<[u8; 32], u32> = BTreeMap::new();
    for (key, _) in state.tree(keys::MEMES).unwrap().iter().filter(|(key, _)| key.first() == Some(&0x03)) {
        *reactions.entry(key[1..33].try_into().unwrap()).or_default() += 1;
    }
    for (id, score) in &scores {
        let counts = score.reactions;
        let counted = counts.love + counts.like + counts.neutral + counts.dislike;
        assert!(within(score.value));
        assert_eq!(counted, reactions.get(id).copied().unwrap_or(0));
    }
    let open = conflicts.values().filter(|one| one.outcome.is_none() && !one.options.is_empty()).count();
    let counts: ConflictCounts = view.record(&keys::conflict_counts()).unwrap();
    assert_eq!((counts.open as usize, counts.opened), (open, conflicts.len() as u64));
    for (id, conflict) in &conflicts {
        assert_eq!(conflict.id(), ConflictId::new(*id));
    }
}

fn simulate(into: &Path, agents: usize, events: u64, more: &[&str]) -> Json {
    let (agents, events) = (agents.to_string(), events.to_string());
    let line = [
        "simulate",
        "--dir",
        into.to_str().unwrap(),
        "--seed",
        SEED,
        "--agents",
        &agents,
        "--events",
        &events,
    ];
    json(&[&line[..], more].concat())
}

#[test]
fn the_binary_makes_the_same_society_and_replays_agree() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("society");
    let made = simulate(&from, AGENTS, EVENTS, &["--log", "embedded"]);
    assert_eq!(made["report"], serde_json::to_value(&MADE.report).unwrap());
    for (batch, threads) in [("1", "1"), ("1", "2"), ("7", "1"), ("7", "2"), ("1000", "1"), ("1000", "2")] {
        let into = dir.path().join(format!("replay-{batch}-{threads}"));
        let line = ["replay", "--from", from.to_str().unwrap(), "--into", into.to_str().unwrap()];
        let replayed = json(&[&line[..], &["--batch", batch, "--threads", threads]].concat());
        for what in ["chain", "height", "header_hash", "state_root"] {
            assert_eq!(replayed[what], made["report"][what], "batch {batch}, threads {threads}: {what}");
        }
        assert_eq!(replayed["skipped"], serde_json::json!({ "stale": 0, "foreign": 0, "invalid": 0 }));
        std::fs::remove_dir_all(into).unwrap();
    }
    let node = Node::up_with(&from, &["--role", "query"]);
    let height = made["report"]["height"].as_u64().unwrap();
    let root = made["report"]["state_root"].as_str().unwrap().to_owned();
    assert_eq!(node.root_at_least(height), (height, root));
    node.stop();
}

#[test]
fn logs_on_servers_give_the_same_root() {
    let (Some(server), Some(cluster)) = (Server::start(), Cluster::start()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let report = serde_json::to_value(&MADE.report).unwrap();
    for (name, url, copies) in [("r1", server.url(), "1"), ("r3", cluster.urls(), "3")] {
        let home = dir.path().join(name);
        std::fs::create_dir(&home).unwrap();
        let made = simulate(&home.join("node"), AGENTS, EVENTS, &["--log", &url, "--replicas", copies]);
        assert_eq!(made["report"], report, "{name}");
        let chain = report["chain"].as_str().unwrap();
        let replica = home.join("replica");
        json(&["join", "--dir", replica.to_str().unwrap(), "--chain", chain, "--log", &url]);
        let node = Node::up_with(&replica, &["--role", "query"]);
        let height = report["height"].as_u64().unwrap();
        let (reached, root) = node.root_at_least(height);
        assert_eq!((reached, &*root), (height, report["state_root"].as_str().unwrap()), "{name}");
    }
}

#[test]
fn what_was_broken_off_is_whole_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let society = dir.path().join("society");
    let line = [
        "simulate",
        "--dir",
        society.to_str().unwrap(),
        "--seed",
        SEED,
        "--agents",
        "40",
        "--log",
        "embedded",
    ];
    let mut child = Command::new(BINARY).args(line).args(["--events", "10000000"]).spawn().unwrap();
    let begun = || society.join("chain.toml").is_file();
    while !begun() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));

    let again = dir.path().join("again");
    let replay = ["replay", "--from", society.to_str().unwrap(), "--into", again.to_str().unwrap()];
    let height = json(&replay)["height"].as_u64().unwrap();
    // As many events as make some blocks more.
    let options = Options { seed: SEED.into(), agents: 40, events: u64::MAX };
    let mut simulation = Simulation::new(&options).unwrap();
    while simulation.report().height.0 < height + 10 {
        simulation.next_block().unwrap();
    }
    let events = simulation.report().events;
    let went_on = simulate(&society, 40, events, &[]);
    assert_eq!(went_on["blocks_found"], height);
    assert_eq!(
        went_on["report"]["header_hash"],
        serde_json::to_value(simulation.report().header_hash).unwrap()
    );

    let refused = |line: &[&str]| {
        let output = run(&[line, &["--json"]].concat());
        let error: Json = serde_json::from_slice(&output.stderr).unwrap();
        error["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(&[&line[..], &["--events", "1"]].concat()), "simulation_longer");
    let into = |dir: &Path| refused(&["simulate", "--seed", "another", "--dir", dir.to_str().unwrap()]);
    assert_eq!(into(&society), "chain_exists");
    assert_eq!(into(dir.path()), "dir_occupied");
}
