//! One block's way into the log, to a definite outcome where there is one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::log::{AppendError, EventLog, ReadLimits};
use chaoschain_schemas::Sequence;

use crate::shared::{Appended, Note, Shared};

/// How long to wait before an unclear position is read again.
const READ_BACK_RETRY: Duration = Duration::from_millis(50);

/// Starts the append of block `number`; the producer is told what became of it.
///
/// Appends take effect in the order of the calls.
pub(crate) fn start(shared: &Arc<Shared>, number: u64, expected: Sequence, message: Bytes) {
    let log = Arc::clone(shared.projection.log());
    let append = {
        // A log may want to start tasks and timers of its own.
        let _runtime = shared.runtime.enter();
        log.append(expected, message.clone())
    };
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let appended = match tokio::time::timeout(shared.options.append_patience, append).await {
            Ok(Ok(sequence)) => Appended::Landed(sequence),
            Ok(Err(AppendError::TipMoved { tip })) => Appended::Lost(tip),
            // Nothing was appended and the tip is what it was.
            Ok(Err(AppendError::Busy { .. })) => Appended::Lost(expected),
            Err(_) | Ok(Err(AppendError::Unclear { .. })) => {
                tracing::warn!(%expected, "it is unclear whether a block was appended; reading back");
                let found = read_back(&*log, expected.next(), &message);
                let patience = shared.options.outcome_patience;
                tokio::time::timeout(patience, found).await.unwrap_or(Appended::Unknown)
            }
            Ok(Err(error)) => Appended::Refused { code: error.code(), message: error.to_string() },
        };
        shared.tell(|core| core.notes.push_back(Note::Appended(number, appended)));
    });
}

/// Says whether the log has `message` at `position`, asking until it answers.
async fn read_back(log: &dyn EventLog, position: Sequence, message: &Bytes) -> Appended {
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    loop {
        match log.read(position, limits).await.map(|entries| entries.into_iter().next()) {
            Ok(Some(entry)) if entry.sequence == position && entry.message == *message => {
                return Appended::Landed(position);
            }
            Ok(Some(entry)) => return Appended::Lost(entry.sequence),
            // It may still come: should it, the next append there loses, and its events are found to be history.
            Ok(None) => return Appended::Lost(Sequence(position.0 - 1)),
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read back, trying again");
                tokio::time::sleep(READ_BACK_RETRY).await;
            }
        }
    }
}

/// Tells the producer when the projection has looked at everything up to `sequence`.
pub(crate) fn catch_up(shared: &Arc<Shared>, sequence: Sequence) {
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let reached = shared.projection.wait_cursor(sequence);
        let reached = tokio::time::timeout(shared.options.outcome_patience, reached).await;
        shared.tell(|core| core.notes.push_back(Note::CaughtUp(matches!(reached, Ok(Ok(()))))));
    });
}

/// Tells the producer of every new head, for as long as the service lives.
pub(crate) fn watch_head(shared: &Arc<Shared>) -> tokio::task::AbortHandle {
    let mut heads = shared.projection.subscribe();
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    let watch = runtime.spawn(async move {
        while heads.changed().await.is_ok() {
            shared.tell(|core| core.head_moved = true);
        }
    });
    watch.abort_handle()
}
