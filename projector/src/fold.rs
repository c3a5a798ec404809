//! The fold: blocks in, states out.
//!
//! [`Fold`] owns the one mutable state of a node. It takes blocks that others sealed ([`Fold::fold`]) and makes blocks of
//! its own ([`Fold::propose`]), which stay speculative until the log has them ([`Fold::confirm`]).
//!
//! # Invariants
//! - The head only ever moves to a block whose parent it is and whose roots this fold has computed itself.
//! - Speculative blocks form one line on top of the head; they are confirmed from the front or dropped together.
//! - What is skipped is skipped by every node: the decision reads nothing but the head and the message.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::block::{self, BlockError, BlockFault, VerifiedBlock};
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, HEADER_BYTES_MAX};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, ChainId, EventAddress, HEADER_VERSION, Hash, Header, PublicKey, Sequence,
    Timestamp, TransitionId,
};
use chaoschain_state::control::{self, SignedTransition};
use chaoschain_state::domain::{BlockContext, Machine};
use chaoschain_state::succession::{self, Successor, Unfit};
use chaoschain_state::{Change, Changes, Fault, Forest, Rejection, StateVersion};

use crate::format::{newer_body, newer_header};
use crate::head::Head;
use crate::skip::{Skip, SkipClass};

/// What surrounds a block's envelopes in a message, at most, bytes.
const BLOCK_OVERHEAD_BYTES: usize = HEADER_BYTES_MAX + 256;
/// What an envelope costs in a message besides its own bytes.
const EVENT_OVERHEAD_BYTES: usize = 5;

/// The state of a node and the rules that move it.
pub struct Fold {
    machine: Arc<dyn Machine>,
    forest: Forest,
    head: Arc<Head>,
    speculative: VecDeque<Proposed>,
}

/// A block that has become part of this node's history.
#[derive(Clone, Debug)]
pub struct Folded {
    /// The chain after it.
    pub head: Arc<Head>,
    /// What it changed, in order of key.
    pub changes: Arc<Vec<Change>>,
    /// The ids of its transitions, by index.
    pub ids: Arc<Vec<TransitionId>>,
    /// The block as it stands in the log.
    pub message: Bytes,
}

/// Why a message did not move the head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The message is not the next valid block; every node skips it.
    #[error("{0}")]
    Skip(Skip),
    /// All of the block holds but the roots: either its producer's fold or this one is wrong.
    #[error(
        "block {} of {} commits to state root {}, this node's fold gives {computed}: one of the two is wrong",
        .header.height, .header.producer, .header.state_root
    )]
    Diverged {
        /// The block's header.
        header: Box<Header>,
        /// The root this node computes.
        computed: Hash,
        /// The number of the first sub-tree whose root differs.
        sub_tree: usize,
        /// The state this node computes, for finding the records that differ.
        state: Arc<StateVersion>,
        /// What the block changes by this node's fold.
        changes: Arc<Vec<Change>>,
    },
    /// The block needs rules that this build does not have.
    #[error(
        "rules version {wanted} is in force from here on, this build knows up to {known}: use a newer one"
    )]
    RulesUnknown {
        /// The version in force.
        wanted: u16,
        /// The newest one known here.
        known: u16,
    },
    /// A producer's block is written in a format that this build does not have.
    #[error("a producer's block has {what} format {found}, this build reads up to {known}: use a newer one")]
    FormatUnknown {
        /// Whose format: a header's or a body's.
        what: &'static str,
        /// The block's.
        found: u64,
        /// The newest one known here.
        known: u16,
    },
    /// Nobody would take a block of this producer.
    #[error(
        "{0} is not a producer under the key this node seals with: was it rotated? start with the current key"
    )]
    NotProducer(AccountId),
    /// This node's own state cannot be used.
    #[error("this node's state is damaged: {0}")]
    State(String),
}

impl FoldError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Skip(skip) => skip.code,
            Self::Diverged { .. } => "state_diverged",
            Self::RulesUnknown { .. } => "rules_unknown",
            Self::FormatUnknown { .. } => "format_unknown",
            Self::NotProducer(_) => "producer_unauthorised",
            Self::State(_) => "state_damaged",
        }
    }
}

impl From<Fault> for FoldError {
    fn from(fault: Fault) -> Self {
        Self::State(fault.to_string())
    }
}

/// Who seals this node's blocks.
#[derive(Clone, Debug)]
pub struct Producer {
    /// The account.
    pub account: AccountId,
    /// Its key.
    pub key: Arc<SecretKey>,
}

/// A sealed block that the log does not have yet.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The block.
    pub block: Arc<VerifiedBlock>,
    folded: Folded,
}

impl Proposed {
    /// The message to append.
    pub fn message(&self) -> Bytes {
        self.block.message().clone()
    }

    /// The hash of its header.
    pub fn header_hash(&self) -> Hash {
        self.folded.head.hash
    }

