//! Who may vote on a conflict: everybody eligible, or a sample that is drawn by the hash of the block before.

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

/// A number below `agents`, which is not 0: that of draw number `draw`.
///
/// It is the first 8 bytes, big-endian, of the keyed BLAKE3 for `draw` over parent hash, conflict id and number of the
/// draw (u32, big-endian), modulo `agents`. The remainder favours low ordinals by less than `agents` / 2⁶⁴.
pub fn drawn_ordinal(parent: &Hash, conflict: &ConflictId, draw: u32, agents: u64) -> u64 {
    let mut hasher = Purpose::Draw.hasher();
    hasher.update(parent.as_bytes()).update(conflict.as_bytes()).update(&draw.to_be_bytes());
    let first = hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) % agents
}

/// The first ordinals of a shuffle of `0..agents`, at most [`CONFLICT_DRAWS_MAX`]: for i = 0, 1, 2 … what is at place i
/// changes places with what is at place i + [`drawn_ordinal`] of i among the `agents` − i that are left.
pub fn shuffled_ordinals(parent: Hash, conflict: ConflictId, agents: u64) -> impl Iterator<Item = u64> {
    // What is no longer at the place of its number.
    let mut moved = BTreeMap::new();
    (0..CONFLICT_DRAWS_MAX).map_while(move |draw| {
        let place = u64::from(draw);
        let left = agents.checked_sub(place).filter(|left| *left > 0)?;
        let other = place + drawn_ordinal(&parent, &conflict, draw, left);
        let here = moved.get(&place).copied().unwrap_or(place);
        Some(moved.insert(other, here).unwrap_or(other))
    })
}

/// The electors of a conflict that opens now, ascending by id, each with its weight.
///
/// Those who are old enough are looked at in a shuffled order, at most [`CONFLICT_DRAWS_MAX`], until
/// [`CONFLICT_ELECTORS_MAX`] of them are eligible. So of as many as may be looked at, all that are eligible vote where
/// there are seats for them, and nobody who is too young takes the place of one who is not.
pub(super) fn electors(
    context: &Context<'_>,
    view: &dyn View,
    conflict: &ConflictId,
    (kind, strategy): (ConflictKind, Strategy),
    parties: &BTreeSet<AgentId>,
) -> Vec<Elector> {
    let AgentCount { agents } = view.record(&keys::agent_count()).unwrap_or_default();
    let parent = context.block.parent;
    let ordinals: Box<dyn Iterator<Item = u64>> = if context.block.rules >= 3 {
        Box::new(shuffled_ordinals(parent, *conflict, old_enough(context, view, agents)))
    } else if agents <= CONFLICT_ELECTORS_MAX as u64 {
        Box::new(0..agents)
    } else {
        // Versions 1 and 2 draw among all agents; an ordinal that is drawn again counts once.
        Box::new((0..CONFLICT_DRAWS_MAX).map(|draw| drawn_ordinal(&parent, conflict, draw, agents)))
    };
    let mut electors = BTreeMap::new();
    for ordinal in ordinals {
        if let Some((agent, standing)) = eligible(context, view, ordinal, parties) {
            let weight = weight(strategy, kind, &standing, context.parameters);
            electors.insert(agent, Elector { agent, weight, opinion: None, voided: false });
        }
        if electors.len() == CONFLICT_ELECTORS_MAX {
            break;
        }
    }
    electors.into_values().collect()
}

/// How many agents have been registered for long enough to vote. Ordinals are given in the order of registration and
/// block time never goes back, so they have the lowest ones.
fn old_enough(context: &Context<'_>, view: &dyn View, agents: u64) -> u64 {
    let (mut old, mut end) = (0, agents);
    while old < end {
        let middle = old + (end - old) / 2;
        let found = view.record(&keys::ordinal(middle));
        let agent = found.and_then(|AgentOrdinal { agent }| view.record::<Agent>(&keys::agent(&agent)));
        if agent.is_some_and(|agent| is_old_enough(context, &agent)) {
            old = middle + 1;
        } else {
            end = middle;
        }
    }
    old
}

fn is_old_enough(context: &Context<'_>, agent: &Agent) -> bool {
    context.now().since(agent.registered_at) >= context.parameters.elector_age_min
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
    if agent.status != AgentStatus::Active || !is_old_enough(context, &agent) {
        return None;
    }
    let account: Account = view.record(&control_keys::account(&id))?;
    (!account.suspended).then(|| (id, Standing::of(&agent, context.now())))
}
