//! Several processes on one chain: whoever is asked, the same bytes give one event and one receipt; nothing forks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::attest::{Board as _, JetStreamBoard, sign_attestation};
use chaoschain_events::log::{AppendError, EventLog, ReadLimits};
use chaoschain_events::nats::{Nats, Subjects};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::api::{BatchOutcome, Receipt};
use chaoschain_schemas::society::ReputationUpdate;
use chaoschain_schemas::{
    ATTESTATION_VERSION, AccountId, Attestation, Blob, ChainId, Fixed, Hash, Height, Sequence, TransitionId,
    codec,
};
use chaoschain_test_support::nats::Server;
use tokio::runtime::Runtime;

use crate::harness::audit::audit;
use crate::harness::network::{Member, Network, Shape};
use crate::harness::{Author, Node, PATIENCE, agent, is_put_off, json, receipt, submit};

const AUTHORS: u64 = 250;
/// Transitions of one author, its registration included.
const TURNS: i64 = 40;
/// Envelopes in one request.
const CHUNK: usize = 500;

/// Signed transitions in an order that a service can take: an author's own stand in order.
fn signed(chain: ChainId, authors: u64, turns: i64) -> Vec<(TransitionId, Blob)> {
    let mut authors: Vec<_> = (0..authors).map(|number| Author::new(chain, number)).collect();
    let mut signed: Vec<_> = authors.iter_mut().map(Author::register).collect();
    let (first, second) = (authors[0].id, authors[1].id);
    for turn in 1..turns {
        let rating = Fixed::from_millionths(turn * 10_000);
        for author in &mut authors {
            let subject = if author.id == first { second } else { first };
            signed.push(author.sign(&ReputationUpdate { subject, rating }));
        }
    }
    signed
}

/// Submits everything until all of it has receipts; `send` answers `None` when nobody answered.
fn insist(
    signed: &[(TransitionId, Blob)],
    send: impl Fn(&[Blob]) -> Option<Vec<BatchOutcome>>,
) -> BTreeMap<TransitionId, Receipt> {
    let mut receipts = BTreeMap::new();
    let started = Instant::now();
    for chunk in signed.chunks(CHUNK) {
        let mut open: Vec<_> = chunk.to_vec();
        while !open.is_empty() {
            assert!(started.elapsed() < PATIENCE, "{} of {} have receipts", receipts.len(), signed.len());
            let envelopes: Vec<_> = open.iter().map(|(_, envelope)| envelope.clone()).collect();
            let Some(outcomes) = send(&envelopes) else { continue };
            // What follows on something that was put off is refused until that has come in.
            let waiting = outcomes.iter().any(is_put_off);
            let answered = open.into_iter().zip(&outcomes);
            open = answered
                .filter_map(|(item, outcome)| match receipt(outcome) {
                    Ok(receipt) => {
                        assert!(receipts.insert(item.0, receipt).is_none());
                        None
                    }
                    Err(code) => {
                        let error = outcome.error.as_ref().unwrap();
                        assert!(waiting || code == "nonce_ahead", "{error:?}");
                        Some(item)
                    }
                })
                .collect();
        }
    }
    receipts
}

fn over_http(node: &Node, signed: &[(TransitionId, Blob)]) -> BTreeMap<TransitionId, Receipt> {
    let agent = agent(PATIENCE);
    insist(signed, |envelopes| submit(&agent, &node.url, envelopes))
}

