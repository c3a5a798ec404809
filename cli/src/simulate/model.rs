//! What the generator remembers: who takes part, and where things to act on can be found.
//!
//! All of it is read off the blocks it sealed, and the lists are bounded; what is true is asked of the state each time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::control::Account;
use chaoschain_schemas::society::{
    Agent, AgentStatus, Alliance, AllianceEndCause, AllianceState, Conflict, Entry, Personality,
};
use chaoschain_schemas::{AccountId, AllianceId, ConflictId, MemeId, codec};
use chaoschain_society::keys;
use chaoschain_state::{CONTROL, Change, Value};

use super::draws::Draws;

/// How many memes, alliances and entries are remembered: the latest of each.
const REMEMBERED_MAX: usize = 2048;
/// How many open conflicts agents have in mind: the latest.
const CONFLICTS_IN_MIND_MAX: usize = 64;

/// The place of somebody among [`Model::people`].
pub(super) type Who = usize;

/// Somebody with an account, or about to have one.
pub(super) struct Person {
    pub(super) id: AccountId,
    /// What derives its keys: `agent 7`.
    pub(super) label: String,
    pub(super) key: SecretKey,
    /// How many keys it has had.
    pub(super) keys: u32,
    pub(super) nonce: u64,
    pub(super) has_account: bool,
    pub(super) suspended: bool,
    pub(super) agent: Option<Profile>,
}

/// What the newest block's state says of an agent.
#[derive(Clone, Copy)]
pub(super) struct Profile {
    pub(super) personality: Personality,
    pub(super) active: bool,
    /// Where it stands in the pool of its personality.
    place: usize,
}

impl Person {
    /// Whether it can act, and sign with others.
    pub(super) fn is_able(&self) -> bool {
        !self.suspended && self.agent.is_some_and(|agent| agent.active)
    }
}

/// The latest of something.
pub(super) struct Latest<T>(VecDeque<T>);

impl<T: Copy + PartialEq> Latest<T> {
    fn push(&mut self, item: T) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }

    fn remove(&mut self, item: T) {
        self.0.retain(|other| *other != item);
    }

    /// Items from a drawn place on, each at most once, at most `most` of them.
    pub(super) fn some(&self, draws: &mut Draws, most: usize) -> Vec<T> {
        let start = draws.below(self.0.len());
        (0..self.0.len().min(most)).map(|step| self.0[(start + step) % self.0.len()]).collect()
    }
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) people: Vec<Person>,
    by_id: BTreeMap<AccountId, Who>,
    /// Agents by personality.
    pools: [Vec<Who>; Personality::ALL.len()],
    pub(super) memes: Latest<MemeId>,
    /// Alliances in force.
    pub(super) alliances: Latest<AllianceId>,
    /// Alliances that were left or betrayed.
    pub(super) broken: Latest<AllianceId>,
    /// Entries, by owner, namespace and key.
    pub(super) entries: Latest<(Who, Name)>,
    /// Open conflicts that no scene has to itself, the latest last.
    pub(super) conflicts: VecDeque<ConflictId>,
    /// Conflicts that only their scene may touch.
    pub(super) staged: BTreeSet<ConflictId>,
}

/// The name of an entry: `NAMESPACES[0]`, `note-1`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) namespace: &'static str,
    pub(super) key: u16,
}

/// The namespaces that entries are in.
pub(super) const NAMESPACES: [&str; 3] = ["profile", "plans", "grudges"];
/// How many keys a namespace has.
pub(super) const KEYS: u16 = 20;

impl Name {
    pub(super) fn key(self) -> String {
        format!("note-{}", self.key)
    }

    fn of(entry: &Entry) -> Option<Self> {
        let namespace = NAMESPACES.iter().find(|known| **known == entry.namespace)?;
        Some(Self { namespace, key: entry.key.strip_prefix("note-")?.parse().ok()? })
    }
}

/// An open conflict has been decided, or an elector's opinions have become void.
pub(super) struct Decided {
    pub(super) conflict: Conflict,
}

impl Model {
    pub(super) fn add(&mut self, person: Person) -> Who {
        let who = self.people.len();
        self.by_id.insert(person.id, who);
        self.people.push(person);
        who
    }

    pub(super) fn who(&self, id: &AccountId) -> Option<Who> {
        self.by_id.get(id).copied()
    }

    pub(super) fn personality(&self, who: Who) -> Option<Personality> {
        self.people[who].agent.map(|agent| agent.personality)
    }

    pub(super) fn pool(&self, personality: Personality) -> &[Who] {
        &self.pools[personality as usize]
    }

    /// How many agents there are of each personality.
    pub(super) fn pool_sizes(&self) -> [usize; Personality::ALL.len()] {
        self.pools.each_ref().map(Vec::len)
    }

