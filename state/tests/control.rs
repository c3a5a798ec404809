//! When the kernel accepts a transition, and what it writes: one fact a test, as given, submitted, decided.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use chaoschain_schemas::control::{Account, kind};
use chaoschain_schemas::{AccountId, ChainId, Hash, PublicKey, Timestamp, codec, limits};
use chaoschain_state::control::{self, keys};
use chaoschain_state::merkle::value_hash;
use chaoschain_state::{Base, Changes, Fault, Key, Lookup, Recording, Value};
use support::{
    ADDRESS, ANA, BO, CHAIN, CY, GENESIS_TIME, Given, JOIN_BYTES_MAX, Join, NOTE, NOW, Note, SPARE,
    Submission, VALID_FOR_MAX, given, id, join, key, member_key, note, pact, pact_key, pact_unsigned,
    page_key, register, rotate,
};

mod support;

/// A message with the parties by name.
fn told(message: &str) -> String {
    [("ana", ANA), ("bo", BO), ("cy", CY), ("spare", SPARE)].into_iter().fold(
        message.to_owned(),
        |text, (name, number)| {
            let text = text.replace(&id(number).to_string(), &format!("<{name}>"));
            text.replace(&key(number).to_string(), &format!("<{name}'s key>"))
        },
    )
}

fn weak_registration() -> Submission {
    let weak = PublicKey::new([0; 32]);
    let own = AccountId::from_first_key(&weak);
    register(ANA).bent(|it| {
        it.body.author = own;
        it.parties = vec![support::signature(own, weak)];
    })
}

