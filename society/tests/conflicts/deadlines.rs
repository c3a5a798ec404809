//! Deadlines: what decides when block time has come, and how the due queue gets there.

use chaoschain_schemas::Fixed;
use chaoschain_schemas::society::{DecidedBy, Parameters, Personality};
use chaoschain_state::BaseView;
use chaoschain_state::domain::Machine;

use crate::scene::*;
use crate::support::*;

/// 8 electors with one vote each say this of two options; the deadline decides.
fn at_deadline(for_stand: u64, for_claim: u64, participation_min: &str) -> (Option<u8>, DecidedBy) {
    let parameters =
        Parameters { conflict_participation_min: fixed(participation_min), ..Parameters::default() };
    let mut world = society(10, &parameters);
    let id = contested(&mut world);
    opt(&mut world, id, 3..3 + for_stand, 0);
    opt(&mut world, id, 3 + for_stand..3 + for_stand + for_claim, 1);
    world.happen(passed(DAY - 1));
    world.happen(Given::Block);
    assert_eq!(decided(&world, id), None, "a microsecond before");
    world.happen(passed(1));
    world.happen(Given::Block);
    assert_eq!((counts(&world).open, deadlines(&world)), (0, 0));
    assert_eq!(outcome(&world, id).at, world.now);
    decided(&world, id).unwrap()
}

#[test]
fn the_heaviest_option_wins() {
    assert_eq!(at_deadline(1, 2, "0.333333"), (Some(1), DecidedBy::Deadline));
    assert_eq!(at_deadline(3, 2, "0.333333"), (Some(0), DecidedBy::Deadline));
    assert_eq!(at_deadline(0, 5, "0.333333"), (Some(1), DecidedBy::Deadline));
}

#[test]
fn ties_silence_and_want_of_participation_fall_to_the_first() {
    assert_eq!(at_deadline(2, 2, "0.333333"), (Some(0), DecidedBy::Default));
    assert_eq!(at_deadline(0, 0, "0"), (Some(0), DecidedBy::Default));
    assert_eq!(at_deadline(0, 2, "0.333333"), (Some(0), DecidedBy::Default));
    // Exactly the least participation is enough.
    assert_eq!(at_deadline(0, 2, "0.25"), (Some(1), DecidedBy::Deadline));
    assert_eq!(at_deadline(0, 2, "0.250001"), (Some(0), DecidedBy::Default));
}

#[test]
fn opinions_are_over_while_the_queue_has_not_got_there() {
    let mut world = society(10, &Parameters::default());
    let id = contested(&mut world);
    opt(&mut world, id, 3..=5, 1);
    stuff_the_queue(&mut world);
    world.happen(passed(DAY));
    let world = world.when(by(Person(6)), opinion(id, 1)).then_rejected("conflict_over");
    assert_eq!(decided(&world, id), None);
    assert_eq!(world.read("conflict", &[&id.to_string()]).unwrap()["stage"], "Over");
    let world = world.when(by(DAN), resolution(id)).then_accepted();
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::Deadline)));
    assert_eq!(deadlines(&world), 0);
}

#[test]
fn deadlines_that_come_together_are_handled_in_pieces() {
    let mut world = society(130, &Parameters::default());
    let conflicts: Vec<_> = (1..=40)
        .map(|person| {
            let subject = Person(person + 40);
            world.happen(event(Person(person), report(subject, &[claim_personality(Personality::Greedy)])));
            open_about(&world, subject, chaoschain_schemas::society::ContestedField::Personality).unwrap()
        })
        .collect();
    let open =
        |world: &World| conflicts.iter().filter(|id| conflict(world, **id).outcome.is_none()).count() as u64;
    world.happen(passed(DAY));
    let mut waiting = vec![open(&world)];
    while waiting.last() != Some(&0) {
        world.happen(Given::Block);
        assert_eq!(counts(&world).open as u64, open(&world));
        assert_eq!(deadlines(&world) as u64, open(&world));
        waiting.push(open(&world));
    }
    // 128 electors and 2 parties each: 15 fit into a block's share.
    assert_eq!(waiting, [40, 25, 10, 0]);
    assert!(conflicts.iter().all(|id| decided(&world, *id) == Some((Some(0), DecidedBy::Default))));
}

#[test]
fn the_next_deadline_is_known() {
    let mut world = society(4, &Parameters::default());
    let next = |world: &World| chaoschain_society::Society.next_due(&BaseView::new(&world.state));
    assert_eq!(next(&world), None);
    let id = contested(&mut world);
    assert_eq!(next(&world), Some(conflict(&world, id).deadline));
    opt(&mut world, id, [3, 4], 1);
    assert_eq!(next(&world), None);
}

/// What decides is what was in force when the conflict was opened.
#[test]
fn parameters_that_change_meanwhile_do_not_matter() {
    let mut world = society(10, &Parameters::default());
    let id = contested(&mut world);
    opt(&mut world, id, [3], 1);
    let changed = Parameters { conflict_participation_min: Fixed::ZERO, ..Parameters::default() };
    let key = chaoschain_state::control::keys::domain_parameters();
    world.happen(Given::Record(key, chaoschain_schemas::codec::encode(&changed).into()));
    world.happen(passed(DAY));
    world.happen(Given::Block);
    assert_eq!(decided(&world, id), Some((Some(0), DecidedBy::Default)));
}
