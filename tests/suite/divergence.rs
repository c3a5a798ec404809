//! A node that computes wrong: the others go on, it says so, the record is named without shipping the state, and a replay
//! heals it. A producer that computes wrong: everybody else stops, and goes on in a new stream without its block.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chaoschain_events::nats::Subjects;
use chaoschain_schemas::society::{Agent, ReputationUpdate};
use chaoschain_schemas::{AccountId, Blob, Fixed, SubTreeProof, codec};
use chaoschain_society::keys;
use chaoschain_state::merkle::{Lookup, Pruned, value_hash};
use chaoschain_test_support::nats::Server;
use serde_json::{Value as Json, json as value};

use crate::harness::network::{Member, Network, Shape};
use crate::harness::{Altered, Author, Node, PATIENCE, json, run, run_altered};
use crate::several::{await_finalized, key_of};

/// Requests that a comparison takes at most in a state of so few agents, whatever else is in it.
const REQUESTS_MAX: u64 = 24;

/// The exit code of a command and its answer as JSON, on standard output.
fn answered(line: &[&str]) -> (Option<i32>, Json) {
    let output = run(&[line, &["--json"]].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let answer = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line:?}: {error}: {out}{err}"));
    (output.status.code(), answer)
}

/// Submits what `authors` think of `subject`, each in a request of its own, until the chain has grown to `height`.
fn grow(command: &Node, authors: &mut [Author], height: u64) {
    let started = Instant::now();
    let ids: Vec<AccountId> = authors.iter().map(|author| author.id).collect();
    let mut turn = 0;
    while command.status_height() < height {
        assert!(started.elapsed() < PATIENCE, "height {height} was not reached");
        let place = turn % authors.len();
        let rating = ReputationUpdate { subject: ids[(place + 1) % ids.len()], rating: Fixed::HALF };
        let (_, envelope) = authors[place].sign(&rating);
        command.accepted(&[envelope]);
        turn += 1;
    }
}

