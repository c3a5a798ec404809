//! The memory of a tree: inner nodes and leaf records by 31-bit index, shared with any number of readers.
//!
//! One writer fills slots and later frees them; readers hold versions, and a slot is rewritten only when no live
//! version can reach it. All words are relaxed atomics: what orders a reader after the writer is how it got its
//! version (a lock, a channel), and the writer after the reader is the pin that the reader's version releases.
//!
//! # Format
//! ```text
//! link    u32         top bit 0: inner node, 1: leaf record; the rest is the index. NONE is the empty tree
//! node    2 words     left link 32 ‖ right link 32,  birth 48 ‖ bit 16          what a descent reads
//!         8 words     the 64 bytes that its hash is of
//! record  1 word      birth 40 ‖ value length 17 ‖ key length 7                 in units of 2 words
//!         n words     key, big-endian, zero padded;  value, zero padded
//! ```
//! A node lies in two neighbouring cache lines wherever it stands, and fetching neighbours costs hardly more than
//! fetching one. Slots stand in chunks, each as large as all before it; of a chunk only what is used takes memory.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use chaoschain_schemas::{Hash, Purpose, limits};

use super::TreeError;
use super::pages::{self, Words};
use super::version::Value;

/// The link of the empty tree.
pub(super) const NONE: u32 = u32::MAX;
const LEAF: u32 = 1 << 31;

/// Slots of an arena at most, and units of its records at most.
pub(super) const INDEX_MAX: u32 = LEAF - 2;
/// Words of the longest key.
pub(super) const KEY_WORDS: usize = limits::KEY_BYTES_MAX / 8;
/// Births are kept in 40 bits: enough for a thousand versions a second over 34 years.
const BIRTH_BITS: u32 = 40;

/// A key as big-endian words, zero padded: a bit is a shift away, and comparing is an exclusive or.
pub(super) type KeyWords = [u64; KEY_WORDS];

pub(super) fn is_leaf(link: u32) -> bool {
    link & LEAF != 0
}

/// The words of a key of at most [`limits::KEY_BYTES_MAX`] bytes; what is longer is cut.
pub(super) fn key_words(key: &[u8]) -> KeyWords {
    let mut words = [0; KEY_WORDS];
    for (word, bytes) in words.iter_mut().zip(key.chunks(8)) {
        *word = u64::from_be_bytes(padded(bytes));
    }
    words
}

/// Bit `at` of a key.
#[inline]
pub(super) fn word_bit(words: &KeyWords, at: u16) -> bool {
    words[usize::from(at / 64)] >> (63 - at % 64) & 1 == 1
}

/// One step of a descent, without a branch on the key.
#[inline]
pub(super) fn step(Words([links, rest, ..]): &Slot, key: &KeyWords) -> u32 {
    let left = 32 * u32::from(!word_bit(key, rest.load(Relaxed) as u16));
    (links.load(Relaxed) >> left) as u32
}

fn padded(bytes: &[u8]) -> [u8; 8] {
    if let Ok(whole) = bytes.try_into() {
        return whole;
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}

/// Two words of a record.
type Unit = Words<2>;

/// An inner node: links, birth and bit, and what its hash is of.
pub(super) type Slot = Words<10>;

/// Slots by index, in chunks of which each is as large as all before it.
struct Chunks<const N: usize>([OnceLock<Box<[Words<N>]>>; CHUNKS]);

const FIRST_SHIFT: u32 = 5;
const CHUNKS: usize = (32 - FIRST_SHIFT) as usize;

/// The chunk of an index, the place in it, and the chunk's size.
#[inline]
fn locate(index: u32) -> (usize, usize, usize) {
    let from = index + (1 << FIRST_SHIFT);
    let shift = from.ilog2();
    let size = 1 << shift;
    ((shift - FIRST_SHIFT) as usize, from as usize - size, size)
}

impl<const N: usize> Chunks<N> {
    fn new() -> Self {
        Self([const { OnceLock::new() }; CHUNKS])
    }

    #[inline]
    fn run(&self, index: u32) -> &[Words<N>] {
        let (chunk, at, _) = locate(index);
        let slots = self.0[chunk].get().expect("an index in use lies in an allocated chunk");
        &slots[at..]
    }

    #[inline]
    fn slot(&self, index: u32) -> &Words<N> {
        &self.run(index)[0]
    }

    fn allocate(&self, index: u32) {
        let (chunk, _, size) = locate(index);
        self.0[chunk].get_or_init(|| pages::zeroed(size));
    }
}

/// An inner node as a descent reads it.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) bit: u16,
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) birth: u64,
}

