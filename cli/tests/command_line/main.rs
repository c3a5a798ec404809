//! The binary as people run it, process by process.

#![expect(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod demo;
mod diff;
mod errors;
mod import;
mod keys;
mod managed;
mod network;
mod node;
mod resync;
mod support;
mod trust;