#[test]
fn every_rejection_has_its_word_and_its_message() {
    let given = given(&[ANA, BO, CY]).suspended(CY);
    let page = page_key(5);
    let submissions = [
        note(ANA).bent(|it| it.body.chain = ChainId::new([8; 32])),
        note(ANA).bent(|it| it.body.epoch = 3),
        note(ANA).bent(|it| it.body.valid_until = Timestamp(NOW.0 - 1)),
        note(ANA).bent(|it| it.body.valid_until = Timestamp(NOW.0 + VALID_FOR_MAX.0 + 1)),
        note(SPARE),
        register(ANA),
        register(SPARE).signed_with(key(ANA)),
        note(CY),
        note(ANA).signed_with(key(BO)),
        weak_registration(),
        note(ANA).bent(|it| it.parties[0].signer = id(BO)),
        pact_unsigned(ANA, &[BO]),
        note(ANA).cosigned(BO),
        note(ANA),
        note(ANA).nonce(9),
        note(ANA).nonce(1).expecting(2, page.as_bytes(), None),
        note(ANA).nonce(1).expecting(2, page_key(6).as_bytes(), Some(Hash::ZERO)),
        note(ANA).nonce(1).expecting(1, &[0; 8], None),
        note(ANA).bent(|it| it.body.kind = 99),
        note(ANA).nonce(1).payload([0x92, 5, 0xca, 0, 0, 0, 0]),
        note(ANA).nonce(1).payload(codec::encode(&Note { page: 1, number: 0 })),
    ];
    let mut lines = Vec::new();
    let mut kinds = Vec::new();
    let used = given.clone().accepts(&note(ANA));
    for (number, submission) in submissions.iter().enumerate() {
        let given = if number < 13 { &given } else { &used };
        let rejection = given.decide(submission).unwrap_err();
        lines.push(told(&format!("{}: {rejection}", rejection.code())));
        if !kinds.contains(&discriminant(&rejection)) {
            kinds.push(discriminant(&rejection));
        }
    }
    assert_eq!(kinds.len(), 20, "a kind of rejection does not occur");
    insta::assert_snapshot!(lines.join("\n"), @r"
    chain_wrong: the transition is for chain 0808080808080808080808080808080808080808080808080808080808080808, this is 0707070707070707070707070707070707070707070707070707070707070707
    epoch_wrong: the transition was signed for epoch 3, the chain is in epoch 0; sign it again
    expired: the transition was valid until 49999, block time is 50000
    validity_too_long: valid_until 59001 lies beyond 59000, the furthest allowed at present block time
    account_unknown: account <spare> is not registered
    account_exists: account <ana> is registered already
    account_id_wrong: the author's id must be the hash of the key it registers, <ana>
    account_suspended: account <cy> is suspended
    key_wrong: <ana> signs with <bo's key>, its key is <ana's key>
    key_weak: key 0000000000000000000000000000000000000000000000000000000000000000 is weak or not in canonical form and cannot be an account's
    author_signature_missing: the first signature is <bo>'s, it must be the author's, <ana>
    cosignature_missing: the signature of <bo> is missing
    cosignature_unneeded: the signature of <bo> is not needed and must be left out
    nonce_used: nonce 0 of lane 0 was used; the next is 1
    nonce_ahead: nonce 9 of lane 0 lies ahead; the next is 1
    expectation_failed: the record at 2:0000000005 is not as expected: its value's hash is 8e88bb0ebcff61c84f678f861b20311e98c076346117bea180863060233b2562
    expectation_failed: the record at 2:0000000006 is not as expected: its value's hash is absent
    expectation_unreadable: sub-tree 1 holds no records that could be expected
    kind_unknown: transition kind 99 is unknown
    malformed: the payload of kind 256 is refused: byte 2 starts a MessagePack form 0xca that is not used here
    number_zero: nothing to note
    ");
}

/// Mends one thing that is wrong with a submission or with the state it meets.
type Mend = fn(&mut Given, &mut Submission);

#[test]
fn checks_come_in_their_order() {
    let foreign = Key::new(2, &[&[9]]);
    let mut submission = pact_unsigned(ANA, &[CY, BO])
        .bent(|it| {
            it.body.chain = ChainId::new([8; 32]);
            it.body.epoch = 1;
            it.body.valid_until = Timestamp(0);
            it.body.kind = 999;
            it.parties.clear();
        })
        .payload([0xc1; 300])
        .nonce(1)
        .expecting(2, foreign.as_bytes(), Some(Hash::ZERO))
        .expecting(1, &[0; 8], None);
    let mut given = given(&[]);
    let steps: &[(&str, Mend)] = &[
        ("chain_wrong", |_, it| it.body.chain = CHAIN),
        ("epoch_wrong", |_, it| it.body.epoch = 0),
        ("expired", |_, it| it.body.valid_until = Timestamp(u64::MAX)),
        ("validity_too_long", |_, it| it.body.valid_until = NOW),
        ("kind_unknown", |_, it| it.body.kind = NOTE),
        ("too_large", |_, it| it.body.payload = vec![0xc1].into()),
        ("author_signature_missing", |_, it| {
            it.parties = vec![support::signature(id(ANA), key(BO)), support::signature(id(BO), key(CY))];
        }),
        ("account_unknown", |given, _| *given = support::given(&[ANA]).suspended(ANA)),
        ("account_suspended", |given, _| *given = support::given(&[ANA])),
        ("key_wrong", |_, it| it.parties[0].key = key(ANA)),
        ("nonce_ahead", |_, it| it.body.nonce = 0),
        ("account_unknown", |given, _| *given = support::given(&[ANA, BO]).suspended(BO)),
        ("account_suspended", |given, _| *given = support::given(&[ANA, BO])),
        ("key_wrong", |_, it| it.parties[1].key = key(BO)),
        ("expectation_failed", |_, it| it.body.expects.truncate(1)),
        ("expectation_failed", |_, it| it.body.expects.clear()),
        ("malformed", |_, it| {
            it.body.payload = codec::encode(&Note { page: 1, number: 0 }).into();
        }),
        ("cosignature_unneeded", |_, it| it.parties.truncate(1)),
        ("number_zero", |_, it| it.body.payload = codec::encode(&Note { page: 1, number: 1 }).into()),
    ];
    for (code, mend) in steps {
        given = given.refuses(&submission, code);
        mend(&mut given, &mut submission);
    }
    given.accepts(&submission);
}

#[test]
fn the_checks_of_a_registration_come_in_their_order() {
    let weak = PublicKey::new([0; 32]);
    let mut submission = register(ANA).signed_with(weak).nonce(1).payload([0x91]).cosigned(BO);
    let mut given = given(&[BO]);
    let steps: &[(&str, Mend)] = &[
        ("account_id_wrong", |_, it| {
            it.body.author = AccountId::from_first_key(&it.parties[0].key);
            it.parties[0].signer = it.body.author;
        }),
        ("key_weak", |_, it| {
            it.body.author = id(ANA);
            it.parties[0] = support::signature(id(ANA), key(ANA));
        }),
        ("nonce_ahead", |_, it| it.body.nonce = 0),
        ("truncated", |_, it| it.body.payload = vec![0x90].into()),
        ("cosignature_unneeded", |_, it| it.parties.truncate(1)),
    ];
    for (code, mend) in steps {
        given = given.refuses(&submission, code);
        mend(&mut given, &mut submission);
    }
    given.accepts(&submission);
}

#[test]
fn nonces_count_up_by_one() {
    given(&[ANA])
        .refuses(&note(ANA).nonce(1), "nonce_ahead")
        .accepts(&note(ANA))
        .refuses(&note(ANA), "nonce_used")
        .refuses(&note(ANA).nonce(2), "nonce_ahead")
        .refuses(&note(ANA).nonce(u64::MAX), "nonce_ahead")
        .accepts(&note(ANA).nonce(1))
        .refuses(&note(ANA).nonce(1), "nonce_used");
}

#[test]
fn a_refused_transition_uses_no_nonce() {
    let zero = codec::encode(&Note { page: 1, number: 0 });
    given(&[ANA]).refuses(&note(ANA).payload(zero), "number_zero").accepts(&note(ANA));
}

#[test]
fn lanes_are_independent() {
    let mut state = given(&[ANA]);
    for lane in 0..limits::LANES as u8 {
        for nonce in 0..=u64::from(lane) {
            state = state.accepts(&note(ANA).lane(lane).nonce(nonce));
        }
        state = state.refuses(&note(ANA).lane(lane).nonce(0), "nonce_used");
    }
    let expected: [u64; limits::LANES] = std::array::from_fn(|lane| lane as u64 + 1);
    assert_eq!(state.account(ANA).unwrap().nonces, expected);
}

#[test]
fn validity_ends_where_it_says() {
    let until = |micros: u64| note(ANA).bent(|it| it.body.valid_until = Timestamp(micros));
    given(&[ANA])
        .refuses(&until(NOW.0 - 1), "expired")
        .accepts(&until(NOW.0))
        .accepts(&until(NOW.0 + VALID_FOR_MAX.0).nonce(1))
        .refuses(&until(NOW.0 + VALID_FOR_MAX.0 + 1).nonce(2), "validity_too_long");
    let at_the_end = Given { now: Timestamp(u64::MAX), ..given(&[ANA]) };
    at_the_end.refuses(&until(u64::MAX - 1), "expired").accepts(&until(u64::MAX));
}

#[test]
fn expectations_must_hold() {
    let before = given(&[ANA, BO]).accepts(&note(ANA));
    let value = |key: &Key| Some(value_hash(&before.state[key]));
    let (page, other, account) = (page_key(5), page_key(6), keys::account(&id(ANA)));
    let next = note(ANA).nonce(1);
    let on = |key: &Key, value: Option<Hash>| next.clone().expecting(key.sub_tree(), key.as_bytes(), value);

    for held in [
        on(&page, value(&page)),
        on(&other, None),
        on(&account, value(&account)),
        on(&keys::chain(), value(&keys::chain())),
        on(&member_key(&id(ANA)), None),
        // What no record has as its key is absent.
        next.clone().expecting(2, &[], None),
        next.clone().expecting(2, &[1; limits::KEY_BYTES_MAX], None),
    ] {
        before.clone().accepts(&held);
    }
    for failed in [
        on(&page, None),
        on(&page, Some(Hash::ZERO)),
        on(&other, value(&page)),
        on(&account, value(&keys::account(&id(BO)))),
        // The first holds, the second does not, and the other way round.
        on(&page, value(&page)).expecting(2, other.as_bytes(), value(&page)),
        on(&other, value(&page)).expecting(2, page.as_bytes(), value(&page)),
    ] {
        before.clone().refuses(&failed, "expectation_failed");
    }
    // The blocks, and what lies behind the domain's two sub-trees.
    for sub_tree in [1, 4, 255] {
        before.clone().refuses(&next.clone().expecting(sub_tree, &[0; 8], None), "expectation_unreadable");
    }
    let too_long = next.clone().expecting(2, &[1; limits::KEY_BYTES_MAX + 1], None);
    before.refuses(&too_long, "expectation_unreadable");
}

#[test]
fn expectations_see_what_the_block_wrote_before() {
    let given = given(&[ANA]);
    let block = given.block();
    let mut changes = Changes::new(&given.state);
    let page = page_key(5);
    let written = value_hash(&codec::encode(&1_u64));
    note(ANA).execute(&block, &mut changes, false).unwrap();
    let stale = note(ANA).nonce(1).expecting(2, page.as_bytes(), None);
    assert_eq!(stale.execute(&block, &mut changes, false).unwrap_err().code(), "expectation_failed");
    note(ANA)
        .nonce(1)
        .expecting(2, page.as_bytes(), Some(written))
        .execute(&block, &mut changes, false)
        .unwrap();
}

#[test]
fn payloads_are_of_their_kinds_form_and_size() {
    let longest = codec::encode(&Join { name: "n".repeat(31) });
    assert_eq!(longest.len(), JOIN_BYTES_MAX);
    let longer = [longest.as_slice(), &[0]].concat();
    given(&[]).refuses(&join(ANA).payload(longer), "too_large").accepts(&join(ANA).payload(longest));

    let not_shortest = [0x92, 0xcc, 0x05, 0x01];
    given(&[ANA])
        .refuses(&note(ANA).payload([]), "truncated")
        .refuses(&note(ANA).payload([0x92, 5]), "truncated")
        .refuses(&note(ANA).payload([0x92, 5, 1, 0]), "trailing_bytes")
        .refuses(&note(ANA).payload(not_shortest), "not_canonical")
        .refuses(&note(ANA).payload([0x92, 5, 0xc0]), "malformed")
        .refuses(&rotate(ANA, SPARE).payload([0x90]), "malformed")
        .refuses(&rotate(ANA, SPARE).payload([0; 65]), "too_large")
        .refuses(&register(BO).payload([]), "truncated")
        .refuses(&register(BO).payload([0x91, 0]), "malformed")
        .refuses(&register(BO).payload([0x90, 0]), "trailing_bytes")
        .refuses(&register(BO).payload([0; 17]), "too_large")
        .accepts(&note(ANA).payload([0x92, 5, 1]));
}

#[test]
fn kinds_are_found_by_number_and_name() {
    let by_name = |name| control::kind_named(&support::Guild, name).map(|spec| spec.kind);
    assert_eq!(by_name("keyrotation"), Some(kind::KEY_ROTATION));
    assert_eq!(by_name("Note"), Some(NOTE));
    assert_eq!(by_name("Nothing"), None);
    for unknown in [0, 6, 255, 259, u16::MAX] {
        given(&[ANA]).refuses(&note(ANA).bent(|it| it.body.kind = unknown), "kind_unknown");
    }
}

#[test]
fn an_event_writes_its_authors_account_once() {
    let given = given(&[ANA]);
    let old = given.account(ANA).unwrap();
    assert_eq!(old.last_activity, GENESIS_TIME);
    let changes = given.decide(&note(ANA).lane(3)).unwrap();
    let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
    assert_eq!(keys, [keys::account(&id(ANA)), page_key(5)]);
    let mut nonces = [0; limits::LANES];
    nonces[3] = 1;
    let new = Account { last_activity: NOW, nonces, ..old.clone() };
    assert_eq!(changes[0].before.as_deref(), Some(&*codec::encode(&old)));
    assert_eq!(changes[0].after.as_deref(), Some(&*codec::encode(&new)));
}

#[test]
fn a_block_is_its_events_one_after_the_other() {
    let given = given(&[ANA, BO]);
    let block = given.block();
    let events =
        [note(ANA), note(BO), note(ANA), note(ANA).nonce(1), join(CY), note(CY).nonce(1), note(BO).nonce(7)];
    let mut changes = Changes::new(&given.state);
    let mut one_by_one = given.clone();
    for event in &events {
        let verdict = event.execute(&block, &mut changes, false);
        let alone = one_by_one.decide(event);
        assert_eq!(verdict.as_ref().err(), alone.as_ref().err());
        one_by_one.absorb(alone.unwrap_or_default());
    }
    let mut at_once = given.clone();
    at_once.absorb(changes.into_changes());
    assert_eq!(at_once.state, one_by_one.state);
    assert_ne!(at_once.state, given.state);
}

#[test]
fn block_context_tells_what_the_state_says() {
    let given = given(&[ANA]);
    let block = given.block();
    assert_eq!((block.chain, block.height, block.now), (CHAIN, ADDRESS.height, NOW));
    assert_eq!((block.epoch, block.rules, block.parent), (0, 1, Hash::ZERO));
    let document = support::genesis(&[]);
    assert_eq!(block.parameters, document.parameters);
    assert_eq!(block.domain_parameters.bytes()[..], document.domain_parameters[..]);
}

fn context_fault(base: &dyn Base) -> Fault {
    control::block_context(&support::Guild, base, CHAIN, ADDRESS.height, Hash::ZERO, NOW).unwrap_err()
}

#[test]
fn a_state_that_is_none_is_a_fault() {
    assert!(matches!(context_fault(&BTreeMap::new()), Fault::Corrupt(..)));
    for key in [keys::chain(), keys::parameters()] {
        let mut state = given(&[ANA]).state;
        state.remove(&key);
        assert!(matches!(context_fault(&state), Fault::Corrupt(at, _) if *at == key));
        state.insert(key, Value::from([0xc1]));
        assert!(matches!(context_fault(&state), Fault::Corrupt(at, _) if *at == key));
    }
    for key in [keys::chain(), keys::parameters(), keys::domain_parameters(), keys::schedule()] {
        let base = Withholding { state: given(&[ANA]).state, hidden: BTreeSet::from([key]) };
        assert_eq!(context_fault(&base), Fault::Withheld(Box::new(key)));
    }
}

/// A state that does not show some of its records.
struct Withholding {
    state: BTreeMap<Key, Value>,
    hidden: BTreeSet<Key>,
}

impl Base for Withholding {
    fn get(&self, key: &Key) -> Lookup {
        if self.hidden.contains(key) { Lookup::Withheld } else { Base::get(&self.state, key) }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        let hides = self.hidden.range(*from..=*to).next().is_some();
        if hides { None } else { Base::range(&self.state, from, to, limit) }
    }
}

#[test]
fn whatever_is_withheld_of_what_rules_read_is_a_fault() {
    let expected = page_key(8);
    let given = given(&[ANA, BO]);
    let block = given.block();
    let first_member = Key::new(3, &[&[0]]);
    for submission in [
        note(ANA),
        note(ANA).expecting(2, expected.as_bytes(), None),
        pact(ANA, &[BO]),
        rotate(ANA, SPARE),
        register(CY),
        join(CY),
        join(ANA),
        // Refused, but by what was not shown, it might not have been.
        note(CY),
        note(ANA).nonce(4),
        pact(ANA, &[CY]),
    ] {
        let recording = Recording::new(&given.state);
        let mut changes = Changes::new(&recording);
        let _ = submission.execute(&block, &mut changes, false);
        drop(changes);
        let reads = recording.into_reads();
        assert!(reads.keys.contains(&keys::account(&submission.body.author)));
        let joins = submission.body.kind == support::JOIN;
        assert_eq!(reads.ranges, Vec::from_iter(joins.then_some((first_member, first_member.upper_bound()))));
        for hidden in reads.keys.iter().chain(reads.ranges.iter().map(|(from, _)| from)) {
            let base = Withholding { state: given.state.clone(), hidden: BTreeSet::from([*hidden]) };
            for dry in [false, true] {
                let mut changes = Changes::new(&base);
                let _ = submission.execute(&block, &mut changes, dry);
                let noticed = changes.fault();
                // A dry run does not look where only a write goes.
                let written_only =
                    dry && noticed.is_none() && [page_key(5), pact_key(&submission.id())].contains(hidden);
                assert!(
                    noticed == Some(Fault::Withheld(Box::new(*hidden))) || written_only,
                    "{hidden}: {noticed:?}"
                );
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_is_a_fault() {
    for number in [ANA, BO] {
        let mut given = given(&[ANA, BO]);
        let block = given.block();
        let account = keys::account(&id(number));
        given.state.insert(account, Value::from([0xc1]));
        let mut changes = Changes::new(&given.state);
        let _ = pact(ANA, &[BO]).execute(&block, &mut changes, false);
        assert!(matches!(changes.fault(), Some(Fault::Corrupt(at, _)) if *at == account));
    }
}
