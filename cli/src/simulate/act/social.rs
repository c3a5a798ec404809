//! Ratings, interactions and drama.

use chaoschain_schemas::Hash;
use chaoschain_schemas::society::{
    DramaKind, DramaRecord, InteractionKind, Personality, ReputationUpdate, SocialInteraction,
};

use super::{Act, Look};

/// How many agents one interaction is aimed at, at most, here.
const TARGETS_MAX: usize = 3;
const CHAOS: [&str; 3] = ["hid every template", "swapped all the names", "rang every bell at once"];
const DRAMA: [&str; 3] = ["left the room in tears", "demands an apology", "read the letters out loud"];

pub(super) fn rating(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let subject = *look.others(&[author], 1, false).first()?;
    // People think rather well of each other, but for some.
    let low = if personality == Personality::Chaotic { -100 } else { -40 };
    let rating = look.hundredths(low, 100);
    Some(Act::of(author, &ReputationUpdate { subject: look.id(subject), rating }))
}

pub(super) fn interaction(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let count = 1 + look.draws.below(TARGETS_MAX);
    let targets = look.others(&[author], count, false);
    if targets.is_empty() {
        return None;
    }
    let kind = *look.draws.pick(InteractionKind::ALL)?;
    let low = match kind {
        InteractionKind::Rival | InteractionKind::DramaticNemesis => -100,
        _ => -10,
    };
    let content = look.draws.happens(500).then(|| Hash::new(look.draws.bytes()));
    let interaction = SocialInteraction {
        kind,
        targets: look.ids(&targets),
        content,
        sentiment: look.hundredths(low, low + 110),
        drama: look.level(),
    };
    Some(Act::of(author, &interaction))
}

pub(super) fn drama(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let (kind, phrases) =
        if look.draws.happens(500) { (DramaKind::Drama, DRAMA) } else { (DramaKind::Chaos, CHAOS) };
    let text = look.say(&phrases);
    Some(Act::of(author, &DramaRecord { kind, text, level: look.level() }))
}
