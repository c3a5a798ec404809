//! How alliances end before their time: members leave or betray them.

use chaoschain_schemas::AllianceId;
use chaoschain_schemas::limits::RELATIONSHIP_EVENTS_MAX;
use chaoschain_schemas::society::{
    AllianceBetrayal, AllianceDeparture, AllianceEnd, AllianceEndCause, AllianceState, DramaEvent, DramaKind,
    RelationshipCounts,
};
use chaoschain_society::{Transition, keys};

use crate::support::*;

fn leave(alliance: AllianceId, drama: u8) -> AllianceDeparture {
    AllianceDeparture { alliance, reason: "new friends".into(), drama }
}

fn betray(alliance: AllianceId, drama: u8) -> AllianceBetrayal {
    AllianceBetrayal { alliance, description: "sold the template".into(), drama }
}

/// A world in which these have formed an alliance, after everybody registered.
fn allied(members: &[Person]) -> (World, AllianceId) {
    let world =
        given([ANA, BOB, CLEO, DAN].map(registered).into_iter().chain([formed(members, formation(members))]));
    let id = world.last.into();
    (world, id)
}

fn dues(world: &World) -> usize {
    world.state.keys().filter(|key| key.sub_tree() == keys::SOCIAL && key.as_bytes()[0] == 5).count()
}

#[test]
fn who_leaves_is_a_member_no_more() {
    let (world, id) = allied(&[ANA, BOB, CLEO]);
    let before = world.alliance(id);
    let world = world.when(by(BOB), leave(id, 0)).then_accepted();
    let mut left = ids(&[ANA, CLEO]);
    left.sort();
    let after = world.alliance(id);
    assert_eq!(after.members, left);
    assert_eq!((after.state, after.end), (AllianceState::Active, None));
    assert_eq!((after.expires_at, after.strength), (before.expires_at, before.strength));
    assert!(world.agent(BOB).alliances.is_empty());
    assert_eq!(world.agent(CLEO).alliances.len(), 1);
    assert_eq!(world.next_due(), Some(after.expires_at), "it expires as it would have");
    assert_eq!(world.drama(), None, "a quiet departure is no drama");
    let world = world.when(by(BOB), leave(id, 0)).then_rejected("not_member");
    // All the others may go, too.
    world.when(by(ANA), leave(id, 0)).then_accepted();
}

#[test]
fn an_alliance_of_one_dissolves() {
    let (world, id) = allied(&[ANA, BOB]);
    let world = world.and([passed(7)]).when(by(BOB), leave(id, 6)).then_accepted();
    let alliance = world.alliance(id);
    assert_eq!(alliance.state, AllianceState::Dissolved);
    let end = AllianceEnd { at: world.now, cause: AllianceEndCause::Departure, by: Some(BOB.id()) };
    assert_eq!(alliance.end, Some(end));
    assert_eq!(alliance.members.len(), 2, "the last two stay in the record");
    assert!(world.agent(ANA).alliances.is_empty() && world.agent(BOB).alliances.is_empty());
    assert_eq!(dues(&world), 0, "nothing is left to expire");
    let drama = DramaEvent {
        kind: DramaKind::DramaticBreakup,
        agent: BOB.id(),
        text: "new friends".into(),
        level: 6,
        at: world.now,
        alliance: Some(id),
    };
    assert_eq!(world.drama(), Some(drama));
    let no_view = keys::relationship(&ANA.id(), &BOB.id());
    assert!(!world.state.contains_key(&no_view), "leaving moves no trust");
}

