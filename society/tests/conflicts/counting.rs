//! What holds of every tally, whoever votes what in which order.

use chaoschain_schemas::society::{
    Conflict, ConflictKind, ConflictOption, ConflictOutcome, ConflictSubject, DecidedBy, Elector, Strategy,
};
use chaoschain_schemas::{AgentId, Fixed, Height, Timestamp};
use chaoschain_society::conflict::{Decision, agrees, decide, decide_early, tally};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use crate::support::*;

pub(crate) const DEADLINE: Timestamp = Timestamp(1_000);

/// What an elector has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Void,
    For(u8),
}
use Said::{For, Nothing, Void};

/// A conflict with these weights and opinions.
pub(crate) fn conflict(options: u8, electors: &[(u64, Said)]) -> Conflict {
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

/// What a tally is made of, under any bounds that parameters may set.
#[derive(Clone, Debug)]
struct Electorate {
    options: u8,
    threshold: Fixed,
    participation_min: Fixed,
    electors: Vec<(u64, Said)>,
}

impl Electorate {
    fn conflict(&self) -> Conflict {
        let Self { options, threshold, participation_min, ref electors } = *self;
        Conflict { threshold, participation_min, ..conflict(options, electors) }
    }

    fn with(&self, electors: Vec<(u64, Said)>) -> Self {
        Self { electors, ..self.clone() }
    }
}

fn electorates() -> impl Generator<Value = Electorate> {
    let threshold = prop_oneof![Just(500_000), Just(666_667), Just(1_000_000), 500_000..=1_000_000_i64];
    let least = prop_oneof![Just(0), Just(333_333), Just(1_000_000), 0..=1_000_000_i64];
    (2..=8_u8, threshold, least).prop_flat_map(|(options, threshold, least)| {
        let weight = prop_oneof![4 => 0..3_000_000_u64, 4 => Just(1_000_000_u64)];
        let said = prop_oneof![
            1 => Just(Nothing),
            1 => Just(Void),
            5 => (0..options).prop_map(For),
        ];
        proptest::collection::vec((weight, said), 0..40).prop_map(move |electors| Electorate {
            options,
            threshold: Fixed::from_millionths(threshold),
            participation_min: Fixed::from_millionths(least),
            electors,
        })
    })
}

/// An electorate, and its electors' numbers in some order.
fn shuffled() -> impl Generator<Value = (Electorate, Vec<usize>)> {
    electorates().prop_flat_map(|electorate| {
        let numbers: Vec<_> = (0..electorate.electors.len()).collect();
        (Just(electorate), Just(numbers).prop_shuffle())
    })
}

/// What it comes to when electors speak one after another in this order; nothing is taken back after a decision.
fn spoken_in(order: &[usize], electorate: &Electorate) -> Decision {
    let silent = electorate.electors.iter().map(|&(weight, _)| (weight, Nothing)).collect();
    let mut so_far = electorate.with(silent);
    for &at in order {
        so_far.electors[at] = electorate.electors[at];
        let conflict = so_far.conflict();
        if let Some(early) = decide_early(&conflict, &all(&conflict)) {
            return early;
        }
    }
    finally(&so_far.conflict())
}

proptest! {
    /// Who stands where in the list does not matter.
    #[test]
    fn the_order_of_electors_does_not_matter((electorate, order) in shuffled()) {
        let other = electorate.with(order.iter().map(|at| electorate.electors[*at]).collect());
        let (one, other) = (electorate.conflict(), other.conflict());
        prop_assert_eq!(tally(&one), tally(&other));
        prop_assert_eq!(finally(&one), finally(&other));
        prop_assert_eq!(decide_early(&one, &all(&one)), decide_early(&other, &all(&other)));
    }

    /// Nor does it who speaks first, though some opinions come after the decision in one order and before it in another.
    #[test]
    fn the_order_of_opinions_does_not_matter((mut electorate, order) in shuffled()) {
        for (_, said) in &mut electorate.electors {
            *said = if *said == Void { Nothing } else { *said };
        }
        let in_turn: Vec<_> = (0..order.len()).collect();
        let reversed: Vec<_> = order.iter().rev().copied().collect();
        let want = spoken_in(&in_turn, &electorate);
        prop_assert_eq!(spoken_in(&order, &electorate), want);
        prop_assert_eq!(spoken_in(&reversed, &electorate), want);
        prop_assert_eq!(finally(&electorate.conflict()), want);
    }

    /// Where two of those that compete are equally heavy and none is heavier, the first that competes wins, whether it is one
    /// of the two or not, whoever stands or speaks first, and whatever the bounds are.
    #[test]
    fn ties_fall_to_the_first_that_competes(
        (mut electorate, order) in shuffled(), mask: u8, other: prop::sample::Index,
    ) {
        let competing: Vec<_> = (0..electorate.options).filter(|option| mask & (1 << option) != 0).collect();
        prop_assume!(competing.len() > 1);
        let weights = tally(&electorate.conflict()).weights;
        let weight = |option: u8| weights[usize::from(option)];
        let heaviest = *competing.iter().max_by_key(|option| weight(**option)).unwrap();
        let others: Vec<_> = competing.iter().copied().filter(|option| *option != heaviest).collect();
        let other = others[other.index(others.len())];
        let mut electors: Vec<_> = order.iter().map(|at| electorate.electors[*at]).collect();
        electors.insert(order.len() / 2, (weight(heaviest) - weight(other), For(other)));
        electorate.electors = electors;
        let conflict = electorate.conflict();
        prop_assert_eq!(decide_early(&conflict, &competing), None, "equals are no more than a half each");
        prop_assert_eq!(decide(&conflict, DEADLINE, &competing), Some(wins(competing[0], DecidedBy::Default)));
    }

    /// More support for the winner, from whoever had not spoken, leaves it the winner.
    #[test]
    fn support_never_hurts(mut electorate in electorates(), who: prop::sample::Index) {
        let before = electorate.conflict();
        let Decision { option: Some(winner), .. } = finally(&before) else { return Ok(()) };
        let silent: Vec<_> =
            (0..before.electors.len()).filter(|at| electorate.electors[*at].1 == Nothing).collect();
        prop_assume!(!silent.is_empty());
        electorate.electors[silent[who.index(silent.len())]].1 = For(winner);
        let after = electorate.conflict();
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

    /// An elector that leaves another option for the winner leaves it the winner, and so does one of the winner's that
    /// weighs more.
    #[test]
    fn those_who_come_over_or_weigh_more_do_not_hurt(
        electorate in electorates(), who: prop::sample::Index, more in 0..3_000_000_u64,
    ) {
        let Decision { option: Some(winner), by } = finally(&electorate.conflict()) else { return Ok(()) };
        prop_assume!(by != DecidedBy::Default && !electorate.electors.is_empty());
        let at = who.index(electorate.electors.len());
        prop_assume!(matches!(electorate.electors[at].1, For(_)));
        let mut over = electorate.clone();
        over.electors[at].1 = For(winner);
        prop_assert_eq!(finally(&over.conflict()).option, Some(winner));
        over.electors[at].0 += more;
        prop_assert_eq!(finally(&over.conflict()).option, Some(winner));
    }

    /// A higher threshold lets nothing win at once that a lower one does not, and a higher least participation lets nothing
    /// but the first win that a lower one does not.
    #[test]
    fn higher_bounds_only_hold_back(one in electorates(), other in electorates()) {
        let low = Electorate {
            threshold: one.threshold.min(other.threshold),
            participation_min: one.participation_min.min(other.participation_min),
            ..one.clone()
        };
        let high = Electorate {
            threshold: one.threshold.max(other.threshold),
            participation_min: one.participation_min.max(other.participation_min),
            ..one
        };
        let (low, high) = (low.conflict(), high.conflict());
        if let Some(early) = decide_early(&high, &all(&high)) {
            prop_assert_eq!(decide_early(&low, &all(&low)), Some(early));
        }
        if finally(&high).by != DecidedBy::Default {
            prop_assert_eq!(finally(&low).option, finally(&high).option);
        }
    }

    /// What two electors of half the weight say counts as what one of the whole says: weights decide, not heads.
    #[test]
    fn only_weights_count(electorate in electorates()) {
        let halves = |&(weight, said): &(u64, Said)| [(weight / 2, said), (weight - weight / 2, said)];
        let split = electorate.with(electorate.electors.iter().flat_map(halves).collect());
        let (one, two) = (electorate.conflict(), split.conflict());
        prop_assert_eq!(tally(&one), tally(&two));
        prop_assert_eq!(finally(&one), finally(&two));
    }

    /// One option at most is past the threshold, and what is decided agrees with its record.
    #[test]
    fn every_outcome_can_be_counted_again(
        mut electorate in electorates(), heavy in prop::collection::vec(any::<u64>(), 0..3),
        at in 0..2_000_u64, mask: u8,
    ) {
        for (elector, weight) in electorate.electors.iter_mut().zip(heavy) {
            elector.0 = weight;
        }
        let mut conflict = electorate.conflict();
        let competing: Vec<_> = (0..electorate.options).filter(|option| mask & (1 << option) != 0).collect();
        let at = Timestamp(at);
        prop_assert_eq!(agrees(&conflict), None);
        let counted = tally(&conflict);
        prop_assert!(counted.participation().is_within(Fixed::ZERO, Fixed::from_millionths(8 * Fixed::SCALE)));
        let bar = u128::from(electorate.threshold.millionths().unsigned_abs()) * u128::from(counted.total);
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

    /// Weights and bounds that no rule would let into the state overflow nothing.
    #[test]
    fn nothing_overflows(
        mut electorate in electorates(), threshold: i64, least: i64, at: u64, mask: u8, grow in 0..3_usize,
    ) {
        electorate.threshold = Fixed::from_millionths(threshold);
        electorate.participation_min = Fixed::from_millionths(least);
        for elector in &mut electorate.electors {
            elector.0 = [elector.0, elector.0 << 42, u64::MAX][grow];
        }
        let conflict = electorate.conflict();
        let counted = tally(&conflict);
        prop_assert!(counted.weights.iter().all(|weight| *weight <= counted.total));
        prop_assert!(counted.participation() >= Fixed::ZERO);
        let competing: Vec<_> = (0..electorate.options).filter(|option| mask & (1 << option) != 0).collect();
        if let Some(Decision { option, .. }) = decide(&conflict, Timestamp(at), &competing) {
            prop_assert_eq!(option.is_none(), competing.is_empty());
        }
    }
}
