//! Following the log: one thread reads and verifies, another folds, a third asks how far the log goes, a fourth scrubs the
//! stored rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::block::{VerifiedBlock, verify_blocks};
use chaoschain_events::log::{Entry, EventLog, LogError, ReadLimits, Subscription};
use chaoschain_schemas::{ChainId, Header, Height, SealedBlock, Sequence};
use chaoschain_state::Key;
use chaoschain_state::domain::Machine;
use chaoschain_state::merkle::{leaf_hash, value_hash};
use tokio::runtime::Handle;

use crate::anchor::{Findings, Known, examine, is_in_place, report};
use crate::divergence::trace;
use crate::fold::{Fold, FoldError};
use crate::genesis::open_genesis;
use crate::head::Head;
use crate::log_watch::{Backoff, Reader};
use crate::projection::{Brought, Condition, Projection, Taken};
use crate::recover::OpenError;

/// How many verified batches may wait for the fold.
const BATCHES_AHEAD: usize = 2;
/// The most bytes of messages in a batch.
const BATCH_BYTES: usize = 8 << 20;
/// How often the log is asked how far it goes, and how long it may take to answer.
const TIP_INTERVAL: Duration = Duration::from_secs(2);
const TIP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a node that has stopped looks into the log for what happened. The next start takes the time that it needs.
const EXAMINE_PATIENCE: Duration = Duration::from_mins(1);
/// How many rows the scrub compares at a time, and how long it rests in between.
const SCRUB_ROWS: usize = 1024;
const SCRUB_REST: Duration = Duration::from_secs(5);

/// Starts the threads of a projection.
pub(crate) fn start(projection: &Projection, runtime: &Handle) -> std::io::Result<Vec<JoinHandle<()>>> {
    let (batches, verified) = sync_channel(BATCHES_AHEAD);
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.into()).spawn(work)
    };
    let (reader, folder, scrubber) = (projection.clone(), projection.clone(), projection.clone());
    let (reads, folds, asks) = (runtime.clone(), runtime.clone(), runtime.clone());
    let asker = projection.clone();
    Ok(vec![
        spawn("projection-reader", Box::new(move || reads.block_on(read(&reader, &batches))))?,
        spawn("projection-fold", Box::new(move || fold(&folder, &verified, &folds)))?,
        spawn("projection-tip", Box::new(move || watch_tip(&asker, &asks)))?,
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

/// Why reading has ended.
enum End {
    /// The projection closes, or has stopped already.
    Closing,
    /// The log says that it cannot go on.
    Log(LogError),
    /// The log does not have our head any more.
    HeadGone,
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Closed => Self::Closing,
            error => Self::Log(error),
        }
    }
}

async fn read(projection: &Projection, batches: &SyncSender<Vec<Brought>>) {
    let end = tokio::select! {
        () = stopped(projection) => return,
        end = follow(projection, batches) => end,
    };
    stop_for(projection, end).await;
}

async fn stop_for(projection: &Projection, end: End) {
    match end {
        End::Closing => {}
        End::Log(error @ (LogError::Replaced { .. } | LogError::Lost { .. })) => {
            stop_for_log(projection, error.code(), &error.to_string()).await;
        }
        End::Log(error) => projection.degrade(error.code(), &error.to_string(), None),
        End::HeadGone => stop_for_head(projection).await,
    }
}

/// Stops because the log does not have our head where it was folded from.
async fn stop_for_head(projection: &Projection) {
    let head = projection.head();
    let message = format!(
        "message {} of the log is not the block that was folded from it (height {}, {}): the log was replaced, rewritten or \
         put back under other numbers. If the right one is in place again, restart this node; if it has lost blocks, put them \
         back with `log restore`",
        head.sequence,
        head.height(),
        head.hash
    );
    stop_for_log(projection, "log_replaced", &message).await;
}

/// Stops at once, then looks into what is left in the log and writes it down.
async fn stop_for_log(projection: &Projection, code: &str, message: &str) {
    projection.degrade(code, message, None);
    let head = projection.head();
    let write =
        |findings: &Findings| report(findings, &head, findings.ours(projection), code, projection.dir());
    // The little that is known already, in case that looking takes long.
    let mut evidence = write(&Findings::default());
    let ignore = &mut |_: Height, _: &Known, _: Sequence| Ok(());
    let examined = tokio::select! {
        examined = examine(&**projection.log(), projection, head.header.chain, head.height(), ignore) => {
            examined.map_err(|error| error.to_string())
        }
        () = tokio::time::sleep(EXAMINE_PATIENCE) => Err("it takes too long".to_owned()),
        () = closing(projection) => return,
    };
    match examined {
        Ok(findings) => evidence = write(&findings),
        Err(error) => tracing::warn!(error, "the log cannot be looked into"),
    }
    if let Some(path) = evidence {
        projection.add_evidence(path);
    }
}

/// Resolves when the projection is being closed.
pub(crate) async fn closing(projection: &Projection) {
    let mut condition = projection.watch_condition();
    while !projection.inner().closing.load(Ordering::Acquire) {
        if condition.changed().await.is_err() {
            return;
        }
    }
}

