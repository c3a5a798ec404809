//! What those who act see of the state: who is there and what there is to act upon.

use chaoschain_projector::Head;
use chaoschain_schemas::society::{Alliance, Conflict, DueKind, Meme};
use chaoschain_schemas::{AgentId, AllianceId, ConflictId, Height, MemeId, Timestamp, codec};
use chaoschain_society::keys;
use chaoschain_state::Key;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::acts::Age;

/// What there is, the oldest first.
pub(crate) struct Scene {
    pub(crate) height: Height,
    pub(crate) agents: Vec<AgentId>,
    alliances: Vec<(AllianceId, Vec<AgentId>)>,
    memes: Vec<MemeId>,
    conflicts: Vec<ConflictId>,
}

impl Scene {
    pub(crate) fn of(head: &Head, agents: Vec<AgentId>) -> Self {
        let mut alliances: Vec<(_, Alliance)> = records(head, &keys::alliance(&AllianceId::default()));
        alliances.sort_by_key(|(_, alliance)| alliance.formed_at);
        let mut memes: Vec<(_, Meme)> = records(head, &keys::meme(&MemeId::default()));
        memes.sort_by_key(|(_, meme)| meme.created_at);
        let alliances =
            alliances.into_iter().map(|(id, alliance)| (AllianceId::new(id), alliance.members)).collect();
        let memes = memes.into_iter().map(|(id, _)| MemeId::new(id)).collect();
        let conflicts = conflicts(head).into_iter().map(|(id, _)| id).collect();
        Self { height: head.height(), agents, alliances, memes, conflicts }
    }

    /// The alliance of this age and its members.
    pub(crate) fn alliance(&self, age: Age) -> (AllianceId, Vec<AgentId>) {
        aged(&self.alliances, age).unwrap_or_else(|| (AllianceId::default(), self.agents[..2].to_vec()))
    }

    pub(crate) fn meme(&self, age: Age) -> MemeId {
        aged(&self.memes, age).unwrap_or_default()
    }

    pub(crate) fn conflict(&self, age: Age) -> ConflictId {
        aged(&self.conflicts, age).unwrap_or_default()
    }
}

fn aged<T: Clone>(things: &[T], age: Age) -> Option<T> {
    things.iter().rev().cycle().nth(age?).cloned()
}

/// All conflicts, the oldest first.
pub(crate) fn conflicts(head: &Head) -> Vec<(ConflictId, Conflict)> {
    let mut conflicts: Vec<(_, Conflict)> = records(head, &keys::conflict(&ConflictId::default()));
    conflicts.sort_by_key(|(_, conflict)| conflict.opened_height);
    conflicts.into_iter().map(|(id, conflict)| (ConflictId::new(id), conflict)).collect()
}

/// What is due at block time `now`.
pub(crate) fn due(head: &Head, now: Timestamp) -> Vec<DueKind> {
    let (first, last) = keys::due_until(now);
    let due = head
        .state
        .tree(keys::SOCIAL)
        .unwrap()
        .iter()
        .filter(|(key, _)| (first.as_bytes()..last.as_bytes()).contains(&key.as_slice()));
    due.map(|(key, _)| DueKind::from_code(key[9]).unwrap()).collect()
}

/// The records of the kind that stands at `like`, with the ids in their keys.
fn records<R: Serialize + DeserializeOwned>(head: &Head, like: &Key) -> Vec<([u8; 32], R)> {
    let tree = head.state.tree(like.sub_tree()).unwrap();
    let alike = tree.iter().filter(|(key, _)| key[0] == like.as_bytes()[0]);
    alike
        .map(|(key, value)| (key[1..33].try_into().unwrap(), codec::decode(&value, usize::MAX).unwrap()))
        .collect()
}
