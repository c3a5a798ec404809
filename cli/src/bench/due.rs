//! What a block costs in which a hundred thousand things become due at once.
//!
//! Each block handles a bounded share of them before its events. What is measured is the whole block: the share, the
//! trees, the seal. Alliances exhaust a share in its two ways, by entries and by members, and conflicts by electors; at a
//! small and at a large number of agents. The block of a chain where nothing is due is beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{BlockLimits, Fold, Head, Producer, open_genesis, seal_genesis};
use chaoschain_schemas::control::Parameters;
use chaoschain_schemas::limits::{AGENT_ALLIANCES_MAX, CONFLICT_ELECTORS_MAX, CONFLICTS_OPEN_MAX};
use chaoschain_schemas::society::{
    Agent, AgentStatus, Alliance, AlliancePurpose, AllianceState, AllianceTerms, Benefit, Claim, Conflict,
    ConflictCounts, ConflictKind, ConflictOption, ConflictSubject, ContestedFact, ContestedField, Due,
    DueKind, Elector, Membership, Personality, PurposeKind, Strategy,
};
use chaoschain_schemas::{AccountId, AgentId, AllianceId, Fixed, Height, Micros, Sequence, Timestamp, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::Machine as _;
use chaoschain_state::{Change, Key, Value};
use rayon::prelude::*;

use super::Figure;
use super::chain::failed;
use crate::command::init::genesis;
use crate::error::Outcome;

/// How many alliances expire at once. With few agents it is more than rules would let them form.
const DUE: u64 = 100_000;
/// How many agents there are, for each column of the question how the cost grows.
const AGENTS: [u64; 2] = [1_000, 1_000_000];
/// The sizes of alliances: of the least, a share is full of entries; of the largest, of members.
const MEMBERS: [u64; 2] = [2, 64];
/// How many electors a conflict has, and how many conflicts have their deadline before everything else.
const ELECTORS: u64 = CONFLICT_ELECTORS_MAX as u64;
const DEADLINES: u64 = CONFLICTS_OPEN_MAX as u64;
/// How many blocks are measured for a figure; the worst counts.
const BLOCKS: usize = 20;
/// When everything is due.
const EXPIRY: Timestamp = Timestamp(1_800_000_000_000_000);

pub(super) fn measure() -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for agents in AGENTS {
        eprintln!("{DUE} alliances that expire at once, of {agents} agents …");
        let quiet = Backlog::new(agents, Vec::new())?.worst()?;
        let what = format!("a block where nothing is due, {agents} agents");
        figures.push(quiet.figure(what));
        for members in MEMBERS {
            let worst = Backlog::new(agents, alliances(agents, DUE, members))?.worst()?;
            figures.push(
                worst.figure(format!("a block, {DUE} alliances of {members} due at once, {agents} agents")),
            );
        }
        let mut due = alliances(agents, DUE - DEADLINES, 2);
        due.extend((0..DEADLINES).flat_map(|number| conflict(agents, number)));
        let worst = Backlog::new(agents, due)?.worst()?;
        figures.push(worst.figure(format!("a block, {DEADLINES} conflicts among them, {agents} agents")));
    }
    Ok(figures)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

/// What a block took and wrote.
struct Cost {
    spent: Duration,
    written: usize,
}

impl Cost {
    fn figure(&self, what: String) -> Figure {
        let note = format!("the worst of {BLOCKS}; it wrote {} records", self.written);
        Figure::new(what, millis(self.spent), "ms").note(note)
    }
}

/// A chain on which much is due.
struct Backlog {
    fold: Fold,
    producer: Producer,
}

impl Backlog {
    /// A chain of so many agents with these records besides, which are due when the next block comes.
    fn new(agents: u64, due: Vec<Record>) -> Outcome<Self> {
        let key = Arc::new(SecretKey::from_seed(&[0xd0; 32]));
        let document =
            genesis(&Society, "due", EXPIRY, Parameters::default(), Society.default_parameters(), &key);
        let (id, message) = seal_genesis(&Society, &document, &key)?;
        let mut beginning = open_genesis(&Society, Sequence(1), &message, Some(id))?;
        let changes = changes(agents, due);
        let state = beginning.forest.apply(&changes, None).map_err(|error| failed(&error))?;
        let head = Arc::new(Head { state, ..Head::clone(&beginning.head) });
        let fold = Fold::new(Arc::new(Society), beginning.forest, head);
        let producer = Producer { account: AccountId::from_first_key(&key.public()), key };
        Ok(Self { fold, producer })
    }

    /// The block that took longest.
    fn worst(&mut self) -> Outcome<Cost> {
        let mut worst = self.block()?;
        for _ in 1..BLOCKS {
            let next = self.block()?;
            worst = if next.spent > worst.spent { next } else { worst };
        }
        Ok(worst)
    }

    /// The next block, without events.
    fn block(&mut self) -> Outcome<Cost> {
        let start = Instant::now();
        self.fold.propose(&self.producer, EXPIRY, BlockLimits::default(), &[], true)?;
        let spent = start.elapsed();
        let sequence = Sequence(self.fold.tip().height().0 + 1);
        let folded = self.fold.confirm(sequence);
        let written = folded.map_or(0, |folded| folded.changes.len());
        Ok(Cost { spent, written })
    }
}

fn id(kind: &str, number: u64) -> [u8; 32] {
    *blake3::hash(format!("{kind} {number}").as_bytes()).as_bytes()
}

fn agent_id(number: u64) -> AgentId {
    AgentId::new(id("agent", number))
}

/// A record's key and bytes, or what is to be added to a profile.
enum Record {
    Whole(Key, Vec<u8>),
    Listed(u64, Membership),
}

/// So many alliances. Number `n` has the agents from `n × members` on, around and around.
fn alliances(agents: u64, count: u64, members: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for number in 0..count {
        let alliance = AllianceId::new(id("alliance", number));
        let of = (0..members).map(|place| (number * members + place) % agents);
        records.extend(of.clone().map(|member| Record::Listed(member, membership(alliance))));
        let due = keys::due(EXPIRY, DueKind::AllianceExpiry, alliance.as_bytes());
        records.push(Record::Whole(due, codec::encode(&Due { work: members as u32 })));
        let record = alliance_of(of.map(agent_id).collect());
        records.push(Record::Whole(keys::alliance(&alliance), codec::encode(&record)));
    }
    records
}

/// A conflict about an agent's personality whose deadline comes a microsecond before all else.
fn conflict(agents: u64, number: u64) -> Vec<Record> {
    let subject = agent_id(number % agents);
    let fact = ContestedFact { agent: subject, field: ContestedField::Personality };
    let claim = Claim { personality: Some(Personality::Greedy), ..Claim::default() };
    let option = |claim| ConflictOption { alliance: None, claim };
    let mut electors: Vec<Elector> = (0..ELECTORS.min(agents))
        .map(|place| Elector {
            agent: agent_id((number + 1 + place) % agents),
            weight: 1_000_000,
            opinion: Some(u8::from(place % 4 != 0)),
            voided: false,
        })
        .collect();
    electors.sort_by_key(|elector| elector.agent);
    let deadline = Timestamp(EXPIRY.0 - 1);
    let conflict = Conflict {
        kind: ConflictKind::InconsistentAgentState,
        subject: ConflictSubject { fact: Some(fact), divergence: None },
        options: vec![option(None), option(Some(claim))],
        strategy: Strategy::Majority,
        reporter: AgentId::new(id("reporter", number)),
        reason: "measured".into(),
        // Of few agents, many are contested more than once, at other heights.
        opened_height: Height(number / agents),
        opened_at: Timestamp(0),
        deadline,
        threshold: Fixed::ONE,
        participation_min: Fixed::HALF,
        electors,
        outcome: None,
    };
    let id = conflict.id();
    let work = conflict.electors.len() as u32 + 2;
    let due = keys::due(deadline, DueKind::ConflictDeadline, id.as_bytes());
    vec![
        Record::Whole(due, codec::encode(&Due { work })),
        Record::Whole(keys::conflict(&id), codec::encode(&conflict)),
    ]
}

fn changes(agents: u64, records: Vec<Record>) -> Vec<Change> {
    let mut listed: BTreeMap<u64, Vec<Membership>> = BTreeMap::new();
    let open = ConflictCounts { open: CONFLICTS_OPEN_MAX, opened: DEADLINES, ..ConflictCounts::default() };
    let mut written = vec![(keys::conflict_counts(), codec::encode(&open))];
    for record in records {
        match record {
            Record::Whole(key, bytes) => written.push((key, bytes)),
            Record::Listed(member, membership) => {
                let list = listed.entry(member).or_default();
                if list.len() < AGENT_ALLIANCES_MAX {
                    list.push(membership);
                }
            }
        }
    }
    let profiles = (0..agents).map(|number| (number, listed.remove(&number).unwrap_or_default()));
    written.extend(profiles.map(|(number, alliances)| {
        (keys::agent(&agent_id(number)), codec::encode(&agent(number, alliances)))
    }));
    written.par_sort_unstable_by_key(|(key, _)| *key);
    let put = |(key, value): (Key, Vec<u8>)| Change { key, before: None, after: Some(Value::from(value)) };
    written.into_iter().map(put).collect()
}

fn membership(id: AllianceId) -> Membership {
    Membership {
        id,
        expires_at: EXPIRY,
        exclusive_for: None,
        benefits: vec![Benefit::StakeBoost],
        strength: Fixed::HALF,
        contested: false,
    }
}

fn alliance_of(mut members: Vec<AgentId>) -> Alliance {
    members.sort_unstable();
    Alliance {
        members,
        purpose: AlliancePurpose::of(PurposeKind::Social),
        terms: AllianceTerms {
            duration: Micros(1),
            benefits: vec![Benefit::StakeBoost],
            conditions: Vec::new(),
        },
        exclusive: false,
        state: AllianceState::Active,
        formed_at: Timestamp(EXPIRY.0 - 1),
        expires_at: EXPIRY,
        strength: Fixed::HALF,
        conflict: None,
        end: None,
    }
}

fn agent(ordinal: u64, alliances: Vec<Membership>) -> Agent {
    Agent {
        personality: Personality::Neutral,
        reputation: Fixed::HALF,
        influence: Fixed::HALF,
        status: AgentStatus::Active,
        status_reason: String::new(),
        status_since: Timestamp(0),
        status_expected: None,
        alliances,
        registered_at: Timestamp(0),
        ordinal,
        betrayed_at: None,
    }
}

#[cfg(test)]
mod tests {
    use chaoschain_schemas::limits::{DUE_ENTRIES_MAX, DUE_WORK_MAX};

    use super::*;

    /// What a block writes is its share, however much waits and however many agents there are.
    #[test]
    fn a_block_handles_its_share_and_no_more() {
        let written = |agents, due| {
            let mut backlog = Backlog::new(agents, due).unwrap();
            (0..3).map(|_| backlog.block().unwrap().written).collect::<Vec<_>>()
        };
        // An entry, an alliance and two members each.
        for (agents, count) in [(100_000, 2_000), (100_000, 20_000), (400_000, DUE)] {
            assert_eq!(
                written(agents, alliances(agents, count, 2)),
                [DUE_ENTRIES_MAX * 4; 3],
                "{agents} {count}"
            );
        }
        let share = DUE_WORK_MAX as usize / 64;
        assert_eq!(written(100_000, alliances(100_000, 1_000, 64)), [share * (2 + 64); 3]);
        // Few agents are in each other's alliances: what is written is less, never more.
        for count in written(100, alliances(100, 10_000, 2)) {
            assert!((DUE_ENTRIES_MAX * 2..=DUE_ENTRIES_MAX * 2 + 100).contains(&count), "{count}");
        }
        // 128 electors and two parties each. An entry, a conflict, a profile; and how many are open.
        let share = DUE_WORK_MAX as usize / 130;
        let conflicts = |agents, count| (0..count).flat_map(|number| conflict(agents, number)).collect();
        assert_eq!(written(200, conflicts(200, 60)), [share * 3 + 1; 3]);
        let few = Backlog::new(10, conflicts(10, 60));
        assert!(few.is_ok(), "of few agents, some are contested more than once");
        assert_eq!(written(1_000, Vec::new()), [0; 3]);
    }
}
