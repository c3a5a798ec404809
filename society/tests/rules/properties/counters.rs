//! Counters equal what the log says: they are counted again from the accepted transitions alone.

use std::collections::BTreeMap;

use chaoschain_schemas::society::{
    DramaEvent, InfluenceScore, InteractionKind, Personality, PersonalityHistory, ReactionCounts,
    Relationship, RelationshipCounts,
};
use chaoschain_schemas::{AgentId, AllianceId, Fixed, MemeId, TransitionId};
use chaoschain_society::{Transition, keys};
use proptest::prelude::*;

use super::{Entry, History};

#[derive(Default)]
struct Count {
    views: BTreeMap<(AgentId, AgentId), RelationshipCounts>,
    /// How often, and to what at last.
    shifts: BTreeMap<AgentId, (u32, Personality)>,
    creators: BTreeMap<MemeId, AgentId>,
    memes: BTreeMap<MemeId, (u32, ReactionCounts, i64)>,
    /// Members, and who has betrayed it.
    alliances: BTreeMap<AllianceId, (Vec<AgentId>, Option<AgentId>)>,
    dramas: usize,
}

impl Count {
    fn view(&mut self, from: AgentId, to: AgentId) -> &mut RelationshipCounts {
        self.views.entry((from, to)).or_default()
    }

    fn take(&mut self, author: AgentId, id: TransitionId, transition: &Transition) {
        match transition {
            Transition::PersonalityShift(shift) => {
                let count = self.shifts.get(&author).map_or(0, |(count, _)| *count);
                self.shifts.insert(author, (count + 1, shift.personality));
                self.dramas += usize::from(shift.drama > 0);
            }
            Transition::ReputationUpdate(update) => self.view(author, update.subject).ratings += 1,
            Transition::SocialInteraction(interaction) => {
                for target in &interaction.targets {
                    let counts = self.view(author, *target);
                    match interaction.kind {
                        InteractionKind::Friend => counts.friend += 1,
                        InteractionKind::Rival => counts.rival += 1,
                        InteractionKind::ChaoticAlliance => counts.chaotic_alliance += 1,
                        InteractionKind::DramaticNemesis => counts.dramatic_nemesis += 1,
                        InteractionKind::NeutralObserver => counts.neutral_observer += 1,
                    }
                }
            }
            Transition::AllianceFormation(formation) => {
                self.alliances.insert(id.into(), (formation.members.clone(), None));
            }
            Transition::AllianceDeparture(departure) => {
                self.dramas += usize::from(departure.drama > 0);
                let (members, traitor) = self.alliances.get_mut(&departure.alliance).unwrap();
                *traitor = None;
                if members.len() > 2 {
                    members.retain(|member| *member != author);
                }
            }
            Transition::AllianceBetrayal(betrayal) => {
                self.dramas += 1;
                let (members, traitor) = self.alliances.get_mut(&betrayal.alliance).unwrap();
                *traitor = Some(author);
                for member in members.clone().into_iter().filter(|member| *member != author) {
                    self.view(member, author).betrayals += 1;
                }
            }
            Transition::AllianceReconciliation(revival) => {
                self.dramas += 1;
                let (members, traitor) = self.alliances[&revival.alliance].clone();
                for member in members {
                    if let Some(traitor) = traitor.filter(|traitor| *traitor != member) {
                        self.view(member, traitor).reconciliations += 1;
                    }
                }
            }
            Transition::DramaRecord(_) => self.dramas += 1,
            Transition::MemePublication(_) => drop(self.creators.insert(id.into(), author)),
            Transition::MemeInfluence(influence) => {
                self.memes.entry(influence.meme).or_default().0 += 1;
                let creator = self.creators[&influence.meme];
                for affected in &influence.affected {
                    self.view(*affected, creator).memes += 1;
                }
            }
            Transition::MemeReaction(reaction) => {
                let (_, counts, sum) = self.memes.entry(reaction.meme).or_default();
                let score = reaction.score.millionths();
                *sum += score;
                if score > 700_000 {
                    counts.love += 1;
                } else if score > 500_000 {
                    counts.like += 1;
                } else if score > 300_000 {
                    counts.neutral += 1;
                } else {
                    counts.dislike += 1;
                }
                let creator = self.creators[&reaction.meme];
                self.view(author, creator).memes += 1;
            }
            _ => {}
        }
    }
}

pub(super) fn check(history: &History) -> Result<(), TestCaseError> {
    let mut count = Count::default();
    for Entry { id, signers, transition, .. } in &history.log {
        count.take(signers.author().id(), *id, transition);
    }
    let world = &history.world;
    let keys_of = |sub_tree, tag| {
        world.state.keys().filter(move |key| key.sub_tree() == sub_tree && key.as_bytes()[0] == tag)
    };
    prop_assert_eq!(keys_of(keys::SOCIAL, 2).count(), count.views.len());
    for ((from, to), want) in &count.views {
        let view: Relationship = world.record(&keys::relationship(from, to)).unwrap();
        prop_assert_eq!(&view.counts, want);
    }
    prop_assert_eq!(keys_of(keys::AGENTS, 4).count(), count.shifts.len());
    for (agent, want) in &count.shifts {
        let shifts: PersonalityHistory = world.record(&keys::personality(agent)).unwrap();
        prop_assert_eq!((shifts.count, shifts.new), *want);
    }
    prop_assert_eq!(keys_of(keys::SOCIAL, 3).count(), count.memes.len());
    for (meme, (influences, reactions, sum)) in &count.memes {
        let score: InfluenceScore = world.record(&keys::influence(meme)).unwrap();
        prop_assert_eq!((score.count, score.reactions), (*influences, *reactions));
        prop_assert_eq!(score.score_sum, Fixed::from_millionths(*sum));
    }
    prop_assert_eq!(keys_of(keys::MEMES, 1).count(), count.creators.len());
    prop_assert_eq!(keys_of(keys::SOCIAL, 4).count(), count.dramas);
    for key in keys_of(keys::SOCIAL, 4) {
        let drama: DramaEvent = world.record(key).unwrap();
        prop_assert!(drama.level <= 10 && drama.at <= world.now);
    }
    Ok(())
}
