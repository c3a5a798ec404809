//! One batch of updates: find where each key parts from the tree, then rebuild what changes, each node once.
//!
//! The batch is worked through in pieces that fit the cache. For each piece a first pass descends for several keys
//! in step, so that their cache misses overlap, and notes the bit at which each key parts from the leaf it arrives
//! at; it drops what would change nothing. The second pass rebuilds recursively over the sorted piece.

use chaoschain_schemas::{Purpose, limits};

use super::arena::{Garbage, NONE, Node, is_leaf, key_words};
use super::tree::{Tree, Update};
use super::{Short, TreeError, bit_of, block, check_key, common_bits, follows, leaf_hash, short, value_hash};

/// Keys that are worked through at once.
const PIECE: usize = 512;
/// Keys that descend in step.
const LANES: usize = 8;
/// In place of a bit: the key is in the tree.
const FOUND: u16 = u16::MAX;

/// What a batch did.
pub(super) struct Changed {
    pub(super) top: u32,
    pub(super) added: usize,
    pub(super) removed: usize,
    /// Links of older versions that the new one does not reach.
    pub(super) replaced: Garbage,
}

/// A change that does change something.
struct Op<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    /// The bit at which the key parts from all keys of the tree, or [`FOUND`].
    parts: u16,
    leaf: Short,
}

/// A sub-tree as its parent knows it.
#[derive(Clone, Copy)]
struct Child {
    link: u32,
    hash: Short,
}

struct Batch<'t> {
    tree: &'t mut Tree,
    number: u64,
    changed: Changed,
}

