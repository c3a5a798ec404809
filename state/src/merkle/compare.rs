//! Two trees held against each other by what is opened of them: where they are the same, where they differ, and where one
//! has to look closer.
//!
//! Equal hashes are equal sub-trees, so only what differs is ever descended into. Two trees need not have the same shape:
//! elements are matched by the region of keys that they hold.

use std::collections::BTreeMap;

use chaoschain_schemas::Hash;

use super::proof::{Element, Incomplete, Pruned};
use super::{Region, Short, bit_of, common_bits, leaf_hash, node_hash, short};

/// What comes out of comparing two trees, in order of key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The hashes of the two values of one key differ; `None` where a tree does not have it.
    Key {
        /// The key.
        key: Vec<u8>,
        /// In the one tree.
        ours: Option<Hash>,
        /// In the other.
        theirs: Option<Hash>,
    },
    /// The trees differ in this region, and what is opened does not tell where.
    Within {
        /// The region; smaller than the one that was compared.
        region: Region,
        /// Whether the one tree has keys there; if not, that is known.
        ours: bool,
        /// The same of the other.
        theirs: bool,
    },
}

/// What follows from the elements of a pruned tree: each one's hash, as its parent has it, and an opened key under it.
pub(super) struct Opened<'a> {
    elements: &'a [Element],
    known: BTreeMap<usize, (Short, Option<&'a [u8]>)>,
}

impl<'a> Opened<'a> {
    fn of(tree: &'a Pruned) -> Self {
        let mut known: BTreeMap<usize, (Hash, Option<&[u8]>)> = BTreeMap::new();
        for (at, element) in tree.elements.iter().enumerate().rev() {
            let fact = match element {
                Element::Hash(short) => (super::proof::widen(short), None),
                Element::Leaf(key, value) => (leaf_hash(key, value), Some(key.as_slice())),
                Element::Node(bit, right) => {
                    let (left, right) = (known[&(at + 1)], known[right]);
                    (node_hash(*bit, &left.0, &right.0), left.1.or(right.1))
                }
            };
            known.insert(at, fact);
        }
        let known = known.into_iter().map(|(at, (hash, key))| (at, (short(&hash), key))).collect();
        Self { elements: &tree.elements, known }
    }

    /// The bit that a node branches at.
    pub(super) fn bit(&self, at: usize) -> Option<u16> {
        match self.elements.get(at) {
            Some(Element::Node(bit, _)) => Some(*bit),
            _ => None,
        }
    }

    /// An opened key under an element; none under what is pruned.
    pub(super) fn sample(&self, at: usize) -> Option<&'a [u8]> {
        self.known.get(&at).and_then(|(_, key)| *key)
    }

    fn hash(&self, at: usize) -> Short {
        self.known.get(&at).map_or([0; 31], |(hash, _)| *hash)
    }

    fn children(&self, at: usize) -> [Option<usize>; 2] {
        match self.elements.get(at) {
            Some(Element::Node(_, right)) => [Some(at + 1), Some(*right)],
            _ => [None, None],
        }
    }

    fn value(&self, at: usize) -> Option<Hash> {
        match self.elements.get(at) {
            Some(Element::Leaf(_, value)) => Some(*value),
            _ => None,
        }
    }
}

impl Pruned {
    /// Where this tree and another differ within `region`, as far as both are opened there. `None` stands for a tree that is
    /// known to have no key in the region.
    ///
    /// Nothing comes out where the trees are the same. Both roots have to be checked by the caller.
    ///
    /// # Errors
    /// [`Incomplete`] when a tree is not opened in the region at all.
    pub fn compare(
        ours: Option<&Self>,
        theirs: Option<&Self>,
        region: &Region,
    ) -> Result<Vec<Difference>, Incomplete> {
        let opened = [ours, theirs].map(|tree| tree.map(Opened::of));
        let place = |tree: Option<&Self>, opened: &Option<Opened<'_>>| match (tree, opened) {
            (Some(tree), Some(opened)) => tree.within(opened, region),
            _ => Ok(None),
        };
        let places = [place(ours, &opened[0])?, place(theirs, &opened[1])?];
        let mut comparison = Comparison { opened, found: Vec::new() };
        comparison.pair(places, region);
        Ok(comparison.found)
    }
}

