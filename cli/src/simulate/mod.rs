//! `simulate`: a society that lives by itself.
//!
//! Agents with personalities rate, meet, ally, betray, publish, quarrel and decide; validators govern. What they do is
//! drawn from the seed by a table of shares ([`SHARES`]), and scenes see to it that what is rare happens too. It comes as
//! real blocks: signed, judged by the rules, sealed.
//!
//! # Invariants
//! - Seed and number of agents give the same blocks, byte for byte, on every machine. How many events are asked for only
//!   says where to stop: a longer run begins with the blocks of a shorter one.
//! - What is refused is in no block.
//!
//! # Example
//! ```
//! use chaoschain_cli::simulate::{Options, Simulation};
//!
//! let mut simulation = Simulation::new(&Options { seed: "7".into(), agents: 20, events: 100 })?;
//! let mut messages = vec![simulation.genesis_message()];
//! while let Some(block) = simulation.next_block()? {
//!     messages.push(block.message);
//! }
//! assert!(simulation.report().events >= 100);
//! # Ok::<(), chaoschain_cli::CliError>(())
//! ```

mod act;
mod chain;
mod choose;
mod draws;
mod model;
mod personality;
mod report;
mod scene;
mod tables;

use bytes::Bytes;
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{BlockLimits, Fold, Producer, Verdict};
use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::society::{AgentRegistration, ConflictCounts, Parameters, Personality};
use chaoschain_schemas::{ChainId, Hash, Height, Micros, Sequence, Timestamp, codec};
use chaoschain_society::keys;
use chaoschain_state::{BaseView, View};
use rayon::prelude::*;

pub use chain::VALIDATORS;
pub use choose::WRONG_PER_MILLE;
pub use personality::{Deed, SHARES};
pub use report::{ConflictCount, DeedCount, KindCount, PersonalityCount, RefusedCount, Report};

use self::act::{Act, Busy, Look, Origin};
use self::choose::Chooser;
use self::draws::Draws;
use self::model::{Model, Person, Who};
use self::report::Tally;
use self::scene::Stage;
use crate::error::{CliError, Exit, Outcome};
use crate::seed::Seed;

/// How many agents a society has at least: enough for alliances, votes and every personality's company.
pub const AGENTS_MIN: usize = 16;
/// How many agents a society has at most.
pub const AGENTS_MAX: usize = 1_000_000;
/// How many deeds a block has room for, besides what scenes add.
const SLOTS_MAX: usize = 64;
/// There is a deed for every so many agents, in a block of a small society.
const AGENTS_PER_SLOT: usize = 4;
/// Every how many blocks one of those arrives who were not there from the start.
const ARRIVAL_INTERVAL: u64 = 2;
/// One in so many agents is not there from the start.
const LATECOMERS: usize = 10;
/// How much block time passes from block to block, seconds.
const STEP_SECS: (i64, i64) = (60, 600);
/// After how many blocks without events a society counts as stalled.
const EMPTY_BLOCKS_MAX: u32 = 1000;

/// What a society follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What all keys and draws derive from: 64 hex digits, or any text. Whoever knows it can sign for everybody.
    pub seed: String,
    /// How many agents there will be, [`AGENTS_MIN`] to [`AGENTS_MAX`].
    pub agents: usize,
    /// After how many events to stop: with the first block that reaches the number.
    pub events: u64,
}

/// A society, and the chain that it lives on.
pub struct Simulation {
    events_wanted: u64,
    seed: Seed,
    chain: ChainId,
    document: Genesis,
    genesis: Bytes,
    fold: Fold,
    producer: Producer,
    draws: Draws,
    model: Model,
    chooser: Chooser,
    stage: Stage,
    tally: Tally,
    /// The agents that were not there from the start, and those that are about to register.
    agents: std::ops::Range<Who>,
    arrived: usize,
    founders: usize,
    slots: usize,
    empty_blocks: u32,
}

/// A block that was made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedBlock {
    /// What a log has of it.
    pub message: Bytes,
    /// Its height.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// The state root after it.
    pub state_root: Hash,
    /// Block time.
    pub time: Timestamp,
    /// How many events it holds.
    pub events: u32,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Simulation({} {:?})", self.chain, self.fold.tip())
    }
}

