//! The writer of a tree: bulk build, batches of updates, going back, and reclaiming what no version reaches.
//!
//! An update copies the path to what it changes and leaves the rest shared. What it replaces is kept on a list with
//! the version it leaves, and is freed when that version and all older ones have been dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use chaoschain_schemas::{Hash, Purpose, limits};

use super::arena::{Allocator, Arena, Garbage, INDEX_MAX, NONE, Node, is_leaf};
use super::version::{Pin, Version};
use super::{Short, TreeError, block, check_key, follows, short};

/// One change of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The key, 1 to [`limits::KEY_BYTES_MAX`] bytes.
    pub key: &'a [u8],
    /// Its new value, at most [`limits::VALUE_BYTES_MAX`] bytes; none deletes the key.
    pub value: Option<&'a [u8]>,
}

/// A Merkle tree in memory: one writer, and any number of readers that hold [`Version`]s of it.
pub struct Tree {
    pub(super) arena: Arc<Arena>,
    pub(super) slots: Allocator,
    head: Version,
    /// Versions that the head came from, oldest first, then the head itself.
    line: VecDeque<Stage>,
    /// Versions that were reverted while somebody still held them.
    detached: Vec<(u64, Pin)>,
    /// What only reverted versions reach.
    orphans: Vec<Orphans>,
    /// The highest version number ever used; none is used twice.
    last_number: u64,
}

struct Stage {
    number: u64,
    pin: Pin,
    /// What its successor no longer reaches.
    replaced: Garbage,
}

/// Links that were made after version `after`, and that nothing but reverted versions up to `to` reaches.
struct Orphans {
    after: u64,
    to: u64,
    garbage: Garbage,
}

/// What a tree takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Inner nodes in use by any version.
    pub nodes: usize,
    /// Bytes of leaf records (keys, values, 8 bytes and padding) in use by any version.
    pub leaf_bytes: usize,
    /// Bytes taken in all, free slots included.
    pub allocated_bytes: usize,
    /// Versions that are alive.
    pub versions: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty tree with the largest limits there are: 2³¹ inner nodes and 32 GiB of leaves.
    pub fn new() -> Self {
        Self::with_limits(INDEX_MAX, u64::MAX)
    }

    /// An empty tree of at most `nodes_max` inner nodes and `leaf_bytes_max` bytes of leaves, over all versions.
    pub fn with_limits(nodes_max: u32, leaf_bytes_max: u64) -> Self {
        let units_max = u32::try_from(leaf_bytes_max / 16).unwrap_or(INDEX_MAX);
        let arena = Arc::new(Arena::new());
        let head = Version::new(Arc::clone(&arena), 0, NONE, 0);
        let line = VecDeque::from([Stage { number: 0, pin: head.pin(), replaced: Garbage::default() }]);
        let slots = Allocator::new(nodes_max, units_max);
        Self { arena, slots, head, line, detached: Vec::new(), orphans: Vec::new(), last_number: 0 }
    }

    /// A tree of (key, value, leaf hash) rows in ascending order.
    ///
    /// # Errors
    /// As [`Builder::push`].
    pub fn from_sorted<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rows: impl IntoIterator<Item = (K, V, Hash)>,
    ) -> Result<Self, TreeError> {
        let mut builder = Builder::new(Self::new());
        for (key, value, leaf_hash) in rows {
            builder.push(key.as_ref(), value.as_ref(), leaf_hash)?;
        }
        builder.finish()
    }

    /// The newest version.
    pub fn head(&self) -> Version {
        self.head.clone()
    }

    /// Applies a batch, in strictly ascending order of key, and returns the new head.
    ///
    /// Deleting a key that is absent and writing the value that is there change nothing. On an error the tree is
    /// as it was.
    ///
    /// # Errors
    /// A [`TreeError`] that names the first entry at fault, or [`TreeError::Full`].
    pub fn apply(&mut self, updates: &[Update<'_>]) -> Result<Version, TreeError> {
        self.reclaim();
        let number = self.last_number + 1;
        match self.rebuild(number, self.head.top(), updates) {
            Ok(changed) => {
                self.slots.commit();
                let len = self.head.len() + changed.added - changed.removed;
                self.advance(number, changed.top, len, changed.replaced);
                Ok(self.head())
            }
            Err(error) => {
                self.slots.abort(&self.arena);
                Err(error)
            }
        }
    }

    fn advance(&mut self, number: u64, top: u32, len: usize, replaced: Garbage) {
        self.last_number = number;
        self.head = Version::new(Arc::clone(&self.arena), number, top, len);
        if let Some(left) = self.line.back_mut() {
            left.replaced = replaced;
        }
        self.line.push_back(Stage { number, pin: self.head.pin(), replaced: Garbage::default() });
    }

    /// Makes `version` the head again and drops all that came after it. Later versions that somebody still holds
    /// stay readable; their memory is freed when they go.
    ///
    /// # Errors
    /// [`TreeError::NotAnAncestor`] if the head did not come from `version`.
    pub fn revert_to(&mut self, version: &Version) -> Result<(), TreeError> {
        let place = self.line.binary_search_by_key(&version.number(), |stage| stage.number);
        let Ok(place) = place
            .map_err(|_| ())
            .and_then(|at| if Arc::ptr_eq(&self.arena, version.arena()) { Ok(at) } else { Err(()) })
        else {
            return Err(TreeError::NotAnAncestor);
        };
        let (after, to) = (version.number(), self.last_number);
        let mut garbage = Garbage::default();
        self.collect_born_after(after, self.head.top(), &mut garbage);
        for stage in self.line.range(place..) {
            garbage.extend_born_after(&self.arena, &stage.replaced, after);
        }
        let gone = self.line.drain(place + 1..);
        self.detached.extend(gone.map(|stage| (stage.number, stage.pin)));
        if let Some(last) = self.line.back_mut() {
            last.replaced = Garbage::default();
        }
        self.head = version.clone();
        self.orphans.push(Orphans { after, to, garbage });
        self.reclaim();
        Ok(())
    }

    /// What is reachable from `link` and was made after version `after`: a child is never younger than its parent.
    fn collect_born_after(&self, after: u64, link: u32, garbage: &mut Garbage) {
        let mut ahead = vec![link];
        while let Some(link) = ahead.pop() {
            if link == NONE || self.arena.birth(link) <= after {
                continue;
            }
            garbage.push(&self.arena, link);
            if !is_leaf(link) {
                let node = self.arena.node(link);
                ahead.extend([node.left, node.right]);
            }
        }
    }

    /// Frees what no version reaches any more. [`Tree::apply`] begins with this.
    pub fn reclaim(&mut self) {
        let Self { slots, detached, orphans, line, .. } = self;
        detached.retain(|(_, pin)| !pin.is_released());
        orphans.retain_mut(|some| {
            let held = detached.iter().any(|(number, _)| (some.after + 1..=some.to).contains(number));
            if !held {
                slots.free(std::mem::take(&mut some.garbage));
            }
            held
        });
        let oldest_detached = detached.iter().map(|(number, _)| *number).min().unwrap_or(u64::MAX);
        while line.len() > 1 && line[0].pin.is_released() && line[1].number <= oldest_detached {
            if let Some(stage) = line.pop_front() {
                slots.free(stage.replaced);
            }
        }
    }

    /// What the tree takes now.
    pub fn memory(&self) -> Memory {
        let (nodes, leaf_bytes) = self.slots.in_use();
        let kept = self
            .line
            .iter()
            .map(|stage| &stage.replaced)
            .chain(self.orphans.iter().map(|some| &some.garbage));
        let lists: usize = kept.map(Garbage::bytes).sum();
        let line = self.line.iter().filter(|stage| !stage.pin.is_released()).count();
        let detached = self.detached.iter().filter(|(_, pin)| !pin.is_released()).count();
        Memory { nodes, leaf_bytes, allocated_bytes: self.slots.bytes() + lists, versions: line + detached }
    }
}

