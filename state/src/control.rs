//! The kernel's rules: who may submit what, when, in which order.
//!
//! [`execute`] is the one way a transition reaches the state, in admission, in sealing and in every fold. It checks, in
//! this order: chain, epoch, validity; the author's account, key and nonce; the further parties' keys; expectations;
//! then the kind's own rules. Nothing is written unless all hold.

use chaoschain_schemas::control::{
    Account, AccountRegistration, ChainState, Genesis, KeyRotation, Parameters, Role, Validator, Validators,
    kind,
};
use chaoschain_schemas::{
    AccountId, Blob, Body, ChainId, CodecError, EventAddress, Hash, Height, PartySignature, Timestamp,
    TransitionId, codec,
};
use serde_json::Value as Json;

use crate::domain::{BlockContext, KindSpec, Machine, MachineEvent, ReadError, ReadSpec, check_parties};
use crate::key::{CONTROL, DOMAIN_FIRST, Key};
use crate::merkle::value_hash;
use crate::registrable_key::is_registrable;
use crate::rejection::Rejection;
use crate::view::{Base, BaseView, Changes, Fault, View};

/// Keys of the control sub-tree.
pub mod keys {
    use super::{AccountId, CONTROL, Key};

    /// An account.
    pub fn account(id: &AccountId) -> Key {
        Key::new(CONTROL, &[&[0x01], id.as_bytes()])
    }

    /// The kernel's parameters.
    pub fn parameters() -> Key {
        Key::new(CONTROL, &[&[0x02]])
    }

    /// The domain's parameters.
    pub fn domain_parameters() -> Key {
        Key::new(CONTROL, &[&[0x03]])
    }

    /// The validator set.
    pub fn validators() -> Key {
        Key::new(CONTROL, &[&[0x04]])
    }

    /// Epoch and rules version.
    pub fn chain() -> Key {
        Key::new(CONTROL, &[&[0x05]])
    }
}

/// The kernel's own kinds.
pub const KINDS: &[KindSpec] = &[
    KindSpec {
        kind: kind::ACCOUNT_REGISTRATION,
        name: "AccountRegistration",
        bytes_max: 16,
        registers: true,
        help: "Register the author's account under the key it signs with",
        example: "{}",
    },
    KindSpec {
        kind: kind::KEY_ROTATION,
        name: "KeyRotation",
        bytes_max: 64,
        registers: false,
        help: "Replace the author's key; old and new key both sign",
        example: r#"{"new_key":"<64 hex digits>"}"#,
    },
];

/// The kernel's own named reads.
pub const READS: &[ReadSpec] = &[
    ReadSpec {
        name: "account",
        arguments: &["id"],
        help: "Key, role, nonces and last activity of an account",
    },
    ReadSpec { name: "parameters", arguments: &[], help: "The parameters of the kernel and of the domain" },
    ReadSpec { name: "validators", arguments: &[], help: "The validators with their weights and keys" },
];

/// A transition whose signatures hold under the keys they carry.
#[derive(Clone, Copy, Debug)]
pub struct SignedTransition<'a> {
    /// Its id.
    pub id: TransitionId,
    /// What was signed.
    pub body: &'a Body,
    /// Who signed with which key: the author first.
    pub parties: &'a [PartySignature],
}

/// The kind of this number, the kernel's or the domain's.
pub fn kind_spec(machine: &dyn Machine, kind: u16) -> Option<&'static KindSpec> {
    KINDS.iter().chain(machine.kinds()).find(|spec| spec.kind == kind)
}

/// The kind of this name, the kernel's or the domain's.
pub fn kind_named(machine: &dyn Machine, name: &str) -> Option<&'static KindSpec> {
    KINDS.iter().chain(machine.kinds()).find(|spec| spec.name.eq_ignore_ascii_case(name))
}

