//! The kernel's rules: who may submit what, when, in which order.
//!
//! [`execute`] is the one way a transition reaches the state, in admission, in sealing and in every fold. It checks, in
//! this order: chain, epoch, validity; the author's account, key, nonce and rate; the further parties' keys;
//! expectations; then the kind's own rules. Nothing is written unless all hold.

mod block;
mod checks;
mod genesis;
mod governance;
mod schedule;
mod shown;
mod sponsor;
mod standing;

use chaoschain_schemas::control::{Account, AccountRegistration, Role, kind};
use chaoschain_schemas::limits::{DOMAIN_PARAMETERS_BYTES_MAX, REASON_BYTES_MAX};
use chaoschain_schemas::{AccountId, Body, CodecError, EventAddress, PartySignature, TransitionId, codec};

use crate::domain::{BlockContext, KindSpec, Machine, MachineEvent, ReadSpec, check_parties};
use crate::forest::StateVersion;
use crate::key::{CONTROL, Key};
use crate::rejection::Rejection;
use crate::view::{Base, Changes};

pub use block::{begin_block, block_context};
pub use genesis::apply_genesis;
pub use governance::needs_quorum;
pub use shown::{read, record_to_json, transition_from_json, transition_to_json};

/// Keys of the control sub-tree.
pub mod keys {
    use super::{AccountId, CONTROL, Key};

    /// What an account's key starts with; its id follows.
    pub(super) const ACCOUNT: u8 = 0x01;

    /// An account.
    pub fn account(id: &AccountId) -> Key {
        Key::new(CONTROL, &[&[ACCOUNT], id.as_bytes()])
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

    /// Epoch, rules version and counters.
    pub fn chain() -> Key {
        Key::new(CONTROL, &[&[0x05]])
    }

    /// What waits for its height.
    pub fn schedule() -> Key {
        Key::new(CONTROL, &[&[0x06]])
    }
}

/// The kernel's own kinds.
pub const KINDS: &[KindSpec] = &[
    KindSpec {
        kind: kind::ACCOUNT_REGISTRATION,
        name: "AccountRegistration",
        bytes_max: 16,
        registers: true,
        since: 1,
        help: "Register the author's account under the key it signs with",
        example: "{}",
    },
    KindSpec {
        kind: kind::KEY_ROTATION,
        name: "KeyRotation",
        bytes_max: 64,
        registers: false,
        since: 1,
        help: "Replace the author's key; old and new key both sign",
        example: r#"{"new_key":"<64 hex digits>"}"#,
    },
    KindSpec {
        kind: kind::ROLE_GRANT,
        name: "RoleGrant",
        bytes_max: 128,
        registers: false,
        since: 1,
        help: "Set an account's role, weight and sponsorships from a height on; validators with more than 2/3 sign",
        example: r#"{"account":"<64 hex digits>","role":"Producer","weight":1,"sponsorships":0,"at":1000}"#,
    },
    KindSpec {
        kind: kind::SUSPENSION,
        name: "Suspension",
        bytes_max: 64 + REASON_BYTES_MAX,
        registers: false,
        since: 1,
        help: "Suspend an account, or let it act again; validators with more than 2/3 sign",
        example: r#"{"account":"<64 hex digits>","suspended":true,"reason":"its key was stolen"}"#,
    },
    KindSpec {
        kind: kind::PARAMETER_CHANGE,
        name: "ParameterChange",
        bytes_max: 128 + REASON_BYTES_MAX + DOMAIN_PARAMETERS_BYTES_MAX,
        registers: false,
        since: 1,
        help: "Set all parameters of kernel or domain, or the next rules, from a height on; more than 2/3 sign",
        example: r#"{"at":1000,"kernel":null,"domain":null,"rules":2,"reason":"everybody has upgraded"}"#,
    },
];

/// The kernel's own named reads.
pub const READS: &[ReadSpec] = &[
    ReadSpec {
        name: "account",
        arguments: &["id"],
        help: "Key, role, standing, nonces and sponsorships of an account",
    },
    ReadSpec { name: "parameters", arguments: &[], help: "The parameters in force and what is scheduled" },
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

/// The kind of this number, the kernel's or the domain's, whatever rules it is known since.
pub fn kind_spec(machine: &dyn Machine, kind: u16) -> Option<&'static KindSpec> {
    KINDS.iter().chain(machine.kinds()).find(|spec| spec.kind == kind)
}

/// The kind of this name, the kernel's or the domain's.
pub fn kind_named(machine: &dyn Machine, name: &str) -> Option<&'static KindSpec> {
    KINDS.iter().chain(machine.kinds()).find(|spec| spec.name.eq_ignore_ascii_case(name))
}

