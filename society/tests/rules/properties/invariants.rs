//! What each record says of the others.

use std::collections::BTreeSet;

use chaoschain_schemas::limits::{AGENT_ALLIANCES_MAX, RELATIONSHIP_EVENTS_MAX};
use chaoschain_schemas::society::{
    Agent, AgentCount, AgentOrdinal, Alliance, AllianceState, Conflict, ConflictKind, Due, DueKind,
    InfluenceScore, Relationship,
};
use chaoschain_schemas::{AgentId, AllianceId, Fixed};
use chaoschain_society::keys;
use chaoschain_state::Key;
use proptest::prelude::*;

use crate::sizes::bytes_max;
use crate::support::*;

/// No more people than there are.
const PARTIES_MAX: u32 = super::PEOPLE as u32;

pub(super) fn records<R: serde::de::DeserializeOwned>(world: &World, sub_tree: u8, tag: u8) -> Vec<(Key, R)> {
    let keys = world.state.keys().filter(|key| key.sub_tree() == sub_tree && key.as_bytes()[0] == tag);
    keys.map(|key| (*key, world.record(key).unwrap())).collect()
}

pub(super) fn id_in(key: &Key) -> [u8; 32] {
    key.as_bytes()[1..33].try_into().unwrap()
}

/// Checks every record of the society.
pub(super) fn check(world: &World) -> Result<(), TestCaseError> {
    scores(world)?;
    alliances(world)?;
    exclusive(world)?;
    due(world)?;
    for (key, value) in &world.state {
        let max = bytes_max(key).filter(|_| key.sub_tree() >= keys::AGENTS).unwrap_or(usize::MAX);
        prop_assert!(value.len() <= max, "{} has {} bytes", key, value.len());
    }
    Ok(())
}

fn scores(world: &World) -> Result<(), TestCaseError> {
    let unit = |score: Fixed| score.is_within(Fixed::ZERO, Fixed::ONE);
    let agents = records::<Agent>(world, keys::AGENTS, 1);
    prop_assert_eq!(world.record::<AgentCount>(&keys::agent_count()).unwrap().agents, agents.len() as u64);
    for (key, agent) in agents {
        prop_assert!(unit(agent.reputation) && unit(agent.influence), "{:?}", agent);
        let ordinal: AgentOrdinal = world.record(&keys::ordinal(agent.ordinal)).unwrap();
        prop_assert_eq!(ordinal.agent, AgentId::new(id_in(&key)));
    }
    for (key, view) in records::<Relationship>(world, keys::SOCIAL, 2) {
        prop_assert!(unit(view.trust), "{:?}", view);
        prop_assert!((1..=RELATIONSHIP_EVENTS_MAX).contains(&view.events.len()));
        prop_assert!(view.events.is_sorted() || view.events.is_empty());
        prop_assert!(view.last_updated <= world.now);
        let (from, to) = key.as_bytes()[1..].split_at(32);
        prop_assert!(from != to, "a view of oneself");
    }
    for (_, score) in records::<InfluenceScore>(world, keys::SOCIAL, 3) {
        prop_assert!(unit(score.value) && score.updated_at <= world.now);
    }
    Ok(())
}

fn alliances(world: &World) -> Result<(), TestCaseError> {
    let mut listed = BTreeSet::new();
    for (key, agent) in records::<Agent>(world, keys::AGENTS, 1) {
        let member = AgentId::new(id_in(&key));
        prop_assert!(agent.alliances.len() <= AGENT_ALLIANCES_MAX);
        for membership in agent.alliances {
            let alliance = world.alliance(membership.id);
            prop_assert!(
                alliance.members.contains(&member),
                "{} lists an alliance that does not list it",
                member
            );
            prop_assert_eq!(alliance.expires_at, membership.expires_at);
            prop_assert_eq!(alliance.strength, membership.strength);
            prop_assert_eq!(alliance.state == AllianceState::Contested, membership.contested);
            prop_assert_eq!(alliance.exclusive.then(|| alliance.purpose.hash()), membership.exclusive_for);
            prop_assert!(listed.insert((membership.id, member)), "listed twice");
        }
    }
    for (key, alliance) in records::<Alliance>(world, keys::SOCIAL, 1) {
        let id = AllianceId::new(id_in(&key));
        prop_assert!(alliance.members.is_sorted_by(|a, b| a < b));
        prop_assert!(alliance.strength.is_within(Fixed::ZERO, Fixed::ONE));
        let in_force = matches!(alliance.state, AllianceState::Active | AllianceState::Contested);
        prop_assert_eq!(alliance.end.is_some(), alliance.state == AllianceState::Dissolved);
        prop_assert_eq!(alliance.conflict.is_some(), alliance.state == AllianceState::Contested);
        let live = in_force && world.now < alliance.expires_at;
        for member in &alliance.members {
            let lists = listed.contains(&(id, *member));
            prop_assert!(lists || !live, "{} does not list its live alliance", member);
            prop_assert!(!lists || in_force, "{} lists an alliance that is over", member);
        }
    }
    Ok(())
}

/// Live exclusive alliances of one purpose share members only while they are in conflict with one another.
fn exclusive(world: &World) -> Result<(), TestCaseError> {
    let live: Vec<_> = records::<Alliance>(world, keys::SOCIAL, 1)
        .into_iter()
        .map(|(_, alliance)| alliance)
        .filter(|of| matches!(of.state, AllianceState::Active | AllianceState::Contested))
        .filter(|of| of.exclusive && world.now < of.expires_at)
        .collect();
    for (at, one) in live.iter().enumerate() {
        for other in live[..at].iter().filter(|other| other.purpose == one.purpose) {
            let shared = one.members.iter().any(|member| other.members.contains(member));
            let in_conflict = one.conflict.is_some() && one.conflict == other.conflict;
            prop_assert!(!shared || in_conflict, "{:?} and {:?}", one, other);
        }
    }
    Ok(())
}

fn due(world: &World) -> Result<(), TestCaseError> {
    let mut want: Vec<(Key, u32)> = Vec::new();
    for (key, alliance) in records::<Alliance>(world, keys::SOCIAL, 1) {
        if matches!(alliance.state, AllianceState::Active | AllianceState::Contested) {
            let key = keys::due(alliance.expires_at, DueKind::AllianceExpiry, &id_in(&key));
            want.push((key, alliance.members.len() as u32));
        }
    }
    for (key, conflict) in records::<Conflict>(world, keys::SOCIAL, 6) {
        if conflict.outcome.is_none() && conflict.kind != ConflictKind::DivergentTransitions {
            let key = keys::due(conflict.deadline, DueKind::ConflictDeadline, &id_in(&key));
            want.push((key, conflict.electors.len() as u32));
        }
    }
    want.sort();
    let got: Vec<_> =
        records::<Due>(world, keys::SOCIAL, 5).into_iter().map(|(key, due)| (key, due.work)).collect();
    prop_assert_eq!(
        got.first().map(|(key, _)| key.as_bytes()[1..9].to_vec()),
        world.next_due().map(|due| due.0.to_be_bytes().to_vec())
    );
    prop_assert_eq!(got.len(), want.len());
    for ((got, work), (want, least)) in got.into_iter().zip(want) {
        prop_assert_eq!(got, want);
        // The parties are counted as well: reporter and subject, or the members of both alliances as they were.
        let parties =
            if got.as_bytes()[9] == DueKind::ConflictDeadline as u8 { 2..=PARTIES_MAX } else { 0..=0 };
        prop_assert!(parties.contains(&(work - least)), "{} of {}", work, least);
    }
    Ok(())
}
