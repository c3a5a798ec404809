//! Hashes of what an update makes: put off, so that nodes of the same height are hashed many at once.

use blake3::IncrementCounter;
use blake3::platform::{MAX_SIMD_DEGREE, Platform, words_from_le_bytes_32};
use chaoschain_schemas::Purpose;

use super::Short;
use super::arena::Arena;

/// In place of a number: the hash of this child is the one that the node's block already has.
pub(super) const KEPT: u32 = u32::MAX;

/// Hashes by number, some of them still to be computed.
#[derive(Default)]
pub(super) struct Fresh {
    hashes: Vec<Short>,
    /// How many levels of nodes have to be hashed for each; 0 if it is known.
    heights: Vec<u16>,
    /// Nodes to be hashed, by height less one.
    levels: Vec<Vec<Node>>,
}

/// A node whose block awaits the hashes of its children.
struct Node {
    number: u32,
    link: u32,
    left: u32,
    right: u32,
}

impl Fresh {
    /// The number of a hash that is known.
    pub(super) fn known(&mut self, hash: Short) -> u32 {
        self.add(hash, 0)
    }

    /// The number that the hash of the node at `link` will have. Its children's hashes have numbers or are
    /// [`KEPT`].
    pub(super) fn node(&mut self, link: u32, left: u32, right: u32) -> u32 {
        let below = self.height(left).max(self.height(right));
        let number = self.add([0; 31], below + 1);
        if self.levels.len() == usize::from(below) {
            self.levels.push(Vec::new());
        }
        self.levels[usize::from(below)].push(Node { number, link, left, right });
        number
    }

    fn height(&self, number: u32) -> u16 {
        if number == KEPT { 0 } else { self.heights[number as usize] }
    }

    fn add(&mut self, hash: Short, height: u16) -> u32 {
        self.hashes.push(hash);
        self.heights.push(height);
        self.hashes.len() as u32 - 1
    }

    /// Computes all hashes, completes the blocks of their nodes and returns the hash `wanted`. Numbers end here.
    pub(super) fn settle(&mut self, arena: &Arena, wanted: u32) -> Short {
        let platform = Platform::detect();
        for nodes in &self.levels {
            for nodes in nodes.chunks(MAX_SIMD_DEGREE) {
                let mut blocks = [[0; 64]; MAX_SIMD_DEGREE];
                for (block, node) in blocks.iter_mut().zip(nodes) {
                    *block = arena.block(node.link);
                    if node.left != KEPT {
                        block[2..33].copy_from_slice(&self.hashes[node.left as usize]);
                    }
                    if node.right != KEPT {
                        block[33..].copy_from_slice(&self.hashes[node.right as usize]);
                    }
                    arena.write_block(node.link, block);
                }
                let hashes = hash_blocks(platform, &blocks, nodes.len());
                for (node, hash) in nodes.iter().zip(&hashes) {
                    self.hashes[node.number as usize].copy_from_slice(&hash[..31]);
                }
            }
        }
        let wanted = self.hashes[wanted as usize];
        self.hashes.clear();
        self.heights.clear();
        self.levels.iter_mut().for_each(Vec::clear);
        wanted
    }
}

/// The hashes of the first `count` blocks: what [`Purpose::Node`] gives for each, several to an instruction.
fn hash_blocks(
    platform: Platform,
    blocks: &[[u8; 64]; MAX_SIMD_DEGREE],
    count: usize,
) -> [[u8; 32]; MAX_SIMD_DEGREE] {
    const CHUNK_START: u8 = 1;
    const CHUNK_END: u8 = 2;
    const ROOT: u8 = 8;
    const KEYED_HASH: u8 = 16;
    let mut hashes = [[0; 32]; MAX_SIMD_DEGREE];
    platform.hash_many(
        &blocks.each_ref()[..count],
        &words_from_le_bytes_32(Purpose::Node.key()),
        0,
        IncrementCounter::No,
        KEYED_HASH,
        CHUNK_START,
        CHUNK_END | ROOT,
        hashes.as_flattened_mut(),
    );
    hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is used of BLAKE3 here is public without being promised to stay.
    #[test]
    fn many_blocks_hash_as_one_by_one() {
        let blocks = std::array::from_fn(|at| [at as u8; 64]);
        for count in 0..=MAX_SIMD_DEGREE {
            let hashes = hash_blocks(Platform::detect(), &blocks, count);
            for (block, hash) in blocks.iter().zip(&hashes).take(count) {
                assert_eq!(Purpose::Node.hash(block).as_bytes(), hash);
            }
        }
    }
}
