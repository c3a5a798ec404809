//! A chain in a few lines: the society domain, two producers, authors, and a log that fails as scripted.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod alarms;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use chaoschain_command::{Clock, CommandOptions, CommandService};
use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::envelope::{assemble, sign, sign_as};
use chaoschain_events::log::{
    AppendError, EmbeddedLog, EmbeddedOptions, Entry, EventLog, LogError, ReadLimits, Subscription,
};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{Head, Producer, Projection, ProjectionOptions, seal_genesis};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::control::{GENESIS_VERSION, Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::{AccountId, BODY_VERSION, Body, ChainId, Sequence, Timestamp, codec};
use chaoschain_society::Society;
use chaoschain_state::control::{kind_named, transition_from_json};
use chaoschain_state::domain::Machine;
use futures::future::BoxFuture;
use serde_json::{Value as Json, json};
use tokio::sync::{Semaphore, watch};

pub const START: Timestamp = Timestamp(1_700_000_000_000_000);
pub const DAY: u64 = 24 * 3_600_000_000;

pub fn key(number: u16) -> Arc<SecretKey> {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    Arc::new(SecretKey::from_seed(&seed))
}

pub fn producer(number: u16) -> Producer {
    let key = key(number);
    Producer { account: AccountId::from_first_key(&key.public()), key }
}

/// The society's chain of producers 1 and 2.
pub fn genesis() -> (ChainId, Bytes) {
    genesis_of(&Society)
}

/// Such a chain of another domain.
pub fn genesis_of(machine: &dyn Machine) -> (ChainId, Bytes) {
    let mut accounts: Vec<_> = [1, 2]
        .map(|n| GenesisAccount { key: key(n).public(), role: Role::Producer, weight: 1, sponsorships: 0 })
        .into();
    accounts.sort_by_key(|account| account.key);
    let genesis = Genesis {
        version: GENESIS_VERSION,
        name: "test".into(),
        domain: machine.id().into(),
        rules: 1,
        sub_trees: machine.sub_trees().iter().map(|&name| name.into()).collect(),
        timestamp: START,
        parameters: Parameters::default(),
        domain_parameters: machine.default_parameters().into(),
        accounts,
    };
    let first = genesis.first_producer().unwrap().key;
    let sealer = [1, 2].map(key).into_iter().find(|key| key.public() == first).unwrap();
    seal_genesis(machine, &genesis, &sealer).unwrap()
}

/// A clock that stands still until it is set.
#[derive(Clone)]
pub struct Stopped(Arc<AtomicU64>);

impl Default for Stopped {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(START.0 + 1)))
    }
}

impl Stopped {
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Clock::new(move || Timestamp(now.load(Ordering::SeqCst)))
    }
}

/// An author; bodies are made by number, so that tests may leave gaps or repeat.
pub struct Author {
    pub key: Arc<SecretKey>,
    pub id: AccountId,
}

pub fn author(number: u16) -> Author {
    let key = key(1000 + number);
    Author { id: AccountId::from_first_key(&key.public()), key }
}

impl Author {
    pub fn body(&self, kind: &str, payload: &Json, lane: u8, nonce: u64) -> Body {
        let spec = kind_named(&Society, kind).unwrap();
        Body {
            version: BODY_VERSION,
            chain: genesis().0,
            epoch: 0,
            author: self.id,
            lane,
            nonce,
            valid_until: Timestamp(START.0 + 60_000_000),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind: spec.kind,
            payload: transition_from_json(&Society, spec.kind, payload).unwrap(),
        }
    }

    pub fn signed(&self, body: &Body) -> Bytes {
        sign(body, &[(self.id, &*self.key)]).unwrap().bytes().clone()
    }

    pub fn register(&self) -> Bytes {
        self.signed(&self.body("AgentRegistration", &json!({ "personality": "Chaotic" }), 0, 0))
    }

    /// Any small transition.
    pub fn act(&self, lane: u8, nonce: u64) -> Bytes {
        self.signed(&self.body("CustomSet", &note(&format!("{lane}/{nonce}")), lane, nonce))
    }

    /// The same bytes but for one bit of the signature.
    pub fn forged(&self, lane: u8, nonce: u64) -> Bytes {
        let mut bytes = self.act(lane, nonce).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.into()
    }

    /// A body under the signatures of `parties`, in that order.
    pub fn with_parties(body: &Body, parties: &[&Self]) -> Bytes {
        let body = codec::encode(body);
        assemble(&body, parties.iter().map(|party| sign_as(party.id, &party.key, &body)).collect()).into()
    }
}

/// An entry of an author's own, to set.
pub fn note(text: &str) -> Json {
    let value = base64::engine::general_purpose::STANDARD.encode(text);
    json!({ "namespace": "test", "key": "note", "value": value })
}

pub async fn new_log(dir: &Path) -> Arc<dyn EventLog> {
    let log = EmbeddedLog::open(dir.join("log"), EmbeddedOptions::default()).unwrap();
    log.append(Sequence(0), genesis().1).await.unwrap();
    Arc::new(log)
}

pub async fn open(dir: &Path, log: &Arc<dyn EventLog>) -> Projection {
    let options = ProjectionOptions::new(dir);
    let machine: Arc<dyn Machine> = Arc::new(Society);
    let projection = Projection::open(options, machine, Arc::clone(log), Vec::new(), &|_| {}).await.unwrap();
    projection.start().unwrap();
    projection
}

pub fn options() -> CommandOptions {
    CommandOptions {
        clock: Stopped::default().clock(),
        nonce_wait: Duration::from_secs(20),
        stall_first: Duration::from_millis(1),
        stall_max: Duration::from_millis(4),
        ..CommandOptions::default()
    }
}

