//! Finality: what validators say of the chain, and what follows from it.
//!
//! A validator attests (height, header hash), and with it every ancestor. [`Attestations`] keeps, for each validator, the
//! newest words it has said, and holds them against this node's own chain:
//!
//! - **Final** is the greatest height that more than two thirds of the weight attest, at that height or above, by
//!   attestations of blocks of this node's chain; the weight is that of the set of validators of that height. It never goes back, and is known again after a restart.
//! - **Highest attested** is the greatest height that more than a third of the weight attests, on whatever chain: among so
//!   much weight is an honest validator, which had folded a block there. The greatest height that *anyone* names would
//!   not do: a single liar could then stop all producers.
//! - Two hashes of one validator at one height are **equivocation**: the proof becomes a file, and the validator counts for
//!   nothing from then on, while the total stays what it is.
//! - When more than two thirds say that this node's chain is not the one, the node stops (`finality_conflict`).
//!
//! # Invariants
//! - What counts was signed with what was the validator's current key in this node's newest state when it was heard.
//! - Everything is bounded: how many words a validator may have at, below and above the head, checkpoints, files.

mod checkpoint;
mod electorate;
mod evidence;
mod follow;
mod history;
mod tracker;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use chaoschain_schemas::{AccountId, ChainId, FinalityProof, Hash, Height, SignedAttestation};
use chaoschain_state::CONTROL;
use serde::Serialize;
use tokio::sync::watch;

pub use checkpoint::CHECKPOINTS_MAX;
pub(crate) use checkpoint::{Checkpoint, FINALITY};
pub(crate) use electorate::Electorate;
use electorate::Electorates;
use history::History;
use tracker::{Place, Reached, Tally, Tracker, Word};
use weights::Share;

use crate::head::Head;
use crate::projection::Projection;
use crate::store::{Store, StoreError};
use crate::writer::{self, lock};

/// The newest block that is final, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FinalPoint {
    /// Its height.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// The weight of the validators that attest it or a descendant of it, as far as was known when it became final.
    pub weight: u64,
    /// The weight of all validators.
    pub total: u64,
}

/// What a validator has said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValidatorWord {
    /// The validator's account.
    pub account: AccountId,
    /// Its weight.
    pub weight: u64,
    /// The height of its newest attestation at or below this node's head, or else of its newest above.
    pub height: Option<Height>,
    /// The header hash that it attests there.
    pub header_hash: Option<Hash>,
    /// Whether that is a block of this node's chain.
    pub on_chain: bool,
    /// Whether it has signed two hashes at one height; then it counts for nothing.
    pub equivocated: bool,
}

/// Figures for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AttestationsStatus {
    /// Attestations that were news, since the start.
    pub heard: u64,
    /// Attestations that were refused since the start, by stable word.
    pub refused: BTreeMap<&'static str, u64>,
    /// Validators that are known to have equivocated.
    pub equivocators: u64,
    /// Whether everything that the board kept has been read.
    pub caught_up: bool,
}

/// What validators attest, and what is final by it. Clones share it.
#[derive(Clone)]
pub struct Attestations(Arc<Shared>);

struct Shared {
    chain: ChainId,
    dir: PathBuf,
    history: History,
    writer: Arc<writer::Shared>,
    known: Mutex<Known>,
    finalized: watch::Sender<Option<FinalPoint>>,
    highest_attested: AtomicU64,
    /// A board is followed, and not everything that it kept has been read.
    behind: AtomicBool,
}

/// What is known of the validators.
struct Known {
    electorates: Electorates,
    /// The root of the sub-tree that the newest electorate was read from.
    control: Hash,
    head: Height,
    tracker: Tracker,
    /// Of the newest final height.
    checkpoint: Option<Checkpoint>,
    heard: u64,
    refused: BTreeMap<&'static str, u64>,
}

impl std::fmt::Debug for Attestations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attestations(finalized {:?})", self.finalized())
    }
}

