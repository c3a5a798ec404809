//! A small domain whose reads are of every sort (keys, ranges, pages, two sub-trees), and heads of it without a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaoschain_events::signature::SecretKey;
use chaoschain_projector::Head;
use chaoschain_query::verify::Trust;
use chaoschain_schemas::{
    AccountId, ChainId, CodecError, HEADER_VERSION, Hash, Header, Height, Sequence, SignedHeader,
    SigningContext, Timestamp, codec,
};
use chaoschain_state::domain::{Domain, EventContext, KindSpec, ReadError, ReadSpec};
use chaoschain_state::{Change, Changes, Forest, Key, Rejection, View};
use serde_json::{Value as Json, json};

/// Items on two shelves; a key is two bytes.
pub(crate) struct Shelf;

pub(crate) const LEFT: u8 = 2;
pub(crate) const RIGHT: u8 = 3;

fn number<T: std::str::FromStr>(text: &str) -> Result<T, ReadError> {
    text.parse().map_err(|_| ReadError::Argument(format!("{text:?} is no number")))
}

pub(crate) fn item(shelf: u8, key: u16) -> Key {
    Key::new(shelf, &[&key.to_be_bytes()])
}

fn shown(view: &dyn View, key: Key) -> Json {
    view.get(&key).map_or(Json::Null, |value| json!(value.to_vec()))
}

impl Domain for Shelf {
    const ID: &'static str = "shelf";
    const RULES: u16 = 1;
    const SUB_TREES: &'static [&'static str] = &["left", "right"];
    const KINDS: &'static [KindSpec] = &[];
    const READS: &'static [ReadSpec] = &[
        ReadSpec { name: "item", arguments: &["shelf", "key"], help: "" },
        ReadSpec { name: "list", arguments: &["shelf", "from", "to", "limit"], help: "" },
        ReadSpec { name: "pair", arguments: &["key"], help: "" },
    ];

    type Transition = ();
    type Parameters = ();

    fn decode(_: u16, _: &[u8]) -> Result<(), CodecError> {
        Ok(())
    }

    fn parties((): &(), _: &AccountId) -> Vec<AccountId> {
        Vec::new()
    }

    fn verify(_: &EventContext<'_, ()>, _: &dyn View, (): &()) -> Result<(), Rejection> {
        Ok(())
    }

    fn apply(_: &EventContext<'_, ()>, _: &mut Changes<'_>, (): &()) {}

    fn transition_to_json(_: u16, _: &[u8]) -> Result<Json, CodecError> {
        Ok(Json::Null)
    }

    fn transition_from_json(_: u16, _: &Json) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn record_to_json(_: &Key, value: &[u8]) -> Option<Json> {
        Some(json!(value))
    }

    fn read(name: &str, arguments: &[String], _: Timestamp, view: &dyn View) -> Result<Json, ReadError> {
        match (name, arguments) {
            ("item", [shelf, key]) => Ok(shown(view, item(number(shelf)?, number(key)?))),
            ("list", [shelf, from, to, limit]) => {
                let shelf = number(shelf)?;
                let (from, to) = (item(shelf, number(from)?), item(shelf, number(to)?));
                let found = view.range(&from, &to, number(limit)?);
                Ok(found.iter().map(|(key, value)| json!([key.to_string(), value.to_vec()])).collect())
            }
            ("pair", [key]) => {
                let key = number(key)?;
                Ok(json!({ "left": shown(view, item(LEFT, key)), "right": shown(view, item(RIGHT, key)) }))
            }
            _ => Err(ReadError::Unknown(name.into())),
        }
    }
}

pub(crate) fn producer() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

pub(crate) const CHAIN: ChainId = ChainId::new([9; 32]);

pub(crate) fn trust() -> Trust {
    Trust::in_producers(CHAIN, vec![producer().public()])
}

/// The head of a chain whose shelves hold `items`, each with its key as value.
pub(crate) fn head(items: impl IntoIterator<Item = (u8, u16)>) -> Head {
    let items: BTreeMap<Key, u16> = items.into_iter().map(|(shelf, key)| (item(shelf, key), key)).collect();
    let changes: Vec<Change> = items
        .into_iter()
        .map(|(key, value)| Change { key, before: None, after: Some(value.to_le_bytes().as_slice().into()) })
        .collect();
    let mut forest = Forest::new(Shelf::SUB_TREES.len());
    let state = forest.apply(&changes, None).unwrap();
    let header = Header {
        version: HEADER_VERSION,
        chain: CHAIN,
        epoch: 0,
        rules: 1,
        height: Height(5),
        parent: Hash::new([3; 32]),
        timestamp: Timestamp(1_000),
        producer: AccountId::from_first_key(&producer().public()),
        event_count: 0,
        events_root: Hash::ZERO,
        state_root: state.root(),
        sub_roots: state.sub_roots().to_vec(),
    };
    sign(header, state)
}

/// The head of this header, whatever it says.
pub(crate) fn sign(header: Header, state: Arc<chaoschain_state::StateVersion>) -> Head {
    let bytes = codec::encode(&header);
    let signature = producer().sign(SigningContext::Header, &bytes);
    let hash = Header::hash_of(&bytes);
    let signed = SignedHeader { header: bytes.into(), key: producer().public(), signature };
    Head { header, hash, signed, sequence: Sequence(6), state }
}

pub(crate) fn arguments<T: ToString>(arguments: &[T]) -> Vec<String> {
    arguments.iter().map(ToString::to_string).collect()
}