#[test]
fn a_betrayal_dissolves_and_costs_trust() {
    let (world, id) = allied(&[ANA, BOB, CLEO]);
    let world = world.and([passed(7)]).when(by(BOB), betray(id, 8)).then_accepted();
    let alliance = world.alliance(id);
    assert_eq!(alliance.state, AllianceState::Dissolved);
    let end = AllianceEnd { at: world.now, cause: AllianceEndCause::Betrayal, by: Some(BOB.id()) };
    assert_eq!(alliance.end, Some(end));
    assert_eq!(alliance.members.len(), 3);
    for person in [ANA, CLEO] {
        let view = world.relationship(person, BOB);
        // −0.1 × 18 / 10 = −0.18.
        assert_eq!(view.trust, fixed("0.32"));
        assert_eq!(view.counts, RelationshipCounts { betrayals: 1, ..Default::default() });
        assert!(view.events.len() <= RELATIONSHIP_EVENTS_MAX);
        let back = keys::relationship(&BOB.id(), &person.id());
        assert!(!world.state.contains_key(&back), "the traitor's own views stay");
    }
    for person in [ANA, BOB, CLEO] {
        assert!(world.agent(person).alliances.is_empty());
    }
    assert_eq!(dues(&world), 0);
    let drama = world.drama().unwrap();
    assert_eq!((drama.kind, drama.level, drama.alliance), (DramaKind::Betrayal, 8, Some(id)));
    assert_eq!((drama.agent, drama.text.as_str()), (BOB.id(), "sold the template"));
}

#[test]
fn a_betrayal_without_drama_is_drama_all_the_same() {
    let (world, id) = allied(&[ANA, BOB]);
    let world = world.when(by(ANA), betray(id, 0)).then_accepted();
    assert_eq!(world.drama().unwrap().level, 0);
    assert_eq!(world.relationship(BOB, ANA).trust, fixed("0.4"));
}

#[test]
fn endings_that_are_refused() {
    let (_, id) = allied(&[ANA, BOB]);
    let endings = |id: AllianceId, drama: u8| -> [Transition; 2] {
        [leave(id, drama).into(), betray(id, drama).into()]
    };
    for ending in endings(AllianceId::new([7; 32]), 0) {
        allied(&[ANA, BOB]).0.when(by(ANA), ending).then_rejected("alliance_unknown");
    }
    for ending in endings(id, 11) {
        allied(&[ANA, BOB]).0.when(by(ANA), ending).then_rejected("out_of_range");
    }
    for ending in endings(id, 10) {
        let (world, _) = allied(&[ANA, BOB]);
        let world = world.and([Given::Account(Person(9))]);
        let world = world.when(by(CLEO), ending.clone()).then_rejected("not_member");
        let world = world.when(by(Person(9)), ending.clone()).then_rejected("agent_unknown");
        // A stranger is told that it is one, contested or not.
        let world = world.contested(id).when(by(CLEO), ending.clone()).then_rejected("not_member");
        world.and([passed(HOUR)]).when(by(ANA), ending.clone()).then_rejected("alliance_over");
        // To the very moment of its expiry it may end; afterwards it has, whether the queue got there or not.
        let (world, _) = allied(&[ANA, BOB]);
        world.and([passed(HOUR - 1)]).when(by(ANA), ending.clone()).then_accepted();
        let (world, _) = allied(&[ANA, BOB]);
        let world = world.and([passed(HOUR)]).when(by(ANA), ending.clone()).then_rejected("alliance_over");
        world.when(by(CLEO), ending.clone()).then_rejected("alliance_over");
        let (world, _) = allied(&[ANA, BOB]);
        let world = world.when(by(BOB), leave(id, 0)).then_accepted();
        world.when(by(ANA), ending).then_rejected("alliance_over");
    }
    let long = AllianceDeparture { reason: "x".repeat(257), ..leave(id, 0) };
    allied(&[ANA, BOB]).0.when(by(ANA), long).then_rejected("malformed");
    let wordless = AllianceDeparture { reason: String::new(), ..leave(id, 0) };
    allied(&[ANA, BOB]).0.when(by(ANA), wordless).then_accepted();
    for description in [String::new(), "x".repeat(257)] {
        let betrayal = AllianceBetrayal { description, ..betray(id, 0) };
        allied(&[ANA, BOB]).0.when(by(ANA), betrayal).then_rejected("malformed");
    }
}