impl Node {
    pub(super) fn child(&self, right: bool) -> u32 {
        if right { self.right } else { self.left }
    }
}

/// The shared half: what readers see.
pub(super) struct Arena {
    nodes: Chunks<10>,
    records: Chunks<2>,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self { nodes: Chunks::new(), records: Chunks::new() }
    }

    #[inline]
    pub(super) fn node(&self, link: u32) -> Node {
        let Words([links, rest, ..]) = self.nodes.slot(link);
        let (links, rest) = (links.load(Relaxed), rest.load(Relaxed));
        Node { bit: rest as u16, left: (links >> 32) as u32, right: links as u32, birth: rest >> 16 }
    }

    /// One step of a descent, without a branch on the key.
    #[inline]
    pub(super) fn step(&self, link: u32, key: &KeyWords) -> u32 {
        step(self.nodes.slot(link), key)
    }

    /// Starts to bring a node into the cache.
    #[inline]
    pub(super) fn fetch_node(&self, link: u32) -> &Slot {
        let slot = self.nodes.slot(link);
        pages::fetch(slot);
        slot
    }

    /// Starts to bring a record's key and the beginning of its value into the cache.
    #[inline]
    pub(super) fn fetch_record(&self, link: u32) {
        let run = self.records.run(link & !LEAF);
        pages::fetch(&run[0]);
        if let Some(next) = run.get(64 / size_of::<Unit>()) {
            pages::fetch(next);
        }
    }

    /// The leaf that `key` descends to by its own bits.
    pub(super) fn descend(&self, mut link: u32, key: &KeyWords) -> u32 {
        while !is_leaf(link) {
            link = self.step(link, key);
        }
        link
    }

    /// The 64 bytes that a node's hash is of.
    #[inline]
    pub(super) fn block(&self, link: u32) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (out, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(&self.nodes.slot(link).0[2..]) {
            *out = word.load(Relaxed).to_le_bytes();
        }
        bytes
    }

    /// The whole hash of the element at `link`, computed from what it holds.
    pub(super) fn hash(&self, link: u32) -> Hash {
        if link == NONE {
            Hash::ZERO
        } else if is_leaf(link) {
            super::leaf_hash(&self.key(link), &super::value_hash(&self.value(link)))
        } else {
            Purpose::Node.hash(&self.block(link))
        }
    }

    fn header(&self, link: u32) -> Header {
        Header::from_word(self.records.slot(link & !LEAF).0[0].load(Relaxed))
    }

    /// The words of a record, its header first.
    #[inline]
    fn words(&self, link: u32) -> impl Iterator<Item = u64> {
        self.records.run(link & !LEAF).iter().flat_map(|Words(words)| words).map(|word| word.load(Relaxed))
    }

    /// How many leading bits the key at `link` shares with `key`, and the length of the key at `link`.
    #[inline]
    pub(super) fn compare(&self, link: u32, key: &KeyWords, key_bytes: usize) -> (usize, usize) {
        let here = self.header(link).key_bytes;
        let differ = self.words(link).skip(1).zip(key).map(|(a, b)| a ^ b).position(|word| word != 0);
        let shorter = 8 * here.min(key_bytes);
        let Some(at) = differ.filter(|at| at * 64 < shorter) else { return (shorter, here) };
        let word = self.words(link).nth(1 + at).map_or(0, |word| word ^ key[at]);
        ((64 * at + word.leading_zeros() as usize).min(shorter), here)
    }

    pub(super) fn key(&self, link: u32) -> Vec<u8> {
        let bytes = self.header(link).key_bytes;
        let mut key = Vec::with_capacity(8 * KEY_WORDS);
        key.extend(self.words(link).skip(1).take(bytes.div_ceil(8)).flat_map(u64::to_be_bytes));
        key.truncate(bytes);
        key
    }

    pub(super) fn value(&self, link: u32) -> Value {
        let header = self.header(link);
        let mut value: Value = std::iter::repeat_n(0, header.value_bytes).collect();
        let words = self.value_words(link, &header);
        // Nobody else has it yet, so nothing is copied.
        for (out, word) in Arc::make_mut(&mut value).chunks_mut(8).zip(words) {
            out.copy_from_slice(&word.to_le_bytes()[..out.len()]);
        }
        value
    }

    pub(super) fn value_is(&self, link: u32, value: &[u8]) -> bool {
        let header = self.header(link);
        header.value_bytes == value.len()
            && value.chunks(8).zip(self.value_words(link, &header)).all(|(a, b)| padded(a) == b.to_le_bytes())
    }

    fn value_words(&self, link: u32, header: &Header) -> impl Iterator<Item = u64> {
        self.words(link).skip(1 + header.key_bytes.div_ceil(8))
    }

    /// The version in which the element at `link` was made.
    pub(super) fn birth(&self, link: u32) -> u64 {
        if is_leaf(link) { self.header(link).birth } else { self.node(link).birth }
    }
}

