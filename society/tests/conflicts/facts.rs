//! Contested facts: what may be claimed, by whom, and what becomes of the fact.

use chaoschain_schemas::limits::CONFLICT_CLAIMS_MAX;
use chaoschain_schemas::society::{
    AgentStatus, Claim, ConflictKind, ConflictOption, ConflictReport, ContestedField, DecidedBy, FactReport,
    Parameters, Personality, StatusUpdate, Strategy,
};
use chaoschain_schemas::{Fixed, Height, Micros};
use chaoschain_state::Rejection;

use crate::scene::*;
use crate::support::*;

fn claim_status(status: AgentStatus) -> Claim {
    Claim { status: Some(status), ..Claim::default() }
}

fn chaotic() -> Claim {
    claim_personality(Personality::Chaotic)
}

#[test]
fn a_report_opens_a_conflict_between_what_stands_and_what_is_claimed() {
    let claims = [chaotic(), claim_personality(Personality::Greedy)];
    let world = society(5, &Parameters::default()).when(by(BOB), report(ANA, &claims)).then_accepted();
    let id = open_about(&world, ANA, ContestedField::Personality).unwrap();
    let conflict = conflict(&world, id);
    assert_eq!(conflict.kind, ConflictKind::InconsistentAgentState);
    assert_eq!(conflict.subject.fact.unwrap().agent, ANA.id());
    assert_eq!(conflict.options[0], ConflictOption::default(), "0 is that it stays as it is");
    let claimed: Vec<_> = conflict.options[1..].iter().map(|option| option.claim.clone().unwrap()).collect();
    assert_eq!(claimed, claims);
    assert_eq!((conflict.reporter, conflict.reason.as_str()), (BOB.id(), "look at what it does"));
    assert_eq!((conflict.opened_height, conflict.opened_at), (world.height, world.now));
    assert_eq!(conflict.deadline.0, world.now.0 + DAY);
    assert_eq!((conflict.threshold, conflict.participation_min), (fixed("0.666667"), fixed("0.333333")));
    let mut electors = ids(&[CLEO, DAN, Person(5)]);
    electors.sort();
    let got: Vec<_> = conflict.electors.iter().map(|elector| elector.agent).collect();
    assert_eq!(got, electors, "ascending, without reporter and subject");
    assert_eq!(conflict.id(), id);
    assert_eq!((counts(&world).open, counts(&world).opened, deadlines(&world)), (1, 1, 1));
}

#[test]
fn claims_that_are_refused() {
    let twice = [chaotic(), chaotic()];
    let many: Vec<_> = (0..=CONFLICT_CLAIMS_MAX).map(|at| claim_reputation(&format!("0.{at}"))).collect();
    for (claims, code) in [
        (vec![], "malformed"),
        (many, "malformed"),
        (vec![Claim::default()], "malformed"),
        (vec![chaotic(), claim_reputation("1")], "malformed"),
        (vec![Claim { reputation: Some(Fixed::ONE), ..chaotic() }], "malformed"),
        (twice.to_vec(), "duplicate"),
        (vec![claim_personality(Personality::Neutral)], "claim_stands"),
        (vec![claim_status(AgentStatus::Active)], "claim_stands"),
        (vec![claim_reputation("0.5")], "claim_stands"),
        (vec![claim_reputation("0.6"), claim_reputation("0.5")], "claim_stands"),
        (vec![claim_status(AgentStatus::Maintenance)], "claim_invalid"),
        (vec![claim_status(AgentStatus::Suspended)], "claim_invalid"),
        (vec![claim_reputation("1.000001")], "out_of_range"),
        (vec![claim_reputation("-0.000001")], "out_of_range"),
    ] {
        society(3, &Parameters::default()).when(by(BOB), report(ANA, &claims)).then_rejected(code);
    }
    for ends in ["0", "1"] {
        let claims = [claim_reputation(ends)];
        society(3, &Parameters::default()).when(by(BOB), report(ANA, &claims)).then_accepted();
    }
}

