//! A domain of alarms: whoever sets one says when it rings, and a block lets only so many ring.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chaoschain_events::envelope::sign;
use chaoschain_schemas::control::{ParameterChange, kind};
use chaoschain_schemas::{
    BODY_VERSION, Body, CodecError, Height, Timestamp, codec, limits::PAYLOAD_BYTES_MAX,
};
use chaoschain_state::domain::{
    BlockContext, Domain, EventContext, KindSpec, ReadError, ReadModel, ReadSpec,
};
use chaoschain_state::{Change, Changes, DOMAIN_FIRST, Key, Rejection, View};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{START, author, genesis_of, producer};

/// How many ring at the start of one block, at most.
pub const RINGS_MAX: usize = 4;
const SET: u16 = 256;

/// Sets `count` alarms that ring at `at`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Set {
    pub at: Timestamp,
    pub count: u32,
}

/// The domain, as a build knows it that has this version of its rules; all of them are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlarmsOf<const RULES: u16>;

pub type Alarms = AlarmsOf<1>;
pub const ALARMS: Alarms = AlarmsOf;

/// The alarms that are set, in order of time.
fn alarm(at: Timestamp, author: &[u8], number: u32) -> Key {
    Key::new(DOMAIN_FIRST, &[&at.0.to_be_bytes(), author, &number.to_be_bytes()])
}

fn first(view: &dyn View, limit: usize) -> Vec<(Timestamp, Key)> {
    let all = Key::new(DOMAIN_FIRST, &[]);
    let time = |key: &Key| Timestamp(u64::from_be_bytes(key.as_bytes()[..8].try_into().unwrap()));
    view.range(&all, &all.upper_bound(), limit).into_iter().map(|(key, _)| (time(&key), key)).collect()
}

impl<const KNOWN: u16> Domain for AlarmsOf<KNOWN> {
    const ID: &'static str = "alarms";
    const RULES: u16 = KNOWN;
    const SUB_TREES: &'static [&'static str] = &["alarms"];
    const KINDS: &'static [KindSpec] = &[KindSpec {
        kind: SET,
        name: "Set",
        bytes_max: 64,
        registers: true,
        since: 1,
        help: "",
        example: "",
    }];
    const READS: &'static [ReadSpec] = &[];
    type Transition = Set;
    type Parameters = ();

    fn decode(_: u16, payload: &[u8]) -> Result<Set, CodecError> {
        codec::decode(payload, PAYLOAD_BYTES_MAX)
    }

    fn parties(_: &Set, _: &chaoschain_schemas::AccountId) -> Vec<chaoschain_schemas::AccountId> {
        Vec::new()
    }

    fn verify(_: &EventContext<'_, ()>, _: &dyn View, _: &Set) -> Result<(), Rejection> {
        Ok(())
    }

    fn apply(context: &EventContext<'_, ()>, changes: &mut Changes<'_>, set: &Set) {
        for number in 0..set.count {
            changes.put(&alarm(set.at, context.author.as_bytes(), number), &());
        }
    }

    fn begin_block(block: &BlockContext, (): &(), changes: &mut Changes<'_>) {
        for (_, key) in first(changes, RINGS_MAX).into_iter().filter(|(at, _)| *at <= block.now) {
            changes.remove(&key);
        }
    }

    fn next_due(view: &dyn View) -> Option<Timestamp> {
        first(view, 1).first().map(|(at, _)| *at)
    }

    fn transition_to_json(_: u16, _: &[u8]) -> Result<Json, CodecError> {
        Ok(Json::Null)
    }

    fn transition_from_json(_: u16, _: &Json) -> Result<Vec<u8>, String> {
        Err("nobody writes these by hand".into())
    }

    fn record_to_json(_: &Key, _: &[u8]) -> Option<Json> {
        None
    }

    fn read(name: &str, _: &[String], _: Timestamp, _: &dyn View) -> Result<Json, ReadError> {
        Err(ReadError::Unknown(name.to_owned()))
    }
}

/// The transition of author `number` that sets `count` alarms at `at`, signed.
pub fn set(number: u16, nonce: u64, at: Timestamp, count: u32) -> Bytes {
    let author = author(number);
    let body = Body {
        version: BODY_VERSION,
        chain: genesis_of(&ALARMS).0,
        epoch: 0,
        author: author.id,
        lane: 0,
        nonce,
        valid_until: Timestamp(START.0 + 60_000_000),
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: Vec::new(),
        attachment: None,
        kind: SET,
        payload: codec::encode(&Set { at, count }).into(),
    };
    sign(&body, &[(author.id, &*author.key)]).unwrap().bytes().clone()
}

/// How many alarms have rung, by height.
#[derive(Clone, Default)]
pub struct Rung(pub Arc<Mutex<Vec<(Height, usize)>>>);

impl ReadModel for Rung {
    fn name(&self) -> &'static str {
        "rung"
    }

    fn apply(&mut self, height: Height, changes: &[Change]) {
        let gone =
            changes.iter().filter(|change| change.key.sub_tree() == DOMAIN_FIRST && change.after.is_none());
        let count = gone.count();
        if count > 0 {
            self.0.lock().unwrap().push((height, count));
        }
    }

    fn query(&self, _: &[String]) -> Result<Json, ReadError> {
        Ok(Json::Null)
    }
}

/// What producers 1 and 2 decide together: that the rules move to `version`.
pub fn move_to(version: u16, at: Height, nonce: u64) -> Bytes {
    let change =
        ParameterChange { at, kernel: None, domain: None, rules: Some(version), reason: "newer".into() };
    let parties = [1, 2].map(producer);
    let body = Body {
        version: BODY_VERSION,
        chain: genesis_of(&ALARMS).0,
        epoch: 0,
        author: parties[0].account,
        lane: 0,
        nonce,
        valid_until: Timestamp(START.0 + 60_000_000),
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: Vec::new(),
        attachment: None,
        kind: kind::PARAMETER_CHANGE,
        payload: codec::encode(&change).into(),
    };
    let signed: Vec<_> = parties.iter().map(|party| (party.account, &*party.key)).collect();
    sign(&body, &signed).unwrap().bytes().clone()
}
