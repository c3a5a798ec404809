//! Who may act with which key: registration, rotation, suspension, co-signers.
#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;

use chaoschain_schemas::control::{Account, ChainState, Role, Validator, Validators};
use chaoschain_schemas::{Height, PublicKey, Timestamp, codec};
use chaoschain_state::control::{self, keys};
use chaoschain_state::{Changes, View};
use support::{
    ANA, BO, CY, GENESIS_TIME, NOW, SPARE, genesis, given, id, join, key, member_key, note, pact, pact_key,
    pact_unsigned, register, rotate, rotate_to,
};

mod support;

/// The identity, a point of order 4, a sound point in another form, and no point at all.
const WEAK: [&str; 4] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0200000000000000000000000000000000000000000000000000000000000000",
];

fn weak_keys() -> impl Iterator<Item = PublicKey> {
    WEAK.iter().map(|hex| hex.parse().unwrap())
}

fn fresh(number: u64, lane: usize) -> Account {
    let mut nonces = [0; 16];
    nonces[lane] = 1;
    Account {
        key: key(number),
        role: Role::Member,
        suspended: false,
        registered_at: NOW,
        last_activity: NOW,
        nonces,
        sponsorships: 0,
        window_start: Timestamp(0),
        window_events: 0,
    }
}

#[test]
fn genesis_writes_accounts_validators_and_parameters() {
    let mut numbers = [ANA, BO, CY];
    numbers.sort_by_key(|number| Reverse(id(*number)));
    let [last, _, first] = numbers;
    let mut document = genesis(&numbers);
    document.rules = 9;
    document.accounts[0].role = Role::Producer;
    document.accounts[0].weight = 5;
    document.accounts[2].weight = 7;
    let base = std::collections::BTreeMap::new();
    let mut changes = Changes::new(&base);
    control::apply_genesis(&document, &mut changes);

    let view: &dyn View = &changes;
    let producer = Account {
        role: Role::Producer,
        registered_at: GENESIS_TIME,
        last_activity: GENESIS_TIME,
        nonces: [0; 16],
        ..fresh(last, 0)
    };
    assert_eq!(view.record(&keys::account(&id(last))), Some(producer));
    let members =
        vec![Validator { account: id(first), weight: 7 }, Validator { account: id(last), weight: 5 }];
    assert_eq!(view.record(&keys::validators()), Some(Validators { members, since: Height(0) }));
    assert_eq!(
        view.record(&keys::chain()),
        Some(ChainState { epoch: 0, rules: 9, producers: 1, weight_suspended: 0 })
    );
    assert_eq!(view.record(&keys::parameters()), Some(document.parameters));
    assert_eq!(view.get(&keys::domain_parameters()).as_deref(), Some(&*document.domain_parameters));
    assert_eq!(changes.into_changes().len(), 3 + 4);
}

#[test]
fn only_producers_in_good_standing_may_produce() {
    for (role, suspended, may) in [
        (Role::Producer, false, true),
        (Role::Producer, true, false),
        (Role::Member, false, false),
        (Role::Validator, false, false),
    ] {
        let account = Account { role, suspended, ..fresh(ANA, 0) };
        assert_eq!(control::may_produce(&account), may, "{role:?}, suspended: {suspended}");
    }
}

#[test]
fn registration_makes_an_account_and_nothing_else() {
    let given = given(&[]);
    let changes = given.decide(&register(ANA).lane(7)).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].key, keys::account(&id(ANA)));
    assert_eq!(changes[0].before, None);
    assert_eq!(changes[0].after.as_deref(), Some(&*codec::encode(&fresh(ANA, 7))));

    given
        .refuses(&note(ANA), "account_unknown")
        .refuses(&rotate(ANA, SPARE), "account_unknown")
        .refuses(&register(ANA).nonce(1), "nonce_ahead")
        .accepts(&register(ANA))
        .refuses(&register(ANA), "nonce_used")
        .refuses(&register(ANA).nonce(1), "account_exists")
        .refuses(&register(ANA).lane(1), "account_exists")
        .accepts(&note(ANA).nonce(1));
}

