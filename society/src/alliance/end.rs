//! How an alliance ends.

use chaoschain_schemas::society::{Agent, Alliance, AllianceEnd, AllianceState, DueKind};
use chaoschain_schemas::{AgentId, AllianceId};
use chaoschain_state::Changes;

use crate::{due, keys};

/// Ends an alliance before its time. Its record keeps its members, whose profiles no longer list it.
pub(crate) fn dissolve(changes: &mut Changes<'_>, id: AllianceId, alliance: Alliance, end: AllianceEnd) {
    due::remove(changes, alliance.expires_at, DueKind::AllianceExpiry, id.as_bytes());
    conclude(changes, id, Alliance { state: AllianceState::Dissolved, end: Some(end), ..alliance });
}

/// Ends an alliance whose time is over; called by the due queue, which has dropped the entry. A contested one ends like
/// any other, and what is left of its conflict goes on to its deadline.
pub(crate) fn expire(changes: &mut Changes<'_>, id: AllianceId) {
    let Some(alliance) = changes.view().record::<Alliance>(&keys::alliance(&id)) else { return };
    if matches!(alliance.state, AllianceState::Active | AllianceState::Contested) {
        conclude(changes, id, Alliance { state: AllianceState::Expired, ..alliance });
    }
}

fn conclude(changes: &mut Changes<'_>, id: AllianceId, alliance: Alliance) {
    let alliance = Alliance { conflict: None, ..alliance };
    for member in &alliance.members {
        drop_membership(changes, member, &id);
    }
    changes.put(&keys::alliance(&id), &alliance);
}

/// Takes an alliance off a member's list. It may have gone already: a list is rid of what is over when it is written.
pub(super) fn drop_membership(changes: &mut Changes<'_>, member: &AgentId, id: &AllianceId) {
    let key = keys::agent(member);
    let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
    agent.alliances.retain(|membership| membership.id != *id);
    changes.put(&key, &agent);
}
