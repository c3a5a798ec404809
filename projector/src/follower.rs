//! Following the log: one thread reads and verifies, another folds, a third scrubs the stored rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::block::{BlockError, VerifiedBlock, verify_blocks};
use chaoschain_events::log::{Entry, EventLog, LogError, ReadLimits};
use chaoschain_schemas::{ChainId, Header, Height, SealedBlock, Sequence};
use chaoschain_state::Key;
use chaoschain_state::domain::Machine;
use chaoschain_state::merkle::{leaf_hash, value_hash};
use tokio::runtime::Handle;

use crate::fold::{Fold, FoldError};
use crate::genesis::open_genesis;
use crate::head::Head;
use crate::projection::{Condition, Projection};
use crate::recover::OpenError;

/// How many verified batches may wait for the fold.
const BATCHES_AHEAD: usize = 2;
/// The most bytes of messages in a batch.
const BATCH_BYTES: usize = 8 << 20;
/// How long the follower waits after a read has failed.
const READ_RETRY: Duration = Duration::from_millis(500);
/// How many rows the scrub compares at a time, and how long it rests in between.
const SCRUB_ROWS: usize = 1024;
const SCRUB_REST: Duration = Duration::from_secs(5);

/// A message with what verification made of it.
struct Brought {
    sequence: Sequence,
    message: Bytes,
    block: Result<Arc<VerifiedBlock>, BlockError>,
}

/// Starts the threads of a projection.
pub(crate) fn start(projection: &Projection, runtime: &Handle) -> std::io::Result<Vec<JoinHandle<()>>> {
    let (batches, verified) = sync_channel(BATCHES_AHEAD);
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(work)
    };
    let (reader, folder, scrubber) = (projection.clone(), projection.clone(), projection.clone());
    let handle = runtime.clone();
    Ok(vec![
        spawn("projection-reader", Box::new(move || handle.block_on(read(&reader, &batches))))?,
        spawn("projection-fold", Box::new(move || fold(&folder, &verified)))?,
        spawn("projection-scrub", Box::new(move || scrub(&scrubber)))?,
    ])
}

/// Resolves when the projection is to stop, for whatever reason.
async fn stopped(projection: &Projection) {
    let mut condition = projection.watch_condition();
    let closing = || projection.inner().closing.load(Ordering::Acquire);
    // The condition is looked at first: what changes after that wakes us.
    while *condition.borrow_and_update() == Condition::Following && !closing() {
        if condition.changed().await.is_err() {
            return;
        }
    }
}

async fn read(projection: &Projection, batches: &SyncSender<Vec<Brought>>) {
    tokio::select! {
        () = stopped(projection) => {}
        error = follow(projection, batches) => match error {
            LogError::Closed => {}
            error => projection.degrade(error.code(), &error.to_string(), None),
        },
    }
}

/// Reads until it cannot; errors that may pass are tried again.
async fn follow(projection: &Projection, batches: &SyncSender<Vec<Brought>>) -> LogError {
    let limits = ReadLimits { messages: projection.inner().options.fold_batch.max(1), bytes: BATCH_BYTES };
    let mut next = projection.cursor().next();
    loop {
        let mut subscription = match projection.log().follow(next, limits).await {
            Ok(subscription) => subscription,
            Err(error) if passes(&error) => {
                tracing::warn!(%error, "the log cannot be followed, trying again");
                tokio::time::sleep(READ_RETRY).await;
                continue;
            }
            Err(error) => return error,
        };
        loop {
            let entries = match subscription.next_batch().await {
                Ok(entries) => entries,
                Err(error) if passes(&error) => {
                    tracing::warn!(%error, "the log cannot be read, trying again");
                    tokio::time::sleep(READ_RETRY).await;
                    break;
                }
                Err(error) => return error,
            };
            let Some(last) = entries.last() else { continue };
            next = last.sequence.next();
            let brought = bring(projection, entries);
            // The fold's side hangs up when the projection stops; then there is nothing left to read for.
            if !brought.is_empty() && batches.send(brought).is_err() {
                return LogError::Closed;
            }
        }
    }
}

/// Whether a failed read may succeed when it is tried again.
fn passes(error: &LogError) -> bool {
    matches!(error, LogError::Io { .. } | LogError::Unavailable { .. })
}

