//! A small domain with every sort of kind, and given/when/then over `control::execute`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;

use chaoschain_schemas::control::{
    Account, GENESIS_VERSION, Genesis, GenesisAccount, ParameterChange, Parameters, Role, RoleGrant,
    Suspension, kind,
};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Body, ChainId, CodecError, EventAddress, Expectation, Hash, Height, Micros,
    PartySignature, PublicKey, Signature, Timestamp, TransitionId, codec,
};
use chaoschain_state::control::{self, SignedTransition, keys};
use chaoschain_state::domain::{BlockContext, Domain, EventContext, KindSpec, Machine, ReadError, ReadSpec};
use chaoschain_state::{Base, Change, Changes, Key, Rejection, Value, View};
use curve25519_dalek::{EdwardsPoint, Scalar};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Members who note numbers down and make pacts.
pub struct Guild;

pub enum Deed {
    Note(Note),
    Pact(Pact),
    Join(Join),
}

/// Writes a number, which must not be zero, on a page.
#[derive(Serialize, Deserialize)]
pub struct Note {
    pub page: u32,
    pub number: u64,
}

/// Binds the partners, who all sign.
#[derive(Serialize, Deserialize)]
pub struct Pact {
    pub partners: Vec<AccountId>,
}

/// Makes the author a member, and an account where it is none yet.
#[derive(Serialize, Deserialize)]
pub struct Join {
    pub name: String,
}

pub const NOTE: u16 = 256;
pub const PACT: u16 = 257;
pub const JOIN: u16 = 258;
/// A note that is known since rules 2.
pub const TOAST: u16 = 259;
/// The most members that parameters of rules 2 may name.
pub const MEMBERS_MAX_SINCE_2: u32 = 100;

/// The payload of a `Join` of the longest name: an array of one, a short string's head and 31 bytes.
pub const JOIN_BYTES_MAX: usize = 33;

#[derive(Serialize, Deserialize)]
pub struct GuildParameters {
    pub members_max: u32,
}

impl Default for GuildParameters {
    fn default() -> Self {
        Self { members_max: 2 }
    }
}

pub fn page_key(page: u32) -> Key {
    Key::new(2, &[&[0], &page.to_be_bytes()])
}

pub fn pact_key(id: &TransitionId) -> Key {
    Key::new(2, &[&[1], id.as_bytes()])
}

pub fn member_key(id: &AccountId) -> Key {
    Key::new(3, &[&[0], id.as_bytes()])
}

const fn spec(kind: u16, name: &'static str, bytes_max: usize, registers: bool) -> KindSpec {
    KindSpec {
        kind,
        name,
        bytes_max,
        registers,
        since: if kind == TOAST { 2 } else { 1 },
        help: "",
        example: "",
    }
}

impl Domain for Guild {
    const ID: &'static str = "guild";
    const RULES: u16 = 2;
    const SUB_TREES: &'static [&'static str] = &["pages", "members"];
    const KINDS: &'static [KindSpec] = &[
        spec(NOTE, "Note", 64, false),
        spec(PACT, "Pact", 256, false),
        spec(JOIN, "Join", JOIN_BYTES_MAX, true),
        spec(TOAST, "Toast", 64, false),
    ];
    const READS: &'static [ReadSpec] = &[];

    type Transition = Deed;
    type Parameters = GuildParameters;

    fn decode(kind: u16, payload: &[u8]) -> Result<Deed, CodecError> {
        match kind {
            NOTE | TOAST => codec::decode(payload, 64).map(Deed::Note),
            PACT => codec::decode(payload, 256).map(Deed::Pact),
            _ => codec::decode(payload, JOIN_BYTES_MAX).map(Deed::Join),
        }
    }

    fn parties(deed: &Deed, author: &AccountId) -> Vec<AccountId> {
        let Deed::Pact(Pact { partners }) = deed else { return Vec::new() };
        partners.iter().copied().filter(|partner| partner != author).collect()
    }

    /// A note names pages without any sense of proportion.
    fn likely_reads(author: &AccountId, deed: &Deed, keys: &mut Vec<Key>) {
        match deed {
            Deed::Note(note) => keys.extend((0..note.number.min(1000)).map(|page| page_key(page as u32))),
            Deed::Join(_) => keys.push(member_key(author)),
            Deed::Pact(_) => {}
        }
    }

    fn verify(
        context: &EventContext<'_, GuildParameters>,
        view: &dyn View,
        deed: &Deed,
    ) -> Result<(), Rejection> {
        match deed {
            Deed::Note(note) if note.number == 0 => Err(Rejection::domain("number_zero", "nothing to note")),
            Deed::Join(_) => {
                let first = Key::new(3, &[&[0]]);
                let members_max = context.parameters.members_max as usize;
                if view.get(&member_key(&context.author)).is_some() {
                    return Err(Rejection::domain("member_exists", "a member already"));
                }
                if view.range(&first, &first.upper_bound(), members_max).len() == members_max {
                    return Err(Rejection::domain("guild_full", "no more members are taken"));
                }
                Ok(())
            }
            Deed::Note(_) | Deed::Pact(_) => Ok(()),
        }
    }

    fn apply(context: &EventContext<'_, GuildParameters>, changes: &mut Changes<'_>, deed: &Deed) {
        match deed {
            Deed::Note(note) => changes.put(&page_key(note.page), &note.number),
            Deed::Pact(pact) => changes.put(&pact_key(&context.id), &pact.partners),
            Deed::Join(join) => changes.put(&member_key(&context.author), &join.name),
        }
    }

    fn check_parameters(rules: u16, parameters: &GuildParameters) -> Result<(), String> {
        match parameters.members_max {
            members if rules >= 2 && members > MEMBERS_MAX_SINCE_2 => Err(format!("{members} are too many")),
            _ => Ok(()),
        }
    }

    fn transition_to_json(_: u16, _: &[u8]) -> Result<Json, CodecError> {
        Ok(Json::Null)
    }

    fn transition_from_json(_: u16, _: &Json) -> Result<Vec<u8>, String> {
        Err("not needed".into())
    }

    fn record_to_json(_: &Key, _: &[u8]) -> Option<Json> {
        None
    }

    fn read(name: &str, _: &[String], _: Timestamp, _: &dyn View) -> Result<Json, ReadError> {
        Err(ReadError::Unknown(name.into()))
    }
}

