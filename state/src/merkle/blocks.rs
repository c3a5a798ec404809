//! The tree of a chain's headers: height, 8 bytes big-endian, to header hash; it only ever grows.
//!
//! Over consecutive heights from 0 the crit-bit shape is that of RFC 6962: every node splits at the largest power of
//! two below its size. So a [`Frontier`] of one hash for each power of two is enough to append, and hashes of
//! complete sub-trees never change once they exist. Those of every eighth level are kept in **tiles**, from which any
//! proof against any size is made; [`prove`] gives the same bytes as [`Version::prove`](super::Version::prove).
//!
//! # Format
//! ```text
//! tile (level, index)   up to 256 hashes, 32 bytes each; entry i is entry 256·index + i of its level
//! level 0               leaf hashes, by height
//! level k               hashes of complete sub-trees of 256^k leaves
//! node over 2^k leaves  bit 64 − k, and of a larger, incomplete right edge bit 63 − (log2 of its left part)
//! frontier              size u64 BE, then the hash of the sub-tree of each 1 bit of it, highest first
//! shown frontier        of two or more such hashes the first 31 bytes each, highest first; else no bytes
//! ```

use std::collections::BTreeMap;

use chaoschain_schemas::Hash;

use super::proof::{widen, write};
use super::{leaf_hash, node_hash, short, value_hash};

/// Hashes in a whole tile.
pub const TILE_ENTRIES: usize = 256;
const TILE_BITS: u32 = 8;

/// One hash for a tile, to be stored for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileEntry {
    /// The level, 0 to 7.
    pub level: u8,
    /// Its place among all entries of the level: tile `index / 256`, entry `index % 256`.
    pub index: u64,
    /// What to store.
    pub hash: Hash,
}

/// Where tiles and header hashes are read from.
pub trait TileSource {
    /// What can go wrong in reading.
    type Error;

    /// The entries of a tile, as many as there are (more than a proof's size covers does no harm).
    fn tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, Self::Error>;

    /// The hash of the header at a height.
    fn header_hash(&self, height: u64) -> Result<Hash, Self::Error>;
}

/// Why a proof could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError<E> {
    /// The source failed.
    #[error("reading tiles: {0}")]
    Source(E),
    /// A tile has fewer entries than a chain of this size needs.
    #[error("tile {index} of level {level} lacks entry {entry}")]
    Missing {
        /// The tile's level.
        level: u8,
        /// The tile's index.
        index: u64,
        /// The entry.
        entry: usize,
    },
    /// A height that a chain of this size does not have, or a larger older size.
    #[error("{asked} is not within a chain of {size} blocks")]
    OutOfRange {
        /// What was asked for.
        asked: u64,
        /// The size of the chain.
        size: u64,
    },
}

/// Bytes that are not a frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frontier of the blocks tree is damaged: wrong length, a zero hash or another root")]
pub struct FrontierError;

/// All that is needed to append to the tree of headers: O(log n) hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    len: u64,
    /// The complete sub-trees, the largest and leftmost first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of no blocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many blocks there are; also the height of the next.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends the header hash of the next height and tells what to add to the tiles.
    pub fn append(&mut self, header_hash: Hash) -> Vec<TileEntry> {
        let height = self.len;
        let mut hash = leaf_hash(&height.to_be_bytes(), &value_hash(header_hash.as_bytes()));
        let mut entries = vec![TileEntry { level: 0, index: height, hash }];
        self.len += 1;
        for log in 1..=self.len.trailing_zeros() {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(bit_over(log), &left, &hash);
            if log.is_multiple_of(TILE_BITS) {
                entries.push(TileEntry { level: (log / TILE_BITS) as u8, index: height >> log, hash });
            }
        }
        self.peaks.push(hash);
        entries
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let mut rest = self.len;
        let mut root: Option<Hash> = None;
        for peak in self.peaks.iter().rev() {
            let log = rest.trailing_zeros();
            rest &= rest - 1;
            root = Some(root.map_or(*peak, |right| node_hash(bit_over(log + 1), peak, &right)));
        }
        root.unwrap_or(Hash::ZERO)
    }

    /// The bytes to keep it by.
    pub fn encode(&self) -> Vec<u8> {
        let hashes = self.peaks.iter().flat_map(Hash::as_bytes).copied();
        self.len.to_be_bytes().into_iter().chain(hashes).collect()
    }

    /// Reads what [`Frontier::encode`] wrote. Compare the root with a known one: the hashes are not checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (len, hashes) = bytes.split_first_chunk().ok_or(FrontierError)?;
        let len = u64::from_be_bytes(*len);
        let (hashes, rest) = hashes.as_chunks::<32>();
        let peaks: Vec<_> = hashes.iter().map(|bytes| Hash::new(*bytes)).collect();
        let sound =
            rest.is_empty() && peaks.len() == len.count_ones() as usize && !peaks.contains(&Hash::ZERO);
        if sound { Ok(Self { len, peaks }) } else { Err(FrontierError) }
    }
}

/// A frontier shown to whoever knows the root and the size already.
impl Frontier {
    /// What it takes besides root and size to append: of each peak what a parent commits to. A single peak is the root.
    pub fn show(&self) -> Vec<u8> {
        match &self.peaks[..] {
            [] | [_] => Vec::new(),
            peaks => peaks.iter().flat_map(short).collect(),
        }
    }

