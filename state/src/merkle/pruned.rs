//! Changing a pruned tree: the ordinary update, and cutting it at a key, both with the root that the whole tree gets.
//!
//! A pruned sub-tree that moves up because its sibling is gone keeps its hash, for the hash of a sub-tree does not
//! depend on what is above it. Only the top of a tree enters its root with all 32 bytes, and a pruned sub-tree is
//! known by 31: if one becomes the top, the answer is incomplete. Opening any leaf on that side avoids it.

use chaoschain_schemas::Hash;

use super::proof::{Element, Elements, Incomplete, Pruned, widen};
use super::{TreeError, bit_of, check_key, common_bits, follows, leaf_hash, node_hash, short};

/// Why an update of a pruned tree was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrunedError {
    /// It needs what is not opened.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// The whole tree would refuse it.
    #[error(transparent)]
    Refused(#[from] TreeError),
}

impl Pruned {
    /// Applies a batch of (key, new value hash), in strictly ascending order of key; none deletes the key. The
    /// result has the root that the whole tree has after the same batch.
    ///
    /// What [`Version::prove`](super::Version::prove) opens for the keys of a batch is enough, unless the batch leaves
    /// nothing but one pruned sub-tree.
    pub fn apply(&self, updates: &[(&[u8], Option<Hash>)]) -> Result<Self, PrunedError> {
        let mut before = None;
        for (index, (key, _)) in updates.iter().enumerate() {
            check_key(key, index)?;
            if let Some(before) = before.replace(*key) {
                follows(before, key, index)?;
            }
        }
        let mut draft = Draft::of(&self.elements);
        // Deletions last: until then no opened leaf is lost, and any may tell where a key belongs or that it is absent.
        for (index, (key, value)) in updates.iter().enumerate() {
            if let Some(value) = value {
                draft.insert(index, key, *value)?;
            }
        }
        let deleted = updates.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key);
        let deleted =
            deleted.filter_map(|key| draft.contains(key).map(|there| there.then_some(key)).transpose());
        for key in deleted.collect::<Result<Vec<_>, _>>()? {
            draft.delete(key)?;
        }
        Ok(draft.finish()?)
    }

    /// From the tree of a chain's blocks the tree of its first `m`, whose root is the older root. Keys are the
    /// consecutive heights from 0, as 8 bytes big-endian. This is the consistency proof of an append-only log, and
    /// opening height `m − 1` is enough for it.
    pub fn cut(&self, m: u64) -> Result<Self, Incomplete> {
        let mut draft = Draft { parts: Vec::new(), top: None };
        // Sub-trees on the way up: what is kept of each, and an opened height of it.
        let mut stack: Vec<(Option<usize>, Option<u64>)> = Vec::new();
        for element in self.elements.iter().rev() {
            let kept = match element {
                Element::Hash(short) => (Some(draft.add(Part::Hash(widen(short)))), None),
                Element::Leaf(key, value) => {
                    let height = u64::from_be_bytes(key.as_slice().try_into().map_err(|_| Incomplete)?);
                    let part = (height < m).then(|| draft.add(Part::Leaf(key.clone(), *value)));
                    (part, Some(height))
                }
                Element::Node(bit, _) => {
                    let (Some(left), Some(right)) = (stack.pop(), stack.pop()) else {
                        return Err(Incomplete);
                    };
                    let known = left.1.or(right.1).ok_or(Incomplete)?;
                    let (first, last) = heights_beside(known, *bit);
                    let keep = |(part, opened): (Option<usize>, Option<u64>)| match opened {
                        Some(_) => Ok(part),
                        None if last < m => Ok(part),
                        None if first >= m => Ok(None),
                        None => Err(Incomplete),
                    };
                    let kept = match (keep(left)?, keep(right)?) {
                        (Some(left), Some(right)) => Some(draft.add(Part::Node(*bit, [left, right]))),
                        (one, other) => one.or(other),
                    };
                    (kept, Some(known))
                }
            };
            stack.push(kept);
        }
        draft.top = stack.pop().and_then(|(kept, _)| kept);
        draft.finish()
    }
}

/// The first and last heights that can be on the other side of a node at `bit` than the height `known`.
fn heights_beside(known: u64, bit: u16) -> (u64, u64) {
    let side = 1 << (63 - bit);
    let first = (known ^ side) & !(side - 1);
    (first, first | (side - 1))
}

#[derive(Clone)]
enum Part {
    Hash(Hash),
    Leaf(Vec<u8>, Hash),
    Node(u16, [usize; 2]),
}

/// A pruned tree that is being changed. Parts that are cut off stay in the list.
struct Draft {
    parts: Vec<Part>,
    top: Option<usize>,
}

/// The nodes above a place, from the top, each with the side that was taken.
type Path = Vec<(usize, bool)>;

impl Draft {
    fn of(elements: &[Element]) -> Self {
        let part = |(at, element): (usize, &Element)| match element {
            Element::Hash(short) => Part::Hash(widen(short)),
            Element::Leaf(key, value) => Part::Leaf(key.clone(), *value),
            Element::Node(bit, right) => Part::Node(*bit, [at + 1, *right]),
        };
        Self {
            parts: elements.iter().enumerate().map(part).collect(),
            top: (!elements.is_empty()).then_some(0),
        }
    }