/// What a node says of itself once `is` holds.
fn await_ready(node: &Node, is: impl Fn(&Json) -> bool) -> Json {
    let started = Instant::now();
    loop {
        let (_, ready) = node.get("/readyz");
        if is(&ready) {
            return ready;
        }
        assert!(started.elapsed() < PATIENCE, "{ready}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story, from the fault to the end")]
fn a_node_that_computes_wrong_is_told_apart_and_healed() {
    let Some(server) = Server::start() else { return };
    let shape = Shape { commands: 1, queries: 2, validators: 4, replicas: 1 };
    let Network { commands, queries, mut validators, home, chain, .. } = Network::new(&server.url(), shape);
    let member = validators.pop().unwrap().with_role("query,validator");
    let command = commands[0].up();
    let readers: Vec<_> = queries.iter().map(Member::up).collect();
    let [reader, other] = &readers[..] else { panic!("two of them") };
    let honest: Vec<_> = validators.iter().map(Member::up).collect();

    let mut authors: Vec<_> = (0..12).map(|number| Author::new(chain, number)).collect();
    let registrations: Vec<_> = authors.iter_mut().map(|author| author.register().1).collect();
    command.accepted(&registrations);
    // It does nothing and nobody minds it, so nothing else follows from what is computed wrong of it.
    let victim = authors.pop().unwrap().id;

    let wrong_at = command.status_height() + 3;
    let fault = Altered::Faulty(wrong_at, victim);
    let faulty = member.up_altered(fault);
    grow(&command, &mut authors, wrong_at - 1);
    let fault_at = Instant::now();
    grow(&command, &mut authors, wrong_at + 4);

    // Three of four are more than two thirds.
    await_finalized(reader, wrong_at + 4);
    let ready = await_ready(&faulty, |ready| ready["divergence"]["this_node_is_faulty"] == true);
    assert_eq!(
        (&ready["code"], &ready["height"]),
        (&value!("state_diverged"), &value!(wrong_at - 1)),
        "{ready}"
    );
    let divergence = &ready["divergence"];
    assert_eq!(divergence["height"], wrong_at);
    assert_eq!(divergence["sub_tree_name"], "agents");
    assert_eq!(divergence["header_hash"], reader.get(&format!("/v1/blocks/{wrong_at}")).1["value"]["hash"]);
    let (exit, status) = answered(&["status", "--node", &faulty.url]);
    assert_eq!((exit, &status["projection"]["divergence"]["height"]), (Some(4), &value!(wrong_at)));

    // The record is named, with what each has there.
    let report = home.path().join("report.json");
    let line = ["diff", &reader.url, "--node", &faulty.url, "--out", text(&report)];
    let (exit, found) = answered(&line);
    assert_eq!(exit, Some(1), "{found}");
    let diverged = &found["found"];
    assert_eq!((&diverged["height"], &diverged["committed_by"]), (&value!(wrong_at), &value!("theirs")));
    assert_eq!(diverged["final"], true);
    let [key] = &diverged["keys"].as_array().unwrap()[..] else { panic!("{diverged}") };
    println!(
        "{:.1} s from before the faulty block until its record was named",
        fault_at.elapsed().as_secs_f64()
    );
    assert_eq!(key["key"], hex::encode(keys::agent(&victim).as_bytes()));
    assert_eq!(key["our_record"]["reputation"], "1", "{key}");
    assert_eq!(key["their_record"]["reputation"], "0.5", "{key}");
    check_proofs(diverged, key, &victim);
    assert!(found["requests"].as_u64().unwrap() <= REQUESTS_MAX, "{found}");
    let written: Json = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_eq!(written["found"], found["found"]);
    // The same from the other side.
    let (exit, found) = answered(&["diff", &faulty.url, "--node", &reader.url]);
    assert_eq!((exit, &found["found"]["committed_by"]), (Some(1), &value!("ours")));
    let told = run(&line[..4]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for part in
        [&*hex::encode(keys::agent(&victim).as_bytes()), "that block is final", "our node computed wrong"]
    {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    // What the block commits to is proven to whoever trusts the validators or the producer.
    let (trust, proof) = (home.path().join("trust.json"), home.path().join("key.proof"));
    json(&["trust", "--dir", text(&queries[0].dir), "--node", &reader.url, "--out", text(&trust)]);
    let committed: Blob = serde_json::from_value(key["committed_proof"].clone()).unwrap();
    std::fs::write(&proof, &*committed).unwrap();
    json(&["verify", "proof", text(&proof), "--trust", text(&trust)]);

    // Others agree, and who is not there is not compared.
    let (exit, found) = answered(&["diff", &reader.url, "--node", &other.url]);
    assert_eq!((exit, &found["found"]["found"]), (Some(0), &value!("same")), "{found}");
    assert_eq!(run(&["diff", "http://127.0.0.1:1", "--node", &reader.url]).status.code(), Some(3));

    // What was computed outlives the process.
    let evidence = status["projection"]["condition"]["evidence"].as_str();
    let evidence = PathBuf::from(evidence.unwrap_or_else(|| panic!("{status}")));
    assert_eq!(computed(&evidence, &victim), (value!("0.5"), value!("1")));

    // Not while the node runs; and with the wrong program it comes to the same, and changes nothing.
    let resync = ["resync", "--dir", text(&member.dir)];
    assert_eq!(run(&resync).status.code(), Some(3));
    faulty.stop();
    let (exit, stopped) = answered(&["status", "--dir", text(&member.dir)]);
    assert_eq!((exit, &stopped["evidence"]), (Some(4), &value!([text(&evidence)])), "{stopped}");
    assert_eq!(stopped["stored"]["height"], wrong_at - 1);
    let (exit, examined) = answered(&["doctor", "--dir", text(&member.dir)]);
    let failed: Vec<_> =
        examined["findings"].as_array().unwrap().iter().filter(|found| found["ok"] == false).collect();
    assert_eq!((exit, failed.len()), (Some(4), 1), "{examined}");
    assert_eq!(failed[0]["error"]["code"], "state_diverged", "{examined}");
    let (exit, plan) = answered(&["resync", "--dir", text(&member.dir), "--dry-run"]);
    let aside = member.dir.join(format!("state.diverged-{}", wrong_at - 1));
    assert_eq!((exit, &plan["kept_as"]), (Some(0), &value!(text(&aside))));
    assert!(!aside.exists() && !member.dir.join("state.resync").exists());
    let last_signed = member.dir.join("validator").join("attested.json");
    let signed = std::fs::read(&last_signed).unwrap();
    let again = run_altered(fault, &resync);
    assert_eq!(again.status.code(), Some(4), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(!aside.exists() && member.dir.join("state").join("projection.redb").is_file());
    let done = json(&resync);
    assert_eq!(done["kept_as"], text(&aside), "{done}");
    assert!(done["replayed"]["height"].as_u64().unwrap() >= wrong_at + 4, "{done}");
    assert_eq!(json(&["status", "--dir", text(&member.dir)])["evidence"], value!([]));
    assert_eq!(json(&["doctor", "--dir", text(&member.dir)])["healthy"], true);
    assert!(aside.join("projection.redb").is_file() && aside.join("resync.json").is_file());
    // With it what was computed, also by the replay with the wrong program.
    let kept: Vec<PathBuf> = serde_json::from_value(done["evidence"].clone()).unwrap();
    let name = evidence.file_name().unwrap().to_str().unwrap();
    assert_eq!(kept, [aside.join(name), aside.join(format!("replay-{name}"))]);
    assert!(kept.iter().all(|evidence| computed(evidence, &victim).1 == "1"));
    assert_eq!(std::fs::read(&last_signed).unwrap(), signed, "what was signed is what was signed");

    // With the right program it catches up and attests again.
    let healed = member.up();
    let end = command.status_height() + 2;
    grow(&command, &mut authors, end);
    assert_eq!(healed.root_at_least(end), reader.root_at_least(end));
    let key = key_of(&member.dir.join("keys").join("validator.key"));
    let account = AccountId::from_first_key(&key.public()).to_string();
    let started = Instant::now();
    let has_said = |finality: &Json| {
        let words = finality["value"]["validators"].as_array().unwrap();
        words.iter().any(|word| word["account"] == account && word["height"].as_u64() >= Some(end))
    };
    while !has_said(&reader.get("/v1/finality").1) {
        assert!(started.elapsed() < PATIENCE, "{:?}", reader.get("/v1/finality"));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (exit, found) = answered(&["diff", &reader.url, "--node", &healed.url]);
    assert_eq!((exit, &found["found"]["found"]), (Some(0), &value!("same")), "{found}");
    for node in honest.iter().chain([&healed, reader, other]) {
        assert_eq!(node.get("/readyz").0, 200);
    }
}

/// Holds both proofs of a key against the roots that the report names, and for what they show.
fn check_proofs(diverged: &Json, key: &Json, victim: &AccountId) {
    let sub_trees = diverged["sub_trees"].as_array().unwrap();
    let sub_tree = sub_trees.iter().find(|one| one["number"] == key["sub_tree"]).unwrap();
    assert_ne!(sub_tree["our_root"], sub_tree["their_root"]);
    assert_eq!(sub_tree["their_root"], sub_tree["committed_root"]);
    for (proof, root, reputation) in
        [("our_proof", "our_root", Fixed::ONE), ("their_proof", "their_root", Fixed::HALF)]
    {
        let shown = proven(&key[proof], sub_tree[root].as_str().unwrap(), victim);
        let agent: Agent = codec::decode_trusted(&shown).unwrap();
        assert_eq!(agent.reputation, reputation, "{proof}");
    }
}

/// What a node computed of `agent` before and after the block at which it stopped, as its evidence says.
fn computed(evidence: &Path, agent: &AccountId) -> (Json, Json) {
    let report: Json = serde_json::from_str(&std::fs::read_to_string(evidence).unwrap()).unwrap();
    let records = report["computed"]["changes"]["records"].as_array().unwrap();
    let key = hex::encode(keys::agent(agent).as_bytes());
    let record = records.iter().find(|record| record["key"] == *key).unwrap();
    (record["before_record"]["reputation"].clone(), record["after_record"]["reputation"].clone())
}

/// The value that a proof shows of `agent`, which has to hold against the root of its sub-tree.
fn proven(proof: &Json, root: &str, agent: &AccountId) -> Vec<u8> {
    let proof: SubTreeProof = serde_json::from_value(proof.clone()).unwrap();
    let tree = Pruned::parse(&proof.tree).unwrap();
    assert_eq!(tree.root().to_string(), root);
    let [record] = &proof.records[..] else { panic!("{proof:?}") };
    let key = keys::agent(agent);
    assert_eq!(*record.key, *key.as_bytes());
    assert_eq!(tree.get(key.as_bytes()), Lookup::Present(value_hash(&record.value)));
    record.value.to_vec()
}

/// Nothing votes such a block away: what is before it is put into a new stream, and the chain goes on from there.
#[test]
fn a_block_of_a_faulty_producer_is_left_behind() {
    let Some(server) = Server::start() else { return };
    let shape = Shape { commands: 2, queries: 1, validators: 3, replicas: 1 };
    let Network { commands, queries, validators, chain, home: _home, .. } =
        Network::new(&server.url(), shape);
    let [honest, faulty] = &commands[..] else { panic!("two of them") };
    let [query] = &queries[..] else { panic!("one") };
    let (reader, voters): (Node, Vec<_>) = (query.up(), validators.iter().map(Member::up).collect());
    let command = honest.up();
    let mut authors: Vec<_> = (0..6).map(|number| Author::new(chain, number)).collect();
    let registrations: Vec<_> = authors.iter_mut().map(|author| author.register().1).collect();
    command.accepted(&registrations);
    let victim = authors.pop().unwrap().id;
    let mut later = authors.split_off(3);
    let good = command.status_height();
    await_finalized(&reader, good);
    command.stop();

    // It seals on; everybody else stops before its block, and nobody attests it.
    let wrong = faulty.up_altered(Altered::Faulty(good + 1, victim));
    grow(&wrong, &mut authors, good + 3);
    for node in voters.iter().chain([&reader]) {
        let ready = await_ready(node, |ready| ready["code"] == "state_diverged");
        assert_eq!((&ready["height"], &ready["divergence"]["height"]), (&value!(good), &value!(good + 1)));
        let divergence = &ready["divergence"];
        assert_eq!(
            (&divergence["attested_weight"], &divergence["this_node_is_faulty"]),
            (&value!(0), &value!(false))
        );
    }

    // Everything is stopped, the stream is taken away, and what is before the block is put into a new one.
    wrong.stop();
    reader.stop();
    voters.into_iter().for_each(Node::stop);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let nats = async_nats::connect(server.url()).await.unwrap();
        async_nats::jetstream::new(nats).delete_stream(Subjects::of(chain).log_stream()).await.unwrap();
    });
    let restore = ["log", "restore", "--dir", text(&query.dir)];
    assert_eq!(json(&restore)["to"]["height"], good);
    assert_eq!(json(&[&restore[..], &["--apply"]].concat())["applied"], true);

    let command = honest.up();
    grow(&command, &mut later, good + 3);
    let (reader, voters): (Node, Vec<_>) = (query.up(), validators.iter().map(Member::up).collect());
    await_finalized(&reader, good + 3);
    assert_eq!(reader.root_at_least(good + 3).0, command.status_height());
    for node in voters.iter().chain([&reader]) {
        await_ready(node, |ready| ready["ready"] == true);
    }
    // The faulty one has another history, which it does not leave by itself, also with the right program.
    let up = ["up", "--dir", text(&faulty.dir), "--role", "command", "--listen", "127.0.0.1:0"];
    assert_eq!(run(&up).status.code(), Some(4));
    for part in ["state", "blocks"] {
        std::fs::rename(faulty.dir.join(part), faulty.dir.join(format!("{part}.wrong"))).unwrap();
    }
    let healed = faulty.up();
    grow(&healed, &mut later, good + 5);
    await_finalized(&reader, good + 5);
    assert_eq!(reader.get("/readyz").0, 200);
}