struct Comparison<'a> {
    opened: [Option<Opened<'a>>; 2],
    found: Vec<Difference>,
}

/// The places of what two trees hold of one region.
type Pair = [Option<usize>; 2];

impl Comparison<'_> {
    fn of(&self, side: usize) -> &Opened<'_> {
        // A tree that is not there has no places.
        self.opened[side].as_ref().unwrap_or_else(|| unreachable!("a place lies in a tree"))
    }

    fn pair(&mut self, pair: Pair, region: &Region) {
        let [Some(ours), Some(theirs)] = pair else {
            match pair {
                [Some(at), None] => self.alone(0, at, region),
                [None, Some(at)] => self.alone(1, at, region),
                _ => {}
            }
            return;
        };
        if self.of(0).hash(ours) == self.of(1).hash(theirs) {
            return;
        }
        let (Some(our_key), Some(their_key)) = (self.of(0).sample(ours), self.of(1).sample(theirs)) else {
            self.found.push(Difference::Within { region: region.clone(), ours: true, theirs: true });
            return;
        };
        let (our_key, their_key) = (our_key.to_vec(), their_key.to_vec());
        let (our_bit, their_bit) = (self.of(0).bit(ours), self.of(1).bit(theirs));
        let shared = common_bits(&our_key, &their_key);
        let branch = [our_bit, their_bit].into_iter().flatten().min();
        let same_leaf = our_key == their_key && branch.is_none();
        if same_leaf {
            let (ours, theirs) = (self.of(0).value(ours), self.of(1).value(theirs));
            self.found.push(Difference::Key { key: our_key, ours, theirs });
            return;
        }
        // Keys of one tree do not begin each other, those of two trees may.
        let begins = our_key != their_key && shared == 8 * our_key.len().min(their_key.len());
        let part =
            branch.filter(|bit| usize::from(*bit) <= shared && !(begins && usize::from(*bit) >= shared));
        let Some(bit) = part else {
            // They have parted above both branches: no key of the one is the other's.
            if our_key < their_key {
                self.alone(0, ours, region);
                self.alone(1, theirs, region);
            } else {
                self.alone(1, theirs, region);
                self.alone(0, ours, region);
            }
            return;
        };
        let split = |branches: bool, at: usize, key: &[u8], children: [Option<usize>; 2]| {
            if branches {
                return children;
            }
            if bit_of(key, bit.into()) { [None, Some(at)] } else { [Some(at), None] }
        };
        let ours = split(our_bit == Some(bit), ours, &our_key, self.of(0).children(ours));
        let theirs = split(their_bit == Some(bit), theirs, &their_key, self.of(1).children(theirs));
        for right in [false, true] {
            let side = usize::from(right);
            self.pair([ours[side], theirs[side]], &Region::side(&our_key, bit, right));
        }
    }

    /// Everything at a place of one tree, where the other has nothing.
    fn alone(&mut self, side: usize, at: usize, region: &Region) {
        let Some(key) = self.of(side).sample(at).map(<[u8]>::to_vec) else {
            self.found.push(Difference::Within {
                region: region.clone(),
                ours: side == 0,
                theirs: side == 1,
            });
            return;
        };
        let (bit, children, value) =
            (self.of(side).bit(at), self.of(side).children(at), self.of(side).value(at));
        let Some(bit) = bit else {
            let (ours, theirs) = if side == 0 { (value, None) } else { (None, value) };
            self.found.push(Difference::Key { key, ours, theirs });
            return;
        };
        for (child, right) in children.into_iter().zip([false, true]) {
            if let Some(child) = child {
                self.alone(side, child, &Region::side(&key, bit, right));
            }
        }
    }
}
