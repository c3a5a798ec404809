//! Opinions: one each, a second one voids both, and the threshold decides at once.

use chaoschain_schemas::ConflictId;
use chaoschain_schemas::society::{ContestedField, DecidedBy, Parameters};

use proptest::prelude::*;

use crate::scene::*;
use crate::support::*;

/// Ana's personality is contested by Bob; 3 to `people` vote.
fn scene(people: u64) -> (World, ConflictId) {
    let mut world = society(people, &Parameters::default());
    let id = contested(&mut world);
    (world, id)
}

fn said(world: &World, id: ConflictId, person: u64) -> (Option<u8>, bool) {
    let agent = Person(person).id();
    let conflict = conflict(world, id);
    let elector = conflict.electors.iter().find(|elector| elector.agent == agent).unwrap();
    (elector.opinion, elector.voided)
}

#[test]
fn an_elector_opts_once() {
    let (world, id) = scene(6);
    let world = world.when(by(CLEO), opinion(id, 1)).then_accepted();
    assert_eq!(said(&world, id, 3), (Some(1), false));
    assert_eq!(said(&world, id, 4), (None, false));
    world.when(by(CLEO), opinion(id, 1)).then_rejected("opinion_taken");
}

#[test]
fn a_second_different_opinion_voids_both() {
    let (world, id) = scene(6);
    let world =
        world.when(by(CLEO), opinion(id, 1)).then_accepted().when(by(CLEO), opinion(id, 0)).then_accepted();
    assert_eq!(said(&world, id, 3), (None, true));
    let mut world = world
        .when(by(CLEO), opinion(id, 0))
        .then_rejected("opinion_voided")
        .when(by(CLEO), opinion(id, 1))
        .then_rejected("opinion_voided");
    // Its weight stays in the total: two of the other three are not more than two thirds of four.
    opt(&mut world, id, [4, 5], 1);
    assert_eq!(decided(&world, id), None);
    opt(&mut world, id, [6], 1);
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::Threshold)));
    assert_eq!(outcome(&world, id).total, 4_000_000);
    assert_eq!(outcome(&world, id).weights, [0, 3_000_000]);
}

#[test]
fn opinions_that_are_refused() {
    let (mut world, id) = scene(5);
    world.happen(Given::Account(Person(40)));
    let world = world
        .when(by(ANA), opinion(id, 1))
        .then_rejected("elector_required")
        .when(by(BOB), opinion(id, 1))
        .then_rejected("elector_required")
        .when(by(CLEO), opinion(id, 2))
        .then_rejected("option_unknown")
        .when(by(CLEO), opinion(id, 255))
        .then_rejected("option_unknown")
        .when(by(CLEO), opinion(ConflictId::default(), 0))
        .then_rejected("conflict_unknown")
        .when(by(Person(40)), opinion(id, 0))
        .then_rejected("agent_unknown");
    let mut world = world;
    account(&mut world, CLEO, |account| account.suspended = true);
    world.when(by(CLEO), opinion(id, 1)).then_rejected("account_suspended");
}

#[test]
fn no_opinion_after_the_decision() {
    let (mut world, id) = scene(6);
    opt(&mut world, id, 3..=5, 1);
    let world = world.when(by(Person(6)), opinion(id, 1)).then_rejected("conflict_decided");
    world.when(by(ANA), resolution(id)).then_rejected("conflict_decided");
}

#[test]
fn strictly_more_than_the_threshold_decides() {
    // With ½, two of four are not enough, three are.
    let parameters = Parameters { conflict_threshold: fixed("0.5"), ..Parameters::default() };
    let mut world = society(6, &parameters);
    let id = contested(&mut world);
    opt(&mut world, id, [3, 4], 1);
    assert_eq!(decided(&world, id), None);
    opt(&mut world, id, [5], 1);
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::Threshold)));
    // With 1, nothing is ever more: all agree, and it takes somebody who asks.
    let parameters = Parameters { conflict_threshold: fixed("1"), ..Parameters::default() };
    let mut world = society(6, &parameters);
    let id = contested(&mut world);
    opt(&mut world, id, 3..=6, 1);
    assert_eq!(decided(&world, id), None);
    let world = world.when(by(ANA), resolution(id)).then_accepted();
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::AllSpoken)));
}

#[test]
fn anybody_may_ask_but_not_too_early() {
    let (mut world, id) = scene(6);
    world.happen(Given::Account(Person(40)));
    opt(&mut world, id, [3, 4], 1);
    opt(&mut world, id, [5], 0);
    let mut world = world
        .when(by(ANA), resolution(id))
        .then_rejected("conflict_undecided")
        .when(by(Person(40)), resolution(id))
        .then_rejected("agent_unknown")
        .when(by(ANA), resolution(ConflictId::default()))
        .then_rejected("conflict_unknown");
    opt(&mut world, id, [6], 0);
    opt(&mut world, id, [6], 1);
    assert_eq!(decided(&world, id), None, "all have spoken, one of them void");
    let world = world.when(by(ANA), resolution(id)).then_accepted();
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::AllSpoken)));
    let outcome = outcome(&world, id);
    assert_eq!((outcome.weights, outcome.total), (vec![1_000_000, 2_000_000], 4_000_000));
    assert_eq!((outcome.at, outcome.height, outcome.competing), (world.now, world.height, vec![0, 1]));
}

#[test]
fn all_spoken_and_tied_is_for_what_stands() {
    let (mut world, id) = scene(6);
    opt(&mut world, id, [3, 4], 1);
    opt(&mut world, id, [5, 6], 0);
    let world = world.when(by(ANA), resolution(id)).then_accepted();
    assert_eq!(decided(&world, id), Some((Some(0), DecidedBy::Default)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever speaks first: as long as nobody takes an opinion back, the same option wins, at once or at the deadline.
    #[test]
    fn the_order_of_speaking_does_not_matter(
        (said, shuffled) in prop::collection::vec(prop::option::weighted(0.8, 0..3_u8), 7).prop_flat_map(|said| {
            let numbered: Vec<_> = (3_u64..).zip(said).collect();
            (Just(numbered.clone()), Just(numbered).prop_shuffle())
        }),
    ) {
        let claims = ["0.1", "0.2"].map(claim_reputation);
        let winner = |said: Vec<(u64, Option<u8>)>| {
            let mut world = society(9, &Parameters::default());
            world.happen(event(BOB, report(ANA, &claims)));
            let id = open_about(&world, ANA, ContestedField::Reputation).unwrap();
            for (person, option) in said {
                let Some(option) = option else { continue };
                let result = world.submit(&by(Person(person)), &opinion(id, option).into());
                let late = conflict(&world, id).outcome.is_some();
                assert!(result.is_ok() || late && result.unwrap_err().code() == "conflict_decided");
            }
            world.happen(passed(DAY));
            world.happen(Given::Block);
            let outcome = outcome(&world, id);
            (outcome.option, outcome.by, world.agent(ANA).reputation)
        };
        prop_assert_eq!(winner(said), winner(shuffled));
    }
}