    /// The ids of its transitions, by index.
    pub fn ids(&self) -> &Arc<Vec<TransitionId>> {
        &self.folded.ids
    }
}

/// What became of a candidate for a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands in the block at this index.
    Accepted(u32),
    /// The rules refuse it now.
    Rejected(Rejection),
    /// The block was full before it came up; offer it again.
    NoRoom,
}

/// How large a proposed block may get.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimits {
    /// The most events, at most [`BLOCK_EVENTS_MAX`].
    pub events: usize,
    /// The most bytes of the whole message, at most [`BLOCK_BYTES_MAX`].
    pub bytes: usize,
}

impl Default for BlockLimits {
    fn default() -> Self {
        Self { events: BLOCK_EVENTS_MAX, bytes: BLOCK_BYTES_MAX }
    }
}

impl Fold {
    /// A fold that stands at `head`, whose state is `forest`'s newest version.
    pub fn new(machine: Arc<dyn Machine>, forest: Forest, head: Arc<Head>) -> Self {
        Self { machine, forest, head, speculative: VecDeque::new() }
    }

    /// The newest block that the log has.
    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// The newest block of all, confirmed or speculative: what the next proposal stands on.
    pub fn tip(&self) -> &Arc<Head> {
        self.speculative.back().map_or(&self.head, |newest| &newest.folded.head)
    }

    /// The rules.
    pub fn machine(&self) -> &Arc<dyn Machine> {
        &self.machine
    }

    /// How many blocks are proposed and not yet confirmed.
    pub fn speculative_len(&self) -> usize {
        self.speculative.len()
    }

    fn chain(&self) -> ChainId {
        self.head.header.chain
    }

    /// Takes in the message at `sequence`. A block of our own that is in front of the speculative ones is adopted as it
    /// is; any other block that becomes history drops them.
    ///
    /// # Errors
    /// [`FoldError`]; then the head has not moved, and speculative blocks are kept when the message was skipped.
    pub fn fold(&mut self, sequence: Sequence, block: &VerifiedBlock) -> Result<Folded, FoldError> {
        // By the whole message: a header says nothing of the key that signed it, and others may sign ours.
        if self.speculative.front().is_some_and(|own| own.block.message() == block.message())
            && let Some(folded) = self.confirm(sequence)
        {
            return Ok(folded);
        }
        let changes = changes_of(&self.head, &*self.machine, block)?;
        self.drop_speculative();
        self.adopt(sequence, block, changes)
    }

    /// Adopts the oldest speculative block, which the log has at `sequence`.
    pub fn confirm(&mut self, sequence: Sequence) -> Option<Folded> {
        let Proposed { folded, .. } = self.speculative.pop_front()?;
        let head = Arc::new(Head { sequence, ..Head::clone(&folded.head) });
        self.head = Arc::clone(&head);
        Some(Folded { head, ..folded })
    }

    /// [`Fold::confirm`], if the oldest speculative block has this header hash.
    pub fn confirm_if(&mut self, header_hash: &Hash, sequence: Sequence) -> Option<Folded> {
        let ours = self.speculative.front().is_some_and(|own| own.header_hash() == *header_hash);
        if ours { self.confirm(sequence) } else { None }
    }

    /// Forgets every speculative block.
    pub fn drop_speculative(&mut self) {
        if !self.speculative.is_empty() {
            self.speculative.clear();
            self.forest.revert_to(&self.head.state);
        }
    }

    /// What becomes of a message that is no sound block: it is skipped, unless a producer has sealed it in a format, or
    /// under rules, that only a newer program knows. Skipping that would let this node go on where others go another way.
    pub fn refusal(&self, error: &BlockError, message: &[u8]) -> FoldError {
        match (&error.fault, error.sealed_by.as_deref()) {
            (BlockFault::Header(_), _) => {
                if let Some((found, key)) = newer_header(message)
                    && self.is_any_producers(&key)
                {
                    return FoldError::FormatUnknown { what: "header", found, known: HEADER_VERSION };
                }
            }
            (BlockFault::Events(_), Some((header, key))) => {
                let fits = succession::check_header(&*self.machine, self.head.as_parent(), header, key);
                // Newer rules may bring newer bodies, and which of the two is not known makes no difference.
                if let Err(unknown @ Unfit::RulesUnknown { .. }) = fits {
                    return unable(unknown);
                }
                if fits.is_ok()
                    && let Some(found) = newer_body(message, header.events_root)
                {
                    return FoldError::FormatUnknown { what: "body", found, known: BODY_VERSION };
                }
            }
            _ => {}
        }
        FoldError::Skip(self.skip_of(error))
    }

