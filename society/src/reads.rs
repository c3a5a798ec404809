//! Named reads. Each touches a bounded set of keys, because a proof shows exactly what was read.

use std::fmt::Display;
use std::str::FromStr;

use chaoschain_schemas::control::{Account, Role};
use chaoschain_schemas::society::{
    Agent, AgentCount, AgentStatus, Alliance, AlliancePurpose, AllianceState, AllianceTerms, Entry,
    InfluenceScore, InfluenceTurn, Meme, MemeContent, MemeType, Parameters, Personality, Relationship,
};
use chaoschain_schemas::{AgentId, AllianceId, Fixed, MemeId, Micros, PublicKey, Timestamp, codec};
use chaoschain_state::control::keys as control_keys;
use chaoschain_state::domain::{ReadError, ReadSpec};
use chaoschain_state::{Key, View};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::{alliance, entry, formula, keys, meme};

pub(crate) const READS: &[ReadSpec] = &[
    ReadSpec {
        name: "agent",
        arguments: &["id"],
        help: "An agent, with its account's key and last activity",
    },
    ReadSpec { name: "alliance", arguments: &["id"], help: "An alliance, its members and its strength" },
    ReadSpec { name: "relationship", arguments: &["from", "to"], help: "One agent's view of another" },
    ReadSpec { name: "meme", arguments: &["id"], help: "A meme and its influence" },
    ReadSpec { name: "entry", arguments: &["owner", "namespace", "key"], help: "An entry of an agent's own" },
];

/// An agent as a whole: account and profile in one. The first seven fields are those of the published `AgentState`.
#[derive(Serialize)]
struct AgentState {
    id: AgentId,
    public_key: PublicKey,
    personality: Personality,
    reputation: Fixed,
    alliances: Vec<AllianceId>,
    status: AgentStatus,
    last_activity: Timestamp,
    influence: Fixed,
    role: Role,
    status_reason: String,
    status_since: Timestamp,
    status_expected: Option<Micros>,
    registered_at: Timestamp,
    ordinal: u64,
}

#[derive(Serialize)]
struct AllianceView {
    id: AllianceId,
    members: Vec<AgentId>,
    purpose: AlliancePurpose,
    terms: AllianceTerms,
    exclusive: bool,
    state: AllianceState,
    formed_at: Timestamp,
    expires_at: Timestamp,
    strength: Fixed,
}

#[derive(Serialize)]
struct RelationshipView {
    from: AgentId,
    to: AgentId,
    #[serde(flatten)]
    relationship: Relationship,
}

#[derive(Serialize)]
struct MemeView {
    id: MemeId,
    creator: AgentId,
    created_at: Timestamp,
    content_type: MemeType,
    content: MemeContent,
    metadata: String,
    references: Vec<MemeId>,
    tags: Vec<String>,
    targets: Vec<AgentId>,
    influence: Fixed,
    influenced_at: Option<Timestamp>,
    influence_count: u32,
}

#[derive(Serialize)]
struct EntryView {
    owner: AgentId,
    #[serde(flatten)]
    entry: Entry,
}

