//! A small society in a map, driven through the kernel exactly as a fold does, with parties whose signatures are taken
//! as checked.

use std::collections::BTreeMap;

use chaoschain_schemas::control::{Account, AccountRegistration, Genesis, GenesisAccount, kind};
use chaoschain_schemas::society::{
    Agent, AgentRegistration, Alliance, AllianceFormation, AlliancePurpose, AllianceState, AllianceTerms,
    DramaEvent, Parameters, Personality, PurposeKind, Relationship,
};
use chaoschain_schemas::{
    AccountId, AllianceId, Body, ChainId, ConflictId, EventAddress, Fixed, Hash, Height, Micros,
    PartySignature, PublicKey, Signature, Timestamp, TransitionId, codec,
};
use chaoschain_society::{Society, Transition, keys};
use chaoschain_state::control::{self, SignedTransition};
use chaoschain_state::domain::{BlockContext, Machine, ReadError};
use chaoschain_state::{BaseView, Change, Changes, Key, Recording, Rejection, Value, View};
use curve25519_dalek::{EdwardsPoint, Scalar};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

pub(crate) const HOUR: u64 = 3_600_000_000;
/// Block time at the start of every test: an hour that has just begun.
pub(crate) const START: Timestamp = Timestamp(HOUR * 400_000);

pub(crate) const ANA: Person = Person(1);
pub(crate) const BOB: Person = Person(2);
pub(crate) const CLEO: Person = Person(3);
pub(crate) const DAN: Person = Person(4);

/// Somebody with a key of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Person(pub(crate) u64);

impl Person {
    pub(crate) fn key(self) -> PublicKey {
        PublicKey::new(EdwardsPoint::mul_base(&Scalar::from(self.0)).compress().to_bytes())
    }

    pub(crate) fn id(self) -> AccountId {
        AccountId::from_first_key(&self.key())
    }
}

/// Who signs: the author, then others.
#[derive(Clone, Debug)]
pub(crate) struct Signers(Vec<Person>);

pub(crate) fn by(author: Person) -> Signers {
    Signers(vec![author])
}

impl Signers {
    pub(crate) fn author(&self) -> Person {
        self.0[0]
    }

    pub(crate) fn with(mut self, others: impl IntoIterator<Item = Person>) -> Self {
        self.0.extend(others);
        self.0[1..].sort_by_key(|person| person.id());
        self
    }
}

/// Something that was so before.
pub(crate) enum Given {
    /// An account without a profile.
    Account(Person),
    /// An accepted transition.
    Event(Signers, Transition),
    /// Block time has advanced by so much.
    Passed(Micros),
    /// A block without events.
    Block,
    /// A record, however it came to be.
    Record(Key, Value),
}

pub(crate) fn registered(person: Person) -> Given {
    event(person, AgentRegistration { personality: Personality::Neutral })
}

pub(crate) fn event(author: Person, payload: impl Into<Transition>) -> Given {
    Given::Event(by(author), payload.into())
}

pub(crate) fn passed(micros: u64) -> Given {
    Given::Passed(Micros(micros))
}

pub(crate) fn given(history: impl IntoIterator<Item = Given>) -> World {
    World::new(&Parameters::default()).and(history)
}

/// A chain's state and the block that comes next.
pub(crate) struct World {
    pub(crate) state: BTreeMap<Key, Value>,
    pub(crate) now: Timestamp,
    pub(crate) height: Height,
    /// The hash of the header before, for every block.
    pub(crate) parent: Hash,
    /// The id of the last transition that was submitted.
    pub(crate) last: TransitionId,
    /// What the last accepted transition changed.
    pub(crate) changes: Vec<Change>,
}