/// Asks the log how far it goes, for ever: that is what lag is measured by, and how a log that went back or went away is
/// noticed when nothing is appended.
fn watch_tip(projection: &Projection, runtime: &Handle) {
    let inner = projection.inner();
    loop {
        let folded = projection.head().sequence;
        let asked = runtime.block_on(async {
            tokio::select! {
                asked = tokio::time::timeout(TIP_PATIENCE, projection.log().tip()) => Some(asked),
                () = stopped(projection) => None,
            }
        });
        let Some(asked) = asked else { return };
        let late = |_| {
            let seconds = TIP_PATIENCE.as_secs();
            Err(LogError::Unavailable { reason: format!("it did not say its tip within {seconds} s") })
        };
        let end = match asked.unwrap_or_else(late) {
            Ok(tip) if tip < folded => Some(End::HeadGone),
            Ok(tip) => {
                inner.log_watch.saw(tip);
                inner.log_watch.well(Reader::Tip);
                None
            }
            Err(error) if passes(&error) => {
                inner.log_watch.trouble(Reader::Tip, &error);
                None
            }
            Err(error) => Some(error.into()),
        };
        if let Some(end) = end {
            return runtime.block_on(stop_for(projection, end));
        }
        if inner.rest(TIP_INTERVAL) {
            return;
        }
    }
}

/// Reads until it cannot; errors that may pass are tried again.
async fn follow(projection: &Projection, batches: &SyncSender<Vec<Brought>>) -> End {
    let limits = ReadLimits { messages: projection.inner().options.fold_batch.max(1), bytes: BATCH_BYTES };
    let watch = &projection.inner().log_watch;
    let mut backoff = Backoff::default();
    let mut next = projection.cursor().next();
    loop {
        let error = match subscribe(projection, next, limits).await {
            Ok(mut subscription) => loop {
                watch.well(Reader::Follower);
                let entries = match subscription.next_batch().await {
                    Ok(entries) => entries,
                    Err(error) => break error.into(),
                };
                backoff.reset();
                let Some(last) = entries.last() else { continue };
                watch.saw(last.sequence);
                next = last.sequence.next();
                let brought = match bring(projection, entries).await {
                    Ok(brought) => brought,
                    Err(error) => break error.into(),
                };
                // The fold's side hangs up when the projection stops; then there is nothing left to read for.
                if !brought.is_empty() && batches.send(brought).is_err() {
                    return End::Closing;
                }
            },
            Err(end) => end,
        };
        match error {
            End::Log(error) if passes(&error) => watch.trouble(Reader::Follower, &error),
            end => return end,
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Follows the log from `next` on, after a look whether it is still the one that was folded.
async fn subscribe(
    projection: &Projection,
    next: Sequence,
    limits: ReadLimits,
) -> Result<Box<dyn Subscription>, End> {
    if !is_in_place(&**projection.log(), &projection.head()).await? {
        return Err(End::HeadGone);
    }
    Ok(projection.log().follow(next, limits).await?)
}

/// Whether a failed read may succeed when it is tried again.
pub(crate) fn passes(error: &LogError) -> bool {
    matches!(error, LogError::Io { .. } | LogError::Unavailable { .. })
}

/// Verifies the messages that are not folded yet; our own blocks are known.
async fn bring(projection: &Projection, entries: Vec<Entry>) -> Result<Vec<Brought>, LogError> {
    let folded = projection.head().sequence;
    let entries: Vec<Entry> = entries.into_iter().filter(|entry| entry.sequence > folded).collect();
    let own: Vec<_> = entries.iter().map(|entry| own_block(projection, &entry.message)).collect();
    let unknown = entries.iter().zip(&own).filter(|(_, own)| own.is_none());
    let unknown: Vec<Bytes> = unknown.map(|(entry, _)| entry.message.clone()).collect();
    let mut verified = verify_blocks(&unknown).into_iter();
    let blocks: Vec<_> = own
        .into_iter()
        .map_while(|own| own.map(Ok).or_else(|| verified.next().map(|block| block.map(Arc::new))))
        .collect();
    let archived = match projection.archive() {
        Some(archive) => {
            let heights = blocks.iter().flatten().map(|block| block.header().height);
            archive.opened_hashes(heights).await?
        }
        None => BTreeMap::new(),
    };
    let brought = entries.into_iter().zip(blocks).map(|(Entry { sequence, message }, block)| {
        let height = block.as_ref().ok().map(|block| block.header().height);
        let archived = height.and_then(|height| archived.get(&height).copied());
        Brought { sequence, message, block, archived }
    });
    Ok(brought.collect())
}

fn own_block(projection: &Projection, message: &Bytes) -> Option<Arc<VerifiedBlock>> {
    let header_hash = Header::hash_of(SealedBlock::decode(message).ok()?.header);
    projection.own_block(&header_hash).filter(|own| own.message() == message)
}

fn fold(projection: &Projection, verified: &Receiver<Vec<Brought>>, runtime: &Handle) {
    fold_all(projection, verified, runtime);
    if let Some(diverged) = projection.inner().diverged.get() {
        runtime.block_on(trace(projection, diverged));
    }
}

fn fold_all(projection: &Projection, verified: &Receiver<Vec<Brought>>, runtime: &Handle) {
    // What is archived may lie beyond the whole log, and then nothing comes.
    if projection.check_archived_tail() == Taken::Stop {
        return;
    }
    while let Ok(batch) = verified.recv() {
        let mut look_again = false;
        for brought in batch {
            if projection.inner().closing.load(Ordering::Acquire) {
                return;
            }
            match projection.take(brought) {
                Taken::GoOn => {}
                Taken::LookAgain => look_again = true,
                Taken::Stop => return,
            }
        }
        if projection.check_archived_tail() == Taken::Stop {
            return;
        }
        let head = projection.head();
        // A log that cannot be read is looked at again when it is followed again.
        if look_again && matches!(runtime.block_on(is_in_place(&**projection.log(), &head)), Ok(false)) {
            runtime.block_on(stop_for_head(projection));
            return;
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
    let mut next = log.first().await?;
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