    fn add(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    /// The leaf that `key` arrives at, and the way to it.
    fn find(&self, top: usize, key: &[u8]) -> Result<(usize, Path), Incomplete> {
        let mut path = Path::new();
        let mut at = top;
        loop {
            match &self.parts[at] {
                Part::Hash(_) => return Err(Incomplete),
                Part::Leaf(..) => return Ok((at, path)),
                Part::Node(bit, children) => {
                    let right = bit_of(key, (*bit).into());
                    path.push((at, right));
                    at = children[usize::from(right)];
                }
            }
        }
    }

    /// Puts `part` where the way that `path` tells ends.
    fn place(&mut self, path: &[(usize, bool)], part: usize) {
        match path.last().map(|(node, right)| (&mut self.parts[*node], *right)) {
            Some((Part::Node(_, children), right)) => children[usize::from(right)] = part,
            _ => self.top = Some(part),
        }
    }

    fn insert(&mut self, index: usize, key: &[u8], value: Hash) -> Result<(), PrunedError> {
        let Some(top) = self.top else {
            self.top = Some(self.add(Part::Leaf(key.to_vec(), value)));
            return Ok(());
        };
        let (leaf, path) = self.find(top, key)?;
        let Part::Leaf(here, old) = &mut self.parts[leaf] else { return Err(Incomplete.into()) };
        if here == key {
            *old = value;
            return Ok(());
        }
        let shared = common_bits(here, key);
        if shared == 8 * here.len().min(key.len()) {
            return Err(TreeError::PrefixOfAnother { index }.into());
        }
        let above = path.partition_point(|(node, _)| self.bit(*node) < shared);
        let old = path.get(above).map_or(leaf, |(node, _)| *node);
        let new = self.add(Part::Leaf(key.to_vec(), value));
        let children = if bit_of(key, shared) { [old, new] } else { [new, old] };
        let node = self.add(Part::Node(shared as u16, children));
        self.place(&path[..above], node);
        Ok(())
    }

    fn bit(&self, node: usize) -> usize {
        if let Part::Node(bit, _) = self.parts[node] { bit.into() } else { usize::MAX }
    }

    fn contains(&self, key: &[u8]) -> Result<bool, Incomplete> {
        let Some(top) = self.top else { return Ok(false) };
        let (leaf, _) = self.find(top, key)?;
        Ok(matches!(&self.parts[leaf], Part::Leaf(here, _) if here == key))
    }

    /// Cuts off the leaf of `key`, which is there.
    fn delete(&mut self, key: &[u8]) -> Result<(), Incomplete> {
        let (_, mut path) = self.find(self.top.ok_or(Incomplete)?, key)?;
        match path.pop().map(|(node, right)| (&self.parts[node], right)) {
            Some((Part::Node(_, children), right)) => {
                let sibling = children[usize::from(!right)];
                self.place(&path, sibling);
            }
            _ => self.top = None,
        }
        Ok(())
    }

    /// Puts the parts in order, with what has nothing opened any more as one hash, and computes the root.
    fn finish(self) -> Result<Pruned, Incomplete> {
        let Some(top) = self.top else { return Ok(Pruned::from_parts(Vec::new(), Hash::ZERO)) };
        if let Part::Hash(_) = self.parts[top] {
            return Err(Incomplete);
        }
        let folded = self.folded(top);
        let mut elements = Elements::default();
        let mut ahead = vec![top];
        while let Some(at) = ahead.pop() {
            match &self.parts[at] {
                _ if !folded[at].1 => elements.push(Element::Hash(short(&folded[at].0))),
                Part::Hash(hash) => elements.push(Element::Hash(short(hash))),
                Part::Leaf(key, value) => elements.push(Element::Leaf(key.clone(), *value)),
                Part::Node(bit, [left, right]) => {
                    elements.push(Element::Node(*bit, 0));
                    ahead.extend([*right, *left]);
                }
            }
        }
        Ok(Pruned::from_parts(elements.finish(), folded[top].0))
    }

    /// The hash of each part under `top`, and whether anything is opened there.
    fn folded(&self, top: usize) -> Vec<(Hash, bool)> {
        let mut order = Vec::new();
        let mut ahead = vec![top];
        while let Some(at) = ahead.pop() {
            order.push(at);
            if let Part::Node(_, children) = &self.parts[at] {
                ahead.extend(children);
            }
        }
        let mut folded = vec![(Hash::ZERO, false); self.parts.len()];
        for at in order.into_iter().rev() {
            folded[at] = match &self.parts[at] {
                Part::Hash(hash) => (*hash, false),
                Part::Leaf(key, value) => (leaf_hash(key, value), true),
                Part::Node(bit, [left, right]) => {
                    let (left, right) = (folded[*left], folded[*right]);
                    (node_hash(*bit, &left.0, &right.0), left.1 || right.1)
                }
            };
        }
        folded
    }
}
