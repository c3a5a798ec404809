//! The chain that is measured: a society of many authors that rate each other, in a directory that is removed afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use chaoschain_command::{Clock, CommandOptions, CommandService};
use chaoschain_events::envelope::{VerifiedEnvelope, sign};
use chaoschain_events::log::EventLog;
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{Producer, Projection, ProjectionOptions, seal_genesis};
use chaoschain_schemas::control::{GenesisAccount, Parameters, Role};
use chaoschain_schemas::society::{AgentRegistration, Payload, Personality, ReputationUpdate};
use chaoschain_schemas::{AccountId, BODY_VERSION, Body, ChainId, Fixed, Micros, Sequence, Timestamp, codec};
use chaoschain_society::Society;
use chaoschain_state::domain::Machine as _;
use rayon::prelude::*;

use crate::command::init::genesis;
use crate::config::Config;
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::{LogChoice, LogHome, open_any_log};

/// How long a signed event may wait to be used, for slow machines.
const VALID_FOR: Micros = Micros::from_secs(24 * 3600);

pub(super) fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))
}

/// An error that a benchmark has no better word for.
pub(super) fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Unavailable, "bench_failed", error.to_string())
}

struct Author {
    id: AccountId,
    key: SecretKey,
    nonce: u64,
}

/// A running node with authors and their signed registrations.
pub(super) struct Bench {
    dir: tempfile::TempDir,
    home: LogHome,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) projection: Projection,
    pub(super) service: CommandService,
    /// Another service on the same chain, with a projection and a key of its own, where that was asked for.
    second: Option<(Projection, CommandService)>,
    /// Who seals for the second one.
    rival: Producer,
    chain: ChainId,
    authors: Vec<Author>,
    registrations: Vec<VerifiedEnvelope>,
}

impl Bench {
    /// Makes a chain on the log that `config` names and starts a service on it.
    pub(super) async fn new(config: &Config, authors: usize) -> Outcome<Self> {
        let dir = tempfile::tempdir().map_err(|error| failed(&error))?;
        let producer = |seed: u8| {
            let key = Arc::new(SecretKey::from_seed(&[seed; 32]));
            Producer { account: AccountId::from_first_key(&key.public()), key }
        };
        // Block 0 is sealed by the producer with the lower key.
        let mut producers = [producer(0xbe), producer(0xef)];
        producers.sort_by_key(|producer| producer.key.public());
        let [producer, rival] = producers;
        let parameters = Parameters { valid_until_max: Micros(2 * VALID_FOR.0), ..Parameters::default() };
        let (now, domain) = (Clock::system().now(), Society.default_parameters());
        let mut genesis = genesis(&Society, "bench", now, parameters, domain, &producer.key);
        genesis.accounts.push(GenesisAccount {
            key: rival.key.public(),
            role: Role::Producer,
            weight: 0,
            sponsorships: 0,
        });
        let (chain, message) = seal_genesis(&Society, &genesis, &producer.key)?;
        let place = DataDir::at(dir.path().join("node"));
        let named = Chain {
            id: chain,
            name: genesis.name.clone(),
            domain: genesis.domain.clone(),
            log: LogChoice::Embedded,
        };
        std::fs::create_dir(place.root()).map_err(|error| failed(&error))?;
        let home = open_any_log(config, &place, &named, true).await?;
        let log = Arc::clone(&home.log);
        log.append(Sequence(0), message).await?;
        let projection = open(&log, dir.path().join("state"), 256).await?;
        let service = CommandService::start(projection.clone(), producer, CommandOptions::default())
            .map_err(|error| failed(&error))?;
        let mut bench = Self {
            dir,
            home,
            log,
            projection,
            service,
            second: None,
            rival,
            chain,
            authors: (0..authors as u64).into_par_iter().map(author).collect(),
            registrations: Vec::new(),
        };
        bench.registrations = bench.sign_registrations()?;
        Ok(bench)
    }

