//! Where the society's records stand. A first byte tells the record's type, all parts are of fixed length.

use chaoschain_schemas::{AgentId, AllianceId, MemeId, NameHash};
use chaoschain_state::{DOMAIN_FIRST, Key, SubTree};

/// The sub-tree of agents and their entries.
pub const AGENTS: SubTree = DOMAIN_FIRST;
/// The sub-tree of alliances, relationships and influence.
pub const SOCIAL: SubTree = DOMAIN_FIRST + 1;
/// The sub-tree of memes.
pub const MEMES: SubTree = DOMAIN_FIRST + 2;

pub(crate) const TAG_AGENT_COUNT: u8 = 0x00;
pub(crate) const TAG_AGENT: u8 = 0x01;
pub(crate) const TAG_ENTRY: u8 = 0x02;
pub(crate) const TAG_ALLIANCE: u8 = 0x01;
pub(crate) const TAG_RELATIONSHIP: u8 = 0x02;
pub(crate) const TAG_INFLUENCE: u8 = 0x03;
pub(crate) const TAG_MEME: u8 = 0x01;
pub(crate) const TAG_INFLUENCE_TURN: u8 = 0x02;

/// How many agents there are.
pub fn agent_count() -> Key {
    Key::new(AGENTS, &[&[TAG_AGENT_COUNT]])
}

/// An agent.
pub fn agent(id: &AgentId) -> Key {
    Key::new(AGENTS, &[&[TAG_AGENT], id.as_bytes()])
}

/// An entry of `owner`'s.
pub fn entry(owner: &AgentId, namespace: &str, key: &str) -> Key {
    let (namespace, key) = (NameHash::of(namespace.as_bytes()), NameHash::of(key.as_bytes()));
    Key::new(AGENTS, &[&[TAG_ENTRY], owner.as_bytes(), namespace.as_bytes(), key.as_bytes()])
}

/// An alliance.
pub fn alliance(id: &AllianceId) -> Key {
    Key::new(SOCIAL, &[&[TAG_ALLIANCE], id.as_bytes()])
}

/// The view that `from` has of `to`.
pub fn relationship(from: &AgentId, to: &AgentId) -> Key {
    Key::new(SOCIAL, &[&[TAG_RELATIONSHIP], from.as_bytes(), to.as_bytes()])
}

/// How far a meme carries.
pub fn influence(meme: &MemeId) -> Key {
    Key::new(SOCIAL, &[&[TAG_INFLUENCE], meme.as_bytes()])
}

/// A meme.
pub fn meme(id: &MemeId) -> Key {
    Key::new(MEMES, &[&[TAG_MEME], id.as_bytes()])
}

/// When `author` last moved the influence of `meme`.
pub fn influence_turn(meme: &MemeId, author: &AgentId) -> Key {
    Key::new(MEMES, &[&[TAG_INFLUENCE_TURN], meme.as_bytes(), author.as_bytes()])
}