/// Whether `account` may seal blocks.
pub fn may_produce(account: &Account) -> bool {
    account.role == Role::Producer && !account.suspended
}

/// All accounts that may seal blocks, ascending. Looks at every account there is: not for a rule, nor for a request.
pub fn producers(state: &StateVersion) -> impl Iterator<Item = (AccountId, Account)> {
    let records = state.tree(CONTROL).into_iter().flat_map(crate::merkle::Version::iter);
    records.filter_map(|(key, value)| {
        let id = AccountId::new(key.strip_prefix(&[keys::ACCOUNT])?.try_into().ok()?);
        let account = codec::decode_trusted::<Account>(&value).ok()?;
        may_produce(&account).then_some((id, account))
    })
}

/// How many transitions' records are worth prefetching at once: about as many keys as go down a tree together.
pub const PREFETCHED_TOGETHER: usize = 32;
/// The most keys that are prefetched at once, whatever a domain names; more would not stay in the cache until they are read.
const PREFETCHED_KEYS_MAX: usize = 512;
/// Payloads above are not worth decoding twice, bytes.
const PREFETCHED_PAYLOAD_MAX: usize = 2048;

/// Prefetches what the rules are likely to read for these transitions. Nothing but speed depends on it.
pub fn prefetch<'e>(
    machine: &dyn Machine,
    state: &dyn Base,
    transitions: impl Iterator<Item = SignedTransition<'e>>,
) {
    let mut keys = Vec::with_capacity(4 * PREFETCHED_TOGETHER);
    for SignedTransition { body, .. } in transitions {
        keys.push(keys::account(&body.author));
        if body.payload.len() <= PREFETCHED_PAYLOAD_MAX {
            machine.likely_reads(body.kind, &body.payload, &body.author, &mut keys);
        }
        if keys.len() >= PREFETCHED_KEYS_MAX {
            keys.truncate(PREFETCHED_KEYS_MAX);
            break;
        }
    }
    state.prefetch(&keys);
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
    checks::check_admissible(block, body)?;
    let spec = kind_spec(machine, body.kind).filter(|spec| spec.since <= block.rules);
    let spec = spec.ok_or(Rejection::KindUnknown(body.kind))?;
    if body.payload.len() > spec.bytes_max {
        let error = CodecError::TooLarge { bytes: body.payload.len(), max: spec.bytes_max };
        return Err(Rejection::Payload { kind: body.kind, error });
    }
    let (mut account, exists) = checks::author_account(block, changes.view(), transition, spec)?;
    checks::count_in_window(block, &mut account)?;
    let mut cosigners = checks::check_cosigners(changes.view(), transition)?;
    checks::check_expectations(machine, changes.view(), body)?;

    let lane = usize::from(body.lane);
    account.nonces[lane] += 1;
    account.last_activity = block.now;
    let account_key = keys::account(&body.author);
    let sponsor =
        if exists { None } else { sponsor::take(machine, block, changes.view(), body, &mut cosigners)? };
    let mut decision = None;
    match body.kind {
        kind::ACCOUNT_REGISTRATION => {
            checks::decode_payload::<AccountRegistration>(body)?;
            check_parties(&[], &cosigners)?;
            if exists {
                return Err(Rejection::AccountExists(body.author));
            }
        }
        kind::KEY_ROTATION => account.key = checks::rotated_key(transition)?,
        kind if needs_quorum(kind) => {
            let event = governance::Event { machine, block, address, body, cosigners: &cosigners };
            decision = Some(event.decide(changes.view())?);
        }
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
        if let Some(sponsor) = sponsor {
            changes.put(&keys::account(&sponsor.id), &sponsor.account);
        }
        // After the author's account, which may be what it is about.
        if let Some(decision) = decision {
            decision.carry_out(block, changes);
        }
    }
    Ok(())
}
