//! A part of a tree that still has its root: the one form of every proof, and how it is read and checked.
//!
//! # Format
//! The tree in pre-order; what is not opened is left as its hash. The empty tree is no bytes at all.
//! ```text
//! Hash  0  31 bytes                                                 a pruned sub-tree, as its parent commits to it
//! Leaf  1  key length u16 BE  key  32-byte value hash
//! Node  2  bit u16 BE  left element  right element
//! ```
//!
//! # Invariants
//! What [`Pruned::parse`] returns satisfies all of these, so a tree and a set of leaves to open have one encoding:
//! - bits increase strictly downwards and are below [`DEPTH_MAX`](super::DEPTH_MAX);
//! - opened keys agree with every turn above them, and those under one node agree with each other before its bit.
//!   So opened keys ascend strictly and none begins another;
//! - no hash is zero, every node has an opened leaf under it, and all input is used.
//!
//! # What it does not check
//! The root. Compare [`Pruned::root`] with one that is trusted; until then a proof says nothing. A root that was
//! not made by the rules of this tree (unordered keys, a key twice) can be opened into anything; trusting a root is
//! trusting that whoever signed it ran the rules, or having run them.

use std::ops::Bound;

use chaoschain_schemas::{Hash, limits};

use super::{DEPTH_MAX, Short, bit_of, common_bits, leaf_hash, node_hash};

/// Why bytes are not a pruned tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// More bytes than are read.
    #[error("the proof has {bytes} bytes, at most {max} are read")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many are read: [`limits::PROOF_BYTES_MAX`], but in a witness.
        max: usize,
    },
    /// More elements than are read.
    #[error("the proof has more than {max} elements")]
    TooManyElements {
        /// How many are read: [`limits::PROOF_ELEMENTS_MAX`], but in a witness.
        max: usize,
    },
    /// The bytes end within an element or before the tree is complete.
    #[error("the proof ends too early")]
    Truncated,
    /// The tree is complete before the bytes end.
    #[error("the proof has bytes after its end")]
    TrailingBytes,
    /// An element with an unknown tag.
    #[error("the proof has an element of unknown kind {0}")]
    Tag(u8),
    /// A key that is empty or too long.
    #[error("the proof opens a key of {0} bytes, and keys have 1 to {max}", max = limits::KEY_BYTES_MAX)]
    KeyLength(usize),
    /// A bit that is too high, or not above those below it.
    #[error("the bits of the proof do not increase downwards")]
    Bit,
    /// An opened key that contradicts a turn above it or another opened key.
    #[error("the proof opens a key where it cannot be")]
    Misplaced,
    /// A pruned sub-tree whose hash is zero.
    #[error("the proof has a zero hash")]
    ZeroHash,
    /// A node, or the whole tree, with nothing opened under it.
    #[error("the proof has a part that opens nothing")]
    OpensNothing,
}

/// How large a pruned tree may be that is read. Checked before anything is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofLimits {
    /// The most bytes.
    pub bytes: usize,
    /// The most leaves, nodes and hashes.
    pub elements: usize,
}

impl Default for ProofLimits {
    /// Those of a proof.
    fn default() -> Self {
        Self { bytes: limits::PROOF_BYTES_MAX, elements: limits::PROOF_ELEMENTS_MAX }
    }
}

/// What a proof says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The key is there, with a value of this hash.
    Present(Hash),
    /// The key is not there.
    Absent,
    /// The proof does not tell.
    Pruned,
}

/// The question cannot be answered from what is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not open enough to answer this")]
pub struct Incomplete;

/// An element of a pruned tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Hash(Short),
    Leaf(Vec<u8>, Hash),
    /// The bit, and where the right child is; the left one is next.
    Node(u16, usize),
}

impl Element {
    /// Where a node's right child is.
    pub(super) const fn right(&self) -> Option<usize> {
        match self {
            Self::Node(_, right) => Some(*right),
            Self::Hash(_) | Self::Leaf(..) => None,
        }
    }
}

