//! Publication and influence of memes, and reactions to them.

use chaoschain_schemas::society::{
    Agent, Benefit, InfluenceScore, InfluenceTurn, Meme, MemeContent, MemeInfluence, MemePublication,
    MemeReaction, Reaction, ReactionCounts, ReactionKind, Relationship,
};
use chaoschain_schemas::{AgentId, Fixed, MemeId, Micros, Timestamp};
use chaoschain_state::{Changes, Key, View};

use crate::{
    Context, MINUS_ONE, SocietyError, agent, alliance, check_distinct, check_range, formula, keys,
    relationship,
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

/// What is read when `author` moves a meme.
pub(crate) fn likely_reads(author: &AgentId, meme: &MemeId, expected: &mut Vec<Key>) {
    expected.extend([keys::agent(author), keys::meme(meme), keys::influence(meme)]);
}

pub(crate) fn verify_influence(
    context: &Context<'_>,
    view: &dyn View,
    influence: &MemeInfluence,
) -> Result<(), SocietyError> {
    check_range("the sentiment", influence.sentiment, MINUS_ONE, Fixed::ONE)?;
    check_distinct("affected agents", &influence.affected)?;
    let author = agent::load(view, &context.author)?;
    let boost = alliance::benefit(&author, Benefit::MemeInfluence, context.now());
    let bound = author.influence.plus_within(boost, Fixed::ZERO, Fixed::ONE);
    if influence.impact.abs() > bound {
        return Err(SocietyError::ImpactTooLarge { impact: influence.impact, influence: bound });
    }
    let creator = load(view, &influence.meme)?.creator;
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
    let author = context.author;
    move_meme(context, changes, &influence.meme, influence.impact, |score| {
        score.count = score.count.saturating_add(1);
    });
    if author != creator {
        move_creator(changes, &creator, influence.impact);
    }
    let turn = InfluenceTurn { hour: hour(context.now()) };
    changes.put(&keys::influence_turn(&influence.meme, &author), &turn);
    let delta = formula::trust_by_influence(influence.impact, influence.sentiment);
    for affected in &influence.affected {
        relationship::touch(context, changes, (affected, &creator), delta, |counts| &mut counts.memes);
    }
}

/// Adds to a meme's influence what is left of it at block time; `count` counts what moved it.
fn move_meme(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    meme: &MemeId,
    added: Fixed,
    count: impl FnOnce(&mut InfluenceScore),
) {
    let key = keys::influence(meme);
    let mut score: InfluenceScore = changes.view().record(&key).unwrap_or_default();
    let left = decayed(&score, context.now(), context.parameters.meme_half_life);
    score.value = left.plus_within(added, Fixed::ZERO, Fixed::ONE);
    score.updated_at = context.now();
    count(&mut score);
    changes.put(&key, &score);
}

/// Moves the influence of an agent to whose meme so much was added.
fn move_creator(changes: &mut Changes<'_>, creator: &AgentId, added: Fixed) {
    let key = keys::agent(creator);
    let Some(mut agent) = changes.view().record::<Agent>(&key) else { return };
    agent.influence =
        agent.influence.plus_within(formula::influence_of_creator(added), Fixed::ZERO, Fixed::ONE);
    changes.put(&key, &agent);
}

fn load(view: &dyn View, id: &MemeId) -> Result<Meme, SocietyError> {
    view.record(&keys::meme(id)).ok_or(SocietyError::MemeUnknown(*id))
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
    check_range("the score", reaction.score, Fixed::ZERO, Fixed::ONE)?;
    agent::check_exists(view, &context.author)?;
    if load(view, &reaction.meme)?.creator == context.author {
        return Err(SocietyError::OwnMeme(reaction.meme));
    }
    match view.get(&keys::reaction(&reaction.meme, &context.author)) {
        Some(_) => Err(SocietyError::ReactionTaken(reaction.meme)),
        None => Ok(()),
    }
}

/// Influence and trust of the author are taken before the event.
pub(crate) fn apply_reaction(context: &Context<'_>, changes: &mut Changes<'_>, reaction: &MemeReaction) {
    let view = changes.view();
    let meme: Option<Meme> = view.record(&keys::meme(&reaction.meme));
    let author: Option<Agent> = view.record(&keys::agent(&context.author));
    let (Some(Meme { creator, .. }), Some(author)) = (meme, author) else { return };
    let own_view: Option<Relationship> = view.record(&keys::relationship(&context.author, &creator));
    let kind = formula::reaction_kind(reaction.score);
    let trust = own_view.unwrap_or_default().trust;
    let added = formula::influence_by_reaction(kind, author.influence, trust);
    move_meme(context, changes, &reaction.meme, added, |score| {
        let counter = counter(&mut score.reactions, kind);
        *counter = counter.saturating_add(1);
        score.score_sum = score.score_sum.plus(reaction.score);
    });
    move_creator(changes, &creator, added);
    let pair = (&context.author, &creator);
    let delta = formula::trust_by_reaction(reaction.score);
    relationship::touch(context, changes, pair, delta, |counts| &mut counts.memes);
    let taken = Reaction { score: reaction.score, at: context.now() };
    changes.put(&keys::reaction(&reaction.meme, &context.author), &taken);
}

const fn counter(counts: &mut ReactionCounts, kind: ReactionKind) -> &mut u32 {
    match kind {
        ReactionKind::Love => &mut counts.love,
        ReactionKind::Like => &mut counts.like,
        ReactionKind::Neutral => &mut counts.neutral,
        ReactionKind::Dislike => &mut counts.dislike,
    }
}

/// The mean of the scores that a meme got in reactions, in \[0, 1\]; 0 for none.
pub(crate) fn quality(score: &InfluenceScore) -> Fixed {
    let ReactionCounts { love, like, neutral, dislike } = score.reactions;
    let count = [love, like, neutral, dislike].into_iter().map(i64::from).sum();
    score.score_sum.times_ratio(1, count)
}
