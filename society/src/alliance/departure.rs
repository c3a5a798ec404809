//! Departure.

use chaoschain_schemas::limits::ALLIANCE_MEMBERS_MIN;
use chaoschain_schemas::society::{
    Alliance, AllianceDeparture, AllianceEnd, AllianceEndCause, Conflict, DramaKind, DueKind,
};
use chaoschain_state::{Changes, View};

use super::{dissolve, end::drop_membership, load_own};
use crate::{Context, SocietyError, agent, drama, due, keys};

pub(crate) fn verify_departure(
    context: &Context<'_>,
    view: &dyn View,
    departure: &AllianceDeparture,
) -> Result<(), SocietyError> {
    drama::check_level(departure.drama)?;
    agent::check_exists(view, &context.author)?;
    let id = departure.alliance;
    let alliance = load_own(context, view, &id)?;
    // Nobody is held in an alliance because somebody contests it. Once the deadline is there, it is what stood then that
    // is decided on.
    match alliance.conflict.and_then(|conflict| view.record::<Conflict>(&keys::conflict(&conflict))) {
        Some(conflict) if context.now() >= conflict.deadline => Err(SocietyError::AllianceContested(id)),
        _ => Ok(()),
    }
}

/// The last two stay in the record when one of them leaves: together they may revive the alliance.
pub(crate) fn apply_departure(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    departure: &AllianceDeparture,
) {
    let (id, author) = (departure.alliance, context.author);
    let Some(mut alliance) = changes.view().record::<Alliance>(&keys::alliance(&id)) else { return };
    if alliance.members.len() <= ALLIANCE_MEMBERS_MIN {
        let cause = AllianceEndCause::Departure;
        dissolve(changes, id, alliance, AllianceEnd { at: context.now(), cause, by: Some(author) });
    } else {
        alliance.members.retain(|member| *member != author);
        drop_membership(changes, &author, &id);
        let work = alliance.members.len() as u32;
        due::put(changes, alliance.expires_at, DueKind::AllianceExpiry, id.as_bytes(), work);
        changes.put(&keys::alliance(&id), &alliance);
    }
    if departure.drama > 0 {
        let kind = DramaKind::DramaticBreakup;
        drama::note(context, changes, kind, &departure.reason, departure.drama, Some(id));
    }
}