impl Simulation {
    /// A society before its first block.
    ///
    /// # Errors
    /// `agents_wrong` for too few or too many agents.
    pub fn new(options: &Options) -> Outcome<Self> {
        let agents = options.agents;
        if !(AGENTS_MIN..=AGENTS_MAX).contains(&agents) {
            let message = format!("{agents} agents are not {AGENTS_MIN} to {AGENTS_MAX}");
            return Err(CliError::usage("agents_wrong", message));
        }
        let seed = Seed::of(&options.seed);
        let beginning = chain::begin(&seed, &format!("simulation-{}", options.agents))?;
        let mut model = Model::default();
        for validator in beginning.validators {
            model.add(Person { has_account: true, ..validator });
        }
        let first = model.people.len();
        let people: Vec<Person> =
            (0..agents).into_par_iter().map(|number| Person::new(&seed, format!("agent {number}"))).collect();
        for person in people {
            model.add(person);
        }
        Ok(Self {
            events_wanted: options.events,
            draws: Draws::new(&seed),
            seed,
            chain: beginning.id,
            document: beginning.document,
            genesis: beginning.message,
            fold: beginning.fold,
            producer: beginning.producer,
            model,
            chooser: Chooser::default(),
            stage: Stage::default(),
            tally: Tally::default(),
            agents: first..first + agents,
            arrived: 0,
            founders: agents - agents / LATECOMERS,
            slots: (agents / AGENTS_PER_SLOT).clamp(1, SLOTS_MAX),
            empty_blocks: 0,
        })
    }

    /// The chain's id.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// What the chain starts from.
    pub const fn genesis(&self) -> &Genesis {
        &self.document
    }

    /// Block 0, as a log has it.
    pub fn genesis_message(&self) -> Bytes {
        self.genesis.clone()
    }

    /// The key of the account that seals the blocks.
    pub fn producer_key(&self) -> &SecretKey {
        &self.producer.key
    }

    /// The keys of the validators besides the producer.
    pub fn validator_keys(&self) -> impl Iterator<Item = &SecretKey> {
        self.model.people[..VALIDATORS].iter().map(|person| &person.key)
    }

    /// The next block; `None` once there are as many events as were asked for.
    ///
    /// # Errors
    /// `simulation_broken` when the rules take what they should refuse, `simulation_stalled` when nobody does anything any
    /// more, or what keeps a fold from making a block: all are mistakes in code.
    pub fn next_block(&mut self) -> Outcome<Option<SimulatedBlock>> {
        if self.tally.events >= self.events_wanted {
            return Ok(None);
        }
        let step = self.draws.within(STEP_SECS.0, STEP_SECS.1).unsigned_abs();
        let now = self.fold.tip().header.timestamp.saturating_add(Micros::from_secs(step));
        let acts = self.make_up(now)?;
        let signed = chain::sign(self.chain, now, &self.model.people, &acts)?;
        let limits = BlockLimits::default();
        let (_, verdicts) = self.fold.propose(&self.producer, now, limits, &signed, true)?;
        let sequence = Sequence(self.fold.tip().height().0 + 1);
        let folded = self.fold.confirm(sequence);
        let folded = folded.ok_or_else(|| broken("a block was asked for and none was made"))?;
        for (act, verdict) in acts.into_iter().zip(verdicts) {
            self.judge(act, &verdict)?;
        }
        for decided in self.model.take_in(&folded.changes) {
            self.tally.decided(&decided.conflict);
        }
        let header = &folded.head.header;
        self.empty_blocks = if header.event_count == 0 { self.empty_blocks + 1 } else { 0 };
        if self.empty_blocks > EMPTY_BLOCKS_MAX {
            let message = format!("nobody has done anything in {EMPTY_BLOCKS_MAX} blocks");
            return Err(CliError::new(Exit::Refused, "simulation_stalled", message)
                .hint("let more agents take part, with --agents"));
        }
        Ok(Some(SimulatedBlock {
            message: folded.message.clone(),
            height: header.height,
            header_hash: folded.head.hash,
            state_root: header.state_root,
            time: header.timestamp,
            events: header.event_count,
        }))
    }

