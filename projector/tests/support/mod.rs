//! A chain in a few lines: a domain that adds numbers up, a producer, and authors.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod switch_log;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::envelope::{VerifiedEnvelope, sign};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{
    BlockLimits, Confirmed, Head, OpenError, Producer, Projection, ProjectionOptions, Verdict, seal_genesis,
};
use chaoschain_schemas::control::{
    GENESIS_VERSION, Genesis, GenesisAccount, KeyRotation, ParameterChange, Parameters, Role, kind,
};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Body, ChainId, CodecError, Height, Sequence, Timestamp, codec,
};
use chaoschain_state::domain::{BlockContext, Domain, EventContext, KindSpec, Machine, ReadError, ReadSpec};
use chaoschain_state::{Changes, Key, Rejection, View};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Adds numbers up in slots.
pub struct Tally;

/// Adds `amount`, which must not be zero, to a slot.
#[derive(Serialize, Deserialize)]
pub struct Add {
    pub slot: u32,
    pub amount: u64,
}

pub const ADD: u16 = 256;

pub fn slot_key(slot: u32) -> Key {
    Key::new(2, &[&slot.to_be_bytes()])
}

impl Domain for Tally {
    const ID: &'static str = "tally";
    const RULES: u16 = 1;
    const SUB_TREES: &'static [&'static str] = &["slots"];
    const KINDS: &'static [KindSpec] = &[KindSpec {
        kind: ADD,
        name: "Add",
        bytes_max: 64,
        registers: false,
        since: 1,
        help: "",
        example: "",
    }];
    const READS: &'static [ReadSpec] = &[];

    type Transition = Add;
    type Parameters = ();

    fn decode(_: u16, payload: &[u8]) -> Result<Add, CodecError> {
        codec::decode(payload, 64)
    }

    fn parties(_: &Add, _: &AccountId) -> Vec<AccountId> {
        Vec::new()
    }

    fn verify(_: &EventContext<'_, ()>, _: &dyn View, add: &Add) -> Result<(), Rejection> {
        if add.amount == 0 { Err(Rejection::domain("amount_zero", "the amount is zero")) } else { Ok(()) }
    }

    fn apply(_: &EventContext<'_, ()>, changes: &mut Changes<'_>, add: &Add) {
        let key = slot_key(add.slot);
        let sum: u64 = changes.view().record(&key).unwrap_or(0);
        changes.put(&key, &(sum + add.amount));
    }

    fn begin_block(_: &BlockContext, (): &(), _: &mut Changes<'_>) {}

    fn transition_to_json(_: u16, _: &[u8]) -> Result<Json, CodecError> {
        Ok(Json::Null)
    }

    fn transition_from_json(_: u16, _: &Json) -> Result<Vec<u8>, String> {
        Err("not needed".into())
    }

    fn record_to_json(_: &Key, value: &[u8]) -> Option<Json> {
        codec::decode_trusted::<u64>(value).ok().map(Json::from)
    }

    fn read(name: &str, _: &[String], _: Timestamp, _: &dyn View) -> Result<Json, ReadError> {
        Err(ReadError::Unknown(name.into()))
    }
}

pub fn machine() -> Arc<dyn Machine> {
    Arc::new(Tally)
}

pub const START: Timestamp = Timestamp(1_000_000_000);

pub fn key(number: u8) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_seed(&[number; 32]))
}

pub fn producer(number: u8) -> Producer {
    let key = key(number);
    Producer { account: AccountId::from_first_key(&key.public()), key }
}

/// The chain of producers 1 and 2.
pub fn genesis() -> (ChainId, Bytes) {
    genesis_named("test")
}

/// The same under another name, which makes it another chain.
pub fn genesis_named(name: &str) -> (ChainId, Bytes) {
    let mut accounts: Vec<_> = [1, 2]
        .map(|number| GenesisAccount {
            key: key(number).public(),
            role: Role::Producer,
            weight: 1,
            sponsorships: 0,
        })
        .into();
    accounts.sort_by_key(|account| account.key);
    let genesis = Genesis {
        version: GENESIS_VERSION,
        name: name.into(),
        domain: Tally::ID.into(),
        rules: 1,
        sub_trees: vec!["slots".into()],
        timestamp: START,
        parameters: Parameters::default(),
        domain_parameters: codec::encode(&()).into(),
        accounts,
    };
    let first = genesis.first_producer().unwrap().key;
    let sealer = [1, 2].map(key).into_iter().find(|key| key.public() == first).unwrap();
    seal_genesis(&Tally, &genesis, &sealer).unwrap()
}

/// An author with a nonce of its own.
pub struct Author {
    pub key: Arc<SecretKey>,
    pub id: AccountId,
    pub nonce: u64,
    pub chain: ChainId,
}

