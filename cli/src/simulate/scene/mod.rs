//! Scenes: what is rare is put on stage, in a fixed order, again and again.
//!
//! A scene runs over several blocks beside what the table brings. Its transitions bear its correlation id, so that a
//! scene can be found by it, and what agents do of their own accord can be told from it.

mod offices;
mod quarrel;
mod rivals;

use chaoschain_schemas::CorrelationId;
use chaoschain_schemas::society::{ContestedField, Strategy};

use super::act::{Act, Look, Origin};
use quarrel::Quarrel;

/// Every how many blocks a scene begins.
const SCENE_INTERVAL: u32 = 6;
/// How many blocks after the founding the first one begins: when the founders are old enough to vote.
const FIRST_SCENE_AFTER: u32 = 20;
/// How many scenes run at a time, at most.
const SCENES_MAX: usize = 24;
/// The most transitions of all scenes in a block.
const SCENE_ACTS_MAX: usize = 48;

/// How a conflict is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    /// All are for the second option until it is past the threshold.
    Threshold,
    /// All speak, none wins, and somebody asks for the evaluation.
    AllSpoken,
    /// Enough speak for the deadline to decide.
    Deadline,
    /// The first two options are equally heavy at the deadline.
    Tie,
    /// Too few speak.
    Silence,
    /// Some opt for two options; the others decide.
    Void,
    /// The earlier alliance's time is over before the deadline.
    Expiry,
    /// Both alliances' time is over before the deadline.
    Lapse,
}

/// What is to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cue {
    /// A contested fact.
    Fact(Course),
    /// Two exclusive alliances with a member in common.
    Rivals(Course),
    /// An account without an agent is registered.
    Onlooker,
    /// Somebody gets an office, and loses it.
    Office,
    /// Somebody is suspended, tries to act, and may act again.
    Ban,
    /// Parameters, or the rules, change.
    Amendment,
    /// A validator reports a divergence.
    Evidence,
}

/// The amendment comes last, so that everything has been played under the rules that the chain starts with before they change.
const PROGRAM: [Cue; 17] = [
    Cue::Fact(Course::Threshold),
    Cue::Rivals(Course::Expiry),
    Cue::Fact(Course::AllSpoken),
    Cue::Onlooker,
    Cue::Rivals(Course::Lapse),
    Cue::Fact(Course::Deadline),
    Cue::Ban,
    Cue::Fact(Course::Tie),
    Cue::Rivals(Course::Threshold),
    Cue::Office,
    Cue::Fact(Course::Silence),
    Cue::Evidence,
    Cue::Fact(Course::Void),
    Cue::Rivals(Course::Deadline),
    Cue::Rivals(Course::Silence),
    Cue::Rivals(Course::AllSpoken),
    Cue::Amendment,
];

/// What a scene does in a block.
enum Turn {
    /// It goes on.
    Acts(Vec<Act>),
    /// This was all.
    Last(Act),
    /// It is over.
    Done,
}

impl Turn {
    /// What is to be done once, and tried again where it cannot be done now.
    fn once(act: Option<Act>) -> Self {
        act.map_or_else(|| Self::Acts(Vec::new()), Self::Last)
    }
}

enum Play {
    Quarrel(Quarrel),
    Rivals(rivals::Rivals),
    Office(offices::Office),
    Ban(offices::Ban),
    /// A single transition.
    Once(Cue),
}

struct Scene {
    id: CorrelationId,
    /// How often the program was played before.
    pass: usize,
    play: Play,
}

/// The scenes that run, and what comes next.
#[derive(Default)]
pub(super) struct Stage {
    running: Vec<Scene>,
    begun: usize,
    blocks: u32,
}

impl Stage {
    /// What scenes do in the next block.
    pub(super) fn play(&mut self, look: &mut Look<'_>) -> Vec<Act> {
        self.blocks += 1;
        let is_time = self.blocks > FIRST_SCENE_AFTER && self.blocks.is_multiple_of(SCENE_INTERVAL);
        if is_time && self.running.len() < SCENES_MAX {
            self.begin(look);
        }
        let mut acts = Vec::new();
        self.running.retain_mut(|scene| {
            let room = SCENE_ACTS_MAX.saturating_sub(acts.len());
            if room == 0 {
                return true;
            }
            match scene.turn(look, room) {
                Turn::Acts(more) => {
                    acts.extend(more.into_iter().map(|act| scene.mark(act)));
                    true
                }
                Turn::Last(act) => {
                    acts.push(scene.mark(act));
                    false
                }
                Turn::Done => false,
            }
        });
        acts
    }

    fn begin(&mut self, look: &mut Look<'_>) {
        let (pass, cue) = (self.begun / PROGRAM.len(), PROGRAM[self.begun % PROGRAM.len()]);
        let mut id = [0; 16];
        id.copy_from_slice(&look.draws.bytes()[..16]);
        let play = match cue {
            Cue::Fact(course) => {
                let strategy = match course {
                    Course::Tie => Strategy::Majority,
                    _ => Strategy::ALL[(self.begun + pass) % Strategy::ALL.len()],
                };
                let field = ContestedField::ALL[(self.begun / 2 + pass) % ContestedField::ALL.len()];
                Play::Quarrel(Quarrel::about(field, strategy, course))
            }
            Cue::Rivals(course) => Play::Rivals(rivals::Rivals::new(self.begun, course)),
            Cue::Office => Play::Office(offices::Office::default()),
            Cue::Ban => Play::Ban(offices::Ban::default()),
            once => Play::Once(once),
        };
        self.running.push(Scene { id: CorrelationId::new(id), pass, play });
        self.begun += 1;
    }
}

impl Scene {
    fn turn(&mut self, look: &mut Look<'_>, room: usize) -> Turn {
        let pass = self.pass;
        match &mut self.play {
            Play::Quarrel(quarrel) => quarrel.turn(look, room),
            Play::Rivals(rivals) => rivals.turn(look, room),
            Play::Office(office) => office.turn(look, pass),
            Play::Ban(ban) => ban.turn(look),
            Play::Once(Cue::Onlooker) => Turn::Last(offices::onlooker(look, pass)),
            Play::Once(Cue::Amendment) => Turn::once(offices::amendment(look, pass)),
            Play::Once(_) => Turn::once(offices::evidence(look)),
        }
    }

    /// What is to be refused keeps saying so.
    const fn mark(&self, mut act: Act) -> Act {
        if !matches!(act.origin, Origin::Wrong(_)) {
            act.origin = Origin::Scene(self.id);
        }
        act
    }
}
