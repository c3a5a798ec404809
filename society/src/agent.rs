//! Registration and status.

use chaoschain_schemas::society::{
    Agent, AgentCount, AgentRegistration, AgentStatus, PersonalityShift, StatusUpdate,
};
use chaoschain_schemas::{AgentId, Fixed, Micros};
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError, keys};

/// Checks that `id` is an agent, without reading what it is like.
pub(crate) fn check_exists(view: &dyn View, id: &AgentId) -> Result<(), SocietyError> {
    view.get(&keys::agent(id)).map(drop).ok_or(SocietyError::AgentUnknown(*id))
}

pub(crate) fn load(view: &dyn View, id: &AgentId) -> Result<Agent, SocietyError> {
    view.record(&keys::agent(id)).ok_or(SocietyError::AgentUnknown(*id))
}

pub(crate) fn verify_registration(context: &Context<'_>, view: &dyn View) -> Result<(), SocietyError> {
    match check_exists(view, &context.author) {
        Ok(()) => Err(SocietyError::AgentExists(context.author)),
        Err(_) => Ok(()),
    }
}

pub(crate) fn apply_registration(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    registration: &AgentRegistration,
) {
    let count: AgentCount = changes.view().record(&keys::agent_count()).unwrap_or_default();
    let agent = Agent {
        personality: registration.personality,
        reputation: Fixed::HALF,
        influence: Fixed::HALF,
        status: AgentStatus::Active,
        status_reason: String::new(),
        status_since: context.now(),
        status_expected: None,
        alliances: Vec::new(),
        registered_at: context.now(),
        ordinal: count.agents,
        betrayed_at: None,
    };
    changes.put(&keys::agent(&context.author), &agent);
    changes.put(&keys::agent_count(), &AgentCount { agents: count.agents.saturating_add(1) });
}

pub(crate) fn verify_status(
    context: &Context<'_>,
    view: &dyn View,
    update: &StatusUpdate,
) -> Result<(), SocietyError> {
    check_exists(view, &context.author)?;
    match (update.status, update.expected) {
        (AgentStatus::Suspended, _) => Err(SocietyError::StatusReserved),
        (AgentStatus::Maintenance, Some(Micros(1..)))
        | (AgentStatus::Active | AgentStatus::Inactive, None) => Ok(()),
        _ => Err(SocietyError::StatusDuration),
    }
}

pub(crate) fn apply_status(context: &Context<'_>, changes: &mut Changes<'_>, update: &StatusUpdate) {
    let key = keys::agent(&context.author);
    let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
    agent.status = update.status;
    agent.status_reason.clone_from(&update.reason);
    agent.status_since = context.now();
    agent.status_expected = update.expected;
    changes.put(&key, &agent);
}

pub(crate) fn verify_shift(
    context: &Context<'_>,
    view: &dyn View,
    shift: &PersonalityShift,
) -> Result<(), SocietyError> {
    let _ = (view, shift);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_shift(context: &Context<'_>, changes: &mut Changes<'_>, shift: &PersonalityShift) {
    let _ = (context, changes, shift);
}