/// Reads what a block's rules need to know from the state before it.
///
/// # Errors
/// [`Fault`] when the control records are missing or withheld.
pub fn block_context(
    base: &dyn Base,
    chain: ChainId,
    height: Height,
    parent: Hash,
    now: Timestamp,
) -> Result<BlockContext, Fault> {
    let view = BaseView::new(base);
    let reader: &dyn View = &view;
    let parameters: Option<Parameters> = reader.record(&keys::parameters());
    let state: Option<ChainState> = reader.record(&keys::chain());
    let domain_parameters = reader.get(&keys::domain_parameters());
    if let Some(fault) = view.fault() {
        return Err(fault);
    }
    let missing =
        |key: Key| Fault::Corrupt(key, "there is no such record; was the state made by genesis?".into());
    let state = state.ok_or_else(|| missing(keys::chain()))?;
    Ok(BlockContext {
        chain,
        height,
        now,
        parent,
        epoch: state.epoch,
        rules: state.rules,
        parameters: parameters.ok_or_else(|| missing(keys::parameters()))?,
        domain_parameters: domain_parameters.ok_or_else(|| missing(keys::domain_parameters()))?.to_vec(),
    })
}

/// Does what is due at the start of a block, before its events: the kernel's part, then the domain's.
pub fn begin_block(machine: &dyn Machine, block: &BlockContext, changes: &mut Changes<'_>) {
    machine.begin_block(block, changes);
}

/// Writes the state that a genesis document describes.
pub fn apply_genesis(genesis: &Genesis, changes: &mut Changes<'_>) {
    let mut validators = Validators::default();
    for member in &genesis.accounts {
        let id = AccountId::from_first_key(&member.key);
        let now = genesis.timestamp;
        let account = Account {
            key: member.key,
            role: member.role,
            suspended: false,
            registered_at: now,
            last_activity: now,
            nonces: Default::default(),
        };
        changes.put(&keys::account(&id), &account);
        if member.weight > 0 {
            validators.members.push(Validator { account: id, weight: member.weight });
        }
    }
    validators.members.sort_by_key(|validator| validator.account);
    changes.put(&keys::validators(), &validators);
    changes.put(&keys::parameters(), &genesis.parameters);
    changes.set(&keys::domain_parameters(), Some(genesis.domain_parameters.as_ref().into()));
    changes.put(&keys::chain(), &ChainState { epoch: 0, rules: genesis.rules });
}

/// Whether `account` may seal blocks.
pub fn may_produce(account: &Account) -> bool {
    account.role == Role::Producer && !account.suspended
}

/// Decides whether a transition is acceptable at `address` and carries it out; with `dry`, only decides.
///
/// When [`Changes::fault`] is set afterwards, neither outcome means anything.
///
/// # Errors
/// [`Rejection`]; then nothing was written.
pub fn execute(
    machine: &dyn Machine,
    block: &BlockContext,
    changes: &mut Changes<'_>,
    address: EventAddress,
    transition: &SignedTransition<'_>,
    dry: bool,
) -> Result<(), Rejection> {
    let body = transition.body;
    check_admissible(block, body)?;
    let spec = kind_spec(machine, body.kind).ok_or(Rejection::KindUnknown(body.kind))?;
    if body.payload.len() > spec.bytes_max {
        let error = CodecError::TooLarge { bytes: body.payload.len(), max: spec.bytes_max };
        return Err(Rejection::Payload { kind: body.kind, error });
    }
    let mut account = author_account(block, changes.view(), transition, spec)?;
    let cosigners = check_cosigners(changes.view(), transition)?;
    check_expectations(machine, changes.view(), body)?;

    let lane = usize::from(body.lane);
    account.nonces[lane] += 1;
    account.last_activity = block.now;
    let account_key = keys::account(&body.author);
    match body.kind {
        kind::ACCOUNT_REGISTRATION => {
            decode_payload::<AccountRegistration>(body)?;
            check_parties(&[], &cosigners)?;
            if changes.view().get(&account_key).is_some() {
                return Err(Rejection::AccountExists(body.author));
            }
        }
        kind::KEY_ROTATION => account.key = rotated_key(transition)?,
        _ => {
            let event = MachineEvent {
                block,
                address,
                id: transition.id,
                author: body.author,
                cosigners: &cosigners,
                kind: body.kind,
                payload: &body.payload,
            };
            machine.execute(&event, changes, dry)?;
        }
    }
    if !dry {
        changes.put(&account_key, &account);
    }
    Ok(())
}

fn check_admissible(block: &BlockContext, body: &Body) -> Result<(), Rejection> {
    if body.chain != block.chain {
        return Err(Rejection::ChainWrong { want: block.chain.into(), got: body.chain.into() });
    }
    if body.epoch != block.epoch {
        return Err(Rejection::EpochWrong { want: block.epoch, got: body.epoch });
    }
    if body.valid_until < block.now {
        return Err(Rejection::Expired { until: body.valid_until, now: block.now });
    }
    let latest = block.now.saturating_add(block.parameters.valid_until_max);
    if body.valid_until > latest {
        return Err(Rejection::ValidityTooLong { until: body.valid_until, latest });
    }
    Ok(())
}