impl World {
    /// A new chain under the newest rules.
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self::under(Machine::rules(&Society), parameters)
    }

    /// A new chain under this version of the rules.
    pub(crate) fn under(rules: u16, parameters: &Parameters) -> Self {
        let producer = Person(1_000_000).key();
        let genesis = Genesis {
            version: 1,
            name: "test".into(),
            domain: Machine::id(&Society).into(),
            rules,
            sub_trees: Society.sub_trees().iter().map(|&name| name.into()).collect(),
            timestamp: START,
            parameters: chaoschain_schemas::control::Parameters::default(),
            domain_parameters: codec::encode(parameters).into(),
            accounts: vec![GenesisAccount {
                key: producer,
                role: chaoschain_schemas::control::Role::Producer,
                weight: 0,
                sponsorships: 0,
            }],
        };
        let empty = BTreeMap::new();
        let mut changes = Changes::new(&empty);
        control::apply_genesis(&genesis, &mut changes);
        let mut world = Self {
            state: BTreeMap::new(),
            now: START,
            height: Height(0),
            parent: Hash::ZERO,
            last: TransitionId::default(),
            changes: Vec::new(),
        };
        world.take_in(changes.into_changes());
        world
    }

    pub(crate) fn happen(&mut self, fact: Given) {
        match fact {
            Given::Account(person) => {
                let payload = codec::encode(&AccountRegistration {});
                self.execute(&by(person), kind::ACCOUNT_REGISTRATION, payload).unwrap();
            }
            Given::Event(signers, transition) => self.submit(&signers, &transition).unwrap(),
            Given::Passed(span) => self.now = self.now.saturating_add(span),
            Given::Block => drop(self.block(&[])),
            Given::Record(key, value) => drop(self.state.insert(key, value)),
        }
    }

    pub(crate) fn and(mut self, history: impl IntoIterator<Item = Given>) -> Self {
        for fact in history {
            self.happen(fact);
        }
        self
    }

    #[allow(clippy::needless_pass_by_value, reason = "it reads as a sentence")]
    pub(crate) fn when(mut self, signers: Signers, payload: impl Into<Transition>) -> Outcome {
        let result = self.submit(&signers, &payload.into());
        Outcome { world: self, result }
    }

    pub(crate) fn submit(&mut self, signers: &Signers, transition: &Transition) -> Result<(), Rejection> {
        self.execute(signers, transition.kind(), transition.encode())
    }

    /// Executes a transition in a block of its own; a refused one leaves no trace.
    pub(crate) fn execute(
        &mut self,
        signers: &Signers,
        kind: u16,
        payload: Vec<u8>,
    ) -> Result<(), Rejection> {
        self.block(&[]);
        let block = self.context(self.height);
        let mut dry = Changes::new(&self.state);
        let (_, decided) = submit_in(&block, &mut dry, 0, signers, kind, payload.clone(), true);
        assert!(dry.is_empty(), "deciding wrote something");
        let mut expected = Vec::new();
        Society.likely_reads(kind, &payload, &signers.author().id(), &mut expected);
        let recording = Recording::new(&self.state);
        let mut changes = Changes::new(&recording);
        let (id, result) = submit_in(&block, &mut changes, 0, signers, kind, payload, false);
        assert_eq!(changes.fault(), None);
        assert_eq!(decided, result, "deciding and doing disagree");
        let changes = changes.into_changes();
        assert!(result.is_ok() || changes.is_empty(), "a refused transition wrote something");
        let read = recording.into_reads().keys;
        let in_vain = expected.iter().find(|key| !read.contains(key));
        assert!(result.is_err() || in_vain.is_none(), "{in_vain:?} is fetched for kind {kind} and not read");
        self.last = id;
        self.take_in(changes);
        result
    }

    /// Folds a block of these transitions; with what each came to. What is refused is left out of it.
    pub(crate) fn block(
        &mut self,
        events: &[(Signers, Transition)],
    ) -> Vec<(TransitionId, Result<(), Rejection>)> {
        self.height = self.height.next();
        let block = self.context(self.height);
        let mut changes = Changes::new(&self.state);
        control::begin_block(&Society, &block, &mut changes);
        let mut results = Vec::new();
        let mut index = 0;
        for (signers, transition) in events {
            let (kind, payload) = (transition.kind(), transition.encode());
            let (id, result) = submit_in(&block, &mut changes, index, signers, kind, payload, false);
            index += u32::from(result.is_ok());
            results.push((id, result));
        }
        assert_eq!(changes.fault(), None);
        let changes = changes.into_changes();
        self.take_in(changes);
        results
    }

    fn context(&self, height: Height) -> BlockContext {
        control::block_context(&Society, &self.state, ChainId::default(), height, self.parent, self.now)
            .unwrap()
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        Machine::next_due(&Society, &BaseView::new(&self.state))
    }

    fn take_in(&mut self, changes: Vec<Change>) {
        for Change { key, after, .. } in &changes {
            match after {
                Some(value) => self.state.insert(*key, value.clone()),
                None => self.state.remove(key),
            };
        }
        self.changes = changes;
    }

    pub(crate) fn record<R: DeserializeOwned>(&self, key: &Key) -> Option<R> {
        self.state.get(key).map(|value| codec::decode_trusted(value).unwrap())
    }

    pub(crate) fn agent(&self, person: Person) -> Agent {
        self.record(&keys::agent(&person.id())).unwrap()
    }

    pub(crate) fn alliance(&self, id: AllianceId) -> Alliance {
        self.record(&keys::alliance(&id)).unwrap()
    }

    /// This world where an alliance is in a conflict of which nothing else is told.
    pub(crate) fn contested(mut self, id: AllianceId) -> Self {
        let mut alliance = self.alliance(id);
        alliance.state = AllianceState::Contested;
        alliance.conflict = Some(ConflictId::new([0xcf; 32]));
        for member in &alliance.members {
            let mut agent: Agent = self.record(&keys::agent(member)).unwrap();
            for membership in agent.alliances.iter_mut().filter(|membership| membership.id == id) {
                membership.contested = true;
            }
            self.state.insert(keys::agent(member), codec::encode(&agent).into());
        }
        self.state.insert(keys::alliance(&id), codec::encode(&alliance).into());
        self
    }

    /// The drama event of the last transition.
    pub(crate) fn drama(&self) -> Option<DramaEvent> {
        self.record(&keys::drama(EventAddress { height: self.height, index: 0 }))
    }

    pub(crate) fn relationship(&self, from: Person, to: Person) -> Relationship {
        self.record(&keys::relationship(&from.id(), &to.id())).unwrap()
    }

    pub(crate) fn read(&self, name: &str, arguments: &[&str]) -> Result<Json, ReadError> {
        let view = BaseView::new(&self.state);
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let answer = control::read(&Society, name, &arguments, self.now, &view as &dyn View);
        assert_eq!(view.fault(), None);
        answer
    }
}

