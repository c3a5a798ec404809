//! The society's arithmetic: integers only, left to right, each product truncated toward zero.
//!
//! Changes are computed here; whoever applies one holds the sum of old value and change within its range.

use chaoschain_schemas::{Fixed, Micros, Timestamp};

/// How far one unit of rating or sentiment moves trust: 0.1.
pub const TRUST_STEP: Fixed = Fixed::from_millionths(100_000);
/// How far one unit of rating, by an author of reputation 1, moves reputation: 0.05.
pub const REPUTATION_STEP: Fixed = Fixed::from_millionths(50_000);
/// An hour of block time.
pub const HOUR: Micros = Micros::from_secs(3600);

/// How a rating moves the author's trust in the subject: `rating × 0.1`.
pub const fn trust_by_rating(rating: Fixed) -> Fixed {
    rating.times(TRUST_STEP)
}

/// How a rating moves the subject's reputation: `rating × 0.05 × reputation(author)`.
pub const fn reputation_by_rating(rating: Fixed, author_reputation: Fixed) -> Fixed {
    rating.times(REPUTATION_STEP).times(author_reputation)
}

/// How an interaction moves the author's trust in each target: `sentiment × 0.1 × (10 + drama) / 10`.
pub const fn trust_by_interaction(sentiment: Fixed, drama: u8) -> Fixed {
    sentiment.times(TRUST_STEP).times_ratio(10 + drama as i64, 10)
}

/// How an influence moves each affected agent's trust in the meme's creator: `impact × sentiment × 0.1`.
pub const fn trust_by_influence(impact: Fixed, sentiment: Fixed) -> Fixed {
    impact.times(sentiment).times(TRUST_STEP)
}

/// What is left of `value` after `elapsed`, when half is left after each `half_life`; `value` is not negative.
///
/// Whole half-lives halve it, truncating each time; within a half-life of length H it falls in a straight line:
/// after a further r it is `value × (2H − r) / 2H`, truncated. A `half_life` of 0 means that it stays.
pub const fn decayed(value: Fixed, elapsed: Micros, half_life: Micros) -> Fixed {
    if half_life.0 == 0 {
        return value;
    }
    let halvings = elapsed.0 / half_life.0;
    // Beyond this no bit is left.
    if halvings >= 63 {
        return Fixed::ZERO;
    }
    let halved = (value.millionths() >> halvings) as i128;
    let whole = 2 * half_life.0 as i128;
    let rest = (elapsed.0 % half_life.0) as i128;
    Fixed::from_millionths((halved * (whole - rest) / whole) as i64)
}

/// The mean of scores, truncated; 0 for none.
pub fn mean(scores: impl IntoIterator<Item = Fixed>) -> Fixed {
    let (sum, count) =
        scores.into_iter().fold((Fixed::ZERO, 0), |(sum, count), score| (sum.plus(score), count + 1));
    sum.times_ratio(1, count)
}

/// How strong an alliance is, in \[0, 1\]: `members × interactions × memes × time`.
pub const fn strength(members: Fixed, interactions: Fixed, memes: Fixed, time: Fixed) -> Fixed {
    members.times(interactions).times(memes).times(time)
}

