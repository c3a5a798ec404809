//! Registration, status and personality.

use chaoschain_schemas::society::{
    Agent, AgentCount, AgentOrdinal, AgentRegistration, AgentStatus, CustomSet, DramaEvent, DramaKind,
    Personality, PersonalityHistory, PersonalityShift, ReputationUpdate, StatusUpdate,
};
use chaoschain_schemas::{EventAddress, Fixed, Height, Micros, codec};
use chaoschain_society::keys;
use chaoschain_state::control;

use crate::support::*;

fn registration() -> AgentRegistration {
    AgentRegistration { personality: Personality::Chaotic }
}

fn status(status: AgentStatus, expected: Option<u64>) -> StatusUpdate {
    StatusUpdate { status, reason: "because".into(), expected: expected.map(Micros) }
}

#[test]
fn a_registered_agent_starts_in_the_middle() {
    let world = given([registered(BOB)]).when(by(ANA), registration()).then_accepted();
    let want = Agent {
        personality: Personality::Chaotic,
        reputation: Fixed::HALF,
        influence: Fixed::HALF,
        status: AgentStatus::Active,
        status_reason: String::new(),
        status_since: START,
        status_expected: None,
        alliances: Vec::new(),
        registered_at: START,
        ordinal: 1,
        betrayed_at: None,
    };
    assert_eq!(world.agent(ANA), want);
    assert_eq!(world.record(&keys::agent_count()), Some(AgentCount { agents: 2 }));
    for (ordinal, person) in [(0, BOB), (1, ANA)] {
        assert_eq!(world.record(&keys::ordinal(ordinal)), Some(AgentOrdinal { agent: person.id() }));
    }
    assert!(!world.state.contains_key(&keys::ordinal(2)));
    assert!(world.state.contains_key(&control::keys::account(&ANA.id())), "its account came with it");
}

#[test]
fn an_account_becomes_an_agent() {
    given([Given::Account(ANA)]).when(by(ANA), registration()).then_accepted();
}

#[test]
fn nobody_registers_twice() {
    given([registered(ANA)]).when(by(ANA), registration()).then_rejected("agent_exists");
}

#[test]
fn registration_needs_nobody_else() {
    given([registered(BOB)]).when(by(ANA).with([BOB]), registration()).then_rejected("cosignature_unneeded");
}

#[test]
fn an_account_is_no_agent() {
    let world = given([Given::Account(ANA), registered(BOB)])
        .when(by(ANA), status(AgentStatus::Active, None))
        .then_rejected("agent_unknown")
        .when(by(ANA), ReputationUpdate { subject: BOB.id(), rating: Fixed::ONE })
        .then_rejected("agent_unknown")
        .when(by(ANA), CustomSet { namespace: "n".into(), key: "k".into(), value: vec![].into() })
        .then_rejected("agent_unknown");
    assert_eq!(world.record(&keys::agent_count()), Some(AgentCount { agents: 1 }));
}

#[test]
fn strangers_do_nothing() {
    given([]).when(by(ANA), status(AgentStatus::Active, None)).then_rejected("account_unknown");
}

#[test]
fn a_status_has_a_reason_and_maintenance_an_expected_duration() {
    let world = given([registered(ANA), passed(5)])
        .when(by(ANA), status(AgentStatus::Maintenance, Some(HOUR)))
        .then_accepted();
    let agent = world.agent(ANA);
    assert_eq!(agent.status, AgentStatus::Maintenance);
    assert_eq!(agent.status_reason, "because");
    assert_eq!(agent.status_since.0, START.0 + 5);
    assert_eq!(agent.status_expected, Some(Micros(HOUR)));
    assert_eq!(agent.registered_at, START);
    let world = world.when(by(ANA), status(AgentStatus::Inactive, None)).then_accepted();
    assert_eq!(world.agent(ANA).status_expected, None);
    // An inactive agent still acts, and says so when it is back.
    world.when(by(ANA), status(AgentStatus::Active, None)).then_accepted();
}