impl Attestations {
    /// What is stored of a chain whose newest block is `head`.
    pub(crate) fn open(
        store: &Arc<Store>,
        writer: &Arc<writer::Shared>,
        dir: &Path,
        head: &Head,
    ) -> Result<Self, StoreError> {
        let history = History::new(Arc::clone(store), Arc::clone(writer));
        let chain = head.header.chain;
        let mut tracker = Tracker::default();
        for validator in evidence::equivocators(dir, chain) {
            tracker.condemn(validator);
        }
        let mut checkpoint = Checkpoint::newest(store)?;
        if let Some(Checkpoint { point, .. }) = &checkpoint {
            let ours = history.record(point.height)?.map(|record| record.header_hash);
            if point.height > head.height() || ours != Some(point.header_hash) {
                tracing::warn!(height = %point.height, "the stored finality is of another chain; it is not minded");
                checkpoint = None;
            }
        }
        let electorates = Electorates::new(Electorate::of(&head.state), head.height());
        for (attestation, signed) in checkpoint.iter().flat_map(Checkpoint::words) {
            let Some(attestation) = attestation else { continue };
            if electorates.member(&attestation.validator).is_some() {
                let hash_at = |height| hash_at(&history, height);
                let place = Place { head: head.height(), hash_at: &hash_at };
                let (height, header_hash) = (attestation.height, attestation.header_hash);
                let word = Word { height, header_hash, signed: signed.clone() };
                tracker.hear(&place, attestation.validator, word);
            }
        }
        let point = checkpoint.as_ref().map(|checkpoint| checkpoint.point);
        let highest = tracker.tally(&electorates).highest.max(point.map_or(Height(0), |point| point.height));
        let known = Known {
            electorates,
            control: head.state.sub_roots()[usize::from(CONTROL)],
            head: head.height(),
            tracker,
            checkpoint,
            heard: 0,
            refused: BTreeMap::new(),
        };
        Ok(Self(Arc::new(Shared {
            chain,
            dir: dir.to_owned(),
            history,
            writer: Arc::clone(writer),
            known: Mutex::new(known),
            finalized: watch::Sender::new(point),
            highest_attested: AtomicU64::new(highest.0),
            behind: AtomicBool::new(false),
        })))
    }

    /// The newest block of this node's chain that more than two thirds of the validators' weight attest, by itself or
    /// by a descendant. It never goes back.
    pub fn finalized(&self) -> Option<FinalPoint> {
        *self.0.finalized.borrow()
    }

    /// Changes with [`Attestations::finalized`].
    pub fn watch_finalized(&self) -> watch::Receiver<Option<FinalPoint>> {
        self.0.finalized.subscribe()
    }

    /// The greatest height that more than a third of the weight attests, by itself or by a greater one, whether or not
    /// this node has the block: an honest validator has folded it out of the log, unless a third of the weight lies. 0
    /// while nothing is attested.
    pub fn highest_attested(&self) -> Height {
        Height(self.0.highest_attested.load(Ordering::Acquire))
    }

    /// Whether what validators have said so far is known here: everything that the board kept when it was first read.
    /// True where no board is followed.
    pub fn is_caught_up(&self) -> bool {
        !self.0.behind.load(Ordering::Acquire)
    }

    /// The validators that have weight, by ascending account, with what each has said last.
    pub fn validators(&self) -> Vec<ValidatorWord> {
        let known = self.known();
        let word = |(account, member): (&AccountId, &electorate::Member)| {
            let newest = known.tracker.newest_of(account);
            ValidatorWord {
                account: *account,
                weight: member.weight,
                height: newest.map(|(word, _)| word.height),
                header_hash: newest.map(|(word, _)| word.header_hash),
                on_chain: newest.is_some_and(|(_, on_chain)| on_chain),
                equivocated: known.tracker.is_condemned(account),
            }
        };
        known.electorates.newest().members.iter().map(word).collect()
    }

    /// The newest attestation of each validator that is of this node's chain, at or above `height`, by ascending account.
    pub fn covering(&self, height: Height) -> Vec<SignedAttestation> {
        self.known().tracker.covering(height).map(|(_, word)| word.signed.clone()).collect()
    }

    /// Of the set of validators that decides about the block at `height`: the weight of those who have attested a header
    /// that `is_one`, whether or not this node has the block, and the weight of all.
    pub(crate) fn weight_of(&self, height: Height, is_one: &dyn Fn(&Hash) -> bool) -> (u64, u64) {
        let known = self.known();
        known.tracker.weight_of(&known.electorates, height, is_one)
    }

