//! Ratings and interactions: what moves one agent's view of another.

use chaoschain_schemas::society::{
    Agent, Benefit, Relationship, RelationshipCounts, ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{AgentId, Fixed};
use chaoschain_state::{Changes, Key, View};

use crate::{
    Context, MINUS_ONE, SocietyError, agent, alliance, check_distinct, check_range, drama, formula, keys,
};

/// Moves the view that `from` has of `to`, which begins here if there was none; `counter` picks what counts the event.
pub(crate) fn touch(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    (from, to): (&AgentId, &AgentId),
    delta: Fixed,
    counter: impl FnOnce(&mut RelationshipCounts) -> &mut u32,
) {
    let key = keys::relationship(from, to);
    let mut relationship: Relationship = changes.view().record(&key).unwrap_or_default();
    relationship.note(delta, context.now(), context.address);
    let count = counter(&mut relationship.counts);
    *count = count.saturating_add(1);
    changes.put(&key, &relationship);
}

/// What is read when `author` moves its views of `others`.
pub(crate) fn likely_reads(author: &AgentId, others: &[AgentId], expected: &mut Vec<Key>) {
    expected.push(keys::agent(author));
    for other in others {
        expected.extend([keys::agent(other), keys::relationship(author, other)]);
    }
}

pub(crate) fn verify_rating(
    context: &Context<'_>,
    view: &dyn View,
    update: &ReputationUpdate,
) -> Result<(), SocietyError> {
    check_range("the rating", update.rating, MINUS_ONE, Fixed::ONE)?;
    if update.subject == context.author {
        return Err(SocietyError::SelfDirected("subjects"));
    }
    agent::check_exists(view, &context.author)?;
    agent::check_exists(view, &update.subject)?;
    let max = context.parameters.ratings_per_subject_max;
    if max == 0 {
        return Ok(());
    }
    let own_view = view.record::<Relationship>(&keys::relationship(&context.author, &update.subject));
    if own_view.unwrap_or_default().counts.ratings >= max {
        return Err(SocietyError::RatingsExhausted { subject: update.subject, max });
    }
    Ok(())
}

pub(crate) fn apply_rating(context: &Context<'_>, changes: &mut Changes<'_>, update: &ReputationUpdate) {
    let subject_key = keys::agent(&update.subject);
    let author = changes.view().record::<Agent>(&keys::agent(&context.author));
    let subject = changes.view().record::<Agent>(&subject_key);
    let (Some(author), Some(mut subject)) = (author, subject) else { return };
    let pair = (&context.author, &update.subject);
    touch(context, changes, pair, formula::trust_by_rating(update.rating), |counts| &mut counts.ratings);
    let boost = alliance::benefit(&author, Benefit::StakeBoost, context.now());
    let weight = author.reputation.plus_within(boost, Fixed::ZERO, Fixed::ONE);
    let delta = formula::reputation_by_rating(update.rating, weight);
    subject.reputation = subject.reputation.plus_within(delta, Fixed::ZERO, Fixed::ONE);
    changes.put(&subject_key, &subject);
}

pub(crate) fn verify_interaction(
    context: &Context<'_>,
    view: &dyn View,
    interaction: &SocialInteraction,
) -> Result<(), SocietyError> {
    check_range("the sentiment", interaction.sentiment, MINUS_ONE, Fixed::ONE)?;
    drama::check_level(interaction.drama)?;
    if interaction.targets.contains(&context.author) {
        return Err(SocietyError::SelfDirected("targets"));
    }
    check_distinct("targets", &interaction.targets)?;
    agent::check_exists(view, &context.author)?;
    interaction.targets.iter().try_for_each(|target| agent::check_exists(view, target))
}

pub(crate) fn apply_interaction(
    context: &Context<'_>,
    changes: &mut Changes<'_>,
    interaction: &SocialInteraction,
) {
    let Some(author) = changes.view().record::<Agent>(&keys::agent(&context.author)) else { return };
    let boost = alliance::benefit(&author, Benefit::DramaBoost, context.now());
    let drama = formula::boosted_drama(interaction.drama, boost);
    let delta = formula::trust_by_interaction(interaction.sentiment, drama);
    for target in &interaction.targets {
        let kind = interaction.kind;
        touch(context, changes, (&context.author, target), delta, |counts| counts.interactions(kind));
    }
}
