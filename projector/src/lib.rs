//! The projection of chaoschain: blocks out of the log, folded into a state that readers share and a redb file keeps.
//!
//! [`fold`] is the pure part: what a block does to the state, and how a block is made. [`projection`] runs it: it
//! follows the log, publishes every new head to readers, and leaves storing to a background writer. [`recover`] starts
//! again from what is stored.
//!
//! What validators say of the chain comes beside it: [`attestations`] draws finality from their words, [`attestor`] is a
//! validator's own. And logs can lose or change what they had: [`anchor`] finds our place in one, or writes down why there is
//! none, [`archive`] keeps every block when the log is elsewhere, and [`restore`] puts lost ones back. Where a producer's fold and ours
//! disagree, both results stay readable ([`Divergence`]).
//!
//! # Invariants
//! - Memory first, redb behind: rows, height and root become durable together, never one without the others.
//! - The state that is served was folded here, from verified blocks, and its root equals the header's.
//! - What was folded is never taken back: a log that has lost or changed it stops the projection at its last good height.

mod anchor;
mod archive;
mod attestations;
mod attestor;
mod divergence;
mod evidence;
pub mod fold;
mod follower;
mod format;
mod genesis;
mod head;
mod ids;
mod log_watch;
mod private_file;
mod projection;
mod recover;
pub mod restore;
mod skip;
mod store;
mod witness;
mod writer;

pub use archive::{ARCHIVE_AHEAD_BLOCKS_MAX, ARCHIVE_AHEAD_BYTES_MAX, ArchiveError, BlockArchive};
pub use attestations::{Attestations, AttestationsStatus, CHECKPOINTS_MAX, FinalPoint, ValidatorWord};
pub use attestor::{
    ATTEST_INTERVAL, AttestError, Attestor, AttestorOptions, AttestorStatus, CLOCK_TOLERANCE,
    PUBLISH_PATIENCE,
};
pub use divergence::{DESCENDANTS_MAX, Divergence, DivergenceStatus};
pub use evidence::{EVIDENCE_BYTES_MAX, EVIDENCE_CHANGES_MAX, write_fork};
pub use fold::{BlockLimits, Fold, FoldError, Folded, Producer, Proposed, Verdict};
pub use genesis::{Beginning, GenesisError, open_genesis, seal_genesis};
pub use head::Head;
pub use log_watch::LogState;
pub use projection::{Condition, Confirmed, Projection, ProjectionOptions, ProjectionStatus, ReadBlockError};
pub use projection::{RETAINED_FOR, RETAINED_HEADS_MAX, RETAINED_RECORDS_MAX};
pub use recover::OpenError;
pub use skip::{Skip, SkipClass, Skipped};
pub use store::{
    BlockRecord, FILE_NAME, SKIPPED_KEPT_MAX, Store, StoreError, StoredHead, create_private_dir,
};
pub use witness::witness_of;
pub use writer::DIRTY_ROWS_MAX;