/// Submits a transition at a place of a block; with its id and what it came to.
fn submit_in(
    block: &BlockContext,
    changes: &mut Changes<'_>,
    index: u32,
    signers: &Signers,
    kind: u16,
    payload: Vec<u8>,
    dry: bool,
) -> (TransitionId, Result<(), Rejection>) {
    let author = signers.0[0].id();
    let account: Option<Account> = changes.view().record(&control::keys::account(&author));
    let body = Body {
        version: 1,
        chain: ChainId::default(),
        epoch: 0,
        author,
        lane: 0,
        nonce: account.map_or(0, |account| account.nonces[0]),
        valid_until: block.now,
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: Vec::new(),
        attachment: None,
        kind,
        payload: payload.into(),
    };
    let party = |person: &Person| PartySignature {
        signer: person.id(),
        key: person.key(),
        signature: Signature::new([0; 64]),
    };
    let parties: Vec<_> = signers.0.iter().map(party).collect();
    let id = TransitionId::of_body(&codec::encode(&body));
    let transition = SignedTransition { id, body: &body, parties: &parties };
    let address = EventAddress { height: block.height, index };
    (id, control::execute(&Society, block, changes, address, &transition, dry))
}

pub(crate) struct Outcome {
    world: World,
    result: Result<(), Rejection>,
}

impl Outcome {
    pub(crate) fn then_accepted(self) -> World {
        assert_eq!(self.result, Ok(()));
        self.world
    }

    /// Expects a refusal with this code; returns the unchanged world.
    pub(crate) fn then_rejected(self, code: &str) -> World {
        let rejection = self.result.expect_err("it was accepted");
        assert_eq!(rejection.code(), code, "{rejection}");
        self.world
    }
}

pub(crate) fn fixed(text: &str) -> Fixed {
    text.parse().unwrap()
}

pub(crate) fn ids(people: &[Person]) -> Vec<AccountId> {
    people.iter().map(|person| person.id()).collect()
}

/// Ana, Bob and Cleo register.
pub(crate) fn three() -> [Given; 3] {
    [registered(ANA), registered(BOB), registered(CLEO)]
}

/// The members form an alliance; the first is the author.
pub(crate) fn formed(members: &[Person], formation: AllianceFormation) -> Given {
    Given::Event(by(members[0]).with(members[1..].iter().copied()), formation.into())
}

/// An open alliance for company that lasts an hour.
pub(crate) fn formation(members: &[Person]) -> AllianceFormation {
    AllianceFormation {
        members: ids(members),
        purpose: AlliancePurpose::of(PurposeKind::Social),
        terms: AllianceTerms { duration: Micros(HOUR), benefits: Vec::new(), conditions: Vec::new() },
        exclusive: false,
    }
}
