//! Reads about conflicts. The tally is counted again from the record each time, also when a proof is verified offline.

use chaoschain_schemas::society::{Conflict, ContestedFact, ContestedField, OpenConflict};
use chaoschain_schemas::{AgentId, ConflictId, Fixed, Timestamp, code_enum};
use chaoschain_state::View;
use chaoschain_state::domain::ReadSpec;
use serde::Serialize;

use super::{agrees, tally};
use crate::keys;

/// The reads of this file.
pub(crate) const READS: [ReadSpec; 2] = [
    ReadSpec { name: "conflict", arguments: &["id"], help: "A conflict, and its tally counted again" },
    ReadSpec {
        name: "open-conflict",
        arguments: &["agent", "field"],
        help: "The open conflict about a fact: Personality, Status or Reputation of an agent",
    },
];

code_enum! {
    /// How a conflict stands.
    Stage {
        /// Opinions are taken.
        Open = 0,
        /// The deadline has come, and the due queue will decide.
        Over = 1,
        /// It has an outcome.
        Decided = 2,
        /// Nobody votes on it.
        Evidence = 3,
    }
}

#[derive(Serialize)]
pub(crate) struct ConflictView {
    id: ConflictId,
    stage: Stage,
    #[serde(flatten)]
    conflict: Conflict,
    tally: TallyView,
}

#[derive(Serialize)]
struct TallyView {
    weights: Vec<u64>,
    total: u64,
    participation: Fixed,
    all_spoken: bool,
    agrees: Option<bool>,
}

#[derive(Serialize)]
pub(crate) struct OpenConflictView {
    agent: AgentId,
    field: ContestedField,
    conflict: ConflictId,
}

/// A conflict with its tally; it reads one record.
pub(crate) fn conflict(id: ConflictId, now: Timestamp, view: &dyn View) -> Option<ConflictView> {
    let conflict: Conflict = view.record(&keys::conflict(&id))?;
    let counted = tally(&conflict);
    let stage = match (&conflict.outcome, conflict.options.is_empty()) {
        (_, true) => Stage::Evidence,
        (Some(_), false) => Stage::Decided,
        (None, false) if now < conflict.deadline => Stage::Open,
        (None, false) => Stage::Over,
    };
    let participation = counted.participation();
    Some(ConflictView {
        id,
        stage,
        tally: TallyView {
            weights: counted.weights,
            total: counted.total,
            participation,
            all_spoken: counted.all_spoken,
            agrees: agrees(&conflict),
        },
        conflict,
    })
}

/// The open conflict about a fact; it reads one record.
pub(crate) fn open_conflict(fact: ContestedFact, view: &dyn View) -> Option<OpenConflictView> {
    let OpenConflict { conflict } = view.record(&keys::open_conflict(&fact))?;
    let ContestedFact { agent, field } = fact;
    Some(OpenConflictView { agent, field, conflict })
}
