//! One batch of updates: find where each key parts from the tree, then rebuild what changes, each node once.
//!
//! The batch is worked through in pieces that fit the cache, each in three passes. The first descends for all keys of
//! the piece a level at a time, fetching ahead so that their cache misses overlap, and notes the bit at which each
//! key parts from the leaf it arrives at; it drops what would change nothing. The second rebuilds recursively over
//! the sorted piece. The third hashes what the second made, many nodes at once.

use chaoschain_schemas::limits;

use super::arena::{Full, Garbage, NONE, Node, is_leaf};
use super::descents::{Descents, TOGETHER};
use super::fresh::{Fresh, KEPT};
use super::tree::{Tree, Update};
use super::{Short, TreeError, bit_of, block, check_key, common_bits, follows, leaf_hash, short, value_hash};

/// Keys that are worked through at once.
const PIECE: usize = TOGETHER;
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

/// A place in the tree before the batch.
#[derive(Clone, Copy)]
struct Place {
    link: u32,
    /// The node above it, or [`NONE`].
    above: u32,
    is_right: bool,
}

/// A sub-tree after the batch, and the number of its hash.
#[derive(Clone, Copy)]
struct Child {
    link: u32,
    hash: u32,
}

struct Batch<'t> {
    tree: &'t mut Tree,
    number: u64,
    /// The hash of the top.
    root: Short,
    changed: Changed,
    fresh: Fresh,
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
        let mut top = (top != NONE).then_some(top);
        let root = short(&self.head().root());
        let changed = Changed { top: NONE, added: 0, removed: 0, replaced: Garbage::default() };
        let mut batch = Batch { tree: self, number, root, changed, fresh: Fresh::default() };
        let mut search = Descents::default();
        let mut ops = Vec::with_capacity(PIECE.min(updates.len()));
        for (piece, at) in updates.chunks(PIECE).zip((0..).step_by(PIECE)) {
            ops.clear();
            batch.find(top, piece, at, &mut search, &mut ops)?;
            let after = match top {
                _ if ops.is_empty() => continue,
                None => Some(batch.grow(&ops)?),
                Some(link) => batch.change(Place { link, above: NONE, is_right: false }, &ops)?,
            };
            top = after.map(|after| after.link);
            if let Some(after) = after {
                batch.root = batch.fresh.settle(&batch.tree.arena, after.hash);
            }
        }
        batch.changed.top = top.unwrap_or(NONE);
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
    /// Finds the keys of a piece and adds what changes something to `ops`; the first has number `index`.
    fn find<'a>(
        &self,
        top: Option<u32>,
        group: &[Update<'a>],
        index: usize,
        search: &mut Descents,
        ops: &mut Vec<Op<'a>>,
    ) -> Result<(), TreeError> {
        let Some(top) = top else {
            ops.extend(group.iter().filter(|update| update.value.is_some()).map(|update| op(update, 0)));
            return Ok(());
        };
        let arena = &*self.tree.arena;
        search.run(arena, top, group.iter().map(|update| update.key));
        let Descents { keys, leaves } = search;
        for (at, update) in group.iter().enumerate() {
            let (shared, here) = arena.compare(leaves[at], &keys[at], update.key.len());
            let found = shared == 8 * update.key.len() && here == update.key.len();
            match update.value {
                Some(value) if found && arena.value_is(leaves[at], value) => {}
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
    fn change(&mut self, at: Place, ops: &[Op<'_>]) -> Result<Option<Child>, Full> {
        let parts = ops.iter().map(|op| op.parts).min().unwrap_or(FOUND);
        if is_leaf(at.link) {
            return if parts < FOUND { self.split(at, parts, ops) } else { self.replace(at, &ops[0]) };
        }
        let node = self.tree.arena.node(at.link);
        if parts < node.bit { self.split(at, parts, ops) } else { self.descend(at, node, ops) }
    }

    /// Puts a new node above `at`, at the first bit where an op parts from it.
    fn split(&mut self, at: Place, bit: u16, ops: &[Op<'_>]) -> Result<Option<Child>, Full> {
        let (left, right) = halves(ops, bit);
        let new_is_right = right.first().is_some_and(|op| op.parts == bit);
        let (stay, new) = if new_is_right { (left, right) } else { (right, left) };
        let old = if stay.is_empty() { Some(self.unchanged(at)) } else { self.change(at, stay)? };
        let new = self.grow(new)?;
        match old {
            None => Ok(Some(new)),
            Some(old) if new_is_right => self.join(bit, old, new).map(Some),
            Some(old) => self.join(bit, new, old).map(Some),
        }
    }

    /// The sub-tree of new keys alone.
    fn grow(&mut self, ops: &[Op<'_>]) -> Result<Child, Full> {
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

    fn leaf(&mut self, op: &Op<'_>, value: &[u8]) -> Result<Child, Full> {
        let Tree { arena, slots, .. } = &mut *self.tree;
        let link = slots.record(arena, self.number, op.key, value)?;
        Ok(Child { link, hash: self.fresh.known(op.leaf) })
    }

    fn replace(&mut self, at: Place, op: &Op<'_>) -> Result<Option<Child>, Full> {
        self.changed.replaced.push(&self.tree.arena, at.link);
        if let Some(value) = op.value {
            return self.leaf(op, value).map(Some);
        }
        self.changed.removed += 1;
        Ok(None)
    }

    fn descend(&mut self, at: Place, node: Node, ops: &[Op<'_>]) -> Result<Option<Child>, Full> {
        let (to_left, to_right) = halves(ops, node.bit);
        let left = self.side(Place { link: node.left, above: at.link, is_right: false }, to_left)?;
        let right = self.side(Place { link: node.right, above: at.link, is_right: true }, to_right)?;
        let (Some(left), Some(right)) = (left, right) else {
            self.changed.replaced.push(&self.tree.arena, at.link);
            return Ok(left.or(right).map(|only| match only.hash {
                KEPT => self.unchanged(Place { link: only.link, above: at.link, is_right: right.is_some() }),
                _ => only,
            }));
        };
        let block = self.tree.arena.block(at.link);
        if node.birth == self.number {
            return Ok(Some(self.write(at.link, node.bit, left, right, &block)));
        }
        self.changed.replaced.push(&self.tree.arena, at.link);
        let link = self.tree.slots.node(&self.tree.arena)?;
        Ok(Some(self.write(link, node.bit, left, right, &block)))
    }

    fn side(&mut self, at: Place, ops: &[Op<'_>]) -> Result<Option<Child>, Full> {
        if ops.is_empty() { Ok(Some(Child { link: at.link, hash: KEPT })) } else { self.change(at, ops) }
    }

    /// What is at a place, to be put elsewhere.
    fn unchanged(&mut self, at: Place) -> Child {
        let mut hash = self.root;
        if at.above != NONE {
            let from = if at.is_right { 33 } else { 2 };
            hash.copy_from_slice(&self.tree.arena.block(at.above)[from..from + 31]);
        }
        Child { link: at.link, hash: self.fresh.known(hash) }
    }

    fn join(&mut self, bit: u16, left: Child, right: Child) -> Result<Child, Full> {
        let link = self.tree.slots.node(&self.tree.arena)?;
        Ok(self.write(link, bit, left, right, &block(bit, &[0; 31], &[0; 31])))
    }

    /// Writes a node; `block` has the hashes of children that are [`KEPT`].
    fn write(&mut self, link: u32, bit: u16, left: Child, right: Child, block: &[u8; 64]) -> Child {
        let node = Node { bit, left: left.link, right: right.link, birth: self.number };
        self.tree.arena.write_node(link, node, block);
        Child { link, hash: self.fresh.node(link, left.hash, right.hash) }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::root_of;
    use super::*;

    /// Keys that an earlier piece has put in place are found, split and removed by later pieces and batches.
    #[test]
    fn batches_of_many_pieces_have_the_root_of_their_entries() {
        let mut tree = Tree::new();
        let mut map = BTreeMap::new();
        for round in 0..12_u32 {
            let keys =
                (0..20 * PIECE as u32).filter(|n| n.wrapping_mul(0x9E37_79B9).rotate_left(round) % 4 == 0);
            let removes = |n: u32| round % 4 == 3 || n.wrapping_mul(round) % 5 == 1;
            let rows: Vec<_> = keys
                .map(|n| (n.to_be_bytes(), (!removes(n)).then(|| (n / 2 * round).to_be_bytes())))
                .collect();
            assert!(rows.len() > 3 * PIECE);
            let updates: Vec<_> = rows
                .iter()
                .map(|(key, value)| Update { key, value: value.as_ref().map(<[u8; 4]>::as_slice) })
                .collect();
            let version = tree.apply(&updates).expect("keys ascend");
            for (key, value) in &rows {
                match value {
                    Some(value) => map.insert(*key, *value),
                    None => map.remove(key),
                };
            }
            assert_eq!(version.len(), map.len(), "round {round}");
            assert_eq!(version.root(), root_of(map.iter().map(|(key, value)| (key, value_hash(value)))));
        }
        let all: Vec<_> = map.keys().map(|key| Update { key, value: None }).collect();
        assert!(all.len() > 3 * PIECE);
        assert!(tree.apply(&all).expect("keys ascend").is_empty());
    }
}
