//! What every transition has to satisfy, whatever its kind.

use chaoschain_schemas::control::{Account, KeyRotation, Role, kind};
use chaoschain_schemas::{AccountId, Body, PartySignature, PublicKey, Timestamp, codec};

use super::{SignedTransition, keys};
use crate::domain::{BlockContext, KindSpec, Machine};
use crate::key::{CONTROL, DOMAIN_FIRST, Key};
use crate::merkle::value_hash;
use crate::registrable_key::is_registrable;
use crate::rejection::Rejection;
use crate::view::View;

pub(super) fn check_admissible(block: &BlockContext, body: &Body) -> Result<(), Rejection> {
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

/// The author's account as it was before the transition, and whether it is there; a fresh one where the kind registers
/// it.
pub(super) fn author_account(
    block: &BlockContext,
    view: &dyn View,
    transition: &SignedTransition<'_>,
    spec: &KindSpec,
) -> Result<(Account, bool), Rejection> {
    let body = transition.body;
    let author = transition.parties.first().filter(|party| party.signer == body.author);
    let Some(author) = author else {
        let got = transition.parties.first().map_or_else(AccountId::default, |party| party.signer);
        return Err(Rejection::AuthorSignatureMissing { want: body.author, got });
    };
    let known = view.record::<Account>(&keys::account(&body.author));
    let exists = known.is_some();
    let account = match known {
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
                sponsorships: 0,
                window_start: Timestamp(0),
                window_events: 0,
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
        std::cmp::Ordering::Equal => Ok((account, exists)),
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
pub(super) fn check_cosigners(
    view: &dyn View,
    transition: &SignedTransition<'_>,
) -> Result<Vec<AccountId>, Rejection> {
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

pub(super) fn rotated_key(transition: &SignedTransition<'_>) -> Result<PublicKey, Rejection> {
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

/// Counts an accepted transition in the author's window of block time, where there is a bound.
pub(super) fn count_in_window(block: &BlockContext, account: &mut Account) -> Result<(), Rejection> {
    let (max, window) = (block.parameters.author_events_max, block.parameters.author_window);
    if max == 0 || window.0 == 0 {
        return Ok(());
    }
    let start = Timestamp(block.now.0 - block.now.0 % window.0);
    // Another start is another window, also where their length has changed.
    let events = if account.window_start == start { account.window_events } else { 0 };
    if events >= max {
        return Err(Rejection::AuthorRateLimited { max, next: start.saturating_add(window) });
    }
    account.window_start = start;
    account.window_events = events + 1;
    Ok(())
}

pub(super) fn check_expectations(
    machine: &dyn Machine,
    view: &dyn View,
    body: &Body,
) -> Result<(), Rejection> {
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

pub(super) fn decode_payload<T: serde::Serialize + for<'a> serde::Deserialize<'a>>(
    body: &Body,
) -> Result<T, Rejection> {
    codec::decode(&body.payload, body.payload.len())
        .map_err(|error| Rejection::Payload { kind: body.kind, error })
}
