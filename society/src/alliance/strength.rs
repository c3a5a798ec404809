//! Strength.

use chaoschain_schemas::society::{Agent, Alliance, Relationship};
use chaoschain_schemas::{Fixed, Timestamp};
use chaoschain_state::View;

use crate::{formula, keys};

/// How strong an alliance is at block time `now`, in \[0, 1\]. Reads each member, and each one's view of the next in order
/// of id, the last one's of the first.
pub(crate) fn strength(alliance: &Alliance, now: Timestamp, view: &dyn View) -> Fixed {
    let members = &alliance.members;
    let agents: Vec<Agent> = members.iter().filter_map(|id| view.record(&keys::agent(id))).collect();
    let next = members.iter().cycle().skip(1);
    let trust = members.iter().zip(next).map(|(from, to)| {
        view.record::<Relationship>(&keys::relationship(from, to)).unwrap_or_default().trust
    });
    formula::strength(
        formula::mean(agents.iter().map(|agent| agent.reputation)),
        formula::mean(trust),
        formula::mean(agents.iter().map(|agent| agent.influence)),
        formula::time_left(alliance.formed_at, alliance.expires_at, now),
    )
}
