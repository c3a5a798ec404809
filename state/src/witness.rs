//! Witnesses: as much of a state as it takes to decide whether a block follows, and what the state is afterwards.
//!
//! [`record`] runs a block over a recording of its parent's state and shows what was read. [`Witness`] is the other side:
//! checked against the parent's sub-tree roots, it is a [`Base`] for the same rules, and [`Witness::apply`] runs the
//! ordinary update on the pruned trees.
//!
//! # Which witness is taken
//! Any that suffices. One that shows more than is needed says nothing more: every part is checked against the parent's
//! roots before a rule runs, so the decision is a function of parent and block alone, whatever else is shown. A witness
//! therefore names nothing, and its bytes must not be hashed into anything. What [`record`] makes is the same bytes every time.
//!
//! # Invariants
//! - What is shown has the parent's roots; the tree of blocks is shown by its [`Frontier`], of which no other bytes are taken.
//! - What is needed and not shown is a fault or [`ApplyError::Incomplete`], never taken for absent.

use std::collections::BTreeMap;

use chaoschain_schemas::limits::{VALUE_BYTES_MAX, WITNESS_BYTES_MAX, WITNESS_ELEMENTS_MAX};
use chaoschain_schemas::{Hash, Header, ProvenRecord, SubTreeProof};

use crate::domain::Machine;
use crate::forest::StateVersion;
use crate::key::{BLOCKS, Key, SubTree};
use crate::merkle::{
    Frontier, FrontierError, ProofLimits, Pruned, PrunedError, TreeError, Version, value_hash,
};
use crate::shown::{ShownError, ShownState};
use crate::succession::{Parent, Successor, Unfit, succeed};
use crate::view::{Base, Change, Lookup, Reads, Recording, Value};

/// Why a shown part of a state is no witness for its header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Pruned trees and records.
    #[error("the witness does not hold: {0}")]
    Shown(#[from] ShownError),
    /// The tree of blocks.
    #[error("the witness does not show the tree of blocks that the parent commits to: {0}")]
    Blocks(#[from] FrontierError),
}

/// Why the roots after a block could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It takes more of this sub-tree than is shown.
    #[error("the update of sub-tree {0} needs what is not shown of it")]
    Incomplete(SubTree),
    /// The whole tree would refuse the change as well.
    #[error("sub-tree {sub_tree} refuses the change: {error}")]
    Refused {
        /// The sub-tree.
        sub_tree: SubTree,
        /// What is wrong.
        error: TreeError,
    },
}

/// A proven part of the state after one block, for deciding about the next.
#[derive(Clone, Debug)]
pub struct Witness {
    sub_roots: Vec<Hash>,
    blocks: Frontier,
    state: ShownState,
}

impl Witness {
    /// Checks what is shown of the state after the block with this header, which has to be believed already.
    ///
    /// # Errors
    /// [`WitnessError`]
    pub fn check(header: &Header, blocks: &[u8], sub_trees: &[SubTreeProof]) -> Result<Self, WitnessError> {
        let state = ShownState::of_witness(&header.sub_roots, sub_trees)?;
        let root = header.sub_roots.get(usize::from(BLOCKS)).ok_or(ShownError::SubTree(BLOCKS))?;
        let blocks = Frontier::shown(header.height.0, *root, blocks)?;
        Ok(Self { sub_roots: header.sub_roots.clone(), blocks, state })
    }

    /// The sub-tree roots after a block that follows the one with header hash `parent` and changes this, in ascending order
    /// of key. What nothing is changed in keeps its root.
    ///
    /// # Errors
    /// [`ApplyError`]
    pub fn apply(&self, changes: &[Change], parent: Hash) -> Result<Vec<Hash>, ApplyError> {
        let mut roots = self.sub_roots.clone();
        let mut blocks = self.blocks.clone();
        blocks.append(parent);
        roots[usize::from(BLOCKS)] = blocks.root();
        for changes in changes.chunk_by(|a, b| a.key.sub_tree() == b.key.sub_tree()) {
            let sub_tree = changes[0].key.sub_tree();
            let tree = self.state.tree(sub_tree).ok_or(ApplyError::Incomplete(sub_tree))?;
            roots[usize::from(sub_tree)] = update(tree, changes).map_err(|error| match error {
                PrunedError::Incomplete(_) => ApplyError::Incomplete(sub_tree),
                PrunedError::Refused(error) => ApplyError::Refused { sub_tree, error },
            })?;
        }
        Ok(roots)
    }

    /// How many records are shown.
    pub fn record_count(&self) -> usize {
        self.state.record_count()
    }
}

impl Base for Witness {
    fn get(&self, key: &Key) -> Lookup {
        self.state.get(key)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        self.state.range(from, to, limit)
    }
}

