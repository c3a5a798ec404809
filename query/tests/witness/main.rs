//! Whoever has a witness decides about a block as whoever has the state.
#![allow(clippy::unwrap_used)]

mod acts;
mod chain;
mod differential;
mod golden;
mod governance;
mod parlour;
mod scene;
mod societies;
mod tampering;
