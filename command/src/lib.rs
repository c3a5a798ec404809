//! Admission, mempool, sealing and receipts of chaoschain.
//!
//! ```text
//! bytes ─▶ rate, size ─▶ queue ─▶ form, signatures (batched) ─▶ mempool ─▶ block ─▶ log ─▶ receipt
//!           caller        │            admission thread            │      producer thread
//!                         └── full: busy ◀─────────────────────────┘
//! ```
//!
//! [`CommandService`] is all of it; [`http`] and [`nats`] serve it.
//!
//! # Invariants
//! - Every submission gets exactly one answer: a receipt, a refusal, busy, or that the outcome is unknown.
//! - The same signed bytes give one event and one receipt, however often and wherever they are submitted.
//! - A receipt is given only for what is durable in the log and part of the chain.
//! - Every queue is bounded, by count and by bytes.

mod admission;
mod append;
mod error;
mod foresight;
pub mod http;
mod linger;
mod mempool;
pub mod nats;
mod options;
mod producer;
mod rate;
mod reply;
mod service;
mod shared;
mod status;
mod submission;

pub use error::SubmitError;
pub use options::{
    BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Clock, CommandOptions, DUPLICATES_MAX, MempoolLimits, Observer,
    VERIFY_BATCH_MAX,
};
pub use rate::{PEERS_MAX, Peer, Rate};
pub use reply::{OnOutcome, Outcome};
pub use service::{CommandService, DryRun, StartError};
pub use status::CommandStatus;