#[test]
fn the_first_key_gives_the_id_and_must_be_sound() {
    for first in [register(ANA), join(ANA)] {
        given(&[]).refuses(&first.clone().signed_with(key(BO)), "account_id_wrong");
        for weak in weak_keys() {
            let own = chaoschain_schemas::AccountId::from_first_key(&weak);
            let submission = first.clone().bent(|it| {
                it.body.author = own;
                it.parties = vec![support::signature(own, weak)];
            });
            given(&[]).refuses(&submission, "key_weak");
            // An id of another key is the plainer mistake.
            given(&[]).refuses(&first.clone().signed_with(weak), "account_id_wrong");
        }
    }
}

#[test]
fn registration_needs_nobody_else() {
    given(&[BO])
        .refuses(&register(ANA).cosigned(BO), "cosignature_unneeded")
        .refuses(&register(ANA).cosigned(CY), "account_unknown")
        .refuses(&register(ANA).cosigned(ANA), "account_unknown")
        .refuses(&join(ANA).cosigned(BO), "cosignature_unneeded")
        .accepts(&register(ANA));
}

#[test]
fn a_registering_kind_of_the_domain_makes_the_account_too() {
    let given = given(&[]).accepts(&join(ANA));
    assert_eq!(given.account(ANA), Some(fresh(ANA, 0)));
    assert!(given.state.contains_key(&member_key(&id(ANA))));
    given.refuses(&join(ANA).nonce(1), "member_exists").accepts(&note(ANA).nonce(1));
}

#[test]
fn a_registering_kind_on_an_account_is_the_domains_business() {
    let before = given(&[ANA, BO]).accepts(&note(ANA)).accepts(&rotate(BO, SPARE));
    let old = before.account(ANA).unwrap();
    let after = before
        .refuses(&join(ANA), "nonce_used")
        .accepts(&join(ANA).nonce(1))
        .refuses(&join(BO).nonce(1), "key_wrong")
        .accepts(&join(BO).nonce(1).signed_with(key(SPARE)));
    let new = after.account(ANA).unwrap();
    assert_eq!(new.registered_at, GENESIS_TIME);
    assert_eq!(new.nonces[0], 2);
    assert_eq!(new, Account { nonces: new.nonces, ..old });
}

#[test]
fn a_refused_domain_rule_registers_nobody() {
    // The guild takes two members.
    let given = given(&[]).accepts(&join(ANA)).accepts(&join(BO)).refuses(&join(CY), "guild_full");
    assert_eq!(given.account(CY), None);
}

#[test]
fn rotation_holds_from_the_next_event_on() {
    let before = given(&[ANA]).with_account(ANA, |account| account.role = Role::Producer);
    let old = before.account(ANA).unwrap();
    let after = before.accepts(&rotate(ANA, SPARE).lane(2));
    let mut nonces = [0; 16];
    nonces[2] = 1;
    assert_eq!(after.account(ANA), Some(Account { key: key(SPARE), last_activity: NOW, nonces, ..old }));
    after
        .refuses(&note(ANA), "key_wrong")
        .refuses(&rotate(ANA, BO).signed_with(key(ANA)), "key_wrong")
        .accepts(&note(ANA).signed_with(key(SPARE)))
        .accepts(&rotate(ANA, ANA).signed_with(key(SPARE)).nonce(1))
        .accepts(&note(ANA).nonce(2));
}

#[test]
fn rotation_holds_within_the_block() {
    let given = given(&[ANA]);
    let block = given.block();
    let mut changes = Changes::new(&given.state);
    let mut code = |submission: &support::Submission| {
        submission.execute(&block, &mut changes, false).map_err(|rejection| rejection.code())
    };
    assert_eq!(code(&rotate(ANA, SPARE)), Ok(()));
    assert_eq!(code(&note(ANA).nonce(1)), Err("key_wrong"));
    assert_eq!(code(&note(ANA).nonce(1).signed_with(key(SPARE))), Ok(()));
}