    /// A proof that the block at `height` is final; `None` while it is not. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finality_proof(&self, height: Height) -> Result<Option<FinalityProof>, StoreError> {
        let Some(newest) = self.known().checkpoint.clone() else { return Ok(None) };
        if newest.point.height < height {
            return Ok(None);
        }
        let history = &self.0.history;
        let stored = Checkpoint::at_or_above(history.store(), height)?;
        let stored = stored.filter(|stored| stored.point.height <= newest.point.height);
        stored.unwrap_or(newest).prove(height, history).map(Some)
    }

    /// Figures for metrics.
    pub fn status(&self) -> AttestationsStatus {
        let known = self.known();
        AttestationsStatus {
            heard: known.heard,
            refused: known.refused.clone(),
            equivocators: known.tracker.condemned(),
            caught_up: self.is_caught_up(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.0.known)
    }

    /// Draws the conclusions from what is known; whether more than two thirds are against this node's chain.
    fn conclude(&self, known: &mut Known) -> bool {
        let Tally { finalized, highest, conflict } = known.tracker.tally(&known.electorates);
        let before = known.checkpoint.as_ref().map(|checkpoint| checkpoint.point.height);
        let hash_at = |height| hash_at(&self.0.history, height);
        // What any set makes final is: the newest of them.
        let newer = finalized
            .into_iter()
            .rev()
            .filter(|reached| before.is_none_or(|before| before < reached.height))
            .find_map(|reached| known.checkpoint_at(&reached, &hash_at));
        let newest = newer.as_ref().map(|checkpoint| checkpoint.point.height).or(before);
        // First, so that whoever sees what is final sees no less attested.
        self.0.highest_attested.store(highest.max(newest.unwrap_or(Height(0))).0, Ordering::Release);
        if let Some(checkpoint) = newer {
            self.0.writer.finalized(checkpoint.clone());
            self.0.finalized.send_replace(Some(checkpoint.point));
            known.electorates.forget(checkpoint.point.height);
            known.checkpoint = Some(checkpoint);
        }
        conflict
    }
}

impl Known {
    /// What proves that the block is final; `None` when no proof has room for what does.
    fn checkpoint_at(
        &self,
        reached: &Reached,
        hash_at: &dyn Fn(Height) -> Option<Hash>,
    ) -> Option<Checkpoint> {
        let Reached { span, height, weight } = *reached;
        let electorate = &self.electorates.spans().get(span)?.electorate;
        let covering = self.tracker.covering(height);
        let mut covering: Vec<_> = covering
            .filter_map(|(account, word)| Some((electorate.members.get(account)?.weight, word)))
            .collect();
        let said = covering.iter().find(|(_, word)| word.height == height);
        // The last block of a set may be named by nobody: later words speak for it.
        let header_hash = said.map(|(_, word)| word.header_hash).or_else(|| hash_at(height))?;
        // The weightiest first, so that the fewest make it final.
        covering.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let (total, mut sum) = (electorate.total, 0_u64);
        let mut attestations: Vec<SignedAttestation> = Vec::new();
        let mut signed = BTreeSet::new();
        for (weight, word) in covering {
            if Share::TwoThirds.is_exceeded(sum, total) {
                break;
            }
            // A proof has one word of a key and a height; of two validators with one key the heavier's.
            if signed.insert((word.height, word.signed.key)) {
                sum = sum.saturating_add(weight);
                attestations.push(word.signed.clone());
            }
        }
        if !Share::TwoThirds.is_exceeded(sum, total) {
            return None;
        }
        let point = FinalPoint { height, header_hash, weight, total };
        Some(Checkpoint { point, attestations })
    }
}

/// The header hash at a height; `None` above the head, and while the store cannot be read.
fn hash_at(history: &History, height: Height) -> Option<Hash> {
    match history.record(height) {
        Ok(record) => record.map(|record| record.header_hash),
        Err(error) => {
            tracing::debug!(%error, "a block's record cannot be read now");
            None
        }
    }
}

impl Projection {
    /// What validators attest, and what is final by it.
    pub fn attestations(&self) -> &Attestations {
        &self.inner().attestations
    }

    /// The newest head at hand that is final; `None` when none is, or it is retained no longer.
    pub fn finalized_head(&self) -> Option<Arc<Head>> {
        self.head_at(self.attestations().finalized()?.height)
    }

    /// Proves to whoever believes `under` that the block at `height`, below it, is an ancestor: the pruned tree of
    /// `under`'s blocks that opens `height`. Empty when it is the same height. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError`], also for a height above `under`.
    pub fn prove_ancestor(&self, height: Height, under: &Head) -> Result<Vec<u8>, StoreError> {
        self.attestations().0.history.prove_ancestor(height, under.height())
    }
}
