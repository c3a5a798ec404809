//! The frozen witnesses: those that hold do, and those that do not are refused with the code they were frozen with.
//!
//! `CHAOSCHAIN_GOLDEN=write` writes them anew.

use std::path::PathBuf;
use std::sync::Arc;

use chaoschain_query::verify::{StateVerifier, Trust};
use chaoschain_schemas::{Hash, WitnessFile, codec};
use chaoschain_society::Society;
use serde_json::{Value as Json, json};

use crate::chain::*;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden/witness.json")
}

/// Name, file, and the code that refuses it.
type Frozen = (&'static str, Vec<u8>, Option<&'static str>);

/// Two registrations upon block 0, then a rotation and a registration, and what is wrong with the latter when it is changed.
fn frozen(chain: &mut Chain) -> Vec<Frozen> {
    let (mut ana, mut bob, mut cyd) =
        (Author::new(9, chain.id), Author::new(10, chain.id), Author::new(11, chain.id));
    let first = chain.propose(1, &[ana.register(), bob.register()]);
    let upon_genesis = codec::encode(&chain.witness(&first));
    chain.fold(&first).unwrap();
    let second = chain.propose(1, &[ana.rotate(50), cyd.register()]);
    let witness = chain.witness(&second);
    let empty = chain.propose(1, &[]);
    let mut all: Vec<Frozen> = vec![
        ("genesis's successor: two registrations", upon_genesis, None),
        ("a rotation and a registration", codec::encode(&witness), None),
        ("no events", codec::encode(&chain.witness(&empty)), None),
    ];
    let mut changed = |name, code, change: &dyn Fn(&mut WitnessFile)| {
        let mut file = witness.clone();
        change(&mut file);
        all.push((name, codec::encode(&file), Some(code)));
    };
    changed("a later version", "malformed", &|file| file.version = 2);
    changed("a record left out", "witness_incomplete", &|file| drop(file.sub_trees[0].records.pop()));
    changed("a sub-tree left out", "witness_incomplete", &|file| drop(file.sub_trees.pop()));
    changed("another value", "record_value_wrong", &|file| file.sub_trees[0].records[0].value.0[0] ^= 1);
    changed("a record twice", "records_unordered", &|file| {
        let record = file.sub_trees[0].records[0].clone();
        file.sub_trees[0].records.insert(0, record);
    });
    changed("no tree", "tree_root_wrong", &|file| file.sub_trees[0].tree.0.clear());
    changed("a tree cut short", "tree_malformed", &|file| {
        file.sub_trees[0].tree.0.pop();
    });
    changed("another sub-tree", "tree_root_wrong", &|file| file.sub_trees[0].sub_tree = 2);
    changed("the tree of blocks as a part", "sub_tree_wrong", &|file| file.sub_trees[0].sub_tree = 1);
    changed("a frontier where none is needed", "blocks_root_wrong", &|file| file.blocks.0 = vec![1; 31]);
    changed("another parent's signature", "header_signature_invalid", &|file| {
        file.parent.signature = chaoschain_schemas::Signature::new([7; 64]);
    });
    let crafted = [
        (
            "another state root",
            "state_root_wrong",
            Chain::altered(&second, PRODUCER, |header| header.state_root = Hash::new([1; 32])),
        ),
        (
            "another parent",
            "parent_wrong",
            Chain::altered(&second, PRODUCER, |header| header.parent = Hash::new([1; 32])),
        ),
        (
            "back in time",
            "timestamp_wrong",
            Chain::altered(&second, PRODUCER, |header| header.timestamp.0 -= 1_000_001),
        ),
        ("another producer's key", "producer_unauthorised", Chain::altered(&second, OTHER_PRODUCER, |_| {})),
        ("an event twice", "event_rejected", {
            let events = [second.events(), &second.events()[1..]].concat();
            Chain::with_events(&second, events, PRODUCER, |_| {})
        }),
    ];
    let crafted =
        crafted.map(|(name, code, block)| (name, codec::encode(&chain.witness(&block)), Some(code)));
    all.extend(crafted);
    all
}

fn vector((name, bytes, code): &Frozen) -> Json {
    let mut vector = json!({ "name": name, "type": "WitnessFile", "hex": hex::encode(bytes) });
    match code {
        Some(code) => vector["code"] = json!(code),
        None => vector["json"] = json!(WitnessFile::decode(bytes).unwrap()),
    }
    vector
}

#[test]
fn every_frozen_witness_is_what_it_was() {
    // The version that was the newest when they were frozen.
    let mut chain = Chain::under(Arc::new(Society), 2);
    let trust = json!({ "name": "what is trusted", "type": "trust", "json": chain.trust });
    let vectors: Vec<Json> = std::iter::once(trust).chain(frozen(&mut chain).iter().map(vector)).collect();
    let lines: Vec<String> = vectors.iter().map(ToString::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var("CHAOSCHAIN_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(path(), &text).unwrap();
    }
    let golden = std::fs::read_to_string(path()).unwrap();
    for (at, (made, frozen)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(made, frozen, "line {at} of witness.json");
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "vectors were added or left out");
}

#[test]
fn every_frozen_witness_is_judged_as_it_was() {
    let vectors: Vec<Json> = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let trust: Trust = serde_json::from_value(vectors[0]["json"].clone()).unwrap();
    let verifier = StateVerifier::new(&trust, &Society);
    let (mut held, mut refused) = (0, 0);
    for vector in &vectors[1..] {
        let verdict = verifier.verify_file(&hex::decode(vector["hex"].as_str().unwrap()).unwrap());
        match (verdict, vector["code"].as_str()) {
            (Ok(_), None) => held += 1,
            (Err(error), Some(code)) => {
                assert_eq!(error.code(), code, "{}", vector["name"]);
                refused += 1;
            }
            (other, _) => panic!("{}: {other:?}", vector["name"]),
        }
    }
    assert_eq!((held, refused), (3, 16));
}
