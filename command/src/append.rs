//! One block's way into the log, to a definite outcome where there is one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::log::{AppendError, EventLog, ReadLimits};
use chaoschain_schemas::Sequence;

use crate::options::CommandOptions;
use crate::shared::{Appended, Note, Shared};

/// How long to wait before an unclear position is read again.
const READ_BACK_RETRY: Duration = Duration::from_millis(50);
/// How far the log goes at least where an append did not take place and that is all that is known. What it expected says
/// nothing: the appends before it may have failed as well.
const NOWHERE: Sequence = Sequence(0);

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
        let appended = outcome(&*log, append, expected, &message, &shared.options).await;
        shared.tell(|core| core.notes.push_back(Note::Appended(number, appended)));
    });
}

/// Waits for what becomes of an append, looking for it in the log where its own answer is late or unclear.
async fn outcome(
    log: &dyn EventLog,
    mut append: impl Future<Output = Result<Sequence, AppendError>> + Unpin,
    expected: Sequence,
    message: &Bytes,
    options: &CommandOptions,
) -> Appended {
    let answer = tokio::time::timeout(options.append_patience, &mut append).await;
    let late = answer.is_err();
    if let Ok(answer) = answer
        && let Some(appended) = decided(answer)
    {
        return appended;
    }
    tracing::warn!(%expected, late, "it is unclear whether a block was appended; reading back");
    let position = expected.next();
    let search = async {
        // What is only late may still land, so that the log does not have it yet says nothing.
        if late {
            tokio::select! {
                biased;
                answer = &mut append => if let Some(appended) = decided(answer) {
                    return appended;
                },
                appended = appears(log, position, message) => return appended,
            }
        }
        // It may still come: should it, the next append there loses, and its events are found to be history.
        look(log, position, message).await.unwrap_or(Appended::Lost(NOWHERE))
    };
    tokio::time::timeout(options.outcome_patience, search).await.unwrap_or(Appended::Unknown)
}

/// What the log's own answer says of an append; `None` where it leaves that open.
fn decided(answer: Result<Sequence, AppendError>) -> Option<Appended> {
    Some(match answer {
        Ok(sequence) => Appended::Landed(sequence),
        Err(AppendError::TipMoved { tip }) => Appended::Lost(tip),
        Err(AppendError::Busy { .. }) => Appended::Lost(NOWHERE),
        Err(AppendError::Unclear { .. }) => return None,
        Err(error) => Appended::Refused { code: error.code(), message: error.to_string() },
    })
}

/// Waits until the log has something at `position`, and says whether it is `message`.
async fn appears(log: &dyn EventLog, position: Sequence, message: &Bytes) -> Appended {
    loop {
        if let Some(appended) = look(log, position, message).await {
            return appended;
        }
        tokio::time::sleep(READ_BACK_RETRY).await;
    }
}

/// Says whether the log has `message` at `position`, asking until it answers; `None` when it ends before.
async fn look(log: &dyn EventLog, position: Sequence, message: &Bytes) -> Option<Appended> {
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    loop {
        match log.read(position, limits).await.map(|entries| entries.into_iter().next()) {
            Ok(Some(entry)) if entry.sequence == position && entry.message == *message => {
                return Some(Appended::Landed(position));
            }
            Ok(Some(entry)) => return Some(Appended::Lost(entry.sequence)),
            Ok(None) => return None,
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

/// Tells the producer when the projection has looked at everything that the log has now.
pub(crate) fn catch_up_to_tip(shared: &Arc<Shared>) {
    tell_at_tip(shared, |tip| Note::CaughtUp(tip.is_some()));
}

/// As [`catch_up_to_tip`], and tells how far that is.
pub(crate) fn reach_tip(shared: &Arc<Shared>) {
    tell_at_tip(shared, Note::ReachedTip);
}

fn tell_at_tip(shared: &Arc<Shared>, note: fn(Option<Sequence>) -> Note) {
    let shared = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(async move {
        let reached = async {
            let tip = shared.projection.log().tip().await.ok()?;
            shared.projection.wait_cursor(tip).await.ok().map(|()| tip)
        };
        let reached = tokio::time::timeout(shared.options.outcome_patience, reached).await;
        shared.tell(|core| core.notes.push_back(note(reached.ok().flatten())));
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
