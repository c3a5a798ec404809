//! A small society in a map, driven through the kernel exactly as a fold does, with parties whose signatures are taken
//! as checked.

use std::collections::BTreeMap;

use chaoschain_schemas::control::{Account, AccountRegistration, Genesis, GenesisAccount, kind};
use chaoschain_schemas::society::{
    Agent, AgentRegistration, AllianceFormation, AlliancePurpose, AllianceTerms, Parameters, Personality,
    PurposeKind, Relationship,
};
use chaoschain_schemas::{
    AccountId, Body, ChainId, EventAddress, Fixed, Hash, Height, Micros, PartySignature, PublicKey,
    Signature, Timestamp, TransitionId, codec,
};
use chaoschain_society::{Society, Transition, keys};
use chaoschain_state::control::{self, SignedTransition};
use chaoschain_state::domain::{Machine, ReadError};
use chaoschain_state::{BaseView, Change, Changes, Key, Rejection, Value, View};
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
    let mut world = World::new(&Parameters::default());
    for fact in history {
        world.happen(fact);
    }
    world
}

/// A chain's state and the block that comes next.
pub(crate) struct World {
    pub(crate) state: BTreeMap<Key, Value>,
    pub(crate) now: Timestamp,
    height: Height,
    /// The id of the last transition that was submitted.
    pub(crate) last: TransitionId,
    /// What the last accepted transition changed.
    pub(crate) changes: Vec<Change>,
}

impl World {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let producer = Person(1_000_000).key();
        let genesis = Genesis {
            version: 1,
            name: "test".into(),
            domain: Machine::id(&Society).into(),
            rules: 1,
            sub_trees: Society.sub_trees().iter().map(|&name| name.into()).collect(),
            timestamp: START,
            parameters: chaoschain_schemas::control::Parameters::default(),
            domain_parameters: codec::encode(parameters).into(),
            accounts: vec![GenesisAccount {
                key: producer,
                role: chaoschain_schemas::control::Role::Producer,
                weight: 0,
            }],
        };
        let empty = BTreeMap::new();
        let mut changes = Changes::new(&empty);
        control::apply_genesis(&genesis, &mut changes);
        let mut world = Self {
            state: BTreeMap::new(),
            now: START,
            height: Height(0),
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
            Given::Record(key, value) => drop(self.state.insert(key, value)),
        }
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
        let author = signers.0[0].id();
        let account: Option<Account> = self.record(&control::keys::account(&author));
        let body = Body {
            version: 1,
            chain: ChainId::default(),
            epoch: 0,
            author,
            lane: 0,
            nonce: account.map_or(0, |account| account.nonces[0]),
            valid_until: self.now,
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
        self.last = TransitionId::of_body(&codec::encode(&body));
        let transition = SignedTransition { id: self.last, body: &body, parties: &parties };
        let chain = ChainId::default();
        let block =
            control::block_context(&self.state, chain, self.height.next(), Hash::ZERO, self.now).unwrap();
        let address = EventAddress { height: block.height, index: 0 };
        let mut dry = Changes::new(&self.state);
        let decided = control::execute(&Society, &block, &mut dry, address, &transition, true);
        assert!(dry.is_empty(), "deciding wrote something");
        let mut changes = Changes::new(&self.state);
        let result = control::execute(&Society, &block, &mut changes, address, &transition, false);
        assert_eq!(changes.fault(), None);
        assert_eq!(decided, result, "deciding and doing disagree");
        let changes = changes.into_changes();
        assert!(result.is_ok() || changes.is_empty(), "a refused transition wrote something");
        self.take_in(changes);
        self.height = block.height;
        result
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

/// An open alliance for company that lasts an hour.
pub(crate) fn formation(members: &[Person]) -> AllianceFormation {
    AllianceFormation {
        members: ids(members),
        purpose: AlliancePurpose::of(PurposeKind::Social),
        terms: AllianceTerms { duration: Micros(HOUR), benefits: Vec::new(), conditions: Vec::new() },
        exclusive: false,
    }
}