/// Verifies the messages that are not folded yet; our own blocks are known.
fn bring(projection: &Projection, entries: Vec<Entry>) -> Vec<Brought> {
    let folded = projection.head().sequence;
    let entries: Vec<Entry> = entries.into_iter().filter(|entry| entry.sequence > folded).collect();
    let own: Vec<_> = entries.iter().map(|entry| own_block(projection, &entry.message)).collect();
    let unknown = entries.iter().zip(&own).filter(|(_, own)| own.is_none());
    let unknown: Vec<Bytes> = unknown.map(|(entry, _)| entry.message.clone()).collect();
    let mut verified = verify_blocks(&unknown).into_iter();
    let blocks =
        own.into_iter().map(|own| own.map(Ok).or_else(|| verified.next().map(|block| block.map(Arc::new))));
    entries
        .into_iter()
        .zip(blocks)
        .filter_map(|(Entry { sequence, message }, block)| Some(Brought { sequence, message, block: block? }))
        .collect()
}

fn own_block(projection: &Projection, message: &Bytes) -> Option<Arc<VerifiedBlock>> {
    let header_hash = Header::hash_of(SealedBlock::decode(message).ok()?.header);
    projection.own_block(&header_hash).filter(|own| own.message() == message)
}

fn fold(projection: &Projection, verified: &Receiver<Vec<Brought>>) {
    while let Ok(batch) = verified.recv() {
        for Brought { sequence, message, block } in batch {
            if projection.inner().closing.load(Ordering::Acquire)
                || !projection.take(sequence, block, &message)
            {
                return;
            }
        }
    }
}

/// Compares stored rows with their hashes, a few at a time, for ever.
fn scrub(projection: &Projection) {
    let inner = projection.inner();
    let mut at: Option<Key> = None;
    while !inner.rest(SCRUB_REST) {
        let mut last = None;
        let mut seen = 0;
        let outcome = inner.store.rows(at.as_ref(), |key, leaf, value| {
            if leaf_hash(key.as_bytes(), &value_hash(value)) != leaf {
                return Err(crate::store::StoreError::RowChanged(key));
            }
            seen += 1;
            last = Some(key);
            Ok(seen < SCRUB_ROWS)
        });
        inner.rows_scrubbed.fetch_add(seen as u64, Ordering::Relaxed);
        match outcome {
            Ok(()) => at = last.filter(|_| seen == SCRUB_ROWS),
            Err(error @ crate::store::StoreError::RowChanged(_)) => {
                projection.degrade(error.code(), &error.to_string(), None);
                return;
            }
            // The writer tells of a file that cannot be read or written.
            Err(error) => tracing::debug!(%error, "scrub"),
        }
    }
}

/// Folds the log from its beginning to `height`, in memory only.
///
/// # Errors
/// [`OpenError`] when the log cannot be read or folded that far.
pub(crate) async fn refold(
    machine: &Arc<dyn Machine>,
    log: &dyn EventLog,
    chain: Option<ChainId>,
    height: Height,
) -> Result<Arc<Head>, OpenError> {
    let limits = ReadLimits { messages: 256, bytes: BATCH_BYTES };
    let mut fold: Option<Fold> = None;
    let mut next = Sequence(1);
    loop {
        let entries = log.read(next, limits).await?;
        let Some(last) = entries.last() else { return Err(OpenError::LogEmpty) };
        next = last.sequence.next();
        let mut entries = entries.into_iter();
        if fold.is_none() {
            let Some(first) = entries.next() else { continue };
            let beginning = open_genesis(&**machine, first.sequence, &first.message, chain)?;
            fold = Some(Fold::new(Arc::clone(machine), beginning.forest, beginning.head));
        }
        let Some(fold) = &mut fold else { continue };
        let entries: Vec<Entry> = entries.collect();
        let messages: Vec<Bytes> = entries.iter().map(|entry| entry.message.clone()).collect();
        for (entry, verified) in entries.iter().zip(verify_blocks(&messages)) {
            if fold.head().height() >= height {
                break;
            }
            match verified.map(|block| fold.fold(entry.sequence, &block)) {
                Err(_) | Ok(Ok(_) | Err(FoldError::Skip(_))) => {}
                Ok(Err(error)) => return Err(crate::store::StoreError::Corrupt(error.to_string()).into()),
            }
        }
        if fold.head().height() >= height {
            return Ok(Arc::clone(fold.head()));
        }
    }
}
