//! What is due comes to the same, whether each thing has a block at its very time or the blocks come late.

use chaoschain_schemas::limits::DUE_WORK_MAX;
use chaoschain_schemas::society::{
    Agent, Alliance, AllianceEndCause, AllianceState, Conflict, ConflictOutcome, Due, DueKind,
};
use chaoschain_schemas::{AllianceId, Micros, codec};
use chaoschain_society::keys;
use proptest::prelude::*;

use super::History;
use super::invariants::{id_in, records};
use super::steps::{Step, What};
use crate::support::*;

/// What leaves much to become due.
pub(super) fn busy() -> Vec<What> {
    use What::*;
    vec![Ally, Ally, Ally, Ally, Report, Report, Opine, Opine, Opine, Leave, Shift, Status, Rate]
}

/// Some steps at times close to one another; then nobody does anything any more.
fn played(steps: &[Step]) -> World {
    let (early, rest) = steps.split_at(steps.len() / 3);
    let old_enough = |what, minutes| Step { what, minutes, ..steps[0].clone() };
    let pauses = rest.iter().flat_map(|step| [step.clone(), old_enough(What::Pass, step.minutes / 20)]);
    let mut all = early.to_vec();
    all.push(old_enough(What::Pass, 40));
    all.extend(pauses);
    let mut world = History::of(2, &all).world;
    world.happen(Given::Block);
    world
}

/// `leaps` are what passes between blocks of the late world, in minutes; `in_between` when else in it a block's whole
/// share is used up, so that the rest waits for the next.
pub(super) fn check(steps: &[Step], leaps: &[u64], in_between: &[u64]) -> Result<(), TestCaseError> {
    let (mut in_time, mut late) = (played(steps), played(steps));
    while let Some(due) = in_time.next_due() {
        in_time.now = in_time.now.max(due);
        in_time.happen(Given::Block);
    }
    for (id, minutes) in (0..).zip(in_between) {
        let time = late.now.saturating_add(Micros(minutes * HOUR / 60));
        let due = codec::encode(&Due { work: DUE_WORK_MAX });
        late.happen(Given::Record(keys::due(time, DueKind::AllianceExpiry, &[id; 32]), due.into()));
    }
    for leap in leaps.iter().cycle() {
        if late.next_due().is_none() {
            break;
        }
        late.happen(passed(leap * HOUR / 60));
        late.happen(Given::Block);
    }
    conflicts(&in_time, &late)?;
    alliances(&in_time, &late)?;
    let facts = |world: &World| {
        let agents = records::<Agent>(world, keys::AGENTS, 1).into_iter();
        agents.map(|(_, of)| (of.personality, of.status, of.reputation, of.alliances)).collect::<Vec<_>>()
    };
    prop_assert_eq!(facts(&in_time), facts(&late));
    Ok(())
}

/// Every outcome is the same but for when it came.
fn conflicts(in_time: &World, late: &World) -> Result<(), TestCaseError> {
    let all = |world: &World| records::<Conflict>(world, keys::SOCIAL, 6);
    for ((key, one), (_, other)) in all(in_time).into_iter().zip(all(late)) {
        let (Some(one), Some(other)) = (one.outcome, other.outcome) else {
            return Err(TestCaseError::fail("a conflict stays open"));
        };
        prop_assert!(one.at <= other.at);
        let ConflictOutcome { at, height, .. } = one;
        prop_assert_eq!(one, ConflictOutcome { at, height, ..other }, "conflict {}", key);
    }
    Ok(())
}

/// Every alliance ends as it would have. Who loses late may have expired meanwhile, and then it is not dissolved.
fn alliances(in_time: &World, late: &World) -> Result<(), TestCaseError> {
    let all = |world: &World| records::<Alliance>(world, keys::SOCIAL, 1);
    for ((key, one), (_, other)) in all(in_time).into_iter().zip(all(late)) {
        let id = AllianceId::new(id_in(&key));
        let lost = one.end.is_some_and(|end| end.cause == AllianceEndCause::Conflict);
        if !lost || one == other {
            prop_assert_eq!(one, other, "alliance {}", id);
            continue;
        }
        let mut decided = records::<Conflict>(late, keys::SOCIAL, 6)
            .into_iter()
            .filter(|(_, conflict)| conflict.options.iter().any(|option| option.alliance == Some(id)))
            .filter_map(|(_, conflict)| conflict.outcome);
        let end = other.end.map(|end| (end.at, end.cause));
        if other.state == AllianceState::Expired {
            prop_assert_eq!(end, None);
            prop_assert!(decided.any(|outcome| outcome.at >= other.expires_at));
        } else {
            let (at, cause) = end.unwrap();
            prop_assert_eq!((other.state, cause), (AllianceState::Dissolved, AllianceEndCause::Conflict));
            prop_assert!(at < other.expires_at && decided.any(|outcome| outcome.at == at));
        }
    }
    Ok(())
}