    /// Starts the second service.
    pub(super) async fn start_second(&mut self) -> Outcome<CommandService> {
        let projection = open(&self.log, self.state_dir("second"), 256).await?;
        let tip = self.log.tip().await?;
        projection.wait_cursor(tip).await.map_err(|condition| failed(&format!("{condition:?}")))?;
        let service =
            CommandService::start(projection.clone(), self.rival.clone(), CommandOptions::default())
                .map_err(|error| failed(&error))?;
        self.second = Some((projection, service.clone()));
        Ok(service)
    }

    pub(super) fn registrations(&self) -> &[VerifiedEnvelope] {
        &self.registrations
    }

    pub(super) fn state_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn author_ids(&self) -> impl Iterator<Item = AccountId> {
        self.authors.iter().map(|author| author.id)
    }

    fn sign_registrations(&mut self) -> Outcome<Vec<VerifiedEnvelope>> {
        let chain = self.chain;
        let now = Clock::system().now();
        let payload = codec::encode(&AgentRegistration { personality: Personality::Rational });
        let signed = self
            .authors
            .par_iter_mut()
            .map(|author| author.sign(chain, now, AgentRegistration::KIND, payload.clone()));
        signed.collect()
    }

    /// Signs `count` ratings; authors take turns, and each rates another one every time.
    pub(super) fn sign_ratings(&mut self, count: usize) -> Outcome<Vec<VerifiedEnvelope>> {
        let chain = self.chain;
        let now = Clock::system().now();
        let ids: Vec<AccountId> = self.author_ids().collect();
        let mut signed = Vec::with_capacity(count);
        while signed.len() < count {
            let turn = (count - signed.len()).min(ids.len());
            let round = self.authors[..turn].par_iter_mut().enumerate().map(|(place, author)| {
                let far = 1 + (author.nonce as usize).wrapping_mul(7919) % (ids.len() - 1);
                let subject = ids[(place + far) % ids.len()];
                let rating = Fixed::from_millionths(100_000 * (1 + author.nonce % 9).cast_signed());
                author.sign(
                    chain,
                    now,
                    ReputationUpdate::KIND,
                    codec::encode(&ReputationUpdate { subject, rating }),
                )
            });
            signed.extend(round.collect::<Outcome<Vec<_>>>()?);
        }
        Ok(signed)
    }

    pub(super) async fn close(self) {
        let first = (self.projection, self.service);
        for (projection, service) in std::iter::once(first).chain(self.second) {
            service.shut_down().await;
            drop(service);
            drop(tokio::task::spawn_blocking(move || projection.close()).await);
        }
        self.home.close().await;
    }
}

impl Author {
    fn sign(
        &mut self,
        chain: ChainId,
        now: Timestamp,
        kind: u16,
        payload: Vec<u8>,
    ) -> Outcome<VerifiedEnvelope> {
        let body = Body {
            version: BODY_VERSION,
            chain,
            epoch: 0,
            author: self.id,
            lane: 0,
            nonce: self.nonce,
            valid_until: now.saturating_add(VALID_FOR),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind,
            payload: payload.into(),
        };
        self.nonce += 1;
        sign(&body, &[(self.id, &self.key)]).map_err(|error| failed(&error))
    }
}

fn author(number: u64) -> Author {
    let key = SecretKey::from_seed(blake3::hash(&number.to_be_bytes()).as_bytes());
    Author { id: AccountId::from_first_key(&key.public()), key, nonce: 0 }
}

/// A projection of `log` in a directory of its own, following.
pub(super) async fn open(log: &Arc<dyn EventLog>, dir: PathBuf, fold_batch: usize) -> Outcome<Projection> {
    let options = ProjectionOptions { fold_batch, ..ProjectionOptions::new(dir) };
    let projection =
        Projection::open(options, Arc::new(Society), Arc::clone(log), Vec::new(), &|_| {}).await?;
    projection.start().map_err(|error| failed(&error))?;
    Ok(projection)
}