/// Builds a tree from rows in order, without descending.
pub struct Builder {
    tree: Tree,
    /// The right edge: nodes that still wait for their right child.
    spine: Vec<Open>,
    last: Option<Last>,
    len: usize,
}

struct Open {
    bit: u16,
    left: u32,
    hash: Short,
}

struct Last {
    key: Vec<u8>,
    link: u32,
    hash: Hash,
}

const FIRST: u64 = 1;

impl Builder {
    /// Begins to fill `tree`, which must be empty and never have been used.
    ///
    /// # Panics
    /// On a tree that has been used.
    pub fn new(tree: Tree) -> Self {
        assert!(tree.last_number == 0, "a builder fills a new tree");
        Self { tree, spine: Vec::new(), last: None, len: 0 }
    }

    /// Adds a row; `leaf_hash` is that of the key and value, computed by the caller.
    ///
    /// # Errors
    /// A [`TreeError`], with the row's number as `index`. The builder is then of no further use.
    pub fn push(&mut self, key: &[u8], value: &[u8], leaf_hash: Hash) -> Result<(), TreeError> {
        let index = self.len;
        check_key(key, index)?;
        if value.len() > limits::VALUE_BYTES_MAX {
            return Err(TreeError::ValueTooLong { index, bytes: value.len() });
        }
        let mut text = Vec::new();
        if let Some(last) = self.last.take() {
            let bit = follows(&last.key, key, index)?;
            let (left, hash) = self.close(last.link, last.hash, bit)?;
            self.spine.push(Open { bit, left, hash: short(&hash) });
            text = last.key;
        }
        text.clear();
        text.extend_from_slice(key);
        let link = self.tree.slots.record(&self.tree.arena, FIRST, key, value)?;
        self.tree.slots.commit();
        self.last = Some(Last { key: text, link, hash: leaf_hash });
        self.len += 1;
        Ok(())
    }

    /// Gives `right` to all open nodes below `bit`, from the lowest up.
    fn close(&mut self, mut right: u32, mut hash: Hash, bit: u16) -> Result<(u32, Hash), TreeError> {
        while let Some(open) = self.spine.pop_if(|open| open.bit >= bit) {
            let block = block(open.bit, &open.hash, &short(&hash));
            let node = Node { bit: open.bit, left: open.left, right, birth: FIRST };
            hash = Purpose::Node.hash(&block);
            right = self.tree.slots.node(&self.tree.arena)?;
            self.tree.arena.write_node(right, node, &block);
        }
        Ok((right, hash))
    }

    /// The tree, with all rows as its head.
    ///
    /// # Errors
    /// [`TreeError::Full`].
    pub fn finish(mut self) -> Result<Tree, TreeError> {
        if let Some(last) = self.last.take() {
            let (top, _) = self.close(last.link, last.hash, 0)?;
            self.tree.slots.commit();
            self.tree.advance(FIRST, top, self.len, Garbage::default());
        }
        Ok(self.tree)
    }
}
