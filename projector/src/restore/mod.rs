//! Putting lost blocks back into a log, from a node that has them.
//!
//! [`plan`] compares a node's blocks with a log and changes nothing; [`apply`] appends what the plan names. Both may be
//! broken off at any time and done again: what is in the log already is not appended twice.
//!
//! # What is checked
//! Every block that is to be put back is read and verified whole: form, limits and all signatures, and that each is the
//! parent of the next. That the blocks are acceptable to the fold is not checked here; the node that archived them had
//! folded them, and every node that reads them folds them again.
//!
//! # Errors
//! Nothing is ever put on top of another history: a log that has a producer's block which differs from ours, or that goes
//! further than we do, is refused.

mod source;
mod survey;

use std::collections::VecDeque;

use bytes::Bytes;
use chaoschain_events::block::{BlockError, VerifiedBlock, verify_blocks};
use chaoschain_events::log::{AppendError, EventLog, LogError, ReadLimits};
use chaoschain_schemas::{ChainId, Hash, Height, Sequence, SignedHeader};
use futures::future::BoxFuture;
use serde::Serialize;

pub use source::BlockSource;
pub use survey::{LogSurvey, NewestBlock, SURVEY_MESSAGES_MAX, survey};

use crate::anchor::{History, Seen, Walk};
use crate::store::StoreError;
use source::Blocks;

/// How many blocks, and how many bytes of them, may be under way to the log.
const IN_FLIGHT_BLOCKS: usize = 64;
const IN_FLIGHT_BYTES: usize = 16 << 20;
/// How many messages are read at a time.
const READ_LIMITS: ReadLimits = ReadLimits { messages: 256, bytes: 8 << 20 };
/// Why a log cannot be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The log, or the files of this node's blocks.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is stored of this node's blocks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This node has no blocks.
    #[error(
        "this node has no blocks of its own: restore from one that has an archive, or from a log's own directory"
    )]
    Empty,
    /// A block that is to be put back is not here.
    #[error("block {height} is not in this node's archive, which was begun later: restore from another node")]
    Missing {
        /// Its height.
        height: Height,
    },
    /// This node's blocks are of another chain.
    #[error("this node has chain {ours}, the log begins with chain {theirs}")]
    ChainWrong {
        /// This node's.
        ours: ChainId,
        /// The log's.
        theirs: ChainId,
    },
    /// A block of this node does not hold.
    #[error("block {height} of this node does not hold: {reason}; restore from another node")]
    Invalid {
        /// Its height.
        height: Height,
        /// What is wrong.
        reason: String,
    },
    /// The log has another block than this node.
    #[error(
        "the log has block {theirs} at height {height}, this node has {ours}: these are two histories, and one does not go \
         on top of the other"
    )]
    Differs {
        /// The first height that differs.
        height: Height,
        /// This node's header hash.
        ours: Hash,
        /// The log's.
        theirs: Hash,
        /// Both headers: this node's and the log's.
        headers: Box<(SignedHeader, SignedHeader)>,
    },
    /// The log has more than this node.
    #[error("the log has height {log_height}, this node ends at {height}: there is nothing to put back")]
    Ahead {
        /// The log's newest height.
        log_height: Height,
        /// This node's newest height.
        height: Height,
    },
    /// A block is too long for the log.
    #[error("block {height} has {bytes} bytes, the log takes {max}: raise its limit")]
    TooLarge {
        /// Its height.
        height: Height,
        /// How long it is.
        bytes: usize,
        /// How long a message may be.
        max: usize,
    },
    /// Somebody else appends to the log.
    #[error("somebody else appends to the log ({tip}): stop the command services, then run this again")]
    Raced {
        /// The log's tip.
        tip: Sequence,
    },
    /// An append failed; what was put back until then stays.
    #[error("block {height} could not be put back: {source}; the same command goes on from there")]
    Append {
        /// Its height.
        height: Height,
        /// Why.
        source: AppendError,
    },
}

