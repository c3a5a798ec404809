//! Bad input, from outside and from below: every refusal has its code, and nothing acknowledged is lost.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chaoschain_events::envelope::assemble;
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog as _, ReadLimits};
use chaoschain_schemas::society::{
    AgentRegistration, AllianceFormation, AlliancePurpose, AllianceTerms, CustomSet, Personality,
    PurposeKind, ReputationUpdate,
};
use chaoschain_schemas::{
    AccountId, Body, ChainId, Expectation, Fixed, Hash, Micros, PartySignature, PublicKey, Sequence,
    Signature, Timestamp, codec,
};
use chaoschain_test_support::SmallDisk;

use crate::harness::{Author, Node, Random, json, run};

const SUBMIT: &str = "/v1/transitions";
const MSGPACK: &str = "application/msgpack";
/// How often a random bit of each file is flipped.
const FLIPS: usize = 12;

fn init(dir: &Path) {
    json(&["init", "--dir", dir.to_str().unwrap(), "--name", "bad"]);
}

/// A chain with two agents and some blocks, its node running.
fn started(dir: &Path) -> (Node, Author, Author) {
    init(dir);
    let node = Node::up(dir);
    let (mut ana, mut bob) = (Author::new(node.chain, 1), Author::new(node.chain, 2));
    node.accepted(&[ana.register().1, bob.register().1]);
    for _ in 0..8 {
        node.accepted(&[ana.sign(&rating(&bob)).1]);
    }
    (node, ana, bob)
}

fn rating(subject: &Author) -> ReputationUpdate {
    ReputationUpdate { subject: subject.id, rating: Fixed::from_millionths(1000) }
}

fn code(answer: &serde_json::Value) -> &str {
    answer["code"].as_str().unwrap_or_else(|| panic!("no code in {answer}"))
}

#[test]
fn transitions_are_refused_with_their_codes() {
    let dir = tempfile::tempdir().unwrap();
    let (node, ana, bob) = started(&dir.path().join("data"));
    let (before, stranger) = (node.root(), Author::new(node.chain, 3));
    let body = |change: &dyn Fn(&mut Body)| {
        let mut body = ana.body(&rating(&bob));
        change(&mut body);
        ana.envelope(&codec::encode(&body), &[])
    };
    let good = body(&|_| {});
    let bytes = codec::encode(&ana.body(&rating(&bob)));
    // The version, a small number, written in three bytes.
    let long_form = [&bytes[..1], &[0xcd, 0, 1], &bytes[2..]].concat();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let alliance = AllianceFormation {
        members: vec![ana.id, bob.id],
        purpose: AlliancePurpose { kind: PurposeKind::MemePromotion, text: None },
        terms: AllianceTerms { duration: Micros(86_400_000_000), benefits: vec![], conditions: vec![] },
        exclusive: false,
    };
    let expects =
        |value| Expectation { sub_tree: 2, key: [&[1], &ana.id.as_bytes()[..]].concat().into(), value };
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("truncated", good[..good.len() - 1].to_vec(), 400),
        ("truncated", vec![], 400),
        ("truncated", vec![0xdd, 0xff, 0xff, 0xff, 0xff], 400),
        ("trailing_bytes", [&good[..], &[0]].concat(), 400),
        ("too_large", vec![0; 145 << 10], 413),
        ("too_large", body(&|body| body.payload = vec![0; 65].into()), 413),
        ("too_deep", [vec![0x91; 40], vec![0x90]].concat(), 400),
        ("malformed", vec![0x81, 0, 0], 400),
        ("not_canonical", ana.envelope(&long_form, &[]), 400),
        ("malformed", body(&|body| body.lane = 16), 400),
        ("chain_wrong", body(&|body| body.chain = ChainId::new([0; 32])), 422),
        ("epoch_wrong", body(&|body| body.epoch = 7), 422),
        ("nonce_used", body(&|body| body.nonce = 0), 409),
        ("nonce_ahead", body(&|body| body.nonce += 5), 409),
        ("expired", body(&|body| body.valid_until = Timestamp(5)), 422),
        ("validity_too_long", body(&|body| body.valid_until = Timestamp(u64::MAX)), 422),
        ("expectation_failed", body(&|body| body.expects = vec![expects(None)]), 409),
        ("expectation_failed", body(&|body| body.expects = vec![expects(Some(Hash::new([9; 32])))]), 409),
        ("account_unknown", stranger.envelope(&codec::encode(&stranger.body(&rating(&ana))), &[]), 422),
        ("agent_unknown", ana.envelope(&codec::encode(&ana.body(&rating(&stranger))), &[]), 422),
        ("kind_unknown", body(&|body| body.kind = 999), 422),
        ("cosignature_missing", ana.envelope(&codec::encode(&ana.body(&alliance)), &[]), 422),
        ("cosignature_unneeded", ana.envelope(&bytes, &[&bob]), 422),
        ("author_signature_missing", bob.envelope(&bytes, &[]), 422),
        ("signature_invalid", forged, 422),
        ("key_weak", weak_registration(&stranger), 422),
    ];
    for (number, (wanted, envelope, status)) in cases.iter().enumerate() {
        let (got, answer) = node.post(SUBMIT, MSGPACK, envelope);
        assert_eq!((code(&answer), got), (*wanted, *status), "case {number}: {answer}");
    }
    assert_eq!(node.root(), before, "something that was refused changed the state");
    assert_eq!(node.post(SUBMIT, MSGPACK, &good).0, 200, "what is right is taken after all that");
}