/// The part of an alliance's time that is still to come, in \[0, 1\]; 0 from its expiry on.
pub const fn time_left(formed_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> Fixed {
    let (left, whole) = (expires_at.since(now).0, expires_at.since(formed_at).0);
    if whole == 0 {
        return Fixed::ZERO;
    }
    let left = if left > whole { whole } else { left };
    Fixed::from_millionths((Fixed::SCALE as i128 * left as i128 / whole as i128) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fixed(text: &str) -> Fixed {
        text.parse().unwrap()
    }

    #[test]
    fn worked_examples_of_the_documentation() {
        assert_eq!(trust_by_rating(fixed("0.8")), fixed("0.08"));
        assert_eq!(reputation_by_rating(fixed("0.8"), fixed("0.5")), fixed("0.02"));
        assert_eq!(trust_by_interaction(fixed("-0.5"), 4), fixed("-0.07"));
        assert_eq!(trust_by_influence(fixed("0.4"), fixed("-0.5")), fixed("-0.02"));
        let hours = |count| Micros(HOUR.0 * count);
        let day = hours(24);
        assert_eq!(decayed(fixed("0.8"), hours(12), day), fixed("0.6"));
        assert_eq!(decayed(fixed("0.8"), hours(36), day), fixed("0.3"));
        assert_eq!(decayed(fixed("0.8"), hours(48), day), fixed("0.2"));
        assert_eq!(strength(fixed("0.5"), fixed("0.54"), fixed("0.5"), fixed("0.75")), fixed("0.10125"));
        assert_eq!(mean([fixed("0.5"), fixed("0.58")]), fixed("0.54"));
        assert_eq!(time_left(Timestamp(100), Timestamp(500), Timestamp(200)), fixed("0.75"));
    }

    /// Left to right, each product truncated: no other order and no rounding gives these.
    #[test]
    fn products_truncate_toward_zero_one_by_one() {
        let sliver = Fixed::from_millionths(19);
        assert_eq!(trust_by_rating(sliver).millionths(), 1);
        assert_eq!(trust_by_rating(Fixed::from_millionths(-19)).millionths(), -1);
        // 19 × 0.1 = 1.9 → 1, then × 20 / 10 = 2; truncating only at the end would give 3.
        assert_eq!(trust_by_interaction(sliver, 10).millionths(), 2);
        // 39 × 0.05 = 1.95 → 1, then × 0.999999 → 0.
        assert_eq!(
            reputation_by_rating(Fixed::from_millionths(39), Fixed::from_millionths(999_999)).millionths(),
            0
        );
        assert_eq!(
            trust_by_influence(Fixed::from_millionths(-1_999), Fixed::from_millionths(10_000)).millionths(),
            -1
        );
        assert_eq!(decayed(Fixed::from_millionths(3), Micros(1), Micros(1)).millionths(), 1);
        assert_eq!(decayed(Fixed::from_millionths(3), Micros(1), Micros(2)).millionths(), 2);
        assert_eq!(mean([Fixed::from_millionths(1), Fixed::from_millionths(2)]).millionths(), 1);
    }

    #[test]
    fn ends_of_decay() {
        assert_eq!(decayed(Fixed::ONE, Micros(u64::MAX), Micros(1)), Fixed::ZERO);
        assert_eq!(decayed(Fixed::ONE, Micros(u64::MAX), Micros(0)), Fixed::ONE);
        assert_eq!(decayed(Fixed::ONE, Micros(u64::MAX - 1), Micros(u64::MAX)).millionths(), 500_000);
        assert_eq!(mean([]), Fixed::ZERO);
        assert_eq!(time_left(Timestamp(5), Timestamp(5), Timestamp(5)), Fixed::ZERO);
        assert_eq!(time_left(Timestamp(5), Timestamp(9), Timestamp(9)), Fixed::ZERO);
    }

    proptest! {
        #[test]
        fn decay_never_rises_and_halves(
            value in 0..=Fixed::SCALE, half_life in 1..=u64::MAX / 8, earlier in 0..u64::MAX / 4, later in 0..u64::MAX / 4,
        ) {
            let (value, half_life) = (Fixed::from_millionths(value), Micros(half_life));
            let after = |elapsed| decayed(value, Micros(elapsed), half_life);
            prop_assert!(after(earlier.max(later)) <= after(earlier.min(later)));
            prop_assert!(after(earlier).is_within(Fixed::ZERO, value));
            prop_assert_eq!(after(0), value);
            prop_assert_eq!(after(half_life.0).millionths(), value.millionths() / 2);
        }

        #[test]
        fn changes_stay_within_their_bounds(
            rating in -Fixed::SCALE..=Fixed::SCALE, score in 0..=Fixed::SCALE, drama in 0_u8..=10,
        ) {
            let (rating, score) = (Fixed::from_millionths(rating), Fixed::from_millionths(score));
            prop_assert!(trust_by_rating(rating).abs() <= TRUST_STEP);
            prop_assert!(reputation_by_rating(rating, score).abs() <= REPUTATION_STEP);
            prop_assert!(trust_by_interaction(rating, drama).abs() <= TRUST_STEP.plus(TRUST_STEP));
            prop_assert!(trust_by_influence(score, rating).abs() <= TRUST_STEP);
            let product = trust_by_rating(rating).millionths();
            prop_assert_eq!(product, rating.millionths() / 10, "truncated toward zero");
        }
    }
}
