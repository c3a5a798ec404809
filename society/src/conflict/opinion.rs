//! Opinions on a conflict, and the request to evaluate it.

use chaoschain_schemas::ConflictId;
use chaoschain_schemas::society::{Conflict, ConflictKind, ConflictResolution, Elector, OpinionCast};
use chaoschain_state::{Changes, View};

use super::settle::{competing, settle};
use super::{ConflictError, decide, decide_early};
use crate::{Context, SocietyError, agent, keys};

/// The conflict, if it is open.
fn load_open(view: &dyn View, id: &ConflictId) -> Result<Conflict, ConflictError> {
    let conflict: Conflict = view.record(&keys::conflict(id)).ok_or(ConflictError::Unknown(*id))?;
    if conflict.kind == ConflictKind::DivergentTransitions {
        return Err(ConflictError::NotVotable(*id));
    }
    if conflict.outcome.is_some() {
        return Err(ConflictError::Decided(*id));
    }
    Ok(conflict)
}

pub(crate) fn verify_opinion(
    context: &Context<'_>,
    view: &dyn View,
    opinion: &OpinionCast,
) -> Result<(), SocietyError> {
    agent::check_exists(view, &context.author)?;
    let (id, option) = (opinion.conflict, opinion.option);
    let conflict = load_open(view, &id)?;
    if context.now() >= conflict.deadline {
        let (deadline, now) = (conflict.deadline, context.now());
        return Err(ConflictError::Over { conflict: id, deadline, now }.into());
    }
    let place = conflict.electors.binary_search_by_key(&context.author, |elector| elector.agent);
    let Ok(elector) = place.map(|place| conflict.electors[place]) else {
        return Err(ConflictError::ElectorRequired { agent: context.author, conflict: id }.into());
    };
    if usize::from(option) >= conflict.options.len() {
        let last = conflict.options.len().saturating_sub(1) as u8;
        return Err(ConflictError::OptionUnknown { option, last }.into());
    }
    match elector {
        Elector { voided: true, .. } => Err(ConflictError::OpinionVoided(id).into()),
        Elector { opinion: Some(said), .. } if said == option => {
            Err(ConflictError::OpinionTaken(option).into())
        }
        _ => Ok(()),
    }
}

pub(crate) fn apply_opinion(context: &Context<'_>, changes: &mut Changes<'_>, opinion: &OpinionCast) {
    let key = keys::conflict(&opinion.conflict);
    let Some(mut conflict) = changes.view().record::<Conflict>(&key) else { return };
    let place = conflict.electors.binary_search_by_key(&context.author, |elector| elector.agent);
    let Some(elector) = place.ok().and_then(|place| conflict.electors.get_mut(place)) else { return };
    if elector.opinion.take().is_some() {
        elector.voided = true;
    } else {
        elector.opinion = Some(opinion.option);
    }
    let competing = competing(changes.view(), &opinion.conflict, &conflict, context.now());
    match decide_early(&conflict, &competing) {
        Some(decision) => settle(context.block, changes, opinion.conflict, conflict, decision, competing),
        None => changes.put(&key, &conflict),
    }
}

pub(crate) fn verify_resolution(
    context: &Context<'_>,
    view: &dyn View,
    asked: &ConflictResolution,
) -> Result<(), SocietyError> {
    agent::check_exists(view, &context.author)?;
    let id = asked.conflict;
    let conflict = load_open(view, &id)?;
    let competing = competing(view, &id, &conflict, context.now());
    match decide(&conflict, context.now(), &competing) {
        Some(_) => Ok(()),
        None => Err(ConflictError::Undecided { conflict: id, deadline: conflict.deadline }.into()),
    }
}

pub(crate) fn apply_resolution(context: &Context<'_>, changes: &mut Changes<'_>, asked: &ConflictResolution) {
    let id = asked.conflict;
    let Some(conflict) = changes.view().record::<Conflict>(&keys::conflict(&id)) else { return };
    let competing = competing(changes.view(), &id, &conflict, context.now());
    if let Some(decision) = decide(&conflict, context.now(), &competing) {
        settle(context.block, changes, id, conflict, decision, competing);
    }
}