/// A registration under the neutral point, for which anybody can make a signature that verifies.
fn weak_registration(author: &Author) -> Vec<u8> {
    let neutral = std::array::from_fn(|place| u8::from(place == 0));
    let key = PublicKey::new(neutral);
    let signer = AccountId::from_first_key(&key);
    let registration = AgentRegistration { personality: Personality::Neutral };
    let body = codec::encode(&Body { author: signer, ..author.body(&registration) });
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&neutral);
    assemble(&body, vec![PartySignature { signer, key, signature: Signature::new(signature) }])
}

#[test]
fn requests_are_refused_with_their_codes() {
    let dir = tempfile::tempdir().unwrap();
    let (node, ana, bob) = started(&dir.path().join("data"));
    let before = node.root();
    let good = ana.envelope(&codec::encode(&ana.body(&rating(&bob))), &[]);
    let posts = [
        (SUBMIT, "text/plain", &good[..], 415, "content_type_unknown"),
        (SUBMIT, "application/json", b"{", 400, "malformed"),
        (SUBMIT, "application/json", br#"{"envelope":"?"}"#, 400, "malformed"),
        // A misspelt dry_run must not submit.
        ("/v1/transitions?dryrun=true", MSGPACK, &good, 400, "malformed"),
        ("/v1/transitions/batch?dry_run=true", MSGPACK, b"\x90", 400, "malformed"),
        ("/v1/transitions/batch", MSGPACK, b"\xdd\xff\xff\xff\xff", 400, "truncated"),
        ("/v1/status", MSGPACK, b"", 405, "method_not_allowed"),
    ];
    for (path, content_type, body, status, wanted) in posts {
        let (got, answer) = node.post(path, content_type, body);
        assert_eq!((got, code(&answer)), (status, wanted), "{path}");
    }
    let long = format!("/v1/agents/{}", "0".repeat(2000));
    let gets = [
        (SUBMIT, 405, "method_not_allowed"),
        ("/nothing", 404, "path_unknown"),
        ("/v1/agents/xyz", 400, "argument_wrong"),
        (&long, 400, "argument_wrong"),
        ("/v1/blocks/-1", 400, "argument_wrong"),
        ("/v1/blocks/999", 404, "block_unknown"),
        ("/v1/root?bogus=1", 400, "argument_wrong"),
        ("/v1/root?min_height=999&patience_ms=1", 503, "height_not_reached"),
    ];
    for (path, status, wanted) in gets {
        let (got, answer) = node.get(path);
        assert_eq!((got, code(&answer)), (status, wanted), "{path}");
    }
    assert_eq!(node.root(), before);
}

#[test]
fn foreign_messages_in_the_log_are_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (node, mut ana, bob) = started(&data);
    let before = node.root();
    node.kill();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = EmbeddedLog::open(data.join("log"), EmbeddedOptions::default()).unwrap();
        let blocks = log.read(Sequence(2), ReadLimits::default()).await.unwrap();
        let old = blocks[0].message.clone();
        let newest = blocks.last().unwrap().message.to_vec();
        let torn = newest[..newest.len() - 1].to_vec();
        // One bit of the header, so that the producer's signature does not hold.
        let mut forged = newest;
        forged[60] ^= 1;
        for message in [Bytes::from_static(b"garbage"), torn.into(), old, forged.into()] {
            let tip = log.tip().await.unwrap();
            log.append(tip, message).await.unwrap();
        }
        log.close().await;
    });
    let node = Node::up(&data);
    assert_eq!(node.root(), before);
    let (_, status) = node.get("/v1/status");
    let skipped = &status["value"]["skipped"];
    assert_eq!((&skipped["foreign"], &skipped["stale"]), (&3.into(), &1.into()), "{status}");
    node.accepted(&[ana.sign(&rating(&bob)).1]);
    node.kill();
    assert_eq!(Node::up(&data).root().0, before.0 + 1);
}

#[test]
fn a_key_that_is_no_producers_seals_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (node, ana, bob) = started(&data);
    let before = node.root();
    node.kill();
    let key = data.join("keys/producer.key");
    fs::remove_file(&key).unwrap();
    json(&["key", "new", key.to_str().unwrap()]);
    let size = fs::metadata(log_file(&data)).unwrap().len();
    let node = Node::up(&data);
    let good = ana.envelope(&codec::encode(&ana.body(&rating(&bob))), &[]);
    let (status, answer) = node.post(SUBMIT, MSGPACK, &good);
    assert_eq!((status, code(&answer)), (503, "producer_unauthorised"));
    assert_eq!(node.root(), before);
    assert_eq!(fs::metadata(log_file(&data)).unwrap().len(), size);
}

fn log_file(data: &Path) -> PathBuf {
    data.join("log/00000000000000000001.log")
}

