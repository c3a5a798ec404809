//! Conflicts of exclusive alliances: they open by themselves, and one of the two ends.

use chaoschain_schemas::society::{
    AllianceBetrayal, AllianceDeparture, AllianceEndCause, AllianceFormation, AllianceReconciliation,
    AllianceState, ConflictKind, DecidedBy, DueKind, Parameters,
};
use chaoschain_schemas::{AllianceId, Micros};
use chaoschain_society::keys;

use crate::scene::*;
use crate::support::*;

#[test]
fn a_second_exclusive_alliance_opens_a_conflict() {
    let mut world = society(6, &Parameters::default());
    let (earlier, later, id) = overlapping(&mut world);
    let conflict = conflict(&world, id);
    assert_eq!(conflict.kind, ConflictKind::ConflictingAlliances);
    assert_eq!((conflict.subject.fact, conflict.subject.divergence), (None, None));
    let options: Vec<_> = conflict.options.iter().map(|option| option.alliance.unwrap()).collect();
    assert_eq!(options, [earlier, later], "the earlier-formed first");
    assert_eq!((conflict.reporter, conflict.reason.as_str()), (CLEO.id(), ""));
    let mut electors = ids(&[DAN, Person(5), Person(6)]);
    electors.sort();
    let got: Vec<_> = conflict.electors.iter().map(|elector| elector.agent).collect();
    assert_eq!(got, electors, "members of neither");
    for alliance in [earlier, later].map(|id| alliance(&world, id)) {
        assert_eq!((alliance.state, alliance.conflict), (AllianceState::Contested, Some(id)));
    }
    for member in [ANA, BOB, CLEO] {
        assert!(world.agent(member).alliances.iter().all(|membership| membership.contested));
    }
    assert_eq!((counts(&world).open, deadlines(&world)), (1, 1));
}

#[test]
fn other_alliances_of_the_members_are_not_contested() {
    let mut world = society(4, &Parameters::default());
    let other = form(&mut world, AllianceFormation { exclusive: false, ..defence(&[ANA, BOB]) });
    overlapping(&mut world);
    let contested: Vec<_> =
        world.agent(ANA).alliances.iter().map(|of| (of.id == other, of.contested)).collect();
    assert_eq!(contested, [(true, false), (false, true)]);
}

#[test]
fn contested_alliances_and_several_at_once_are_no_opponents() {
    let mut world = society(8, &Parameters::default());
    overlapping(&mut world);
    let third = defence(&[DAN, ANA]);
    let world = world.when(signers(&third), third).then_rejected("alliance_contested");
    let mut world = world;
    form(&mut world, defence(&[DAN, Person(5)]));
    form(&mut world, defence(&[Person(6), Person(7)]));
    let bridge = defence(&[Person(8), DAN, Person(6)]);
    world.when(signers(&bridge), bridge).then_rejected("alliance_overlap");
}

#[test]
fn the_loser_dissolves_and_the_winner_is_active() {
    for wins in [0, 1] {
        let mut world = society(6, &Parameters::default());
        let (earlier, later, id) = overlapping(&mut world);
        world.happen(passed(5));
        opt(&mut world, id, 4..=6, wins);
        assert_eq!(decided(&world, id), Some((Some(wins), DecidedBy::Threshold)));
        let ids = [earlier, later];
        let (winner, loser) = (ids[usize::from(wins)], ids[usize::from(1 - wins)]);
        let won = alliance(&world, winner);
        assert_eq!((won.state, won.conflict, won.end), (AllianceState::Active, None, None));
        let lost = alliance(&world, loser);
        assert_eq!((lost.state, lost.conflict), (AllianceState::Dissolved, None));
        let end = lost.end.unwrap();
        assert_eq!((end.at, end.cause, end.by), (world.now, AllianceEndCause::Conflict, None));
        for person in [ANA, BOB, CLEO] {
            let listed = world.agent(person).alliances;
            assert!(listed.iter().all(|membership| membership.id == winner && !membership.contested));
            assert_eq!(listed.len(), usize::from(won.members.contains(&person.id())));
        }
        let expiry = |of, alliance: &chaoschain_schemas::society::Alliance| {
            let id: &AllianceId = of;
            world.state.contains_key(&keys::due(alliance.expires_at, DueKind::AllianceExpiry, id.as_bytes()))
        };
        assert!(expiry(&winner, &won) && !expiry(&loser, &lost), "what has ended does not expire");
        assert_eq!((counts(&world).open, deadlines(&world)), (0, 0));
        let again = defence(&[ANA, DAN]);
        let free = wins == 1;
        let outcome = world.when(signers(&again), again);
        let world = outcome.then_accepted();
        let contested = world.agent(DAN).alliances[0].contested;
        assert_eq!(contested, !free, "the winner is in the way of others as before, the loser is not");
    }
}

