//! How weights add up: what is attested by more than a share of the whole.

use chaoschain_schemas::Height;
use chaoschain_schemas::control::is_quorum;

/// A share of the validators' weight that is to be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Among so much weight is an honest validator, while less than a third of the weight is not.
    Third,
    /// No two sets of so much weight go without an honest validator in common.
    TwoThirds,
}

impl Share {
    /// Whether `part` is more than this share of `total`. Of nothing, nothing is more.
    pub(super) const fn is_exceeded(self, part: u64, total: u64) -> bool {
        match self {
            Self::Third => 3 * part as u128 > total as u128,
            Self::TwoThirds => is_quorum(part, total),
        }
    }
}

/// The greatest height that more than `share` of `total` attests at or above, and the weight that does so.
///
/// `words` has one item for each validator that has said something: its height and its weight. The weights are part of
/// `total`.
pub(super) fn highest(words: &[(Height, u64)], total: u64, share: Share) -> Option<(Height, u64)> {
    let mut words = words.to_vec();
    words.sort_unstable_by(|a, b| b.cmp(a));
    let mut weight = 0_u64;
    let mut reached = None;
    for (height, own) in words {
        // Those at the very height count as well, though it is reached without them.
        if reached.is_some_and(|(reached, _)| height < reached) {
            break;
        }
        weight = weight.saturating_add(own);
        if share.is_exceeded(weight, total) {
            reached = Some((height, weight));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: every height that somebody names is tried.
    fn defined(words: &[(Height, u64)], total: u64, thirds: u128) -> Option<(Height, u64)> {
        let above =
            |height| words.iter().filter(|(at, _)| *at >= height).map(|(_, own)| u128::from(*own)).sum();
        let weighed = words.iter().map(|(height, _)| (*height, above(*height)));
        let enough = weighed.filter(|(_, weight): &(Height, u128)| 3 * weight > thirds * u128::from(total));
        enough.max_by_key(|(height, _)| *height).map(|(height, weight)| (height, weight as u64))
    }

    proptest! {
        #[test]
        fn highest_is_the_definition(
            words in prop::collection::vec((0..6_u64, prop_oneof![0..9_u64, Just(u64::MAX / 8)]), 0..8),
            silent in prop_oneof![0..20_u64, Just(u64::MAX / 8)],
        ) {
            let words: Vec<_> = words.into_iter().map(|(height, weight)| (Height(height), weight)).collect();
            let total = words.iter().map(|(_, weight)| weight).sum::<u64>() + silent;
            for (share, thirds) in [(Share::Third, 1), (Share::TwoThirds, 2)] {
                prop_assert_eq!(highest(&words, total, share), defined(&words, total, thirds));
            }
        }
    }

    #[test]
    fn exactly_a_share_is_not_more_than_it() {
        assert!(!Share::TwoThirds.is_exceeded(2, 3));
        assert!(Share::TwoThirds.is_exceeded(3, 4));
        assert!(!Share::Third.is_exceeded(1, 3));
        assert!(Share::Third.is_exceeded(2, 4));
        assert!(!Share::Third.is_exceeded(0, 0));
        assert!(Share::TwoThirds.is_exceeded(u64::MAX, u64::MAX));
        assert!(!Share::TwoThirds.is_exceeded(u64::MAX / 3 * 2, u64::MAX));
    }
}
