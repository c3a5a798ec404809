//! All of a chain's sub-trees together, and the versions of them that readers hold.
//!
//! The control tree and the domain's are in memory with their values; the blocks tree is a frontier. A [`StateVersion`] is
//! an immutable snapshot that costs nothing to keep but the nodes that only it still uses.

use std::ops::Bound;
use std::sync::Arc;

use chaoschain_schemas::{Hash, Purpose};
use rayon::prelude::*;

use crate::key::{BLOCKS, DOMAIN_FIRST, Key, SubTree};
use crate::merkle::{self, Frontier, Tree, TreeError, Update, Version};
use crate::view::{Base, Change, Lookup, Value};

/// Below this many changes, sub-trees are updated one after the other.
const PARALLEL_CHANGES_MIN: usize = 256;

/// The writer of all sub-trees. Versions form one line; the newest may be taken back.
pub struct Forest {
    /// By number; the place of the blocks tree stays empty.
    trees: Vec<Tree>,
    head: Arc<StateVersion>,
}

/// The state at one height.
#[derive(Clone)]
pub struct StateVersion {
    trees: Vec<Version>,
    blocks: Frontier,
    sub_roots: Vec<Hash>,
    root: Hash,
}

impl Forest {
    /// An empty state with this many sub-trees of the domain.
    pub fn new(domain_sub_trees: usize) -> Self {
        let count = usize::from(DOMAIN_FIRST) + domain_sub_trees;
        Self::from_trees((0..count).map(|_| Tree::new()).collect(), Frontier::default())
    }

    /// A state whose trees, by number, were built from stored rows; the tree of blocks is left empty.
    pub fn from_trees(trees: Vec<Tree>, blocks: Frontier) -> Self {
        let versions = trees.iter().map(Tree::head).collect();
        let head = Arc::new(StateVersion::new(versions, blocks));
        Self { trees, head }
    }

    /// The newest version.
    pub fn head(&self) -> &Arc<StateVersion> {
        &self.head
    }

    /// Applies a block's changes, in ascending order of key, and appends the header hash of the block before.
    ///
    /// # Errors
    /// [`TreeError`]; then nothing changed.
    ///
    /// # Panics
    /// When a change lies in no sub-tree of records: it would be in no root, and rules that write there are a mistake in
    /// code.
    pub fn apply(
        &mut self,
        changes: &[Change],
        parent: Option<Hash>,
    ) -> Result<Arc<StateVersion>, TreeError> {
        let elsewhere = changes.iter().find(|change| self.head.tree(change.key.sub_tree()).is_none());
        assert!(elsewhere.is_none(), "a change lies in no sub-tree of records: {elsewhere:?}");
        let mut blocks = self.head.blocks.clone();
        if let Some(parent) = parent {
            blocks.append(parent);
        }
        let one = |(number, tree): (usize, &mut Tree)| {
            let updates: Vec<_> = of_sub_tree(changes, number as SubTree)
                .iter()
                .map(|change| Update { key: change.key.as_bytes(), value: change.after.as_deref() })
                .collect();
            tree.apply(&updates)
        };
        let applied: Vec<Result<Version, TreeError>> = if changes.len() < PARALLEL_CHANGES_MIN {
            self.trees.iter_mut().enumerate().map(one).collect()
        } else {
            self.trees.par_iter_mut().enumerate().map(one).collect()
        };
        match applied.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(versions) => {
                self.head = Arc::new(StateVersion::new(versions, blocks));
                Ok(Arc::clone(&self.head))
            }
            Err(error) => {
                let before = Arc::clone(&self.head);
                self.revert_to(&before);
                Err(error)
            }
        }
    }

    /// Takes back every version newer than `version`.
    ///
    /// # Panics
    /// When `version` is not one that this forest's head came from.
    pub fn revert_to(&mut self, version: &Arc<StateVersion>) {
        for (tree, version) in self.trees.iter_mut().zip(&version.trees) {
            tree.revert_to(version).expect("a forest goes back only to versions it came from");
        }
        self.head = Arc::clone(version);
    }
}

/// The changes that concern one sub-tree; all ascend by sub-tree, then key.
fn of_sub_tree(changes: &[Change], number: SubTree) -> &[Change] {
    let start = changes.partition_point(|change| change.key.sub_tree() < number);
    let end = changes.partition_point(|change| change.key.sub_tree() <= number);
    &changes[start..end]
}

/// The state root over sub-tree roots by number.
pub fn state_root(sub_roots: &[Hash]) -> Hash {
    let numbers: Vec<[u8; 1]> = (0..sub_roots.len()).map(|number| [number as u8]).collect();
    let leaves = numbers.iter().zip(sub_roots);
    merkle::root_of(leaves.map(|(number, root)| (&number[..], Purpose::Value.hash(root.as_bytes()))))
}

impl StateVersion {
    fn new(trees: Vec<Version>, blocks: Frontier) -> Self {
        let mut sub_roots: Vec<Hash> = trees.iter().map(Version::root).collect();
        sub_roots[usize::from(BLOCKS)] = blocks.root();
        let root = state_root(&sub_roots);
        Self { trees, blocks, sub_roots, root }
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Every sub-tree's root, by number.
    pub fn sub_roots(&self) -> &[Hash] {
        &self.sub_roots
    }

    /// The tree of blocks.
    pub fn blocks(&self) -> &Frontier {
        &self.blocks
    }

    /// A sub-tree that is kept in memory.
    pub fn tree(&self, number: SubTree) -> Option<&Version> {
        self.trees.get(usize::from(number)).filter(|_| number != BLOCKS)
    }

    /// How many records all sub-trees in memory hold.
    pub fn record_count(&self) -> u64 {
        self.trees.iter().map(|tree| tree.len() as u64).sum()
    }
}

impl std::fmt::Debug for StateVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateVersion").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What is no sub-tree of records is withheld: the tree of blocks is not here, and others do not exist.
impl Base for StateVersion {
    fn get(&self, key: &Key) -> Lookup {
        let Some(tree) = self.tree(key.sub_tree()) else { return Lookup::Withheld };
        tree.get(key.as_bytes()).map_or(Lookup::Absent, Lookup::Present)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        let tree = self.tree(from.sub_tree())?;
        let records = tree.range(from.as_bytes(), Bound::Included(to.as_bytes())).take(limit);
        Some(
            records
                .filter_map(|(key, value)| Some((Key::from_bytes(from.sub_tree(), &key)?, value)))
                .collect(),
        )
    }

    fn prefetch(&self, keys: &[Key]) {
        for (number, tree) in self.trees.iter().enumerate() {
            let here = keys.iter().filter(|key| usize::from(key.sub_tree()) == number);
            tree.prefetch(here.map(Key::as_bytes));
        }
    }
}
