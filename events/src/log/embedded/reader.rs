//! Reading: batches from a cursor, and following the tip.

use std::sync::Arc;

use chaoschain_schemas::Sequence;
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::format::RECORD_HEADER_BYTES;
use super::segment::{MARK_BYTES, Place, Segment, WINDOW_BYTES};
use super::shared::{Extent, News, Shared};
use crate::log::{Entry, LogError, ReadLimits, Subscription};

/// The next sequence to read and, if the file was read before, where it stands there.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) next: u64,
    hint: Option<(Arc<Segment>, Place)>,
}

impl Cursor {
    pub(super) fn at(from: Sequence) -> Self {
        Self { next: from.0.max(1), hint: None }
    }

    /// Reads on; empty at the tip. What was read before an error is returned first, the error on the next call.
    pub(super) fn read(&mut self, shared: &Shared, limits: ReadLimits) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        let mut room = limits.bytes;
        while entries.len() < limits.messages.max(1) {
            let located = shared.view().and_then(|view| view.locate(self.next));
            let outcome = match located {
                Ok(None) => break,
                Ok(Some(extent)) => shared.unless_gone(
                    &extent.segment,
                    self.read_extent(&extent, limits.messages.max(1), &mut room, &mut entries),
                ),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(full) if full => break,
                Ok(_) => {}
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(entries)
    }

    /// Reads on in one segment; whether a limit was reached.
    fn read_extent(
        &mut self,
        extent: &Extent,
        messages: usize,
        room: &mut usize,
        entries: &mut Vec<Entry>,
    ) -> Result<bool, LogError> {
        let Extent { segment, len, last } = extent;
        let start = match &self.hint {
            Some((known, place)) if Arc::ptr_eq(known, segment) && place.sequence == self.next => *place,
            _ => segment.near(self.next, *len)?,
        };
        let window = room.saturating_add(RECORD_HEADER_BYTES).clamp(MARK_BYTES as usize, WINDOW_BYTES);
        let mut walk = segment.walk(start, *len, window)?;
        while walk.place().sequence < self.next {
            if walk.next_header()?.is_none() {
                break;
            }
        }
        while self.next <= *last {
            let Some(record) = walk.next_record()? else {
                return Err(segment.corrupt(walk.place(), "messages are missing at the end of the file"));
            };
            if record.payload.len() > *room && !entries.is_empty() {
                return Ok(true);
            }
            *room = room.saturating_sub(record.payload.len());
            entries.push(Entry { sequence: Sequence(record.place.sequence), message: record.payload });
            self.next = walk.place().sequence;
            self.hint = Some((Arc::clone(segment), walk.place()));
            if entries.len() == messages || *room == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A subscription: a cursor, and news of the tip.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) cursor: Cursor,
    pub(super) limits: ReadLimits,
    pub(super) news: watch::Receiver<News>,
}

impl Subscription for Follower {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        async move {
            let next = self.cursor.next;
            let news = self.news.wait_for(|news| !news.open || news.tip >= next).await.map(|news| *news);
            if !news.is_ok_and(|news| news.open) {
                return Err(LogError::Closed);
            }
            // The cursor moves only when the batch is handed over, so a dropped future loses nothing.
            let (mut cursor, shared, limits) = (self.cursor.clone(), Arc::clone(&self.shared), self.limits);
            let (entries, cursor) =
                blocking(move || cursor.read(&shared, limits).map(|entries| (entries, cursor))).await?;
            self.cursor = cursor;
            Ok(entries)
        }
        .boxed()
    }
}

/// Runs file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| {
        Err(LogError::Unavailable { reason: format!("a read was broken off: {error}") })
    })
}
