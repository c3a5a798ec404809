//! Formation of alliances.

use chaoschain_schemas::limits::AGENT_ALLIANCES_MAX;
use chaoschain_schemas::society::{
    Agent, Alliance, AllianceBetrayal, AllianceDeparture, AllianceFormation, AllianceReconciliation,
    AllianceState, Membership,
};
use chaoschain_schemas::{AccountId, AllianceId, Fixed, Timestamp};
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError, agent, check_distinct, keys};

/// Whether an alliance that expires then is still in force now.
pub(crate) fn is_live(expires_at: Timestamp, now: Timestamp) -> bool {
    now < expires_at
}

/// The members besides the author, ascending.
pub(crate) fn parties(members: &[AccountId], author: &AccountId) -> Vec<AccountId> {
    let mut parties: Vec<_> = members.iter().copied().filter(|member| member != author).collect();
    parties.sort_unstable();
    parties
}

pub(crate) fn verify_formation(
    context: &Context<'_>,
    view: &dyn View,
    formation: &AllianceFormation,
) -> Result<(), SocietyError> {
    if !formation.members.contains(&context.author) {
        return Err(SocietyError::AuthorNotMember(context.author));
    }
    check_distinct("members", &formation.members)?;
    check_distinct("benefits", &formation.terms.benefits)?;
    let (got, max) = (formation.terms.duration, context.parameters.alliance_duration_max);
    if got.0 == 0 || got > max {
        return Err(SocietyError::AllianceDuration { got, max });
    }
    let purpose = formation.purpose.hash();
    for member in &formation.members {
        let alliances = agent::load(view, member)?.alliances;
        let live = || alliances.iter().filter(|membership| is_live(membership.expires_at, context.now()));
        if live().count() >= AGENT_ALLIANCES_MAX {
            return Err(SocietyError::AllianceLimit(*member));
        }
        if formation.exclusive
            && let Some(other) = live().find(|membership| membership.exclusive_for == Some(purpose))
        {
            return Err(SocietyError::AllianceOverlap { member: *member, alliance: other.id });
        }
    }
    Ok(())
}

pub(crate) fn apply_formation(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    formation: &AllianceFormation,
) {
    let id = context.id.into();
    let expires_at = context.now().saturating_add(formation.terms.duration);
    let exclusive_for = formation.exclusive.then(|| formation.purpose.hash());
    let mut members = formation.members.clone();
    members.sort_unstable();
    for member in &members {
        let key = keys::agent(member);
        let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
        agent.alliances.retain(|membership| is_live(membership.expires_at, context.now()));
        agent.alliances.push(Membership {
            id,
            expires_at,
            exclusive_for,
            benefits: formation.terms.benefits.clone(),
            strength: Fixed::ZERO,
            contested: false,
        });
        changes.put(&key, &agent);
    }
    let alliance = Alliance {
        members,
        purpose: formation.purpose.clone(),
        terms: formation.terms.clone(),
        exclusive: formation.exclusive,
        state: AllianceState::Active,
        formed_at: context.now(),
        expires_at,
        strength: Fixed::ZERO,
        conflict: None,
        end: None,
    };
    changes.put(&keys::alliance(&id), &alliance);
}

pub(crate) fn verify_departure(
    context: &Context<'_>,
    view: &dyn View,
    departure: &AllianceDeparture,
) -> Result<(), SocietyError> {
    let _ = (view, departure);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_departure(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    departure: &AllianceDeparture,
) {
    let _ = (context, changes, departure);
}

pub(crate) fn verify_betrayal(
    context: &Context<'_>,
    view: &dyn View,
    betrayal: &AllianceBetrayal,
) -> Result<(), SocietyError> {
    let _ = (view, betrayal);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_betrayal(context: &Context<'_>, changes: &mut Changes<'_>, betrayal: &AllianceBetrayal) {
    let _ = (context, changes, betrayal);
}

pub(crate) fn verify_reconciliation(
    context: &Context<'_>,
    view: &dyn View,
    revival: &AllianceReconciliation,
) -> Result<(), SocietyError> {
    let _ = (view, revival);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_reconciliation(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    revival: &AllianceReconciliation,
) {
    let _ = (context, changes, revival);
}

/// Ends an alliance whose time is over; called by the due queue.
pub(crate) fn expire(changes: &mut Changes<'_>, id: AllianceId) {
    let _ = (changes, id);
}
