//! Memes: published, reacted to, carried on.

use chaoschain_schemas::society::{
    Agent, Meme, MemeContent, MemeInfluence, MemePublication, MemeReaction, MemeType, Personality,
};
use chaoschain_schemas::{Blob, Fixed, MemeId};
use chaoschain_society::keys;

use super::{Act, Look, TRIES_MAX};
use crate::simulate::model::Who;

const CAPTIONS: [&str; 4] =
    ["distracted validator", "one does not simply fork", "this is finality", "so much chaos"];
const TAGS: [&str; 4] = ["classic", "fresh", "cursed", "wholesome"];
/// How many agents' views one influence moves, at most, here.
const AFFECTED_MAX: usize = 4;

pub(super) fn publication(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let caption = look.say(&CAPTIONS);
    let text = format!("{caption} #{}", look.draws.below(1_000_000));
    let content_type = *look.draws.pick(MemeType::ALL)?;
    let inline = matches!(content_type, MemeType::Text | MemeType::Ascii)
        .then(|| Blob::from(text.clone().into_bytes()));
    let references = if look.draws.happens(300) { look.model.memes.some(look.draws, 1) } else { Vec::new() };
    let targets = if look.draws.happens(200) { look.others(&[author], 2, false) } else { Vec::new() };
    let publication = MemePublication {
        content_type,
        content: MemeContent::of(text.as_bytes()),
        inline,
        metadata: caption,
        references,
        tags: look.draws.pick(&TAGS).map(|tag| (*tag).to_owned()).into_iter().collect(),
        targets: look.ids(&targets),
    };
    Some(Act::of(author, &publication))
}

/// A meme that is none of the author's, with who published it.
fn somebody_elses(
    look: &mut Look<'_>,
    author: Who,
    fits: impl Fn(&Look<'_>, &MemeId) -> bool,
) -> Option<(MemeId, Meme)> {
    let own = look.id(author);
    look.model.memes.some(look.draws, TRIES_MAX).into_iter().find_map(|id| {
        let meme: Meme = look.record(&keys::meme(&id))?;
        (meme.creator != own && fits(look, &id)).then_some((id, meme))
    })
}

pub(super) fn reaction(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let id = look.id(author);
    let is_first = |look: &Look<'_>, meme: &MemeId| look.view.get(&keys::reaction(meme, &id)).is_none();
    let (meme, _) = somebody_elses(look, author, is_first)?;
    Some(Act::of(author, &MemeReaction { meme, score: look.hundredths(0, 100) }))
}

pub(super) fn influence(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let id = look.id(author);
    let is_first = |look: &Look<'_>, meme: &MemeId| look.view.get(&keys::influence_turn(meme, &id)).is_none();
    let (meme, record) = somebody_elses(look, author, is_first)?;
    let own = look.record::<Agent>(&keys::agent(&id))?.influence;
    let impact = own.times(look.hundredths(-30, 100));
    let creator = look.model.who(&record.creator)?;
    let count = look.draws.below(1 + AFFECTED_MAX);
    let affected = look.others(&[creator], count, false);
    let sentiment = look.hundredths(-100, 100);
    let influence = MemeInfluence { meme, impact, sentiment, affected: look.ids(&affected) };
    debug_assert!(impact.abs() <= own && sentiment <= Fixed::ONE);
    Some(Act::of(author, &influence))
}
