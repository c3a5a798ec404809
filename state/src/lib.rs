//! Pure kernel of chaoschain: Merkle trees, proofs, change sets, the domain seam and control rules.
//!
//! Nothing here does I/O, reads a clock, draws random numbers or is async: the same inputs give the same roots on every
//! machine, so a fold can be repeated by anyone.
//!
//! # Invariants
//! - State changes only through [`succession`], [`control::execute`] and [`control::apply_genesis`], into [`Changes`], applied by [`Forest`].
//! - Only [`domain::Machine`] knows a domain; nothing else here or above is generic over it.

pub mod control;
pub mod domain;
mod forest;
mod key;
pub mod merkle;
mod registrable_key;
mod rejection;
mod shown;
pub mod succession;
mod view;
pub mod witness;

pub use forest::{Forest, StateVersion, state_root};
pub use key::{BLOCKS, CONTROL, DOMAIN_FIRST, Key, SubTree};
pub use registrable_key::is_registrable;
pub use rejection::Rejection;
pub use shown::{ShownError, ShownState};
pub use view::{Base, BaseView, Change, Changes, Fault, Lookup, Reads, Record, Recording, Value, View};