#[test]
fn reports_that_are_no_reports() {
    let good = report(ANA, &[chaotic()]);
    let world = society(3, &Parameters::default());
    let world = world
        .when(by(BOB), ConflictReport { fact: None, ..good.clone() })
        .then_rejected("malformed")
        .when(by(BOB), ConflictReport { reason: String::new(), ..good.clone() })
        .then_rejected("malformed")
        .when(by(BOB), ConflictReport { reason: "x".repeat(257), ..good.clone() })
        .then_rejected("malformed");
    world.when(by(BOB), ConflictReport { reason: "x".repeat(256), ..good }).then_accepted();
}

#[test]
fn reporter_and_subject_are_two_agents() {
    let stranger = Person(9);
    let mut world = society(3, &Parameters::default());
    world.happen(Given::Account(stranger));
    let world = world
        .when(by(ANA), report(ANA, &[chaotic()]))
        .then_rejected("self_directed")
        .when(by(ANA), report(stranger, &[chaotic()]))
        .then_rejected("agent_unknown");
    world.when(by(stranger), report(ANA, &[chaotic()])).then_rejected("agent_unknown");
}

#[test]
fn a_fact_is_in_one_open_conflict_and_a_reporter_has_one() {
    let mut world = society(5, &Parameters::default());
    let first = contested(&mut world);
    let greedy = [claim_personality(Personality::Greedy)];
    let world = world
        .when(by(CLEO), report(ANA, &greedy))
        .then_rejected("conflict_exists")
        .when(by(BOB), report(DAN, &greedy))
        .then_rejected("report_open")
        .when(by(CLEO), report(ANA, &[claim_reputation("0.9")]))
        .then_accepted();
    let mut world = world;
    opt(&mut world, first, 3..=5, 1);
    assert!(conflict(&world, first).outcome.is_some());
    let world = world.when(by(BOB), report(ANA, &greedy)).then_accepted();
    assert_ne!(open_about(&world, ANA, ContestedField::Personality), Some(first));
}

/// The id is made of the report and the height: what was decided within a block is not opened anew in it.
#[test]
fn the_same_is_not_contested_twice_in_one_block() {
    let mut world = World::new(&Parameters::default());
    for person in [ANA, BOB, CLEO] {
        world.happen(registered(person));
    }
    let opened = |by_whom: Person| (by(by_whom), report(ANA, &[chaotic()]).into());
    let mut twin = Clone::clone(&world.state);
    std::mem::swap(&mut twin, &mut world.state);
    world.block(&[opened(BOB)]);
    let id = open_about(&world, ANA, ContestedField::Personality).unwrap();
    assert!(conflict(&world, id).electors.is_empty(), "nobody else is old enough");
    // The same block again, with more in it.
    (world.state, world.height) = (twin, Height(world.height.0 - 1));
    let results = world.block(&[opened(BOB), (by(CLEO), resolution(id).into()), opened(CLEO)]);
    let codes: Vec<_> = results.iter().map(|(_, result)| result.as_ref().map_err(Rejection::code)).collect();
    assert_eq!(codes, [Ok(&()), Ok(&()), Err("conflict_exists")]);
    assert_eq!(decided(&world, id), Some((Some(0), DecidedBy::Default)));
    world.when(by(CLEO), report(ANA, &[chaotic()])).then_accepted();
}

#[test]
fn the_reporter_may_name_the_strategy() {
    for (named, want) in
        [(None, Strategy::Personality), (Some(Strategy::SocialInfluence), Strategy::SocialInfluence)]
    {
        let parameters = Parameters { conflict_strategy: Strategy::Personality, ..Parameters::default() };
        let report = ConflictReport { strategy: named, ..report(ANA, &[chaotic()]) };
        let world = society(3, &parameters).when(by(BOB), report).then_accepted();
        let id = open_about(&world, ANA, ContestedField::Personality).unwrap();
        assert_eq!(conflict(&world, id).strategy, want);
    }
}

