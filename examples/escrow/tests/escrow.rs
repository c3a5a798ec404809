//! The escrow's rules as examples: given balances, when somebody acts, then it is accepted or refused.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chaoschain_escrow::{
    EXPIRIES_MAX, Escrow, EscrowDomain, EscrowState, Grant, OPEN, Open, Parameters, REFUND, RELEASE, Settle,
    Totals, balance_key, escrow_key,
};
use chaoschain_schemas::control::{Account, Role};
use chaoschain_schemas::{
    AccountId, Body, ChainId, EventAddress, Hash, Height, Micros, PartySignature, PublicKey, Signature,
    Timestamp, TransitionId, codec,
};
use chaoschain_state::control::{self, SignedTransition};
use chaoschain_state::domain::{BlockContext, DomainParameters, Machine, ReadModel};
use chaoschain_state::{BaseView, Change, Changes, Key, Value};
use serde_json::{Value as Json, json};

const ANA: u8 = 1;
const BOB: u8 = 2;
const EVE: u8 = 3;
const HOUR: u64 = 3_600_000_000;

fn id(person: u8) -> AccountId {
    AccountId::from_first_key(&PublicKey::new([person; 32]))
}

/// A chain on which everybody has an account.
struct World {
    state: BTreeMap<Key, Value>,
    now: Timestamp,
    granted: u128,
    last: TransitionId,
    totals: Totals,
}

fn given() -> World {
    granted(&[(ANA, 100)])
}

fn granted(grants: &[(u8, u64)]) -> World {
    let now = Timestamp(HOUR);
    let grants: Vec<_> =
        grants.iter().map(|&(person, amount)| Grant { account: id(person), amount }).collect();
    let granted = grants.iter().map(|grant| u128::from(grant.amount)).sum();
    let parameters = Parameters { grants };
    let mut state = BTreeMap::from([(control::keys::domain_parameters(), codec::encode(&parameters).into())]);
    for person in [ANA, BOB, EVE] {
        let key = PublicKey::new([person; 32]);
        let (role, nonces) = (Role::Member, [0; 16]);
        let account = Account {
            key,
            role,
            suspended: false,
            registered_at: now,
            last_activity: now,
            sponsorships: 0,
            window_start: Timestamp(0),
            window_events: 0,
            nonces,
        };
        state.insert(control::keys::account(&id(person)), codec::encode(&account).into());
    }
    World { state, now, granted, last: TransitionId::default(), totals: Totals::default() }
}

impl World {
    /// Time passes, and no block has come yet.
    fn passed(mut self, micros: u64) -> Self {
        self.now = self.now.saturating_add(Micros(micros));
        self
    }

    /// The start of a block; how many records it changed.
    fn begin_block(&mut self) -> usize {
        let mut changes = Changes::new(&self.state);
        control::begin_block(&EscrowDomain, &self.block(), &mut changes);
        assert_eq!(changes.fault(), None);
        let changes = changes.into_changes();
        let count = changes.len();
        self.take_in(changes);
        count
    }

    fn block(&self) -> BlockContext {
        BlockContext {
            chain: ChainId::default(),
            height: Height(1),
            now: self.now,
            parent: Hash::ZERO,
            epoch: 0,
            rules: 1,
            parameters: chaoschain_schemas::control::Parameters::default(),
            domain_parameters: DomainParameters::new(self.state[&control::keys::domain_parameters()].clone()),
        }
    }