/// The author's account as it was before the transition; a fresh one where the kind registers it.
fn author_account(
    block: &BlockContext,
    view: &dyn View,
    transition: &SignedTransition<'_>,
    spec: &KindSpec,
) -> Result<Account, Rejection> {
    let body = transition.body;
    let author = transition.parties.first().filter(|party| party.signer == body.author);
    let Some(author) = author else {
        let got = transition.parties.first().map_or_else(AccountId::default, |party| party.signer);
        return Err(Rejection::AuthorSignatureMissing { want: body.author, got });
    };
    let account = match view.record::<Account>(&keys::account(&body.author)) {
        Some(account) => account,
        None if spec.registers => {
            let id = AccountId::from_first_key(&author.key);
            if id != body.author {
                return Err(Rejection::AccountIdWrong(id));
            }
            if !is_registrable(&author.key) {
                return Err(Rejection::KeyWeak(author.key));
            }
            Account {
                key: author.key,
                role: Role::Member,
                suspended: false,
                registered_at: block.now,
                last_activity: block.now,
                nonces: Default::default(),
            }
        }
        None => return Err(Rejection::AccountUnknown(body.author)),
    };
    check_signer(&account, author)?;
    let (lane, got) = (body.lane, body.nonce);
    let want = account.nonces[usize::from(lane)];
    match got.cmp(&want) {
        std::cmp::Ordering::Less => Err(Rejection::NonceUsed { lane, want, got }),
        std::cmp::Ordering::Greater => Err(Rejection::NonceAhead { lane, want, got }),
        std::cmp::Ordering::Equal => Ok(account),
    }
}

fn check_signer(account: &Account, party: &PartySignature) -> Result<(), Rejection> {
    if account.suspended {
        return Err(Rejection::AccountSuspended(party.signer));
    }
    if account.key != party.key {
        return Err(Rejection::KeyWrong { signer: party.signer, want: account.key, got: party.key });
    }
    Ok(())
}

/// Checks the further parties' keys; returns who they are.
fn check_cosigners(view: &dyn View, transition: &SignedTransition<'_>) -> Result<Vec<AccountId>, Rejection> {
    let further = transition.parties.get(1..).unwrap_or_default();
    // A rotation's second signature is the author's own, with the new key; `rotated_key` checks it.
    if transition.body.kind == kind::KEY_ROTATION {
        return Ok(Vec::new());
    }
    for party in further {
        let account = view.record::<Account>(&keys::account(&party.signer));
        check_signer(&account.ok_or(Rejection::AccountUnknown(party.signer))?, party)?;
    }
    Ok(further.iter().map(|party| party.signer).collect())
}

fn rotated_key(transition: &SignedTransition<'_>) -> Result<chaoschain_schemas::PublicKey, Rejection> {
    let KeyRotation { new_key } = decode_payload(transition.body)?;
    if !is_registrable(&new_key) {
        return Err(Rejection::KeyWeak(new_key));
    }
    let author = transition.body.author;
    let holds_new_key = |party: &PartySignature| party.signer == author && party.key == new_key;
    match transition.parties.get(1..).unwrap_or_default() {
        [only] if holds_new_key(only) => Ok(new_key),
        [] => Err(Rejection::CosignatureMissing(author)),
        [first, ..] => Err(Rejection::CosignatureUnneeded(first.signer)),
    }
}

fn check_expectations(machine: &dyn Machine, view: &dyn View, body: &Body) -> Result<(), Rejection> {
    let sub_trees = usize::from(DOMAIN_FIRST) + machine.sub_trees().len();
    for expect in &body.expects {
        let readable = expect.sub_tree == CONTROL
            || (expect.sub_tree >= DOMAIN_FIRST && usize::from(expect.sub_tree) < sub_trees);
        let key = Key::from_bytes(expect.sub_tree, &expect.key).filter(|_| readable);
        let key = key.ok_or(Rejection::ExpectationUnreadable(expect.sub_tree))?;
        let got = view.get(&key).map(|value| value_hash(&value));
        if got != expect.value {
            return Err(Rejection::ExpectationFailed { key: Box::new(key), got });
        }
    }
    Ok(())
}

