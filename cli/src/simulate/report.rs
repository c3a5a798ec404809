//! What a simulation came to: counts of everything, and the shares that were observed beside those of the table.

use std::collections::BTreeMap;

use chaoschain_schemas::society::{Conflict, ConflictKind, DecidedBy, Personality, Strategy};
use chaoschain_schemas::{ChainId, Hash, Height, Timestamp};
use chaoschain_society::Society;
use chaoschain_state::control::kind_spec;
use serde::Serialize;

use super::personality::{Deed, SHARES};

/// What a simulation came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The chain.
    pub chain: ChainId,
    /// The newest block's height.
    pub height: Height,
    /// Block time there.
    pub time: Timestamp,
    /// The hash of its header.
    pub header_hash: Hash,
    /// The state root after it.
    pub state_root: Hash,
    /// The version of the rules in force.
    pub rules: u16,
    /// How many agents have registered.
    pub agents: u64,
    /// How many events stand in the blocks after block 0.
    pub events: u64,
    /// How many of them are of each kind, by the kind's number; kinds that did not occur are there with 0.
    pub kinds: Vec<KindCount>,
    /// What each personality did of its own accord.
    pub personalities: Vec<PersonalityCount>,
    /// What was offered and refused, by code; none of it stands in a block.
    pub refused: Vec<RefusedCount>,
    /// How conflicts were decided.
    pub conflicts: Vec<ConflictCount>,
    /// How many conflicts were opened, evidence included.
    pub conflicts_opened: u64,
    /// How many are open.
    pub conflicts_open: u64,
    /// How many divergences were reported.
    pub divergences: u64,
    /// How many electors' opinions are void in the conflicts that were decided.
    pub opinions_voided: u64,
    /// Deeds that were drawn and still wait for an occasion.
    pub owed: u64,
    /// Deeds that were drawn and given up.
    pub dropped: u64,
}

/// How often a kind occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KindCount {
    /// The kind's number.
    pub kind: u16,
    /// Its name.
    pub name: &'static str,
    /// How often.
    pub count: u64,
    /// How often of these in a scene.
    pub staged: u64,
}

/// What agents of a personality did of their own accord.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PersonalityCount {
    /// The personality.
    pub personality: Personality,
    /// How many events.
    pub events: u64,
    /// By deed.
    pub deeds: Vec<DeedCount>,
}

/// How often a deed was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeedCount {
    /// The kind of transition.
    pub name: &'static str,
    /// How often.
    pub count: u64,
    /// How often in a thousand the table says.
    pub per_mille: u16,
}

impl DeedCount {
    /// Whether `count` of `events` is what the table says, to within five standard deviations of a draw of that many.
    pub fn is_as_the_table_says(&self, events: u64) -> bool {
        let (count, events, share) = (u128::from(self.count), u128::from(events), u128::from(self.per_mille));
        // |count − events·p| ≤ 5·√(events·p·(1 − p)), squared, with p in thousandths.
        let distance = (count * 1000).abs_diff(events * share);
        distance * distance <= 25 * events * share * (1000 - share)
    }
}

/// How often a code was the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedCount {
    /// The code.
    pub code: String,
    /// How often what was to be refused was refused so.
    pub meant: u64,
    /// How often something else was, because of what came before it in the block.
    pub unmeant: u64,
}

/// How often conflicts were decided so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConflictCount {
    /// The kind.
    pub kind: ConflictKind,
    /// How electors were weighed.
    pub strategy: Strategy,
    /// What decided.
    pub by: DecidedBy,
    /// The option that won; `None` when it lapsed.
    pub option: Option<u8>,
    /// How often.
    pub count: u64,
}

/// Counts, while blocks are made.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    kinds: BTreeMap<u16, [u64; 2]>,
    deeds: BTreeMap<(Personality, Deed), u64>,
    refused: BTreeMap<String, [u64; 2]>,
    conflicts: BTreeMap<(ConflictKind, Strategy, DecidedBy, Option<u8>), u64>,
    voided: u64,
    divergences: u64,
}

impl Tally {
    pub(super) fn accepted(&mut self, kind: u16, staged: bool) {
        self.events += 1;
        let [all, in_scenes] = self.kinds.entry(kind).or_default();
        *all += 1;
        *in_scenes += u64::from(staged);
    }

    pub(super) fn done(&mut self, personality: Personality, deed: Deed) {
        *self.deeds.entry((personality, deed)).or_default() += 1;
    }

    pub(super) fn refused(&mut self, code: &str, meant: bool) {
        let [wrongs, others] = self.refused.entry(code.to_owned()).or_default();
        *(if meant { wrongs } else { others }) += 1;
    }

    pub(super) fn decided(&mut self, conflict: &Conflict) {
        let Some(outcome) = &conflict.outcome else {
            self.divergences += u64::from(conflict.kind == ConflictKind::DivergentTransitions);
            return;
        };
        let how = (conflict.kind, conflict.strategy, outcome.by, outcome.option);
        *self.conflicts.entry(how).or_default() += 1;
        self.voided += conflict.electors.iter().filter(|elector| elector.voided).count() as u64;
    }

    pub(super) fn kinds(&self) -> Vec<KindCount> {
        let specs = chaoschain_state::control::KINDS.iter().chain(kinds_of_society());
        let count = |spec: &chaoschain_state::domain::KindSpec| {
            let [count, staged] = self.kinds.get(&spec.kind).copied().unwrap_or_default();
            KindCount { kind: spec.kind, name: spec.name, count, staged }
        };
        specs.map(count).collect()
    }

    pub(super) fn personalities(&self) -> Vec<PersonalityCount> {
        let of = |personality: Personality| {
            let deeds: Vec<_> = SHARES
                .iter()
                .map(|(deed, shares)| DeedCount {
                    name: kind_spec(&Society, deed.kind()).map_or("?", |spec| spec.name),
                    count: self.deeds.get(&(personality, *deed)).copied().unwrap_or_default(),
                    per_mille: shares[personality as usize],
                })
                .collect();
            PersonalityCount { personality, events: deeds.iter().map(|deed| deed.count).sum(), deeds }
        };
        Personality::ALL.iter().copied().map(of).collect()
    }

    pub(super) fn refusals(&self) -> Vec<RefusedCount> {
        let one = |(code, [meant, unmeant]): (&String, &[u64; 2])| RefusedCount {
            code: code.clone(),
            meant: *meant,
            unmeant: *unmeant,
        };
        self.refused.iter().map(one).collect()
    }

    pub(super) fn conflicts(&self) -> Vec<ConflictCount> {
        let one =
            |(&(kind, strategy, by, option), &count)| ConflictCount { kind, strategy, by, option, count };
        self.conflicts.iter().map(one).collect()
    }

    /// How many electors' opinions were void, and how many divergences were reported.
    pub(super) const fn oddities(&self) -> (u64, u64) {
        (self.voided, self.divergences)
    }
}

fn kinds_of_society() -> impl Iterator<Item = &'static chaoschain_state::domain::KindSpec> {
    use chaoschain_state::domain::Domain as _;
    Society::KINDS.iter()
}