    fn take_in(&mut self, changes: Vec<Change>) {
        self.totals.apply(Height(1), &changes);
        for Change { key, after, .. } in changes {
            match after {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        assert_eq!(self.sum(), self.granted, "nothing is made or lost");
        let held = self.escrows().filter(|escrow| escrow.state == EscrowState::Held).count();
        assert!(self.waiting() <= held, "what is settled waits for nothing");
    }

    /// How many escrows wait for their time.
    fn waiting(&self) -> usize {
        self.state.keys().filter(|key| key.sub_tree() == 2 && key.as_bytes()[0] == 3).count()
    }

    fn escrows(&self) -> impl Iterator<Item = Escrow> {
        let escrows = self.state.iter().filter(|(key, _)| key.sub_tree() == 2 && key.as_bytes()[0] == 2);
        escrows.map(|(_, value)| codec::decode_trusted(value).unwrap())
    }

    /// Submits as the chain would; returns the code of a refusal.
    fn submit(&mut self, author: u8, kind: u16, payload: Vec<u8>) -> Result<(), String> {
        let account = &self.state[&control::keys::account(&id(author))];
        let account: Account = codec::decode_trusted(account).unwrap();
        let body = Body {
            version: 1,
            chain: ChainId::default(),
            epoch: 0,
            author: id(author),
            lane: 0,
            nonce: account.nonces[0],
            valid_until: self.now,
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind,
            payload: payload.into(),
        };
        let signature = Signature::new([0; 64]);
        let parties = [PartySignature { signer: id(author), key: account.key, signature }];
        let block = self.block();
        self.last = TransitionId::of_body(&codec::encode(&body));
        let transition = SignedTransition { id: self.last, body: &body, parties: &parties };
        let address = EventAddress { height: Height(1), index: 0 };
        let mut changes = Changes::new(&self.state);
        let result = control::execute(&EscrowDomain, &block, &mut changes, address, &transition, false);
        assert_eq!(changes.fault(), None);
        let changes = changes.into_changes();
        assert!(result.is_ok() || changes.is_empty(), "a refused transition wrote something");
        self.take_in(changes);
        result.map_err(|rejection| rejection.code().to_owned())
    }

    fn opened(mut self, amount: u64) -> (Self, TransitionId) {
        self.submit(ANA, OPEN, open(BOB, amount)).unwrap();
        let id = self.last;
        (self, id)
    }

    fn balance(&self, person: u8) -> u64 {
        let json = self.read("balance", &[id(person).to_string()]);
        json["amount"].as_u64().unwrap()
    }

    fn read(&self, name: &str, arguments: &[String]) -> Json {
        control::read(&EscrowDomain, name, arguments, self.now, &BaseView::new(&self.state)).unwrap()
    }

    fn sum(&self) -> u128 {
        let held = self.escrows().filter(|escrow| escrow.state == EscrowState::Held);
        held.map(|escrow| u128::from(escrow.amount)).sum::<u128>()
            + [ANA, BOB, EVE].map(|person| u128::from(self.balance(person))).iter().sum::<u128>()
    }

    fn totals(&self) -> Vec<(u64, String)> {
        let rows = self.totals.query(&[]).unwrap();
        let row = |row: &Json| (row["count"].as_u64().unwrap(), row["amount"].as_str().unwrap().to_owned());
        rows.as_array().unwrap().iter().map(row).collect()
    }
}

fn open(payee: u8, amount: u64) -> Vec<u8> {
    codec::encode(&Open { payee: id(payee), amount, duration: Micros(HOUR) })
}

fn settle(escrow: TransitionId) -> Vec<u8> {
    codec::encode(&Settle { escrow })
}

fn refused(code: &str) -> Result<(), String> {
    Err(code.into())
}

#[test]
fn what_is_released_is_the_payees() {
    let (mut world, id) = given().opened(30);
    assert_eq!((world.balance(ANA), world.balance(BOB)), (70, 0));
    assert_eq!(world.submit(ANA, RELEASE, settle(id)), Ok(()));
    assert_eq!((world.balance(ANA), world.balance(BOB)), (70, 30));
    // It is Bob's to spend now, and the escrow is settled for good.
    assert_eq!(world.submit(BOB, OPEN, open(EVE, 30)), Ok(()));
    assert_eq!(world.submit(ANA, RELEASE, settle(id)), refused("not_held"));
    assert_eq!(world.submit(BOB, REFUND, settle(id)), refused("not_held"));
}

#[test]
fn a_payee_refunds_at_any_time_a_payer_when_it_is_over() {
    let (mut world, id) = given().opened(30);
    assert_eq!(world.submit(BOB, REFUND, settle(id)), Ok(()));
    assert_eq!(world.balance(ANA), 100);

    let (world, id) = given().opened(30);
    let mut world = world.passed(HOUR - 1);
    assert_eq!(world.read("escrow", &[id.to_string()])["payer_may_refund"], false);
    assert_eq!(world.submit(ANA, REFUND, settle(id)), refused("not_expired"));
    let mut world = world.passed(1);
    assert_eq!(world.read("escrow", &[id.to_string()])["payer_may_refund"], true);
    assert_eq!(world.submit(ANA, REFUND, settle(id)), Ok(()));
    assert_eq!(world.balance(ANA), 100);
    assert_eq!(world.read("escrow", &[id.to_string()])["escrow"]["state"], "Refunded");
}

#[test]
fn what_is_over_goes_back_by_itself() {
    let (world, id) = given().opened(30);
    let mut world = world.passed(HOUR - 1);
    assert_eq!((world.begin_block(), world.balance(ANA)), (0, 70));
    let mut world = world.passed(1);
    // Before a block has come to it, its time is over all the same.
    assert_eq!(world.submit(ANA, RELEASE, settle(id)), refused("time_over"));
    assert_eq!((world.begin_block(), world.balance(ANA)), (3, 100));
    assert_eq!(world.submit(ANA, REFUND, settle(id)), refused("not_held"));
    assert_eq!(world.begin_block(), 0);

    // What was settled before waits for nothing.
    let (mut world, id) = given().opened(30);
    assert_eq!((world.submit(ANA, RELEASE, settle(id)), world.waiting()), (Ok(()), 0));
}

#[test]
fn a_block_sends_only_so_many_back() {
    const OPENED: usize = EXPIRIES_MAX + 3;
    let mut world = granted(&[(ANA, 1_000)]);
    for _ in 0..OPENED {
        world = world.passed(1);
        world.submit(ANA, OPEN, open(BOB, 1)).unwrap();
    }
    let first = EscrowDomain.next_due(&BaseView::new(&world.state)).unwrap();
    let mut world = world.passed(2 * HOUR);
    assert!(first < world.now);
    let held = |world: &World| world.totals()[0].0 as usize;
    world.begin_block();
    assert_eq!((held(&world), world.waiting()), (3, 3));
    world.begin_block();
    assert_eq!((held(&world), world.balance(ANA)), (0, 1_000));
    assert_eq!(EscrowDomain.next_due(&BaseView::new(&world.state)), None);
}

#[test]
fn strangers_settle_nothing() {
    let (world, id) = given().opened(30);
    let mut world = world.passed(HOUR);
    assert_eq!(world.submit(BOB, RELEASE, settle(id)), refused("not_payer"));
    assert_eq!(world.submit(EVE, RELEASE, settle(id)), refused("not_payer"));
    assert_eq!(world.submit(EVE, REFUND, settle(id)), refused("not_party"));
    assert_eq!(world.submit(ANA, RELEASE, settle(TransitionId::default())), refused("escrow_unknown"));
}

#[test]
fn openings_that_are_refused() {
    let mut world = given();
    assert_eq!(world.submit(ANA, OPEN, open(BOB, 101)), refused("funds_short"));
    assert_eq!(world.submit(BOB, OPEN, open(ANA, 1)), refused("funds_short"));
    assert_eq!(world.submit(ANA, OPEN, open(BOB, 0)), refused("amount_zero"));
    assert_eq!(world.submit(ANA, OPEN, open(ANA, 1)), refused("payee_is_payer"));
    assert_eq!(world.submit(ANA, OPEN, open(9, 1)), refused("account_unknown"));
    assert_eq!(world.submit(ANA, OPEN, vec![0x90]), refused("malformed"));
    assert_eq!(world.submit(ANA, OPEN, open(BOB, 100)), Ok(()));
    assert_eq!(world.submit(ANA, OPEN, open(BOB, 1)), refused("funds_short"));
}

#[test]
fn a_balance_does_not_overflow() {
    let (mut world, id) = granted(&[(ANA, 1), (BOB, u64::MAX)]).opened(1);
    assert_eq!(world.submit(ANA, RELEASE, settle(id)), refused("balance_full"));
    assert_eq!(world.submit(BOB, REFUND, settle(id)), Ok(()));

    // Who cannot hold it when its time is over asks for it later.
    let (world, id) = granted(&[(ANA, u64::MAX), (BOB, 1)]).opened(1);
    let mut world = world;
    world.submit(BOB, OPEN, open(ANA, 1)).unwrap();
    let other = world.last;
    world.submit(BOB, RELEASE, settle(other)).unwrap();
    let mut world = world.passed(HOUR);
    assert_eq!((world.begin_block(), world.waiting()), (1, 0));
    assert_eq!(world.submit(ANA, REFUND, settle(id)), refused("balance_full"));
    world.submit(ANA, OPEN, open(BOB, 1)).unwrap();
    assert_eq!(world.submit(ANA, REFUND, settle(id)), Ok(()));
}

#[test]
fn totals_follow_each_escrow() {
    let (world, first) = given().opened(30);
    let (mut world, _) = world.opened(20);
    let text = |amount: u64| amount.to_string();
    assert_eq!(world.totals(), [(2, text(50)), (0, text(0)), (0, text(0))]);
    world.submit(ANA, RELEASE, settle(first)).unwrap();
    assert_eq!(world.totals(), [(1, text(20)), (1, text(30)), (0, text(0))]);
}

#[test]
fn kinds_have_json_forms_and_examples() {
    for spec in EscrowDomain.kinds() {
        let text = spec.example.replace("<64 hex digits>", &"ab".repeat(32));
        let json: Json = serde_json::from_str(&text).unwrap();
        let bytes = EscrowDomain.transition_from_json(spec.kind, &json).unwrap();
        assert!(bytes.len() <= spec.bytes_max);
        assert_eq!(EscrowDomain.transition_to_json(spec.kind, &bytes), Ok(json));
    }
    let largest = Open { payee: id(BOB), amount: u64::MAX, duration: Micros(u64::MAX) };
    assert!(codec::encode(&largest).len() <= EscrowDomain.kinds()[0].bytes_max);
}

#[test]
fn records_and_reads_have_json_forms() {
    let (world, escrow) = given().opened(30);
    let shown = |key: Key| EscrowDomain.record_to_json(&key, &world.state[&key]);
    assert_eq!(shown(balance_key(&id(ANA))), Some(json!({ "amount": 70 })));
    assert_eq!(shown(escrow_key(&escrow)).unwrap()["state"], "Held");
    assert_eq!(world.read("balance", &["ab".repeat(32)]), Json::Null);
    assert_eq!(world.read("escrow", &["ab".repeat(32)]), Json::Null);
}
