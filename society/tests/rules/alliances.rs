//! Formation of alliances.

use chaoschain_schemas::limits::{AGENT_ALLIANCES_MAX, ALLIANCE_MEMBERS_MAX};
use chaoschain_schemas::society::{
    Alliance, AllianceFormation, AlliancePurpose, AllianceState, AllianceTerms, Benefit, Parameters,
    PurposeKind, ReputationUpdate,
};
use chaoschain_schemas::{AllianceId, Micros};
use chaoschain_society::keys;

use crate::support::*;

fn exclusive(members: &[Person], kind: PurposeKind) -> AllianceFormation {
    AllianceFormation { exclusive: true, purpose: AlliancePurpose::of(kind), ..formation(members) }
}

#[test]
fn members_list_the_alliance_and_it_lists_them() {
    let world = given(three()).when(by(CLEO).with([ANA, BOB]), formation(&[CLEO, BOB, ANA])).then_accepted();
    let id = AllianceId::from(world.last);
    let alliance: Alliance = world.record(&keys::alliance(&id)).unwrap();
    let mut members = ids(&[ANA, BOB, CLEO]);
    members.sort();
    assert_eq!(alliance.members, members, "ascending, whatever order was asked for");
    assert_eq!(alliance.state, AllianceState::Active);
    assert_eq!((alliance.formed_at, alliance.expires_at.0), (START, START.0 + HOUR));
    assert_eq!(world.next_due(), Some(alliance.expires_at));
    for person in [ANA, BOB, CLEO] {
        let alliances = world.agent(person).alliances;
        assert_eq!(alliances.iter().map(|membership| membership.id).collect::<Vec<_>>(), [id]);
        assert_eq!(alliances[0].exclusive_for, None);
        assert_eq!((alliances[0].strength, alliances[0].contested), (alliance.strength, false));
    }
}

#[test]
fn strength_at_formation_is_kept() {
    let rate = event(ANA, ReputationUpdate { subject: BOB.id(), rating: fixed("0.8") });
    let world = given(three().into_iter().chain([rate]))
        .when(by(ANA).with([BOB]), formation(&[ANA, BOB]))
        .then_accepted();
    let id = AllianceId::from(world.last);
    // Members (0.5 + 0.52) / 2 = 0.51, interactions (0.58 + 0.5) / 2 = 0.54, memes 0.5, time 1.
    assert_eq!(world.alliance(id).strength, fixed("0.1377"));
    let world =
        world.when(by(CLEO), ReputationUpdate { subject: BOB.id(), rating: fixed("1") }).then_accepted();
    assert_eq!(world.alliance(id).strength, fixed("0.1377"), "what happens later does not move it");
    assert_eq!(world.agent(BOB).alliances[0].strength, fixed("0.1377"));
}

#[test]
fn everybody_signs_and_nobody_else() {
    let world = given(three()).when(by(ANA), formation(&[ANA, BOB])).then_rejected("cosignature_missing");
    let world =
        world.when(by(ANA).with([BOB, CLEO]), formation(&[ANA, BOB])).then_rejected("cosignature_unneeded");
    world.when(by(CLEO).with([ANA, BOB]), formation(&[ANA, BOB])).then_rejected("author_not_member");
}

#[test]
fn formations_that_are_refused() {
    let terms = |duration| AllianceTerms { duration: Micros(duration), ..formation(&[]).terms };
    let year = Parameters::default().alliance_duration_max.0;
    let other =
        |text: Option<&str>| AlliancePurpose { kind: PurposeKind::Other, text: text.map(str::to_owned) };
    let pair = || formation(&[ANA, BOB]);
    for (formation, code) in [
        (AllianceFormation { members: ids(&[ANA]), ..pair() }, "malformed"),
        (AllianceFormation { members: ids(&[ANA, BOB, BOB]), ..pair() }, "duplicate"),
        (AllianceFormation { terms: terms(0), ..pair() }, "alliance_duration"),
        (AllianceFormation { terms: terms(year + 1), ..pair() }, "alliance_duration"),
        (AllianceFormation { purpose: other(None), ..pair() }, "malformed"),
        (AllianceFormation { purpose: other(Some("")), ..pair() }, "malformed"),
        (AllianceFormation { purpose: other(Some(&"x".repeat(65))), ..pair() }, "malformed"),
        (
            AllianceFormation {
                purpose: AlliancePurpose { kind: PurposeKind::Social, text: Some("tea".into()) },
                ..pair()
            },
            "malformed",
        ),
        (
            AllianceFormation {
                terms: AllianceTerms { benefits: vec![Benefit::DramaBoost; 2], ..terms(1) },
                ..pair()
            },
            "duplicate",
        ),
        (
            AllianceFormation {
                terms: AllianceTerms { benefits: vec![Benefit::DramaBoost; 5], ..terms(1) },
                ..pair()
            },
            "malformed",
        ),
        (
            AllianceFormation {
                terms: AllianceTerms { conditions: vec!["x".into(); 9], ..terms(1) },
                ..pair()
            },
            "malformed",
        ),
        (
            AllianceFormation {
                terms: AllianceTerms { conditions: vec!["x".repeat(257)], ..terms(1) },
                ..pair()
            },
            "malformed",
        ),
    ] {
        let others = if formation.members.len() > 1 { vec![BOB] } else { vec![] };
        given(three()).when(by(ANA).with(others), formation).then_rejected(code);
    }
    let longest = AllianceFormation { terms: terms(year), purpose: other(Some(&"x".repeat(64))), ..pair() };
    given(three()).when(by(ANA).with([BOB]), longest).then_accepted();
}

