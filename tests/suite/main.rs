//! The suite: what only the whole system can show. One theme a file.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod bad_input;
mod client;
mod crash;
mod divergence;
mod evolution;
mod fork;
mod messages;
mod overload;
mod permissions;
mod ratings;
mod several;
mod simulate;
mod torture;
mod witness;
