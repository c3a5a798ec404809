//! Who may vote: everybody eligible, or a sample that nobody but the block before decides.

use std::collections::BTreeSet;

use chaoschain_schemas::control::Role;
use chaoschain_schemas::limits::{CONFLICT_DRAWS_MAX, CONFLICT_ELECTORS_MAX};
use chaoschain_schemas::society::{AgentStatus, Elector, Parameters, Personality, StatusUpdate};
use chaoschain_schemas::{AgentId, ConflictId, Hash, Micros};
use chaoschain_society::conflict::{drawn_ordinal, shuffled_ordinals};
use proptest::prelude::*;

use crate::scene::*;
use crate::support::*;

fn electors(world: &World, id: ConflictId) -> Vec<AgentId> {
    conflict(world, id).electors.iter().map(|elector| elector.agent).collect()
}

#[test]
fn electors_are_active_old_enough_not_suspended_and_no_party() {
    let mut world = World::new(&Parameters::default());
    for person in (1..=9).map(Person) {
        world.happen(registered(person));
    }
    let status = |status, expected| StatusUpdate { status, reason: "x".into(), expected };
    world.happen(event(Person(3), status(AgentStatus::Inactive, None)));
    world.happen(event(Person(4), status(AgentStatus::Maintenance, Some(Micros(5)))));
    account(&mut world, Person(5), |account| account.suspended = true);
    make(&mut world, Person(6), Role::Validator);
    world.happen(Given::Account(Person(20)));
    world.happen(passed(1));
    world.happen(registered(Person(10)));
    world.happen(passed(HOUR - 1));
    let id = contested(&mut world);
    let mut want = ids(&[Person(6), Person(7), Person(8), Person(9)]);
    want.sort();
    assert_eq!(electors(&world, id), want, "10 is a microsecond too young, 1 and 2 are parties");
    world.happen(passed(1));
    world.happen(event(DAN_ONCE_MORE, report(Person(7), &[claim_personality(Personality::Greedy)])));
    let field = chaoschain_schemas::society::ContestedField::Personality;
    let id = open_about(&world, Person(7), field).unwrap();
    assert!(electors(&world, id).contains(&Person(10).id()));
}

/// An agent in maintenance has no vote, and may report.
const DAN_ONCE_MORE: Person = Person(4);

#[test]
fn everybody_votes_up_to_the_bound_and_a_sample_beyond() {
    let bound = CONFLICT_ELECTORS_MAX as u64;
    for (people, want) in [(bound, bound - 2), (bound + 1, bound - 1), (bound + 2, bound), (300, bound)] {
        let mut world = society(people, &Parameters::default());
        let id = contested(&mut world);
        let got = electors(&world, id);
        assert_eq!(got.len() as u64, want, "of {people}");
        assert!(got.is_sorted_by(|a, b| a < b));
        let parties = ids(&[ANA, BOB]);
        assert!(got.iter().all(|agent| !parties.contains(agent)));
    }
}

/// The sample again, from what is public: the ordinals in the order in which they are looked at, and who has which.
fn sample(ordinals: &[u64]) -> Vec<AgentId> {
    let mut chosen = BTreeSet::new();
    for person in ordinals.iter().map(|ordinal| Person(ordinal + 1)) {
        if ![ANA, BOB].contains(&person) && chosen.len() < CONFLICT_ELECTORS_MAX {
            chosen.insert(person.id());
        }
    }
    chosen.into_iter().collect()
}

#[test]
fn the_sample_follows_from_parent_and_conflict() {
    let mut samples = BTreeSet::new();
    for parent in [[3; 32], [4; 32]].map(Hash::new) {
        for (rules, society) in [(2, society_of_old as fn(u64, &Parameters) -> World), (3, society)] {
            let again = || {
                let mut world = society(200, &Parameters::default());
                world.parent = parent;
                let id = contested(&mut world);
                (electors(&world, id), id)
            };
            let (got, id) = again();
            assert_eq!(again(), (got.clone(), id), "it is the same every time");
            let ordinals: Vec<_> = if rules == 2 {
                (0..CONFLICT_DRAWS_MAX).map(|draw| drawn_ordinal(&parent, &id, draw, 200)).collect()
            } else {
                shuffled_ordinals(parent, id, 200).collect()
            };
            assert_eq!(got, sample(&ordinals));
            samples.insert(got);
        }
    }
    assert_eq!(samples.len(), 4, "another parent, another sample; other rules as well");
}

