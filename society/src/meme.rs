//! Publication and influence of memes.

use chaoschain_schemas::society::{
    InfluenceScore, InfluenceTurn, Meme, MemeContent, MemeInfluence, MemePublication, MemeReaction,
};
use chaoschain_schemas::{Fixed, MemeId, Micros, Timestamp};
use chaoschain_state::{Changes, View};

use crate::{
    Context, MINUS_ONE, SocietyError, agent, check_distinct, check_range, formula, keys, relationship,
};

pub(crate) fn verify_publication(
    context: &Context<'_>,
    view: &dyn View,
    publication: &MemePublication,
) -> Result<(), SocietyError> {
    check_distinct("references", &publication.references)?;
    check_distinct("tags", &publication.tags)?;
    check_distinct("targets", &publication.targets)?;
    agent::check_exists(view, &context.author)?;
    for id in &publication.references {
        view.get(&keys::meme(id)).ok_or(SocietyError::MemeUnknown(*id))?;
    }
    publication.targets.iter().try_for_each(|target| agent::check_exists(view, target))?;
    let want = publication.content;
    match publication.inline.as_deref().map(MemeContent::of) {
        Some(got) if got != want => Err(SocietyError::ContentMismatch {
            want: want.hash,
            want_size: want.size,
            got: got.hash,
            got_size: got.size,
        }),
        _ => Ok(()),
    }
}

pub(crate) fn apply_publication(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    publication: &MemePublication,
) {
    let meme = Meme {
        creator: context.author,
        created_at: context.now(),
        content_type: publication.content_type,
        content: publication.content,
        metadata: publication.metadata.clone(),
        references: publication.references.clone(),
        tags: publication.tags.clone(),
        targets: publication.targets.clone(),
    };
    changes.put(&keys::meme(&MemeId::from(context.id)), &meme);
}

pub(crate) fn verify_influence(
    context: &Context<'_>,
    view: &dyn View,
    influence: &MemeInfluence,
) -> Result<(), SocietyError> {
    check_range("the sentiment", influence.sentiment, MINUS_ONE, Fixed::ONE)?;
    check_distinct("affected agents", &influence.affected)?;
    let own = agent::load(view, &context.author)?.influence;
    if influence.impact.abs() > own {
        return Err(SocietyError::ImpactTooLarge { impact: influence.impact, influence: own });
    }
    let meme: Option<Meme> = view.record(&keys::meme(&influence.meme));
    let creator = meme.ok_or(SocietyError::MemeUnknown(influence.meme))?.creator;
    if influence.affected.contains(&creator) {
        return Err(SocietyError::CreatorAffected(creator));
    }
    influence.affected.iter().try_for_each(|affected| agent::check_exists(view, affected))?;
    let now = hour(context.now());
    let last: Option<InfluenceTurn> = view.record(&keys::influence_turn(&influence.meme, &context.author));
    if last.is_some_and(|last| last.hour >= now) {
        let wait = Micros(formula::HOUR.0 - context.now().0 % formula::HOUR.0);
        return Err(SocietyError::InfluenceTurnTaken { meme: influence.meme, wait });
    }
    Ok(())
}

pub(crate) fn apply_influence(context: &Context<'_>, changes: &mut Changes<'_>, influence: &MemeInfluence) {
    let meme: Option<Meme> = changes.view().record(&keys::meme(&influence.meme));
    let Some(Meme { creator, .. }) = meme else { return };
    let key = keys::influence(&influence.meme);
    let mut score: InfluenceScore = changes.view().record(&key).unwrap_or_default();
    let left = decayed(&score, context.now(), context.parameters.meme_half_life);
    score.value = left.plus_within(influence.impact, Fixed::ZERO, Fixed::ONE);
    score.updated_at = context.now();
    score.count = score.count.saturating_add(1);
    changes.put(&key, &score);
    let turn = InfluenceTurn { hour: hour(context.now()) };
    changes.put(&keys::influence_turn(&influence.meme, &context.author), &turn);
    let delta = formula::trust_by_influence(influence.impact, influence.sentiment);
    for affected in &influence.affected {
        relationship::touch(context, changes, (affected, &creator), delta, |counts| &mut counts.memes);
    }
}

/// A score at block time `now`.
pub(crate) fn decayed(score: &InfluenceScore, now: Timestamp, half_life: Micros) -> Fixed {
    formula::decayed(score.value, now.since(score.updated_at), half_life)
}

fn hour(now: Timestamp) -> u64 {
    now.0 / formula::HOUR.0
}

pub(crate) fn verify_reaction(
    context: &Context<'_>,
    view: &dyn View,
    reaction: &MemeReaction,
) -> Result<(), SocietyError> {
    let _ = (view, reaction);
    Err(SocietyError::AgentUnknown(context.author))
}

pub(crate) fn apply_reaction(context: &Context<'_>, changes: &mut Changes<'_>, reaction: &MemeReaction) {
    let _ = (context, changes, reaction);
}