/// A tree of which only some leaves are opened. Its [root](Pruned::root) is that of the whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    pub(super) elements: Vec<Element>,
    root: Hash,
}

/// Writing of elements.
pub(super) mod write {
    use chaoschain_schemas::Hash;

    /// What a parent commits to of a hash, bytes.
    pub(in super::super) const SHORT_BYTES: usize = 31;
    pub(in super::super) const HASH: u8 = 0;
    pub(in super::super) const LEAF: u8 = 1;
    pub(in super::super) const NODE: u8 = 2;

    pub(in super::super) fn hash(out: &mut Vec<u8>, short: &[u8]) {
        out.push(HASH);
        out.extend_from_slice(short);
    }

    pub(in super::super) fn leaf(out: &mut Vec<u8>, key: &[u8], value_hash: &Hash) {
        out.push(LEAF);
        out.extend_from_slice(&(key.len() as u16).to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value_hash.as_bytes());
    }

    pub(in super::super) fn node(out: &mut Vec<u8>, bit: u16) {
        out.push(NODE);
        out.extend_from_slice(&bit.to_be_bytes());
    }
}

impl Pruned {
    /// Reads a pruned tree and checks its form; the caller compares its root with a trusted one.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        Self::parse_within(bytes, ProofLimits::default())
    }

    /// [`Pruned::parse`] under other limits than those of a proof.
    pub fn parse_within(bytes: &[u8], limits: ProofLimits) -> Result<Self, ProofError> {
        if bytes.len() > limits.bytes {
            return Err(ProofError::TooLong { bytes: bytes.len(), max: limits.bytes });
        }
        let elements = read(bytes, limits.elements)?;
        let root = check(&elements)?;
        Ok(Self { elements, root })
    }

    pub(super) fn from_parts(elements: Vec<Element>, root: Hash) -> Self {
        Self { elements, root }
    }

    /// How many leaves, nodes and hashes it has.
    pub fn element_count(&self) -> usize {
        self.elements.len()
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The bytes that [`Pruned::parse`] reads. A tree with no opened leaf left, as an update can leave it, cannot be
    /// read again.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for element in &self.elements {
            match element {
                Element::Hash(short) => write::hash(&mut out, short),
                Element::Leaf(key, value_hash) => write::leaf(&mut out, key, value_hash),
                Element::Node(bit, _) => write::node(&mut out, *bit),
            }
        }
        out
    }

    /// The opened leaves, keys ascending, with the hashes of their values.
    pub fn leaves(&self) -> impl Iterator<Item = (&[u8], Hash)> {
        self.elements.iter().filter_map(|element| match element {
            Element::Leaf(key, value_hash) => Some((key.as_slice(), *value_hash)),
            _ => None,
        })
    }

    /// What the tree holds at `key`.
    ///
    /// The key descends by its own bits. In the whole tree every key agrees with all turns above it, so if `key`
    /// were there, this would be its path and its leaf would be at the end. If another leaf is there instead, the
    /// key is absent, although the path skips bits: they need not be looked at. If the path ends at a pruned
    /// sub-tree, nothing follows.
    pub fn get(&self, key: &[u8]) -> Lookup {
        let mut at = 0;
        loop {
            match self.elements.get(at) {
                Some(Element::Hash(_)) => return Lookup::Pruned,
                Some(Element::Leaf(here, value_hash)) if here == key => return Lookup::Present(*value_hash),
                None | Some(Element::Leaf(..)) => return Lookup::Absent,
                Some(Element::Node(bit, right)) => {
                    at = if bit_of(key, (*bit).into()) { *right } else { at + 1 };
                }
            }
        }
    }

    /// All leaves from `from` (inclusive; empty for the beginning) to `to`, complete: nothing pruned can hold a key
    /// between the bounds.
    pub fn range(&self, from: &[u8], to: Bound<&[u8]>) -> Result<Vec<(&[u8], Hash)>, Incomplete> {
        if matches!(self.elements[..], [Element::Hash(_)]) {
            return Err(Incomplete);
        }
        for (known, bits) in self.pruned_prefixes() {
            let outside = Side::of(known, bits, from) == Side::Below
                || match to {
                    Bound::Unbounded => false,
                    Bound::Included(to) => Side::of(known, bits, to) == Side::Above,
                    Bound::Excluded(to) => matches!(Side::of(known, bits, to), Side::Above | Side::Extends),
                };
            if !outside {
                return Err(Incomplete);
            }
        }
        let within = |key: &[u8]| {
            key >= from
                && match to {
                    Bound::Unbounded => true,
                    Bound::Included(to) => key <= to,
                    Bound::Excluded(to) => key < to,
                }
        };
        Ok(self.leaves().filter(|(key, _)| within(key)).collect())
    }

    /// For each pruned sub-tree what is known of its keys: they begin with `bits` bits of the opened key, except
    /// that the last of these is flipped.
    fn pruned_prefixes(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut known = Vec::new();
        let mut stack: Vec<(usize, Option<&[u8]>)> = Vec::new();
        for (at, element) in self.elements.iter().enumerate().rev() {
            let opened = match element {
                Element::Hash(_) => None,
                Element::Leaf(key, _) => Some(key.as_slice()),
                Element::Node(bit, _) => {
                    let (left, right) = (stack.pop(), stack.pop());
                    let opened = [left, right].into_iter().flatten().find_map(|(_, opened)| opened);
                    let hashes = [left, right]
                        .into_iter()
                        .flatten()
                        .filter(|(child, _)| matches!(self.elements[*child], Element::Hash(_)));
                    known.extend(hashes.filter_map(|_| Some((opened?, usize::from(*bit) + 1))));
                    opened
                }
            };
            stack.push((at, opened));
        }
        known.into_iter()
    }
}

