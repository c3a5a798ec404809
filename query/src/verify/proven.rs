//! The proven part of a state, as reads see it.

use std::collections::BTreeMap;
use std::ops::Bound;

use chaoschain_schemas::{Header, ReadProof, SubTreeProof};
use chaoschain_state::merkle::{self, Pruned, value_hash};
use chaoschain_state::{Base, Key, Lookup, SubTree, Value};

use super::VerifyError;

/// Pruned trees whose roots are a header's, and the values of records in them. What it does not show is withheld, never
/// absent.
pub(super) struct ProvenState {
    sub_trees: BTreeMap<SubTree, ProvenSubTree>,
}

struct ProvenSubTree {
    tree: Pruned,
    values: BTreeMap<Vec<u8>, Value>,
}

impl ProvenState {
    /// Checks the parts of a proof against the sub-tree roots of a header.
    pub(super) fn check(header: &Header, proof: &ReadProof) -> Result<Self, VerifyError> {
        let ascending = proof.sub_trees.windows(2).find(|pair| pair[0].sub_tree >= pair[1].sub_tree);
        if let Some(pair) = ascending {
            return Err(VerifyError::SubTree(pair[1].sub_tree));
        }
        let checked =
            proof.sub_trees.iter().map(|part| Ok((part.sub_tree, ProvenSubTree::check(header, part)?)));
        Ok(Self { sub_trees: checked.collect::<Result<_, VerifyError>>()? })
    }

    /// The proven records, ascending by key.
    pub(super) fn into_records(self) -> Vec<(Key, Value)> {
        let of = |(number, part): (SubTree, ProvenSubTree)| {
            part.values
                .into_iter()
                .filter_map(move |(key, value)| Some((Key::from_bytes(number, &key)?, value)))
        };
        self.sub_trees.into_iter().flat_map(of).collect()
    }
}

impl ProvenSubTree {
    fn check(header: &Header, part: &SubTreeProof) -> Result<Self, VerifyError> {
        let sub_tree = part.sub_tree;
        let root = header.sub_roots.get(usize::from(sub_tree)).ok_or(VerifyError::SubTree(sub_tree))?;
        let tree =
            Pruned::parse(&part.tree).map_err(|error| VerifyError::TreeMalformed { sub_tree, error })?;
        if tree.root() != *root {
            return Err(VerifyError::TreeRoot(sub_tree));
        }
        if !part.records.is_sorted_by(|a, b| a.key < b.key) {
            return Err(VerifyError::RecordOrder(sub_tree));
        }
        let mut values = BTreeMap::new();
        for record in &part.records {
            let key = Key::from_bytes(sub_tree, &record.key).ok_or(VerifyError::RecordOrder(sub_tree))?;
            let merkle::Lookup::Present(committed) = tree.get(&record.key) else {
                return Err(VerifyError::RecordUnproven(Box::new(key)));
            };
            if value_hash(&record.value) != committed {
                return Err(VerifyError::RecordValue(Box::new(key)));
            }
            values.insert(record.key.to_vec(), Value::from(&*record.value));
        }
        Ok(Self { tree, values })
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

impl Base for ProvenState {
    fn get(&self, key: &Key) -> Lookup {
        let Some(part) = self.sub_trees.get(&key.sub_tree()) else { return Lookup::Withheld };
        match part.tree.get(key.as_bytes()) {
            merkle::Lookup::Absent => Lookup::Absent,
            merkle::Lookup::Pruned => Lookup::Withheld,
            merkle::Lookup::Present(_) => part
                .values
                .get(key.as_bytes())
                .map_or(Lookup::Withheld, |value| Lookup::Present(Value::clone(value))),
        }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        self.sub_trees.get(&from.sub_tree())?.range(from, to, limit)
    }
}
