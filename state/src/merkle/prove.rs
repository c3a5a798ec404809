//! Proofs out of a version: the parts of the tree that answer a question, everything else by hash.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::arena::{Arena, NONE, is_leaf, key_words};
use super::proof::write;
use super::version::{Value, Version};
use super::{bit_of, value_hash};

/// A proof of what lies in a range, or in the first part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeProof {
    /// The pruned tree.
    pub bytes: Vec<u8>,
    /// The last key that the proof covers, if the limit was reached before the end of the range: the proof is
    /// complete from the start of the range up to and with this key. None if it is complete for all of the range.
    pub last: Option<Vec<u8>>,
}

/// What answers many questions of one tree: a pruned tree, and the records that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The pruned tree.
    pub bytes: Vec<u8>,
    /// The records at the keys and in the ranges, ascending by key. What is opened only to show that a key is absent, or
    /// where a range ends, is not among them.
    pub records: Vec<(Vec<u8>, Value)>,
}

impl Version {
    /// One proof for all of `keys`, whether they are there or not, in any order.
    ///
    /// Opened is, for each key, the leaf that it arrives at by descending with its own bits: the key's own leaf, or
    /// one that shows that it is absent. A reader of proofs takes at most [`PROOF_BYTES_MAX`]; a single key takes
    /// about 700 bytes at a million leaves, so ask for a few thousand keys at most. With no keys the first leaf is
    /// opened, for there is no proof that opens nothing.
    ///
    /// [`PROOF_BYTES_MAX`]: chaoschain_schemas::limits::PROOF_BYTES_MAX
    pub fn prove(&self, keys: &[&[u8]]) -> Vec<u8> {
        let arena = self.arena();
        let mut open = BTreeSet::new();
        if self.top() != NONE {
            let keys = if keys.is_empty() { &[&[][..]] } else { keys };
            open.extend(keys.iter().map(|key| arena.descend(self.top(), &key_words(key))));
        }
        self.open(&open)
    }

    /// A proof of all leaves from `from` (inclusive) to `to`, and that there are no others; at most `limit` leaves
    /// of the range, which should be at least 1.
    ///
    /// Opened are the leaves of the range, and the leaf that each bound arrives at by descending with its own bits.
    /// Then no pruned sub-tree can straddle a bound, since the bound's own path is open to its end, and none can lie
    /// between the bounds, since all leaves there are open; and a reader sees it, because the opened keys around a
    /// pruned sub-tree fix the first bits of all its keys. At the edges of the key space there is nothing to show.
    pub fn prove_range(&self, from: &[u8], to: Bound<&[u8]>, limit: usize) -> RangeProof {
        if self.top() == NONE {
            return RangeProof { bytes: Vec::new(), last: None };
        }
        let arena = self.arena();
        let mut open = BTreeSet::from([arena.descend(self.top(), &key_words(from))]);
        let mut range = self.range(from, to);
        let mut last = None;
        for _ in 0..limit {
            let Some((link, key)) = range.next_leaf() else { break };
            open.insert(link);
            last = Some(key);
        }
        if range.next_leaf().is_none() {
            last = None;
            if let Bound::Included(to) | Bound::Excluded(to) = to {
                open.insert(arena.descend(self.top(), &key_words(to)));
            }
        }
        RangeProof { bytes: self.open(&open), last }
    }

    /// One proof for `keys`, whether they are there or not, and for `ranges`, both ends included, together with their
    /// records. What is opened is what [`Version::prove`] opens for the keys and [`Version::prove_range`] for each range
    /// without a limit, so the same keys and ranges in any order give the same bytes.
    pub fn show(&self, keys: &[&[u8]], ranges: &[(&[u8], &[u8])]) -> Shown {
        if self.top() == NONE {
            return Shown { bytes: Vec::new(), records: Vec::new() };
        }
        let arena = self.arena();
        let arrival = |key: &[u8]| arena.descend(self.top(), &key_words(key));
        let mut open = BTreeSet::new();
        let mut records = BTreeMap::new();
        for key in keys {
            let link = arrival(key);
            open.insert(link);
            let here = arena.key(link);
            if here == *key {
                records.insert(here, link);
            }
        }
        for (from, to) in ranges {
            open.extend([arrival(from), arrival(to)]);
            let mut range = self.range(from, Bound::Included(to));
            while let Some((link, key)) = range.next_leaf() {
                open.insert(link);
                records.insert(key, link);
            }
        }
        if open.is_empty() {
            open.insert(arrival(&[]));
        }
        let records = records.into_iter().map(|(key, link)| (key, arena.value(link)));
        Shown { bytes: self.open(&open), records: records.collect() }
    }

    /// The pruned tree with these leaves opened.
    fn open(&self, leaves: &BTreeSet<u32>) -> Vec<u8> {
        let mut out = Vec::new();
        if self.top() != NONE {
            let arena = &**self.arena();
            let keys: Vec<_> = leaves.iter().map(|link| arena.key(*link)).collect();
            let mut keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
            keys.sort_unstable();
            write_opened(arena, self.top(), &keys, &mut out);
        }
        out
    }
}

/// Writes the sub-tree at `link` in pre-order; `keys` are those of its leaves to open, ascending, at least one.
fn write_opened(arena: &Arena, link: u32, keys: &[&[u8]], out: &mut Vec<u8>) {
    if is_leaf(link) {
        write::leaf(out, keys[0], &value_hash(&arena.value(link)));
        return;
    }
    let node = arena.node(link);
    let block = arena.block(link);
    write::node(out, node.bit);
    let (left, right) = keys.split_at(keys.partition_point(|key| !bit_of(key, node.bit.into())));
    for (keys, link, hash) in [(left, node.left, &block[2..33]), (right, node.right, &block[33..])] {
        if keys.is_empty() {
            write::hash(out, hash);
        } else {
            write_opened(arena, link, keys, out);
        }
    }
}
