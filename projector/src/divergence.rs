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

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{LogError, ReadLimits};
use chaoschain_schemas::{AccountId, Hash, Header, Height, SealedBlock, Sequence, SignedHeader};
use chaoschain_state::{Change, StateVersion};
use serde::Serialize;

use crate::evidence::sub_tree_name;
use crate::fold::FoldError;
use crate::follower::{closing, passes};
use crate::log_watch::Backoff;
use crate::projection::Projection;
use crate::writer::lock;

/// How many descendants of the block are known at most, by their hashes; whoever attests later ones is not heard.
pub const DESCENDANTS_MAX: usize = 65_536;
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
    /// The weight of the validators that attest this very block or a descendant.
    pub attested_weight: u64,
    /// The weight of all validators.
    pub total_weight: u64,
    /// Whether that is more than two thirds: then this node computed wrong. While it is not, nobody can tell.
    pub this_node_is_faulty: bool,
    /// What to do next.
    pub next: &'static str,
}

/// A divergence, and what is known of the blocks that were built on it.
pub(crate) struct Diverged {
    pub(crate) divergence: Divergence,
    /// The hashes of the block's header and of its descendants'.
    line: Mutex<BTreeSet<Hash>>,
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
        Some(Self { divergence, line: Mutex::new(BTreeSet::from([header_hash])) })
    }

    /// Looks at a later message of the log; whether there is room for more.
    fn take(&self, message: &[u8]) -> bool {
        let mut line = lock(&self.line);
        let Ok(sealed) = SealedBlock::decode(message) else { return true };
        let Ok(header) = Header::decode(sealed.header) else { return true };
        if line.contains(&header.parent) {
            line.insert(Header::hash_of(sealed.header));
        }
        line.len() < DESCENDANTS_MAX
    }

    fn is_of_line(&self, hash: &Hash) -> bool {
        lock(&self.line).contains(hash)
    }
}

/// Reads what was built on the block, until the projection is closed.
pub(crate) async fn trace(projection: &Projection, diverged: &Diverged) {
    tokio::select! {
        () = closing(projection) => {}
        () = read_line(projection, diverged) => {}
    }
}

async fn read_line(projection: &Projection, diverged: &Diverged) {
    let mut next = diverged.divergence.sequence.next();
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = read_on(projection, diverged, &mut next).await else { return };
        if !passes(&error) {
            tracing::warn!(%error, "whether validators attest the block is not known any further");
            return;
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn read_on(projection: &Projection, diverged: &Diverged, next: &mut Sequence) -> Result<(), LogError> {
    let mut subscription = projection.log().follow(*next, READ_TOGETHER).await?;
    loop {
        for entry in subscription.next_batch().await? {
            *next = entry.sequence.next();
            if !diverged.take(&entry.message) {
                return Ok(());
            }
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
        let of_line = |hash: &Hash| diverged.is_of_line(hash);
        let (attested_weight, total_weight) = self.attestations().weight_of(&of_line);
        let this_node_is_faulty = 3 * u128::from(attested_weight) > 2 * u128::from(total_weight);
        Some(DivergenceStatus {
            height: header.height,
            header_hash: *header_hash,
            producer: header.producer,
            sequence: *sequence,
            committed_root: header.state_root,
            computed_root: state.root(),
            sub_tree: *sub_tree,
            sub_tree_name: sub_tree_name(&**self.machine(), *sub_tree),
            attested_weight,
            total_weight,
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
