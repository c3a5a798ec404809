//! The Merkle tree alone, one core.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chaoschain_schemas::{Hash, Purpose};
use chaoschain_state::merkle::{Lookup, Pruned, Tree, Update, Version, leaf_hash, value_hash};

use super::{Figure, per_second};

/// How many versions readers are taken to hold.
const VERSIONS_KEPT: usize = 100;
/// How many leaves are updated for each figure.
const UPDATES: usize = 300_000;
const VALUE_BYTES: usize = 100;
const PROOFS: u64 = 20_000;

pub(super) fn measure(leaves: u64) -> Vec<Figure> {
    let hashes = hashing_ceiling();
    let mut rows: Vec<([u8; 32], [u8; VALUE_BYTES])> =
        (0..leaves).map(|number| (key(number), value(number))).collect();
    rows.sort_unstable();
    let start = Instant::now();
    let entries = rows.iter().map(|(key, value)| (key, value, leaf_hash(key, &value_hash(value))));
    let Ok(mut tree) = Tree::from_sorted(entries) else { return Vec::new() };
    let rebuild = start.elapsed();
    drop(rows);
    let mut figures = vec![
        Figure::new("BLAKE3 of one block, one core", hashes, "/s").note("an update takes some 10"),
        Figure::new(format!("tree: build {leaves} leaves"), rebuild.as_secs_f64(), "s")
            .note("leaves hashed too"),
    ];
    for batch in [1_000, 10_000] {
        let what = format!("tree: updates in batches of {batch}");
        let note = format!("{VERSIONS_KEPT} versions kept");
        figures.push(
            Figure::new(what, updates(&mut tree, leaves, batch), "leaves/s").under(hashes / 10.0).note(note),
        );
    }
    figures.extend(proofs(&tree.head(), leaves));
    figures
}

fn hashing_ceiling() -> f64 {
    const COUNT: usize = 1_000_000;
    let start = Instant::now();
    let mut block = [7; 64];
    for _ in 0..COUNT {
        let hash = Purpose::Node.hash(&block);
        block[..32].copy_from_slice(hash.as_bytes());
    }
    std::hint::black_box(block);
    per_second(COUNT, start.elapsed())
}

fn key(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_be_bytes()).as_bytes()
}

fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// Random enough to touch the whole tree, and the same in every run.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn updates(tree: &mut Tree, leaves: u64, batch: usize) -> f64 {
    let mut kept: VecDeque<Version> = VecDeque::new();
    let (mut spent, mut updated) = (Duration::ZERO, 0);
    // The first versions fill the window; what comes after them counts.
    for round in 0..VERSIONS_KEPT + UPDATES.div_ceil(batch) {
        let salt = |place: usize| (round * batch + place) as u64;
        let mut rows: Vec<_> = (0..batch)
            .map(|place| (key(scattered(salt(place)) % leaves), value(salt(place) + leaves)))
            .collect();
        rows.sort_unstable();
        rows.dedup_by(|a, b| a.0 == b.0);
        let batch: Vec<_> = rows.iter().map(|(key, value)| Update { key, value: Some(value) }).collect();
        let start = Instant::now();
        let Ok(version) = tree.apply(&batch) else { return 0.0 };
        kept.push_back(version);
        if kept.len() > VERSIONS_KEPT {
            kept.pop_front();
        }
        if round >= VERSIONS_KEPT {
            spent += start.elapsed();
            updated += batch.len();
        }
    }
    per_second(updated, spent)
}

fn proofs(version: &Version, leaves: u64) -> Vec<Figure> {
    let keys: Vec<_> = (0..PROOFS).map(|number| key(scattered(number) % leaves)).collect();
    let start = Instant::now();
    let proofs: Vec<_> = keys.iter().map(|key| version.prove(&[key])).collect();
    let made = start.elapsed();
    let bytes: usize = proofs.iter().map(Vec::len).sum();
    let root: Hash = version.root();
    let start = Instant::now();
    let held = keys.iter().zip(&proofs).filter(|(key, proof)| {
        Pruned::parse(proof)
            .is_ok_and(|part| part.root() == root && matches!(part.get(&key[..]), Lookup::Present(_)))
    });
    let held = held.count();
    let verified = start.elapsed();
    let each = |spent: Duration| spent.as_secs_f64() * 1e6 / keys.len() as f64;
    let note =
        if held == keys.len() { "all hold".to_owned() } else { format!("{} DO NOT HOLD", keys.len() - held) };
    vec![
        Figure::new("tree: proof of one leaf", bytes as f64 / keys.len() as f64, "bytes"),
        Figure::new("tree: make a proof", each(made), "µs"),
        Figure::new("tree: verify a proof", each(verified), "µs").note(note),
    ]
}
