//! The tree's format, frozen: `schemas/golden/merkle.json` is what another implementation has to reproduce.
//!
//! A difference here is a change of format. If that is meant, run this test with `CHAOSCHAIN_GOLDEN=write` and say so in the
//! changelog: every root of every chain changes with it.

use std::fmt::Write;
use std::ops::Bound;

use chaoschain_state::merkle::blocks::{Frontier, MemoryTiles, consistency};
use chaoschain_state::merkle::{Pruned, Tree, Update, leaf_hash, node_hash, value_hash};
use serde_json::{Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/golden/merkle.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn hashes() -> Value {
    let (a, b) = (value_hash(b""), value_hash(b"value"));
    json!({
        "value_hash": [{"value": "", "hash": a.to_string()}, {"value": hex(b"value"), "hash": b.to_string()}],
        "leaf_hash": [{"key": hex(b"key"), "value_hash": b.to_string(), "hash": leaf_hash(b"key", &b).to_string()}],
        "node_hash": [{"bit": 260, "left": a.to_string(), "right": b.to_string(), "hash": node_hash(260, &a, &b).to_string()}],
    })
}

fn tree(keys: &[&[u8]], proofs: &[&[&[u8]]], ranges: &[(&[u8], &[u8])]) -> Value {
    let value = |key: &[u8]| [key, b"!"].concat();
    let rows: Vec<_> = keys.iter().map(|key| (*key, value(key))).collect();
    let updates: Vec<_> = rows.iter().map(|(key, value)| Update { key, value: Some(value) }).collect();
    let version = Tree::new().apply(&updates).expect("the rows are in order");
    let proof = |asked: &&[&[u8]]| {
        let bytes = version.prove(asked);
        let pruned = Pruned::parse(&bytes).expect("a proof");
        let answers =
            asked.iter().map(|key| json!({"key": hex(key), "answer": format!("{:?}", pruned.get(key))}));
        json!({"answers": answers.collect::<Vec<_>>(), "bytes": hex(&bytes)})
    };
    let range = |(from, to): &(&[u8], &[u8])| {
        let proof = version.prove_range(from, Bound::Included(to), usize::MAX);
        json!({"from": hex(from), "to_inclusive": hex(to), "bytes": hex(&proof.bytes)})
    };
    json!({
        "entries": rows.iter().map(|(key, value)| json!({"key": hex(key), "value": hex(value)})).collect::<Vec<_>>(),
        "root": version.root().to_string(),
        "proofs": proofs.iter().map(proof).collect::<Vec<_>>(),
        "ranges": ranges.iter().map(range).collect::<Vec<_>>(),
    })
}

fn blocks() -> Value {
    let (mut frontier, mut tiles) = (Frontier::new(), MemoryTiles::default());
    let mut roots = vec![frontier.root().to_string()];
    for height in 0..7_u8 {
        tiles.append(&mut frontier, value_hash(&[height]));
        roots.push(frontier.root().to_string());
    }
    json!({
        "header_hashes": (0..7_u8).map(|height| value_hash(&[height]).to_string()).collect::<Vec<_>>(),
        "roots_by_size": roots,
        "frontier_of_7": hex(&frontier.encode()),
        "consistency_of_4_and_7": hex(&consistency(&tiles, 4, 7).expect("within the chain")),
    })
}

#[test]
fn the_format_is_frozen() {
    let now = json!({
        "hashes": hashes(),
        "trees": [
            tree(&[], &[&[b"a"]], &[]),
            tree(&[b"a"], &[&[b"a"], &[b"b"]], &[(b"", b"z")]),
            tree(&[b"a", b"b"], &[&[b"a"], &[b"c"]], &[]),
            tree(
                &[b"ant", b"bee", b"cat", b"cow", b"owl"],
                &[&[b"cat"], &[b"dog"], &[b"ant", b"owl"]],
                &[(b"b", b"cz"), (b"d", b"n")],
            ),
        ],
        "blocks": blocks(),
    });
    if std::env::var_os("CHAOSCHAIN_GOLDEN").is_some_and(|what| what == "write") {
        let text = serde_json::to_string_pretty(&now).expect("JSON") + "\n";
        std::fs::write(FILE, text).expect("schemas/golden can be written");
    }
    let frozen = std::fs::read_to_string(FILE).expect("schemas/golden/merkle.json is part of the repository");
    let frozen: Value = serde_json::from_str(&frozen).expect("JSON");
    assert_eq!(now, frozen, "the format of the tree has changed");
}
