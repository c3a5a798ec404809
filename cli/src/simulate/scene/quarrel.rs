//! A conflict that goes as its course says: reported, voted on, decided.

use chaoschain_schemas::ConflictId;
use chaoschain_schemas::society::{
    Conflict, ConflictReport, ConflictResolution, ContestedFact, ContestedField, Elector, FactReport,
    OpenConflict, OpinionCast, Personality, Strategy,
};
use chaoschain_society::keys;

use super::{Course, Turn};
use crate::simulate::act::{Act, Look, claims};
use crate::simulate::model::Who;

/// How often a report is tried again before the scene is given up.
const REPORTS_MAX: u32 = 8;
/// How many electors opt twice, where some do.
const VOID: usize = 5;
/// How many speak, where too few do.
const FEW: usize = 3;

/// A contested fact.
pub(super) struct Quarrel {
    field: ContestedField,
    strategy: Strategy,
    course: Course,
    fact: Option<ContestedFact>,
    reports: u32,
    vote: Option<Vote>,
}

/// An open conflict whose electors speak as the course says.
pub(super) struct Vote {
    pub(super) conflict: ConflictId,
    pub(super) course: Course,
}

impl Quarrel {
    pub(super) const fn about(field: ContestedField, strategy: Strategy, course: Course) -> Self {
        Self { field, strategy, course, fact: None, reports: 0, vote: None }
    }

    pub(super) fn turn(&mut self, look: &mut Look<'_>, room: usize) -> Turn {
        if let Some(vote) = &self.vote {
            return vote.turn(look, room);
        }
        let open = self.fact.and_then(|fact| look.record::<OpenConflict>(&keys::open_conflict(&fact)));
        if let Some(OpenConflict { conflict }) = open {
            look.model.stage(conflict);
            let vote = self.vote.insert(Vote { conflict, course: self.course });
            return vote.turn(look, room);
        }
        self.reports += 1;
        if self.reports > REPORTS_MAX {
            Turn::Done
        } else {
            Turn::Acts(self.report(look).into_iter().collect())
        }
    }

    fn report(&mut self, look: &mut Look<'_>) -> Option<Act> {
        let personality = *look.draws.pick(Personality::ALL)?;
        let author = look.someone(personality)?;
        let subject = *look.others(&[author], 1, true).first()?;
        let fact = ContestedFact { agent: look.id(subject), field: self.field };
        let claims = claims(look, subject, self.field)?;
        self.fact = Some(fact);
        let report = ConflictReport {
            fact: Some(FactReport { agent: fact.agent, claims }),
            divergence: None,
            strategy: Some(self.strategy),
            reason: "it has to be said".into(),
        };
        let act = Act::of(author, &report);
        Some(look.take(act))
    }
}

impl Vote {
    pub(super) fn turn(&self, look: &mut Look<'_>, room: usize) -> Turn {
        let id = self.conflict;
        let Some(conflict) = look.record::<Conflict>(&keys::conflict(&id)) else { return Turn::Done };
        if conflict.outcome.is_some() {
            return Turn::Done;
        }
        if look.now >= conflict.deadline {
            return Turn::Acts(Vec::new());
        }
        let opinions = match self.course {
            Course::Tie => pairs(look, &conflict),
            course => {
                let said = conflict.electors.iter().enumerate();
                said.filter_map(|(place, elector)| Some((elector, next(course, place, elector)?)))
                    .filter_map(|(elector, option)| Some((can_speak(look, elector)?, option)))
                    .collect()
            }
        };
        let mut acts: Vec<Act> = opinions
            .into_iter()
            .take(room)
            .map(|(who, option)| look.take(Act::of(who, &OpinionCast { conflict: id, option })))
            .collect();
        let all_spoken = conflict.electors.iter().all(|elector| elector.voided || elector.opinion.is_some());
        if self.course == Course::AllSpoken && all_spoken {
            let asker = conflict.electors.iter().find_map(|elector| can_speak(look, elector));
            acts.extend(asker.map(|who| look.take(Act::of(who, &ConflictResolution { conflict: id }))));
        }
        Turn::Acts(acts)
    }
}

/// What the elector at this place says next, if anything.
fn next(course: Course, place: usize, elector: &Elector) -> Option<u8> {
    let first = match course {
        Course::Threshold | Course::Void => Some(1),
        Course::AllSpoken => Some(u8::from(place % 5 < 3)),
        Course::Deadline => match place % 10 {
            0..5 => Some(1),
            5 => Some(0),
            _ => None,
        },
        Course::Silence => (place < FEW).then_some(1),
        Course::Tie | Course::Expiry | Course::Lapse => None,
    };
    match elector {
        Elector { voided: true, .. } => None,
        Elector { opinion: None, .. } => first,
        Elector { opinion: Some(1), .. } if course == Course::Void && place < VOID => Some(0),
        Elector { opinion: Some(_), .. } => None,
    }
}

/// As many for the one as for the other option, of those who can speak.
fn pairs(look: &Look<'_>, conflict: &Conflict) -> Vec<(Who, u8)> {
    let silent = conflict.electors.iter().filter(|elector| elector.opinion.is_none() && !elector.voided);
    let able: Vec<Who> =
        silent.filter_map(|elector| can_speak(look, elector)).take(super::SCENE_ACTS_MAX / 4).collect();
    able.chunks_exact(2).flat_map(|pair| [(pair[0], 0), (pair[1], 1)]).collect()
}

/// Also who rests may speak.
fn can_speak(look: &Look<'_>, elector: &Elector) -> Option<Who> {
    look.model.who(&elector.agent).filter(|who| !look.is_busy(*who) && !look.model.people[*who].suspended)
}
