//! Who may vote on a conflict: everybody eligible, or a sample that is drawn from the block before.

use std::collections::{BTreeMap, BTreeSet};

use chaoschain_schemas::control::Account;
use chaoschain_schemas::limits::{CONFLICT_DRAWS_MAX, CONFLICT_ELECTORS_MAX};
use chaoschain_schemas::society::{
    Agent, AgentCount, AgentOrdinal, AgentStatus, ConflictKind, Elector, Strategy,
};
use chaoschain_schemas::{AgentId, ConflictId, Hash, Purpose};
use chaoschain_state::View;
use chaoschain_state::control::keys as control_keys;

use super::weight::{Standing, weight};
use crate::{Context, keys};

/// The ordinal of draw number `draw` among `agents`, which is not 0.
///
/// It is the first 8 bytes, big-endian, of the keyed BLAKE3 for `draw` over parent hash, conflict id and number of the
/// draw (u32, big-endian), modulo `agents`. The remainder favours low ordinals by less than `agents` / 2⁶⁴.
pub fn drawn_ordinal(parent: &Hash, conflict: &ConflictId, draw: u32, agents: u64) -> u64 {
    let mut hasher = Purpose::Draw.hasher();
    hasher.update(parent.as_bytes()).update(conflict.as_bytes()).update(&draw.to_be_bytes());
    let first = hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) % agents
}

/// The electors of a conflict that opens now, ascending by id, each with its weight.
///
/// Of at most [`CONFLICT_ELECTORS_MAX`] agents all that are eligible; of more, those that up to [`CONFLICT_DRAWS_MAX`]
/// draws hit, until there are so many. An ordinal that was drawn before is skipped.
pub(super) fn electors(
    context: &Context<'_>,
    view: &dyn View,
    conflict: &ConflictId,
    (kind, strategy): (ConflictKind, Strategy),
    parties: &BTreeSet<AgentId>,
) -> Vec<Elector> {
    let AgentCount { agents } = view.record(&keys::agent_count()).unwrap_or_default();
    let mut electors = BTreeMap::new();
    let mut consider = |ordinal: u64| {
        if let Some((agent, standing)) = eligible(context, view, ordinal, parties) {
            let weight = weight(strategy, kind, &standing, context.parameters);
            electors.insert(agent, Elector { agent, weight, opinion: None, voided: false });
        }
        electors.len()
    };
    if agents <= CONFLICT_ELECTORS_MAX as u64 {
        for ordinal in 0..agents {
            consider(ordinal);
        }
    } else {
        let mut drawn = BTreeSet::new();
        for draw in 0..CONFLICT_DRAWS_MAX {
            let ordinal = drawn_ordinal(&context.block.parent, conflict, draw, agents);
            if drawn.insert(ordinal) && consider(ordinal) == CONFLICT_ELECTORS_MAX {
                break;
            }
        }
    }
    electors.into_values().collect()
}

/// The agent of an ordinal, if it may vote: active, not suspended, old enough, no party.
fn eligible(
    context: &Context<'_>,
    view: &dyn View,
    ordinal: u64,
    parties: &BTreeSet<AgentId>,
) -> Option<(AgentId, Standing)> {
    let AgentOrdinal { agent: id } = view.record(&keys::ordinal(ordinal))?;
    if parties.contains(&id) {
        return None;
    }
    let agent: Agent = view.record(&keys::agent(&id))?;
    let age = context.now().since(agent.registered_at);
    if agent.status != AgentStatus::Active || age < context.parameters.elector_age_min {
        return None;
    }
    let account: Account = view.record(&control_keys::account(&id))?;
    (!account.suspended).then(|| (id, Standing::of(&agent, context.now())))
}
