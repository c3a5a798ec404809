//! The society's arithmetic: integers only, left to right, each product truncated toward zero.
//!
//! Changes are computed here; whoever applies one holds the sum of old value and change within its range.

use chaoschain_schemas::limits::DRAMA_MAX;
use chaoschain_schemas::society::ReactionKind;
use chaoschain_schemas::{Fixed, Micros, Timestamp};

/// How far one unit of rating or sentiment moves trust: 0.1.
pub const TRUST_STEP: Fixed = Fixed::from_millionths(100_000);
/// How far one unit of rating, by an author of reputation 1, moves reputation: 0.05.
pub const REPUTATION_STEP: Fixed = Fixed::from_millionths(50_000);
/// How far what moves a meme moves its creator's influence: 0.05.
pub const CREATOR_STEP: Fixed = Fixed::from_millionths(50_000);
/// How far a reconciliation restores the trust in who had betrayed the alliance: 0.05.
pub const FORGIVENESS: Fixed = Fixed::from_millionths(50_000);
/// An hour of block time.
pub const HOUR: Micros = Micros::from_secs(3600);
/// For how long a betrayal keeps its author out of exclusive alliances: 30 days.
pub const BETRAYAL_MEMORY: Micros = Micros::from_secs(30 * 24 * 3600);

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

/// How loud drama is that alliances boost: `drama + ⌊10 × boost⌋`, at most 10; `boost` is in \[0, 1\].
pub fn boosted_drama(drama: u8, boost: Fixed) -> u8 {
    let steps = boost.times_ratio(10, Fixed::SCALE).millionths();
    drama.saturating_add(u8::try_from(steps).unwrap_or(DRAMA_MAX)).min(DRAMA_MAX)
}

/// How a betrayal moves each other member's trust in the traitor: `−0.1 × (10 + drama) / 10`.
pub const fn trust_by_betrayal(drama: u8) -> Fixed {
    trust_by_interaction(Fixed::from_millionths(-Fixed::SCALE), drama)
}

/// How a reaction moves its author's trust in the meme's creator: `(score − 0.5) × 0.1`.
pub const fn trust_by_reaction(score: Fixed) -> Fixed {
    Fixed::from_millionths(score.millionths() - Fixed::HALF.millionths()).times(TRUST_STEP)
}

/// How a meme is taken that gets this score: above 0.7 loved, above 0.5 liked, above 0.3 neither, else disliked.
pub const fn reaction_kind(score: Fixed) -> ReactionKind {
    match score.millionths() {
        700_001.. => ReactionKind::Love,
        500_001.. => ReactionKind::Like,
        300_001.. => ReactionKind::Neutral,
        _ => ReactionKind::Dislike,
    }
}

/// How a reaction moves the meme's influence: `base × influence(author) × trust(author → creator)`, where base is 0.1 for
/// love, 0.05 for a like, 0 for neither and −0.05 for a dislike.
pub const fn influence_by_reaction(kind: ReactionKind, author_influence: Fixed, trust: Fixed) -> Fixed {
    let base = match kind {
        ReactionKind::Love => 100_000,
        ReactionKind::Like => 50_000,
        ReactionKind::Neutral => 0,
        ReactionKind::Dislike => -50_000,
    };
    Fixed::from_millionths(base).times(author_influence).times(trust)
}

/// How what was added to a meme's influence moves its creator's: `added × 0.05`.
pub const fn influence_of_creator(added: Fixed) -> Fixed {
    added.times(CREATOR_STEP)
}

