//! What a projection says of itself: figures, and why it has stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chaoschain_schemas::{Blob, ChainId, Hash, Height, Sequence, Timestamp};
use serde::Serialize;

use super::{Condition, Projection};
use crate::divergence::DivergenceStatus;
use crate::evidence::{ChangesMax, changes_to_json, write_report};
use crate::fold::FoldError;
use crate::head::Head;
use crate::log_watch::LogState;
use crate::skip::SkipClass;
use crate::writer::lock;

/// Figures of a projection.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectionStatus {
    /// The chain.
    pub chain: ChainId,
    /// The newest height.
    pub height: Height,
    /// Its header hash.
    pub header_hash: Hash,
    /// Its state root.
    pub state_root: Hash,
    /// Its block time.
    pub timestamp: Timestamp,
    /// The epoch.
    pub epoch: u64,
    /// The last message of the log that was looked at.
    pub cursor: Sequence,
    /// The last message that the log is known to have.
    pub log_tip: Sequence,
    /// Messages that the log is known to have and that were not looked at yet; each is at most one block.
    pub lag_blocks: u64,
    /// For how many seconds the oldest of those has been known to be there; 0 when there is none. Says nothing of what is
    /// in a log that cannot be read.
    pub lag_seconds: u64,
    /// Whether the log can be read.
    pub log_state: LogState,
    /// The newest height in the block archive; `None` without one.
    pub archive_height: Option<Height>,
    /// Why blocks cannot be archived, if so; then the store waits too.
    pub archive_error: Option<String>,
    /// The height that is durable in the store.
    pub stored_height: Height,
    /// Rows that wait to be stored.
    pub dirty_rows: usize,
    /// Transitions whose place is in memory alone until they are stored.
    pub pending_ids: usize,
    /// Commits since the start.
    pub commits: u64,
    /// Rows written since the start.
    pub rows_written: u64,
    /// Events folded since the start.
    pub events_folded: u64,
    /// Records in the state.
    pub records: u64,
    /// Messages skipped since the start, by class.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Why the store lags, if it cannot be written.
    pub store_error: Option<String>,
    /// A stable word for that.
    pub store_error_code: Option<String>,
    /// Rows that the background scrub has compared since the start.
    pub rows_scrubbed: u64,
    /// Whether it moves.
    pub condition: Condition,
    /// The block at which this node's fold and its producer's disagree, if that has stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<DivergenceStatus>,
}

impl Projection {
    /// Figures for people and metrics.
    pub fn status(&self) -> ProjectionStatus {
        let head = self.head();
        let writer = self.0.writer.status();
        let skipped = lock(&self.0.skipped);
        let cursor = self.cursor();
        let (log_tip, lag) = self.0.log_watch.lag(cursor);
        let archive = self.0.archive.as_ref();
        let (store_error_code, store_error) = writer.error.unzip();
        ProjectionStatus {
            log_tip,
            lag_blocks: log_tip.0.saturating_sub(cursor.0),
            lag_seconds: lag.as_secs(),
            log_state: self.0.log_watch.state(),
            archive_height: archive.and_then(|archive| archive.height()),
            archive_error: archive.and_then(|archive| archive.error()).map(|(_, text)| text),
            pending_ids: writer.pending_ids,
            chain: head.header.chain,
            height: head.height(),
            header_hash: head.hash,
            state_root: head.header.state_root,
            timestamp: head.header.timestamp,
            epoch: head.header.epoch,
            cursor,
            stored_height: Height(writer.stored_height),
            dirty_rows: writer.dirty_rows,
            commits: writer.commits,
            rows_written: writer.rows_written,
            events_folded: self.0.events_folded.load(Ordering::Relaxed),
            records: head.state.record_count(),
            skipped: SkipClass::ALL
                .iter()
                .map(|class| (class.name(), skipped.get(class).copied().unwrap_or(0)))
                .collect(),
            store_error,
            store_error_code,
            rows_scrubbed: self.0.rows_scrubbed.load(Ordering::Relaxed),
            condition: self.condition(),
            divergence: self.divergence_status(),
        }
    }

    /// Stops at the last good height.
    pub(crate) fn degrade(&self, code: &str, message: &str, evidence: Option<PathBuf>) {
        tracing::error!(code, "{message}; this node stays at height {}", self.head().height());
        let degraded = Condition::Degraded { code: code.to_owned(), message: message.to_owned(), evidence };
        self.0.condition.send_if_modified(|condition| {
            // The first reason is the one that matters.
            let first = *condition == Condition::Following;
            if first {
                *condition = degraded;
            }
            first
        });
    }

    pub(super) fn write_evidence(
        &self,
        sequence: Sequence,
        head: &Head,
        error: &FoldError,
        message: &Bytes,
    ) -> Option<PathBuf> {
        let computed = match error {
            FoldError::Diverged { header, state, changes, .. } => {
                let differ = |number: u8| {
                    let number = usize::from(number);
                    state.sub_roots().get(number) != header.sub_roots.get(number)
                };
                let changes = changes_to_json(&**self.machine(), changes, &differ, ChangesMax::default());
                serde_json::json!({
                    "height": header.height,
                    "committed_root": header.state_root,
                    "state_root": state.root(),
                    "sub_roots": state.sub_roots(),
                    "changes": changes,
                })
            }
            _ => serde_json::Value::Null,
        };
        let evidence = serde_json::json!({
            "code": error.code(),
            "reason": error.to_string(),
            "sequence": sequence,
            "last_good": { "height": head.height(), "header_hash": head.hash, "state_root": head.header.state_root },
            "computed": computed,
            "message": Blob(message.to_vec()),
        });
        write_report(&self.0.options.dir, &format!("evidence-{sequence}"), &evidence)
    }

    /// Adds the evidence that was found after stopping.
    pub(crate) fn add_evidence(&self, path: PathBuf) {
        self.0.condition.send_if_modified(|condition| match condition {
            Condition::Degraded { evidence, .. } => {
                *evidence = Some(path);
                true
            }
            Condition::Following => false,
        });
    }
}