#[test]
fn statuses_that_are_refused() {
    for (update, code) in [
        (status(AgentStatus::Suspended, None), "status_reserved"),
        (status(AgentStatus::Suspended, Some(1)), "status_reserved"),
        (status(AgentStatus::Maintenance, None), "status_duration"),
        (status(AgentStatus::Maintenance, Some(0)), "status_duration"),
        (status(AgentStatus::Active, Some(1)), "status_duration"),
        (status(AgentStatus::Inactive, Some(1)), "status_duration"),
        (StatusUpdate { reason: String::new(), ..status(AgentStatus::Active, None) }, "malformed"),
        (StatusUpdate { reason: "x".repeat(257), ..status(AgentStatus::Active, None) }, "malformed"),
    ] {
        given([registered(ANA)]).when(by(ANA), update).then_rejected(code);
    }
    let longest = StatusUpdate { reason: "x".repeat(256), ..status(AgentStatus::Active, None) };
    given([registered(ANA)]).when(by(ANA), longest).then_accepted();
}

fn shift(personality: Personality, drama: u8) -> PersonalityShift {
    PersonalityShift { personality, reason: "grew up".into(), drama }
}

#[test]
fn a_shift_of_personality_is_remembered() {
    let mut world =
        given([registered(ANA), passed(5)]).when(by(ANA), shift(Personality::Lawful, 3)).then_accepted();
    assert_eq!(world.agent(ANA).personality, Personality::Lawful);
    let history = PersonalityHistory {
        count: 1,
        old: Personality::Neutral,
        new: Personality::Lawful,
        reason: "grew up".into(),
        drama: 3,
        changed_at: world.now,
    };
    assert_eq!(world.record(&keys::personality(&ANA.id())), Some(history.clone()));
    let drama = DramaEvent {
        kind: DramaKind::PersonalityShift,
        agent: ANA.id(),
        text: "grew up".into(),
        level: 3,
        at: world.now,
        alliance: None,
    };
    assert_eq!(world.record(&keys::drama(EventAddress { height: Height(2), index: 0 })), Some(drama));

    world.happen(passed(1));
    let world = world.when(by(ANA), shift(Personality::Chaotic, 0)).then_accepted();
    let second = PersonalityHistory {
        count: 2,
        old: Personality::Lawful,
        new: Personality::Chaotic,
        drama: 0,
        changed_at: world.now,
        ..history
    };
    assert_eq!(world.record(&keys::personality(&ANA.id())), Some(second));
    let quiet = keys::drama(EventAddress { height: Height(3), index: 0 });
    assert!(!world.state.contains_key(&quiet), "no drama, no drama event");
}

#[test]
fn shifts_that_are_refused() {
    for (shift, code) in [
        (shift(Personality::Neutral, 0), "personality_unchanged"),
        (shift(Personality::Lawful, 11), "out_of_range"),
        (PersonalityShift { reason: String::new(), ..shift(Personality::Lawful, 0) }, "malformed"),
        (PersonalityShift { reason: "x".repeat(257), ..shift(Personality::Lawful, 0) }, "malformed"),
    ] {
        given([registered(ANA)]).when(by(ANA), shift).then_rejected(code);
    }
    given([Given::Account(ANA)]).when(by(ANA), shift(Personality::Lawful, 0)).then_rejected("agent_unknown");
    let longest = PersonalityShift { reason: "x".repeat(256), ..shift(Personality::Lawful, 10) };
    given([registered(ANA)]).when(by(ANA), longest).then_accepted();
}

#[test]
fn a_suspended_account_does_nothing() {
    let mut world = given([registered(ANA), registered(BOB)]);
    let key = control::keys::account(&ANA.id());
    let mut account: chaoschain_schemas::control::Account = world.record(&key).unwrap();
    account.suspended = true;
    world.happen(Given::Record(key, codec::encode(&account).into()));
    let world = world.when(by(ANA), status(AgentStatus::Active, None)).then_rejected("account_suspended");
    // It cannot agree to anything either, but others may still rate it.
    world
        .when(by(BOB).with([ANA]), formation(&[ANA, BOB]))
        .then_rejected("account_suspended")
        .when(by(BOB), ReputationUpdate { subject: ANA.id(), rating: Fixed::ONE })
        .then_accepted();
}
