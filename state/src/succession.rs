//! Whether a block follows another: the one decision that every fold and every verifier of witnesses makes.
//!
//! What a block has to be, given the block before it: of the same chain, sealed by a producer under its current key, next
//! in height, with the right parent, within a time step, under the rules and in the epoch in force, and full of events
//! that the rules accept one after the other. [`succeed`] decides it and tells what changes. Whether the changes give the
//! roots that the block commits to is left to the caller, who has the whole trees or only a part of them.
//!
//! # Invariants
//! - Nothing is read but the parent, its state and the block, so whoever holds enough of the state decides the same.
//! - What the state does not show is a [`Fault`], never an answer: a decision made on it would be another node's.

use chaoschain_schemas::control::Account;
use chaoschain_schemas::{
    AccountId, ChainId, EventAddress, Hash, Header, Height, PublicKey, Timestamp, TransitionId,
};

use crate::control::{self, SignedTransition, keys};
use crate::domain::{BlockContext, Machine};
use crate::rejection::Rejection;
use crate::view::{Base, BaseView, Change, Changes, Fault, View};

/// The block that another one is to follow.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    /// Its header.
    pub header: &'a Header,
    /// The header's hash.
    pub hash: Hash,
    /// The state after it, or a proven part of that.
    pub state: &'a dyn Base,
}

/// A block whose form, signatures and events root hold, as far as succession looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Successor<'a> {
    /// Its header.
    pub header: &'a Header,
    /// The key that the header is signed with.
    pub key: &'a PublicKey,
    /// Its events, by index.
    pub events: &'a [SignedTransition<'a>],
}

/// Why a block does not follow another. In the order in which they are looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It is another chain's.
    #[error("the block is for chain {0}")]
    Chain(ChainId),
    /// Its producer is none, or signs with a key that is not its current one.
    #[error("{0} is not a producer under this key")]
    Producer(AccountId),
    /// Its height is the parent's or below.
    #[error("the block is number {found}, the head is {parent}")]
    HeightTaken {
        /// The block's.
        found: Height,
        /// The parent's.
        parent: Height,
    },
    /// Its height is above the next one.
    #[error("the block is number {found}, the next is {next}")]
    HeightSkipped {
        /// The block's.
        found: Height,
        /// The one that may follow.
        next: Height,
    },
    /// It names another parent.
    #[error("the block's parent is {found}, the head is {parent}")]
    Parent {
        /// The one it names.
        found: Hash,
        /// The parent's hash.
        parent: Hash,
    },
    /// Block time goes back or makes too large a step.
    #[error("block time {found} is not within {earliest} and {latest}")]
    Time {
        /// The block's.
        found: Timestamp,
        /// The parent's.
        earliest: Timestamp,
        /// The furthest step from it.
        latest: Timestamp,
    },
    /// The rules in force are newer than this program.
    #[error(
        "rules version {wanted} is in force from here on, this build knows up to {known}: use a newer one"
    )]
    RulesUnknown {
        /// The version in force.
        wanted: u16,
        /// The newest one known here.
        known: u16,
    },
    /// It was made under other rules, or in another epoch, than those in force.
    #[error("rules {rules} and epoch {epoch} are not those in force")]
    Rules {
        /// The block's rules version.
        rules: u16,
        /// The block's epoch.
        epoch: u64,
    },
    /// The rules refuse one of its events.
    #[error("event {index} ({id}) is refused: {rejection}")]
    Event {
        /// The event's place.
        index: u32,
        /// Its transition's id.
        id: TransitionId,
        /// Why.
        rejection: Box<Rejection>,
    },
    /// The state does not show what the decision needs, or cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Unfit {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Chain(_) => "chain_wrong",
            Self::Producer(_) => "producer_unauthorised",
            Self::HeightTaken { .. } => "height_taken",
            Self::HeightSkipped { .. } => "height_skipped",
            Self::Parent { .. } => "parent_wrong",
            Self::Time { .. } => "timestamp_wrong",
            Self::RulesUnknown { .. } => "rules_unknown",
            Self::Rules { .. } => "rules_wrong",
            Self::Event { .. } => "event_rejected",
            Self::Fault(Fault::Withheld(_)) => "witness_incomplete",
            Self::Fault(Fault::Corrupt(..)) => "record_corrupt",
        }
    }
}

