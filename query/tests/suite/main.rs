//! Tests of reads, proofs and their verification.
#![allow(clippy::unwrap_used)]

mod http;
mod node;
mod range_proofs;
mod shelf;
mod tampering;
mod trust;
