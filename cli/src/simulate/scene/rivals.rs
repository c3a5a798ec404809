//! Two exclusive alliances of one purpose with a member in common.

use chaoschain_schemas::society::{Agent, Alliance, AlliancePurpose, Personality, PurposeKind};
use chaoschain_schemas::{AllianceId, Micros};
use chaoschain_society::keys;

use super::quarrel::Vote;
use super::{Course, Turn};
use crate::simulate::act::{Act, Look, has_kept_faith, pact};
use crate::simulate::model::Who;

/// How long an alliance lasts that is to outlive the conflict.
const LONG: Micros = Micros::from_secs(24 * 3600);
/// How long one lasts that is not.
const SHORT: Micros = Micros::from_secs(3600);
/// How many blocks the two formations may take.
const PATIENCE: u32 = 12;

/// Anna is with both Bert and Cleo, and both think that they have her alone.
pub(super) struct Rivals {
    purpose: AlliancePurpose,
    course: Course,
    members: Option<[Who; 3]>,
    vote: Option<Vote>,
    blocks: u32,
}

impl Rivals {
    /// Scene number `number`, which no other alliance shares its purpose with.
    pub(super) fn new(number: usize, course: Course) -> Self {
        let purpose =
            AlliancePurpose { kind: PurposeKind::Other, text: Some(format!("the {number}. treasure")) };
        Self { purpose, course, members: None, vote: None, blocks: 0 }
    }

    pub(super) fn turn(&mut self, look: &mut Look<'_>, room: usize) -> Turn {
        if let Some(vote) = &self.vote {
            return vote.turn(look, room);
        }
        self.blocks += 1;
        if self.blocks > PATIENCE {
            return Turn::Done;
        }
        let formed = self.members.map(|[anna, ..]| self.formed(look, anna)).unwrap_or_default();
        match formed[..] {
            [] => Turn::Acts(self.first(look).into_iter().collect()),
            [_] => Turn::Acts(self.second(look).into_iter().collect()),
            [first, ..] => {
                let conflict =
                    look.record::<Alliance>(&keys::alliance(&first)).and_then(|alliance| alliance.conflict);
                let Some(conflict) = conflict else { return Turn::Done };
                look.model.stage(conflict);
                self.vote.insert(Vote { conflict, course: self.course }).turn(look, room)
            }
        }
    }

    /// The scene's alliances that Anna is in.
    fn formed(&self, look: &Look<'_>, anna: Who) -> Vec<AllianceId> {
        let purpose = Some(self.purpose.hash());
        let agent: Option<Agent> = look.record(&keys::agent(&look.id(anna)));
        let memberships = agent.map(|agent| agent.alliances).unwrap_or_default();
        memberships.into_iter().filter(|one| one.exclusive_for == purpose).map(|one| one.id).collect()
    }

    fn first(&mut self, look: &mut Look<'_>) -> Option<Act> {
        let personality = *look.draws.pick(Personality::ALL)?;
        let anna = look.someone(personality)?;
        let others = look.others(&[anna], 2, true);
        let members = [anna, *others.first()?, *others.get(1)?];
        if !members.iter().all(|who| has_kept_faith(look, *who)) {
            return None;
        }
        self.members = Some(members);
        let duration = if self.course == Course::Lapse { SHORT } else { LONG };
        let act = pact(look, &members[..2], self.purpose.clone(), duration, true);
        Some(look.take(act))
    }

    fn second(&self, look: &mut Look<'_>) -> Option<Act> {
        let [anna, _, cleo] = self.members?;
        if ![anna, cleo].iter().all(|who| look.is_free(*who) && has_kept_faith(look, *who)) {
            return None;
        }
        let short = matches!(self.course, Course::Expiry | Course::Lapse);
        let duration = if short { SHORT } else { LONG };
        let act = pact(look, &[anna, cleo], self.purpose.clone(), duration, true);
        Some(look.take(act))
    }
}