/// Decides whether `block` follows `parent`, and tells what it changes, in order of key.
///
/// # Errors
/// [`Unfit`]: the first thing that does not hold.
pub fn succeed(
    machine: &dyn Machine,
    parent: Parent<'_>,
    block: Successor<'_>,
) -> Result<Vec<Change>, Unfit> {
    let context = check_header(machine, parent, block.header, block.key)?;
    let mut changes = begin(machine, &context, parent.state)?;
    let mut indices = 0..;
    for events in block.events.chunks(control::PREFETCHED_TOGETHER) {
        control::prefetch(machine, parent.state, events.iter().copied());
        for (event, index) in events.iter().zip(&mut indices) {
            execute(machine, &context, &mut changes, index, event)?.map_err(|rejection| Unfit::Event {
                index,
                id: event.id,
                rejection: Box::new(rejection),
            })?;
        }
    }
    Ok(changes.into_changes())
}

/// The facts of a header that need the block before it.
///
/// # Errors
/// [`Unfit`]: the first thing that does not hold; never [`Unfit::Event`].
pub fn check_header(
    machine: &dyn Machine,
    parent: Parent<'_>,
    header: &Header,
    key: &PublicKey,
) -> Result<BlockContext, Unfit> {
    let before = parent.header;
    if header.chain != before.chain {
        return Err(Unfit::Chain(header.chain));
    }
    if !is_producer(parent.state, header.producer, key)? {
        return Err(Unfit::Producer(header.producer));
    }
    let found = header.height;
    if found <= before.height {
        return Err(Unfit::HeightTaken { found, parent: before.height });
    }
    let next = before.height.next();
    if found != next {
        return Err(Unfit::HeightSkipped { found, next });
    }
    if header.parent != parent.hash {
        return Err(Unfit::Parent { found: header.parent, parent: parent.hash });
    }
    let now = header.timestamp;
    let context = control::block_context(machine, parent.state, header.chain, found, header.parent, now)?;
    let (earliest, latest) = time_window(before, &context);
    if now < earliest || now > latest {
        return Err(Unfit::Time { found: now, earliest, latest });
    }
    check_rules(machine, &context)?;
    if header.rules != context.rules || header.epoch != context.epoch {
        return Err(Unfit::Rules { rules: header.rules, epoch: header.epoch });
    }
    Ok(context)
}

/// What the rules of the block after `parent` would know if it were sealed at `now`; block time is `now`, held within
/// what may follow.
///
/// # Errors
/// [`Unfit`], when the state or the rules allow no next block.
pub fn next_context(
    machine: &dyn Machine,
    parent: Parent<'_>,
    now: Timestamp,
) -> Result<BlockContext, Unfit> {
    let before = parent.header;
    let height = before.height.next();
    let mut context = control::block_context(machine, parent.state, before.chain, height, parent.hash, now)?;
    check_rules(machine, &context)?;
    let (earliest, latest) = time_window(before, &context);
    context.now = now.clamp(earliest, latest);
    Ok(context)
}

/// Begins a block over `state`: what is due is done.
///
/// # Errors
/// [`Unfit::Fault`]
pub fn begin<'a>(
    machine: &dyn Machine,
    context: &BlockContext,
    state: &'a dyn Base,
) -> Result<Changes<'a>, Unfit> {
    let mut changes = Changes::new(state);
    control::begin_block(machine, context, &mut changes);
    changes.fault().map_or(Ok(changes), |fault| Err(fault.into()))
}

/// Carries out the event at `index`, or says why the rules refuse it; then nothing was written.
///
/// # Errors
/// [`Unfit::Fault`]; then nothing in `changes` means anything.
pub fn execute(
    machine: &dyn Machine,
    context: &BlockContext,
    changes: &mut Changes<'_>,
    index: u32,
    event: &SignedTransition<'_>,
) -> Result<Result<(), Rejection>, Unfit> {
    let address = EventAddress { height: context.height, index };
    let outcome = control::execute(machine, context, changes, address, event, false);
    changes.fault().map_or(Ok(outcome), |fault| Err(fault.into()))
}

/// Whether blocks upon `state` may be sealed by this account with this key.
///
/// # Errors
/// [`Fault`], when the account is not shown or cannot be read.
pub fn is_producer(state: &dyn Base, id: AccountId, key: &PublicKey) -> Result<bool, Fault> {
    let view = BaseView::new(state);
    let account: Option<Account> = (&view as &dyn View).record(&keys::account(&id));
    let may = account.is_some_and(|account| control::may_produce(&account) && account.key == *key);
    view.fault().map_or(Ok(may), Err)
}

fn check_rules(machine: &dyn Machine, context: &BlockContext) -> Result<(), Unfit> {
    let (wanted, known) = (context.rules, machine.rules());
    if wanted > known { Err(Unfit::RulesUnknown { wanted, known }) } else { Ok(()) }
}

/// Block time of the next block: from the parent's to the furthest step from it.
fn time_window(parent: &Header, context: &BlockContext) -> (Timestamp, Timestamp) {
    (parent.timestamp, parent.timestamp.saturating_add(context.parameters.time_step_max))
}
