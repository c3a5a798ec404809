//! Divergences: evidence of who computed what, which no vote decides.

use chaoschain_schemas::control::Role;
use chaoschain_schemas::limits::{CONFLICTS_OPEN_MAX, CONFLICTS_OPENED_MAX};
use chaoschain_schemas::society::{
    ConflictCounts, ConflictKind, ConflictReport, Divergence, Parameters, Personality,
};
use chaoschain_schemas::{ConflictId, Hash, Height, codec};
use chaoschain_society::keys;
use chaoschain_state::Rejection;

use crate::scene::*;
use crate::support::*;

fn divergence(height: u64) -> ConflictReport {
    let divergence =
        Divergence { height: Height(height), header_hash: Hash::new([1; 32]), computed: Hash::new([2; 32]) };
    ConflictReport { fact: None, divergence: Some(divergence), ..report(ANA, &[]) }
}

fn newest(world: &World) -> ConflictId {
    let mut found = world
        .changes
        .iter()
        .filter(|change| change.key.sub_tree() == keys::SOCIAL && change.key.as_bytes()[0] == 6);
    found.next().unwrap().key.as_bytes()[1..].try_into().map(ConflictId::new).unwrap()
}

#[test]
fn producers_and_validators_report_it() {
    for role in [Role::Producer, Role::Validator] {
        let mut world = society(4, &Parameters::default());
        make(&mut world, ANA, role);
        let world = world.when(by(ANA), divergence(3)).then_accepted();
        let id = newest(&world);
        let evidence = conflict(&world, id);
        assert_eq!(evidence.kind, ConflictKind::DivergentTransitions);
        assert_eq!(evidence.subject.divergence, divergence(3).divergence);
        assert!(evidence.options.is_empty() && evidence.electors.is_empty() && evidence.outcome.is_none());
        assert_eq!((evidence.reporter, evidence.deadline), (ANA.id(), evidence.opened_at));
        assert_eq!((counts(&world).open, counts(&world).opened, deadlines(&world)), (0, 1, 0));
    }
    society(4, &Parameters::default()).when(by(ANA), divergence(3)).then_rejected("role_required");
}

/// However many conflicts are open, and were opened in its block, evidence has a place.
#[test]
fn no_flood_of_reports_keeps_it_out() {
    let mut world = society(60, &Parameters::default());
    make(&mut world, ANA, Role::Validator);
    let flood = (2..=1 + u64::from(CONFLICTS_OPENED_MAX)).map(|person| {
        let claims = [claim_personality(Personality::Greedy)];
        (by(Person(person)), report(Person(person + 20), &claims).into())
    });
    let events: Vec<_> = flood.chain([(by(ANA), divergence(1).into())]).collect();
    assert!(world.block(&events).iter().all(|(_, result)| result.is_ok()));
    let full = ConflictCounts { open: CONFLICTS_OPEN_MAX, ..counts(&world) };
    world.happen(Given::Record(keys::conflict_counts(), codec::encode(&full).into()));
    let world = world.when(by(ANA), divergence(2)).then_accepted();
    assert_eq!(
        (counts(&world).open, counts(&world).newest_opened),
        (CONFLICTS_OPEN_MAX, CONFLICTS_OPENED_MAX)
    );
}

/// A node reports with the account that it seals or attests with, which need not be an agent.
#[test]
fn the_reporter_need_not_be_an_agent() {
    let validator = Person(77);
    let mut world = society(2, &Parameters::default());
    world.happen(Given::Account(validator));
    make(&mut world, validator, Role::Validator);
    world.when(by(validator), divergence(1)).then_accepted();
}

#[test]
fn only_of_what_is_history() {
    let mut world = society(2, &Parameters::default());
    make(&mut world, ANA, Role::Producer);
    let next = world.height.0 + 1;
    let world = world.when(by(ANA), divergence(next)).then_rejected("divergence_ahead");
    world.when(by(ANA), divergence(next)).then_accepted();
}

#[test]
fn nobody_votes_on_it() {
    let mut world = society(4, &Parameters::default());
    make(&mut world, ANA, Role::Producer);
    world.happen(event(ANA, divergence(1)));
    let id = newest(&world);
    let world = world.when(by(CLEO), opinion(id, 0)).then_rejected("conflict_not_votable");
    world.when(by(CLEO), resolution(id)).then_rejected("conflict_not_votable");
}

#[test]
fn the_same_evidence_once_a_block() {
    let mut world = society(4, &Parameters::default());
    make(&mut world, ANA, Role::Producer);
    make(&mut world, BOB, Role::Validator);
    let evidence = |person: Person, height| (by(person), divergence(height).into());
    let results = world.block(&[evidence(ANA, 1), evidence(ANA, 2), evidence(BOB, 1)]);
    let codes: Vec<_> = results.iter().map(|(_, result)| result.as_ref().map_err(Rejection::code)).collect();
    assert_eq!(codes, [Ok(&()), Ok(&()), Err("conflict_exists")]);
    let world = world.when(by(BOB), divergence(1)).then_accepted();
    assert_eq!((counts(&world).opened, counts(&world).open), (3, 0));
}
