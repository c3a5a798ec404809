//! What holds of every tally, whoever votes what in which order.

use chaoschain_schemas::society::{
    Conflict, ConflictKind, ConflictOption, ConflictOutcome, ConflictSubject, DecidedBy, Elector, Strategy,
};
use chaoschain_schemas::{AgentId, Fixed, Height, Timestamp};
use chaoschain_society::conflict::{Decision, agrees, decide, decide_early, tally};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use crate::support::*;

const DEADLINE: Timestamp = Timestamp(1_000);

/// What an elector has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Void,
    For(u8),
}
use Said::{For, Nothing, Void};

/// A conflict with these weights and opinions.
fn conflict(options: u8, electors: &[(u64, Said)]) -> Conflict {
    let elector = |(number, (weight, said)): (usize, &(u64, Said))| Elector {
        agent: AgentId::new([number as u8; 32]),
        weight: *weight,
        opinion: if let For(option) = said { Some(*option) } else { None },
        voided: *said == Void,
    };
    Conflict {
        kind: ConflictKind::InconsistentAgentState,
        subject: ConflictSubject::default(),
        options: vec![ConflictOption::default(); options.into()],
        strategy: Strategy::Majority,
        reporter: AgentId::default(),
        reason: String::new(),
        opened_height: Height(1),
        opened_at: Timestamp(0),
        deadline: DEADLINE,
        threshold: fixed("0.666667"),
        participation_min: fixed("0.333333"),
        electors: electors.iter().enumerate().map(elector).collect(),
        outcome: None,
    }
}

fn all(conflict: &Conflict) -> Vec<u8> {
    (0..conflict.options.len() as u8).collect()
}

fn finally(conflict: &Conflict) -> Decision {
    decide(conflict, DEADLINE, &all(conflict)).unwrap()
}

const fn wins(option: u8, by: DecidedBy) -> Decision {
    Decision { option: Some(option), by }
}

/// The tally of docs/domain.md: Lawful, Neutral and Chaotic of reputation 0.9, 0.5, 0.3 and influence 0.5, 0.5, 0.8.
#[test]
fn the_documented_tally_by_each_strategy() {
    for (weights, counted, total, decision) in [
        ([1_000_000, 1_000_000, 1_000_000], [1_000_000, 2_000_000], 3_000_000, None),
        ([1_250_000, 1_000_000, 750_000], [1_250_000, 1_750_000], 3_000_000, None),
        ([1_350_000, 750_000, 540_000], [1_350_000, 1_290_000], 2_640_000, None),
    ] {
        let said = [For(0), For(1), For(1)];
        let electors: Vec<_> = weights.into_iter().zip(said).collect();
        let conflict = conflict(2, &electors);
        let got = tally(&conflict);
        assert_eq!((got.weights.as_slice(), got.total), (counted.as_slice(), total));
        assert_eq!(decide_early(&conflict, &[0, 1]), decision);
        let heavier = u8::from(counted[1] > counted[0]);
        assert_eq!(decide(&conflict, Timestamp(5), &[0, 1]), Some(wins(heavier, DecidedBy::AllSpoken)));
        assert_eq!(finally(&conflict), wins(heavier, DecidedBy::Deadline));
    }
}

#[test]
fn ties_are_between_the_heaviest_alone() {
    let three = |a, b, c| conflict(3, &[(a, For(0)), (b, For(1)), (c, For(2))]);
    assert_eq!(finally(&three(2, 3, 3)), wins(0, DecidedBy::Default), "two are the heaviest");
    assert_eq!(finally(&three(2, 2, 3)), wins(2, DecidedBy::Deadline), "the lighter two are equal");
    assert_eq!(finally(&three(3, 3, 3)), wins(0, DecidedBy::Default));
    // What does not compete is neither heavier nor equal.
    let conflict = three(2, 3, 9);
    assert_eq!(decide(&conflict, DEADLINE, &[0, 1]), Some(wins(1, DecidedBy::Deadline)));
    assert_eq!(decide(&three(3, 3, 9), DEADLINE, &[1, 0][..1]), Some(wins(1, DecidedBy::Expiry)));
    assert_eq!(decide(&conflict, Timestamp(0), &[]).unwrap().by, DecidedBy::Lapse);
}

#[test]
fn nobody_to_vote_leaves_what_stands() {
    let empty = conflict(2, &[]);
    assert_eq!(decide_early(&empty, &[0, 1]), None);
    assert_eq!(decide(&empty, Timestamp(0), &[0, 1]), Some(wins(0, DecidedBy::Default)));
    let weightless = conflict(2, &[(0, For(1)), (0, Nothing)]);
    assert_eq!(decide(&weightless, Timestamp(0), &[0, 1]), None);
    assert_eq!(finally(&weightless), wins(0, DecidedBy::Default));
    assert_eq!(tally(&weightless).participation(), Fixed::ZERO);
}

#[test]
fn the_ends_of_the_numbers() {
    let most = conflict(2, &[(u64::MAX, For(1)), (u64::MAX, For(1)), (u64::MAX, Nothing)]);
    let counted = tally(&most);
    assert_eq!((counted.weights.as_slice(), counted.total), ([0, u64::MAX].as_slice(), u64::MAX));
    assert_eq!(counted.participation(), Fixed::ONE);
    assert_eq!(decide_early(&most, &[0, 1]), Some(wins(1, DecidedBy::Threshold)));
    let extremes = Conflict {
        threshold: Fixed::from_millionths(i64::MAX),
        participation_min: Fixed::from_millionths(i64::MIN),
        ..most
    };
    assert_eq!(decide_early(&extremes, &[0, 1]), None);
    assert_eq!(finally(&extremes), wins(1, DecidedBy::Deadline));
    // An opinion that is no option counts for none.
    let odd = conflict(2, &[(5, For(9))]);
    assert_eq!(tally(&odd).weights, [0, 0]);
}