/// Whoever is too young to vote takes nobody's place: however many register at once, those who may vote do.
#[test]
fn newcomers_push_nobody_out() {
    let mut world = society(23, &Parameters::default());
    for person in (24..=2000).map(Person) {
        world.happen(registered(person));
    }
    let id = contested(&mut world);
    let mut want: Vec<_> = (3..=23).map(|person| Person(person).id()).collect();
    want.sort();
    assert_eq!(electors(&world, id), want);
}

/// As many as may be looked at are all looked at, so that nobody is left out while there are seats.
#[test]
fn all_who_may_vote_do_where_there_are_seats() {
    let mut world = society(u64::from(CONFLICT_DRAWS_MAX), &Parameters::default());
    let voting = CONFLICT_ELECTORS_MAX as u64;
    for person in (3 + voting..=u64::from(CONFLICT_DRAWS_MAX)).map(Person) {
        profile(&mut world, person, |agent| agent.status = AgentStatus::Inactive);
    }
    let id = contested(&mut world);
    let mut want: Vec<_> = (3..3 + voting).map(|person| Person(person).id()).collect();
    want.sort();
    assert_eq!(electors(&world, id), want);
}

#[test]
fn under_version_2_draws_end_where_few_are_eligible() {
    let mut world = society_of_old(300, &Parameters::default());
    for person in (11..=300).map(Person) {
        profile(&mut world, person, |agent| agent.status = AgentStatus::Inactive);
    }
    let id = contested(&mut world);
    let got = electors(&world, id);
    assert!(got.len() <= 8 && !got.is_empty(), "{}", got.len());
    let eligible: Vec<_> = (3..=10).map(|person| Person(person).id()).collect();
    let mut want = drawn_without_end(&world.parent, &id, 300);
    want.retain(|agent| eligible.contains(agent));
    assert_eq!(got, want);
}

/// Everybody that any of the draws hits.
fn drawn_without_end(parent: &Hash, id: &ConflictId, people: u64) -> Vec<AgentId> {
    let hits = (0..CONFLICT_DRAWS_MAX).map(|draw| drawn_ordinal(parent, id, draw, people));
    hits.map(|ordinal| Person(ordinal + 1).id()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Opinions, ratings, shifts and departures after the opening move no weight and no name.
#[test]
fn nothing_afterwards_changes_electors_or_weights() {
    use chaoschain_schemas::society::{ConflictReport, ReputationUpdate, Strategy};
    let mut world = society(6, &Parameters::default());
    let report =
        ConflictReport { strategy: Some(Strategy::SocialInfluence), ..report(ANA, &[claim_reputation("1")]) };
    world.happen(event(BOB, report));
    let id = open_about(&world, ANA, chaoschain_schemas::society::ContestedField::Reputation).unwrap();
    let fixed_then = conflict(&world, id).electors;
    world.happen(event(BOB, ReputationUpdate { subject: CLEO.id(), rating: fixed("1") }));
    world.happen(event(BOB, ReputationUpdate { subject: DAN.id(), rating: fixed("-1") }));
    world.happen(registered(Person(30)));
    let gone = StatusUpdate { status: AgentStatus::Inactive, reason: "x".into(), expected: None };
    world.happen(event(Person(5), gone));
    profile(&mut world, Person(6), |agent| agent.influence = fixed("1"));
    opt(&mut world, id, [3], 1);
    world.happen(passed(HOUR));
    let world = world.when(by(Person(30)), opinion(id, 0)).then_rejected("elector_required");
    let now = conflict(&world, id).electors;
    let silent = |elector: &Elector| Elector { opinion: None, ..*elector };
    assert_eq!(now.iter().map(silent).collect::<Vec<_>>(), fixed_then);
    assert_ne!(now, fixed_then);
}

proptest! {
    /// Every ordinal of a draw is an agent's, and no ordinal is left out for good.
    #[test]
    fn draws_hit_agents(parent: [u8; 32], id: [u8; 32], agents in 1..=u64::MAX, draw: u32) {
        let drawn = |agents| drawn_ordinal(&Hash::new(parent), &ConflictId::new(id), draw, agents);
        prop_assert!(drawn(agents) < agents);
        prop_assert_eq!(drawn(1), 0);
    }

    /// A shuffle has every number once, as far as it goes.
    #[test]
    fn a_shuffle_has_everybody_once(parent: [u8; 32], id: [u8; 32], agents in 0..3000u64) {
        let ordinals: Vec<_> = shuffled_ordinals(Hash::new(parent), ConflictId::new(id), agents).collect();
        let different: BTreeSet<_> = ordinals.iter().copied().collect();
        prop_assert_eq!(ordinals.len() as u64, agents.min(CONFLICT_DRAWS_MAX.into()));
        prop_assert_eq!(different.len(), ordinals.len());
        prop_assert!(different.last().is_none_or(|last| *last < agents));
    }
}
