//! Conflicts: what is marked as open is open, counts and opinions agree with the log, outcomes with the opinions.

use std::collections::BTreeMap;

use chaoschain_schemas::society::{
    Alliance, AllianceState, Conflict, ConflictCounts, ConflictKind, OpenConflict,
};
use chaoschain_schemas::{AgentId, AllianceId, ConflictId};
use chaoschain_society::conflict::{agrees, decide_early};
use chaoschain_society::{Transition, keys};
use chaoschain_state::Key;
use proptest::prelude::*;

use super::invariants::{id_in, records};
use super::{Entry, History};
use crate::support::*;

type Conflicts = BTreeMap<ConflictId, Conflict>;

fn all(world: &World) -> Conflicts {
    let found = records::<Conflict>(world, keys::SOCIAL, 6).into_iter();
    found.map(|(key, conflict)| (ConflictId::new(id_in(&key)), conflict)).collect()
}

fn is_open(conflict: &Conflict) -> bool {
    conflict.outcome.is_none() && conflict.kind != ConflictKind::DivergentTransitions
}

pub(super) fn check(history: &History) -> Result<(), TestCaseError> {
    let conflicts = all(&history.world);
    marks(&history.world, &conflicts)?;
    contested(&history.world, &conflicts)?;
    counts(&history.world, &conflicts)?;
    outcomes(&conflicts)?;
    opened(&history.log, &conflicts)?;
    opinions(&history.log, &conflicts)
}

pub(super) fn check_none_is_open(world: &World) -> Result<(), TestCaseError> {
    prop_assert!(!all(world).values().any(is_open));
    Ok(())
}

/// Adds up how conflicts stand and what decided them.
pub(super) fn tell(world: &World, told: &mut BTreeMap<String, usize>) {
    for conflict in all(world).values() {
        let kind = match conflict.kind {
            ConflictKind::DivergentTransitions => "evidence",
            ConflictKind::InconsistentAgentState => "fact",
            ConflictKind::ConflictingAlliances => "alliances",
        };
        *told.entry(kind.into()).or_default() += 1;
        let stands = conflict.outcome.as_ref().map_or("open".into(), |outcome| outcome.by.to_string());
        *told.entry(stands).or_default() += 1;
    }
}

/// The markers of facts and reporters name the open conflicts about facts, each of them, and nothing else.
fn marks(world: &World, conflicts: &Conflicts) -> Result<(), TestCaseError> {
    let (mut facts, mut reports) = (BTreeMap::new(), BTreeMap::new());
    for (id, conflict) in conflicts.iter().filter(|(_, conflict)| is_open(conflict)) {
        prop_assert_eq!(*id, conflict.id());
        if let Some(fact) = conflict.subject.fact {
            prop_assert_eq!(facts.insert(keys::open_conflict(&fact), *id), None, "two about one fact");
            prop_assert_eq!(reports.insert(keys::open_report(&conflict.reporter), *id), None, "two by one");
        }
    }
    let marked = |tag| -> BTreeMap<Key, ConflictId> {
        let found = records::<OpenConflict>(world, keys::SOCIAL, tag).into_iter();
        found.map(|(key, OpenConflict { conflict })| (key, conflict)).collect()
    };
    prop_assert_eq!((marked(7), marked(9)), (facts, reports));
    Ok(())
}

/// An alliance is contested exactly as long as the conflict that its record names is open.
fn contested(world: &World, conflicts: &Conflicts) -> Result<(), TestCaseError> {
    for (key, alliance) in records::<Alliance>(world, keys::SOCIAL, 1) {
        let id = AllianceId::new(id_in(&key));
        prop_assert_eq!(alliance.state == AllianceState::Contested, alliance.conflict.is_some());
        if let Some(conflict) = alliance.conflict.map(|conflict| &conflicts[&conflict]) {
            prop_assert!(is_open(conflict), "{} is contested by what is decided", id);
            prop_assert!(conflict.options.iter().any(|option| option.alliance == Some(id)));
        }
    }
    Ok(())
}

