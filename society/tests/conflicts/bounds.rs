//! How many conflicts there may be, and how large their records get.

use chaoschain_schemas::limits::{
    CONFLICT_CLAIMS_MAX, CONFLICT_ELECTORS_MAX, CONFLICTS_OPEN_MAX, CONFLICTS_OPENED_MAX,
};
use chaoschain_schemas::society::{
    Claim, Conflict, ConflictCounts, ConflictOption, ConflictOutcome, DecidedBy, Elector, Parameters,
    Personality,
};
use chaoschain_schemas::{AgentId, Fixed, Height, Timestamp, codec};
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

/// The size that the documentation tells, with every list and text as long as it may be.
#[test]
fn the_largest_record() {
    let mut world = society(3, &Parameters::default());
    let id = contested(&mut world);
    let elector =
        Elector { agent: AgentId::new([0xff; 32]), weight: u64::MAX, opinion: Some(7), voided: true };
    let claim = |at: u32| Claim { reputation: Some(Fixed::from_millionths(at.into())), ..Claim::default() };
    let option = |at| ConflictOption { alliance: None, claim: Some(claim(at)) };
    let largest = Conflict {
        options: (0..=CONFLICT_CLAIMS_MAX as u32).map(|at| option(900_000 + at)).collect(),
        reason: "x".repeat(256),
        opened_height: Height(u64::MAX),
        opened_at: Timestamp(u64::MAX),
        deadline: Timestamp(u64::MAX),
        electors: vec![elector; CONFLICT_ELECTORS_MAX],
        outcome: Some(ConflictOutcome {
            option: Some(7),
            by: DecidedBy::Lapse,
            at: Timestamp(u64::MAX),
            height: Height(u64::MAX),
            weights: vec![u64::MAX; CONFLICT_CLAIMS_MAX + 1],
            total: u64::MAX,
            competing: (0..=CONFLICT_CLAIMS_MAX as u8).collect(),
        }),
        ..conflict(&world, id)
    };
    assert!(codec::encode(&largest).len() <= 6_656, "{}", codec::encode(&largest).len());
}
