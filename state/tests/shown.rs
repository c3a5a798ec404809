//! The kernel's transitions and records as people read them: JSON forms and named reads.
#![allow(clippy::unwrap_used)]

use chaoschain_schemas::control::kind;
use chaoschain_state::control::{self, keys};
use chaoschain_state::domain::ReadError;
use chaoschain_state::{BLOCKS, BaseView, Key};
use serde_json::{Value as Json, json};
use support::{ANA, BO, GENESIS_TIME, Given, Guild, given, id, key, register, rotate};

mod support;

fn read(given: &Given, name: &str, arguments: &[&str]) -> Result<Json, ReadError> {
    let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    control::read(&Guild, name, &arguments, given.now, &BaseView::new(&given.state))
}

#[test]
fn payloads_go_to_json_and_back() {
    for (kind, submission, shown) in [
        (kind::ACCOUNT_REGISTRATION, register(ANA), json!({})),
        (kind::KEY_ROTATION, rotate(ANA, BO), json!({ "new_key": key(BO).to_string() })),
    ] {
        let payload = submission.body.payload;
        assert_eq!(control::transition_to_json(&Guild, kind, &payload), Ok(shown.clone()));
        assert_eq!(control::transition_from_json(&Guild, kind, &shown), Ok(payload));
    }
    let error = control::transition_from_json(&Guild, kind::KEY_ROTATION, &json!({})).unwrap_err();
    assert_eq!(error, "missing field `new_key`");
    assert_eq!(
        control::transition_to_json(&Guild, kind::KEY_ROTATION, &[0x90, 0]).unwrap_err().code(),
        "trailing_bytes"
    );
    // The domain shows its own.
    assert_eq!(control::transition_to_json(&Guild, support::NOTE, &[]), Ok(Json::Null));
}

#[test]
fn named_reads_answer_from_the_state() {
    let given = given(&[ANA]);
    let account = json!({
        "key": key(ANA).to_string(),
        "role": "Member",
        "suspended": false,
        "registered_at": GENESIS_TIME,
        "last_activity": GENESIS_TIME,
        "nonces": vec![0; 16],
        "sponsorships": 0,
        "window_start": 0,
        "window_events": 0,
    });
    assert_eq!(read(&given, "account", &[&id(ANA).to_string()]), Ok(account));
    assert_eq!(read(&given, "account", &[&id(BO).to_string()]), Ok(Json::Null));
    assert_eq!(read(&given, "validators", &[]), Ok(json!({ "members": [], "since": 0, "suspended": [] })));
    let parameters = json!({
        "kernel": { "time_step_max": 1, "valid_until_max": support::VALID_FOR_MAX,
            "registration": "Open", "author_events_max": 0, "author_window": 60_000_000,
        },
        "domain": { "members_max": 2 },
        "chain": { "epoch": 0, "rules": 1, "producers": 0, "weight_suspended": 0 },
        "scheduled": [],
    });
    assert_eq!(read(&given, "parameters", &[]), Ok(parameters));
}

#[test]
fn a_read_that_cannot_be_answered_says_why() {
    let given = given(&[ANA]);
    assert_eq!(read(&given, "nothing", &[]), Err(ReadError::Unknown("nothing".into())));
    let argument = |name, arguments: &[&str]| match read(&given, name, arguments) {
        Err(ReadError::Argument(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(argument("account", &[]), "account takes 1 arguments (id), got 0");
    assert_eq!(argument("validators", &["x"]), "validators takes 0 arguments (), got 1");
    assert!(!argument("account", &["xyz"]).is_empty());
}

#[test]
fn only_records_that_can_be_are_shown() {
    let given = given(&[ANA]);
    for (key, value) in &given.state {
        assert!(control::record_to_json(&Guild, key, value).is_some(), "{key}");
        assert_eq!(control::record_to_json(&Guild, key, &[0xc1]), None, "{key}");
    }
    let account = &given.state[&keys::account(&id(ANA))];
    for key in [Key::new(0, &[&[7]]), Key::new(0, &[&[1], &[0; 31]]), Key::new(BLOCKS, &[&[1], &[0; 32]])] {
        assert_eq!(control::record_to_json(&Guild, &key, account), None, "{key}");
    }
}