/// Exactly at the bar nothing is decided: 666,667 of 1,000,000 is not more than 0.666667.
#[test]
fn the_bar_is_exact() {
    let said = |weight| conflict(2, &[(weight, For(1)), (1_000_000 - weight, Nothing)]);
    assert_eq!(decide_early(&said(666_667), &[0, 1]), None);
    assert_eq!(decide_early(&said(666_668), &[0, 1]), Some(wins(1, DecidedBy::Threshold)));
}

fn electorates() -> impl Generator<Value = (u8, Vec<(u64, Said)>)> {
    (2..=8_u8).prop_flat_map(|options| {
        let weight = prop_oneof![4 => 0..3_000_000_u64, 1 => Just(1_000_000_u64)];
        let said = prop_oneof![
            1 => Just(Nothing),
            1 => Just(Void),
            5 => (0..options).prop_map(For),
        ];
        (Just(options), proptest::collection::vec((weight, said), 0..40))
    })
}

proptest! {
    /// Who stands where in the list, and so who spoke first, does not matter.
    #[test]
    fn order_does_not_matter(
        (options, electors, shuffled) in electorates().prop_flat_map(|(options, electors)| {
            (Just(options), Just(electors.clone()), Just(electors).prop_shuffle())
        }),
    ) {
        let (one, other) = (conflict(options, &electors), conflict(options, &shuffled));
        prop_assert_eq!(tally(&one), tally(&other));
        prop_assert_eq!(finally(&one), finally(&other));
    }

    /// More support for the winner, from whoever had not spoken, leaves it the winner.
    #[test]
    fn support_never_hurts((options, mut electors) in electorates(), who: prop::sample::Index) {
        let before = conflict(options, &electors);
        let Decision { option: Some(winner), .. } = finally(&before) else { return Ok(()) };
        let silent: Vec<_> = (0..electors.len()).filter(|at| electors[*at].1 == Nothing).collect();
        prop_assume!(!silent.is_empty());
        electors[silent[who.index(silent.len())]].1 = For(winner);
        let after = conflict(options, &electors);
        // What stood for want of participation may be overtaken: by what is heavier than it, now that enough have spoken.
        match (finally(&before).by, finally(&after).option) {
            (DecidedBy::Default, Some(other)) if other != winner => {
                let weight = |option: u8| tally(&after).weights[usize::from(option)];
                prop_assert!(weight(other) > weight(winner));
            }
            (_, after) => prop_assert_eq!(after, Some(winner)),
        }
        prop_assert!(tally(&after).weights[usize::from(winner)] >= tally(&before).weights[usize::from(winner)]);
        if decide_early(&before, &all(&before)).is_some() {
            prop_assert_eq!(decide_early(&after, &all(&after)), decide_early(&before, &all(&before)));
        }
    }

    /// An elector that leaves another option for the winner leaves it the winner, too.
    #[test]
    fn those_who_come_over_do_not_hurt((options, mut electors) in electorates(), who: prop::sample::Index) {
        let before = conflict(options, &electors);
        let Decision { option: Some(winner), by } = finally(&before) else { return Ok(()) };
        prop_assume!(by != DecidedBy::Default && !electors.is_empty());
        let at = who.index(electors.len());
        prop_assume!(matches!(electors[at].1, For(_)));
        electors[at].1 = For(winner);
        prop_assert_eq!(finally(&conflict(options, &electors)).option, Some(winner));
    }

    /// What two electors of half the weight say counts as what one of the whole says: weights decide, not heads.
    #[test]
    fn only_weights_count((options, electors) in electorates()) {
        let halves = electors.iter().flat_map(|&(weight, said)| [(weight / 2, said), (weight - weight / 2, said)]);
        let split: Vec<_> = halves.collect();
        let (one, two) = (conflict(options, &electors), conflict(options, &split));
        prop_assert_eq!(tally(&one), tally(&two));
        prop_assert_eq!(finally(&one), finally(&two));
    }

    /// Nothing overflows, one option at most is past the threshold, and what is decided agrees with its record.
    #[test]
    fn every_outcome_can_be_counted_again(
        (options, mut electors) in electorates(), heavy in prop::collection::vec(any::<u64>(), 0..3),
        at in 0..2_000_u64, mask: u8,
    ) {
        for (elector, weight) in electors.iter_mut().zip(heavy) {
            elector.0 = weight;
        }
        let mut conflict = conflict(options, &electors);
        let competing: Vec<_> = (0..options).filter(|option| mask & (1 << option) != 0).collect();
        let at = Timestamp(at);
        prop_assert_eq!(agrees(&conflict), None);
        let counted = tally(&conflict);
        prop_assert!(counted.participation().is_within(Fixed::ZERO, Fixed::from_millionths(8 * Fixed::SCALE)));
        let bar = 666_667 * u128::from(counted.total);
        let above = counted.weights.iter().filter(|weight| u128::from(**weight) * 1_000_000 > bar);
        prop_assert!(counted.total == u64::MAX || above.count() <= 1);
        let Some(Decision { option, by }) = decide(&conflict, at, &competing) else {
            prop_assert!(at < DEADLINE && !counted.all_spoken);
            return Ok(());
        };
        prop_assert!(option.is_none_or(|option| competing.contains(&option)));
        prop_assert_eq!(option.is_none(), competing.is_empty());
        let (height, weights, total) = (Height(9), counted.weights, counted.total);
        conflict.outcome = Some(ConflictOutcome { option, by, at, height, weights, total, competing });
        prop_assert_eq!(agrees(&conflict), Some(true));
    }
}
