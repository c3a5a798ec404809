//! A chain with validators, and a board in memory that takes anything.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chaoschain_events::attest::{Board, Posted, sign_attestation};
use chaoschain_events::log::{EventLog, LogError, ReadLimits};
use chaoschain_projector::{Attestations, FinalPoint, Head, Producer, seal_genesis};
use chaoschain_schemas::control::{GENESIS_VERSION, Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::{
    ATTESTATION_VERSION, Attestation, ChainId, Hash, Height, Sequence, SignedAttestation, Timestamp, codec,
};
use chaoschain_state::domain::Domain;
use futures::future::{BoxFuture, FutureExt as _, ready};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;

use crate::support::{START, Tally, key, open_log, producer};

/// The validators of [`genesis_with`], in the order of their weights.
pub fn validator(place: u8) -> Producer {
    producer(2 + place)
}

/// The chain of producer 1, who is no validator, and of validators with these weights.
pub fn genesis_with(weights: &[u64], timestamp: Timestamp) -> (ChainId, Bytes) {
    let mut accounts =
        vec![GenesisAccount { key: key(1).public(), role: Role::Producer, weight: 0, sponsorships: 0 }];
    accounts.extend((0..).zip(weights).map(|(place, weight)| GenesisAccount {
        key: validator(place).key.public(),
        role: Role::Validator,
        weight: *weight,
        sponsorships: 0,
    }));
    accounts.sort_by_key(|account| account.key);
    let genesis = Genesis {
        version: GENESIS_VERSION,
        name: "test".into(),
        domain: Tally::ID.into(),
        rules: 1,
        sub_trees: vec!["slots".into()],
        timestamp,
        parameters: Parameters::default(),
        domain_parameters: codec::encode(&()).into(),
        accounts,
    };
    seal_genesis(&Tally, &genesis, &key(1)).unwrap()
}

pub fn chain() -> ChainId {
    genesis_with(&[1; 4], START).0
}

/// A log that begins with the chain of four validators of weight 1.
pub async fn log_of_four(dir: &Path) -> Arc<dyn EventLog> {
    let log = open_log(dir);
    log.append(Sequence(0), genesis_with(&[1; 4], START).1).await.unwrap();
    log
}

/// Appends to `to` the messages of `from` up to this sequence that it does not have.
pub async fn copy_log(from: &Arc<dyn EventLog>, to: &Arc<dyn EventLog>, up_to: u64) {
    let tip = to.tip().await.unwrap();
    for entry in from.read(tip.next(), ReadLimits::default()).await.unwrap() {
        if entry.sequence.0 <= up_to {
            to.append(Sequence(entry.sequence.0 - 1), entry.message).await.unwrap();
        }
    }
}

pub fn attestation(validator: &Producer, height: Height, header_hash: Hash) -> Attestation {
    Attestation {
        version: ATTESTATION_VERSION,
        chain: chain(),
        validator: validator.account,
        height,
        header_hash,
    }
}

pub fn attest_hash(validator: &Producer, height: Height, header_hash: Hash) -> SignedAttestation {
    sign_attestation(&attestation(validator, height, header_hash), &validator.key)
}

pub fn attest(validator: &Producer, head: &Head) -> SignedAttestation {
    attest_hash(validator, head.height(), head.hash)
}

/// What a board tells whoever looks on, before a publication is taken; an error is answered instead.
type Hook = Box<dyn FnMut(&SignedAttestation) -> Result<(), LogError> + Send>;

/// A board in memory, on which anything can be put.
pub struct MemoryBoard {
    posts: watch::Sender<Vec<Bytes>>,
    closed: watch::Sender<bool>,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for MemoryBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryBoard({})", self.posts.borrow().len())
    }
}

impl MemoryBoard {
    pub fn new() -> Arc<Self> {
        let posts = watch::Sender::new(Vec::new());
        Arc::new(Self { posts, closed: watch::Sender::new(false), hook: Mutex::default() })
    }

    pub fn put(&self, bytes: impl Into<Bytes>) {
        self.posts.send_modify(|posts| posts.push(bytes.into()));
    }

    pub fn post(&self, signed: &SignedAttestation) {
        self.put(codec::encode(signed));
    }

    pub fn hook(&self, hook: impl FnMut(&SignedAttestation) -> Result<(), LogError> + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn posts(&self) -> Vec<SignedAttestation> {
        self.posts.borrow().iter().filter_map(|bytes| SignedAttestation::decode(bytes).ok()).collect()
    }

    /// What was published, as heights, once there are so many.
    pub async fn heights(&self, count: usize) -> Vec<u64> {
        drop(self.posts.subscribe().wait_for(|posts| posts.len() >= count).await.unwrap());
        let height = |signed: &SignedAttestation| Attestation::decode(&signed.attestation).unwrap().height.0;
        self.posts().iter().map(height).collect()
    }
}

impl Board for MemoryBoard {
    fn publish(&self, attestation: SignedAttestation) -> BoxFuture<'_, Result<(), LogError>> {
        let told = self.hook.lock().unwrap().as_mut().map_or(Ok(()), |hook| hook(&attestation));
        if told.is_ok() {
            self.post(&attestation);
        }
        ready(told).boxed()
    }

    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Posted>, LogError>> {
        let posts = self.posts.subscribe();
        let kept = posts.borrow().clone();
        let begin = kept.len();
        let kept: Vec<_> = kept.into_iter().map(Posted::Attestation).chain([Posted::CaughtUp]).collect();
        let rest = stream::unfold((posts, begin), |(mut posts, next)| async move {
            let post = posts.wait_for(|posts| posts.len() > next).await.ok()?[next].clone();
            Some((Posted::Attestation(post), (posts, next + 1)))
        });
        let mut closed = self.closed.subscribe();
        let closed = async move { drop(closed.wait_for(|closed| *closed).await) };
        ready(Ok(stream::iter(kept).chain(rest).take_until(closed).boxed())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.closed.send_replace(true);
        ready(()).boxed()
    }
}

/// Waits until this height, or a greater one, is final.
pub async fn finalized(attestations: &Attestations, height: u64) -> FinalPoint {
    let mut finalized = attestations.watch_finalized();
    let reached = |point: &Option<FinalPoint>| point.is_some_and(|point| point.height.0 >= height);
    let point = *finalized.wait_for(reached).await.unwrap();
    point.unwrap()
}
