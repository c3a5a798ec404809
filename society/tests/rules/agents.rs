//! Registration and status.

use chaoschain_schemas::society::{
    Agent, AgentCount, AgentRegistration, AgentStatus, CustomSet, Personality, ReputationUpdate, StatusUpdate,
};
use chaoschain_schemas::{Fixed, Micros, codec};
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
    };
    assert_eq!(world.agent(ANA), want);
    assert_eq!(world.record(&keys::agent_count()), Some(AgentCount { agents: 2 }));
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
