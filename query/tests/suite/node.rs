//! A node over an embedded log with a small society on it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::block::{VerifiedBlock, seal};
use chaoschain_events::envelope::{VerifiedEnvelope, sign};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadLimits};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{
    BlockLimits, Confirmed, Producer, Projection, ProjectionOptions, Verdict, seal_genesis,
};
use chaoschain_query::verify::Trust;
use chaoschain_schemas::control::{GENESIS_VERSION, Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::society::{
    AgentRegistration, AllianceFormation, AlliancePurpose, AllianceTerms, CustomSet, MemeContent,
    MemePublication, MemeType, Payload, Personality, PurposeKind, ReputationUpdate,
};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Body, ChainId, Fixed, Hash, Micros, Sequence, Timestamp, TransitionId, codec,
};
use chaoschain_society::{Leaderboard, Society};
use chaoschain_state::domain::{Domain, Machine, ReadModel};
use tempfile::TempDir;

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000_000);

pub(crate) fn producer_key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// An agent, its key and the nonce it uses next.
pub(crate) struct Author {
    key: SecretKey,
    nonce: u64,
    chain: ChainId,
}

impl Author {
    pub(crate) fn new(seed: u8, chain: ChainId) -> Self {
        Self { key: SecretKey::from_seed(&[seed; 32]), nonce: 0, chain }
    }

    pub(crate) fn id(&self) -> AccountId {
        AccountId::from_first_key(&self.key.public())
    }

    /// Signs `payload`, together with `others`.
    pub(crate) fn does<P: Payload>(&mut self, payload: &P, others: &[&Self]) -> VerifiedEnvelope {
        let body = Body {
            version: BODY_VERSION,
            chain: self.chain,
            epoch: 0,
            author: self.id(),
            lane: 0,
            nonce: self.nonce,
            valid_until: Timestamp(START.0 + 60_000_000),
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind: P::KIND,
            payload: codec::encode(payload).into(),
        };
        self.nonce += 1;
        let others = others.iter().map(|other| (other.id(), &other.key));
        sign(&body, &[(self.id(), &self.key)].into_iter().chain(others).collect::<Vec<_>>()).unwrap()
    }
}

/// A running node, and who and what is on its chain.
pub(crate) struct Node {
    pub(crate) projection: Projection,
    pub(crate) chain: ChainId,
    pub(crate) ana: Author,
    pub(crate) bob: Author,
    pub(crate) alliance: TransitionId,
    pub(crate) meme: TransitionId,
    log: Arc<dyn EventLog>,
    dir: TempDir,
}

/// A genesis with a producer and `validators`; without any, the producer is the only one.
fn genesis(validators: &[SecretKey]) -> (ChainId, Bytes) {
    let weight = u64::from(validators.is_empty());
    let producer =
        GenesisAccount { key: producer_key().public(), role: Role::Producer, weight, sponsorships: 0 };
    let validator = |key: &SecretKey| GenesisAccount {
        key: key.public(),
        role: Role::Validator,
        weight: 1,
        sponsorships: 0,
    };
    let mut accounts: Vec<_> = validators.iter().map(validator).chain([producer]).collect();
    accounts.sort_by_key(|account| account.key);
    let genesis = Genesis {
        version: GENESIS_VERSION,
        name: "test".into(),
        domain: Society::ID.into(),
        rules: Society::RULES,
        sub_trees: Society::SUB_TREES.iter().map(ToString::to_string).collect(),
        timestamp: START,
        parameters: Parameters::default(),
        domain_parameters: Machine::default_parameters(&Society).into(),
        accounts,
    };
    seal_genesis(&Society, &genesis, &producer_key()).unwrap()
}

async fn open(dir: &Path, log: &Arc<dyn EventLog>) -> Projection {
    let options = ProjectionOptions::new(dir.join("state"));
    let models: Vec<Box<dyn ReadModel>> = vec![Box::new(Leaderboard::default())];
    let projection =
        Projection::open(options, Arc::new(Society), Arc::clone(log), models, &|_| {}).await.unwrap();
    projection.start().unwrap();
    projection
}