struct Header {
    birth: u64,
    value_bytes: usize,
    key_bytes: usize,
}

impl Header {
    fn from_word(word: u64) -> Self {
        let value_bytes = (word >> 7) as usize & 0x1_FFFF;
        Self { birth: word >> 24, value_bytes, key_bytes: word as usize & 0x7F }
    }

    fn word(&self) -> u64 {
        self.birth << 24 | (self.value_bytes as u64) << 7 | self.key_bytes as u64
    }

    /// Units of two words that the record takes.
    fn units(&self) -> u32 {
        (1 + self.key_bytes.div_ceil(8) + self.value_bytes.div_ceil(8)).div_ceil(2) as u32
    }
}

/// Records of up to this many units have a size class each; above, there are eight classes to an octave.
const EXACT_UNITS: u32 = 64;

/// The size class of a record, and the units every record of the class takes.
fn class(units: u32) -> (usize, u32) {
    if units <= EXACT_UNITS {
        return (units as usize, units);
    }
    let shift = (units - 1).ilog2() - 3;
    let step = ((units - 1) >> shift) + 1;
    (((shift - 3) * 8 + step + EXACT_UNITS - 8) as usize, step << shift)
}

/// There is no room for another node or record.
#[derive(Debug)]
pub(super) struct Full;

impl From<Full> for TreeError {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// How many free nodes are fetched before they are written.
const AHEAD: usize = 8;

/// The writer's half: which slots are free.
pub(super) struct Allocator {
    nodes: u32,
    nodes_max: u32,
    free_nodes: Vec<u32>,
    units: u32,
    units_max: u32,
    /// Free records by size class; a record serves its own class only.
    free_records: Vec<Vec<u32>>,
    free_units: u32,
    /// Links made by the update in progress: all of them go if it fails.
    born: Vec<u32>,
}

impl Allocator {
    pub(super) fn new(nodes_max: u32, units_max: u32) -> Self {
        let (classes, _) =
            class(Header { birth: 0, value_bytes: limits::VALUE_BYTES_MAX, key_bytes: 96 }.units());
        Self {
            nodes: 0,
            nodes_max: nodes_max.min(INDEX_MAX),
            free_nodes: Vec::new(),
            units: 0,
            units_max: units_max.min(INDEX_MAX),
            free_records: vec![Vec::new(); classes + 1],
            free_units: 0,
            born: Vec::new(),
        }
    }

    /// Inner nodes in use, and bytes of records in use.
    pub(super) fn in_use(&self) -> (usize, usize) {
        (self.nodes as usize - self.free_nodes.len(), 16 * (self.units - self.free_units) as usize)
    }

    /// Bytes of all slots that were ever used, and of the lists of free ones.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.free_records.iter().chain([&self.free_nodes, &self.born]);
        let slots = size_of::<Slot>() * self.nodes as usize + size_of::<Unit>() * self.units as usize;
        slots + lists.map(|list| 4 * list.capacity()).sum::<usize>()
    }

    /// A slot for an inner node.
    pub(super) fn node(&mut self, arena: &Arena) -> Result<u32, Full> {
        let link = match self.free_nodes.pop() {
            Some(link) => {
                if let Some(next) = self.free_nodes.iter().nth_back(AHEAD) {
                    arena.fetch_node(*next);
                }
                link
            }
            None if self.nodes < self.nodes_max => {
                let link = self.nodes;
                arena.nodes.allocate(link);
                self.nodes += 1;
                link
            }
            None => return Err(Full),
        };
        self.born.push(link);
        Ok(link)
    }

