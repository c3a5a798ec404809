//! The projection of chaoschain: blocks out of the log, folded into a state that readers share and a redb file keeps.
//!
//! [`fold`] is the pure part: what a block does to the state, and how a block is made. [`projection`] runs it: it
//! follows the log, publishes every new head to readers, and leaves storing to a background writer. [`recover`] starts
//! again from what is stored.
//!
//! # Invariants
//! - Memory first, redb behind: rows, height and root become durable together, never one without the others.
//! - The state that is served was folded here, from verified blocks, and its root equals the header's.

pub mod fold;
mod follower;
mod genesis;
mod head;
mod ids;
mod projection;
mod recover;
mod skip;
mod store;
mod writer;

pub use fold::{BlockLimits, Fold, FoldError, Folded, Producer, Proposed, Verdict};
pub use genesis::{Beginning, GenesisError, open_genesis, seal_genesis};
pub use head::Head;
pub use projection::{Condition, Confirmed, Projection, ProjectionOptions, ProjectionStatus, ReadBlockError};
pub use projection::{RETAINED_FOR, RETAINED_HEADS_MAX, RETAINED_RECORDS_MAX};
pub use recover::OpenError;
pub use skip::{Skip, SkipClass, Skipped};
pub use store::{
    BlockRecord, FILE_NAME, SKIPPED_KEPT_MAX, Store, StoreError, StoredHead, create_private_dir,
};
pub use writer::DIRTY_ROWS_MAX;
