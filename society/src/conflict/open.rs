//! Opening a conflict: its record, its electorate, its deadline.

use std::collections::BTreeSet;

use chaoschain_schemas::limits::{CONFLICTS_OPEN_MAX, CONFLICTS_OPENED_MAX};
use chaoschain_schemas::society::{
    Agent, Alliance, AllianceState, Conflict, ConflictCounts, ConflictKind, ConflictOption, ConflictSubject,
    DueKind, Strategy,
};
use chaoschain_schemas::{AgentId, AllianceId, ConflictId, Timestamp};
use chaoschain_state::{Changes, View};

use super::ConflictError;
use super::electorate::electors;
use crate::{Context, SocietyError, due, keys};

/// Checks that a conflict may be opened in this block: neither too many in it nor too many open.
pub(super) fn check_room(context: &Context<'_>, view: &dyn View) -> Result<(), SocietyError> {
    let ConflictCounts { open, newest_height, newest_opened, .. } =
        view.record(&keys::conflict_counts()).unwrap_or_default();
    let opened = if newest_height == context.block.height { newest_opened } else { 0 };
    if open >= CONFLICTS_OPEN_MAX || opened >= CONFLICTS_OPENED_MAX {
        return Err(ConflictError::Busy { open, opened }.into());
    }
    Ok(())
}

/// Checks that two alliances may come into conflict in this block: there is room, and they did not do so in it before.
/// The same two at the same height are the same conflict, and what was decided stays.
pub(crate) fn check_alliances(
    context: &Context<'_>,
    view: &dyn View,
    earlier: AllianceId,
    later: AllianceId,
) -> Result<(), SocietyError> {
    check_room(context, view)?;
    check_new(view, &between(context, [earlier, later]))
}

/// Checks that no conflict of the same kind, subject, options and opening height is in the state.
pub(super) fn check_new(view: &dyn View, conflict: &Conflict) -> Result<(), SocietyError> {
    let id = conflict.id();
    match view.get(&keys::conflict(&id)) {
        Some(_) => Err(ConflictError::Exists(id).into()),
        None => Ok(()),
    }
}

/// The conflict between two alliances, the earlier-formed first, without electors.
fn between(context: &Context<'_>, alliances: [AllianceId; 2]) -> Conflict {
    let option = |id| ConflictOption { alliance: Some(id), claim: None };
    Conflict {
        kind: ConflictKind::ConflictingAlliances,
        options: alliances.map(option).into(),
        strategy: context.parameters.conflict_strategy,
        ..blank(context)
    }
}

/// Opens the conflict between two live exclusive alliances of one purpose, the earlier-formed first. Both records and
/// their members' memberships are written as contested by this call.
pub(crate) fn open_alliances(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    earlier: (AllianceId, Alliance),
    later: (AllianceId, Alliance),
) {
    let both = [earlier, later];
    let parties: BTreeSet<_> = both.iter().flat_map(|(_, alliance)| alliance.members.clone()).collect();
    let ids = both.each_ref().map(|(id, _)| *id);
    let mut conflict = between(context, ids);
    if context.block.rules >= 3 {
        // Decided while the earlier one still has the place that it is about, or the later one would win by waiting.
        let last = both[0].1.expires_at.0.saturating_sub(1);
        conflict.deadline = conflict.deadline.min(Timestamp(last));
    }
    let conflict = open(context, changes, conflict, &parties);
    for (id, mut alliance) in both {
        alliance.state = AllianceState::Contested;
        alliance.conflict = Some(conflict);
        changes.put(&keys::alliance(&id), &alliance);
    }
    for member in &parties {
        note_contest(changes, member, &ids, true);
    }
}

/// Notes with a member whether these alliances of its are contested.
pub(super) fn note_contest(changes: &mut Changes<'_>, member: &AgentId, ids: &[AllianceId], contested: bool) {
    let key = keys::agent(member);
    let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
    for membership in agent.alliances.iter_mut().filter(|membership| ids.contains(&membership.id)) {
        membership.contested = contested;
    }
    changes.put(&key, &agent);
}

/// A conflict that the author opens now, as far as parameters and block say it.
pub(super) fn blank(context: &Context<'_>) -> Conflict {
    let parameters = context.parameters;
    Conflict {
        kind: ConflictKind::DivergentTransitions,
        subject: ConflictSubject::default(),
        options: Vec::new(),
        strategy: Strategy::Majority,
        reporter: context.author,
        reason: String::new(),
        opened_height: context.block.height,
        opened_at: context.now(),
        deadline: context.now().saturating_add(parameters.conflict_duration),
        threshold: parameters.conflict_threshold,
        participation_min: parameters.conflict_participation_min,
        electors: Vec::new(),
        outcome: None,
    }
}

/// Fixes the electorate, writes the record, and puts the deadline into the due queue.
pub(super) fn open(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    mut conflict: Conflict,
    parties: &BTreeSet<AgentId>,
) -> ConflictId {
    let id = conflict.id();
    conflict.electors = electors(context, changes.view(), &id, (conflict.kind, conflict.strategy), parties);
    let work = conflict.electors.len() + parties.len();
    due::put(changes, conflict.deadline, DueKind::ConflictDeadline, id.as_bytes(), work as u32);
    changes.put(&keys::conflict(&id), &conflict);
    count(context, changes);
    id
}

/// Counts evidence, which is recorded and never open.
pub(super) fn count_evidence(changes: &mut Changes<'_>) {
    let key = keys::conflict_counts();
    let mut counts: ConflictCounts = changes.view().record(&key).unwrap_or_default();
    counts.opened = counts.opened.saturating_add(1);
    changes.put(&key, &counts);
}

/// Counts a conflict that was opened now.
fn count(context: &Context<'_>, changes: &mut Changes<'_>) {
    let key = keys::conflict_counts();
    let mut counts: ConflictCounts = changes.view().record(&key).unwrap_or_default();
    if counts.newest_height != context.block.height {
        counts.newest_height = context.block.height;
        counts.newest_opened = 0;
    }
    counts.newest_opened = counts.newest_opened.saturating_add(1);
    counts.opened = counts.opened.saturating_add(1);
    counts.open = counts.open.saturating_add(1);
    changes.put(&key, &counts);
}
