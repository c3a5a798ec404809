//! Changes that wait for their height.
//!
//! A change takes effect at the start of the first block at or above its height, before the block's events. What can be
//! done no more by then is dropped: an account's grant that would leave the chain without a producer or a quorum, or the
//! next rules when others came into force first. All of a change is dropped or none of it.
//!
//! # Invariants
//! The domain's parameters are judged by the rules that they come into force with. Before those are in force nobody judges
//! them, not even a build that knows them: one that does not has to come to the same verdict. When they come into force,
//! every build that goes on knows them.

use chaoschain_schemas::Height;
use chaoschain_schemas::control::{ParameterChange, RoleGrant, Schedule, Scheduled, kind};
use chaoschain_schemas::limits::{SCHEDULE_AHEAD_MAX, SCHEDULED_MAX};

use super::governance::rules_after;
use super::keys;
use super::standing::Standing;
use crate::domain::{BlockContext, Machine};
use crate::rejection::Rejection;
use crate::view::{Changes, View};

/// What is scheduled; nothing where there is no record.
pub(super) fn read(view: &dyn View) -> Schedule {
    view.record(&keys::schedule()).unwrap_or_default()
}

/// Of what is scheduled, what takes effect at `height`.
pub(super) fn due(schedule: &Schedule, height: Height) -> &[Scheduled] {
    &schedule.changes[..schedule.changes.partition_point(|change| change.at <= height)]
}

/// The change of parameters that `scheduled` is, if it is one.
pub(super) fn parameter_change(view: &dyn View, scheduled: &Scheduled) -> Option<ParameterChange> {
    let is_one = scheduled.kind == kind::PARAMETER_CHANGE;
    is_one.then(|| view.parse(&keys::schedule(), &scheduled.payload)).flatten()
}

/// The schedule with one change more, if it could take effect after all that comes before it.
pub(super) fn with(
    machine: &dyn Machine,
    view: &dyn View,
    block: &BlockContext,
    scheduled: Scheduled,
) -> Result<Schedule, Rejection> {
    let (first, last) = (block.height.next(), Height(block.height.0.saturating_add(SCHEDULE_AHEAD_MAX)));
    if scheduled.at < first || scheduled.at > last {
        return Err(Rejection::ScheduleHeightWrong { at: scheduled.at, first, last });
    }
    let mut schedule = read(view);
    if schedule.changes.len() >= SCHEDULED_MAX {
        return Err(Rejection::ScheduleFull);
    }
    let place = schedule.changes.partition_point(|change| change.at <= scheduled.at);
    let mut standing = Standing::of(view);
    let mut apply = |change: &Scheduled| apply(machine, block.rules, view, &mut standing, change);
    for earlier in &schedule.changes[..place] {
        // What cannot take effect then does not count.
        let _ = apply(earlier);
    }
    apply(&scheduled)?;
    schedule.changes.insert(place, scheduled);
    Ok(schedule)
}

/// Brings into force what is due at the start of `block`, whose context tells parameters and rules.
pub(super) fn take_effect(machine: &dyn Machine, block: &BlockContext, changes: &mut Changes<'_>) {
    let mut schedule = read(changes.view());
    let count = due(&schedule, block.height).len();
    if count == 0 {
        return;
    }
    let view = changes.view();
    let mut standing = Standing::of(view);
    for change in schedule.changes.drain(..count) {
        let _ = apply(machine, machine.rules(), view, &mut standing, &change);
    }
    let decided = standing.into_changed(block.height);
    decided.write(changes);
    changes.put(&keys::parameters(), &block.parameters);
    changes.set(&keys::domain_parameters(), Some(block.domain_parameters.bytes().clone()));
    if schedule.changes.is_empty() {
        changes.remove(&keys::schedule());
    } else {
        changes.put(&keys::schedule(), &schedule);
    }
}

/// What a change does to roles, weights and the version of the rules; those up to version `judged` judge parameters.
fn apply(
    machine: &dyn Machine,
    judged: u16,
    view: &dyn View,
    standing: &mut Standing<'_>,
    scheduled: &Scheduled,
) -> Result<(), Rejection> {
    if let Some(change) = parameter_change(view, scheduled) {
        standing.chain.rules = rules_after(machine, &change, standing.chain.rules, judged)?;
        return Ok(());
    }
    match view.parse::<RoleGrant>(&keys::schedule(), &scheduled.payload) {
        Some(grant) => standing.grant(&grant),
        None => Ok(()),
    }
}
