//! Opening a projection: from what is stored, or from the log's first block.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use bytes::Bytes;
use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_schemas::{Height, Sequence};
use chaoschain_state::Key;
use chaoschain_state::domain::{Machine, ReadModel};
use tokio::sync::watch;

use super::{Condition, Inner, Projection, ProjectionOptions, Retained};
use crate::anchor::anchor;
use crate::archive::{ArchiveError, BlockArchive, place};
use crate::attestations::Attestations;
use crate::fold::{Fold, Folded};
use crate::follower;
use crate::genesis::{Beginning, open_genesis};
use crate::head::Head;
use crate::log_watch::LogWatch;
use crate::recover::{self, OpenError, Recovered, recover};
use crate::store::Store;
use crate::writer::{Writer, prime_models};

impl Projection {
    /// Opens what is stored in `options.dir`, or begins at the log's first block, and checks that the log still has
    /// what was folded from it. Nothing is followed yet.
    ///
    /// `progress` is told how many stored rows are checked.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(
        options: ProjectionOptions,
        machine: Arc<dyn Machine>,
        log: Arc<dyn EventLog>,
        mut models: Vec<Box<dyn ReadModel>>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Self, OpenError> {
        let store = Arc::new(Store::open(&options.dir)?);
        let recovered = match recover(&store, &*machine, options.chain, progress) {
            Err(OpenError::RootMismatch { height, sub_tree, recorded, rebuilt, .. }) if options.diagnose => {
                let key = name_difference(&store, &machine, &log, &options, height).await.map(Box::new);
                return Err(OpenError::RootMismatch { height, sub_tree, recorded, rebuilt, key });
            }
            recovered => recovered?,
        };
        let mut begun = None;
        let (archive, Recovered { forest, head, cursor }) = if let Some(recovered) = recovered {
            let recovered = anchored(recovered, &store, &*log, &options).await?;
            let archive = open_archive(&options, &store, Some(&recovered.head), &*log).await?;
            (archive, recovered)
        } else {
            let archive = open_archive(&options, &store, None, &*log).await?;
            let (beginning, message) = begin(&*machine, &*log, &options, archive.as_deref()).await?;
            let Beginning { forest, head, changes } = beginning;
            let cursor = head.sequence;
            begun = Some((changes, message));
            (archive, Recovered { forest, head, cursor })
        };
        let opened_tip = log.tip().await?;
        if begun.is_none() {
            prime_models(&mut models, &head);
        }
        let writer = Writer::start(Arc::clone(&store), Arc::clone(&head), cursor, models, archive.clone())
            .map_err(OpenError::Thread)?;
        if let Some((changes, message)) = begun {
            if let Some(archive) = &archive {
                archive.push(head.height(), message);
            }
            let (changes, ids) = (Arc::new(changes), Arc::default());
            writer.folded(Folded { head: Arc::clone(&head), changes, ids, message: Bytes::new() });
        }
        let log_watch = LogWatch::default();
        log_watch.saw(opened_tip);
        let attestations = Attestations::open(&store, writer.shared(), &options.dir, &head)?;
        let mut retained = Retained::default();
        retained.push(Arc::clone(&head), 0);
        Ok(Self(Arc::new(Inner {
            options,
            fold: Mutex::new(Fold::new(Arc::clone(&machine), forest, Arc::clone(&head))),
            machine,
            log,
            store,
            own: Mutex::default(),
            published: watch::Sender::new(head),
            retained: Mutex::new(retained),
            writer,
            archive,
            log_watch,
            opened_tip,
            condition: watch::Sender::new(Condition::Following),
            cursor: watch::Sender::new(cursor),
            attestations,
            diverged: OnceLock::new(),
            skipped: Mutex::default(),
            events_folded: AtomicU64::new(0),
            rows_scrubbed: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            threads: Mutex::default(),
            rest: Condvar::new(),
        })))
    }
}

/// Finds the stored head in the log, where its number may be another now.
async fn anchored(
    recovered: Recovered,
    store: &Store,
    log: &dyn EventLog,
    options: &ProjectionOptions,
) -> Result<Recovered, OpenError> {
    let Some(sequence) = anchor(log, store, &recovered.head, &options.dir).await? else {
        // The log may have lost skipped messages behind the head; others may come to stand in their place.
        let cursor = recovered.cursor.min(log.tip().await?);
        return Ok(Recovered { cursor, ..recovered });
    };
    let head = Arc::new(Head { sequence, ..Head::clone(&recovered.head) });
    Ok(Recovered { forest: recovered.forest, head, cursor: sequence })
}

async fn open_archive(
    options: &ProjectionOptions,
    store: &Store,
    head: Option<&Head>,
    log: &dyn EventLog,
) -> Result<Option<Arc<BlockArchive>>, OpenError> {
    let Some(dir) = &options.archive else { return Ok(None) };
    Ok(Some(Arc::new(BlockArchive::open(dir, store, head, log).await?)))
}

/// Begins at the log's first message, which it also answers.
async fn begin(
    machine: &dyn Machine,
    log: &dyn EventLog,
    options: &ProjectionOptions,
    archive: Option<&BlockArchive>,
) -> Result<(Beginning, Bytes), OpenError> {
    let first = log.first().await?;
    let archived = archive.and_then(BlockArchive::height);
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    let Some(entry) = log.read(first, limits).await?.into_iter().next() else {
        let lost = |height| OpenError::LogBehind {
            tip: Sequence(0),
            log_height: None,
            folded: place(height),
            height,
            evidence: None,
        };
        return Err(archived.map_or(OpenError::LogEmpty, lost));
    };
    // A log that was emptied and restored begins later than at 1, and with block 0 all the same.
    let beginning = match open_genesis(machine, entry.sequence, &entry.message, options.chain) {
        Err(error) if first > Sequence(1) && error.code() != "chain_wrong" => {
            return Err(OpenError::LogCompacted { first });
        }
        beginning => beginning?,
    };
    if let (Some(archive), Some(dir)) = (archive, &options.archive) {
        let (height, stored) = (beginning.head.height(), beginning.head.hash);
        let archived = archive.opened_hashes([height].into_iter()).await.map_err(ArchiveError::Log)?;
        if let Some(archived) = archived.get(&height).copied().filter(|archived| *archived != stored) {
            return Err(ArchiveError::Differs { dir: dir.clone(), height, archived, stored }.into());
        }
    }
    Ok((beginning, entry.message))
}

/// Refolds the log in memory up to `height` to name the first stored row that differs; `None` when that cannot be done.
async fn name_difference(
    store: &Store,
    machine: &Arc<dyn Machine>,
    log: &Arc<dyn EventLog>,
    options: &ProjectionOptions,
    height: Height,
) -> Option<Key> {
    tracing::warn!(%height, "the stored rows do not give the recorded root; refolding the log to name the row");
    let head = follower::refold(machine, &**log, options.chain, height).await.ok()?;
    recover::first_difference(store, &head).ok().flatten()
}
