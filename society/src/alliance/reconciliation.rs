//! Reconciliation.

use chaoschain_schemas::society::{
    Alliance, AllianceEnd, AllianceEndCause, AllianceReconciliation, AllianceState, DramaKind,
};
use chaoschain_state::{Changes, View};

use super::pact::Pact;
use crate::{Context, SocietyError, check_distinct, drama, formula, keys, relationship};

impl<'a> From<&'a Alliance> for Pact<'a> {
    fn from(alliance: &'a Alliance) -> Self {
        let Alliance { members, purpose, terms, exclusive, .. } = alliance;
        Self { members, purpose, terms, exclusive: *exclusive }
    }
}

pub(crate) fn verify_reconciliation(
    context: &Context<'_>,
    view: &dyn View,
    revival: &AllianceReconciliation,
) -> Result<(), SocietyError> {
    if !revival.members.contains(&context.author) {
        return Err(SocietyError::AuthorNotMember(context.author));
    }
    check_distinct("members", &revival.members)?;
    let id = revival.alliance;
    let alliance: Alliance = view.record(&keys::alliance(&id)).ok_or(SocietyError::AllianceUnknown(id))?;
    if end_to_mend(&alliance).is_none() {
        return Err(SocietyError::AllianceNotDissolved(id));
    }
    let mut members = revival.members.clone();
    members.sort_unstable();
    if members != alliance.members {
        return Err(SocietyError::MembersDiffer(id));
    }
    Pact::from(&alliance).check(context, view, id)
}

/// The end that reconciliation undoes, where the alliance came to such a one.
fn end_to_mend(alliance: &Alliance) -> Option<AllianceEnd> {
    let mends =
        |end: &AllianceEnd| matches!(end.cause, AllianceEndCause::Departure | AllianceEndCause::Betrayal);
    alliance.end.filter(|end| alliance.state == AllianceState::Dissolved && mends(end))
}

/// Trust in a traitor is mended first, so the alliance is as strong as its members are now.
pub(crate) fn apply_reconciliation(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    revival: &AllianceReconciliation,
) {
    let id = revival.alliance;
    let Some(alliance) = changes.view().record::<Alliance>(&keys::alliance(&id)) else { return };
    if let Some(AllianceEnd { cause: AllianceEndCause::Betrayal, by: Some(traitor), .. }) = alliance.end {
        for member in alliance.members.iter().filter(|member| **member != traitor) {
            let pair = (member, &traitor);
            relationship::touch(context, changes, pair, formula::FORGIVENESS, |counts| {
                &mut counts.reconciliations
            });
        }
    }
    Pact::from(&alliance).establish(context, changes, id);
    drama::note(context, changes, DramaKind::Reconciliation, "", 0, Some(id));
}
