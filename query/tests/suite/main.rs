//! Tests of reads, proofs and their verification.
#![allow(clippy::unwrap_used)]

mod conflicts;
mod council;
mod diff;
mod dramas;
mod evidence;
mod finality;
mod golden;
mod http;
mod network;
mod node;
mod range_proofs;
mod shelf;
mod tampering;
mod trust;