#[test]
fn a_contested_alliance_may_be_left_and_not_betrayed() {
    let mut world = society(6, &Parameters::default());
    let (earlier, later, id) = overlapping(&mut world);
    let leave = |alliance| AllianceDeparture { alliance, reason: String::new(), drama: 0 };
    let betray = AllianceBetrayal { alliance: earlier, description: "went over".into(), drama: 3 };
    let world = world.when(by(BOB), betray).then_rejected("alliance_contested");
    // Of two, one is too few; what is left is decided when somebody asks.
    let world = world.when(by(CLEO), leave(later)).then_accepted();
    let left = alliance(&world, later);
    assert_eq!((left.state, left.conflict), (AllianceState::Dissolved, None));
    assert_eq!((decided(&world, id), deadlines(&world)), (None, 1));
    assert_eq!(alliance(&world, earlier).state, AllianceState::Contested);
    let world = world.when(by(DAN), resolution(id)).then_accepted();
    assert_eq!(decided(&world, id), Some((Some(0), DecidedBy::Expiry)));
    assert_eq!(alliance(&world, earlier).state, AllianceState::Active);
    assert_eq!(alliance(&world, later), left, "it ended before, by a departure");
}

#[test]
fn a_contested_alliance_is_not_there_to_be_revived() {
    let mut world = society(6, &Parameters::default());
    let (earlier, later, _) = overlapping(&mut world);
    for (alliance, members) in [(earlier, [ANA, BOB]), (later, [CLEO, BOB])] {
        let again = AllianceReconciliation { alliance, members: ids(&members) };
        world = world.when(by(members[0]).with([BOB]), again).then_rejected("alliance_not_dissolved");
    }
}

#[test]
fn who_leaves_one_of_many_leaves_it_contested() {
    let mut world = society(6, &Parameters::default());
    let earlier = form(&mut world, defence(&[ANA, BOB, CLEO]));
    form(&mut world, defence(&[CLEO, DAN]));
    let departure = AllianceDeparture { alliance: earlier, reason: String::new(), drama: 0 };
    let world = world.when(by(ANA), departure.clone()).then_accepted();
    let stands = alliance(&world, earlier);
    assert_eq!((stands.state, stands.members.len()), (AllianceState::Contested, 2));
    assert!(world.agent(ANA).alliances.is_empty());
    // From the deadline on it is decided on what stood then.
    let mut world = world.and([passed(DAY)]);
    stuff_the_queue(&mut world);
    world.when(by(BOB), departure).then_rejected("alliance_contested");
}

/// However late somebody gets to it, what competed at the deadline competes.
#[test]
fn an_alliance_that_ends_after_the_deadline_can_win_at_it() {
    let mut world = society(6, &Parameters::default());
    let earlier = form(&mut world, short(&[ANA, BOB], 240));
    let later = form(&mut world, short(&[CLEO, BOB], 25));
    let id = alliance(&world, earlier).conflict.unwrap();
    opt(&mut world, id, [4, 5], 1);
    let late = |mut world: World, by_queue: bool| {
        if by_queue {
            return world.and([passed(26 * HOUR), Given::Block]);
        }
        stuff_the_queue(&mut world);
        world.and([passed(26 * HOUR)]).when(by(DAN), resolution(id)).then_accepted()
    };
    let again = || {
        let mut world = society(6, &Parameters::default());
        form(&mut world, short(&[ANA, BOB], 240));
        form(&mut world, short(&[CLEO, BOB], 25));
        opt(&mut world, id, [4, 5], 1);
        world
    };
    for world in [late(world, true), late(again(), false)] {
        assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::Deadline)));
        assert_eq!(outcome(&world, id).competing, [0, 1]);
        let lost = alliance(&world, earlier);
        assert_eq!(
            (lost.state, lost.end.unwrap().cause),
            (AllianceState::Dissolved, AllianceEndCause::Conflict)
        );
        assert_eq!(alliance(&world, later).state, AllianceState::Expired, "it won, and its time is over");
    }
}

