//! A region of keys: all that begin with the same bits. A tree holds the keys of a region together, under one element.

use std::fmt;
use std::str::FromStr;

use chaoschain_schemas::limits;

use super::arena::{NONE, is_leaf, key_words};
use super::compare::Opened;
use super::version::Version;
use super::{DEPTH_MAX, Incomplete, Pruned, bit_of, common_bits};

/// How many levels of a region one proof opens at most: so its elements stay below what a proof may have, however deep the
/// tree is.
pub const SPREAD_DEPTH_MAX: usize = 5;

const _: () = assert!(2 * DEPTH_MAX * (1 << SPREAD_DEPTH_MAX) < limits::PROOF_ELEMENTS_MAX);

/// All keys that begin with the same bits.
///
/// As text: the number of bits, a dot, and the bytes they stand in, in hex, zero after the last bit: `5.a8`; `0.` is every key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region {
    prefix: Vec<u8>,
    bits: u16,
}

impl Region {
    /// Every key.
    pub const ALL: Self = Self { prefix: Vec::new(), bits: 0 };

    /// The keys that begin with the first `bits` bits of `key`, at most [`DEPTH_MAX`]; what the key lacks is 0.
    pub fn of(key: &[u8], bits: u16) -> Self {
        let bits = bits.min(DEPTH_MAX as u16);
        let mut prefix = key.to_vec();
        prefix.resize(usize::from(bits).div_ceil(8), 0);
        if let (Some(last), rest @ 1..) = (prefix.last_mut(), bits % 8) {
            *last &= 0xff << (8 - rest);
        }
        Self { prefix, bits }
    }

    /// The keys that share the bits of `key` before `bit` and have a 0 (left) or a 1 (right) there.
    pub(super) fn side(key: &[u8], bit: u16, right: bool) -> Self {
        let mut region = Self::of(key, bit + 1);
        if let Some(last) = region.prefix.last_mut() {
            let mask = 0x80 >> (bit % 8);
            *last = if right { *last | mask } else { *last & !mask };
        }
        region
    }

    /// How many bits its keys share.
    pub const fn bits(&self) -> u16 {
        self.bits
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        let bits = usize::from(self.bits);
        8 * key.len() >= bits && common_bits(key, &self.prefix) >= bits
    }

    /// The first bits, as far as they go, for descending.
    pub(super) fn turn(&self, bit: u16) -> Option<bool> {
        (bit < self.bits).then(|| bit_of(&self.prefix, bit.into()))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.bits)?;
        self.prefix.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a region is the number of bits (0 to {DEPTH_MAX}), a dot, and the bytes they stand in in hex, zero after the last bit"
)]
pub struct RegionError;

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let (bits, hex) = text.split_once('.').ok_or(RegionError)?;
        let bits: u16 = bits.parse().map_err(|_| RegionError)?;
        let digit = |at: usize| hex.as_bytes().get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let byte = |at: usize| Some((digit(2 * at)? << 4 | digit(2 * at + 1)?) as u8);
        if usize::from(bits) > DEPTH_MAX || hex.len() != 2 * usize::from(bits).div_ceil(8) {
            return Err(RegionError);
        }
        let prefix = (0..hex.len() / 2).map(byte).collect::<Option<Vec<u8>>>().ok_or(RegionError)?;
        let region = Self::of(&prefix, bits);
        if region.prefix == prefix { Ok(region) } else { Err(RegionError) }
    }
}

impl Version {
    /// A proof that opens a region `depth` levels down (at least one, at most [`SPREAD_DEPTH_MAX`]): the first leaf of every
    /// sub-tree that many levels below the region's top. Where the region is empty, the leaf that shows it.
    ///
    /// Whoever has the root can hold it against another tree's with [`Pruned::compare`].
    pub fn prove_spread(&self, region: &Region, depth: usize) -> Vec<u8> {
        if self.top() == NONE {
            return Vec::new();
        }
        let arena = self.arena();
        let mut top = self.top();
        while !is_leaf(top) {
            let node = arena.node(top);
            let Some(right) = region.turn(node.bit) else { break };
            top = node.child(right);
        }
        let mut level = vec![top];
        for _ in 0..depth.clamp(1, SPREAD_DEPTH_MAX) {
            let children = level.into_iter().flat_map(|link| {
                if is_leaf(link) {
                    return vec![link];
                }
                [false, true].map(|right| arena.node(link).child(right)).to_vec()
            });
            level = children.collect();
        }
        let first = |link| arena.key(arena.descend(link, &key_words(&[])));
        let keys: Vec<Vec<u8>> = level.into_iter().map(first).collect();
        self.prove(&keys.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

impl Pruned {
    /// The element that holds the keys of `region`; `None` where there are none.
    pub(super) fn within(&self, opened: &Opened<'_>, region: &Region) -> Result<Option<usize>, Incomplete> {
        let mut at = 0;
        while let Some(element) = self.elements.get(at) {
            let turn = opened.bit(at).and_then(|bit| region.turn(bit));
            match (turn, element.right()) {
                (Some(false), _) => at += 1,
                (Some(true), Some(right)) => at = right,
                _ => {
                    // What is pruned may begin with anything; the empty region holds it all the same.
                    let Some(sample) = opened.sample(at) else { return Err(Incomplete) };
                    return Ok(region.contains(sample).then_some(at));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_and_written() {
        for text in ["0.", "1.80", "5.a8", "8.ff", "9.ff80", "9.ff00"] {
            assert_eq!(text.parse::<Region>().map(|region| region.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "0", "0.00", "5.", "5.ac", "5.a8 ", "5.A8a", "-1.", "769.00", "8.zz", "5,a8"] {
            assert_eq!(bad.parse::<Region>(), Err(RegionError), "{bad}");
        }
    }

    #[test]
    fn a_region_has_the_keys_that_begin_like_it() {
        let region = Region::of(&[0b1010_1111], 5);
        assert_eq!(region.to_string(), "5.a8");
        assert!(region.contains(&[0b1010_1000]) && region.contains(&[0b1010_1111, 1]));
        assert!(!region.contains(&[0b1010_0111]) && !region.contains(&[]));
        assert!(Region::ALL.contains(&[]) && Region::ALL.contains(&[1]));
        assert_eq!(Region::side(&[0xff], 2, false).to_string(), "3.c0");
        assert_eq!(Region::side(&[0x00], 8, true).to_string(), "9.0080");
    }
}
