//! The block at which this node's fold and its producer's disagree: what this node computed is kept beside what the header
//! says, and the words of validators are held against that very block.
//!
//! Nobody can tell alone which of two folds is wrong. More than two thirds of the weight can: where they attest the block,
//! this node is the faulty one. Validators attest the newest block they have, so most words are of descendants; which headers
//! those are is read from the log, by their parents' hashes alone.
//!
//! # Invariants
//! - One version is kept, that of the first such block; the projection stops there.
//! - What counts as a descendant names its parent by hash, so whoever attests it attests the block as well, whoever sealed it.
//! - A verdict is final: more than two thirds that were seen once are not forgotten with the words or hashes they were
//!   counted by.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{LogError, ReadLimits};
use chaoschain_schemas::control::is_quorum;
use chaoschain_schemas::{AccountId, Hash, Header, Height, SealedBlock, Sequence, SignedHeader};
use chaoschain_state::{Change, StateVersion};
use serde::Serialize;

use crate::evidence::sub_tree_name;
use crate::fold::FoldError;
use crate::follower::{closing, passes};
use crate::log_watch::Backoff;
use crate::projection::Projection;
use crate::writer::lock;

/// How many descendants of the block are known at most, by their hashes; the newest stay, for they are what is attested next.
pub const DESCENDANTS_MAX: usize = 65_536;
/// How often the words of validators are weighed, so that a verdict is noticed though nobody asks.
const WEIGHED_EVERY: Duration = Duration::from_secs(1);
/// How many messages are read together to find them.
const READ_TOGETHER: ReadLimits = ReadLimits { messages: 256, bytes: 8 << 20 };

/// A block of which everything holds but the roots.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// Its header.
    pub header: Header,
    /// The header's hash.
    pub header_hash: Hash,
    /// The header's bytes with the producer's signature.
    pub signed: SignedHeader,
    /// Where it is in the log.
    pub sequence: Sequence,
    /// The number of the first sub-tree whose root differs; that of sub-trees where only the state root does.
    pub sub_tree: usize,
    /// The state that this node computed. It is of no block; its root is not the header's.
    pub state: Arc<StateVersion>,
    /// What the block changes by this node's fold.
    pub changes: Arc<Vec<Change>>,
}

/// A divergence for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DivergenceStatus {
    /// The block's height; the node stands at the one before.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// Who sealed it.
    pub producer: AccountId,
    /// Where it is in the log.
    pub sequence: Sequence,
    /// The state root that the header commits to.
    pub committed_root: Hash,
    /// The one that this node computed.
    pub computed_root: Hash,
    /// The number of the first sub-tree whose root differs.
    pub sub_tree: usize,
    /// Its name.
    pub sub_tree_name: &'static str,
    /// The weight of the validators that attest this very block or a descendant; once this node is known to be faulty, that
    /// which showed it.
    pub attested_weight: u64,
    /// The weight of all validators.
    pub total_weight: u64,
    /// Whether that is, or once was, more than two thirds: then this node computed wrong. While it is not, nobody can tell.
    pub this_node_is_faulty: bool,
    /// What to do next.
    pub next: &'static str,
}

/// A divergence, and what is known of the blocks that were built on it.
pub(crate) struct Diverged {
    pub(crate) divergence: Divergence,
    line: Mutex<Line>,
    verdict: Verdict,
}

/// The hashes of the block's header and of the newest of its descendants'.
struct Line {
    block: Hash,
    known: BTreeSet<Hash>,
    /// The descendants, in the order in which they came.
    order: VecDeque<Hash>,
    descendants_max: usize,
}

impl Line {
    fn new(block: Hash, descendants_max: usize) -> Self {
        Self { block, known: BTreeSet::new(), order: VecDeque::new(), descendants_max }
    }

    fn contains(&self, hash: &Hash) -> bool {
        *hash == self.block || self.known.contains(hash)
    }

    /// Takes in a header that names its parent, if that is of the line.
    fn add(&mut self, parent: &Hash, hash: Hash) {
        if !self.contains(parent) || self.contains(&hash) {
            return;
        }
        if self.order.len() == self.descendants_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(hash);
        self.known.insert(hash);
    }
}

/// The weight that attests the block, and that of all validators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weighed {
    attested: u64,
    total: u64,
}

impl Weighed {
    fn decides(self) -> bool {
        is_quorum(self.attested, self.total)
    }
}

/// The first weight that decided, which stays.
#[derive(Default)]
struct Verdict(OnceLock<Weighed>);

impl Verdict {
    fn with(&self, weigh: impl FnOnce() -> Weighed) -> Weighed {
        if let Some(decided) = self.0.get() {
            return *decided;
        }
        let weighed = weigh();
        if weighed.decides() { *self.0.get_or_init(|| weighed) } else { weighed }
    }
}

impl Diverged {
    /// What is kept of a fold that stopped with `error` at `block`, if that is why.
    pub(crate) fn of(error: &FoldError, block: &VerifiedBlock, sequence: Sequence) -> Option<Self> {
        let FoldError::Diverged { header, sub_tree, state, changes, .. } = error else { return None };
        let header_hash = block.header_hash();
        let divergence = Divergence {
            header: Header::clone(header),
            header_hash,
            signed: block.signed_header(),
            sequence,
            sub_tree: *sub_tree,
            state: Arc::clone(state),
            changes: Arc::clone(changes),
        };
        let line = Mutex::new(Line::new(header_hash, DESCENDANTS_MAX));
        Some(Self { divergence, line, verdict: Verdict::default() })
    }

