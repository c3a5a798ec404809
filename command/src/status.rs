//! Figures of a command service.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::reply::Outcome;

/// Figures of a command service since its start, for people and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CommandStatus {
    /// Submissions that came in, duplicates included.
    pub submitted: u64,
    /// Transitions that got a receipt.
    pub accepted: u64,
    /// Transitions that got none, by code; `busy` among them.
    pub refused: BTreeMap<String, u64>,
    /// Submissions of bytes that were under way already.
    pub duplicates: u64,
    /// Submissions that wait for their signatures to be checked.
    pub queued: usize,
    /// Transitions that are checked and not answered, those in blocks on their way included.
    pub pending: usize,
    /// Blocks on their way to the log.
    pub in_flight: u64,
    /// Blocks sealed and acknowledged.
    pub blocks: u64,
    /// Empty blocks sealed to bring block time up to the clock for events that wait.
    pub catch_up_blocks: u64,
    /// Empty blocks sealed because something was due.
    pub heartbeats: u64,
    /// How far the newest block's time lies behind the clock, microseconds; it grows while nothing happens.
    pub block_time_lag_us: u64,
    /// For how long the first thing that is due has been due by the clock, microseconds; 0 while nothing is.
    pub due_lag_us: u64,
    /// How often other producers were quicker.
    pub tip_lost: u64,
    /// Events a second, lately.
    pub rate: u64,
    /// How long a block lingers for more events at this rate, unless it has enough, microseconds.
    pub linger_us: u64,
    /// Why the log takes nothing at the moment, if so.
    pub stalled: Option<String>,
}

/// The counters behind [`CommandStatus`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) submitted: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) catch_up_blocks: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    pub(crate) tip_lost: AtomicU64,
    pub(crate) rate: AtomicU64,
    pub(crate) linger_us: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
}

/// The most codes counted apart; the rest counts as `other`.
const CODES_MAX: usize = 256;

impl Counters {
    pub(crate) fn count(&self, outcome: &Outcome) {
        match outcome {
            Ok(_) => add(&self.accepted, 1),
            Err(error) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(count) = refused.get_mut(error.code()) {
                    *count += 1;
                } else {
                    let code = if refused.len() < CODES_MAX { error.code() } else { "other" };
                    *refused.entry(code.to_owned()).or_default() += 1;
                }
            }
        }
    }

    pub(crate) fn status(&self) -> CommandStatus {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CommandStatus {
            submitted: get(&self.submitted),
            accepted: get(&self.accepted),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            duplicates: get(&self.duplicates),
            in_flight: get(&self.in_flight),
            blocks: get(&self.blocks),
            catch_up_blocks: get(&self.catch_up_blocks),
            heartbeats: get(&self.heartbeats),
            tip_lost: get(&self.tip_lost),
            rate: get(&self.rate),
            linger_us: get(&self.linger_us),
            ..CommandStatus::default()
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
