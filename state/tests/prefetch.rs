//! What is prefetched for transitions: what the domain names, within bounds.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use chaoschain_schemas::codec;
use chaoschain_state::control::{self, SignedTransition, keys};
use chaoschain_state::{Base, Key, Lookup, Value};
use support::{
    ANA, BO, CY, Guild, JOIN, NOTE, Note, Submission, id, join, member_key, note, pact, page_key, register,
    submission,
};

mod support;

/// A base that notes what it is to make ready.
#[derive(Default)]
struct Asked(Mutex<Vec<Key>>);

impl Base for Asked {
    fn get(&self, _: &Key) -> Lookup {
        Lookup::Withheld
    }

    fn range(&self, _: &Key, _: &Key, _: usize) -> Option<Vec<(Key, Value)>> {
        None
    }

    fn prefetch(&self, keys: &[Key]) {
        self.0.lock().unwrap().extend(keys);
    }
}

fn prefetched(submissions: &[Submission]) -> Vec<Key> {
    let asked = Asked::default();
    let transitions = submissions.iter().map(|submission| SignedTransition {
        id: submission.id(),
        body: &submission.body,
        parties: &submission.parties,
    });
    control::prefetch(&Guild, &asked, transitions);
    asked.0.into_inner().unwrap()
}

fn account(number: u64) -> Key {
    keys::account(&id(number))
}

#[test]
fn authors_and_what_the_domain_names_in_order() {
    let asked = prefetched(&[note(ANA), pact(BO, &[CY]), join(CY), register(BO)]);
    let member = member_key(&id(CY));
    assert_eq!(asked, [account(ANA), page_key(0), account(BO), account(CY), member, account(BO)]);
}

/// Payloads that are none are decoded for nobody: the rules refuse them later.
#[test]
fn authors_alone_of_what_is_no_transition() {
    let unknown = submission(ANA, 999, vec![0x90]);
    let malformed = submission(BO, NOTE, vec![0xc1]);
    let too_long = submission(CY, JOIN, vec![0x91; 4096]);
    assert_eq!(prefetched(&[unknown, malformed, too_long]), [ANA, BO, CY].map(account));
}

#[test]
fn so_many_keys_and_no_more() {
    let many = submission(ANA, NOTE, codec::encode(&Note { page: 0, number: 1000 }));
    assert_eq!(prefetched(std::slice::from_ref(&many)).len(), 512);
    let asked = prefetched(&[note(BO), many.clone(), many]);
    assert_eq!(asked.len(), 512);
    assert_eq!(asked[..3], [account(BO), page_key(0), account(ANA)]);
}
