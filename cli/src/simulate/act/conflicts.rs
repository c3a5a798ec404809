//! Conflicts: reported, and what electors think.

use chaoschain_schemas::society::{
    Agent, AgentStatus, Claim, Conflict, ConflictReport, ContestedFact, ContestedField, FactReport,
    OpinionCast, Personality, Strategy,
};
use chaoschain_schemas::{AgentId, ConflictId};
use chaoschain_society::keys;

use super::{Act, Look, TRIES_MAX};
use crate::simulate::model::Who;

const DOUBTS: [&str; 3] = ["does not look like it", "said otherwise yesterday", "everybody knows"];
/// How often in a thousand electors are for what stands, and for the second option where they are not.
const FIRST_PER_MILLE: [usize; 2] = [350, 850];

pub(super) fn report(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let subject = *look.others(&[author], 1, false).first()?;
    let field = *look.draws.pick(ContestedField::ALL)?;
    let claims = claims(look, subject, field)?;
    let strategy = if look.draws.happens(750) { look.draws.pick(Strategy::ALL).copied() } else { None };
    let fact = FactReport { agent: look.id(subject), claims };
    let reason = look.say(&DOUBTS);
    Some(Act::of(author, &ConflictReport { fact: Some(fact), divergence: None, strategy, reason }))
}

/// One or two claims about a field, none of them what stands; nothing where a conflict about it is open.
pub(in crate::simulate) fn claims(
    look: &mut Look<'_>,
    subject: Who,
    field: ContestedField,
) -> Option<Vec<Claim>> {
    let id: AgentId = look.id(subject);
    if look.view.get(&keys::open_conflict(&ContestedFact { agent: id, field })).is_some() {
        return None;
    }
    let agent: Agent = look.record(&keys::agent(&id))?;
    // What is contested should not be changed in the same block.
    if !look.take_thing(id.as_bytes()) {
        return None;
    }
    look.take_person(subject);
    Some(match field {
        ContestedField::Personality => {
            let others: Vec<_> =
                Personality::ALL.iter().copied().filter(|other| *other != agent.personality).collect();
            let first = look.draws.below(others.len());
            let claim =
                |place: usize| Claim { personality: Some(others[place % others.len()]), ..Claim::default() };
            vec![claim(first), claim(first + 1)]
        }
        ContestedField::Status => {
            let active = agent.status == AgentStatus::Active;
            let other = if active { AgentStatus::Inactive } else { AgentStatus::Active };
            vec![Claim { status: Some(other), ..Claim::default() }]
        }
        ContestedField::Reputation => {
            // Odd, so that no rating in hundredths has led there.
            let claim = look.hundredths(5, 95).plus(chaoschain_schemas::Fixed::from_millionths(1));
            if claim == agent.reputation {
                return None;
            }
            vec![Claim { reputation: Some(claim), ..Claim::default() }]
        }
    })
}

pub(super) fn opinion(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let count = look.model.conflicts.len();
    let start = look.draws.below(count);
    let open: Vec<ConflictId> =
        (0..count.min(TRIES_MAX)).map(|step| look.model.conflicts[(start + step) % count]).collect();
    let (conflict, options, author) = open.into_iter().find_map(|id| {
        let conflict: Conflict = look.record(&keys::conflict(&id))?;
        if conflict.outcome.is_some() || conflict.deadline <= look.now {
            return None;
        }
        let mut silent =
            conflict.electors.iter().filter(|elector| elector.opinion.is_none() && !elector.voided);
        let author = silent.find_map(|elector| {
            let who = look.model.who(&elector.agent)?;
            (look.model.personality(who) == Some(personality) && look.is_free(who)).then_some(who)
        })?;
        Some((id, conflict.options.len(), author))
    })?;
    let option = match look.draws.below(1000) {
        point if point < FIRST_PER_MILLE[0] => 0,
        point if point < FIRST_PER_MILLE[1] => 1,
        _ => look.draws.below(options),
    };
    Some(Act::of(author, &OpinionCast { conflict, option: option as u8 }))
}