/// An alliance that lasts for half a day, shorter than a conflict does.
fn short(members: &[Person], hours: u64) -> AllianceFormation {
    let mut formation = defence(members);
    formation.terms.duration = Micros(hours * HOUR);
    formation
}

#[test]
fn an_alliance_whose_time_is_over_does_not_compete() {
    let parameters = Parameters::default();
    for (mut world, hours, wins) in [
        (society(6, &parameters), [240, 12], 0),
        (society_of_old(6, &parameters), [240, 12], 0),
        (society_of_old(6, &parameters), [12, 240], 1),
    ] {
        let earlier = form(&mut world, short(&[ANA, BOB], hours[0]));
        let later = form(&mut world, short(&[CLEO, BOB], hours[1]));
        let id = alliance(&world, earlier).conflict.unwrap();
        opt(&mut world, id, [4], 1 - wins);
        world.happen(passed(12 * HOUR));
        let mut asked = world.when(by(DAN), resolution(id)).then_accepted();
        assert_eq!(decided(&asked, id), Some((Some(wins), DecidedBy::Expiry)));
        assert_eq!(outcome(&asked, id).competing, [wins]);
        assert_eq!(outcome(&asked, id).weights[usize::from(1 - wins)], 1_000_000, "what was said is counted");
        let ids = [earlier, later];
        assert_eq!(alliance(&asked, ids[usize::from(wins)]).state, AllianceState::Active);
        assert_ne!(alliance(&asked, ids[usize::from(1 - wins)]).state, AllianceState::Dissolved);
        assert_eq!(asked.agent(BOB).alliances.iter().filter(|of| of.expires_at > asked.now).count(), 1);
        asked.happen(Given::Block);
        assert_eq!((counts(&asked).open, deadlines(&asked)), (0, 0));
    }
}

/// Whoever waits wins nothing by it: from version 3 on it is decided about the earlier one's place while that lasts.
#[test]
fn the_earlier_one_is_decided_about_while_it_lasts() {
    for (speaking, option, wins, by) in [
        (&[4, 5][..], 0, 0, DecidedBy::Deadline),
        (&[4, 5], 1, 1, DecidedBy::Deadline),
        (&[], 1, 0, DecidedBy::Default),
    ] {
        let mut world = society(6, &Parameters::default());
        let earlier = form(&mut world, short(&[ANA, BOB], 12));
        world.happen(passed(HOUR));
        let later = form(&mut world, defence(&[CLEO, BOB]));
        let id = alliance(&world, earlier).conflict.unwrap();
        let over = alliance(&world, earlier).expires_at;
        assert_eq!(conflict(&world, id).deadline.saturating_add(Micros(1)), over);
        opt(&mut world, id, speaking.iter().copied(), option);
        assert_eq!(decided(&world, id), None, "two of three are not more than two thirds");
        world.happen(passed(DAY));
        world.happen(Given::Block);
        assert_eq!(decided(&world, id), Some((Some(wins), by)));
        assert_eq!(outcome(&world, id).competing, [0, 1]);
        assert_eq!(alliance(&world, earlier).state, AllianceState::Expired, "its time is over by now");
        let rival = if wins == 1 { AllianceState::Active } else { AllianceState::Dissolved };
        assert_eq!(alliance(&world, later).state, rival);
        assert_eq!((counts(&world).open, deadlines(&world)), (0, 0));
    }
}