    /// Looks at a later message of the log.
    fn take(&self, message: &[u8]) {
        let Ok(sealed) = SealedBlock::decode(message) else { return };
        let Ok(header) = Header::decode(sealed.header) else { return };
        lock(&self.line).add(&header.parent, Header::hash_of(sealed.header));
    }

    /// What validators say of the block, as far as it is known.
    fn weighed(&self, projection: &Projection) -> Weighed {
        self.verdict.with(|| {
            let of_line = |hash: &Hash| lock(&self.line).contains(hash);
            let height = self.divergence.header.height;
            let (attested, total) = projection.attestations().weight_of(height, &of_line);
            Weighed { attested, total }
        })
    }
}

/// Reads what was built on the block, until it is known who is wrong or the projection is closed.
pub(crate) async fn trace(projection: &Projection, diverged: &Diverged) {
    let reading = async {
        read_line(projection, diverged).await;
        // What was read goes on to be attested.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = closing(projection) => {}
        () = decided(projection, diverged) => {}
        () = reading => {}
    }
}

/// Resolves when validators have said who is wrong.
async fn decided(projection: &Projection, diverged: &Diverged) {
    while !diverged.weighed(projection).decides() {
        tokio::time::sleep(WEIGHED_EVERY).await;
    }
    tracing::error!(
        "validators with more than two thirds of the weight attest the block: this node is the faulty one"
    );
}

async fn read_line(projection: &Projection, diverged: &Diverged) {
    let mut next = diverged.divergence.sequence.next();
    let mut backoff = Backoff::default();
    loop {
        let error = read_on(projection, diverged, &mut next).await;
        if !passes(&error) {
            tracing::warn!(%error, "whether validators attest the block is not known any further");
            return;
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Reads until it cannot, and why.
async fn read_on(projection: &Projection, diverged: &Diverged, next: &mut Sequence) -> LogError {
    let mut subscription = match projection.log().follow(*next, READ_TOGETHER).await {
        Ok(subscription) => subscription,
        Err(error) => return error,
    };
    loop {
        let entries = match subscription.next_batch().await {
            Ok(entries) => entries,
            Err(error) => return error,
        };
        for entry in entries {
            *next = entry.sequence.next();
            diverged.take(&entry.message);
        }
    }
}

impl Projection {
    /// The block at which this node's fold gave another root than the header says, if it stopped there, with the state it
    /// computed.
    pub fn divergence(&self) -> Option<&Divergence> {
        self.inner().diverged.get().map(|diverged| &diverged.divergence)
    }

    /// The same for people, with what validators say of the block by now.
    pub fn divergence_status(&self) -> Option<DivergenceStatus> {
        let diverged = self.inner().diverged.get()?;
        let Divergence { header, header_hash, sequence, sub_tree, state, .. } = &diverged.divergence;
        let weighed = diverged.weighed(self);
        let this_node_is_faulty = weighed.decides();
        Some(DivergenceStatus {
            height: header.height,
            header_hash: *header_hash,
            producer: header.producer,
            sequence: *sequence,
            committed_root: header.state_root,
            computed_root: state.root(),
            sub_tree: *sub_tree,
            sub_tree_name: sub_tree_name(&**self.machine(), *sub_tree),
            attested_weight: weighed.attested,
            total_weight: weighed.total,
            this_node_is_faulty,
            next: if this_node_is_faulty {
                "validators with more than two thirds of the weight attest this block, so this node is the faulty one: \
                 `chaoschain diff URL` with another node's address names the record; then stop this node, put the right \
                 program in place and run `chaoschain resync`"
            } else {
                "validators with more than two thirds of the weight have not attested this block, as far as is known here, so \
                 either may be wrong: `chaoschain diff URL` with another node's address names the record"
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> Hash {
        Hash::new([number; 32])
    }

    /// A chain that went on for long would otherwise outgrow what is known of it, and nobody's words would count any more.
    #[test]
    fn the_newest_of_the_line_stay() {
        let mut line = Line::new(hash(0), 3);
        for number in 1..=9 {
            line.add(&hash(number - 1), hash(number));
            // Once more, and one that is of another line.
            line.add(&hash(number - 1), hash(number));
            line.add(&hash(200), hash(100 + number));
        }
        let known = |number: &u8| line.contains(&hash(*number));
        assert_eq!((0..=120).filter(known).collect::<Vec<_>>(), [0, 7, 8, 9]);
        // Also what is built on the very block late.
        line.add(&hash(0), hash(50));
        assert!(line.contains(&hash(50)) && line.contains(&hash(0)) && !line.contains(&hash(7)));
    }

    /// Words are forgotten, the blocks that they are of too; what they have shown is not.
    #[test]
    fn a_verdict_stays() {
        let verdict = Verdict::default();
        let weighed = |attested| Weighed { attested, total: 3 };
        assert!(!verdict.with(|| weighed(2)).decides());
        assert_eq!(verdict.with(|| weighed(1)), weighed(1));
        assert!(verdict.with(|| weighed(3)).decides());
        assert_eq!(verdict.with(|| weighed(0)), weighed(3));
    }
}
