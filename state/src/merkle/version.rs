//! One state of a tree, for readers: O(1) to take, unchanging, and safe to read while the writer goes on.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chaoschain_schemas::{Hash, limits};

use super::arena::{Arena, NONE, is_leaf, key_words};
use super::descents::{Descents, TOGETHER};
use super::{bit_of, common_bits};

/// A value, read out of the tree; a clone shares its bytes.
pub type Value = Arc<[u8]>;

/// A tree as it was after one update. A clone is cheap and is the same version.
///
/// The memory of everything it can reach stays until its last clone is dropped; holding one version for long also
/// holds back the memory of all later ones' garbage.
#[derive(Clone)]
pub struct Version(Arc<Inner>);

struct Inner {
    arena: Arc<Arena>,
    number: u64,
    top: u32,
    root: Hash,
    len: usize,
    pin: Pin,
}

/// Tells the writer that a version is gone.
///
/// The last drop of a version comes after all reads through it, and the writer looks before it rewrites a slot:
/// release and acquire put the reads before the rewriting.
#[derive(Clone)]
pub(super) struct Pin(Arc<AtomicBool>);

impl Pin {
    pub(super) fn is_released(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pin.0.store(true, Ordering::Release);
    }
}

impl Version {
    pub(super) fn new(arena: Arc<Arena>, number: u64, top: u32, len: usize) -> Self {
        let root = arena.hash(top);
        let pin = Pin(Arc::new(AtomicBool::new(false)));
        Self(Arc::new(Inner { arena, number, top, root, len, pin }))
    }

    pub(super) fn arena(&self) -> &Arc<Arena> {
        &self.0.arena
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(super) fn top(&self) -> u32 {
        self.0.top
    }

    pub(super) fn pin(&self) -> Pin {
        self.0.pin.clone()
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.0.root
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.find(key).map(|link| self.arena().value(link))
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// Brings what leads to `keys`, and their records, into the processor's cache: many keys asked for together cost
    /// hardly more than the slowest of them.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) {
        if self.top() == NONE {
            return;
        }
        let mut descents = Descents::default();
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            descents.run(self.arena(), self.top(), keys.by_ref().take(TOGETHER));
        }
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        if self.top() == NONE || key.len() > limits::KEY_BYTES_MAX {
            return None;
        }
        let words = key_words(key);
        let link = self.arena().descend(self.top(), &words);
        let same = self.arena().compare(link, &words, key.len()) == (8 * key.len(), key.len());
        same.then_some(link)
    }

    /// Keys and values from `from` on (inclusive; empty for the beginning) to `to`, ascending, read lazily.
    pub fn range(&self, from: &[u8], to: Bound<&[u8]>) -> Range {
        let mut range =
            Range { version: self.clone(), ahead: Vec::new(), end: to.map(Vec::from), down: false };
        range.seek(from, false);
        range
    }

    /// The keys and values of [`Version::range`], descending.
    pub fn range_rev(&self, from: &[u8], to: Bound<&[u8]>) -> Range {
        let end = Bound::Included(from.to_vec());
        let mut range = Range { version: self.clone(), ahead: Vec::new(), end, down: true };
        match to {
            Bound::Unbounded => range.ahead.extend((self.top() != NONE).then_some(self.top())),
            Bound::Included(to) => range.seek(to, true),
            Bound::Excluded(to) => range.seek(to, false),
        }
        range
    }

    /// All keys and values, ascending.
    pub fn iter(&self) -> Range {
        self.range(&[], Bound::Unbounded)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("root", &self.0.root)
            .field("len", &self.0.len)
            .finish_non_exhaustive()
    }
}

impl IntoIterator for &Version {
    type Item = (Vec<u8>, Value);
    type IntoIter = Range;

    fn into_iter(self) -> Range {
        self.iter()
    }
}

/// An iterator over keys and values, in order; it holds its version.
pub struct Range {
    version: Version,
    /// Sub-trees that are still to come, the next one last.
    ahead: Vec<u32>,
    /// Where to stop; for a descending range the inclusive lower bound.
    end: Bound<Vec<u8>>,
    down: bool,
}

impl Range {
    /// Puts on the stack all keys on this side of `at`: from it on, or (descending) up to it; `at` itself belongs
    /// to them unless descending without `inclusive`.
    fn seek(&mut self, at: &[u8], inclusive: bool) {
        let arena = Arc::clone(self.version.arena());
        let mut link = self.version.top();
        if link == NONE {
            return;
        }
        let near = arena.key(arena.descend(link, &key_words(at)));
        let shared = common_bits(&near, at);
        loop {
            if is_leaf(link) || usize::from(arena.node(link).bit) >= shared {
                let wanted = match (self.down, near.as_slice().cmp(at)) {
                    (_, std::cmp::Ordering::Equal) => !self.down || inclusive,
                    (down, order) => down == order.is_lt(),
                };
                self.ahead.extend(wanted.then_some(link));
                return;
            }
            let node = arena.node(link);
            let right = bit_of(at, node.bit.into());
            if right == self.down {
                self.ahead.push(node.child(!right));
            }
            link = node.child(right);
        }
    }

    /// The next leaf's link and key.
    pub(super) fn next_leaf(&mut self) -> Option<(u32, Vec<u8>)> {
        let arena = self.version.arena();
        let mut link = self.ahead.pop()?;
        while !is_leaf(link) {
            let node = arena.node(link);
            self.ahead.push(node.child(!self.down));
            link = node.child(self.down);
        }
        let key = arena.key(link);
        let within = match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) if self.down => &key >= end,
            Bound::Included(end) => &key <= end,
            Bound::Excluded(end) => &key < end,
        };
        if !within {
            self.ahead.clear();
        }
        within.then_some((link, key))
    }
}

impl Iterator for Range {
    type Item = (Vec<u8>, Value);

    fn next(&mut self) -> Option<Self::Item> {
        let (link, key) = self.next_leaf()?;
        Some((key, self.version.arena().value(link)))
    }
}
