//! What a block costs in which a hundred thousand things become due at once.
//!
//! Each block handles a bounded share of them before its events. What is measured is the whole block: the share, the
//! trees, the seal. Two kinds of alliances exhaust a share in its two ways, by entries and by members, at a small and at a
//! large number of agents; the block of a chain where nothing is due is beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{BlockLimits, Fold, Head, Producer, open_genesis, seal_genesis};
use chaoschain_schemas::control::Parameters;
use chaoschain_schemas::society::{
    Agent, AgentStatus, Alliance, AlliancePurpose, AllianceState, AllianceTerms, Benefit, Due, DueKind,
    Membership, Personality, PurposeKind,
};
use chaoschain_schemas::{AccountId, AgentId, AllianceId, Fixed, Micros, Sequence, Timestamp, codec};
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
/// How many alliances a profile lists at most.
const LISTED_MAX: usize = 64;
/// How many blocks are measured for a figure; the worst counts.
const BLOCKS: usize = 20;
/// When everything is due.
const EXPIRY: Timestamp = Timestamp(1_800_000_000_000_000);

pub(super) fn measure() -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    for agents in AGENTS {
        eprintln!("{DUE} alliances that expire at once, of {agents} agents …");
        let quiet = Backlog::new(agents, 0, 2)?.block()?;
        let what = format!("a block where nothing is due, {agents} agents");
        figures.push(Figure::new(what, millis(quiet.spent), "ms").note("for comparison"));
        for members in MEMBERS {
            let mut backlog = Backlog::new(agents, DUE, members)?;
            let mut worst = backlog.block()?;
            for _ in 1..BLOCKS {
                let next = backlog.block()?;
                worst = if next.spent > worst.spent { next } else { worst };
            }
            let what = format!("a block, {DUE} alliances of {members} due at once, {agents} agents");
            let note = format!("the worst of {BLOCKS}; it wrote {} records", worst.written);
            figures.push(Figure::new(what, millis(worst.spent), "ms").note(note));
        }
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

/// A chain on which much is due.
struct Backlog {
    fold: Fold,
    producer: Producer,
}

impl Backlog {
    /// A chain of so many agents and so many alliances, all of them over when the next block comes.
    fn new(agents: u64, alliances: u64, members: u64) -> Outcome<Self> {
        let key = Arc::new(SecretKey::from_seed(&[0xd0; 32]));
        let document =
            genesis(&Society, "due", EXPIRY, Parameters::default(), Society.default_parameters(), &key);
        let (id, message) = seal_genesis(&Society, &document, &key)?;
        let mut beginning = open_genesis(&Society, Sequence(1), &message, Some(id))?;
        let records = records(agents, alliances, members);
        let state = beginning.forest.apply(&records, None).map_err(|error| failed(&error))?;
        let head = Arc::new(Head { state, ..Head::clone(&beginning.head) });
        let fold = Fold::new(Arc::new(Society), beginning.forest, head);
        let producer = Producer { account: AccountId::from_first_key(&key.public()), key };
        Ok(Self { fold, producer })
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

/// Alliance number `n` has the agents from `n × members` on, around and around.
fn members_of(number: u64, members: u64, agents: u64) -> impl Iterator<Item = u64> {
    (0..members).map(move |place| (number * members + place) % agents)
}

fn records(agents: u64, alliances: u64, members: u64) -> Vec<Change> {
    let ids: Vec<AgentId> = (0..agents).into_par_iter().map(|n| AgentId::new(id("agent", n))).collect();
    let mut listed: BTreeMap<u64, Vec<Membership>> = BTreeMap::new();
    let mut written: Vec<(Key, Vec<u8>)> = Vec::new();
    for number in 0..alliances {
        let alliance = AllianceId::new(id("alliance", number));
        for member in members_of(number, members, agents) {
            let list = listed.entry(member).or_default();
            if list.len() < LISTED_MAX {
                list.push(membership(alliance));
            }
        }
        let of: Vec<AgentId> =
            members_of(number, members, agents).map(|member| ids[member as usize]).collect();
        let due = keys::due(EXPIRY, DueKind::AllianceExpiry, alliance.as_bytes());
        written.push((due, codec::encode(&Due { work: members as u32 })));
        written.push((keys::alliance(&alliance), codec::encode(&record(of))));
    }
    written.extend((0..agents).map(|number| {
        let agent = agent(number, listed.remove(&number).unwrap_or_default());
        (keys::agent(&ids[number as usize]), codec::encode(&agent))
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

fn record(mut members: Vec<AgentId>) -> Alliance {
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
        let written = |agents, alliances, members| {
            let mut backlog = Backlog::new(agents, alliances, members).unwrap();
            (0..3).map(|_| backlog.block().unwrap().written).collect::<Vec<_>>()
        };
        // An entry, an alliance and two members each.
        for (agents, alliances) in [(100_000, 2_000), (100_000, 20_000), (400_000, DUE)] {
            assert_eq!(written(agents, alliances, 2), [DUE_ENTRIES_MAX * 4; 3], "{agents} {alliances}");
        }
        let share = DUE_WORK_MAX as usize / 64;
        assert_eq!(written(100_000, 1_000, 64), [share * (2 + 64); 3]);
        // Few agents are in each other's alliances: what is written is less, never more.
        for count in written(100, 10_000, 2) {
            assert!((DUE_ENTRIES_MAX * 2..=DUE_ENTRIES_MAX * 2 + 100).contains(&count), "{count}");
        }
        assert_eq!(written(1_000, 0, 2), [0; 3]);
    }
}