/// A node with one command service, its log scripted.
pub struct Node {
    pub service: CommandService,
    pub projection: Projection,
    pub log: Arc<Scripted>,
    pub dir: tempfile::TempDir,
}

pub async fn node_with(options: CommandOptions, script: impl IntoIterator<Item = Fate>) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Scripted::new(new_log(dir.path()).await, script));
    let as_log: Arc<dyn EventLog> = log.clone();
    let projection = open(&dir.path().join("state"), &as_log).await;
    let service = CommandService::start(projection.clone(), producer(1), options).unwrap();
    Node { service, projection, log, dir }
}

pub async fn node() -> Node {
    node_with(options(), []).await
}

impl Node {
    pub async fn close(self) -> tempfile::TempDir {
        self.service.shut_down().await;
        let projection = self.projection.clone();
        tokio::task::spawn_blocking(move || projection.close()).await.unwrap();
        self.log.close().await;
        self.dir
    }

    pub async fn caught_up(&self) -> Arc<Head> {
        caught_up(&self.projection).await
    }
}

pub async fn caught_up(projection: &Projection) -> Arc<Head> {
    let tip = projection.log().tip().await.unwrap();
    projection.wait_cursor(tip).await.unwrap();
    projection.head()
}

/// Checks that the event of `receipt` stands in the log where it says, and that it is `envelope`.
pub async fn assert_in_log(projection: &Projection, receipt: &Receipt, envelope: &Bytes) {
    let message = projection.block_message(receipt.height).await.unwrap().expect("the block is there");
    let block = VerifiedBlock::verify(message).unwrap();
    assert_eq!(block.header_hash(), receipt.header_hash);
    let event = &block.events()[receipt.index as usize];
    assert_eq!(event.id(), receipt.id);
    assert_eq!(event.bytes(), envelope);
}

/// What is to happen to an append.
#[derive(Clone, Debug)]
pub enum Fate {
    /// What the log does.
    Pass,
    /// The disk is full.
    NoSpace,
    /// It lands, and the answer is lost.
    UnclearLanded,
    /// It does not land, and the answer is lost.
    UnclearLost,
    /// As before, and that is said once the gate has a permit.
    GatedLost(Arc<Semaphore>),
    /// Somebody else's message takes its place.
    Beaten,
    /// It waits until the gate has a permit.
    Gated(Arc<Semaphore>),
}

/// A log whose appends fail as scripted, then as they will.
#[derive(Debug)]
pub struct Scripted {
    inner: Arc<dyn EventLog>,
    script: Mutex<VecDeque<Fate>>,
    pub appends: AtomicU64,
    pub reads: AtomicU64,
    pub tips: AtomicU64,
    /// Whether followers get anything.
    pub delivers: watch::Sender<bool>,
}

/// A reader that gets nothing while the log does not deliver.
#[derive(Debug)]
struct Held {
    inner: Box<dyn Subscription>,
    delivers: watch::Receiver<bool>,
}

impl Subscription for Held {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        Box::pin(async {
            let batch = self.inner.next_batch().await;
            self.delivers.wait_for(|delivers| *delivers).await.expect("the log outlives its readers");
            batch
        })
    }
}

impl Scripted {
    pub fn new(inner: Arc<dyn EventLog>, script: impl IntoIterator<Item = Fate>) -> Self {
        let script = Mutex::new(script.into_iter().collect());
        Self {
            inner,
            script,
            appends: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            tips: AtomicU64::new(0),
            delivers: watch::Sender::new(true),
        }
    }

    pub fn script(&self, fates: impl IntoIterator<Item = Fate>) {
        self.script.lock().unwrap().extend(fates);
    }
}

impl EventLog for Scripted {
    fn append(
        &self,
        expected_tip: Sequence,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        let fate = self.script.lock().unwrap().pop_front().unwrap_or(Fate::Pass);
        let unclear = AppendError::Unclear { expected_tip, reason: "scripted".into() };
        match fate {
            Fate::Pass => self.inner.append(expected_tip, message),
            Fate::NoSpace => Box::pin(async { Err(AppendError::NoSpace) }),
            Fate::UnclearLanded => {
                let append = self.inner.append(expected_tip, message);
                Box::pin(async move {
                    append.await?;
                    Err(unclear)
                })
            }
            Fate::UnclearLost => Box::pin(async { Err(unclear) }),
            Fate::GatedLost(gate) => Box::pin(async move {
                gate.acquire().await.expect("the gate stays open").forget();
                Err(unclear)
            }),
            Fate::Beaten => {
                let other = self.inner.append(expected_tip, Bytes::from_static(b"no block at all"));
                let append = self.inner.append(expected_tip, message);
                Box::pin(async move {
                    other.await?;
                    append.await
                })
            }
            Fate::Gated(gate) => {
                let inner = Arc::clone(&self.inner);
                Box::pin(async move {
                    gate.acquire().await.expect("the gate stays open").forget();
                    inner.append(expected_tip, message).await
                })
            }
        }
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.tips.fetch_add(1, Ordering::SeqCst);
        self.inner.tip()
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.inner.first()
    }

    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(from, limits)
    }

    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        Box::pin(async move {
            let held =
                Held { inner: self.inner.follow(from, limits).await?, delivers: self.delivers.subscribe() };
            Ok(Box::new(held) as Box<dyn Subscription>)
        })
    }

    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        self.inner.compact(before)
    }

    fn message_bytes_max(&self) -> usize {
        self.inner.message_bytes_max()
    }

    fn description(&self) -> String {
        self.inner.description()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}