/// How far a meme has spread, in \[0, 1\]: `(love + like + influences) / agents`, at most 1; 0 without agents.
pub const fn virality(love: u32, like: u32, influences: u32, agents: u64) -> Fixed {
    let moved = love as u64 + like as u64 + influences as u64;
    if agents == 0 {
        return Fixed::ZERO;
    }
    if moved >= agents {
        return Fixed::ONE;
    }
    Fixed::from_millionths((Fixed::SCALE as i128 * moved as i128 / agents as i128) as i64)
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
        assert_eq!(boosted_drama(4, fixed("0.1377")), 5);
        assert_eq!(boosted_drama(4, fixed("0.099999")), 4);
        assert_eq!(boosted_drama(9, Fixed::ONE), 10);
        assert_eq!(trust_by_betrayal(8), fixed("-0.18"));
        assert_eq!(trust_by_reaction(fixed("0.9")), fixed("0.04"));
        assert_eq!(trust_by_reaction(fixed("0")), fixed("-0.05"));
        assert_eq!(influence_by_reaction(ReactionKind::Love, Fixed::HALF, fixed("0.58")), fixed("0.029"));
        assert_eq!(influence_by_reaction(ReactionKind::Dislike, Fixed::HALF, Fixed::HALF), fixed("-0.0125"));
        assert_eq!(influence_of_creator(fixed("0.4")), fixed("0.02"));
        assert_eq!(virality(2, 1, 1, 7), fixed("0.571428"));
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
    fn reactions_are_told_apart_just_above_their_bounds() {
        for (bound, above, at) in [
            (700_000, ReactionKind::Love, ReactionKind::Like),
            (500_000, ReactionKind::Like, ReactionKind::Neutral),
            (300_000, ReactionKind::Neutral, ReactionKind::Dislike),
        ] {
            assert_eq!(reaction_kind(Fixed::from_millionths(bound + 1)), above);
            assert_eq!(reaction_kind(Fixed::from_millionths(bound)), at);
        }
        assert_eq!(reaction_kind(Fixed::ONE), ReactionKind::Love);
        assert_eq!(reaction_kind(Fixed::ZERO), ReactionKind::Dislike);
    }

    #[test]
    fn ends_of_virality() {
        assert_eq!(virality(0, 0, 0, 5), Fixed::ZERO);
        assert_eq!(virality(0, 0, 1, 0), Fixed::ZERO);
        assert_eq!(virality(u32::MAX, u32::MAX, u32::MAX, 5), Fixed::ONE);
        assert_eq!(virality(1, 0, 0, u64::MAX), Fixed::ZERO);
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
            prop_assert!(trust_by_betrayal(drama).abs() <= TRUST_STEP.plus(TRUST_STEP));
            prop_assert!(trust_by_reaction(score).abs() <= REPUTATION_STEP);
            prop_assert!(influence_by_reaction(reaction_kind(score), score, score).abs() <= TRUST_STEP);
            prop_assert!(influence_of_creator(rating).abs() <= CREATOR_STEP);
            prop_assert!((drama..=10).contains(&boosted_drama(drama, score)));
            let product = trust_by_rating(rating).millionths();
            prop_assert_eq!(product, rating.millionths() / 10, "truncated toward zero");
        }

        /// Each factor counts: more of one never makes an alliance weaker, and a good deal more makes it stronger.
        #[test]
        fn strength_rises_with_each_factor(
            factors in proptest::array::uniform4(100_000..=Fixed::SCALE), which in 0_usize..4, more in 0..=Fixed::SCALE,
        ) {
            let of = |f: [i64; 4]| {
                let [members, interactions, memes, time] = f.map(Fixed::from_millionths);
                strength(members, interactions, memes, time)
            };
            let mut raised = factors;
            raised[which] = (factors[which] + more).min(Fixed::SCALE);
            prop_assert!(of(raised) >= of(factors));
            prop_assert!(of(raised).is_within(Fixed::ZERO, Fixed::ONE));
            // The other three make at least a thousandth; truncation takes less than four millionths.
            if raised[which] - factors[which] >= 10_000 {
                prop_assert!(of(raised) > of(factors));
            }
            raised[which] = 0;
            prop_assert_eq!(of(raised), Fixed::ZERO);
        }
    }
}