pub(crate) fn read(
    name: &str,
    arguments: &[String],
    now: Timestamp,
    view: &dyn View,
) -> Result<Json, ReadError> {
    match (name, arguments) {
        ("agent", [id]) => Ok(show(agent_state(parse("id", id)?, now, view))),
        ("alliance", [id]) => Ok(show(alliance_view(parse("id", id)?, now, view))),
        ("relationship", [from, to]) => {
            let (from, to) = (parse("from", from)?, parse("to", to)?);
            let relationship = view.record(&keys::relationship(&from, &to));
            Ok(show(relationship.map(|relationship| RelationshipView { from, to, relationship })))
        }
        ("meme", [id]) => Ok(show(meme_view(parse("id", id)?, now, view))),
        ("entry", [owner, namespace, key]) => {
            let owner = parse("owner", owner)?;
            Ok(show(match entry::look_up(view, &owner, namespace, key) {
                entry::Place::Taken(entry) => Some(EntryView { owner, entry }),
                entry::Place::Free | entry::Place::Other(_) => None,
            }))
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

fn agent_state(id: AgentId, now: Timestamp, view: &dyn View) -> Option<AgentState> {
    let agent: Agent = view.record(&keys::agent(&id))?;
    let account: Account = view.record(&control_keys::account(&id))?;
    let live = agent.alliances.iter().filter(|membership| alliance::is_live(membership.expires_at, now));
    Some(AgentState {
        id,
        public_key: account.key,
        personality: agent.personality,
        reputation: agent.reputation,
        alliances: live.map(|membership| membership.id).collect(),
        status: if account.suspended { AgentStatus::Suspended } else { agent.status },
        last_activity: account.last_activity,
        influence: agent.influence,
        role: account.role,
        status_reason: agent.status_reason,
        status_since: agent.status_since,
        status_expected: agent.status_expected,
        registered_at: agent.registered_at,
        ordinal: agent.ordinal,
    })
}

fn alliance_view(id: AllianceId, now: Timestamp, view: &dyn View) -> Option<AllianceView> {
    let alliance: Alliance = view.record(&keys::alliance(&id))?;
    let strength = strength(&alliance, now, view);
    let over = alliance.state == AllianceState::Active && !alliance::is_live(alliance.expires_at, now);
    Some(AllianceView {
        id,
        members: alliance.members,
        purpose: alliance.purpose,
        terms: alliance.terms,
        exclusive: alliance.exclusive,
        state: if over { AllianceState::Expired } else { alliance.state },
        formed_at: alliance.formed_at,
        expires_at: alliance.expires_at,
        strength,
    })
}

/// Reads each member, and each one's view of the next in order of id, the last one's of the first.
fn strength(alliance: &Alliance, now: Timestamp, view: &dyn View) -> Fixed {
    let members = &alliance.members;
    let agents: Vec<Agent> = members.iter().filter_map(|id| view.record(&keys::agent(id))).collect();
    let next = members.iter().cycle().skip(1);
    let trust = members.iter().zip(next).map(|(from, to)| {
        view.record::<Relationship>(&keys::relationship(from, to)).unwrap_or_default().trust
    });
    formula::strength(
        formula::mean(agents.iter().map(|agent| agent.reputation)),
        formula::mean(trust),
        formula::mean(agents.iter().map(|agent| agent.influence)),
        formula::time_left(alliance.formed_at, alliance.expires_at, now),
    )
}

fn meme_view(id: MemeId, now: Timestamp, view: &dyn View) -> Option<MemeView> {
    let meme: Meme = view.record(&keys::meme(&id))?;
    let score: Option<InfluenceScore> = view.record(&keys::influence(&id));
    let parameters: Parameters = view.record(&control_keys::domain_parameters()).unwrap_or_default();
    let influence = score.map_or(Fixed::ZERO, |score| meme::decayed(&score, now, parameters.meme_half_life));
    Some(MemeView {
        id,
        creator: meme.creator,
        created_at: meme.created_at,
        content_type: meme.content_type,
        content: meme.content,
        metadata: meme.metadata,
        references: meme.references,
        tags: meme.tags,
        targets: meme.targets,
        influence,
        influenced_at: score.map(|score| score.updated_at),
        influence_count: score.map_or(0, |score| score.count),
    })
}

pub(crate) fn record_to_json(key: &Key, value: &[u8]) -> Option<Json> {
    fn record<R: Serialize + DeserializeOwned>(value: &[u8]) -> Option<Json> {
        serde_json::to_value(codec::decode_trusted::<R>(value).ok()?).ok()
    }
    let (tag, rest) = key.as_bytes().split_first()?;
    match (key.sub_tree(), *tag, rest.len()) {
        (keys::AGENTS, keys::TAG_AGENT_COUNT, 0) => record::<AgentCount>(value),
        (keys::AGENTS, keys::TAG_AGENT, 32) => record::<Agent>(value),
        (keys::AGENTS, keys::TAG_ENTRY, 64) => record::<Entry>(value),
        (keys::SOCIAL, keys::TAG_ALLIANCE, 32) => record::<Alliance>(value),
        (keys::SOCIAL, keys::TAG_RELATIONSHIP, 64) => record::<Relationship>(value),
        (keys::SOCIAL, keys::TAG_INFLUENCE, 32) => record::<InfluenceScore>(value),
        (keys::MEMES, keys::TAG_MEME, 32) => record::<Meme>(value),
        (keys::MEMES, keys::TAG_INFLUENCE_TURN, 64) => record::<InfluenceTurn>(value),
        _ => None,
    }
}

/// What was found as JSON, null for nothing.
fn show<T: Serialize>(found: Option<T>) -> Json {
    found.and_then(|found| serde_json::to_value(found).ok()).unwrap_or_default()
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, ReadError> {
    text.parse().map_err(|error| ReadError::Argument(format!("{name}: {error}")))
}
