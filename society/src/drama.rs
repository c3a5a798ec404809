//! Drama events.

use chaoschain_schemas::society::DramaRecord;
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError};

pub(crate) fn verify_record(
    context: &Context<'_>,
    view: &dyn View,
    record: &DramaRecord,
) -> Result<(), SocietyError> {
    let _ = (view, record);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_record(context: &Context<'_>, changes: &mut Changes<'_>, record: &DramaRecord) {
    let _ = (context, changes, record);
}
