//! Agents by reputation, kept up to date block by block.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chaoschain_schemas::society::Agent;
use chaoschain_schemas::{AgentId, Fixed, Height, codec};
use chaoschain_state::domain::{ReadError, ReadModel};
use chaoschain_state::{Change, Value};
use serde::Serialize;
use serde_json::Value as Json;

use crate::keys;

/// How many rows are shown when nobody asks for another number.
pub const LEADERBOARD_ROWS_DEFAULT: usize = 10;
/// The most rows that are shown.
pub const LEADERBOARD_ROWS_MAX: usize = 1000;

/// Agents by falling reputation; among equals the earlier registered comes first. Takes some 100 bytes an agent.
#[derive(Debug, Default)]
pub struct Leaderboard {
    /// By place, each agent's influence.
    ranking: BTreeMap<Place, Fixed>,
}

/// Where an agent stands: by reputation, then ordinal. With the id it is no other agent's, even where a rollback made an
/// ordinal free for somebody else.
type Place = (Reverse<Fixed>, u64, AgentId);

#[derive(Serialize)]
struct Row {
    rank: usize,
    id: AgentId,
    reputation: Fixed,
    influence: Fixed,
}

impl ReadModel for Leaderboard {
    fn name(&self) -> &'static str {
        "leaderboard"
    }

    fn apply(&mut self, _height: Height, changes: &[Change]) {
        for change in changes.iter().filter(|change| change.key.sub_tree() == keys::AGENTS) {
            let [keys::TAG_AGENT, id @ ..] = change.key.as_bytes() else { continue };
            let Ok(id) = id.try_into().map(AgentId::new) else { continue };
            if let Some(agent) = parse(change.before.as_ref()) {
                self.ranking.remove(&place(id, &agent));
            }
            if let Some(agent) = parse(change.after.as_ref()) {
                self.ranking.insert(place(id, &agent), agent.influence);
            }
        }
    }

    fn query(&self, arguments: &[String]) -> Result<Json, ReadError> {
        let rows = match arguments {
            [] => LEADERBOARD_ROWS_DEFAULT,
            [rows] => rows.parse().ok().filter(|rows| (1..=LEADERBOARD_ROWS_MAX).contains(rows)).ok_or_else(
                || {
                    ReadError::Argument(format!(
                        "the number of rows is {rows:?}, not 1 to {LEADERBOARD_ROWS_MAX}"
                    ))
                },
            )?,
            _ => {
                return Err(ReadError::Argument("leaderboard takes one argument, the number of rows".into()));
            }
        };
        let ranking = (1..).zip(&self.ranking).take(rows);
        let rows: Vec<_> = ranking
            .map(|(rank, (&(Reverse(reputation), _, id), &influence))| Row {
                rank,
                id,
                reputation,
                influence,
            })
            .collect();
        Ok(serde_json::to_value(rows).unwrap_or_default())
    }
}

fn place(id: AgentId, agent: &Agent) -> Place {
    (Reverse(agent.reputation), agent.ordinal, id)
}

fn parse(value: Option<&Value>) -> Option<Agent> {
    value.and_then(|value| codec::decode_trusted(value).ok())
}
