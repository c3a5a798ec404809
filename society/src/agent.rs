//! Registration, status and personality.

use chaoschain_schemas::society::{
    Agent, AgentCount, AgentOrdinal, AgentRegistration, AgentStatus, DramaKind, PersonalityHistory,
    PersonalityShift, StatusUpdate,
};
use chaoschain_schemas::{AgentId, Fixed, Micros};
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError, drama, keys};

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
    changes.put(&keys::ordinal(count.agents), &AgentOrdinal { agent: context.author });
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
    drama::check_level(shift.drama)?;
    match load(view, &context.author)?.personality {
        same if same == shift.personality => Err(SocietyError::PersonalityUnchanged(same)),
        _ => Ok(()),
    }
}

pub(crate) fn apply_shift(context: &Context<'_>, changes: &mut Changes<'_>, shift: &PersonalityShift) {
    let (key, history_key) = (keys::agent(&context.author), keys::personality(&context.author));
    let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
    let before: Option<PersonalityHistory> = changes.view().record(&history_key);
    let history = PersonalityHistory {
        count: before.map_or(0, |before| before.count).saturating_add(1),
        old: agent.personality,
        new: shift.personality,
        reason: shift.reason.clone(),
        drama: shift.drama,
        changed_at: context.now(),
    };
    agent.personality = shift.personality;
    changes.put(&key, &agent);
    changes.put(&history_key, &history);
    if shift.drama > 0 {
        drama::note(context, changes, DramaKind::PersonalityShift, &shift.reason, shift.drama, None);
    }
}