    /// What is to be done in the next block.
    fn make_up(&mut self, now: Timestamp) -> Outcome<Vec<Act>> {
        let context = self.fold.next_context(now)?;
        let parameters: Parameters =
            codec::decode_trusted(context.domain_parameters.bytes()).unwrap_or_default();
        let head = std::sync::Arc::clone(self.fold.tip());
        let view = BaseView::new(&*head.state);
        let arriving = self.arrivals(head.height());
        let mut look = Look {
            view: &view,
            now,
            parent: (head.height(), head.hash),
            parameters: &parameters,
            kernel: &context.parameters,
            seed: &self.seed,
            model: &mut self.model,
            draws: &mut self.draws,
            busy: Busy::default(),
        };
        let mut acts = Vec::new();
        for who in arriving.clone() {
            let personality = *look.draws.pick(Personality::ALL).unwrap_or(&Personality::Neutral);
            let act = look.sponsored(Act::of(who, &AgentRegistration { personality }));
            acts.push(look.take(act));
        }
        if self.arrived >= self.founders {
            acts.extend(self.stage.play(&mut look));
            acts.extend(self.chooser.choose(&mut look, self.slots));
        }
        self.arrived += arriving.len();
        Ok(acts)
    }

    /// Who registers in the block after `height`: the founders as fast as it goes, the others one at a time.
    fn arrivals(&self, height: Height) -> std::ops::Range<Who> {
        let count = if self.arrived < self.founders {
            SLOTS_MAX.min(self.founders - self.arrived)
        } else {
            usize::from(self.arrived < self.agents.len() && height.0.is_multiple_of(ARRIVAL_INTERVAL))
        };
        let start = self.agents.start + self.arrived;
        start..start + count
    }

    /// Counts what became of an act, and remembers what has to be done again.
    fn judge(&mut self, act: Act, verdict: &Verdict) -> Outcome {
        match (verdict, act.origin) {
            (Verdict::Accepted(_), Origin::Wrong(code)) => {
                return Err(broken(&format!("a transition was accepted that should be refused with {code}")));
            }
            (Verdict::Accepted(_), origin) => {
                self.tally.accepted(act.kind, matches!(origin, Origin::Scene(_)));
                if let Origin::Table(personality, deed) = origin {
                    self.tally.done(personality, deed);
                }
                if let Some(key) = act.new_key {
                    let person = &mut self.model.people[act.author];
                    (person.key, person.keys) = (*key, person.keys + 1);
                }
            }
            (Verdict::Rejected(rejection), origin) => {
                let meant = matches!(origin, Origin::Wrong(code) if code == rejection.code());
                self.tally.refused(rejection.code(), meant);
                if let Origin::Table(personality, deed) = origin {
                    self.chooser.owe(personality, deed);
                }
            }
            (Verdict::NoRoom, Origin::Table(personality, deed)) => self.chooser.owe(personality, deed),
            (Verdict::NoRoom, _) => {}
        }
        Ok(())
    }

    /// What it came to so far.
    pub fn report(&self) -> Report {
        let head = self.fold.head();
        let view = BaseView::new(&*head.state);
        let counts: ConflictCounts =
            (&view as &dyn View).record(&keys::conflict_counts()).unwrap_or_default();
        let (opinions_voided, divergences) = self.tally.oddities();
        Report {
            chain: self.chain,
            height: head.height(),
            time: head.header.timestamp,
            header_hash: head.hash,
            state_root: head.header.state_root,
            rules: head.header.rules,
            agents: self.model.pool_sizes().iter().sum::<usize>() as u64,
            events: self.tally.events,
            kinds: self.tally.kinds(),
            personalities: self.tally.personalities(),
            refused: self.tally.refusals(),
            conflicts: self.tally.conflicts(),
            conflicts_opened: counts.opened,
            conflicts_open: counts.open.into(),
            divergences,
            opinions_voided,
            owed: self.chooser.owed() as u64,
            dropped: self.chooser.dropped,
        }
    }
}

fn broken(what: &str) -> CliError {
    CliError::new(Exit::Corrupt, "simulation_broken", format!("the society did not go as written: {what}"))
}