pub const ANA: u64 = 1;
pub const BO: u64 = 2;
pub const CY: u64 = 3;
/// A second key for whoever rotates.
pub const SPARE: u64 = 100;

pub const CHAIN: ChainId = ChainId::new([7; 32]);
pub const EPOCH: u64 = 0;
pub const GENESIS_TIME: Timestamp = Timestamp(1_000);
pub const NOW: Timestamp = Timestamp(50_000);
pub const VALID_FOR_MAX: Micros = Micros(9_000);
pub const ADDRESS: EventAddress = EventAddress { height: Height(4), index: 2 };

/// A key that an account may have: the rules check that it is a point, nobody here signs with it.
pub fn key(number: u64) -> PublicKey {
    PublicKey::new(EdwardsPoint::mul_base(&Scalar::from(number)).compress().to_bytes())
}

/// The account that first registers with that key.
pub fn id(number: u64) -> AccountId {
    AccountId::from_first_key(&key(number))
}

pub fn signature(signer: AccountId, key: PublicKey) -> PartySignature {
    PartySignature { signer, key, signature: Signature::new([0; 64]) }
}

/// A transition on its way, to be bent before it is sent.
#[derive(Clone, Debug)]
pub struct Submission {
    pub body: Body,
    pub parties: Vec<PartySignature>,
}

pub fn submission(author: u64, kind: u16, payload: Vec<u8>) -> Submission {
    let body = Body {
        version: BODY_VERSION,
        chain: CHAIN,
        epoch: EPOCH,
        author: id(author),
        lane: 0,
        nonce: 0,
        valid_until: NOW,
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: Vec::new(),
        attachment: None,
        kind,
        payload: payload.into(),
    };
    Submission { body, parties: vec![signature(id(author), key(author))] }
}

pub fn register(author: u64) -> Submission {
    // A record of no fields is an empty array.
    submission(author, chaoschain_schemas::control::kind::ACCOUNT_REGISTRATION, vec![0x90])
}

/// Replaces `author`'s key by key `new`, signed with both.
pub fn rotate(author: u64, new: u64) -> Submission {
    rotate_to(author, key(new)).cosigned_as(id(author), key(new))
}

/// The same without the new key's signature.
pub fn rotate_to(author: u64, new_key: PublicKey) -> Submission {
    let payload = codec::encode(&chaoschain_schemas::control::KeyRotation { new_key });
    submission(author, chaoschain_schemas::control::kind::KEY_ROTATION, payload)
}

pub fn toast(author: u64) -> Submission {
    submission(author, TOAST, codec::encode(&Note { page: 6, number: 1 }))
}

pub fn note(author: u64) -> Submission {
    submission(author, NOTE, codec::encode(&Note { page: 5, number: 1 }))
}

/// A pact of `author` and `partners`, signed by all.
pub fn pact(author: u64, partners: &[u64]) -> Submission {
    partners.iter().fold(pact_unsigned(author, partners), |pact, partner| pact.cosigned(*partner))
}