impl Tree {
    /// Makes version `number` out of the tree at `top`. On an error the caller takes back what was allocated.
    pub(super) fn rebuild(
        &mut self,
        number: u64,
        top: u32,
        updates: &[Update<'_>],
    ) -> Result<Changed, TreeError> {
        check(updates)?;
        let mut top = (top != NONE).then(|| Child { link: top, hash: short(&self.head().root()) });
        let changed = Changed { top: NONE, added: 0, removed: 0, replaced: Garbage::default() };
        let mut batch = Batch { tree: self, number, changed };
        let mut ops = Vec::with_capacity(PIECE.min(updates.len()));
        for (piece, at) in updates.chunks(PIECE).zip((0..).step_by(PIECE)) {
            ops.clear();
            for (group, at) in piece.chunks(LANES).zip((at..).step_by(LANES)) {
                batch.find(top, group, at, &mut ops)?;
            }
            top = match top {
                _ if ops.is_empty() => top,
                None => Some(batch.grow(&ops)?),
                Some(top) => batch.change(top, &ops)?,
            };
        }
        batch.changed.top = top.map_or(NONE, |top| top.link);
        Ok(batch.changed)
    }
}

fn check(updates: &[Update<'_>]) -> Result<(), TreeError> {
    let mut before: Option<&[u8]> = None;
    for (index, update) in updates.iter().enumerate() {
        check_key(update.key, index)?;
        if let Some(before) = before.replace(update.key) {
            follows(before, update.key, index)?;
        }
        match update.value.map(<[u8]>::len) {
            Some(bytes) if bytes > limits::VALUE_BYTES_MAX => {
                return Err(TreeError::ValueTooLong { index, bytes });
            }
            _ => {}
        }
    }
    Ok(())
}

impl Batch<'_> {
    /// Finds at most [`LANES`] keys and adds what changes something to `ops`; the first has number `index`.
    fn find<'a>(
        &self,
        top: Option<Child>,
        group: &[Update<'a>],
        index: usize,
        ops: &mut Vec<Op<'a>>,
    ) -> Result<(), TreeError> {
        let Some(top) = top else {
            ops.extend(group.iter().filter(|update| update.value.is_some()).map(|update| op(update, 0)));
            return Ok(());
        };
        let arena = &*self.tree.arena;
        let mut keys = [[0; _]; LANES];
        let mut links = [top.link; LANES];
        for (key, update) in keys.iter_mut().zip(group) {
            *key = key_words(update.key);
        }
        let links = &mut links[..group.len()];
        let mut moving = true;
        while moving {
            moving = false;
            for (link, key) in links.iter_mut().zip(&keys) {
                if !is_leaf(*link) {
                    *link = arena.step_and_touch(*link, key);
                    moving = true;
                }
            }
        }
        for (at, update) in group.iter().enumerate() {
            let (shared, here) = arena.compare(links[at], &keys[at], update.key.len());
            let found = shared == 8 * update.key.len() && here == update.key.len();
            match update.value {
                Some(value) if found && arena.value_is(links[at], value) => {}
                None if !found => {}
                _ if found => ops.push(op(update, FOUND)),
                _ if shared == 8 * here.min(update.key.len()) => {
                    return Err(TreeError::PrefixOfAnother { index: index + at });
                }
                _ => ops.push(op(update, shared as u16)),
            }
        }
        Ok(())
    }

    /// Applies `ops`, all of which arrive at `at`.
    fn change(&mut self, at: Child, ops: &[Op<'_>]) -> Result<Option<Child>, TreeError> {
        let parts = ops.iter().map(|op| op.parts).min().unwrap_or(FOUND);
        if is_leaf(at.link) {
            return if parts < FOUND { self.split(at, parts, ops) } else { self.replace(at, &ops[0]) };
        }
        let node = self.tree.arena.node(at.link);
        if parts < node.bit { self.split(at, parts, ops) } else { self.descend(at, node, ops) }
    }

    /// Puts a new node above `at`, at the first bit where an op parts from it.
    fn split(&mut self, at: Child, bit: u16, ops: &[Op<'_>]) -> Result<Option<Child>, TreeError> {
        let (left, right) = halves(ops, bit);
        let new_is_right = right.first().is_some_and(|op| op.parts == bit);
        let (stay, new) = if new_is_right { (left, right) } else { (right, left) };
        let old = if stay.is_empty() { Some(at) } else { self.change(at, stay)? };
        let new = self.grow(new)?;
        match old {
            None => Ok(Some(new)),
            Some(old) if new_is_right => self.join(bit, old, new).map(Some),
            Some(old) => self.join(bit, new, old).map(Some),
        }
    }

    /// The sub-tree of new keys alone.
    fn grow(&mut self, ops: &[Op<'_>]) -> Result<Child, TreeError> {
        let (first, last) = (&ops[0], &ops[ops.len() - 1]);
        if ops.len() == 1 {
            self.changed.added += 1;
            return self.leaf(first, first.value.unwrap_or_default());
        }
        let bit = common_bits(first.key, last.key) as u16;
        let (left, right) = halves(ops, bit);
        let (left, right) = (self.grow(left)?, self.grow(right)?);
        self.join(bit, left, right)
    }

    fn leaf(&mut self, op: &Op<'_>, value: &[u8]) -> Result<Child, TreeError> {
        let Tree { arena, slots, .. } = &mut *self.tree;
        let link = slots.record(arena, self.number, op.key, value)?;
        Ok(Child { link, hash: op.leaf })
    }

    fn replace(&mut self, at: Child, op: &Op<'_>) -> Result<Option<Child>, TreeError> {
        self.changed.replaced.push(&self.tree.arena, at.link);
        if let Some(value) = op.value {
            return self.leaf(op, value).map(Some);
        }
        self.changed.removed += 1;
        Ok(None)
    }

    fn descend(&mut self, at: Child, node: Node, ops: &[Op<'_>]) -> Result<Option<Child>, TreeError> {
        let (to_left, to_right) = halves(ops, node.bit);
        let bytes = self.tree.arena.block(at.link);
        let side = |from: usize, link| {
            let mut hash = [0; 31];
            hash.copy_from_slice(&bytes[from..from + 31]);
            Child { link, hash }
        };
        let (left, right) = (side(2, node.left), side(33, node.right));
        let left = if to_left.is_empty() { Some(left) } else { self.change(left, to_left)? };
        let right = if to_right.is_empty() { Some(right) } else { self.change(right, to_right)? };
        let (Some(left), Some(right)) = (left, right) else {
            self.changed.replaced.push(&self.tree.arena, at.link);
            return Ok(left.or(right));
        };
        if node.birth == self.number {
            return Ok(Some(self.write(at.link, node.bit, left, right)));
        }
        self.changed.replaced.push(&self.tree.arena, at.link);
        self.join(node.bit, left, right).map(Some)
    }

    fn join(&mut self, bit: u16, left: Child, right: Child) -> Result<Child, TreeError> {
        let link = self.tree.slots.node(&self.tree.arena)?;
        Ok(self.write(link, bit, left, right))
    }

    fn write(&mut self, link: u32, bit: u16, left: Child, right: Child) -> Child {
        let bytes = block(bit, &left.hash, &right.hash);
        let node = Node { bit, left: left.link, right: right.link, birth: self.number };
        self.tree.arena.write_node(link, node, &bytes);
        Child { link, hash: short(&Purpose::Node.hash(&bytes)) }
    }
}

fn op<'a>(update: &Update<'a>, parts: u16) -> Op<'a> {
    let leaf = update.value.map_or([0; 31], |value| short(&leaf_hash(update.key, &value_hash(value))));
    Op { key: update.key, value: update.value, parts, leaf }
}

/// Those with a 0 at `bit`, and those with a 1; they agree before it.
fn halves<'o, 'a>(ops: &'o [Op<'a>], bit: u16) -> (&'o [Op<'a>], &'o [Op<'a>]) {
    ops.split_at(ops.partition_point(|op| !bit_of(op.key, bit.into())))
}
