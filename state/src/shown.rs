//! A part of a state that is shown with its proof, as rules and reads see it.
//!
//! For each sub-tree that matters there is a pruned tree and the records that were looked at. Everything shown is checked
//! against sub-tree roots that somebody else vouches for; what is not shown is withheld, never absent.
//!
//! # Invariants
//! - A record is answered only if its tree opens the key with the hash of its value.
//! - A key is answered as absent only if its tree opens the leaf that stands in its place, and a range only if nothing
//!   pruned can lie in it.
//! - So two parts of the same state never answer differently: one of them may only fall silent where the other speaks.

use std::collections::BTreeMap;
use std::ops::Bound;

use chaoschain_schemas::limits::{WITNESS_BYTES_MAX, WITNESS_ELEMENTS_MAX};
use chaoschain_schemas::{Hash, SubTreeProof};

use crate::key::{BLOCKS, Key, SubTree};
use crate::merkle::{self, ProofError, ProofLimits, Pruned, value_hash};
use crate::view::{Base, Lookup, Value};

/// What is wrong with a shown part of a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShownError {
    /// Sub-trees out of order or twice, or one that the chain has no records in.
    #[error("the proof's part about sub-tree {0} is out of place, or the chain has no such sub-tree")]
    SubTree(SubTree),
    /// A pruned tree that is none.
    #[error("the proof's tree of sub-tree {sub_tree} cannot be read: {error}")]
    TreeMalformed {
        /// The sub-tree.
        sub_tree: SubTree,
        /// What is wrong.
        error: ProofError,
    },
    /// A pruned tree whose root is not the trusted one.
    #[error("the proof's tree of sub-tree {0} has not the root that the header commits to")]
    TreeRoot(SubTree),
    /// Records out of order or twice.
    #[error("the records of sub-tree {0} are not in ascending order of key")]
    RecordOrder(SubTree),
    /// A record whose key the tree does not open.
    #[error("the record at {0} is not opened by the proof's tree")]
    RecordUnproven(Box<Key>),
    /// A record with another value than the tree commits to.
    #[error("the record at {0} has not the value that the proof's tree commits to")]
    RecordValue(Box<Key>),
}

/// Pruned trees whose roots are a header's, and the values of records in them.
#[derive(Clone, Debug)]
pub struct ShownState {
    sub_trees: BTreeMap<SubTree, ShownTree>,
}

#[derive(Clone, Debug)]
struct ShownTree {
    tree: Pruned,
    values: BTreeMap<Vec<u8>, Value>,
}

impl ShownState {
    /// Checks the parts of a proof against sub-tree roots by number; each tree within the limits of a proof.
    ///
    /// # Errors
    /// [`ShownError`]
    pub fn of_proof(sub_roots: &[Hash], parts: &[SubTreeProof]) -> Result<Self, ShownError> {
        check_order(parts)?;
        let checked = parts.iter().map(|part| ShownTree::check(sub_roots, part, ProofLimits::default()));
        Self::collect(parts, checked)
    }

    /// Checks the parts of a witness against sub-tree roots by number; all trees together within the limits of a witness.
    ///
    /// # Errors
    /// [`ShownError`]
    pub fn of_witness(sub_roots: &[Hash], parts: &[SubTreeProof]) -> Result<Self, ShownError> {
        check_order(parts)?;
        // No rule reads the tree of blocks: a whole state withholds it as well.
        if parts.iter().any(|part| part.sub_tree == BLOCKS) {
            return Err(ShownError::SubTree(BLOCKS));
        }
        let mut left = WITNESS_ELEMENTS_MAX;
        let checked = parts.iter().map(|part| {
            let limits = ProofLimits { bytes: WITNESS_BYTES_MAX, elements: left };
            let shown = ShownTree::check(sub_roots, part, limits)?;
            left -= shown.tree.element_count();
            Ok(shown)
        });
        Self::collect(parts, checked)
    }