    /// Whether some producer's current key is `key`. Looks at every account, as a header that cannot be read does not
    /// say whose it is.
    fn is_any_producers(&self, key: &PublicKey) -> bool {
        let first = AccountId::from_first_key(key);
        let sealer = self.head.header.producer;
        if [first, sealer].into_iter().any(|account| is_producer(&self.head, account, key)) {
            return true;
        }
        control::producers(&self.head.state).any(|(_, account)| account.key == *key)
    }

    /// Why a message whose signatures do not hold is skipped.
    fn skip_of(&self, error: &BlockError) -> Skip {
        let sealed_by = error.sealed_by.as_deref();
        let producers = sealed_by.is_some_and(|(header, key)| {
            header.chain == self.chain() && is_producer(&self.head, header.producer, key)
        });
        Skip {
            class: if producers { SkipClass::Invalid } else { SkipClass::Foreign },
            code: error.code(),
            message: error.to_string(),
            producer: sealed_by.map(|(header, _)| header.producer),
        }
    }

    /// Applies what the block changes and compares the roots.
    fn adopt(
        &mut self,
        sequence: Sequence,
        block: &VerifiedBlock,
        changes: Vec<Change>,
    ) -> Result<Folded, FoldError> {
        let header = block.header();
        let before = Arc::clone(&self.head.state);
        let state = self
            .forest
            .apply(&changes, Some(header.parent))
            .map_err(|error| FoldError::State(error.to_string()))?;
        if state.root() != header.state_root || state.sub_roots() != header.sub_roots {
            let differs = state.sub_roots().iter().zip(&header.sub_roots).position(|(a, b)| a != b);
            let computed = state.root();
            self.forest.revert_to(&before);
            let sub_tree = differs.unwrap_or(header.sub_roots.len());
            let (header, changes) = (Box::new(header.clone()), Arc::new(changes));
            return Err(FoldError::Diverged { header, computed, sub_tree, state, changes });
        }
        let head = Arc::new(Head {
            header: header.clone(),
            hash: block.header_hash(),
            signed: block.signed_header(),
            sequence,
            state,
        });
        self.head = Arc::clone(&head);
        let ids = block.events().iter().map(VerifiedEnvelope::id).collect();
        Ok(Folded { head, changes: Arc::new(changes), ids: Arc::new(ids), message: block.message().clone() })
    }

    /// What the rules of the next block would know if it were sealed at `now`.
    ///
    /// Block time is `now`, held between the parent's time and the furthest step from it.
    ///
    /// # Errors
    /// [`FoldError`] when this node's state or rules do not allow a next block.
    pub fn next_context(&self, now: Timestamp) -> Result<BlockContext, FoldError> {
        next_context(self.tip(), &*self.machine, now)
    }

    /// Seals a block of the acceptable among `candidates` on top of [`Fold::tip`].
    ///
    /// Verdicts come in the order of the candidates. No block is made of no events unless `empty` asks for one.
    ///
    /// # Errors
    /// [`FoldError`] when this node cannot make a block at all.
    pub fn propose(
        &mut self,
        producer: &Producer,
        now: Timestamp,
        limits: BlockLimits,
        candidates: &[VerifiedEnvelope],
        empty: bool,
    ) -> Result<(Option<Proposed>, Vec<Verdict>), FoldError> {
        let context = self.next_context(now)?;
        let tip = Arc::clone(self.tip());
        if !is_producer(&tip, producer.account, &producer.key.public()) {
            return Err(FoldError::NotProducer(producer.account));
        }
        let mut changes = begin(&*self.machine, &context, &tip)?;
        let mut room = limits.bytes.min(BLOCK_BYTES_MAX).saturating_sub(BLOCK_OVERHEAD_BYTES);
        let events_max = limits.events.min(BLOCK_EVENTS_MAX);
        let mut accepted: Vec<VerifiedEnvelope> = Vec::with_capacity(candidates.len());
        let mut verdicts = Vec::with_capacity(candidates.len());
        for candidates in candidates.chunks(control::PREFETCHED_TOGETHER) {
            control::prefetch(&*self.machine, &*tip.state, candidates.iter().map(signed));
            for candidate in candidates {
                let cost = candidate.bytes().len() + EVENT_OVERHEAD_BYTES;
                if accepted.len() == events_max || cost > room {
                    verdicts.push(Verdict::NoRoom);
                    continue;
                }
                let index = accepted.len() as u32;
                let outcome =
                    succession::execute(&*self.machine, &context, &mut changes, index, &signed(candidate))
                        .map_err(unable)?;
                verdicts.push(match outcome {
                    Ok(()) => {
                        room -= cost;
                        accepted.push(candidate.clone());
                        Verdict::Accepted(index)
                    }
                    Err(rejection) => Verdict::Rejected(rejection),
                });
            }
        }
        if accepted.is_empty() && !empty {
            return Ok((None, verdicts));
        }
        let proposed = self.seal(producer, &context, &tip, accepted, changes.into_changes())?;
        Ok((Some(proposed), verdicts))
    }

