//! Conflicts: opened, voted on and resolved by transitions over a fixed electorate.
//!
//! A conflict record holds all that its tally is made of: options, electors with their weights, what each has said, and
//! the bounds it was opened with. [`tally()`], [`decide`] and [`agrees`] read nothing else, so whoever has the record can
//! count again.
//!
//! # Invariants
//! - Electors and weights are written once, when the conflict opens. Nothing that happens afterwards changes them.
//! - A conflict that is open has one deadline in the due queue; one that is decided has none.
//! - Of a fact there is at most one open conflict, of a reporter at most one that it opened about a fact.
//! - An alliance is contested exactly as long as the conflict that its record names is open.

mod electorate;
mod error;
mod open;
mod opinion;
mod read;
mod report;
mod settle;
mod tally;
mod weight;

pub use electorate::{drawn_ordinal, shuffled_ordinals};
pub use error::ConflictError;
pub use tally::{Decision, Tally, agrees, decide, decide_early, tally};
pub use weight::{Standing, weight};

pub(crate) use open::{check_alliances, open_alliances};
pub(crate) use opinion::{apply_opinion, apply_resolution, verify_opinion, verify_resolution};
pub(crate) use read::{READS, conflict as read_conflict, open_conflict as read_open_conflict};
pub(crate) use report::{apply_report, verify_report};
pub(crate) use settle::at_deadline;