/// The same without the partners' signatures.
pub fn pact_unsigned(author: u64, partners: &[u64]) -> Submission {
    let partners = partners.iter().map(|partner| id(*partner)).collect();
    submission(author, PACT, codec::encode(&Pact { partners }))
}

pub fn join(author: u64) -> Submission {
    submission(author, JOIN, codec::encode(&Join { name: "n".into() }))
}

impl Submission {
    pub fn bent(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    pub fn lane(self, lane: u8) -> Self {
        self.bent(|it| it.body.lane = lane)
    }

    pub fn nonce(self, nonce: u64) -> Self {
        self.bent(|it| it.body.nonce = nonce)
    }

    pub fn payload(self, payload: impl Into<Vec<u8>>) -> Self {
        self.bent(|it| it.body.payload = payload.into().into())
    }

    pub fn expecting(self, sub_tree: u8, key: &[u8], value: Option<Hash>) -> Self {
        self.bent(|it| it.body.expects.push(Expectation { sub_tree, key: key.into(), value }))
    }

    /// The author signs with this key instead.
    pub fn signed_with(self, key: PublicKey) -> Self {
        self.bent(|it| it.parties[0].key = key)
    }

    pub fn cosigned(self, number: u64) -> Self {
        self.cosigned_as(id(number), key(number))
    }

    pub fn cosigned_as(self, signer: AccountId, key: PublicKey) -> Self {
        self.bent(|it| it.parties.push(signature(signer, key)))
    }

    pub fn id(&self) -> TransitionId {
        TransitionId::of_body(&codec::encode(&self.body))
    }

    /// Runs the rules over `changes`.
    pub fn execute(
        &self,
        block: &BlockContext,
        changes: &mut Changes<'_>,
        dry: bool,
    ) -> Result<(), Rejection> {
        self.execute_by(&Guild, block, changes, dry)
    }

    /// The same by another build.
    pub fn execute_by(
        &self,
        machine: &dyn Machine,
        block: &BlockContext,
        changes: &mut Changes<'_>,
        dry: bool,
    ) -> Result<(), Rejection> {
        let transition = SignedTransition { id: self.id(), body: &self.body, parties: &self.parties };
        control::execute(machine, block, changes, ADDRESS, &transition, dry)
    }
}

/// A chain's state, and the block to come.
#[derive(Clone, Debug)]
pub struct Given {
    pub state: BTreeMap<Key, Value>,
    pub now: Timestamp,
    pub height: Height,
}

pub fn genesis(accounts: &[u64]) -> Genesis {
    let member =
        |number: &u64| GenesisAccount { key: key(*number), role: Role::Member, weight: 0, sponsorships: 0 };
    Genesis {
        version: GENESIS_VERSION,
        name: "test".into(),
        domain: Guild::ID.into(),
        rules: 1,
        sub_trees: Guild::SUB_TREES.iter().map(|name| (*name).into()).collect(),
        timestamp: GENESIS_TIME,
        parameters: Parameters {
            time_step_max: Micros(1),
            valid_until_max: VALID_FOR_MAX,
            ..Parameters::default()
        },
        domain_parameters: codec::encode(&GuildParameters::default()).into(),
        accounts: accounts.iter().map(member).collect(),
    }
}

/// A chain on which these have an account.
pub fn given(accounts: &[u64]) -> Given {
    let empty = BTreeMap::new();
    let mut changes = Changes::new(&empty);
    control::apply_genesis(&genesis(accounts), &mut changes);
    let mut given = Given { state: BTreeMap::new(), now: NOW, height: ADDRESS.height };
    given.absorb(changes.into_changes());
    given
}

/// A chain that starts with the one who seals, number 50, and with these validators: number, weight.
pub fn governed(validators: &[(u64, u64)]) -> Given {
    let mut document = genesis(&[SEALER]);
    document.accounts[0].role = Role::Producer;
    document.accounts.extend(validators.iter().map(|(number, weight)| GenesisAccount {
        key: key(*number),
        role: Role::Validator,
        weight: *weight,
        sponsorships: 0,
    }));
    let empty = BTreeMap::new();
    let mut changes = Changes::new(&empty);
    control::apply_genesis(&document, &mut changes);
    let mut given = Given { state: BTreeMap::new(), now: NOW, height: ADDRESS.height };
    given.absorb(changes.into_changes());
    given
}

/// The producer of [`governed`] chains.
pub const SEALER: u64 = 50;

/// A decision of `signers`, the first of them its author.
pub fn decision<P: Serialize>(signers: &[u64], kind: u16, payload: &P) -> Submission {
    let first = submission(signers[0], kind, codec::encode(payload));
    signers[1..].iter().fold(first, |decision, signer| decision.cosigned(*signer))
}

pub fn suspend(signers: &[u64], account: u64, suspended: bool) -> Submission {
    let suspension = Suspension { account: id(account), suspended, reason: "so it was decided".into() };
    decision(signers, kind::SUSPENSION, &suspension)
}

pub fn grant(signers: &[u64], account: u64, role: Role, weight: u64, at: u64) -> Submission {
    grant_of(signers, &RoleGrant { account: id(account), role, weight, sponsorships: 0, at: Height(at) })
}

pub fn grant_of(signers: &[u64], grant: &RoleGrant) -> Submission {
    decision(signers, kind::ROLE_GRANT, grant)
}

/// A change of nothing yet.
pub fn change(at: u64) -> ParameterChange {
    ParameterChange { at: Height(at), kernel: None, domain: None, rules: None, reason: "better".into() }
}

pub fn change_of(signers: &[u64], change: &ParameterChange) -> Submission {
    decision(signers, kind::PARAMETER_CHANGE, change)
}

pub fn block_over(base: &dyn Base, height: Height, now: Timestamp) -> BlockContext {
    control::block_context(&Guild, base, CHAIN, height, Hash::ZERO, now).unwrap()
}

impl Given {
    pub fn absorb(&mut self, changes: Vec<Change>) {
        for Change { key, after, .. } in changes {
            match after {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
    }

    pub fn block(&self) -> BlockContext {
        block_over(&self.state, self.height, self.now)
    }

    /// A block of no events at every height up to and including this one; what comes next is in the block at it.
    pub fn at_height(mut self, height: u64) -> Self {
        while self.height.0 < height {
            self.height = self.height.next();
            let block = self.block();
            let mut changes = Changes::new(&self.state);
            control::begin_block(&Guild, &block, &mut changes);
            assert_eq!(changes.fault(), None);
            let changes = changes.into_changes();
            self.absorb(changes);
        }
        self
    }

    /// With an account more, which registered before.
    pub fn with_member(mut self, number: u64) -> Self {
        let before = given(&[number]);
        let at = keys::account(&id(number));
        self.state.insert(at, before.state[&at].clone());
        self
    }

    /// The record at a key of the kernel's.
    pub fn record<R: serde::de::DeserializeOwned>(&self, key: &Key) -> Option<R> {
        self.state.get(key).map(|value| codec::decode_trusted(value).unwrap())
    }

    /// With other parameters of the kernel.
    pub fn with_parameters(mut self, edit: impl FnOnce(&mut Parameters)) -> Self {
        let mut parameters: Parameters = self.record(&keys::parameters()).unwrap();
        edit(&mut parameters);
        self.state.insert(keys::parameters(), codec::encode(&parameters).into());
        self
    }

    pub fn account(&self, number: u64) -> Option<Account> {
        let value = self.state.get(&keys::account(&id(number)))?;
        Some(codec::decode_trusted(value).unwrap())
    }

    pub fn with_account(mut self, number: u64, edit: impl FnOnce(&mut Account)) -> Self {
        let mut account = self.account(number).unwrap();
        edit(&mut account);
        self.state.insert(keys::account(&id(number)), codec::encode(&account).into());
        self
    }

    pub fn suspended(self, number: u64) -> Self {
        self.with_account(number, |account| account.suspended = true)
    }

    /// The verdict and what it changes; dry runs agree with it, and neither they nor refusals write.
    #[track_caller]
    pub fn decide(&self, submission: &Submission) -> Result<Vec<Change>, Rejection> {
        let run = |dry: bool| {
            let mut changes = Changes::new(&self.state);
            let verdict = submission.execute(&self.block(), &mut changes, dry);
            assert_eq!(changes.fault(), None);
            (verdict, changes.into_changes())
        };
        let (dry_verdict, written) = run(true);
        assert_eq!(written, [], "a dry run wrote");
        let (verdict, changes) = run(false);
        assert_eq!(verdict, dry_verdict);
        if verdict.is_err() {
            assert_eq!(changes, [], "a refused transition wrote");
        }
        verdict.map(|()| changes)
    }

    /// The transition is accepted, and done.
    #[track_caller]
    pub fn accepts(mut self, submission: &Submission) -> Self {
        match self.decide(submission) {
            Ok(changes) => self.absorb(changes),
            Err(rejection) => panic!("{}: {rejection}", rejection.code()),
        }
        self
    }

    /// The transition is refused with this code.
    #[track_caller]
    pub fn refuses(self, submission: &Submission, code: &str) -> Self {
        let verdict = self.decide(submission).map(drop).map_err(|rejection| rejection.code());
        assert_eq!(verdict, Err(code));
        self
    }
}