impl Node {
    /// Two agents registered in block 1; an alliance, a meme, an entry and a rating in block 2; nothing in block 3.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with validators of weight 1 each.
    pub(crate) async fn start_with(validators: &[SecretKey]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (chain, message) = genesis(validators);
        let log = EmbeddedLog::open(dir.path().join("log"), EmbeddedOptions::default()).unwrap();
        let log: Arc<dyn EventLog> = Arc::new(log);
        log.append(Sequence(0), message).await.unwrap();
        let projection = open(dir.path(), &log).await;
        let (mut ana, mut bob) = (Author::new(11, chain), Author::new(12, chain));
        let registration = |personality| AgentRegistration { personality };
        let registered = [
            ana.does(&registration(Personality::Lawful), &[]),
            bob.does(&registration(Personality::Chaotic), &[]),
        ];
        let mut members = vec![ana.id(), bob.id()];
        members.sort();
        let formation = AllianceFormation {
            members,
            purpose: AlliancePurpose::of(PurposeKind::Governance),
            terms: AllianceTerms {
                duration: Micros::from_secs(3600),
                benefits: Vec::new(),
                conditions: Vec::new(),
            },
            exclusive: true,
        };
        let publication = MemePublication {
            content_type: MemeType::Text,
            content: MemeContent { hash: Hash::new([5; 32]), size: 3 },
            inline: None,
            metadata: "a meme".into(),
            references: Vec::new(),
            tags: vec!["chaos".into()],
            targets: Vec::new(),
        };
        let entry =
            CustomSet { namespace: "notes".into(), key: "a/b c".into(), value: b"hello".to_vec().into() };
        let rating = ReputationUpdate { subject: ana.id(), rating: Fixed::HALF };
        let formation = ana.does(&formation, &[&bob]);
        let meme = bob.does(&publication, &[]);
        let (alliance, meme_id) = (formation.id(), meme.id());
        let deeds = [formation, meme, ana.does(&entry, &[]), bob.does(&rating, &[])];
        let node = Self { projection, chain, ana, bob, alliance, meme: meme_id, log, dir };
        node.seal(&registered).await;
        node.seal(&deeds).await;
        node.seal(&[]).await;
        node
    }

    /// Seals a block, appends it and makes it the head.
    pub(crate) async fn seal(&self, events: &[VerifiedEnvelope]) {
        let key = Arc::new(producer_key());
        let producer = Producer { account: AccountId::from_first_key(&key.public()), key };
        let now = Timestamp(START.0 + 1_000_000 * (self.projection.head().height().0 + 1));
        let proposed = self.projection.propose(&producer, now, BlockLimits::default(), events, true);
        let (proposed, verdicts) = proposed.unwrap();
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{verdicts:?}");
        let proposed = proposed.unwrap();
        let tip = self.log.tip().await.unwrap();
        let sequence = self.log.append(tip, proposed.message()).await.unwrap();
        let confirmed = self.projection.confirm(&proposed.header_hash(), sequence);
        assert!(!matches!(confirmed, Confirmed::Dropped), "nobody else appends here");
        self.projection.wait_cursor(sequence).await.unwrap();
    }

    /// Appends a block of no events whose header commits to a root that nobody computes; the node stops at it.
    pub(crate) async fn append_with_wrong_root(&self) -> VerifiedBlock {
        let key = Arc::new(producer_key());
        let producer = Producer { account: AccountId::from_first_key(&key.public()), key: Arc::clone(&key) };
        let now = Timestamp(START.0 + 1_000_000 * (self.projection.head().height().0 + 1));
        let proposed = self.projection.propose(&producer, now, BlockLimits::default(), &[], true);
        let mut header = proposed.unwrap().0.unwrap().block.header().clone();
        self.projection.drop_speculative();
        header.state_root = Hash::new([1; 32]);
        let wrong = seal(header, Vec::new(), &key).unwrap();
        let tip = self.log.tip().await.unwrap();
        let sequence = self.log.append(tip, wrong.message().clone()).await.unwrap();
        assert!(self.projection.wait_cursor(sequence).await.is_err());
        wrong
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::in_producers(self.chain, vec![producer_key().public()])
    }

    /// A directory of the node's own.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The same node after a restart, on a log that has another message in the place of block `height`.
    pub(crate) async fn restart_on_changed_log(self, height: u64, message: Bytes) -> Self {
        let log = EmbeddedLog::open(self.dir.path().join("changed"), EmbeddedOptions::default()).unwrap();
        for entry in self.log.read(Sequence(1), ReadLimits::default()).await.unwrap() {
            let message = if entry.sequence.0 == height + 1 { message.clone() } else { entry.message };
            log.append(Sequence(entry.sequence.0 - 1), message).await.unwrap();
        }
        Self { log: Arc::new(log), ..self }.restart().await
    }

    /// The same node after a restart.
    pub(crate) async fn restart(self) -> Self {
        close(self.projection).await;
        let projection = open(self.dir.path(), &self.log).await;
        Self { projection, ..self }
    }

    pub(crate) async fn close(self) {
        close(self.projection).await;
    }
}

async fn close(projection: Projection) {
    tokio::task::spawn_blocking(move || projection.close()).await.unwrap();
}
