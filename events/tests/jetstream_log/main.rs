//! The log on JetStream: the suite of every home, then what only a network and a server can do to it.

// In tests a panic is the report; the lint's own exception misses their helpers.
#![allow(clippy::unwrap_used)]

mod blocks;
mod conformance;
mod messages;
mod races;
mod stream;
mod support;
mod trouble;