/// The root of a sub-tree after changes of it.
fn update(tree: &Pruned, changes: &[Change]) -> Result<Hash, PrunedError> {
    // A whole tree is given the values, a pruned one only their hashes.
    let long = |change: &Change| change.after.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX);
    if let Some((index, value)) =
        changes.iter().position(long).and_then(|index| Some((index, changes[index].after.as_ref()?)))
    {
        return Err(TreeError::ValueTooLong { index, bytes: value.len() }.into());
    }
    let updates: Vec<_> = changes
        .iter()
        .map(|change| (change.key.as_bytes(), change.after.as_deref().map(value_hash)))
        .collect();
    tree.apply(&updates).map(|tree| tree.root())
}

/// The block that another one is to follow, with all of its state.
#[derive(Clone, Copy, Debug)]
pub struct WholeParent<'a> {
    /// Its header.
    pub header: &'a Header,
    /// The header's hash.
    pub hash: Hash,
    /// The state after it.
    pub state: &'a StateVersion,
}

/// What a block read and needs, and what came of it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What it changes, or why it does not follow. The witness shows either: also that it does not.
    pub outcome: Result<Vec<Change>, Unfit>,
    /// The parent's tree of blocks, as [`Witness::check`] takes it.
    pub blocks: Vec<u8>,
    /// The parts of the parent's sub-trees, as [`Witness::check`] takes them.
    pub sub_trees: Vec<SubTreeProof>,
}

/// Runs `block` on the whole state of `parent` and shows what deciding about it takes: all keys and ranges that it reads,
/// what it writes among them, and in each sub-tree that it deletes from a leaf that stays, where the update needs one.
pub fn record(machine: &dyn Machine, parent: WholeParent<'_>, block: Successor<'_>) -> Recorded {
    let recording = Recording::new(parent.state);
    let recorded = Parent { header: parent.header, hash: parent.hash, state: &recording };
    let outcome = succeed(machine, recorded, block);
    let reads = recording.into_reads();
    let changes = outcome.as_deref().unwrap_or_default();
    Recorded { blocks: parent.state.blocks().show(), sub_trees: show(parent.state, &reads, changes), outcome }
}

/// What of one sub-tree is to be shown.
#[derive(Default)]
struct Wanted<'a> {
    keys: Vec<&'a [u8]>,
    ranges: Vec<(&'a [u8], &'a [u8])>,
}

fn show(state: &StateVersion, reads: &Reads, changes: &[Change]) -> Vec<SubTreeProof> {
    let mut wanted: BTreeMap<SubTree, Wanted<'_>> = BTreeMap::new();
    for key in &reads.keys {
        wanted.entry(key.sub_tree()).or_default().keys.push(key.as_bytes());
    }
    for (from, to) in &reads.ranges {
        wanted.entry(from.sub_tree()).or_default().ranges.push((from.as_bytes(), to.as_bytes()));
    }
    let parts = wanted.into_iter().filter_map(|(sub_tree, wanted)| {
        let of_tree: Vec<_> =
            changes.iter().filter(|change| change.key.sub_tree() == sub_tree).cloned().collect();
        Some(show_tree(sub_tree, state.tree(sub_tree)?, &wanted, &of_tree))
    });
    parts.collect()
}

fn show_tree(sub_tree: SubTree, tree: &Version, wanted: &Wanted<'_>, changes: &[Change]) -> SubTreeProof {
    let mut shown = tree.show(&wanted.keys, &wanted.ranges);
    // A tree of which one pruned part is left has a root that its parents never committed to whole.
    let deletes = changes.iter().any(|change| change.after.is_none());
    if deletes
        && !suffices(&shown.bytes, changes)
        && let Some(staying) = staying_leaf(tree, changes)
    {
        let keys: Vec<_> = wanted.keys.iter().copied().chain([&staying[..]]).collect();
        // Its value is looked at by nobody.
        shown.bytes = tree.show(&keys, &wanted.ranges).bytes;
    }
    let records = shown.records.iter();
    let records = records.map(|(key, value)| ProvenRecord { key: key[..].into(), value: value[..].into() });
    SubTreeProof { sub_tree, tree: shown.bytes.into(), records: records.collect() }
}

/// The first leaf that no change deletes.
fn staying_leaf(tree: &Version, changes: &[Change]) -> Option<Vec<u8>> {
    let deleted =
        |key: &[u8]| changes.iter().any(|change| change.after.is_none() && change.key.as_bytes() == key);
    tree.iter().map(|(key, _)| key).find(|key| !deleted(key))
}

fn suffices(bytes: &[u8], changes: &[Change]) -> bool {
    let limits = ProofLimits { bytes: WITNESS_BYTES_MAX, elements: WITNESS_ELEMENTS_MAX };
    Pruned::parse_within(bytes, limits).is_ok_and(|tree| update(&tree, changes).is_ok())
}
