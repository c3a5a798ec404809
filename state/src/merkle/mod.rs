//! The canonical Merkle tree of chaoschain: a path-compressed binary (crit-bit) tree over ordered key bytes.
//!
//! The same tree commits to everything: a sub-tree of the state, the state root over its sub-trees, the events of a
//! block and the chain of block headers. [`Tree`] keeps one in memory in many versions, [`Pruned`] is a part of one
//! that still has its root (every proof is one), [`blocks`] keeps the tree of headers in O(log n) memory, and
//! [`root_of`] computes a root and keeps nothing.
//!
//! # Format
//! Keys are 1 to [`limits::KEY_BYTES_MAX`] bytes and prefix-free: none is the beginning of another. Bit 0 of a key is
//! the most significant bit of its first byte. `H(p, x)` is the BLAKE3 of `x` under the key of purpose `p`.
//! ```text
//! value hash  H(value, value bytes)
//! leaf hash   H(leaf,  key length u16 BE ‖ key ‖ value hash)
//! node hash   H(node,  bit u16 BE ‖ left[..31] ‖ right[..31])       64 bytes: one BLAKE3 block
//! root        the hash of the top element, all 32 bytes; 32 zero bytes for the empty tree
//! ```
//! A node stands where its keys first differ: `bit` is that position, keys with a 0 there are left, with a 1 right.
//! Children enter a node by the first 31 bytes of their hash, which keeps 124 bits of collision resistance.
//!
//! # Invariants
//! - The root is a function of the set of (key, value) pairs alone, never of order, batches or history.
//! - Bits increase strictly downwards, and all keys under a node agree before its bit. So every check is local.
//! - A key that descends through a tree by its own bits, unread bits aside, arrives at itself or is absent.
//! - Nothing here reads a clock, a file or randomness, and nothing is hashed that is not in the format above.

mod arena;
pub mod blocks;
mod compare;
mod descents;
mod fresh;
mod listed;
mod pages;
mod proof;
mod prove;
mod pruned;
mod region;
mod tree;
mod update;
mod version;

use std::ops::Bound;

use chaoschain_schemas::{Hash, Purpose, limits};

pub use blocks::{Frontier, FrontierError};
pub use compare::Difference;
pub use listed::prove_entry;
pub use proof::{Incomplete, Lookup, ProofError, ProofLimits, Pruned, element_count};
pub use prove::{RangeProof, Shown};
pub use pruned::PrunedError;
pub use region::{Region, RegionError, SPREAD_DEPTH_MAX};
pub use tree::{Builder, Memory, Tree, Update};
pub use version::{Range, Value, Version};

/// The most levels a tree can have: one for each bit of the longest key.
pub const DEPTH_MAX: usize = 8 * limits::KEY_BYTES_MAX;

/// Why a tree refused keys or values, or to go back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A key of no bytes.
    #[error("entry {index}: the key is empty")]
    KeyEmpty {
        /// Position of the entry in what was given.
        index: usize,
    },
    /// A key over [`limits::KEY_BYTES_MAX`].
    #[error("entry {index}: the key has {bytes} bytes, at most {} are allowed", limits::KEY_BYTES_MAX)]
    KeyTooLong {
        /// Position of the entry in what was given.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// A key that does not follow the one before it.
    #[error("entry {index}: keys must ascend strictly, and this one does not follow the one before it")]
    NotAscending {
        /// Position of the entry in what was given.
        index: usize,
    },
    /// A key that begins another, or begins with another.
    #[error("entry {index}: no key may begin another, and this one does or begins with one")]
    PrefixOfAnother {
        /// Position of the entry in what was given.
        index: usize,
    },
    /// A value over [`limits::VALUE_BYTES_MAX`].
    #[error("entry {index}: the value has {bytes} bytes, at most {} are allowed", limits::VALUE_BYTES_MAX)]
    ValueTooLong {
        /// Position of the entry in what was given.
        index: usize,
        /// Its length.
        bytes: usize,
    },
    /// The tree's memory limit is reached.
    #[error("the tree is full: drop old versions or raise its limits")]
    Full,
    /// The version to go back to is not one that the head came from.
    #[error("this version is not an ancestor of the tree's head")]
    NotAnAncestor,
}

/// The hash that a leaf commits to for a value.
pub fn value_hash(value: &[u8]) -> Hash {
    Purpose::Value.hash(value)
}

/// The hash of a leaf. `key` has at most [`limits::KEY_BYTES_MAX`] bytes.
///
/// # Panics
/// On a longer key.
pub fn leaf_hash(key: &[u8], value_hash: &Hash) -> Hash {
    let mut bytes = [0; 2 + limits::KEY_BYTES_MAX + 32];
    let end = 2 + key.len();
    bytes[..2].copy_from_slice(&(key.len() as u16).to_be_bytes());
    bytes[2..end].copy_from_slice(key);
    bytes[end..end + 32].copy_from_slice(value_hash.as_bytes());
    Purpose::Leaf.hash(&bytes[..end + 32])
}

/// The hash of an inner node.
pub fn node_hash(bit: u16, left: &Hash, right: &Hash) -> Hash {
    Purpose::Node.hash(&block(bit, &short(left), &short(right)))
}