/// How many leaves, nodes and hashes are in the bytes of a proof that [`Pruned::encode`] or a tree wrote; the form is not
/// checked.
pub fn element_count(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let [tag, rest @ ..] = bytes {
        let length = match (*tag, rest) {
            (write::HASH, _) => write::SHORT_BYTES,
            (write::LEAF, [high, low, ..]) => {
                2 + usize::from(u16::from_be_bytes([*high, *low])) + size_of::<Hash>()
            }
            _ => size_of::<u16>(),
        };
        bytes = rest.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

/// Where all keys of a pruned sub-tree lie, seen from a bound.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
    /// They begin with the bound, and one of them may be it.
    Extends,
    /// Some may be below, some above.
    Straddles,
}

impl Side {
    /// The side of keys that share all but the last of the first `bits` bits of `known` and differ in that one.
    fn of(known: &[u8], bits: usize, bound: &[u8]) -> Self {
        let (last, end) = (bits - 1, 8 * bound.len());
        let shared = common_bits(known, bound).min(last);
        if shared == end {
            return Self::Above;
        }
        let (here, there) = (bit_of(known, shared) ^ (shared == last), bit_of(bound, shared));
        match (here, there) {
            (false, true) => Self::Below,
            (true, false) => Self::Above,
            _ if end == bits => Self::Extends,
            _ => Self::Straddles,
        }
    }
}

/// Elements in pre-order, each node with the place of its right child.
#[derive(Default)]
pub(super) struct Elements {
    list: Vec<Element>,
    /// Nodes whose right child has not begun.
    waiting: Vec<usize>,
}

impl Elements {
    /// Adds the next element; `Node`'s right child is filled in when it begins.
    pub(super) fn push(&mut self, element: Element) {
        let at = self.list.len();
        if let Element::Node(..) = element {
            self.waiting.push(at);
        } else if let Some(Element::Node(_, right)) = self.waiting.pop().map(|node| &mut self.list[node]) {
            *right = at + 1;
        }
        self.list.push(element);
    }

    pub(super) fn finish(self) -> Vec<Element> {
        self.list
    }
}

/// Splits bytes into elements.
fn read(bytes: &[u8], max: usize) -> Result<Vec<Element>, ProofError> {
    let mut elements = Elements::default();
    let mut rest = bytes;
    let mut missing = usize::from(!bytes.is_empty());
    while missing > 0 {
        if elements.list.len() >= max {
            return Err(ProofError::TooManyElements { max });
        }
        match take(&mut rest, 1)?[0] {
            write::HASH => elements.push(Element::Hash(array(take(&mut rest, 31)?))),
            write::LEAF => {
                let bytes = usize::from(u16::from_be_bytes(array(take(&mut rest, 2)?)));
                if !(1..=limits::KEY_BYTES_MAX).contains(&bytes) {
                    return Err(ProofError::KeyLength(bytes));
                }
                let key = take(&mut rest, bytes)?.to_vec();
                elements.push(Element::Leaf(key, Hash::new(array(take(&mut rest, 32)?))));
            }
            write::NODE => {
                elements.push(Element::Node(u16::from_be_bytes(array(take(&mut rest, 2)?)), 0));
                missing += 2;
            }
            tag => return Err(ProofError::Tag(tag)),
        }
        missing -= 1;
    }
    if rest.is_empty() { Ok(elements.finish()) } else { Err(ProofError::TrailingBytes) }
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], ProofError> {
    let (taken, after) = rest.split_at_checked(bytes).ok_or(ProofError::Truncated)?;
    *rest = after;
    Ok(taken)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

/// A sub-tree on the way up.
struct Seen<'a> {
    hash: Hash,
    /// The bit of its node; none for a leaf or a hash.
    bit: Option<u16>,
    /// Its first and last opened keys.
    opened: Option<(&'a [u8], &'a [u8])>,
}

/// Checks the form and computes the root, from the last element to the first: both children come before their node.
fn check(elements: &[Element]) -> Result<Hash, ProofError> {
    let mut stack: Vec<Seen<'_>> = Vec::new();
    for element in elements.iter().rev() {
        let seen = match element {
            Element::Hash(short) if *short == [0; 31] => return Err(ProofError::ZeroHash),
            Element::Hash(short) => Seen { hash: widen(short), bit: None, opened: None },
            Element::Leaf(key, value_hash) => {
                Seen { hash: leaf_hash(key, value_hash), bit: None, opened: Some((key, key)) }
            }
            Element::Node(bit, _) => {
                let (Some(left), Some(right)) = (stack.pop(), stack.pop()) else {
                    return Err(ProofError::Truncated);
                };
                join(*bit, &left, &right)?
            }
        };
        stack.push(seen);
    }
    match stack.pop() {
        None => Ok(Hash::ZERO),
        Some(Seen { opened: None, .. }) => Err(ProofError::OpensNothing),
        Some(top) => Ok(top.hash),
    }
}

fn join<'a>(bit: u16, left: &Seen<'a>, right: &Seen<'a>) -> Result<Seen<'a>, ProofError> {
    let above = |child: &Seen<'_>| child.bit.is_none_or(|below| bit < below);
    if usize::from(bit) >= DEPTH_MAX || !above(left) || !above(right) {
        return Err(ProofError::Bit);
    }
    let at = usize::from(bit);
    let turns = |child: &Seen<'_>, right| {
        child.opened.is_none_or(|(first, _)| at < 8 * first.len() && bit_of(first, at) == right)
    };
    if !turns(left, false) || !turns(right, true) {
        return Err(ProofError::Misplaced);
    }
    let opened = match (left.opened, right.opened) {
        (Some((first, _)), Some((_, last))) => (first, last),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Err(ProofError::OpensNothing),
    };
    if common_bits(opened.0, opened.1) < at {
        return Err(ProofError::Misplaced);
    }
    Ok(Seen { hash: node_hash(bit, &left.hash, &right.hash), bit: Some(bit), opened: Some(opened) })
}

/// A hash of which only the first 31 bytes are known; enough for a parent.
pub(super) fn widen(short: &Short) -> Hash {
    let mut bytes = [0; 32];
    bytes[..31].copy_from_slice(short);
    Hash::new(bytes)
}