fn decode_payload<T: serde::Serialize + for<'a> serde::Deserialize<'a>>(body: &Body) -> Result<T, Rejection> {
    codec::decode(&body.payload, body.payload.len())
        .map_err(|error| Rejection::Payload { kind: body.kind, error })
}

/// A payload as JSON, the kernel's or the domain's.
pub fn transition_to_json(machine: &dyn Machine, kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
    fn show<T: serde::Serialize + for<'a> serde::Deserialize<'a>>(
        payload: &[u8],
    ) -> Result<Json, CodecError> {
        let value: T = codec::decode(payload, payload.len())?;
        serde_json::to_value(value).map_err(|error| CodecError::Form(error.to_string()))
    }
    match kind {
        kind::ACCOUNT_REGISTRATION => show::<AccountRegistration>(payload),
        kind::KEY_ROTATION => show::<KeyRotation>(payload),
        _ => machine.transition_to_json(kind, payload),
    }
}

/// A payload from JSON, the kernel's or the domain's.
///
/// # Errors
/// What is wrong with it, in words.
pub fn transition_from_json(machine: &dyn Machine, kind: u16, json: &Json) -> Result<Blob, String> {
    fn read<T: serde::Serialize + serde::de::DeserializeOwned>(json: &Json) -> Result<Blob, String> {
        let value: T = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
        Ok(codec::encode(&value).into())
    }
    match kind {
        kind::ACCOUNT_REGISTRATION => read::<AccountRegistration>(json),
        kind::KEY_ROTATION => read::<KeyRotation>(json),
        _ => machine.transition_from_json(kind, json).map(Blob),
    }
}

/// A record as JSON, the kernel's or the domain's; `None` for a key that neither has.
pub fn record_to_json(machine: &dyn Machine, key: &Key, value: &[u8]) -> Option<Json> {
    fn show<T: serde::Serialize + serde::de::DeserializeOwned>(value: &[u8]) -> Option<Json> {
        serde_json::to_value(codec::decode_trusted::<T>(value).ok()?).ok()
    }
    if key.sub_tree() != CONTROL {
        return machine.record_to_json(key, value);
    }
    match key.as_bytes() {
        [0x01, rest @ ..] if rest.len() == 32 => show::<Account>(value),
        [0x02] => show::<Parameters>(value),
        [0x03] => machine.parameters_to_json(value).ok(),
        [0x04] => show::<Validators>(value),
        [0x05] => show::<ChainState>(value),
        _ => None,
    }
}

/// Answers a named read of the state at block time `now`, the kernel's or the domain's; `Json::Null` when what is asked
/// for does not exist.
pub fn read(
    machine: &dyn Machine,
    name: &str,
    arguments: &[String],
    now: Timestamp,
    view: &dyn View,
) -> Result<Json, ReadError> {
    let show =
        |key: Key| view.get(&key).and_then(|value| record_to_json(machine, &key, &value)).unwrap_or_default();
    let spec = READS.iter().chain(machine.reads()).find(|spec| spec.name == name);
    let spec = spec.ok_or_else(|| ReadError::Unknown(name.to_owned()))?;
    if spec.arguments.len() != arguments.len() {
        let text = format!(
            "{name} takes {} arguments ({}), got {}",
            spec.arguments.len(),
            spec.arguments.join(", "),
            arguments.len()
        );
        return Err(ReadError::Argument(text));
    }
    match name {
        "account" => {
            let id = arguments[0].parse::<AccountId>();
            Ok(show(keys::account(&id.map_err(|error| ReadError::Argument(error.to_string()))?)))
        }
        "parameters" => Ok(serde_json::json!({
            "kernel": show(keys::parameters()),
            "domain": show(keys::domain_parameters()),
            "chain": show(keys::chain()),
        })),
        "validators" => {
            let mut shown = show(keys::validators());
            for member in shown.get_mut("members").and_then(Json::as_array_mut).into_iter().flatten() {
                let id = member["account"].as_str().and_then(|id| id.parse::<AccountId>().ok());
                let account = id.and_then(|id| view.record::<Account>(&keys::account(&id)));
                member["key"] = serde_json::json!(account.map(|account| account.key));
            }
            Ok(shown)
        }
        _ => machine.read(name, arguments, now, view),
    }
}