impl RestoreError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Log(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Empty => "restore_empty",
            Self::Missing { .. } => "restore_block_missing",
            Self::ChainWrong { .. } => "chain_wrong",
            Self::Invalid { .. } => "restore_block_invalid",
            Self::Differs { .. } => "restore_differs",
            Self::Ahead { .. } => "restore_ahead",
            Self::TooLarge { .. } => "log_message_too_large",
            Self::Raced { .. } => "restore_raced",
            Self::Append { source, .. } => source.code(),
        }
    }
}

/// A block in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedBlock {
    /// Its height.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
}

/// What a restore would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestorePlan {
    /// The chain.
    pub chain: ChainId,
    /// Which log.
    pub log: String,
    /// The first message it has.
    pub log_first: Sequence,
    /// Its last message; blocks are put behind it.
    pub log_tip: Sequence,
    /// The newest height of this chain that it has; `None` if it has none.
    pub log_height: Option<Height>,
    /// The newest height that this node has.
    pub node_height: Height,
    /// How many blocks are to be put back.
    pub blocks: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The first one.
    pub from: Option<PlannedBlock>,
    /// The last one.
    pub to: Option<PlannedBlock>,
}

/// Compares a node's blocks with a log, verifies those that are missing there, and says what is to be put back.
/// `progress` is told how many messages and blocks were looked at.
///
/// # Errors
/// [`RestoreError`], among them everything that speaks against putting anything back.
pub async fn plan(
    source: &BlockSource,
    log: &dyn EventLog,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<RestorePlan, RestoreError> {
    let (first, tip) = (log.first().await?, log.tip().await?);
    let mut walk = Walk::new(source.chain(), source, first);
    let (mut next, mut done) = (first, 0);
    while next <= tip {
        let entries = log.read(next, READ_LIMITS).await?;
        let Some(last) = entries.last() else { break };
        next = last.sequence.next();
        for entry in &entries {
            walk.look(entry)?;
        }
        done += entries.len() as u64;
        progress(done);
    }
    let log_height = walk.newest.map(|(height, _)| height);
    if let (None, Some(theirs)) = (log_height, walk.stranger) {
        return Err(RestoreError::ChainWrong { ours: source.chain(), theirs });
    }
    if let Some(rival) = walk.rival {
        let ours = source.seen(rival.height).await?;
        return Err(RestoreError::Differs {
            height: rival.height,
            ours: ours.hash,
            theirs: rival.header_hash,
            headers: Box::new((ours.signed, rival.signed)),
        });
    }
    if let Some(log_height) = walk.ahead {
        return Err(RestoreError::Ahead { log_height, height: source.newest() });
    }
    let mut plan = RestorePlan {
        chain: source.chain(),
        log: log.description(),
        log_first: first,
        log_tip: tip,
        log_height,
        node_height: source.newest(),
        blocks: 0,
        bytes: 0,
        from: None,
        to: None,
    };
    let max = log.message_bytes_max();
    let start = log_height.map_or(Height::GENESIS, Height::next);
    let mut parent = match log_height {
        Some(height) => History::block(source, height)?.map(|known| known.header_hash),
        None => Some(Hash::ZERO),
    };
    let mut blocks = Blocks::new(source, start);
    while let Some(batch) = blocks.next_batch().await? {
        let messages: Vec<Bytes> = batch.iter().map(|(_, message)| message.clone()).collect();
        for ((height, message), verified) in batch.iter().zip(verify_blocks(&messages)) {
            let (height, bytes) = (*height, message.len());
            if bytes == 0 {
                return Err(RestoreError::Missing { height });
            }
            if bytes > max {
                return Err(RestoreError::TooLarge { height, bytes, max });
            }
            let header_hash = check(source, height, parent, verified)?;
            parent = Some(header_hash);
            let planned = PlannedBlock { height, header_hash };
            plan.from.get_or_insert(planned);
            plan.to = Some(planned);
            plan.blocks += 1;
            plan.bytes += bytes as u64;
        }
        progress(done + plan.blocks);
    }
    Ok(plan)
}

/// Checks that a block is the next one; its header's hash.
fn check(
    source: &BlockSource,
    height: Height,
    parent: Option<Hash>,
    block: Result<VerifiedBlock, BlockError>,
) -> Result<Hash, RestoreError> {
    let invalid = |reason: String| Err(RestoreError::Invalid { height, reason });
    let block = match block {
        Ok(block) => block,
        Err(error) => return invalid(error.to_string()),
    };
    let header = block.header();
    if header.chain != source.chain() || header.height != height {
        return invalid(format!("it says it is block {} of chain {}", header.height, header.chain));
    }
    if parent.is_some_and(|parent| parent != header.parent) {
        return invalid(format!("its parent is {}, the block before is another", header.parent));
    }
    let stored = History::block(source, height)?.map(|known| known.header_hash);
    if stored.is_some_and(|stored| stored != block.header_hash()) {
        return invalid(format!("it is {}, folded was another", block.header_hash()));
    }
    Ok(block.header_hash())
}

/// Appends what `plan` names to the log. `progress` is told how many blocks are durable there.
///
/// Dropping the future stops it; what was put back stays, and a new plan goes on from there. Nobody else should append
/// meanwhile: a log compares numbers and not parents, so of blocks under way behind one that lost its place some may land.
/// Nodes skip those, and a new plan puts them back in order.
///
/// # Errors
/// [`RestoreError`].
pub async fn apply(
    source: &BlockSource,
    log: &dyn EventLog,
    plan: &RestorePlan,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), RestoreError> {
    let (Some(from), Some(to)) = (plan.from, plan.to) else { return Ok(()) };
    let mut tip = plan.log_tip;
    let mut pipeline = Pipeline::default();
    let mut blocks = Blocks::new(source, from.height);
    while let Some(batch) = blocks.next_batch().await? {
        for (height, message) in batch {
            if height > to.height {
                break;
            }
            while pipeline.is_full() {
                pipeline.settle(progress).await?;
            }
            let (bytes, answer) = (message.len(), log.append(tip, message));
            pipeline.under_way.push_back((height, bytes, answer));
            pipeline.bytes += bytes;
            tip = tip.next();
            if height == from.height {
                // Alone: if somebody else has appended since, the next one would find the tip that it expects.
                pipeline.settle(progress).await?;
            }
        }
    }
    while !pipeline.under_way.is_empty() {
        pipeline.settle(progress).await?;
    }
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    let last = log.read(tip, limits).await?.into_iter().next().and_then(|entry| Seen::read(&entry.message));
    if last.map(|seen| seen.hash) != Some(to.header_hash) {
        return Err(RestoreError::Raced { tip: log.tip().await? });
    }
    Ok(())
}

type Append = BoxFuture<'static, Result<Sequence, AppendError>>;

/// Appends under way, oldest first.
#[derive(Default)]
struct Pipeline {
    under_way: VecDeque<(Height, usize, Append)>,
    bytes: usize,
    done: u64,
}

impl Pipeline {
    fn is_full(&self) -> bool {
        self.under_way.len() >= IN_FLIGHT_BLOCKS || self.bytes >= IN_FLIGHT_BYTES
    }

    /// Waits for the oldest append. After a failure it also waits for the others, which fail with it.
    async fn settle(&mut self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<(), RestoreError> {
        let Some((height, bytes, append)) = self.under_way.pop_front() else { return Ok(()) };
        self.bytes -= bytes;
        match append.await {
            Ok(_) => {
                self.done += 1;
                progress(self.done);
                Ok(())
            }
            Err(source) => {
                for (_, _, append) in self.under_way.drain(..) {
                    drop(append.await);
                }
                Err(match source {
                    AppendError::TipMoved { tip } => RestoreError::Raced { tip },
                    source => RestoreError::Append { height, source },
                })
            }
        }
    }
}
