//! The due queue: what is due is handled before a block's events, a bounded number a block, and what waits has no say.

use chaoschain_schemas::limits::{DUE_ENTRIES_MAX, DUE_WORK_MAX};
use chaoschain_schemas::society::{
    Alliance, AllianceDeparture, AllianceState, Benefit, Due, DueKind, ReputationUpdate,
};
use chaoschain_schemas::{AllianceId, ChainId, Fixed, Hash, Height, Timestamp, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::Machine;
use chaoschain_state::{BaseView, Changes, Recording, control};

use crate::support::*;

fn entries(world: &World) -> Vec<Due> {
    let (first, last) = keys::due_until(Timestamp(u64::MAX));
    world.state.range(first..=last).map(|(_, value)| codec::decode_trusted(value).unwrap()).collect()
}

fn states(world: &World, state: AllianceState) -> usize {
    let alliances =
        world.state.iter().filter(|(key, _)| key.sub_tree() == keys::SOCIAL && key.as_bytes()[0] == 1);
    alliances.filter(|(_, value)| codec::decode_trusted::<Alliance>(value).unwrap().state == state).count()
}

/// So many alliances of two, of pairs of their own, all of which expire at the same time.
fn pairs(count: u64) -> World {
    let people = |pair: u64| [Person(10 + 2 * pair), Person(11 + 2 * pair)];
    let all = (0..count).flat_map(people);
    given(all.map(registered)).and((0..count).map(|pair| formed(&people(pair), formation(&people(pair)))))
}

#[test]
fn an_alliance_expires_by_itself() {
    let world = given(three()).and([formed(&[ANA, BOB], formation(&[ANA, BOB]))]);
    let id = AllianceId::from(world.last);
    let world = world.and([passed(HOUR - 1), Given::Block]);
    assert_eq!(world.alliance(id).state, AllianceState::Active);
    let before = world.alliance(id);
    let world = world.and([passed(1), Given::Block]);
    let after = world.alliance(id);
    assert_eq!(after, Alliance { state: AllianceState::Expired, ..before });
    assert!(world.agent(ANA).alliances.is_empty() && world.agent(BOB).alliances.is_empty());
    assert_eq!((world.next_due(), entries(&world).len()), (None, 0));
    let quiet = world.and([passed(HOUR), Given::Block]);
    assert!(quiet.changes.is_empty(), "once is enough");
}

#[test]
fn a_contested_alliance_expires_like_any_other() {
    let world = given(three()).and([formed(&[ANA, BOB], formation(&[ANA, BOB]))]);
    let id = AllianceId::from(world.last);
    let world = world.contested(id).and([passed(HOUR), Given::Block]);
    let alliance = world.alliance(id);
    assert_eq!((alliance.state, alliance.conflict, alliance.end), (AllianceState::Expired, None, None));
    assert!(world.agent(ANA).alliances.is_empty());
}

#[test]
fn an_entry_goes_with_what_it_is_for() {
    let all = [ANA, BOB, CLEO];
    let world = given(three()).and([formed(&all, formation(&all))]);
    let alliance = world.last.into();
    assert_eq!(entries(&world), [Due { work: 3 }]);
    let leave = || AllianceDeparture { alliance, reason: String::new(), drama: 0 };
    let world = world.when(by(BOB), leave()).then_accepted();
    assert_eq!(entries(&world), [Due { work: 2 }]);
    let world = world.when(by(ANA), leave()).then_accepted();
    assert_eq!(entries(&world), []);
}

#[test]
fn a_block_takes_no_more_than_its_share() {
    let count = DUE_ENTRIES_MAX as u64 + 40;
    let world = pairs(count).and([passed(HOUR)]);
    let due = world.next_due();
    let world = world.and([Given::Block]);
    assert_eq!(states(&world, AllianceState::Expired), DUE_ENTRIES_MAX);
    assert_eq!((world.next_due(), entries(&world).len()), (due, 40), "the rest waits, and says so");
    let world = world.and([Given::Block]);
    assert_eq!(states(&world, AllianceState::Expired), count as usize);
    assert_eq!(world.next_due(), None);
}

#[test]
fn work_is_bounded_too_and_goes_in_order_of_key() {
    // 40 alliances of 64: no more than 32 of them are 2,048 members' worth.
    let crowd: Vec<_> = (1..=64).map(Person).collect();
    let world = given(crowd.iter().copied().map(registered))
        .and((0..40).map(|_| formed(&crowd, formation(&crowd))))
        .and([passed(HOUR)]);
    let mut ids: Vec<AllianceId> =
        world.agent(crowd[0]).alliances.iter().map(|membership| membership.id).collect();
    ids.sort();
    let world = world.and([Given::Block]);
    let share = DUE_WORK_MAX as usize / 64;
    for (place, id) in ids.iter().enumerate() {
        let want = if place < share { AllianceState::Expired } else { AllianceState::Active };
        assert_eq!(world.alliance(*id).state, want, "number {place}");
    }
    assert_eq!(world.agent(crowd[5]).alliances.len(), 40 - share);
    let world = world.and([Given::Block]);
    assert_eq!(states(&world, AllianceState::Expired), 40);
}

/// In a backlog of more than a block's share, those that wait are over for every rule.
#[test]
fn what_waits_has_no_say() {
    let count = DUE_ENTRIES_MAX as u64 + 40;
    let world = pairs(count).and([registered(ANA), passed(HOUR), Given::Block]);
    let waiting = |world: &World| {
        world.state.iter().find_map(|(key, value)| {
            let [1, id @ ..] = key.as_bytes() else { return None };
            let alliance: Alliance = (key.sub_tree() == keys::SOCIAL)
                .then(|| codec::decode_trusted(value).ok())
                .flatten()
                .filter(|alliance: &Alliance| alliance.state == AllianceState::Active)?;
            Some((AllianceId::new(id.try_into().unwrap()), alliance))
        })
    };
    let (id, alliance) = waiting(&world).unwrap();
    let number = (10..10 + 2 * count).find(|number| Person(*number).id() == alliance.members[0]).unwrap();
    let member = Person(number);
    assert_eq!(world.agent(member).alliances.len(), 1, "its profile still lists it");
    assert_eq!(world.read("alliance", &[&id.to_string()]).unwrap()["state"], "Expired");
    assert_eq!(world.read("agent", &[&member.id().to_string()]).unwrap()["alliances"].to_string(), "[]");
    // Another share comes first, so that the next block does not reach this one either. What it would be worth is plain.
    let mut world = world;
    let leave = AllianceDeparture { alliance: id, reason: String::new(), drama: 0 };
    let mut agent = world.agent(member);
    agent.alliances[0].benefits = vec![Benefit::StakeBoost];
    agent.alliances[0].strength = Fixed::ONE;
    world.state.insert(keys::agent(&member.id()), codec::encode(&agent).into());
    pile_up(&mut world);
    let results = world.block(&[
        (by(member), leave.into()),
        (by(member), ReputationUpdate { subject: ANA.id(), rating: Fixed::ONE }.into()),
    ]);
    assert_eq!(results[0].1.as_ref().unwrap_err().code(), "alliance_over");
    assert_eq!(results[1].1, Ok(()));
    assert_eq!(world.agent(ANA).reputation, fixed("0.525"), "no boost by what is over");
    assert_eq!(world.alliance(id).state, AllianceState::Active, "its record waits on");
}

/// Puts a block's share of entries before all others, for alliances that there are not.
fn pile_up(world: &mut World) {
    for number in 0..DUE_ENTRIES_MAX as u16 {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let key = keys::due(START, DueKind::AllianceExpiry, &id);
        world.state.insert(key, codec::encode(&Due { work: 1 }).into());
    }
}

#[test]
fn in_shares_or_one_by_one_it_comes_to_the_same() {
    let count = 2 * DUE_ENTRIES_MAX as u64 + 10;
    let in_shares = pairs(count).and([passed(HOUR)]).and((0..3).map(|_| Given::Block));
    // One by one: each entry is all that there is when its block comes.
    let world = pairs(count).and([passed(HOUR)]);
    let mut one_by_one = world;
    let (first, last) = keys::due_until(one_by_one.now);
    let all: Vec<_> =
        one_by_one.state.range(first..=last).map(|(key, value)| (*key, value.clone())).collect();
    for (key, _) in &all {
        one_by_one.state.remove(key);
    }
    for (key, value) in all {
        one_by_one = one_by_one.and([Given::Record(key, value), Given::Block]);
    }
    assert_eq!(in_shares.next_due(), None);
    assert_eq!(in_shares.state, one_by_one.state);
}

#[test]
fn a_quiet_block_looks_once() {
    let world = pairs(3);
    let recording = Recording::new(&world.state);
    let block = control::block_context(
        &Society,
        &world.state,
        ChainId::default(),
        Height(100),
        Hash::ZERO,
        world.now,
    )
    .unwrap();
    let mut changes = Changes::new(&recording);
    Machine::begin_block(&Society, &block, &mut changes);
    assert!(changes.is_empty());
    drop(changes);
    let reads = recording.into_reads();
    assert_eq!((reads.keys.len(), reads.ranges.len()), (0, 1));
    assert_eq!(Machine::next_due(&Society, &BaseView::new(&world.state)).unwrap().0, START.0 + HOUR);
}
