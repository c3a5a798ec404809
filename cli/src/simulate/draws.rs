//! Draws: numbers that follow from the seed alone.
//!
//! They are read from BLAKE3's extended output, which its specification fixes for ever, so a society can be made again by
//! any later build.

use crate::seed::Seed;

pub(super) struct Draws(blake3::OutputReader);

impl Draws {
    pub(super) fn new(seed: &Seed) -> Self {
        Self(seed.stream("choices"))
    }

    fn next(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number from 0 to `end` − 1; 0 where `end` is 0. The high half of a product leaves a bias below `end` / 2⁶⁴.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let product = u128::from(self.next()) * end as u128;
        (product >> 64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn within(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1).unsigned_abs() as usize).cast_signed() as i64
    }

    /// Whether something happens that does so `per_mille` times in a thousand.
    pub(super) fn happens(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }

    /// The place that a share out of `shares` falls on.
    pub(super) fn place(&mut self, shares: &[usize]) -> usize {
        let mut point = self.below(shares.iter().sum());
        for (place, share) in shares.iter().enumerate() {
            match point.checked_sub(*share) {
                Some(rest) => point = rest,
                None => return place,
            }
        }
        0
    }

    pub(super) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_from_the_seed_and_keep_their_ranges() {
        let draw = |seed: &str| -> Vec<usize> {
            let mut draws = Draws::new(&Seed::of(seed));
            (0..1000).map(|_| draws.below(7)).collect()
        };
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        let mut counts = [0; 7];
        for number in draw("a") {
            counts[number] += 1;
        }
        assert!(counts.iter().all(|count| (80..=210).contains(count)), "{counts:?}");
        let mut draws = Draws::new(&Seed::of("c"));
        assert!((0..1000).map(|_| draws.within(-3, 3)).all(|number| (-3..=3).contains(&number)));
        assert!((0..1000).map(|_| draws.place(&[0, 5, 0, 1])).all(|place| place == 1 || place == 3));
    }
}
