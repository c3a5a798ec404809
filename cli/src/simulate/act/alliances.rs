//! Alliances: formed, left, betrayed, revived.

use chaoschain_schemas::society::{
    Agent, Alliance, AllianceBetrayal, AllianceDeparture, AllianceEndCause, AllianceFormation,
    AlliancePurpose, AllianceReconciliation, AllianceState, AllianceTerms, Benefit, Personality, PurposeKind,
};
use chaoschain_schemas::{AllianceId, Micros};
use chaoschain_society::keys;

use super::{Act, Look};
use crate::simulate::model::Who;

/// How many further members an alliance of the table has at most.
const OTHERS_MAX: usize = 4;
/// How many in a thousand are exclusive.
const EXCLUSIVE_PER_MILLE: usize = 80;
/// How long an alliance lasts, hours.
const HOURS: (i64, i64) = (1, 96);
/// How many alliances are looked through for one of somebody who can act.
const ALLIANCES_LOOKED_AT_MAX: usize = 64;
const GOODBYES: [&str; 3] = ["new friends", "too quiet here", "no reason given"];
const TREASONS: [&str; 3] = ["sold the template", "told the other side", "took the treasury"];

/// A formation on these terms that all of them sign; the first is the author.
pub(in crate::simulate) fn pact(
    look: &Look<'_>,
    members: &[Who],
    purpose: AlliancePurpose,
    duration: Micros,
    exclusive: bool,
) -> Act {
    let formation = AllianceFormation {
        members: look.ids(members),
        purpose,
        terms: AllianceTerms { duration, benefits: Vec::new(), conditions: Vec::new() },
        exclusive,
    };
    Act::of(members[0], &formation).with(members[1..].to_vec())
}

pub(super) fn formation(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let count = 1 + look.draws.below(OTHERS_MAX);
    let others = look.others(&[author], count, true);
    if others.is_empty() {
        return None;
    }
    let members: Vec<Who> = [author].into_iter().chain(others.iter().copied()).collect();
    let wanted = look.draws.happens(EXCLUSIVE_PER_MILLE);
    let exclusive = wanted && members.iter().all(|who| has_kept_faith(look, *who));
    let kind = *look.draws.pick(PurposeKind::ALL)?;
    let text = (kind == PurposeKind::Other).then(|| look.say(&["chess", "weather", "gossip"]));
    let first = look.draws.below(Benefit::ALL.len());
    let count = look.draws.below(3);
    let benefits = Benefit::ALL.iter().copied().cycle().skip(first).take(count).collect();
    let conditions = if look.draws.happens(200) { vec!["share every template".into()] } else { Vec::new() };
    let hours = look.draws.within(HOURS.0, HOURS.1).unsigned_abs();
    let formation = AllianceFormation {
        members: look.ids(&members),
        purpose: AlliancePurpose { kind, text },
        terms: AllianceTerms { duration: Micros::from_secs(hours * 3600), benefits, conditions },
        exclusive,
    };
    Some(Act::of(author, &formation).with(others))
}

/// Whether somebody never betrayed an alliance: others might not be let into an exclusive one.
pub(in crate::simulate) fn has_kept_faith(look: &Look<'_>, who: Who) -> bool {
    look.record::<Agent>(&keys::agent(&look.id(who))).is_some_and(|agent| agent.betrayed_at.is_none())
}

/// An alliance in force and a member of this personality that can act.
fn membership(look: &mut Look<'_>, personality: Personality) -> Option<(AllianceId, Who)> {
    let (id, author) =
        look.model.alliances.some(look.draws, ALLIANCES_LOOKED_AT_MAX).into_iter().find_map(|id| {
            let alliance: Alliance = look.record(&keys::alliance(&id))?;
            if alliance.state != AllianceState::Active
                || alliance.expires_at <= look.now
                || look.is_taken(id.as_bytes())
            {
                return None;
            }
            let mut members = alliance.members.iter().filter_map(|id| look.model.who(id));
            let able = |who: &Who| look.model.personality(*who) == Some(personality) && look.is_free(*who);
            members.find(able).map(|who| (id, who))
        })?;
    look.take_thing(id.as_bytes());
    Some((id, author))
}

pub(super) fn departure(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let (alliance, author) = membership(look, personality)?;
    let drama = if look.draws.happens(500) { look.level() } else { 0 };
    let reason = look.say(&GOODBYES);
    Some(Act::of(author, &AllianceDeparture { alliance, reason, drama }))
}

pub(super) fn betrayal(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let (alliance, author) = membership(look, personality)?;
    let description = look.say(&TREASONS);
    Some(Act::of(author, &AllianceBetrayal { alliance, description, drama: look.level() }))
}

pub(super) fn reconciliation(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let broken = look.model.broken.some(look.draws, ALLIANCES_LOOKED_AT_MAX);
    let (id, author, others) = broken.into_iter().find_map(|id| {
        let alliance: Alliance = look.record(&keys::alliance(&id))?;
        let ended = alliance.end.map(|end| end.cause);
        let revivable = matches!(ended, Some(AllianceEndCause::Departure | AllianceEndCause::Betrayal));
        if !revivable || alliance.exclusive || look.is_taken(id.as_bytes()) {
            return None;
        }
        let (author, others) = together(look, &alliance, personality)?;
        Some((id, author, others))
    })?;
    look.take_thing(id.as_bytes());
    let members = look.ids(&[&[author], &others[..]].concat());
    Some(Act::of(author, &AllianceReconciliation { alliance: id, members }).with(others))
}

/// All of an alliance's members, one of this personality first; nothing unless all can sign.
fn together(look: &Look<'_>, alliance: &Alliance, personality: Personality) -> Option<(Who, Vec<Who>)> {
    let members: Vec<Who> = alliance.members.iter().filter_map(|id| look.model.who(id)).collect();
    if !members.iter().all(|who| look.is_free(*who)) {
        return None;
    }
    let author = *members.iter().find(|who| look.model.personality(**who) == Some(personality))?;
    Some((author, members.into_iter().filter(|who| *who != author).collect()))
}
