//! Entries of agents' own.

use chaoschain_schemas::codec;
use chaoschain_schemas::society::{CustomDelete, CustomSet, Entry};
use chaoschain_society::keys;

use crate::support::*;

fn set(namespace: &str, key: &str, value: &[u8]) -> CustomSet {
    CustomSet { namespace: namespace.into(), key: key.into(), value: value.into() }
}

fn delete(namespace: &str, key: &str) -> CustomDelete {
    CustomDelete { namespace: namespace.into(), key: key.into() }
}

fn entry(world: &World, owner: Person, namespace: &str, key: &str) -> Option<Entry> {
    world.record(&keys::entry(&owner.id(), namespace, key))
}

#[test]
fn an_entry_is_written_replaced_and_removed() {
    let world = given([registered(ANA), registered(BOB)])
        .when(by(ANA), set("profile", "motto", b"chaos"))
        .then_accepted()
        .when(by(ANA), set("profile", "motto", b"order"))
        .then_accepted();
    let want = Entry { namespace: "profile".into(), key: "motto".into(), value: b"order".as_slice().into() };
    assert_eq!(entry(&world, ANA, "profile", "motto"), Some(want));
    let world = world.when(by(BOB), delete("profile", "motto")).then_rejected("entry_unknown");
    let world = world.when(by(ANA), delete("profile", "motto")).then_accepted();
    assert_eq!(entry(&world, ANA, "profile", "motto"), None);
    world.when(by(ANA), delete("profile", "motto")).then_rejected("entry_unknown");
}

#[test]
fn owner_namespace_and_key_are_kept_apart() {
    let world = given([registered(ANA), registered(BOB)])
        .when(by(ANA), set("a", "bc", b"1"))
        .then_accepted()
        .when(by(ANA), set("ab", "c", b"2"))
        .then_accepted()
        .when(by(BOB), set("a", "bc", b"3"))
        .then_accepted();
    let value = |owner, namespace, key| entry(&world, owner, namespace, key).unwrap().value.0;
    assert_eq!(value(ANA, "a", "bc"), b"1");
    assert_eq!(value(ANA, "ab", "c"), b"2");
    assert_eq!(value(BOB, "a", "bc"), b"3");
}

#[test]
fn entries_that_are_refused() {
    let long = |len| "x".repeat(len);
    for refused in [
        set("", "k", b""),
        set("n", "", b""),
        set(&long(33), "k", b""),
        set("n", &long(65), b""),
        set("n", "k", &[0; 4097]),
    ] {
        given([registered(ANA)]).when(by(ANA), refused).then_rejected("malformed");
    }
    for refused in [delete("", "k"), delete("n", ""), delete(&long(33), "k"), delete("n", &long(65))] {
        given([registered(ANA)]).when(by(ANA), refused).then_rejected("malformed");
    }
    given([registered(ANA)]).when(by(ANA), set(&long(32), &long(64), &[0; 4096])).then_accepted();
    given([Given::Account(ANA)]).when(by(ANA), delete("n", "k")).then_rejected("agent_unknown");
}

/// Nobody can make two names with one hash; the rule is shown on a record put there by hand.
#[test]
fn a_name_with_anothers_hash_does_not_overwrite_it() {
    let stranger = Entry { namespace: "n".into(), key: "other".into(), value: b"kept".as_slice().into() };
    let collided = || {
        let key = keys::entry(&ANA.id(), "n", "k");
        given([registered(ANA), Given::Record(key, codec::encode(&stranger).into())])
    };
    let world = collided().when(by(ANA), set("n", "k", b"new")).then_rejected("name_collision");
    let world = world.when(by(ANA), delete("n", "k")).then_rejected("entry_unknown");
    assert_eq!(world.read("entry", &[&ANA.id().to_string(), "n", "k"]).unwrap(), serde_json::Value::Null);
    assert_eq!(entry(&world, ANA, "n", "k"), Some(stranger.clone()));
}