    /// Writes a leaf record.
    pub(super) fn record(
        &mut self,
        arena: &Arena,
        birth: u64,
        key: &[u8],
        value: &[u8],
    ) -> Result<u32, Full> {
        let header = Header { birth, value_bytes: value.len(), key_bytes: key.len() };
        let (class, units) = class(header.units());
        let index = match self.free_records[class].pop() {
            Some(index) => {
                self.free_units -= units;
                if let Some(next) = self.free_records[class].last() {
                    arena.fetch_record(*next);
                }
                index
            }
            None => self.fresh(arena, units)?,
        };
        let key = key.chunks(8).map(|bytes| u64::from_be_bytes(padded(bytes)));
        let value = value.chunks(8).map(|bytes| u64::from_le_bytes(padded(bytes)));
        let words = [header.word()].into_iter().chain(key).chain(value);
        let slots = arena.records.run(index).iter().flat_map(|Words(words)| words);
        slots.zip(words).for_each(|(slot, word)| slot.store(word, Relaxed));
        self.born.push(index | LEAF);
        Ok(index | LEAF)
    }

    /// Units of a record from unused space; a record never spans two chunks.
    fn fresh(&mut self, arena: &Arena, units: u32) -> Result<u32, Full> {
        let mut index = self.units;
        loop {
            if index > self.units_max - units.min(self.units_max) {
                return Err(Full);
            }
            let (_, at, size) = locate(index);
            let room = (size - at) as u32;
            if units <= room {
                break;
            }
            index += room;
        }
        self.free_units += index - self.units;
        self.units = index + units;
        arena.records.allocate(index);
        Ok(index)
    }

    /// Keeps what the update in progress has made.
    pub(super) fn commit(&mut self) {
        self.born.clear();
    }

    /// Frees what the update in progress has made.
    pub(super) fn abort(&mut self, arena: &Arena) {
        for link in std::mem::take(&mut self.born) {
            if is_leaf(link) {
                self.free_record(link, arena.header(link).units());
            } else {
                self.free_nodes.push(link);
            }
        }
    }

    /// Gives slots back. No live version may reach them.
    pub(super) fn free(&mut self, garbage: Garbage) {
        self.free_nodes.extend(garbage.nodes);
        for (link, units) in garbage.records {
            self.free_record(link, units);
        }
    }

    fn free_record(&mut self, link: u32, units: u32) {
        let (class, units) = class(units);
        self.free_records[class].push(link & !LEAF);
        self.free_units += units;
    }
}

/// Links that are no longer reached, to be freed when no version reaches them.
#[derive(Default)]
pub(super) struct Garbage {
    nodes: Vec<u32>,
    /// With the units of each, so that freeing need not read what was last used long ago.
    records: Vec<(u32, u32)>,
}

impl Garbage {
    pub(super) fn push(&mut self, arena: &Arena, link: u32) {
        if is_leaf(link) {
            self.records.push((link, arena.header(link).units()));
        } else {
            self.nodes.push(link);
        }
    }

    /// Adds what of `other` was made after version `after`.
    pub(super) fn extend_born_after(&mut self, arena: &Arena, other: &Self, after: u64) {
        self.nodes.extend(other.nodes.iter().filter(|link| arena.birth(**link) > after));
        self.records.extend(other.records.iter().filter(|(link, _)| arena.birth(*link) > after));
    }

    pub(super) fn bytes(&self) -> usize {
        4 * self.nodes.capacity() + 8 * self.records.capacity()
    }
}

impl Arena {
    /// Writes an inner node and the 64 bytes that its hash is of; no version reaches its slot yet.
    pub(super) fn write_node(&self, link: u32, node: Node, block: &[u8; 64]) {
        debug_assert!(node.birth >> BIRTH_BITS == 0, "births fit their field");
        let Words([links, rest, ..]) = self.nodes.slot(link);
        links.store(u64::from(node.left) << 32 | u64::from(node.right), Relaxed);
        rest.store(node.birth << 16 | u64::from(node.bit), Relaxed);
        self.write_block(link, block);
    }

    /// Writes the 64 bytes that an inner node's hash is of.
    pub(super) fn write_block(&self, link: u32, block: &[u8; 64]) {
        for (word, bytes) in self.nodes.slot(link).0[2..].iter().zip(block.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_fill_chunks_in_order() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            let (chunk, at, size) = locate(index);
            assert_eq!((chunk, at), expected, "{index}");
            assert!(at < size);
            expected = if at + 1 == size { (chunk + 1, 0) } else { (chunk, at + 1) };
        }
        assert!(locate(INDEX_MAX).0 < CHUNKS);
    }

    #[test]
    fn classes_are_distinct_and_waste_an_eighth_at_most() {
        let mut before = (0, 0);
        for units in 1..=8300 {
            let (class, taken) = class(units);
            assert!(taken >= units && taken <= units + units / 8, "{units} take {taken}");
            assert!((class, taken) == before || class == before.0 + 1, "{units}: {class} after {before:?}");
            before = (class, taken);
        }
    }
}
