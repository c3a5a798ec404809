//! Reads of a chain with their proofs, and the offline verification of both.
//!
//! [`Query`] answers from a projection; every answer is of one block's state and names it. A proof is made by [`prove`]
//! out of a recording of what the read looked at. [`verify`] is the other side: pure, offline, and only as sure as what it is
//! told to trust. [`diff`] finds where two nodes disagree, out of what [`tree`] answers. [`http`] and [`nats`] serve it all.
//!
//! # Invariants
//! - One answer uses one head: values, lists and proofs are of the same height.
//! - The same code computes an answer on a node and from a proof.
//! - Absence is proven like presence; what a proof does not show is never taken for absent.
//! - Every read is bounded ([`limits`]).

mod answer;
pub mod bench;
mod budget;
pub mod diff;
mod error;
pub mod http;
pub mod limits;
mod named;
pub mod nats;
pub mod prove;
mod query;
mod question;
mod show;
mod stored;
pub mod tree;
pub mod verify;
mod witness;

pub use answer::{Answer, Label};
pub use error::QueryError;
pub use named::{READS, ReadFailure, catalogue};
pub use query::{Ask, At, Finality, Query};
