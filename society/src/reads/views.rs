//! What the reads show: records with what follows from them at block time.

use chaoschain_schemas::control::{Account, Role};
use chaoschain_schemas::society::{
    Agent, AgentCount, AgentStatus, Alliance, AllianceEnd, AlliancePurpose, AllianceState, AllianceTerms,
    Entry, InfluenceScore, Meme, MemeContent, MemeType, Parameters, Personality, PersonalityHistory,
    ReactionCounts, Relationship,
};
use chaoschain_schemas::{AgentId, AllianceId, ConflictId, Fixed, MemeId, Micros, PublicKey, Timestamp};
use chaoschain_state::View;
use chaoschain_state::control::keys as control_keys;
use serde::Serialize;

use crate::{alliance, entry, formula, keys, meme};

/// An agent as a whole: account and profile in one. The first seven fields are those of the published `AgentState`.
#[derive(Serialize)]
pub(super) struct AgentState {
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
    betrayed_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(super) struct AllianceView {
    id: AllianceId,
    members: Vec<AgentId>,
    purpose: AlliancePurpose,
    terms: AllianceTerms,
    exclusive: bool,
    state: AllianceState,
    formed_at: Timestamp,
    expires_at: Timestamp,
    strength: Fixed,
    strength_at_formation: Fixed,
    conflict: Option<ConflictId>,
    end: Option<AllianceEnd>,
}

#[derive(Serialize)]
pub(super) struct RelationshipView {
    from: AgentId,
    to: AgentId,
    #[serde(flatten)]
    relationship: Relationship,
}

#[derive(Serialize)]
pub(super) struct MemeView {
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
    reactions: ReactionCounts,
    quality: Fixed,
    virality: Fixed,
}

/// How an agent changed its personality.
#[derive(Serialize)]
pub(super) struct PersonalityView {
    id: AgentId,
    #[serde(flatten)]
    history: PersonalityHistory,
}

#[derive(Serialize)]
pub(super) struct EntryView {
    owner: AgentId,
    #[serde(flatten)]
    entry: Entry,
}

pub(super) fn agent(id: AgentId, now: Timestamp, view: &dyn View) -> Option<AgentState> {
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
        betrayed_at: agent.betrayed_at,
    })
}

pub(super) fn personality(id: AgentId, view: &dyn View) -> Option<PersonalityView> {
    view.record(&keys::personality(&id)).map(|history| PersonalityView { id, history })
}

pub(super) fn alliance(id: AllianceId, now: Timestamp, view: &dyn View) -> Option<AllianceView> {
    let alliance: Alliance = view.record(&keys::alliance(&id))?;
    let state = alliance::state_at(&alliance, now);
    let live = matches!(state, AllianceState::Active | AllianceState::Contested);
    // What is over has no strength, and its members need not be read.
    let strength = if live { alliance::strength(&alliance, now, view) } else { Fixed::ZERO };
    Some(AllianceView {
        id,
        members: alliance.members,
        purpose: alliance.purpose,
        terms: alliance.terms,
        exclusive: alliance.exclusive,
        state,
        formed_at: alliance.formed_at,
        expires_at: alliance.expires_at,
        strength,
        strength_at_formation: alliance.strength,
        conflict: alliance.conflict.filter(|_| live),
        end: alliance.end,
    })
}

pub(super) fn relationship(from: AgentId, to: AgentId, view: &dyn View) -> Option<RelationshipView> {
    let relationship = view.record(&keys::relationship(&from, &to))?;
    Some(RelationshipView { from, to, relationship })
}

pub(super) fn entry(owner: AgentId, namespace: &str, key: &str, view: &dyn View) -> Option<EntryView> {
    match entry::look_up(view, &owner, namespace, key) {
        entry::Place::Taken(entry) => Some(EntryView { owner, entry }),
        entry::Place::Free | entry::Place::Other(_) => None,
    }
}

pub(super) fn meme(id: MemeId, now: Timestamp, view: &dyn View) -> Option<MemeView> {
    let meme: Meme = view.record(&keys::meme(&id))?;
    let score: Option<InfluenceScore> = view.record(&keys::influence(&id));
    let parameters: Parameters = view.record(&control_keys::domain_parameters()).unwrap_or_default();
    let count: AgentCount = view.record(&keys::agent_count()).unwrap_or_default();
    let moved_at = score.map(|score| score.updated_at);
    let score = score.unwrap_or_default();
    let ReactionCounts { love, like, .. } = score.reactions;
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
        influence: meme::decayed(&score, now, parameters.meme_half_life),
        influenced_at: moved_at,
        influence_count: score.count,
        reactions: score.reactions,
        quality: meme::quality(&score),
        virality: formula::virality(love, like, score.count, count.agents),
    })
}
