//! Starting from what is stored: every row checked, the trees rebuilt, the root compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaoschain_events::log::LogError;
use chaoschain_schemas::{ChainId, Hash, Header, Height, Sequence};
use chaoschain_state::domain::Machine;
use chaoschain_state::merkle::{Builder, Tree, leaf_hash, value_hash};
use chaoschain_state::{BLOCKS, DOMAIN_FIRST, Forest, Key};
use rayon::prelude::*;

use crate::archive::ArchiveError;
use crate::genesis::GenesisError;
use crate::head::Head;
use crate::store::{Store, StoreError, parse_frontier};

/// How many rows are checked at a time.
const CHUNK_ROWS: usize = 16 * 1024;

/// Why a projection cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log's first block.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The log has no block yet.
    #[error("the log is empty: make a chain with `chaoschain init`, or give the log of one")]
    LogEmpty,
    /// The log's beginning is gone, and there is nothing stored to start from.
    #[error("the log starts at {first}, its beginning is compacted away, and no state is stored here")]
    LogCompacted {
        /// The first message there is.
        first: Sequence,
    },
    /// The rows agree with their hashes but not with the recorded root.
    #[error("the stored rows give root {rebuilt} for sub-tree {sub_tree}, the header at height {height} says {recorded}{}", key.as_ref().map_or_else(String::new, |key| format!("; the first row that differs is {key}")))]
    RootMismatch {
        /// The stored height.
        height: Height,
        /// The first sub-tree that differs.
        sub_tree: usize,
        /// Its root in the header.
        recorded: Hash,
        /// Its root from the rows.
        rebuilt: Hash,
        /// The first row that differs from a refold of the log, where that was possible.
        key: Option<Box<Key>>,
    },
    /// The log ends before what is stored.
    #[error(
        "{}, this node has folded height {height}, then message {folded}: the log has lost acknowledged blocks; put them \
         back with `log restore` on a node that has them{}",
        ends(*tip, *log_height), see(evidence.as_deref())
    )]
    LogBehind {
        /// The log's last message.
        tip: Sequence,
        /// The newest height of our history that the log has.
        log_height: Option<Height>,
        /// The last message folded here, by the number it had then.
        folded: Sequence,
        /// Its height.
        height: Height,
        /// The file with what was found.
        evidence: Option<PathBuf>,
    },
    /// The log has another block of a producer where a folded one was.
    #[error(
        "message {sequence} of the log is block {found} at height {height}, folded was {expected}: the log was rewritten or \
         is another one; put the right one in place{}",
        see(evidence.as_deref())
    )]
    LogRewritten {
        /// The message.
        sequence: Sequence,
        /// The first height that differs.
        height: Height,
        /// The header hash that was folded at that height.
        expected: Hash,
        /// The header hash that stands there now.
        found: Hash,
        /// The file with what was found; the two headers are in `fork-<height>.proof` beside it.
        evidence: Option<PathBuf>,
    },
    /// The block archive cannot be used.
    #[error("the block archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The store belongs to another chain.
    #[error("the directory holds chain {found}, expected is {wanted}")]
    ChainWrong {
        /// The expected chain.
        wanted: ChainId,
        /// The stored one.
        found: ChainId,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl OpenError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Log(error) => error.code(),
            Self::Genesis(error) => error.code(),
            Self::LogEmpty => "log_empty",
            Self::LogCompacted { .. } => "log_compacted",
            Self::RootMismatch { .. } => "root_mismatch",
            Self::LogBehind { .. } => "log_behind",
            Self::LogRewritten { .. } => "log_rewritten",
            Self::Archive(error) => error.code(),
            Self::ChainWrong { .. } => "chain_wrong",
            Self::Thread(_) => "thread_unavailable",
        }
    }
}

fn ends(tip: Sequence, height: Option<Height>) -> String {
    match height {
        Some(height) => format!("the log ends at height {height} of this chain, message {tip}"),
        None if tip == Sequence(0) => "the log is empty".into(),
        None => format!("the log ends at message {tip} and has no block of this chain"),
    }
}

fn see(evidence: Option<&Path>) -> String {
    evidence.map_or_else(String::new, |path| format!(" (evidence: {})", path.display()))
}

/// What a node stood at when it last committed.
pub(crate) struct Recovered {
    pub(crate) forest: Forest,
    pub(crate) head: Arc<Head>,
    pub(crate) cursor: Sequence,
}

