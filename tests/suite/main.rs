//! The suite: what only the whole system can show. One theme a file.
#![allow(unreachable_pub, missing_docs)]

#[path = "../harness/mod.rs"]
mod harness;

mod crash;
mod ratings;
