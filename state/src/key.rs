//! Keys of state records: the number of a sub-tree and raw bytes ordered in it.

use std::cmp::Ordering;
use std::fmt;

use chaoschain_schemas::limits::KEY_BYTES_MAX;

/// The number of a sub-tree.
pub type SubTree = u8;

/// The kernel's own sub-tree of accounts, parameters and counters.
pub const CONTROL: SubTree = 0;
/// The kernel's sub-tree of header hashes by height.
pub const BLOCKS: SubTree = 1;
/// The first sub-tree of the domain.
pub const DOMAIN_FIRST: SubTree = 2;

/// Where a record stands. Ordered by sub-tree, then by bytes.
///
/// Keys of one sub-tree are prefix-free: the parts are of fixed length, and author-chosen parts enter as 16-byte hashes.
#[derive(Clone, Copy)]
pub struct Key {
    sub_tree: SubTree,
    len: u8,
    bytes: [u8; KEY_BYTES_MAX],
}

impl Key {
    /// The key made of `parts`, one after the other.
    ///
    /// # Panics
    /// When the parts are longer than [`KEY_BYTES_MAX`] together: keys have fixed layouts, so this is a mistake in code.
    pub fn new(sub_tree: SubTree, parts: &[&[u8]]) -> Self {
        let mut key = Self { sub_tree, len: 0, bytes: [0; KEY_BYTES_MAX] };
        for part in parts {
            key = key.then(part);
        }
        key
    }

    /// This key with `part` added behind.
    ///
    /// # Panics
    /// As [`Key::new`].
    #[must_use]
    pub fn then(mut self, part: &[u8]) -> Self {
        let start = usize::from(self.len);
        self.bytes[start..start + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
        self
    }

    /// The key of these bytes, if they are not too long.
    pub fn from_bytes(sub_tree: SubTree, bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= KEY_BYTES_MAX).then(|| Self::new(sub_tree, &[bytes]))
    }

    /// The last key that starts like this one: this key filled up with ones. It is an upper bound for ranges, no record's key.
    #[must_use]
    pub fn upper_bound(mut self) -> Self {
        self.bytes[usize::from(self.len)..].fill(0xff);
        self.len = KEY_BYTES_MAX as u8;
        self
    }

    /// The sub-tree.
    pub const fn sub_tree(&self) -> SubTree {
        self.sub_tree
    }

    /// The bytes within the sub-tree.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sub_tree.cmp(&other.sub_tree).then_with(|| self.as_bytes().cmp(other.as_bytes()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.sub_tree)?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