#[test]
fn members_are_agents() {
    given([registered(ANA), Given::Account(BOB)])
        .when(by(ANA).with([BOB]), formation(&[ANA, BOB]))
        .then_rejected("agent_unknown");
    given([registered(ANA), Given::Account(BOB)])
        .when(by(BOB).with([ANA]), formation(&[ANA, BOB]))
        .then_rejected("agent_unknown");
    given([registered(ANA)])
        .when(by(ANA).with([BOB]), formation(&[ANA, BOB]))
        .then_rejected("account_unknown");
}

#[test]
fn as_many_members_as_may_sign() {
    let people = |count: usize| (1..=count as u64).map(Person).collect::<Vec<_>>();
    let all = people(ALLIANCE_MEMBERS_MAX + 1);
    given(all.iter().copied().map(registered))
        .when(by(all[0]).with(all[1..].iter().copied()), formation(&all))
        .then_rejected("malformed")
        .when(by(all[0]).with(all[1..64].iter().copied()), formation(&all[..64]))
        .then_accepted();
}

#[test]
fn exclusive_alliances_that_overlap_with_one_other_come_into_conflict_with_it() {
    let pair = || formed(&[ANA, BOB], exclusive(&[ANA, BOB], PurposeKind::Defence));
    let together = || by(CLEO).with([BOB]);
    // The rival stands, too, whoever else is in it.
    for members in [vec![CLEO, BOB], vec![CLEO, ANA, BOB]] {
        let world = given(three().into_iter().chain([pair()]));
        let earlier = AllianceId::from(world.last);
        let world = world
            .when(by(CLEO).with(members[1..].iter().copied()), exclusive(&members, PurposeKind::Defence))
            .then_accepted();
        let later = AllianceId::from(world.last);
        for id in [earlier, later] {
            assert!(matches!(world.alliance(id).state, AllianceState::Active | AllianceState::Contested));
        }
        let listed: Vec<_> = world.agent(BOB).alliances.iter().map(|membership| membership.id).collect();
        assert_eq!(listed, [earlier, later]);
    }
    // The same two, again.
    given(three().into_iter().chain([pair(), pair()]));
    // With another purpose, or in an alliance that is not exclusive, nobody is in anybody's way: another may follow.
    let open = AllianceFormation { exclusive: false, ..exclusive(&[BOB, CLEO], PurposeKind::Defence) };
    let world = given(three().into_iter().chain([pair()]))
        .when(together(), exclusive(&[BOB, CLEO], PurposeKind::Governance))
        .then_accepted()
        .when(together(), open)
        .then_accepted();
    assert!(world.agent(BOB).alliances.iter().all(|membership| !membership.contested));
}

#[test]
fn exclusive_alliances_do_not_overlap_with_two_others() {
    let pairs = || {
        three().into_iter().chain([
            registered(DAN),
            formed(&[ANA, BOB], exclusive(&[ANA, BOB], PurposeKind::Defence)),
            formed(&[CLEO, DAN], exclusive(&[CLEO, DAN], PurposeKind::Defence)),
        ])
    };
    let across = || exclusive(&[BOB, CLEO], PurposeKind::Defence);
    given(pairs()).when(by(CLEO).with([BOB]), across()).then_rejected("alliance_overlap");
    // Both are over at the very moment that they expire, not before.
    given(pairs().chain([passed(HOUR - 1)]))
        .when(by(CLEO).with([BOB]), across())
        .then_rejected("alliance_overlap");
    let world = given(pairs().chain([passed(HOUR)])).when(by(CLEO).with([BOB]), across()).then_accepted();
    assert_eq!(world.agent(BOB).alliances.len(), 1);
}

#[test]
fn nobody_joins_a_second_conflict_of_one_purpose() {
    let world =
        given(three().into_iter().chain([formed(&[ANA, BOB], exclusive(&[ANA, BOB], PurposeKind::Defence))]));
    let id = AllianceId::from(world.last);
    let world = world.contested(id);
    let world = world
        .when(by(CLEO).with([BOB]), exclusive(&[BOB, CLEO], PurposeKind::Defence))
        .then_rejected("alliance_contested");
    world.when(by(CLEO).with([BOB]), exclusive(&[BOB, CLEO], PurposeKind::Governance)).then_accepted();
}

#[test]
fn purposes_in_words_are_compared_by_their_words() {
    let other = |members: &[Person], text: &str| AllianceFormation {
        purpose: AlliancePurpose { kind: PurposeKind::Other, text: Some(text.into()) },
        ..exclusive(members, PurposeKind::Other)
    };
    let world = given(three().into_iter().chain([formed(&[ANA, BOB], other(&[ANA, BOB], "tea"))]));
    let id = AllianceId::from(world.last);
    world
        .contested(id)
        .when(by(CLEO).with([BOB]), other(&[BOB, CLEO], "tea"))
        .then_rejected("alliance_contested")
        .when(by(CLEO).with([BOB]), other(&[BOB, CLEO], "Tea"))
        .then_accepted();
}

#[test]
fn expired_alliances_leave_room() {
    let mut world = given(three());
    for _ in 0..AGENT_ALLIANCES_MAX {
        world.happen(formed(&[ANA, BOB], formation(&[ANA, BOB])));
    }
    let world = world.when(by(CLEO).with([ANA]), formation(&[ANA, CLEO])).then_rejected("alliance_limit");
    assert_eq!(world.agent(ANA).alliances.len(), AGENT_ALLIANCES_MAX);
    let world = world.and([passed(HOUR)]).when(by(CLEO).with([ANA]), formation(&[ANA, CLEO])).then_accepted();
    assert_eq!(world.agent(ANA).alliances.len(), 1);
    assert_eq!(world.agent(BOB).alliances.len(), 0);
}