    fn seal(
        &mut self,
        producer: &Producer,
        context: &BlockContext,
        tip: &Head,
        events: Vec<VerifiedEnvelope>,
        changes: Vec<Change>,
    ) -> Result<Proposed, FoldError> {
        let damaged = |error: &dyn std::error::Error| FoldError::State(error.to_string());
        let state = self.forest.apply(&changes, Some(tip.hash)).map_err(|error| damaged(&error))?;
        let header = Header {
            version: HEADER_VERSION,
            chain: context.chain,
            epoch: context.epoch,
            rules: context.rules,
            height: context.height,
            parent: tip.hash,
            timestamp: context.now,
            producer: producer.account,
            event_count: events.len() as u32,
            events_root: block::events_root(&events),
            state_root: state.root(),
            sub_roots: state.sub_roots().to_vec(),
        };
        let ids: Vec<_> = events.iter().map(VerifiedEnvelope::id).collect();
        let sealed = match block::seal(header, events, &producer.key) {
            Ok(sealed) => Arc::new(sealed),
            Err(error) => {
                self.forest.revert_to(&tip.state);
                return Err(damaged(&error));
            }
        };
        let head = Arc::new(Head {
            header: sealed.header().clone(),
            hash: sealed.header_hash(),
            signed: sealed.signed_header(),
            sequence: Sequence(0),
            state,
        });
        let message = sealed.message().clone();
        let folded = Folded { head, changes: Arc::new(changes), ids: Arc::new(ids), message };
        let proposed = Proposed { block: sealed, folded };
        self.speculative.push_back(proposed.clone());
        Ok(proposed)
    }
}

/// What the rules of the block after `head` would know if it were sealed at `now`; see [`Fold::next_context`].
///
/// # Errors
/// [`FoldError`] when the state or the rules do not allow a next block.
pub fn next_context(head: &Head, machine: &dyn Machine, now: Timestamp) -> Result<BlockContext, FoldError> {
    succession::next_context(machine, head.as_parent(), now).map_err(unable)
}

/// Says whether `event` would be accepted in a block sealed on `head` at `now`, without making one.
///
/// # Errors
/// The [`Rejection`], or what keeps this node from judging.
pub fn judge(
    head: &Head,
    machine: &dyn Machine,
    now: Timestamp,
    event: &VerifiedEnvelope,
) -> Result<Result<(), Rejection>, FoldError> {
    let context = next_context(head, machine, now)?;
    let mut changes = begin(machine, &context, head)?;
    let address = EventAddress { height: context.height, index: 0 };
    let outcome = control::execute(machine, &context, &mut changes, address, &signed(event), true);
    changes.fault().map_or(Ok(outcome), |fault| Err(fault.into()))
}

/// What a block changes that follows `head`.
pub(crate) fn changes_of(
    head: &Head,
    machine: &dyn Machine,
    block: &VerifiedBlock,
) -> Result<Vec<Change>, FoldError> {
    let events: Vec<_> = block.events().iter().map(signed).collect();
    let successor = Successor { header: block.header(), key: block.producer_key(), events: &events };
    succession::succeed(machine, head.as_parent(), successor).map_err(|unfit| refused(unfit, block.header()))
}

fn begin<'a>(
    machine: &dyn Machine,
    context: &BlockContext,
    head: &'a Head,
) -> Result<Changes<'a>, FoldError> {
    succession::begin(machine, context, &*head.state).map_err(unable)
}

/// What follows from a block that does not follow the head.
fn refused(unfit: Unfit, header: &Header) -> FoldError {
    let class = match unfit {
        Unfit::Chain(_) | Unfit::Producer(_) => SkipClass::Foreign,
        Unfit::HeightTaken { .. } | Unfit::Parent { .. } => SkipClass::Stale,
        Unfit::RulesUnknown { .. } | Unfit::Fault(_) => return unable(unfit),
        _ => SkipClass::Invalid,
    };
    let (code, message) = (unfit.code(), unfit.to_string());
    FoldError::Skip(Skip { class, code, message, producer: Some(header.producer) })
}

/// What keeps this node from judging any block.
fn unable(unfit: Unfit) -> FoldError {
    match unfit {
        Unfit::RulesUnknown { wanted, known } => FoldError::RulesUnknown { wanted, known },
        other => FoldError::State(other.to_string()),
    }
}

/// Whether blocks on `head` may be sealed by this account with this key.
pub(crate) fn is_producer(head: &Head, id: AccountId, key: &PublicKey) -> bool {
    succession::is_producer(&*head.state, id, key).unwrap_or(false)
}

pub(crate) fn signed(event: &VerifiedEnvelope) -> SignedTransition<'_> {
    SignedTransition { id: event.id(), body: event.body(), parties: event.parties() }
}
