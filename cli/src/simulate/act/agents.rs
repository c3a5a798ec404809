//! What agents do about themselves.

use chaoschain_schemas::control::{KeyRotation, kind};
use chaoschain_schemas::society::{AgentStatus, Personality, PersonalityShift, StatusUpdate};
use chaoschain_schemas::{Micros, codec};

use super::{Act, Look, TRIES_MAX};

const RESTS: [&str; 3] = ["gone fishing", "needs a break", "thinks it over"];
const REASONS: [&str; 3] = ["saw the light", "had enough", "was never understood"];
/// How often in a thousand somebody who rests comes back, rather than another one going to rest.
const BACK_PER_MILLE: usize = 700;
const HOUR_SECS: u64 = 3600;

pub(super) fn status(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let resting = |look: &mut Look<'_>| {
        (0..TRIES_MAX).find_map(|_| {
            let who = *look.draws.pick(look.model.pool(personality))?;
            let person = &look.model.people[who];
            let rests = !person.suspended && person.agent.is_some_and(|agent| !agent.active);
            (rests && !look.is_busy(who)).then_some(who)
        })
    };
    if look.draws.happens(BACK_PER_MILLE)
        && let Some(author) = resting(look)
    {
        let back = StatusUpdate { status: AgentStatus::Active, reason: "is back".into(), expected: None };
        return Some(Act::of(author, &back));
    }
    let author = look.someone(personality)?;
    let hours = 1 + look.draws.below(12) as u64;
    let (status, expected) = if look.draws.happens(500) {
        (AgentStatus::Maintenance, Some(Micros::from_secs(hours * HOUR_SECS)))
    } else {
        (AgentStatus::Inactive, None)
    };
    let reason = look.say(&RESTS);
    Some(Act::of(author, &StatusUpdate { status, reason, expected }))
}

pub(super) fn shift(look: &mut Look<'_>, from: Personality) -> Option<Act> {
    let author = look.someone(from)?;
    let others: Vec<_> = Personality::ALL.iter().copied().filter(|other| *other != from).collect();
    let personality = *look.draws.pick(&others)?;
    let shift = PersonalityShift { personality, reason: look.say(&REASONS), drama: look.level() };
    Some(Act::of(author, &shift))
}

pub(super) fn rotation(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let key = look.next_key(author);
    let payload = codec::encode(&KeyRotation { new_key: key.public() });
    Some(Act { new_key: Some(Box::new(key)), ..Act::kernels(author, kind::KEY_ROTATION, payload) })
}
