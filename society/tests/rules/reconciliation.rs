//! Alliances that are revived, and betrayals that are remembered.

use chaoschain_schemas::society::{
    Agent, AllianceBetrayal, AllianceDeparture, AllianceEnd, AllianceEndCause, AllianceFormation,
    AllianceReconciliation, AllianceState, AllianceTerms, DramaKind, Parameters, RelationshipCounts,
};
use chaoschain_schemas::{AllianceId, Fixed, Micros, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::Machine;

use crate::support::*;

const DAY: u64 = 24 * HOUR;

fn revive(alliance: AllianceId, members: &[Person]) -> AllianceReconciliation {
    AllianceReconciliation { alliance, members: ids(members) }
}

fn betray(alliance: AllianceId) -> AllianceBetrayal {
    AllianceBetrayal { alliance, description: "sold the template".into(), drama: 0 }
}

fn left(alliance: AllianceId, who: Person) -> Given {
    event(who, AllianceDeparture { alliance, reason: String::new(), drama: 0 })
}

fn exclusive(members: &[Person]) -> AllianceFormation {
    AllianceFormation { exclusive: true, ..formation(members) }
}

/// A world of Ana, Bob, Cleo and Dan in which a formation by Ana and Bob has just come about.
fn pair(rules: u16, formation: AllianceFormation) -> (World, AllianceId) {
    let world = World::under(rules, &Parameters::default())
        .and([ANA, BOB, CLEO, DAN].map(registered))
        .and([formed(&[ANA, BOB], formation)]);
    let id = world.last.into();
    (world, id)
}

#[test]
fn what_was_left_stands_again_from_now_on() {
    let (world, id) = pair(2, formation(&[ANA, BOB]));
    let first = world.alliance(id);
    let world = world
        .and([left(id, BOB), passed(5 * HOUR)])
        .when(by(BOB).with([ANA]), revive(id, &[BOB, ANA]))
        .then_accepted();
    let alliance = world.alliance(id);
    assert_eq!((alliance.state, alliance.end), (AllianceState::Active, None));
    assert_eq!((alliance.formed_at, alliance.expires_at.0), (world.now, world.now.0 + HOUR));
    assert_eq!((&alliance.members, &alliance.terms), (&first.members, &first.terms));
    assert_eq!(world.next_due(), Some(alliance.expires_at));
    for person in [ANA, BOB] {
        assert_eq!(world.agent(person).alliances[0].expires_at, alliance.expires_at);
    }
    let drama = world.drama().unwrap();
    assert_eq!((drama.kind, drama.agent, drama.level), (DramaKind::Reconciliation, BOB.id(), 0));
    assert_eq!((drama.text.as_str(), drama.alliance), ("", Some(id)));
    let no_view = keys::relationship(&ANA.id(), &BOB.id());
    assert!(!world.state.contains_key(&no_view), "nobody was betrayed, no trust moves");
    // It may end and be revived again.
    world.and([left(id, ANA)]).when(by(ANA).with([BOB]), revive(id, &[ANA, BOB])).then_accepted();
}

#[test]
fn a_reconciliation_mends_trust_in_the_traitor() {
    let world = given([ANA, BOB, CLEO].map(registered))
        .and([formed(&[ANA, BOB, CLEO], formation(&[ANA, BOB, CLEO]))]);
    let id = AllianceId::from(world.last);
    let world = world
        .and([event(BOB, betray(id))])
        .when(by(ANA).with([BOB, CLEO]), revive(id, &[CLEO, ANA, BOB]))
        .then_accepted();
    for person in [ANA, CLEO] {
        let view = world.relationship(person, BOB);
        // 0.5 − 0.1 + 0.05.
        assert_eq!(view.trust, fixed("0.45"));
        assert_eq!(
            view.counts,
            RelationshipCounts { betrayals: 1, reconciliations: 1, ..Default::default() }
        );
    }
    let back = keys::relationship(&BOB.id(), &ANA.id());
    assert!(!world.state.contains_key(&back), "the traitor's own views stay");
    // Members 0.5, two views of the ring at 0.5 and the one of the traitor at 0.45, memes 0.5: the mended trust counts.
    let ring = fixed("0.483333");
    let want = Fixed::HALF.times(ring).times(Fixed::HALF);
    assert_eq!(world.alliance(id).strength, want);
    let shown = world.read("alliance", &[&id.to_string()]).unwrap();
    assert_eq!(shown["strength"], shown["strength_at_formation"]);
}

#[test]
fn reconciliations_that_are_refused() {
    let (world, id) = pair(2, formation(&[ANA, BOB]));
    let both = || revive(id, &[ANA, BOB]);
    let together = || by(ANA).with([BOB]);
    let world = world.when(together(), both()).then_rejected("alliance_not_dissolved");
    let expired = world.and([passed(HOUR), Given::Block]);
    assert_eq!(expired.alliance(id).state, AllianceState::Expired);
    expired.when(together(), both()).then_rejected("alliance_not_dissolved");

    let apart = || pair(2, formation(&[ANA, BOB])).0.and([left(id, BOB)]);
    apart().when(together(), revive(AllianceId::new([7; 32]), &[ANA, BOB])).then_rejected("alliance_unknown");
    apart().when(by(ANA), both()).then_rejected("cosignature_missing");
    apart().when(by(ANA).with([BOB, CLEO]), both()).then_rejected("cosignature_unneeded");
    apart().when(by(CLEO).with([ANA, BOB]), both()).then_rejected("author_not_member");
    apart().when(by(ANA).with([CLEO]), revive(id, &[ANA, CLEO])).then_rejected("members_differ");
    apart().when(by(ANA).with([BOB, CLEO]), revive(id, &[ANA, BOB, CLEO])).then_rejected("members_differ");
    apart().when(together(), revive(id, &[ANA, BOB, BOB])).then_rejected("duplicate");
    apart().when(by(ANA), revive(id, &[ANA])).then_rejected("malformed");

    let crowd: Vec<_> = (1..=65).map(Person).collect();
    apart()
        .and(crowd[4..].iter().copied().map(registered))
        .when(by(ANA).with(crowd[1..].iter().copied()), revive(id, &crowd))
        .then_rejected("malformed")
        .when(by(ANA).with(crowd[1..64].iter().copied()), revive(id, &crowd[..64]))
        .then_rejected("members_differ");

    // What lost a conflict stays dissolved.
    let world = apart();
    let mut alliance = world.alliance(id);
    let cause = AllianceEndCause::Conflict;
    alliance.end = Some(AllianceEnd { at: world.now, cause, by: None });
    let record = Given::Record(keys::alliance(&id), codec::encode(&alliance).into());
    world.and([record]).when(together(), both()).then_rejected("alliance_not_dissolved");
}

#[test]
fn a_revived_alliance_obeys_the_rules_of_a_new_one() {
    let (_, id) = pair(2, exclusive(&[ANA, BOB]));
    let apart = || pair(2, exclusive(&[ANA, BOB])).0.and([left(id, BOB)]);
    let again = |world: World| world.when(by(ANA).with([BOB]), revive(id, &[ANA, BOB]));
    // One rival: it stands, in conflict with that.
    let world = again(apart().and([formed(&[BOB, CLEO], exclusive(&[BOB, CLEO]))])).then_accepted();
    assert!(matches!(world.alliance(id).state, AllianceState::Active | AllianceState::Contested));
    // Two of them, or one that is contested.
    let rivals = [formed(&[BOB, CLEO], exclusive(&[BOB, CLEO])), formed(&[ANA, DAN], exclusive(&[ANA, DAN]))];
    again(apart().and(rivals)).then_rejected("alliance_overlap");
    let world = apart().and([formed(&[BOB, CLEO], exclusive(&[BOB, CLEO]))]);
    let rival = world.last.into();
    again(world.contested(rival)).then_rejected("alliance_contested");
    // A shorter bound since.
    let world = apart();
    let parameters = Parameters { alliance_duration_max: Micros(HOUR - 1), ..Default::default() };
    let key = chaoschain_state::control::keys::domain_parameters();
    again(world.and([Given::Record(key, codec::encode(&parameters).into())]))
        .then_rejected("alliance_duration");
    // No room.
    let crowd = (0..64).map(|_| formed(&[BOB, CLEO], formation(&[BOB, CLEO])));
    again(apart().and(crowd)).then_rejected("alliance_limit");
}

#[test]
fn a_betrayal_is_remembered_from_version_2_on() {
    for rules in [1, 2, 3] {
        let (world, id) = pair(rules, formation(&[ANA, BOB]));
        let world = world.when(by(BOB), betray(id)).then_accepted();
        let agent = world.agent(BOB);
        assert_eq!(agent.betrayed_at, (rules >= 2).then_some(world.now), "version {rules}");
        assert_eq!(world.agent(ANA).betrayed_at, None);
        let bytes = &world.state[&keys::agent(&BOB.id())];
        assert_eq!(bytes[0], if rules >= 2 { 0x9b } else { 0x9a }, "eleven fields or ten");
        assert_eq!(codec::decode::<Agent>(bytes, bytes.len()), Ok(agent));
        assert_eq!(
            world.state[&keys::agent(&ANA.id())][0],
            0x9a,
            "the field is there only when it says something"
        );
        let joined = world.when(by(CLEO).with([BOB]), exclusive(&[BOB, CLEO]));
        if rules >= 2 {
            joined.then_rejected("betrayal_remembered")
        } else {
            joined.then_accepted()
        };
    }
    assert_eq!(Machine::rules(&Society), 3);
}

#[test]
fn a_betrayal_is_forgotten_after_thirty_days() {
    let (world, id) = pair(2, exclusive(&[ANA, BOB]));
    let year = AllianceTerms { duration: Micros(300 * DAY), ..formation(&[]).terms };
    let long = AllianceFormation { terms: year, ..exclusive(&[BOB, CLEO]) };
    let world = world.and([event(BOB, betray(id))]);
    let world = world.when(by(BOB).with([CLEO]), formation(&[BOB, CLEO])).then_accepted();
    let world = world.when(by(BOB).with([CLEO]), long.clone()).then_rejected("betrayal_remembered");
    let world = world.when(by(ANA).with([BOB]), revive(id, &[ANA, BOB])).then_rejected("betrayal_remembered");
    let world = world.when(by(ANA).with([CLEO]), exclusive(&[ANA, CLEO])).then_accepted();
    let world = world.and([passed(30 * DAY - 1)]);
    let world = world.when(by(CLEO).with([BOB]), long.clone()).then_rejected("betrayal_remembered");
    let world = world.and([passed(1)]).when(by(CLEO).with([BOB]), long).then_accepted();
    assert!(world.agent(BOB).betrayed_at.is_some(), "the record keeps it");
    // What is not exclusive can be revived at once.
    let (world, id) = pair(2, formation(&[ANA, BOB]));
    world.and([event(BOB, betray(id))]).when(by(ANA).with([BOB]), revive(id, &[ANA, BOB])).then_accepted();
}

/// A chain that comes from version 1 has records of ten fields; version 2 reads them and writes on.
#[test]
fn records_of_version_1_are_read_by_version_2() {
    let (world, id) = pair(1, formation(&[ANA, BOB]));
    let before = world.agent(BOB);
    let bytes = world.state[&keys::agent(&BOB.id())].clone();
    assert_eq!(bytes[0], 0x9a);
    let key = chaoschain_state::control::keys::chain();
    let mut chain: chaoschain_schemas::control::ChainState = world.record(&key).unwrap();
    chain.rules = 2;
    let world = world.and([Given::Record(key, codec::encode(&chain).into())]);
    assert_eq!(world.agent(BOB), before);
    let world = world.when(by(BOB), betray(id)).then_accepted();
    let after = world.agent(BOB);
    assert_eq!(after, Agent { betrayed_at: Some(world.now), alliances: Vec::new(), ..before });
    assert_eq!(world.state[&keys::agent(&BOB.id())][0], 0x9b);
    // There is one form of each record: an absent eleventh field is not written.
    let mut spelled_out = bytes.to_vec();
    spelled_out[0] = 0x9b;
    spelled_out.push(0xc0);
    assert_eq!(codec::decode::<Agent>(&spelled_out, 4096).unwrap_err().code(), "not_canonical");
    assert!(codec::decode::<Agent>(&bytes, 4096).is_ok());
}
