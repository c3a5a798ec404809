//! Signing, verification, blocks and the log of chaoschain.
//!
//! Bytes that came from elsewhere become types here: [`envelope::VerifiedEnvelope`] and [`block::VerifiedBlock`] can
//! only be had by checking, and say in their docs what that did not check. [`log`] is where sealed blocks live, [`attest`]
//! where validators' words about them do; both on this machine or on NATS.
//! [`nats`] is the connection of a process to NATS, [`micro`] what services answer with there, [`trace`] which request a log
//! line belongs to.
//!
//! # Invariants
//! - What is verified is the received bytes under a tag; nothing is encoded again to be verified.
//! - One rule for signatures, alone or in batches ([`signature`]).
//! - Nothing here knows a domain, a state or whose key is whose.

pub mod attest;
pub mod block;
pub mod envelope;
pub mod log;
pub mod micro;
pub mod nats;
pub mod signature;
pub mod trace;