#[test]
fn both_keys_sign_a_rotation_and_nobody_else() {
    let to_spare = rotate_to(ANA, key(SPARE));
    given(&[ANA, BO])
        .refuses(&to_spare, "cosignature_missing")
        .refuses(&to_spare.clone().cosigned(ANA), "cosignature_unneeded")
        .refuses(&to_spare.clone().cosigned(BO), "cosignature_unneeded")
        // The new key, in another's name.
        .refuses(&to_spare.clone().cosigned_as(id(BO), key(SPARE)), "cosignature_unneeded")
        .refuses(&rotate(ANA, SPARE).cosigned(BO), "cosignature_unneeded")
        .refuses(&rotate(ANA, SPARE).signed_with(key(SPARE)), "key_wrong")
        .accepts(&rotate(ANA, SPARE));
}

#[test]
fn no_rotation_to_a_weak_key() {
    for weak in weak_keys() {
        given(&[ANA]).refuses(&rotate_to(ANA, weak).cosigned_as(id(ANA), weak), "key_weak");
    }
}

#[test]
fn the_first_signature_is_the_authors() {
    given(&[ANA, BO])
        .refuses(&note(ANA).bent(|it| it.parties.clear()), "author_signature_missing")
        .refuses(&pact(ANA, &[BO]).bent(|it| it.parties.swap(0, 1)), "author_signature_missing")
        // Another's name, the author's key.
        .refuses(&note(ANA).bent(|it| it.parties[0].signer = id(BO)), "author_signature_missing")
        .refuses(&note(ANA).signed_with(key(BO)), "key_wrong");
}

#[test]
fn the_suspended_do_nothing() {
    given(&[ANA, BO])
        .suspended(ANA)
        .refuses(&note(ANA), "account_suspended")
        .refuses(&register(ANA), "account_suspended")
        .refuses(&join(ANA), "account_suspended")
        .refuses(&rotate(ANA, SPARE), "account_suspended")
        .refuses(&pact(BO, &[ANA]), "account_suspended")
        .accepts(&note(BO));
}

#[test]
fn exactly_the_needed_parties_cosign() {
    given(&[ANA, BO, CY])
        .refuses(&pact_unsigned(ANA, &[BO]), "cosignature_missing")
        .refuses(&pact_unsigned(ANA, &[BO]).cosigned(CY), "cosignature_missing")
        .refuses(&pact_unsigned(ANA, &[BO, CY]).cosigned(BO), "cosignature_missing")
        .refuses(&pact(ANA, &[BO]).cosigned(CY), "cosignature_unneeded")
        .refuses(&pact(ANA, &[BO]).cosigned(ANA), "cosignature_unneeded")
        .refuses(&note(ANA).cosigned(BO), "cosignature_unneeded")
        .refuses(&pact_unsigned(ANA, &[BO]).cosigned_as(id(BO), key(CY)), "key_wrong")
        .refuses(&pact(ANA, &[SPARE]), "account_unknown")
        .accepts(&pact(ANA, &[BO, CY]));
}

#[test]
fn cosigning_leaves_an_account_as_it_is() {
    let before = given(&[ANA, BO]);
    let submission = pact(ANA, &[BO]);
    let after = before.clone().accepts(&submission);
    assert_eq!(after.account(BO), before.account(BO));
    assert!(after.state.contains_key(&pact_key(&submission.id())));
    after.accepts(&note(BO));
}

#[test]
fn a_cosigner_signs_with_its_current_key() {
    given(&[ANA, BO])
        .accepts(&rotate(BO, SPARE))
        .refuses(&pact(ANA, &[BO]), "key_wrong")
        .accepts(&pact_unsigned(ANA, &[BO]).cosigned_as(id(BO), key(SPARE)));
}