fn over_nats(
    runtime: &Runtime,
    nats: &Nats,
    signed: &[(TransitionId, Blob)],
    chain: ChainId,
) -> BTreeMap<TransitionId, Receipt> {
    let subject = format!("{}.batch", Subjects::of(chain).command());
    insist(signed, |envelopes| {
        let payload = codec::encode(envelopes);
        let answer = runtime.block_on(nats.client().request(subject.clone(), payload.into())).ok()?;
        Some(codec::decode_trusted(&answer.payload).unwrap())
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

#[test]
fn ten_thousand_sent_to_two_services_are_ten_thousand_events() {
    let Some(server) = Server::start() else { return };
    let network = Network::new(&server.url(), Shape { commands: 2, queries: 0, validators: 0, replicas: 1 });
    let signed = signed(network.chain, AUTHORS, TURNS);
    assert_eq!(signed.len(), 10_000);
    let nodes: Vec<_> = network.commands.iter().map(Member::up).collect();
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| over_http(&nodes[0], &signed));
        let second = scope.spawn(|| over_http(&nodes[1], &signed));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first.len(), signed.len());
    assert!(first == second, "the services gave different receipts");

    // Again after one was killed and the other stopped in order.
    let [one, two] = <[Node; 2]>::try_from(nodes).map_err(drop).unwrap();
    one.kill();
    two.stop();
    let nodes: Vec<_> = network.commands.iter().map(Member::up).collect();
    for node in &nodes {
        assert!(over_http(node, &signed) == first, "a restart changed receipts");
    }
    // And over NATS, where either may answer.
    let runtime = runtime();
    let (nats, log) = runtime.block_on(network.log());
    assert!(over_nats(&runtime, &nats, &signed, network.chain) == first, "NATS gave other receipts");
    let audited = runtime.block_on(audit(log, &network.home.path().join("audit"), &first));
    eprintln!("ten thousand: {audited:?}");
}

/// The key in a file without a passphrase.
pub fn key_of(file: &Path) -> SecretKey {
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let seed = file["seed"].as_str().unwrap();
    let seed: Hash = seed.parse().unwrap();
    SecretKey::from_seed(seed.as_bytes())
}

/// The finalized height, as `query` knows it.
fn finalized(query: &Node) -> Option<u64> {
    let (_, answer) = query.get("/v1/finality");
    answer["value"]["finalized"]["height"].as_u64()
}

/// Waits until `query` knows that `height` is final.
pub fn await_finalized(query: &Node, height: u64) {
    let started = Instant::now();
    while finalized(query).is_none_or(|final_one| final_one < height) {
        assert!(
            started.elapsed() < PATIENCE,
            "height {height} was not finalized: {:?}",
            query.get("/v1/finality")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn finality_goes_on_with_one_faulty_validator_of_four() {
    let Some(server) = Server::start() else { return };
    let network = Network::new(&server.url(), Shape { commands: 2, queries: 1, validators: 4, replicas: 1 });
    let [liar, honest @ ..] = &network.validators[..] else { panic!("four validators") };
    let commands: Vec<_> = network.commands.iter().map(Member::up).collect();
    let query = network.queries[0].up();
    let validators: Vec<_> = honest.iter().map(Member::up).collect();
    let mut signed = signed(network.chain, 20, 12);
    let later = signed.split_off(signed.len() / 2);
    let mut receipts = over_http(&commands[0], &signed);
    let head = commands[0].status_height();
    await_finalized(&query, head);

    // The fourth says two things of one height, under its own key.
    let key = key_of(&liar.dir.join("keys").join("validator.key"));
    let validator = AccountId::from_first_key(&key.public());
    let runtime = runtime();
    let (nats, log) = runtime.block_on(network.log());
    runtime.block_on(async {
        let board = JetStreamBoard::open(nats.clone(), network.chain, 1, false).await.unwrap();
        for lie in [1, 2] {
            let attestation = Attestation {
                version: ATTESTATION_VERSION,
                chain: network.chain,
                validator,
                height: Height(head),
                header_hash: Hash::new([lie; 32]),
            };
            board.publish(sign_attestation(&attestation, &key)).await.unwrap();
        }
    });
    let started = Instant::now();
    let is_exposed = |answer: &serde_json::Value| {
        let validators = answer["value"]["validators"].as_array().unwrap();
        validators.iter().any(|one| one["account"] == validator.to_string() && one["equivocated"] == true)
    };
    while !is_exposed(&query.get("/v1/finality").1) {
        assert!(started.elapsed() < PATIENCE, "{:?}", query.get("/v1/finality"));
        std::thread::sleep(Duration::from_millis(50));
    }
    // Every service stops and starts; nothing forks, finality goes on.
    let [one, two] = <[Node; 2]>::try_from(commands).map_err(drop).unwrap();
    one.stop();
    two.kill();
    let commands: Vec<_> = network.commands.iter().map(Member::up).collect();
    receipts.extend(over_http(&commands[1], &later));
    let head = commands[1].status_height();
    await_finalized(&query, head);
    let (_, answer) = query.get("/v1/root?finality=finalized");
    assert_eq!(answer["label"], "finalized", "{answer}");
    for node in commands.iter().chain(&validators) {
        let (status, answer) = node.get("/readyz");
        assert_eq!(status, 200, "{answer}");
    }
    let state = network.queries[0].dir.join("state");
    let evidence: Vec<_> = std::fs::read_dir(&state)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.to_owned()))
        .filter(|name| name.starts_with("equivocation"))
        .collect();
    assert_eq!(evidence.len(), 1, "{evidence:?}");
    // Anyone can check the evidence offline.
    let trust = network.home.path().join("trust.json");
    json(&[
        "trust",
        "--dir",
        network.queries[0].dir.to_str().unwrap(),
        "--node",
        &query.url,
        "--out",
        trust.to_str().unwrap(),
    ]);
    let file = state.join(&evidence[0]);
    json(&["verify", "proof", file.to_str().unwrap(), "--trust", trust.to_str().unwrap()]);
    runtime.block_on(audit(log, &network.home.path().join("audit"), &receipts));
}

#[test]
fn what_is_no_history_is_skipped_by_everyone() {
    let Some(server) = Server::start() else { return };
    let shape = Shape { commands: 1, queries: 2, validators: 0, replicas: 1 };
    let (network, other) = (Network::new(&server.url(), shape), Network::new(&server.url(), shape));
    let command = network.commands[0].up();
    let early = network.queries[0].up();
    let mut signed = signed(network.chain, 10, 4);
    let later = signed.split_off(signed.len() / 2);
    let mut receipts = over_http(&command, &signed);
    let runtime = runtime();
    let (_nats, log) = runtime.block_on(network.log());
    let (_other_nats, other_log) = runtime.block_on(other.log());
    runtime.block_on(async {
        let read = |log: Arc<dyn EventLog>, at| async move {
            log.read(Sequence(at), ReadLimits::default()).await.unwrap().swap_remove(0).message
        };
        let stale = read(Arc::clone(&log), 2).await;
        let foreign = read(other_log, 1).await;
        let mut broken = stale.to_vec();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        for message in [stale, foreign, broken.into(), Bytes::from_static(b"no block at all"), Bytes::new()] {
            // The service may append meanwhile; whoever has write access simply tries again.
            while let Err(error) = log.append(log.tip().await.unwrap(), message.clone()).await {
                assert!(
                    !matches!(error, AppendError::Unclear { .. }),
                    "it may stand there twice now: {error}"
                );
            }
        }
    });
    receipts.extend(over_http(&command, &later));
    let height = command.status_height();
    let late = network.queries[1].up();
    let roots = [&early, &late].map(|query| query.root_at_least(height));
    assert_eq!(roots[0], roots[1]);
    let audited = runtime.block_on(audit(log, &network.home.path().join("audit"), &receipts));
    assert_eq!(audited.skipped.values().sum::<u64>(), 5, "{audited:?}");
    for query in [early, late] {
        let skipped = query.get("/v1/status").1["value"]["skipped"].clone();
        assert_eq!(skipped, serde_json::json!(audited.skipped), "everyone skips alike");
    }
}
