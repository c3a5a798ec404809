//! The due queue: things that block time makes due, handled before a block's events, a bounded number a block.
//!
//! What waits in the queue because a block's share is used up has lost nothing: rules look at block time, never at
//! whether the queue has got there.

use chaoschain_schemas::limits::{DUE_ENTRIES_MAX, DUE_WORK_MAX};
use chaoschain_schemas::society::{Due, DueKind};
use chaoschain_schemas::{AllianceId, ConflictId, Timestamp};
use chaoschain_state::domain::BlockContext;
use chaoschain_state::{Changes, Key, View};

use crate::{alliance, conflict, keys};

/// Puts something into the queue.
pub(crate) fn put(changes: &mut Changes<'_>, time: Timestamp, kind: DueKind, id: &[u8; 32], work: u32) {
    changes.put(&keys::due(time, kind, id), &Due { work });
}

/// Takes something out of the queue before its time.
pub(crate) fn remove(changes: &mut Changes<'_>, time: Timestamp, kind: DueKind, id: &[u8; 32]) {
    changes.remove(&keys::due(time, kind, id));
}

/// Handles what is due by the block's time, in order of time, kind and id, as far as a block's share goes. Where nothing is
/// due it reads one range and finds it empty.
pub(crate) fn handle(block: &BlockContext, changes: &mut Changes<'_>) {
    let (first, last) = keys::due_until(block.now);
    let mut work: u32 = 0;
    for (key, _) in changes.view().range(&first, &last, DUE_ENTRIES_MAX) {
        // What was handled before may have taken this one out: a decision ends alliances.
        let Some(due) = changes.view().record::<Due>(&key) else { continue };
        if work > 0 && work.saturating_add(due.work) > DUE_WORK_MAX {
            return;
        }
        work = work.saturating_add(due.work);
        changes.remove(&key);
        match parse(&key) {
            Some((DueKind::AllianceExpiry, id)) => alliance::expire(changes, AllianceId::new(id)),
            Some((DueKind::ConflictDeadline, id)) => {
                conflict::at_deadline(block, changes, ConflictId::new(id));
            }
            None => {}
        }
    }
}

/// The time of the first thing in the queue.
pub(crate) fn next(view: &dyn View) -> Option<Timestamp> {
    let (first, last) = keys::due_until(Timestamp(u64::MAX));
    let (key, _) = view.range(&first, &last, 1).pop()?;
    let time = key.as_bytes().get(1..9)?.try_into().ok()?;
    Some(Timestamp(u64::from_be_bytes(time)))
}

/// What a key of the queue names.
fn parse(key: &Key) -> Option<(DueKind, [u8; 32])> {
    let (kind, id) = key.as_bytes().get(9..)?.split_first()?;
    Some((DueKind::from_code(*kind)?, id.try_into().ok()?))
}