fn flip(file: &Path, bit: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

/// What damages a data directory.
type Damage = fn(&Path);

#[test]
fn damage_is_named_and_what_is_mended_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (node, ..) = started(&data);
    let before = node.root();
    let (exit, said) = Node::try_up(&data).err().unwrap();
    assert_eq!(exit, Some(3), "{said}");
    assert!(said.contains("error[log_locked]") && said.contains(&node.pid().to_string()), "{said}");
    // In order, for a state that has every block tells a lost one from a torn append, which nobody was told of.
    node.stop();
    let cases: [(&str, i32, &str, Damage); 8] = [
        ("log/00000000000000000001.log", 4, "log_corrupt", |file| flip(file, 8 * 200)),
        ("log/00000000000000000001.log", 4, "log_behind", |file| fs::remove_file(file).unwrap()),
        ("log/00000000000000000099.log", 4, "log_foreign_file", |file| fs::write(file, "a text").unwrap()),
        ("state/projection.redb", 4, "store_foreign", |file| fs::write(file, "a text".repeat(999)).unwrap()),
        ("state/projection.redb", 4, "store_corrupt", |file| {
            let half = fs::metadata(file).unwrap().len() / 2;
            fs::File::options().write(true).open(file).unwrap().set_len(half).unwrap();
        }),
        ("chain.toml", 2, "chain_missing", |file| fs::remove_file(file).unwrap()),
        ("keys/producer.key", 2, "key_malformed", |file| fs::write(file, [0xff; 99]).unwrap()),
        ("keys/producer.key", 2, "role_key_missing", |file| fs::remove_file(file).unwrap()),
    ];
    for (name, exit, wanted, damage) in cases {
        let file = data.join(name);
        let whole = fs::read(&file).ok();
        damage(&file);
        // Without being told its role, a node with no key would only answer reads.
        let up = Node::try_up_with(&data, &["--role", "command,query"]);
        let (ended, said) = up.err().unwrap_or_else(|| panic!("{wanted} was not noticed"));
        assert_eq!(ended, Some(exit), "{said}");
        assert!(said.contains(&format!("error[{wanted}]")), "{said}");
        match whole {
            Some(whole) => fs::write(&file, whole).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let node = Node::up(&data);
        assert_eq!(node.root(), before, "after {wanted}");
        node.stop();
    }
}

#[test]
fn random_flipped_bits_are_noticed_or_change_nothing() {
    let mut random = Random::new("flipped bits");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (node, ..) = started(&data);
    let before = node.root();
    // As above: a flip in the newest record must not pass for a torn append.
    node.stop();
    for file in [log_file(&data), data.join("state/projection.redb")] {
        for _ in 0..FLIPS {
            let state = data.join("state/projection.redb");
            let (log, stored) = (fs::read(log_file(&data)).unwrap(), fs::read(&state).unwrap());
            let bit = random.below(fs::metadata(&file).unwrap().len() * 8);
            flip(&file, bit);
            match Node::try_up(&data) {
                Ok(node) => assert_eq!(node.root(), before, "bit {bit} of {}", file.display()),
                Err((exit, said)) => assert_eq!(exit, Some(4), "bit {bit} of {}: {said}", file.display()),
            }
            fs::write(log_file(&data), log).unwrap();
            fs::write(&state, stored).unwrap();
        }
    }
    assert_eq!(Node::up(&data).root(), before);
}

#[test]
fn a_full_disk_under_log_and_state_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    let Some(disk) = SmallDisk::mount(&small, "6m") else { return };
    let data = small.join("data");
    let (mut node, mut ana, _) = started(&data);
    let mut receipts = Vec::new();
    let refused = loop {
        let slot = receipts.len();
        let value = vec![slot as u8; 4000].into();
        let (_, envelope) = ana.sign(&CustomSet { namespace: "n".into(), key: slot.to_string(), value });
        let (status, answer) = node.post(SUBMIT, MSGPACK, &envelope.0);
        if status != 200 {
            assert_eq!((status, code(&answer)), (503, "log_no_space"), "{answer}");
            break envelope;
        }
        receipts.push(answer["id"].as_str().unwrap().to_owned());
        assert!(slot < 10_000, "the disk never filled up");
    };
    // Reads go on, over a power cut, too.
    for _ in 0..2 {
        for id in &receipts {
            assert_eq!(node.get(&format!("/v1/events/by-id/{id}")).0, 200, "{id}");
        }
        node.kill();
        node = Node::up(&data);
    }
    disk.grow("60m");
    let (status, answer) = node.post(SUBMIT, MSGPACK, &refused.0);
    assert_eq!(status, 200, "it goes on when there is room, with the same bytes: {answer}");
    receipts.push(answer["id"].as_str().unwrap().to_owned());
    node.kill();
    let node = Node::up(&data);
    assert!(receipts.iter().all(|id| node.get(&format!("/v1/events/by-id/{id}")).0 == 200));
    node.kill();
    let examined = run(&["doctor", "--deep", "--dir", data.to_str().unwrap()]);
    assert!(examined.status.success(), "{}", String::from_utf8_lossy(&examined.stderr));
}
