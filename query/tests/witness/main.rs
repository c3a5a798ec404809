//! Whoever has a witness decides about a block as whoever has the state.
#![allow(clippy::unwrap_used)]

mod chain;
mod differential;
mod golden;
mod governance;
mod parlour;
mod societies;
mod tampering;
