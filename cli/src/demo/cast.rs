//! The play: seven agents, what they do, and a node to do it on. Names, keys and times are fixed, so every run on every
//! machine comes to the same roots.

use std::path::Path;
use std::sync::Arc;

use chaoschain_events::envelope::{VerifiedEnvelope, sign};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{
    BlockLimits, Confirmed, Head, OpenError, Producer, Projection, ProjectionOptions, Verdict, seal_genesis,
};
use chaoschain_schemas::control::Parameters;
use chaoschain_schemas::society::{AgentRegistration, Payload, Personality};
use chaoschain_schemas::{AccountId, BODY_VERSION, Body, ChainId, Micros, Sequence, Timestamp, codec};
use chaoschain_society::{Leaderboard, Society};
use chaoschain_state::domain::Machine as _;

use crate::command::init::genesis;
use crate::error::{CliError, Exit, Outcome};

/// The seven, by name and disposition.
const CAST: [(&str, Personality); 7] = [
    ("ana", Personality::Lawful),
    ("bo", Personality::Rational),
    ("cleo", Personality::Dramatic),
    ("dorian", Personality::Greedy),
    ("eris", Personality::Chaotic),
    ("fay", Personality::Memetic),
    ("gus", Personality::Neutral),
];
/// Block time of block 0: 2026-01-01 00:00:00 UTC.
const START: Timestamp = Timestamp(1_767_225_600_000_000);
/// Block time between blocks.
const STEP: Micros = Micros::from_secs(60);

/// One of the seven.
pub(super) struct Actor {
    pub(super) name: &'static str,
    pub(super) id: AccountId,
    key: SecretKey,
    personality: Personality,
    nonce: u64,
}

/// The node that everything happens on.
pub(super) struct Stage {
    pub(super) chain: ChainId,
    pub(super) producer: Producer,
    pub(super) projection: Projection,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) actors: Vec<Actor>,
}

fn key(label: &str) -> SecretKey {
    SecretKey::from_seed(blake3::hash(format!("chaoschain demo {label}").as_bytes()).as_bytes())
}

fn broken(what: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Corrupt, "demo_broken", format!("the demo did not go as written: {what}"))
}

/// Follows the demo's log with a state in `dir/state`.
pub(super) async fn open(dir: &Path, log: &Arc<dyn EventLog>) -> Result<Projection, OpenError> {
    let options = ProjectionOptions::new(dir.join("state"));
    let models = vec![Box::new(Leaderboard::default()) as Box<_>];
    let projection = Projection::open(options, Arc::new(Society), Arc::clone(log), models, &|_| {}).await?;
    projection.start().map_err(OpenError::Thread)?;
    Ok(projection)
}

impl Stage {
    pub(super) async fn set(dir: &Path) -> Outcome<Self> {
        let key_of_producer = Arc::new(key("producer"));
        let account = AccountId::from_first_key(&key_of_producer.public());
        let producer = Producer { account, key: key_of_producer };
        let domain = Society.default_parameters();
        let genesis = genesis(&Society, "demo", START, Parameters::default(), domain, &producer.key);
        let (chain, message) = seal_genesis(&Society, &genesis, &producer.key)?;
        let log: Arc<dyn EventLog> =
            Arc::new(EmbeddedLog::open(dir.join("log"), EmbeddedOptions::default())?);
        log.append(Sequence(0), message).await?;
        let projection = open(dir, &log).await?;
        let actors = CAST.map(|(name, personality)| {
            let key = key(name);
            Actor { name, id: AccountId::from_first_key(&key.public()), key, personality, nonce: 0 }
        });
        Ok(Self { chain, producer, projection, log, actors: actors.into() })
    }

    fn now(&self) -> Timestamp {
        self.projection.head().header.timestamp.saturating_add(STEP)
    }

    fn place(&self, name: &str) -> usize {
        self.actors.iter().position(|actor| actor.name == name).unwrap_or_default()
    }

    pub(super) fn id(&self, name: &str) -> AccountId {
        self.actors[self.place(name)].id
    }

    pub(super) fn ids(&self, names: &[&str]) -> Vec<AccountId> {
        names.iter().map(|name| self.id(name)).collect()
    }

    /// The name of whose id this is.
    pub(super) fn name(&self, id: &AccountId) -> Option<&'static str> {
        self.actors.iter().find(|actor| actor.id == *id).map(|actor| actor.name)
    }

    /// `name` registers.
    pub(super) fn registration(&mut self, name: &str) -> Outcome<VerifiedEnvelope> {
        let personality = self.actors[self.place(name)].personality;
        self.act(name, &AgentRegistration { personality }, &[])
    }

    /// `name` does something, with the agreement of `others`.
    pub(super) fn act<P: Payload>(
        &mut self,
        name: &str,
        payload: &P,
        others: &[&str],
    ) -> Outcome<VerifiedEnvelope> {
        let place = self.place(name);
        let body = Body {
            version: BODY_VERSION,
            chain: self.chain,
            epoch: 0,
            author: self.actors[place].id,
            lane: 0,
            nonce: self.actors[place].nonce,
            valid_until: self.now().saturating_add(STEP),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind: P::KIND,
            payload: codec::encode(payload).into(),
        };
        let actors = &self.actors;
        let places = std::iter::once(place).chain(others.iter().map(|other| self.place(other)));
        let signers: Vec<_> = places.map(|place| (actors[place].id, &actors[place].key)).collect();
        sign(&body, &signers).map_err(|error| broken(&error))
    }

    /// Counts an accepted transition of `name`.
    pub(super) fn accepted(&mut self, name: &str) {
        let place = self.place(name);
        self.actors[place].nonce += 1;
    }

    /// Seals a block of what is acceptable among `events`; with the verdicts, in order.
    pub(super) async fn seal(&self, events: &[VerifiedEnvelope]) -> Outcome<(Arc<Head>, Vec<Verdict>)> {
        let (proposed, verdicts) =
            self.projection.propose(&self.producer, self.now(), BlockLimits::default(), events, false)?;
        let Some(proposed) = proposed else { return Ok((self.projection.head(), verdicts)) };
        let sequence = self.log.append(self.log.tip().await?, proposed.message()).await?;
        match self.projection.confirm(&proposed.header_hash(), sequence) {
            Confirmed::Adopted(head) => Ok((head, verdicts)),
            Confirmed::AlreadyFolded => Ok((self.projection.head(), verdicts)),
            Confirmed::Dropped => Err(broken(&"a block was dropped though nobody else writes")),
        }
    }
}