impl Author {
    pub fn new(number: u8, chain: ChainId) -> Self {
        let key = key(number);
        Self { id: AccountId::from_first_key(&key.public()), key, nonce: 0, chain }
    }

    fn sign(&mut self, kind: u16, payload: Vec<u8>) -> VerifiedEnvelope {
        self.sign_with(kind, payload, &[])
    }

    fn sign_with(&mut self, kind: u16, payload: Vec<u8>, further: &[&SecretKey]) -> VerifiedEnvelope {
        let body = self.body(kind, payload);
        let keys = std::iter::once(&*self.key).chain(further.iter().copied());
        sign(&body, &keys.map(|key| (self.id, key)).collect::<Vec<_>>()).unwrap()
    }

    fn body(&mut self, kind: u16, payload: Vec<u8>) -> Body {
        self.nonce += 1;
        Body {
            version: BODY_VERSION,
            chain: self.chain,
            epoch: 0,
            author: self.id,
            lane: 0,
            nonce: self.nonce - 1,
            valid_until: Timestamp(START.0 + 60_000_000),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind,
            payload: payload.into(),
        }
    }

    /// Replaces the author's key by that of this number.
    pub fn rotate(&mut self, to: u8) -> VerifiedEnvelope {
        let new = key(to);
        let payload = codec::encode(&KeyRotation { new_key: new.public() });
        let event = self.sign_with(kind::KEY_ROTATION, payload, &[&new]);
        self.key = new;
        event
    }

    /// Moves to this version of the rules, together with another validator.
    pub fn move_rules(&mut self, with: &Self, rules: u16, at: Height) -> VerifiedEnvelope {
        let change =
            ParameterChange { at, kernel: None, domain: None, rules: Some(rules), reason: "newer".into() };
        let body = self.body(kind::PARAMETER_CHANGE, codec::encode(&change));
        sign(&body, &[(self.id, &*self.key), (with.id, &*with.key)]).unwrap()
    }

    pub fn register(&mut self) -> VerifiedEnvelope {
        // A record of no fields is an empty array.
        self.sign(kind::ACCOUNT_REGISTRATION, vec![0x90])
    }

    pub fn add(&mut self, slot: u32, amount: u64) -> VerifiedEnvelope {
        self.sign(ADD, codec::encode(&Add { slot, amount }))
    }
}

/// A node over a log, with its directory.
pub struct Node {
    pub projection: Projection,
    pub log: Arc<dyn EventLog>,
}

pub fn open_log(dir: &Path) -> Arc<dyn EventLog> {
    Arc::new(EmbeddedLog::open(dir, EmbeddedOptions::default()).unwrap())
}

/// A log that begins with the test chain.
pub async fn new_log(dir: &Path) -> Arc<dyn EventLog> {
    let log = open_log(dir);
    log.append(Sequence(0), genesis().1).await.unwrap();
    log
}

pub async fn open_with(options: ProjectionOptions, log: &Arc<dyn EventLog>) -> Result<Node, OpenError> {
    let projection = Projection::open(options, machine(), Arc::clone(log), Vec::new(), &|_| {}).await?;
    projection.start().unwrap();
    Ok(Node { projection, log: Arc::clone(log) })
}

pub async fn open(dir: &Path, log: &Arc<dyn EventLog>) -> Node {
    open_with(ProjectionOptions::new(dir), log).await.unwrap()
}

impl Node {
    /// Seals one block of `events` as producer 1, appends it and adopts it.
    pub async fn seal(&self, events: &[VerifiedEnvelope]) -> Arc<Head> {
        let now = Timestamp(START.0 + 1_000 * (self.projection.head().height().0 + 1));
        let (proposed, verdicts) =
            self.projection.propose(&producer(1), now, BlockLimits::default(), events, true).unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{verdicts:?}");
        let proposed = proposed.unwrap();
        let tip = self.log.tip().await.unwrap();
        let sequence = self.log.append(tip, proposed.message()).await.unwrap();
        match self.projection.confirm(&proposed.header_hash(), sequence) {
            Confirmed::Adopted(head) => head,
            Confirmed::AlreadyFolded => self.projection.head(),
            Confirmed::Dropped => panic!("nobody else appends here"),
        }
    }

    /// Waits until the projection has looked at the whole log.
    pub async fn caught_up(&self) -> Arc<Head> {
        let tip = self.log.tip().await.unwrap();
        self.projection.wait_cursor(tip).await.unwrap();
        self.projection.head()
    }

    pub async fn close(self) {
        tokio::task::spawn_blocking(move || self.projection.close()).await.unwrap();
    }
}