    /// The frontier of `len` blocks with this root, out of what [`Frontier::show`] wrote. There is one at most, and no other
    /// bytes give it: the root commits to each of them.
    ///
    /// # Errors
    /// [`FrontierError`], when the bytes do not give the root.
    pub fn shown(len: u64, root: Hash, bytes: &[u8]) -> Result<Self, FrontierError> {
        let (shorts, rest) = bytes.as_chunks::<31>();
        let peaks = match (len.count_ones(), shorts) {
            (0, []) => Vec::new(),
            (1, []) => vec![root],
            (2.., _) if shorts.len() == len.count_ones() as usize => shorts.iter().map(widen).collect(),
            _ => return Err(FrontierError),
        };
        let frontier = Self { len, peaks };
        if rest.is_empty() && frontier.root() == root { Ok(frontier) } else { Err(FrontierError) }
    }
}

/// The bit of a node over more than `2^(log − 1)` and at most `2^log` leaves.
fn bit_over(log: u32) -> u16 {
    (64 - log) as u16
}

/// Proves the headers at `heights`, in any order, against the root of the first `size` blocks. As in
/// [`Version::prove`](super::Version::prove), with none the first is opened.
pub fn prove<S: TileSource>(
    source: &S,
    heights: &[u64],
    size: u64,
) -> Result<Vec<u8>, BlocksError<S::Error>> {
    let mut heights = heights.to_vec();
    heights.sort_unstable();
    heights.dedup();
    if let Some(asked) = heights.last().copied().filter(|last| *last >= size) {
        return Err(BlocksError::OutOfRange { asked, size });
    }
    if heights.is_empty() {
        heights.push(0);
    }
    let mut prover = Prover { source, tiles: BTreeMap::new(), out: Vec::new() };
    if size > 0 {
        prover.open(0, size, &heights)?;
    }
    Ok(prover.out)
}

/// Proves that the first `older` blocks of a chain of `size` are the chain of `older` blocks: a pruned tree whose root
/// is the newer root and which [cuts](super::Pruned::cut) at `older` to the older root.
pub fn consistency<S: TileSource>(
    source: &S,
    older: u64,
    size: u64,
) -> Result<Vec<u8>, BlocksError<S::Error>> {
    if older > size {
        return Err(BlocksError::OutOfRange { asked: older, size });
    }
    prove(source, &[older.saturating_sub(1)][..usize::from(size > 0)], size)
}

struct Prover<'s, S> {
    source: &'s S,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    out: Vec<u8>,
}

impl<S: TileSource> Prover<'_, S> {
    /// Writes the sub-tree of `size` leaves from height `from` on, with `heights` opened: at least one of them.
    fn open(&mut self, from: u64, size: u64, heights: &[u64]) -> Result<(), BlocksError<S::Error>> {
        if size == 1 {
            let header = self.source.header_hash(from).map_err(BlocksError::Source)?;
            write::leaf(&mut self.out, &from.to_be_bytes(), &value_hash(header.as_bytes()));
            return Ok(());
        }
        let (log, half) = split(size);
        write::node(&mut self.out, bit_over(log));
        let (left, right) = heights.split_at(heights.partition_point(|height| *height < from + half));
        for (from, size, heights) in [(from, half, left), (from + half, size - half, right)] {
            if heights.is_empty() {
                let hash = self.hash(from, size)?;
                write::hash(&mut self.out, &short(&hash));
            } else {
                self.open(from, size, heights)?;
            }
        }
        Ok(())
    }

    /// The hash of the sub-tree of `size` leaves from height `from` on.
    fn hash(&mut self, from: u64, size: u64) -> Result<Hash, BlocksError<S::Error>> {
        let size_log = size.trailing_zeros();
        if size.is_power_of_two() && size_log.is_multiple_of(TILE_BITS) {
            return self.entry((size_log / TILE_BITS) as u8, from >> size_log);
        }
        let (log, half) = split(size);
        let left = self.hash(from, half)?;
        let right = self.hash(from + half, size - half)?;
        Ok(node_hash(bit_over(log), &left, &right))
    }

    fn entry(&mut self, level: u8, at: u64) -> Result<Hash, BlocksError<S::Error>> {
        let (index, entry) = (at >> TILE_BITS, at as usize % TILE_ENTRIES);
        if !self.tiles.contains_key(&(level, index)) {
            let tile = self.source.tile(level, index).map_err(BlocksError::Source)?;
            self.tiles.insert((level, index), tile);
        }
        let hash = self.tiles.get(&(level, index)).and_then(|tile| tile.get(entry));
        hash.copied().ok_or(BlocksError::Missing { level, index, entry })
    }
}

/// The largest power of two below `size`, which is at least 2, and the logarithm of the one above it.
fn split(size: u64) -> (u32, u64) {
    let log = (size - 1).ilog2() + 1;
    (log, 1 << (log - 1))
}

/// Tiles in memory, for tests and small chains.
#[derive(Clone, Debug, Default)]
pub struct MemoryTiles {
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    headers: Vec<Hash>,
}

impl MemoryTiles {
    /// Appends a header hash to `frontier` and keeps what it yields.
    pub fn append(&mut self, frontier: &mut Frontier, header_hash: Hash) {
        self.headers.push(header_hash);
        for entry in frontier.append(header_hash) {
            self.tiles.entry((entry.level, entry.index >> TILE_BITS)).or_default().push(entry.hash);
        }
    }
}

impl TileSource for MemoryTiles {
    type Error = HeightMissing;

    fn tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, HeightMissing> {
        Ok(self.tiles.get(&(level, index)).cloned().unwrap_or_default())
    }

    fn header_hash(&self, height: u64) -> Result<Hash, HeightMissing> {
        self.headers.get(height as usize).copied().ok_or(HeightMissing(height))
    }
}

/// No header of this height was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no block {0}")]
pub struct HeightMissing(pub u64);
