//! 32-byte BLAKE3 digests, each purpose under a key of its own.
//!
//! Every hash that commits to something is `BLAKE3-keyed(key(purpose), bytes)`, where `key(purpose)` is the plain
//! BLAKE3 of the ASCII text `"ChaosChain v1 <purpose>"`. Two purposes can therefore never be confused, whatever
//! bytes are hashed.

use std::fmt;

/// A 32-byte BLAKE3 digest. All zero stands for *nothing* (the root of an empty tree, the parent of block 0).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The digest of nothing: the root of an empty tree, the parent of the first block.
    pub const ZERO: Self = Self([0; 32]);

    /// Wraps 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is [`Hash::ZERO`].
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }
}

/// What a digest is for; each purpose hashes under its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A leaf of a Merkle tree.
    Leaf,
    /// An inner node of a Merkle tree.
    Node,
    /// The value a leaf commits to.
    Value,
    /// The id of a transition: the hash of its signed body.
    Transition,
    /// A block header without its signature.
    Header,
    /// A genesis document: the chain id.
    Genesis,
    /// A salted attachment.
    Attachment,
    /// An author-chosen name that enters a state key by its first 16 bytes.
    Name,
}

impl Purpose {
    /// Every purpose, with the word its key is derived from.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Leaf, "leaf"),
        (Self::Node, "node"),
        (Self::Value, "value"),
        (Self::Transition, "transition"),
        (Self::Header, "header"),
        (Self::Genesis, "genesis"),
        (Self::Attachment, "attachment"),
        (Self::Name, "name"),
    ];

    /// The key of this purpose, `BLAKE3("ChaosChain v1 <purpose>")`, precomputed.
    pub const fn key(self) -> &'static [u8; 32] {
        match self {
            Self::Leaf => &LEAF,
            Self::Node => &NODE,
            Self::Value => &VALUE,
            Self::Transition => &TRANSITION,
            Self::Header => &HEADER,
            Self::Genesis => &GENESIS,
            Self::Attachment => &ATTACHMENT,
            Self::Name => &NAME,
        }
    }

    /// Hashes `bytes` for this purpose.
    #[inline]
    pub fn hash(self, bytes: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(self.key(), bytes).as_bytes())
    }

    /// A hasher for this purpose, for input that is not in one piece.
    pub fn hasher(self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(self.key())
    }
}

impl From<blake3::Hash> for Hash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const LEAF: [u8; 32] = [
    0x43, 0xb0, 0x9a, 0xb7, 0xd4, 0x0e, 0xc2, 0x31, 0x9a, 0xd8, 0x0b, 0xb9, 0xe1, 0x4a, 0xe0, 0xc7, 0xe9,
    0x33, 0x12, 0x20, 0xc4, 0x3e, 0x2a, 0x13, 0x23, 0xe5, 0x1e, 0x05, 0x44, 0xf3, 0x99, 0x47,
];
const NODE: [u8; 32] = [
    0x2e, 0xde, 0x07, 0x13, 0x15, 0x3d, 0xd9, 0xbc, 0x11, 0x9d, 0x53, 0xd3, 0x1e, 0xc0, 0xe0, 0x5b, 0x28,
    0x9b, 0x75, 0x85, 0xd3, 0x39, 0x67, 0xb4, 0x86, 0xa0, 0x72, 0x40, 0x3b, 0xc9, 0xc5, 0xb2,
];
const VALUE: [u8; 32] = [
    0x20, 0xf8, 0x05, 0x0f, 0xdb, 0xb0, 0x7a, 0xa8, 0xa5, 0x18, 0xd3, 0x2f, 0xe3, 0x6e, 0x58, 0x01, 0x9e,
    0x68, 0x18, 0xf5, 0x78, 0xd1, 0x83, 0xf9, 0x8b, 0x97, 0x21, 0x82, 0xe9, 0xae, 0x9d, 0x7c,
];
const TRANSITION: [u8; 32] = [
    0xdf, 0x63, 0x66, 0xce, 0x6e, 0x35, 0xc3, 0xa7, 0x81, 0xb7, 0x8d, 0x77, 0x3e, 0xcc, 0x5e, 0xae, 0xee,
    0xee, 0xd2, 0x02, 0xd2, 0x17, 0x43, 0x8b, 0xf8, 0x34, 0x95, 0x9f, 0xad, 0xfd, 0x9d, 0x93,
];
const HEADER: [u8; 32] = [
    0xb3, 0xb3, 0x64, 0x90, 0x81, 0x46, 0x54, 0x9c, 0x4d, 0xef, 0x86, 0xce, 0x28, 0xce, 0xf1, 0xd4, 0xec,
    0x92, 0x1c, 0x02, 0xd3, 0xde, 0x33, 0x30, 0x72, 0x8d, 0x38, 0x4f, 0xa8, 0x65, 0x46, 0xd8,
];
const GENESIS: [u8; 32] = [
    0xe6, 0x78, 0xee, 0x47, 0x33, 0x10, 0x21, 0xa3, 0x1a, 0xc4, 0xbe, 0xf4, 0x8e, 0x11, 0xed, 0x4b, 0x4b,
    0xb7, 0x55, 0x0e, 0x95, 0x3d, 0xd2, 0x19, 0x68, 0x15, 0xfc, 0x26, 0x9d, 0x98, 0x4a, 0x48,
];
const ATTACHMENT: [u8; 32] = [
    0x51, 0x4a, 0x3c, 0x1f, 0xc3, 0xd0, 0x17, 0x33, 0x29, 0x5a, 0x76, 0x82, 0xb9, 0x27, 0x10, 0xbf, 0x41,
    0x13, 0xac, 0xb1, 0xed, 0x05, 0xd1, 0x47, 0xa8, 0xd3, 0x2e, 0x66, 0xb6, 0x22, 0x3a, 0x91,
];
const NAME: [u8; 32] = [
    0x54, 0x5f, 0xd5, 0x4e, 0xf6, 0x92, 0xd0, 0x16, 0x8f, 0x0f, 0x4f, 0x9b, 0xa2, 0xc0, 0x03, 0xf0, 0xf4,
    0x90, 0xfb, 0x18, 0x9b, 0x72, 0x27, 0x1e, 0xd6, 0xcd, 0x0e, 0x22, 0x20, 0x3e, 0xc0, 0xa7,
];

crate::bytes::fixed_bytes!(Hash, 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_from_their_words() {
        for (purpose, word) in Purpose::ALL {
            let derived = blake3::hash(format!("ChaosChain v1 {word}").as_bytes());
            assert_eq!(purpose.key(), derived.as_bytes(), "{word}");
        }
    }
}
