//! Alliances, from their formation to their end.
//!
//! An alliance is live while its record says Active or Contested and its time is not over. Nothing waits for the due
//! queue to get to it: whoever asks looks at the time.

mod betrayal;
mod departure;
mod end;
mod formation;
mod pact;
mod reconciliation;
mod strength;

use chaoschain_schemas::society::{Agent, Alliance, AllianceState, Benefit, Membership};
use chaoschain_schemas::{AccountId, AllianceId, Fixed, Timestamp};
use chaoschain_state::View;

pub(crate) use betrayal::{apply_betrayal, verify_betrayal};
pub(crate) use departure::{apply_departure, verify_departure};
pub(crate) use end::{dissolve, expire};
pub(crate) use formation::{apply_formation, verify_formation};
pub(crate) use reconciliation::{apply_reconciliation, verify_reconciliation};
pub(crate) use strength::strength;

use crate::{Context, SocietyError, keys};

/// Whether an alliance that expires then is still in force now.
pub(crate) fn is_live(expires_at: Timestamp, now: Timestamp) -> bool {
    now < expires_at
}

/// How an alliance stands at block time `now`, whether its record says so already or not.
pub(crate) fn state_at(alliance: &Alliance, now: Timestamp) -> AllianceState {
    match alliance.state {
        AllianceState::Active | AllianceState::Contested if !is_live(alliance.expires_at, now) => {
            AllianceState::Expired
        }
        state => state,
    }
}

/// The members besides the author, ascending.
pub(crate) fn parties(members: &[AccountId], author: &AccountId) -> Vec<AccountId> {
    let mut parties: Vec<_> = members.iter().copied().filter(|member| member != author).collect();
    parties.sort_unstable();
    parties
}

/// What a benefit is worth to an agent now, in \[0, 1\]: the strength at formation of the strongest of its live and
/// uncontested alliances that promise it. They do not add up, or two agents in many alliances would be worth a crowd.
pub(crate) fn benefit(agent: &Agent, benefit: Benefit, now: Timestamp) -> Fixed {
    let counts = |membership: &&Membership| {
        !membership.contested && is_live(membership.expires_at, now) && membership.benefits.contains(&benefit)
    };
    agent.alliances.iter().filter(counts).map(|membership| membership.strength).max().unwrap_or(Fixed::ZERO)
}

/// Reads an alliance that the author may leave: live, and the author is a member.
fn load_own(context: &Context<'_>, view: &dyn View, id: &AllianceId) -> Result<Alliance, SocietyError> {
    let alliance: Alliance = view.record(&keys::alliance(id)).ok_or(SocietyError::AllianceUnknown(*id))?;
    let over = |since| Err(SocietyError::AllianceOver { alliance: *id, since });
    match state_at(&alliance, context.now()) {
        AllianceState::Dissolved | AllianceState::Forming => {
            over(alliance.end.map_or(alliance.expires_at, |end| end.at))
        }
        AllianceState::Expired => over(alliance.expires_at),
        AllianceState::Active | AllianceState::Contested if !alliance.members.contains(&context.author) => {
            Err(SocietyError::NotMember(*id))
        }
        AllianceState::Active | AllianceState::Contested => Ok(alliance),
    }
}
