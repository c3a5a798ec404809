//! Figures of the Merkle tree on one core: `cargo bench -p chaoschain-state --bench tree [-- leaves]`.
//!
//! Rates are per second of the core's time, so that neighbours count less. The ceiling, one keyed BLAKE3 of 64 bytes
//! after another, is measured in the same run.

#![allow(clippy::cast_precision_loss, reason = "rates are for people")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use chaoschain_schemas::{Hash, Purpose};
use chaoschain_state::merkle::{Builder, Lookup, Pruned, Tree, Update, Version, leaf_hash, value_hash};
use cpu_time::ThreadTime;

const LEAVES: u64 = 1_000_000;
const VERSIONS_KEPT: usize = 100;
const VALUE_BYTES: usize = 100;
const UPDATES_MEASURED: usize = 400_000;

fn main() {
    let leaves = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(LEAVES);
    let hashes = rate(1_000_000, || {
        let mut block = [7; 64];
        for _ in 0..1_000_000 {
            let hash = Purpose::Node.hash(black_box(&block));
            block[..32].copy_from_slice(hash.as_bytes());
        }
        black_box(block);
    });
    println!("ceiling: BLAKE3 of 64 B   {hashes:>12.0} /s");

    let mut rows: Vec<_> = (0..leaves).map(|n| (key(n), value(n, 0))).collect();
    rows.sort_unstable();
    // Rows to build from lie one after another, as in a file.
    let rows = rows.clone();
    let start = ThreadTime::now();
    let leaf_hashes: Vec<Hash> = rows.iter().map(|(key, value)| leaf_hash(key, &value_hash(value))).collect();
    println!("hash {leaves} leaves       {:>12.3} s", start.elapsed().as_secs_f64());
    let start = ThreadTime::now();
    let mut builder = Builder::new(Tree::new());
    for ((key, value), hash) in rows.iter().zip(&leaf_hashes) {
        builder.push(key, value, *hash).expect("rows ascend");
    }
    let mut tree = builder.finish().expect("there is room");
    println!("build from them           {:>12.3} s", start.elapsed().as_secs_f64());
    let content: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    memory("built", &tree, content, leaves);

    for batch in [1_000, 10_000] {
        let (updates, peak) = updates(&mut tree, leaves, batch);
        println!("update, batches of {batch:<6} {updates:>12.0} leaves/s  (slowest batch {peak:.0}/s)");
    }
    memory("after", &tree, content, leaves);
    reads(&tree.head(), leaves);
}

fn updates(tree: &mut Tree, leaves: u64, batch: usize) -> (f64, f64) {
    let mut kept = VecDeque::new();
    let mut spent = Duration::ZERO;
    let mut slowest = f64::MAX;
    let rounds = (UPDATES_MEASURED / batch).max(VERSIONS_KEPT / 2);
    // The first round of versions fills the window; only what comes after it counts.
    for round in 0..VERSIONS_KEPT + rounds {
        let mut rows: Vec<_> = (0..batch)
            .map(|n| {
                let salt = (round * batch + n) as u64;
                (key(pseudo_random(salt) % leaves), value(salt, batch as u64))
            })
            .collect();
        rows.sort_unstable();
        rows.dedup_by(|a, b| a.0 == b.0);
        let updates: Vec<_> = rows.iter().map(|(key, value)| Update { key, value: Some(value) }).collect();
        let start = ThreadTime::now();
        kept.push_back(tree.apply(&updates).expect("the batch is in order"));
        if kept.len() > VERSIONS_KEPT {
            kept.pop_front();
        }
        if round >= VERSIONS_KEPT {
            spent += start.elapsed();
            slowest = slowest.min(updates.len() as f64 / start.elapsed().as_secs_f64());
        }
    }
    ((rounds * batch) as f64 / spent.as_secs_f64(), slowest)
}

fn reads(version: &Version, leaves: u64) {
    const READS: u64 = 200_000;
    let keys: Vec<_> = (0..READS).map(|n| key(pseudo_random(n) % leaves)).collect();
    let gets = rate(READS, || keys.iter().for_each(|key| assert!(version.get(key).is_some())));
    println!("point read                {gets:>12.0} /s");
    let mut proofs = Vec::new();
    let made = rate(READS, || proofs.extend(keys.iter().map(|key| version.prove(&[key]))));
    let bytes = proofs.iter().map(Vec::len).sum::<usize>() as u64 / READS;
    println!("proof made                {made:>12.0} /s   {bytes} B");
    let verified = rate(READS, || {
        for (key, proof) in keys.iter().zip(&proofs) {
            let pruned = Pruned::parse(proof).expect("a proof");
            assert!(pruned.root() == version.root() && matches!(pruned.get(key), Lookup::Present(_)));
        }
    });
    println!("proof verified            {verified:>12.0} /s");
    let scanned = rate(leaves, || assert_eq!(version.iter().count() as u64, leaves));
    println!("scan                      {scanned:>12.0} leaves/s");
}

fn memory(when: &str, tree: &Tree, content: usize, leaves: u64) {
    let memory = tree.memory();
    let over = (memory.allocated_bytes.saturating_sub(content)) as u64 / leaves;
    println!("memory {when}              {over:>12} B a leaf beyond key and value   {memory:?}");
}

fn rate(count: u64, work: impl FnOnce()) -> f64 {
    let start = ThreadTime::now();
    work();
    count as f64 / start.elapsed().as_secs_f64()
}

fn pseudo_random(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// Distinct keys of 33 to 65 bytes, spread evenly.
fn key(n: u64) -> Vec<u8> {
    let mut key = Purpose::Name.hash(&n.to_be_bytes()).as_bytes().to_vec();
    key.resize(33 + (n % 33) as usize, n as u8);
    key
}

fn value(n: u64, salt: u64) -> Vec<u8> {
    let mut value = vec![n as u8; VALUE_BYTES];
    value[..8].copy_from_slice(&n.to_be_bytes());
    value[8..16].copy_from_slice(&salt.to_be_bytes());
    value
}
