//! Named reads. Each touches a bounded set of keys, because a proof shows exactly what was read.

mod drama;
mod records;
mod views;

use std::fmt::Display;
use std::str::FromStr;

use chaoschain_schemas::Timestamp;
use chaoschain_schemas::society::ContestedFact;
use chaoschain_state::View;
use chaoschain_state::domain::{ReadError, ReadSpec};
use serde::Serialize;
use serde_json::Value as Json;

use crate::conflict;

pub use drama::DRAMAS_MAX;
pub(crate) use records::record_to_json;

pub(crate) const READS: &[ReadSpec] = &[
    ReadSpec {
        name: "agent",
        arguments: &["id"],
        help: "An agent, with its account's key, role and last activity",
    },
    ReadSpec {
        name: "personality",
        arguments: &["id"],
        help: "How often an agent has changed its personality, and the last change",
    },
    ReadSpec {
        name: "alliance",
        arguments: &["id"],
        help: "An alliance, its members, its strength, and how it stands or ended",
    },
    ReadSpec { name: "relationship", arguments: &["from", "to"], help: "One agent's view of another" },
    ReadSpec {
        name: "meme",
        arguments: &["id"],
        help: "A meme, its influence, quality and virality, and how it was taken",
    },
    ReadSpec {
        name: "drama",
        arguments: &["height", "index"],
        help: "The drama event that came of the transition at an address",
    },
    ReadSpec {
        name: "dramas",
        arguments: &["from", "limit"],
        help: "Up to 256 drama events from a height on, or from an address HEIGHT/INDEX on",
    },
    ReadSpec { name: "entry", arguments: &["owner", "namespace", "key"], help: "An entry of an agent's own" },
    conflict::READS[0],
    conflict::READS[1],
];

pub(crate) fn read(
    name: &str,
    arguments: &[String],
    now: Timestamp,
    view: &dyn View,
) -> Result<Json, ReadError> {
    match (name, arguments) {
        ("agent", [id]) => Ok(show(views::agent(parse("id", id)?, now, view))),
        ("personality", [id]) => Ok(show(views::personality(parse("id", id)?, view))),
        ("alliance", [id]) => Ok(show(views::alliance(parse("id", id)?, now, view))),
        ("relationship", [from, to]) => {
            Ok(show(views::relationship(parse("from", from)?, parse("to", to)?, view)))
        }
        ("meme", [id]) => Ok(show(views::meme(parse("id", id)?, now, view))),
        ("drama", [height, index]) => {
            Ok(show(drama::one(parse("height", height)?, parse("index", index)?, view)))
        }
        ("dramas", [from, limit]) => Ok(show(Some(drama::from(from, limit, view)?))),
        ("entry", [owner, namespace, key]) => {
            Ok(show(views::entry(parse("owner", owner)?, namespace, key, view)))
        }
        ("conflict", [id]) => Ok(show(conflict::read_conflict(parse("id", id)?, now, view))),
        ("open-conflict", [agent, field]) => {
            let fact = ContestedFact { agent: parse("agent", agent)?, field: parse("field", field)? };
            Ok(show(conflict::read_open_conflict(fact, view)))
        }
        _ => Err(match READS.iter().find(|spec| spec.name == name) {
            Some(spec) => ReadError::Argument(format!(
                "{name} takes {} arguments ({}), got {}",
                spec.arguments.len(),
                spec.arguments.join(", "),
                arguments.len()
            )),
            None => ReadError::Unknown(name.to_owned()),
        }),
    }
}

/// What was found as JSON, null for nothing.
fn show<T: Serialize>(found: Option<T>) -> Json {
    found.and_then(|found| serde_json::to_value(found).ok()).unwrap_or_default()
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, ReadError> {
    text.parse().map_err(|error| ReadError::Argument(format!("{name}: {error}")))
}