/// Rebuilds the state from the store; `None` for a new store.
///
/// `progress` is told how many rows are done.
pub(crate) fn recover(
    store: &Store,
    machine: &dyn Machine,
    expected: Option<ChainId>,
    progress: &dyn Fn(u64),
) -> Result<Option<Recovered>, OpenError> {
    let Some((chain, stored)) = store.head()? else { return Ok(None) };
    if let Some(wanted) = expected.filter(|wanted| *wanted != chain) {
        return Err(OpenError::ChainWrong { wanted, found: chain });
    }
    let damaged = |what: String| StoreError::Corrupt(what);
    let header = Header::decode(&stored.signed.header).map_err(|error| damaged(error.to_string()))?;
    let trees = rebuild(store, usize::from(DOMAIN_FIRST) + machine.sub_trees().len(), progress)?;
    let forest = Forest::from_trees(trees, parse_frontier(&stored)?);
    let rebuilt = forest.head().sub_roots();
    let differs = rebuilt.iter().zip(&header.sub_roots).position(|(a, b)| a != b);
    if let Some(sub_tree) = differs {
        return Err(OpenError::RootMismatch {
            height: header.height,
            sub_tree,
            recorded: header.sub_roots[sub_tree],
            rebuilt: rebuilt[sub_tree],
            key: None,
        });
    }
    if forest.head().root() != header.state_root {
        return Err(damaged("the stored header's roots do not agree with each other".into()).into());
    }
    let head = Arc::new(Head {
        hash: Header::hash_of(&stored.signed.header),
        header,
        signed: stored.signed,
        sequence: stored.sequence,
        state: Arc::clone(forest.head()),
    });
    Ok(Some(Recovered { forest, head, cursor: stored.cursor }))
}

fn rebuild(store: &Store, count: usize, progress: &dyn Fn(u64)) -> Result<Vec<Tree>, StoreError> {
    let mut builders: Vec<Builder> = (0..count).map(|_| Builder::new(Tree::new())).collect();
    let mut chunk: Vec<(Key, Hash, Vec<u8>)> = Vec::with_capacity(CHUNK_ROWS);
    let mut done = 0;
    store.rows(None, |key, leaf, value| {
        chunk.push((key, leaf, value.to_vec()));
        if chunk.len() == CHUNK_ROWS {
            add(&mut builders, &chunk)?;
            done += chunk.len() as u64;
            progress(done);
            chunk.clear();
        }
        Ok(true)
    })?;
    add(&mut builders, &chunk)?;
    progress(done + chunk.len() as u64);
    let built = builders
        .into_iter()
        .map(|builder| builder.finish().map_err(|error| StoreError::Corrupt(error.to_string())));
    built.collect()
}

fn add(builders: &mut [Builder], chunk: &[(Key, Hash, Vec<u8>)]) -> Result<(), StoreError> {
    let changed = chunk
        .par_iter()
        .find_first(|(key, leaf, value)| leaf_hash(key.as_bytes(), &value_hash(value)) != *leaf);
    if let Some((key, ..)) = changed {
        return Err(StoreError::RowChanged(*key));
    }
    for (key, leaf, value) in chunk {
        let builder = builders.get_mut(usize::from(key.sub_tree())).filter(|_| key.sub_tree() != BLOCKS);
        builder
            .ok_or(StoreError::RowChanged(*key))?
            .push(key.as_bytes(), value, *leaf)
            .map_err(|_| StoreError::RowChanged(*key))?;
    }
    Ok(())
}

/// The first row of `store` that differs from `state`, the refolded truth.
pub(crate) fn first_difference(store: &Store, head: &Head) -> Result<Option<Key>, StoreError> {
    let mut found = None;
    let mut truth = (0..head.state.sub_roots().len() as u8)
        .filter_map(|number| Some((number, head.state.tree(number)?)))
        .flat_map(|(number, tree)| {
            tree.iter().filter_map(move |(key, value)| Some((Key::from_bytes(number, &key)?, value)))
        })
        .peekable();
    store.rows(None, |key, _, value| {
        let expected = truth.next();
        found = match expected {
            Some((want, same)) if want == key && *same == *value => None,
            Some((want, _)) => Some(want.min(key)),
            None => Some(key),
        };
        Ok(found.is_none())
    })?;
    Ok(found.or_else(|| truth.next().map(|(key, _)| key)))
}
