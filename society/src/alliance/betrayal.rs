//! Betrayal.

use chaoschain_schemas::society::{
    Agent, Alliance, AllianceBetrayal, AllianceEnd, AllianceEndCause, AllianceState, DramaKind,
};
use chaoschain_state::{Changes, View};

use super::{dissolve, load_own};
use crate::{Context, SocietyError, agent, drama, formula, keys, relationship};

pub(crate) fn verify_betrayal(
    context: &Context<'_>,
    view: &dyn View,
    betrayal: &AllianceBetrayal,
) -> Result<(), SocietyError> {
    drama::check_level(betrayal.drama)?;
    agent::check_exists(view, &context.author)?;
    let id = betrayal.alliance;
    match load_own(context, view, &id)?.state {
        // One member could otherwise decide the conflict for the rival.
        AllianceState::Contested => Err(SocietyError::AllianceContested(id)),
        _ => Ok(()),
    }
}

pub(crate) fn apply_betrayal(context: &Context<'_>, changes: &mut Changes<'_>, betrayal: &AllianceBetrayal) {
    let (id, traitor) = (betrayal.alliance, context.author);
    let Some(alliance) = changes.view().record::<Alliance>(&keys::alliance(&id)) else { return };
    let delta = formula::trust_by_betrayal(betrayal.drama);
    for member in alliance.members.iter().filter(|member| **member != traitor) {
        relationship::touch(context, changes, (member, &traitor), delta, |counts| &mut counts.betrayals);
    }
    let cause = AllianceEndCause::Betrayal;
    dissolve(changes, id, alliance, AllianceEnd { at: context.now(), cause, by: Some(traitor) });
    if context.block.rules >= 2 {
        let key = keys::agent(&traitor);
        let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
        agent.betrayed_at = Some(context.now());
        changes.put(&key, &agent);
    }
    let kind = DramaKind::Betrayal;
    drama::note(context, changes, kind, &betrayal.description, betrayal.drama, Some(id));
}
