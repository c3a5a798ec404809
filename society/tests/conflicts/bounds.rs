//! How many conflicts there may be.

use chaoschain_schemas::codec;
use chaoschain_schemas::limits::{CONFLICTS_OPEN_MAX, CONFLICTS_OPENED_MAX};
use chaoschain_schemas::society::{
    AllianceDeparture, AllianceReconciliation, AllianceState, Claim, ConflictCounts, Parameters, Personality,
};
use chaoschain_society::keys;

use crate::scene::*;
use crate::support::*;

fn greedy() -> [Claim; 1] {
    [claim_personality(Personality::Greedy)]
}

#[test]
fn so_many_are_opened_in_a_block() {
    let mut world = society(60, &Parameters::default());
    form(&mut world, defence(&[Person(50), Person(51)]));
    let overlap = defence(&[Person(51), Person(52)]);
    let reports = |people: std::ops::RangeInclusive<u64>| {
        people.map(|person| (by(Person(person)), report(Person(person + 20), &greedy()).into()))
    };
    let last = u64::from(CONFLICTS_OPENED_MAX);
    let overlapping = (signers(&overlap), overlap.clone().into());
    let events: Vec<_> = reports(1..=last + 1).chain([overlapping]).collect();
    let results = world.block(&events);
    let (opened, refused) = results.split_at(CONFLICTS_OPENED_MAX as usize);
    assert!(opened.iter().all(|(_, result)| result.is_ok()));
    let codes: Vec<_> = refused.iter().map(|(_, result)| result.as_ref().unwrap_err().code()).collect();
    assert_eq!(codes, ["conflicts_busy", "conflicts_busy"]);
    let world = world
        .when(by(Person(last + 1)), report(Person(last + 21), &greedy()))
        .then_accepted()
        .when(signers(&overlap), overlap)
        .then_accepted();
    assert_eq!((counts(&world).open, counts(&world).newest_opened), (CONFLICTS_OPENED_MAX + 2, 1));
}

#[test]
fn so_many_are_open_at_a_time() {
    let mut world = society(5, &Parameters::default());
    let full = ConflictCounts { open: CONFLICTS_OPEN_MAX - 1, opened: 70_000, ..ConflictCounts::default() };
    world.happen(Given::Record(keys::conflict_counts(), codec::encode(&full).into()));
    let id = contested(&mut world);
    let mut world = world.when(by(CLEO), report(DAN, &greedy())).then_rejected("conflicts_busy");
    opt(&mut world, id, 3..=5, 1);
    assert_eq!(counts(&world).open, CONFLICTS_OPEN_MAX - 1);
    world.when(by(CLEO), report(DAN, &greedy())).then_accepted();
}

/// What would open a conflict finds no room either: an alliance that overlaps, formed or revived.
#[test]
fn alliances_that_overlap_need_room_too() {
    let full = |world: &World| {
        [
            ConflictCounts { open: CONFLICTS_OPEN_MAX, ..ConflictCounts::default() },
            ConflictCounts {
                newest_height: world.height.next(),
                newest_opened: CONFLICTS_OPENED_MAX,
                ..ConflictCounts::default()
            },
        ]
    };
    for bound in [0, 1] {
        let stuffed = |world: World| {
            let counts = full(&world)[bound];
            world.and([Given::Record(keys::conflict_counts(), codec::encode(&counts).into())])
        };
        // Cleo and Dan part, and each of the two ways would have Dan in an alliance with one who is in another.
        let mut world = society(5, &Parameters::default());
        let apart = form(&mut world, defence(&[CLEO, DAN]));
        world.happen(event(DAN, AllianceDeparture { alliance: apart, reason: String::new(), drama: 0 }));
        let again = AllianceReconciliation { alliance: apart, members: ids(&[CLEO, DAN]) };
        form(&mut world, defence(&[ANA, CLEO]));
        let overlap = defence(&[ANA, DAN]);
        let world = stuffed(world).when(signers(&overlap), overlap.clone()).then_rejected("conflicts_busy");
        let world = stuffed(world).when(by(CLEO).with([DAN]), again.clone()).then_rejected("conflicts_busy");
        // What overlaps with nothing needs no room.
        let free = defence(&[BOB, Person(5)]);
        let world = stuffed(world).when(signers(&free), free).then_accepted();
        let room = ConflictCounts { open: CONFLICTS_OPEN_MAX - 1, ..ConflictCounts::default() };
        let world = world.and([Given::Record(keys::conflict_counts(), codec::encode(&room).into())]);
        let world = world.when(by(CLEO).with([DAN]), again).then_accepted();
        assert_eq!(alliance(&world, apart).state, AllianceState::Contested);
    }
}

/// The number of all that were ever opened stays at its end.
#[test]
fn more_than_can_be_counted_were_opened() {
    let mut world = society(5, &Parameters::default());
    let full = ConflictCounts { opened: u64::MAX, ..ConflictCounts::default() };
    world.happen(Given::Record(keys::conflict_counts(), codec::encode(&full).into()));
    contested(&mut world);
    assert_eq!((counts(&world).opened, counts(&world).open), (u64::MAX, 1));
}
