//! Records by their keys.

use chaoschain_schemas::codec;
use chaoschain_schemas::society::{
    Agent, AgentCount, AgentOrdinal, Alliance, Conflict, ConflictCounts, DramaEvent, Due, Entry,
    InfluenceScore, InfluenceTurn, Meme, OpenConflict, PersonalityHistory, Reaction, Relationship,
};
use chaoschain_state::Key;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::keys;

pub(crate) fn record_to_json(key: &Key, value: &[u8]) -> Option<Json> {
    fn record<R: Serialize + DeserializeOwned>(value: &[u8]) -> Option<Json> {
        serde_json::to_value(codec::decode_trusted::<R>(value).ok()?).ok()
    }
    let (tag, rest) = key.as_bytes().split_first()?;
    match (key.sub_tree(), *tag, rest.len()) {
        (keys::AGENTS, keys::TAG_AGENT_COUNT, 0) => record::<AgentCount>(value),
        (keys::AGENTS, keys::TAG_AGENT, 32) => record::<Agent>(value),
        (keys::AGENTS, keys::TAG_ENTRY, 64) => record::<Entry>(value),
        (keys::AGENTS, keys::TAG_ORDINAL, 8) => record::<AgentOrdinal>(value),
        (keys::AGENTS, keys::TAG_PERSONALITY, 32) => record::<PersonalityHistory>(value),
        (keys::SOCIAL, keys::TAG_ALLIANCE, 32) => record::<Alliance>(value),
        (keys::SOCIAL, keys::TAG_RELATIONSHIP, 64) => record::<Relationship>(value),
        (keys::SOCIAL, keys::TAG_INFLUENCE, 32) => record::<InfluenceScore>(value),
        (keys::SOCIAL, keys::TAG_DRAMA, 12) => record::<DramaEvent>(value),
        (keys::SOCIAL, keys::TAG_DUE, 41) => record::<Due>(value),
        (keys::SOCIAL, keys::TAG_CONFLICT, 32) => record::<Conflict>(value),
        (keys::SOCIAL, keys::TAG_OPEN_CONFLICT, 33) | (keys::SOCIAL, keys::TAG_OPEN_REPORT, 32) => {
            record::<OpenConflict>(value)
        }
        (keys::SOCIAL, keys::TAG_CONFLICT_COUNTS, 0) => record::<ConflictCounts>(value),
        (keys::MEMES, keys::TAG_MEME, 32) => record::<Meme>(value),
        (keys::MEMES, keys::TAG_INFLUENCE_TURN, 64) => record::<InfluenceTurn>(value),
        (keys::MEMES, keys::TAG_REACTION, 64) => record::<Reaction>(value),
        _ => None,
    }
}