/// The root over (key, value hash) pairs in strictly ascending order of key, in one pass and O(depth) memory.
///
/// # Panics
/// On keys that are empty, too long, out of order or not prefix-free: those a caller orders and shapes itself.
pub fn root_of<K: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, Hash)>) -> Hash {
    fold_root(entries).unwrap_or_else(|error| panic!("{error}"))
}

fn fold_root<K: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, Hash)>) -> Result<Hash, TreeError> {
    let mut spine: Vec<(u16, Hash)> = Vec::new();
    let mut last: Option<(K, Hash)> = None;
    for (index, (key, value)) in entries.into_iter().enumerate() {
        check_key(key.as_ref(), index)?;
        let leaf = leaf_hash(key.as_ref(), &value);
        if let Some((before, mut top)) = last {
            let bit = follows(before.as_ref(), key.as_ref(), index)?;
            while let Some((above, left)) = spine.pop_if(|(above, _)| *above > bit) {
                top = node_hash(above, &left, &top);
            }
            spine.push((bit, top));
        }
        last = Some((key, leaf));
    }
    let top = last.map_or(Hash::ZERO, |(_, leaf)| leaf);
    Ok(spine.into_iter().rev().fold(top, |right, (bit, left)| node_hash(bit, &left, &right)))
}

/// The first key after all keys that begin with `prefix`, as the upper bound of a range.
pub fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

/// The part of a hash that its parent commits to.
type Short = [u8; 31];

fn short(hash: &Hash) -> Short {
    let mut out = [0; 31];
    out.copy_from_slice(&hash.as_bytes()[..31]);
    out
}

/// What a node hashes.
fn block(bit: u16, left: &Short, right: &Short) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..2].copy_from_slice(&bit.to_be_bytes());
    bytes[2..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    bytes
}

/// Bit `at` of a key; bits after its end are 0.
fn bit_of(key: &[u8], at: usize) -> bool {
    key.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// How many leading bits two keys share, at most all of the shorter.
fn common_bits(a: &[u8], b: &[u8]) -> usize {
    let differ = a.iter().zip(b).position(|(x, y)| x != y);
    differ.map_or(8 * a.len().min(b.len()), |at| 8 * at + (a[at] ^ b[at]).leading_zeros() as usize)
}

fn check_key(key: &[u8], index: usize) -> Result<(), TreeError> {
    match key.len() {
        0 => Err(TreeError::KeyEmpty { index }),
        bytes if bytes > limits::KEY_BYTES_MAX => Err(TreeError::KeyTooLong { index, bytes }),
        _ => Ok(()),
    }
}

/// Checks that entry `index` may follow `before` and tells at which bit the two part.
fn follows(before: &[u8], key: &[u8], index: usize) -> Result<u16, TreeError> {
    let bit = common_bits(before, key);
    if bit == 8 * before.len() && key.len() > before.len() {
        return Err(TreeError::PrefixOfAnother { index });
    }
    if bit == 8 * key.len() || !bit_of(key, bit) {
        return Err(TreeError::NotAscending { index });
    }
    Ok(bit as u16)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The definition of the root, kept as short as it can be said: `entries` ascend and are prefix-free.
    fn defined(entries: &[(&[u8], Hash)]) -> Hash {
        match entries {
            [] => Hash::ZERO,
            [(key, value)] => leaf_hash(key, value),
            [(first, _), .., (last, _)] => {
                let bit =
                    (0..DEPTH_MAX).find(|at| bit_of(first, *at) != bit_of(last, *at)).expect("keys differ");
                let (left, right) = entries.split_at(entries.partition_point(|(key, _)| !bit_of(key, bit)));
                node_hash(bit as u16, &defined(left), &defined(right))
            }
        }
    }

    proptest! {
        #[test]
        fn root_of_is_the_definition(keys in prop::collection::btree_set(any::<[u8; 3]>(), 0..60)) {
            let entries: BTreeMap<_, _> = keys.iter().map(|key| (key.as_slice(), value_hash(key))).collect();
            let entries: Vec<_> = entries.into_iter().collect();
            prop_assert_eq!(root_of(entries.iter().copied()), defined(&entries));
        }
    }

    #[test]
    fn keys_are_checked() {
        let of = |keys: &[&[u8]]| fold_root(keys.iter().map(|key| (*key, Hash::ZERO)));
        assert_eq!(of(&[b""]), Err(TreeError::KeyEmpty { index: 0 }));
        assert_eq!(of(&[b"a", &[9; 97]]), Err(TreeError::KeyTooLong { index: 1, bytes: 97 }));
        assert!(of(&[&[9; 96]]).is_ok());
        assert_eq!(of(&[b"b", b"a"]), Err(TreeError::NotAscending { index: 1 }));
        assert_eq!(of(&[b"a", b"a"]), Err(TreeError::NotAscending { index: 1 }));
        assert_eq!(of(&[b"ab", b"a"]), Err(TreeError::NotAscending { index: 1 }));
        assert_eq!(of(&[b"a", b"ab"]), Err(TreeError::PrefixOfAnother { index: 1 }));
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255]), Bound::Excluded(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), Bound::Unbounded);
        assert_eq!(prefix_end(b""), Bound::Unbounded);
    }
}
