//! Drama events: what agents record, and what comes of what they do.

use chaoschain_schemas::AllianceId;
use chaoschain_schemas::limits::DRAMA_MAX;
use chaoschain_schemas::society::{DramaEvent, DramaKind, DramaRecord};
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError, agent, keys};

/// Checks that a drama level is one.
pub(crate) fn check_level(level: u8) -> Result<(), SocietyError> {
    if level > DRAMA_MAX { Err(SocietyError::DramaOutOfRange(level)) } else { Ok(()) }
}

/// Writes down the drama of this transition, of which there is at most one: its place is the transition's.
pub(crate) fn note(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    kind: DramaKind,
    text: &str,
    level: u8,
    alliance: Option<AllianceId>,
) {
    let (agent, at) = (context.author, context.now());
    let event = DramaEvent { kind, agent, text: text.to_owned(), level, at, alliance };
    changes.put(&keys::drama(context.address), &event);
}

pub(crate) fn verify_record(
    context: &Context<'_>,
    view: &dyn View,
    record: &DramaRecord,
) -> Result<(), SocietyError> {
    check_level(record.level)?;
    match record.kind {
        DramaKind::Drama | DramaKind::Chaos => agent::check_exists(view, &context.author),
        kind => Err(SocietyError::DramaKind(kind)),
    }
}

pub(crate) fn apply_record(context: &Context<'_>, changes: &mut Changes<'_>, record: &DramaRecord) {
    note(context, changes, record.kind, &record.text, record.level, None);
}