fn counts(world: &World, conflicts: &Conflicts) -> Result<(), TestCaseError> {
    let counts: ConflictCounts = world.record(&keys::conflict_counts()).unwrap_or_default();
    prop_assert_eq!(counts.opened, conflicts.len() as u64);
    prop_assert_eq!(counts.open as usize, conflicts.values().filter(|conflict| is_open(conflict)).count());
    let votable =
        || conflicts.values().filter(|conflict| conflict.kind != ConflictKind::DivergentTransitions);
    let newest = votable().map(|conflict| conflict.opened_height).max();
    prop_assert_eq!(counts.newest_height, newest.unwrap_or_default());
    let there = votable().filter(|conflict| Some(conflict.opened_height) == newest).count();
    prop_assert_eq!(counts.newest_opened as usize, there);
    Ok(())
}

fn outcomes(conflicts: &Conflicts) -> Result<(), TestCaseError> {
    for conflict in conflicts.values() {
        prop_assert_eq!(agrees(conflict), conflict.outcome.as_ref().map(|_| true));
        if conflict.kind == ConflictKind::DivergentTransitions {
            prop_assert!(conflict.electors.is_empty() && conflict.options.is_empty());
            prop_assert_eq!((conflict.deadline, conflict.outcome.as_ref()), (conflict.opened_at, None));
        } else if conflict.outcome.is_none() {
            // What is said about a fact always competes, and an option past the threshold has won already.
            let all: Vec<_> = (0..conflict.options.len() as u8).collect();
            prop_assert_eq!(decide_early(conflict, &all), None);
        }
        prop_assert!(conflict.electors.is_sorted_by(|a, b| a.agent < b.agent));
    }
    Ok(())
}

/// Each conflict comes of a transition of its height, and each report made one.
fn opened(log: &[Entry], conflicts: &Conflicts) -> Result<(), TestCaseError> {
    for (id, conflict) in conflicts {
        let opens = |entry: &&Entry| {
            (entry.height, entry.at) == (conflict.opened_height, conflict.opened_at)
                && entry.signers.author().id() == conflict.reporter
                && opens(entry, conflict)
        };
        prop_assert_eq!(log.iter().filter(opens).count(), 1, "what opened {}", id);
    }
    let reports = log.iter().filter(|entry| matches!(entry.transition, Transition::ConflictReport(_)));
    let by_report = conflicts.values().filter(|of| of.kind != ConflictKind::ConflictingAlliances);
    prop_assert_eq!(reports.count(), by_report.count());
    Ok(())
}

/// Whether a transition is about what a conflict is about.
fn opens(entry: &Entry, conflict: &Conflict) -> bool {
    let later = conflict.options.last().and_then(|option| option.alliance);
    match &entry.transition {
        Transition::ConflictReport(report) => {
            let claims: Vec<_> = conflict.options.iter().filter_map(|option| option.claim.clone()).collect();
            let fact = report.fact.as_ref();
            conflict.subject.divergence == report.divergence
                && claims == fact.map(|of| of.claims.clone()).unwrap_or_default()
                && conflict.subject.fact.map(|of| of.agent) == fact.map(|of| of.agent)
                && later.is_none()
        }
        Transition::AllianceFormation(_) => later == Some(entry.id.into()),
        Transition::AllianceReconciliation(revival) => later == Some(revival.alliance),
        _ => false,
    }
}

/// What electors have said is what the log says that they did.
fn opinions(log: &[Entry], conflicts: &Conflicts) -> Result<(), TestCaseError> {
    let mut said: BTreeMap<(ConflictId, AgentId), Vec<u8>> = BTreeMap::new();
    for entry in log {
        if let Transition::OpinionCast(opinion) = &entry.transition {
            said.entry((opinion.conflict, entry.signers.author().id())).or_default().push(opinion.option);
        }
    }
    for (id, conflict) in conflicts {
        for elector in &conflict.electors {
            let want = match said.remove(&(*id, elector.agent)).unwrap_or_default()[..] {
                [] => (None, false),
                [one] => (Some(one), false),
                [one, other] if one != other => (None, true),
                _ => return Err(TestCaseError::fail("said too often")),
            };
            prop_assert_eq!((elector.opinion, elector.voided), want);
        }
    }
    prop_assert!(said.is_empty(), "somebody who is no elector");
    Ok(())
}