    /// Keeps a conflict for the scene that began it.
    pub(super) fn stage(&mut self, conflict: ConflictId) {
        self.conflicts.retain(|other| *other != conflict);
        self.staged.insert(conflict);
    }

    /// Takes in what a block changed; answers the conflicts that it decided.
    pub(super) fn take_in(&mut self, changes: &[Change]) -> Vec<Decided> {
        let mut decided = Vec::new();
        for Change { key, before, after } in changes {
            let Some((tag, rest)) = key.as_bytes().split_first() else { continue };
            match (key.sub_tree(), *tag, rest) {
                (CONTROL, 0x01, id) => self.take_account(id, after.as_ref()),
                (keys::AGENTS, 0x01, id) => self.take_agent(id, after.as_ref()),
                (keys::AGENTS, 0x02, rest) => self.take_entry(rest, before.as_ref(), after.as_ref()),
                (keys::SOCIAL, 0x01, id) => {
                    if let Some(id) = id32(id) {
                        self.take_alliance(AllianceId::new(id), after.as_ref());
                    }
                }
                (keys::SOCIAL, 0x06, id) => {
                    if let Some(id) = id32(id) {
                        decided.extend(self.take_conflict(
                            ConflictId::new(id),
                            before.as_ref(),
                            after.as_ref(),
                        ));
                    }
                }
                (keys::MEMES, 0x01, id) => {
                    if let Some(id) = id32(id).filter(|_| after.is_some()) {
                        self.memes.push(MemeId::new(id));
                    }
                }
                _ => {}
            }
        }
        decided
    }

    fn take_account(&mut self, id: &[u8], after: Option<&Value>) {
        let (Some(who), Some(account)) = (self.who_of(id), read::<Account>(after)) else { return };
        let person = &mut self.people[who];
        (person.has_account, person.suspended, person.nonce) = (true, account.suspended, account.nonces[0]);
    }

    fn take_agent(&mut self, id: &[u8], after: Option<&Value>) {
        let (Some(who), Some(agent)) = (self.who_of(id), read::<Agent>(after)) else { return };
        let active = agent.status == AgentStatus::Active;
        let now = agent.personality;
        match self.people[who].agent {
            Some(known) if known.personality == now => {
                self.people[who].agent = Some(Profile { active, ..known });
                return;
            }
            Some(known) => {
                let pool = &mut self.pools[known.personality as usize];
                pool.swap_remove(known.place);
                if let Some(moved) = pool.get(known.place).copied()
                    && let Some(profile) = &mut self.people[moved].agent
                {
                    profile.place = known.place;
                }
            }
            None => {}
        }
        let pool = &mut self.pools[now as usize];
        pool.push(who);
        self.people[who].agent = Some(Profile { personality: now, active, place: pool.len() - 1 });
    }

    fn take_entry(&mut self, rest: &[u8], before: Option<&Value>, after: Option<&Value>) {
        let owner = rest.get(..32).and_then(|id| self.who_of(id));
        let name = read::<Entry>(after.or(before)).and_then(|entry| Name::of(&entry));
        let (Some(owner), Some(name)) = (owner, name) else { return };
        match (before, after) {
            (None, Some(_)) => self.entries.push((owner, name)),
            (Some(_), None) => self.entries.remove((owner, name)),
            _ => {}
        }
    }

    fn take_alliance(&mut self, id: AllianceId, after: Option<&Value>) {
        let Some(alliance) = read::<Alliance>(after) else { return };
        self.alliances.remove(id);
        self.broken.remove(id);
        match (alliance.state, alliance.end.map(|end| end.cause)) {
            (AllianceState::Active, _) => self.alliances.push(id),
            (_, Some(AllianceEndCause::Departure | AllianceEndCause::Betrayal)) => self.broken.push(id),
            _ => {}
        }
    }

    fn take_conflict(
        &mut self,
        id: ConflictId,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> Option<Decided> {
        let conflict = read::<Conflict>(after)?;
        let open = conflict.outcome.is_none() && !conflict.electors.is_empty();
        if before.is_none() && open {
            if self.conflicts.len() == CONFLICTS_IN_MIND_MAX {
                self.conflicts.pop_front();
            }
            self.conflicts.push_back(id);
        }
        if open {
            return None;
        }
        self.conflicts.retain(|other| *other != id);
        self.staged.remove(&id);
        Some(Decided { conflict })
    }

    fn who_of(&self, id: &[u8]) -> Option<Who> {
        id32(id).and_then(|id| self.who(&AccountId::new(id)))
    }
}

fn id32(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

fn read<R: serde::de::DeserializeOwned>(value: Option<&Value>) -> Option<R> {
    codec::decode_trusted(value?).ok()
}
