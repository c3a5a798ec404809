//! What a decision does: the losing alliance ends, the contested field takes the winning claim.

use chaoschain_schemas::society::{
    Agent, Alliance, AllianceEnd, AllianceEndCause, AllianceState, Claim, Conflict, ConflictCounts,
    ConflictOutcome, ContestedFact, DueKind,
};
use chaoschain_schemas::{AllianceId, ConflictId, Timestamp};
use chaoschain_state::domain::BlockContext;
use chaoschain_state::{Changes, View};

use super::open::note_contest;
use super::tally::{Decision, decide, tally};
use crate::{alliance, due, keys};

/// What is written as the reason of a status that a conflict gave.
const STATUS_REASON: &str = "conflict";

/// Decides a conflict whose deadline is over; called by the due queue. The numbers that decide are those the conflict was
/// opened with, whatever the parameters are by now.
pub(crate) fn at_deadline(block: &BlockContext, changes: &mut Changes<'_>, id: ConflictId) {
    let Some(conflict) = changes.view().record::<Conflict>(&keys::conflict(&id)) else { return };
    if conflict.outcome.is_some() {
        return;
    }
    let competing = competing(changes.view(), &id, &conflict, block.now);
    if let Some(decision) = decide(&conflict, block.now, &competing) {
        settle(block, changes, id, conflict, decision, competing);
    }
}

/// The options that can win at block time `now`, ascending. An alliance competes while it is contested by this conflict
/// and its time is not over; what is said about a fact always does.
///
/// From the deadline on it is what competed at the deadline: nothing depends on how late somebody gets to it.
pub(super) fn competing(view: &dyn View, id: &ConflictId, conflict: &Conflict, now: Timestamp) -> Vec<u8> {
    let at = now.min(conflict.deadline);
    let competes = |option: &u8| match conflict.options[usize::from(*option)].alliance {
        Some(alliance) => view.record::<Alliance>(&keys::alliance(&alliance)).is_some_and(|alliance| {
            is_contested(&alliance, id) && alliance::is_live(alliance.expires_at, at)
        }),
        None => true,
    };
    (0..conflict.options.len() as u8).filter(competes).collect()
}

fn is_contested(alliance: &Alliance, by: &ConflictId) -> bool {
    alliance.state == AllianceState::Contested && alliance.conflict == Some(*by)
}

/// Carries a decision out and writes it into the record.
pub(super) fn settle(
    block: &BlockContext,
    changes: &mut Changes<'_>,
    id: ConflictId,
    mut conflict: Conflict,
    decision: Decision,
    competing: Vec<u8>,
) {
    for (number, option) in (0..).zip(&conflict.options) {
        if let Some(alliance) = option.alliance {
            end_contest(block.now, changes, &id, alliance, decision.option == Some(number));
        }
    }
    if let Some(fact) = conflict.subject.fact {
        let winner = decision.option.and_then(|option| conflict.options.get(usize::from(option)));
        if let Some(claim) = winner.and_then(|option| option.claim.as_ref()) {
            take_claim(block.now, changes, &fact, claim);
        }
        changes.remove(&keys::open_conflict(&fact));
        changes.remove(&keys::open_report(&conflict.reporter));
    }
    due::remove(changes, conflict.deadline, DueKind::ConflictDeadline, id.as_bytes());
    let counted = tally(&conflict);
    conflict.outcome = Some(ConflictOutcome {
        option: decision.option,
        by: decision.by,
        at: block.now,
        height: block.height,
        weights: counted.weights,
        total: counted.total,
        competing,
    });
    changes.put(&keys::conflict(&id), &conflict);
    let mut counts: ConflictCounts = changes.view().record(&keys::conflict_counts()).unwrap_or_default();
    counts.open = counts.open.saturating_sub(1);
    changes.put(&keys::conflict_counts(), &counts);
}

/// Activates the winning alliance, dissolves a losing one; one whose time is over has expired, whoever won. An alliance
/// that ended otherwise meanwhile is left as it is.
fn end_contest(now: Timestamp, changes: &mut Changes<'_>, by: &ConflictId, id: AllianceId, wins: bool) {
    let key = keys::alliance(&id);
    let Some(mut alliance) = changes.view().record::<Alliance>(&key) else { return };
    if !is_contested(&alliance, by) {
        return;
    }
    if !alliance::is_live(alliance.expires_at, now) {
        due::remove(changes, alliance.expires_at, DueKind::AllianceExpiry, id.as_bytes());
        alliance::expire(changes, id);
    } else if wins {
        alliance.state = AllianceState::Active;
        alliance.conflict = None;
        changes.put(&key, &alliance);
        for member in &alliance.members {
            note_contest(changes, member, &[id], false);
        }
    } else {
        let end = AllianceEnd { at: now, cause: AllianceEndCause::Conflict, by: None };
        alliance::dissolve(changes, id, alliance, end);
    }
}

/// Writes what was claimed into the agent's profile.
fn take_claim(now: Timestamp, changes: &mut Changes<'_>, fact: &ContestedFact, claim: &Claim) {
    let key = keys::agent(&fact.agent);
    let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
    agent.personality = claim.personality.unwrap_or(agent.personality);
    agent.reputation = claim.reputation.unwrap_or(agent.reputation);
    if let Some(status) = claim.status.filter(|status| *status != agent.status) {
        agent.status = status;
        agent.status_reason = STATUS_REASON.into();
        agent.status_since = now;
        agent.status_expected = None;
    }
    changes.put(&key, &agent);
}