    fn collect(
        parts: &[SubTreeProof],
        checked: impl Iterator<Item = Result<ShownTree, ShownError>>,
    ) -> Result<Self, ShownError> {
        let numbered = parts.iter().zip(checked).map(|(part, shown)| Ok((part.sub_tree, shown?)));
        Ok(Self { sub_trees: numbered.collect::<Result<_, _>>()? })
    }

    /// The pruned tree of a sub-tree; `None` when nothing of it is shown.
    pub fn tree(&self, sub_tree: SubTree) -> Option<&Pruned> {
        self.sub_trees.get(&sub_tree).map(|shown| &shown.tree)
    }

    /// How many records are shown.
    pub fn record_count(&self) -> usize {
        self.sub_trees.values().map(|shown| shown.values.len()).sum()
    }

    /// The shown records, ascending by key.
    pub fn into_records(self) -> Vec<(Key, Value)> {
        let of = |(number, part): (SubTree, ShownTree)| {
            part.values
                .into_iter()
                .filter_map(move |(key, value)| Some((Key::from_bytes(number, &key)?, value)))
        };
        self.sub_trees.into_iter().flat_map(of).collect()
    }
}

fn check_order(parts: &[SubTreeProof]) -> Result<(), ShownError> {
    match parts.windows(2).find(|pair| pair[0].sub_tree >= pair[1].sub_tree) {
        Some(pair) => Err(ShownError::SubTree(pair[1].sub_tree)),
        None => Ok(()),
    }
}

impl ShownTree {
    fn check(sub_roots: &[Hash], part: &SubTreeProof, limits: ProofLimits) -> Result<Self, ShownError> {
        let sub_tree = part.sub_tree;
        let root = sub_roots.get(usize::from(sub_tree)).ok_or(ShownError::SubTree(sub_tree))?;
        let tree = Pruned::parse_within(&part.tree, limits)
            .map_err(|error| ShownError::TreeMalformed { sub_tree, error })?;
        if tree.root() != *root {
            return Err(ShownError::TreeRoot(sub_tree));
        }
        if !part.records.is_sorted_by(|a, b| a.key < b.key) {
            return Err(ShownError::RecordOrder(sub_tree));
        }
        let mut values = BTreeMap::new();
        for record in &part.records {
            let key = Key::from_bytes(sub_tree, &record.key).ok_or(ShownError::RecordOrder(sub_tree))?;
            let merkle::Lookup::Present(committed) = tree.get(&record.key) else {
                return Err(ShownError::RecordUnproven(Box::new(key)));
            };
            if value_hash(&record.value) != committed {
                return Err(ShownError::RecordValue(Box::new(key)));
            }
            values.insert(record.key.to_vec(), Value::from(&*record.value));
        }
        Ok(Self { tree, values })
    }

    fn get(&self, key: &[u8]) -> Lookup {
        match self.tree.get(key) {
            merkle::Lookup::Absent => Lookup::Absent,
            merkle::Lookup::Pruned => Lookup::Withheld,
            merkle::Lookup::Present(_) => {
                self.values.get(key).map_or(Lookup::Withheld, |value| Lookup::Present(Value::clone(value)))
            }
        }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        let (from, to, sub_tree) = (from.as_bytes(), to.as_bytes(), from.sub_tree());
        if limit == 0 {
            return Some(Vec::new());
        }
        // A full page needs nothing to be known behind its last record.
        let within = |key: &&[u8]| *key >= from && *key <= to;
        let last = self.tree.leaves().map(|(key, _)| key).filter(within).nth(limit - 1).unwrap_or(to);
        let leaves = self.tree.range(from, Bound::Included(last)).ok()?;
        let records = leaves
            .into_iter()
            .map(|(key, _)| Some((Key::from_bytes(sub_tree, key)?, Value::clone(self.values.get(key)?))));
        records.collect()
    }
}

impl Base for ShownState {
    fn get(&self, key: &Key) -> Lookup {
        self.sub_trees.get(&key.sub_tree()).map_or(Lookup::Withheld, |part| part.get(key.as_bytes()))
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        self.sub_trees.get(&from.sub_tree())?.range(from, to, limit)
    }
}