/// Else whoever has a few votes ready could force a decision before anybody else has spoken.
#[test]
fn a_short_rival_does_not_hurry_the_vote() {
    let mut world = society(6, &Parameters::default());
    let earlier = form(&mut world, defence(&[ANA, BOB]));
    let mut rival = defence(&[CLEO, BOB]);
    rival.terms.duration = Micros(5);
    form(&mut world, rival);
    let id = alliance(&world, earlier).conflict.unwrap();
    assert_eq!(conflict(&world, id).deadline, world.now.saturating_add(Micros(DAY)));
}

#[test]
fn under_version_2_the_deadline_sees_it_too_and_an_opinion_as_well() {
    let scene = || {
        let mut world = society_of_old(8, &Parameters::default());
        let earlier = form(&mut world, short(&[ANA, BOB], 12));
        form(&mut world, defence(&[CLEO, BOB]));
        let id = alliance(&world, earlier).conflict.unwrap();
        (world, id)
    };
    let (mut world, id) = scene();
    world.happen(passed(DAY));
    world.happen(Given::Block);
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::Expiry)));
    let (mut world, id) = scene();
    world.happen(passed(12 * HOUR));
    opt(&mut world, id, [4], 0);
    assert_eq!(decided(&world, id), Some((Some(1), DecidedBy::Expiry)));
}

#[test]
fn under_version_2_it_lapses_when_the_time_of_both_is_over() {
    let mut world = society_of_old(6, &Parameters::default());
    let earlier = form(&mut world, short(&[ANA, BOB], 12));
    let later = form(&mut world, short(&[CLEO, BOB], 13));
    let id = alliance(&world, earlier).conflict.unwrap();
    world.happen(passed(DAY));
    world.happen(Given::Block);
    assert_eq!(decided(&world, id), Some((None, DecidedBy::Lapse)));
    assert!(outcome(&world, id).competing.is_empty());
    for alliance in [earlier, later].map(|id| alliance(&world, id)) {
        assert!(!matches!(alliance.state, AllianceState::Active | AllianceState::Dissolved));
    }
    assert_eq!((counts(&world).open, deadlines(&world)), (0, 0));
}

/// The same two alliances, decided and in conflict again within a block, would be the same conflict: it was once written over.
#[test]
fn a_second_conflict_of_the_same_two_leaves_the_first_in_the_state() {
    let scene = || {
        let mut world = society(6, &Parameters::default());
        let earlier = form(&mut world, defence(&[ANA, BOB]));
        (world, earlier)
    };
    let rival = defence(&[CLEO, BOB]);
    let forms = (signers(&rival), rival.into());
    // What ids come of it in this block.
    let (mut world, earlier) = scene();
    let later = AllianceId::from(world.block(std::slice::from_ref(&forms))[0].0);
    let id = alliance(&world, earlier).conflict.unwrap();
    let leaves = AllianceDeparture { alliance: later, reason: String::new(), drama: 0 };
    let again = AllianceReconciliation { alliance: later, members: ids(&[CLEO, BOB]) };
    let (mut world, _) = scene();
    let results = world.block(&[
        forms,
        (by(CLEO), leaves.into()),
        (by(DAN), resolution(id).into()),
        (by(CLEO).with([BOB]), again.into()),
    ]);
    assert!(results[..3].iter().all(|(_, result)| result.is_ok()));
    assert_eq!(results[3].1.as_ref().unwrap_err().code(), "conflict_exists");
    assert_eq!(decided(&world, id), Some((Some(0), DecidedBy::Expiry)), "it was decided, and stays");
    let is_conflict = |key: &&chaoschain_state::Key| key.sub_tree() == keys::SOCIAL && key.as_bytes()[0] == 6;
    assert_eq!(counts(&world).opened, world.state.keys().filter(is_conflict).count() as u64);
    // In the next block it is another conflict.
    let again = AllianceReconciliation { alliance: later, members: ids(&[CLEO, BOB]) };
    let world = world.when(by(CLEO).with([BOB]), again).then_accepted();
    assert_eq!((counts(&world).open, counts(&world).opened), (1, 2));
}