fn decide_for(claims: &[Claim], option: u8, field: ContestedField) -> World {
    let mut world = society(5, &Parameters::default());
    world.happen(event(BOB, report(ANA, claims)));
    let id = open_about(&world, ANA, field).unwrap();
    world.happen(passed(7));
    opt(&mut world, id, 3..=5, option);
    assert_eq!(decided(&world, id), Some((Some(option), DecidedBy::Threshold)));
    assert_eq!(open_about(&world, ANA, field), None);
    assert_eq!((counts(&world).open, counts(&world).opened, deadlines(&world)), (0, 1, 0));
    world
}

#[test]
fn the_fact_takes_the_winning_claim() {
    let claims = [chaotic(), claim_personality(Personality::Greedy)];
    let world = decide_for(&claims, 2, ContestedField::Personality);
    assert_eq!(world.agent(ANA).personality, Personality::Greedy);

    let world = decide_for(&[claim_reputation("0.25")], 1, ContestedField::Reputation);
    assert_eq!(world.agent(ANA).reputation, fixed("0.25"));

    let world = decide_for(&[claim_status(AgentStatus::Inactive)], 1, ContestedField::Status);
    let ana = world.agent(ANA);
    assert_eq!((ana.status, ana.status_reason.as_str()), (AgentStatus::Inactive, "conflict"));
    assert_eq!((ana.status_since, ana.status_expected), (world.now, None));
}

#[test]
fn nothing_changes_when_the_fact_is_to_stand() {
    let before = society(5, &Parameters::default()).agent(ANA);
    for (claim, field) in [
        (chaotic(), ContestedField::Personality),
        (claim_reputation("0.25"), ContestedField::Reputation),
        (claim_status(AgentStatus::Inactive), ContestedField::Status),
    ] {
        assert_eq!(decide_for(&[claim], 0, field).agent(ANA), before);
    }
}

/// What the subject does meanwhile is its own; the claim is written over it when the claim wins, and only then.
#[test]
fn a_status_that_is_so_already_keeps_its_own_reason() {
    let mut world = society(5, &Parameters::default());
    world.happen(event(BOB, report(ANA, &[claim_status(AgentStatus::Inactive)])));
    let id = open_about(&world, ANA, ContestedField::Status).unwrap();
    let update = StatusUpdate { status: AgentStatus::Inactive, reason: "tired".into(), expected: None };
    world.happen(event(ANA, update));
    let since = world.now;
    world.happen(passed(9));
    opt(&mut world, id, 3..=5, 1);
    assert_eq!((world.agent(ANA).status_reason.as_str(), world.agent(ANA).status_since), ("tired", since));
}

#[test]
fn an_agent_in_maintenance_can_be_claimed_active() {
    let mut world = society(5, &Parameters::default());
    let (status, expected) = (AgentStatus::Maintenance, Some(Micros(DAY)));
    world.happen(event(ANA, StatusUpdate { status, reason: "new memory".into(), expected }));
    world.happen(event(BOB, report(ANA, &[claim_status(AgentStatus::Active)])));
    let id = open_about(&world, ANA, ContestedField::Status).unwrap();
    opt(&mut world, id, 3..=5, 1);
    assert_eq!((world.agent(ANA).status, world.agent(ANA).status_expected), (AgentStatus::Active, None));
}

#[test]
fn a_report_names_its_fact_in_one_field() {
    let claims = [chaotic()];
    let both = ConflictReport {
        divergence: Some(chaoschain_schemas::society::Divergence {
            height: Height(0),
            header_hash: chaoschain_schemas::Hash::ZERO,
            computed: chaoschain_schemas::Hash::ZERO,
        }),
        fact: Some(FactReport { agent: ANA.id(), claims: claims.to_vec() }),
        ..report(ANA, &claims)
    };
    society(3, &Parameters::default()).when(by(BOB), both).then_rejected("malformed");
}
