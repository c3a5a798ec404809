//! Formation.

use chaoschain_schemas::society::AllianceFormation;
use chaoschain_state::{Changes, View};

use super::pact::Pact;
use crate::{Context, SocietyError, check_distinct};

impl<'a> From<&'a AllianceFormation> for Pact<'a> {
    fn from(formation: &'a AllianceFormation) -> Self {
        let AllianceFormation { members, purpose, terms, exclusive } = formation;
        Self { members, purpose, terms, exclusive: *exclusive }
    }
}

pub(crate) fn verify_formation(
    context: &Context<'_>,
    view: &dyn View,
    formation: &AllianceFormation,
) -> Result<(), SocietyError> {
    check_distinct("benefits", &formation.terms.benefits)?;
    Pact::from(formation).check(context, view, context.id.into())
}

pub(crate) fn apply_formation(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    formation: &AllianceFormation,
) {
    Pact::from(formation).establish(context, changes, context.id.into());
}
