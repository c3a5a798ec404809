//! The redb file: every table of it, and what each row means.
//!
//! # Format
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `"format"`, `"chain"`, `"head"` | format number; chain id; [`StoredHead`] |
//! | `rows` | sub-tree number ‖ record key | leaf hash (32) ‖ record value |
//! | `blocks` | height | [`BlockRecord`] |
//! | `tiles` | level, index | hashes of the blocks tree, 32 bytes each, at most 256 |
//! | `skipped` | sequence | class, code and reason of a message that is not history |
//! | `finality` | finalized height | its header hash, weight, total weight, and the attestations that make it final |
//! | `runs` | number | level and length of a run of ids |
//! | `ids-<run>` | first 16 bytes of a transition id | height, index |
//!
//! Rows, tiles, ids and head change together, in one durable transaction. Ids are written in sorted runs that are merged as
//! they multiply ([`crate::ids`]), because single inserts at random places are the dearest thing redb does.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use chaoschain_schemas::limits::VALUE_BYTES_MAX;
use chaoschain_schemas::{
    Blob, ChainId, EventAddress, Hash, Height, Sequence, SignedHeader, TransitionId, codec,
};
use chaoschain_state::merkle::blocks::{Frontier, TILE_ENTRIES, TileSource};
use chaoschain_state::merkle::{leaf_hash, value_hash};
use chaoschain_state::{Key, Value};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use crate::attestations::{Checkpoint, FINALITY};
use crate::head::Head;
use crate::ids;
use crate::skip::Skipped;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const TILES: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("tiles");
const SKIPPED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("skipped");

/// The number of the file's format that this build writes and reads.
const FORMAT: u16 = 1;
/// The most skipped messages whose reasons are kept; the oldest go first.
pub const SKIPPED_KEPT_MAX: u64 = 10_000;
/// How much of the file redb may keep in memory, bytes.
const CACHE_BYTES: usize = 128 << 20;
/// The file's name in a data directory.
pub const FILE_NAME: &str = "projection.redb";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("{} is in use by another process: stop it, or use another directory", .0.display())]
    Locked(PathBuf),
    /// The file is none of ours.
    #[error("{} is not a chaoschain projection ({reason}): is this the right directory?", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it can be told.
        reason: String,
    },
    /// The file was written by a newer version of this program.
    #[error("the projection has format {found}, this program knows up to {FORMAT}: use a newer one")]
    NewerFormat {
        /// The file's format.
        found: u16,
    },
    /// The file is damaged.
    #[error("the projection is damaged: {0}; rebuild it from the log with `chaoschain replay`")]
    Corrupt(String),
    /// A row was changed by something else than this program.
    #[error("the row at {0} was changed behind the projection's back; rebuild it with `chaoschain replay`")]
    RowChanged(Key),
    /// The disk is full.
    #[error("no space left for the projection: make room; reads go on and commits resume by themselves")]
    NoSpace,
    /// The block archive cannot be written, and nothing is stored that is not archived.
    #[error("the block archive: {0}; reads go on and commits resume when it can be written")]
    Unarchived(String),
    /// The file cannot be read or written now.
    #[error("the projection's file: {0}")]
    Io(String),
}

impl StoreError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Locked(_) => "store_locked",
            Self::Foreign { .. } => "store_foreign",
            Self::NewerFormat { .. } => "store_format_newer",
            Self::Corrupt(_) => "store_corrupt",
            Self::RowChanged(_) => "row_changed",
            Self::NoSpace => "store_no_space",
            Self::Unarchived(_) => "archive_unwritable",
            Self::Io(_) => "store_io",
        }
    }
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::NoSpace,
            redb::Error::Corrupted(what) => Self::Corrupt(what),
            other => Self::Io(other.to_string()),
        }
    }
}

/// Where the stored state stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHead {
    /// The log's number of the head's message.
    pub sequence: Sequence,
    /// The last message that was looked at, skipped ones included.
    pub cursor: Sequence,
    /// The head's header with its signature.
    pub signed: SignedHeader,
    /// The blocks tree below the head.
    pub frontier: Blob,
}

/// What is kept of a block besides its effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// The log's number of the block's message.
    pub sequence: Sequence,
    /// The header's hash.
    pub header_hash: Hash,
    /// The header with its signature.
    pub signed: SignedHeader,
}

impl BlockRecord {
    pub(crate) fn of(head: &Head) -> Self {
        Self { sequence: head.sequence, header_hash: head.hash, signed: head.signed.clone() }
    }
}

/// Everything that one commit writes.
#[derive(Default)]
pub(crate) struct Batch {
    /// The newest value of each row that changed; `None` when it was removed.
    pub(crate) rows: BTreeMap<Key, Option<Value>>,
    /// The blocks, ascending.
    pub(crate) blocks: Vec<(Height, BlockRecord)>,
    /// The transitions of those blocks.
    pub(crate) ids: Vec<(TransitionId, EventAddress)>,
    /// Skipped messages.
    pub(crate) skipped: Vec<Skipped>,
    /// What makes the newest final height final, when that is news.
    pub(crate) finality: Option<Checkpoint>,
}

/// The redb file of one node.
pub struct Store {
    path: PathBuf,
    /// Empty only while the file is being opened again after a failed write.
    database: RwLock<Option<Database>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Store {
    /// Opens the file in `dir`, which is made with mode 0700, the file with 0600. Every page's checksum is verified.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        create_private_dir(dir).map_err(|error| StoreError::Io(format!("{}: {error}", dir.display())))?;
        let path = dir.join(FILE_NAME);
        let database = open_database(&path, true)?;
        let store = Self { path, database: RwLock::new(Some(database)) };
        store.check_format()?;
        Ok(store)
    }

    /// Opens the file again, after a write has failed; `checked` verifies every page's checksum.
    pub(crate) fn reopen(&self, checked: bool) -> Result<(), StoreError> {
        let mut slot = self.database.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        *slot = Some(open_database(&self.path, checked)?);
        Ok(())
    }

    /// Lets go of the file; whatever is asked afterwards answers that it is closed.
    pub(crate) fn close(&self) {
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.meta("format")?;
        match found {
            None => {
                let txn = self.begin_write()?;
                txn.open_table(META)?.insert("format", &codec::encode(&FORMAT)[..])?;
                txn.open_table(ROWS)?;
                txn.open_table(BLOCKS)?;
                txn.open_table(TILES)?;
                txn.open_table(SKIPPED)?;
                txn.open_table(FINALITY)?;
                txn.open_table(ids::RUNS)?;
                txn.commit()?;
                Ok(())
            }
            Some(bytes) => match codec::decode_trusted::<u16>(&bytes) {
                Ok(FORMAT) => Ok(()),
                Ok(found) => Err(StoreError::NewerFormat { found }),
                Err(error) => Err(StoreError::Foreign {
                    path: self.path.clone(),
                    reason: format!("no format: {error}"),
                }),
            },
        }
    }

    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let guard = self.lock();
        Ok(guard.as_ref().ok_or_else(closed)?.begin_write()?)
    }

    pub(crate) fn begin_read(&self) -> Result<redb::ReadTransaction, StoreError> {
        let guard = self.lock();
        Ok(guard.as_ref().ok_or_else(closed)?.begin_read()?)
    }

    fn lock(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let txn = self.begin_read()?;
        let table = match txn.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(table.get(name)?.map(|value| value.value().to_vec()))
    }

    /// The chain the file belongs to and where it stands; `None` in a new file.
    pub fn head(&self) -> Result<Option<(ChainId, StoredHead)>, StoreError> {
        let (Some(chain), Some(head)) = (self.meta("chain")?, self.meta("head")?) else { return Ok(None) };
        let damaged = |error: chaoschain_schemas::CodecError| StoreError::Corrupt(error.to_string());
        Ok(Some((codec::decode_trusted(&chain).map_err(damaged)?, parse_head(&head)?)))
    }

    /// Calls `visit` with every row in order: its key, the leaf hash that was stored with it, and its value.
    ///
    /// # Errors
    /// [`StoreError`], or what `visit` answers.
    pub fn rows(
        &self,
        from: Option<&Key>,
        mut visit: impl FnMut(Key, Hash, &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let txn = self.begin_read()?;
        let table = txn.open_table(ROWS)?;
        let start = from.map(row_key).unwrap_or_default();
        for row in table.range(&start[..]..)? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            let bad = || StoreError::Corrupt(format!("a row of {} and {} bytes", key.len(), value.len()));
            let (sub_tree, key) = key.split_first().ok_or_else(bad)?;
            let key = Key::from_bytes(*sub_tree, key).ok_or_else(bad)?;
            let (leaf, value) = value.split_at_checked(32).ok_or_else(bad)?;
            let leaf = Hash::new(leaf.try_into().map_err(|_| bad())?);
            if value.len() > VALUE_BYTES_MAX {
                return Err(bad());
            }
            if !visit(key, leaf, value)? {
                break;
            }
        }
        Ok(())
    }

    /// What is kept of the block at `height`.
    pub fn block(&self, height: Height) -> Result<Option<BlockRecord>, StoreError> {
        let txn = self.begin_read()?;
        let table = txn.open_table(BLOCKS)?;
        let Some(bytes) = table.get(height.0)? else { return Ok(None) };
        parse_block(bytes.value()).map(Some)
    }

    /// Where the transition stands, if its block is stored.
    pub fn locate(&self, id: &TransitionId) -> Result<Option<EventAddress>, StoreError> {
        ids::find(&self.begin_read()?, id)
    }

    /// The newest skipped messages, newest first.
    pub fn skipped(&self, limit: usize) -> Result<Vec<Skipped>, StoreError> {
        let txn = self.begin_read()?;
        let table = txn.open_table(SKIPPED)?;
        let mut found = Vec::new();
        for row in table.range::<u64>(..)?.rev().take(limit) {
            let (sequence, bytes) = row?;
            let (class, code, message) = codec::decode_trusted(bytes.value())
                .map_err(|error| StoreError::Corrupt(error.to_string()))?;
            found.push(Skipped { sequence: Sequence(sequence.value()), class, code, message });
        }
        Ok(found)
    }

    /// Writes a batch and the head it leads to, durably and together.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it is stored, and the file may have to be opened again.
    pub(crate) fn commit(&self, batch: &Batch, head: &Head, cursor: Sequence) -> Result<(), StoreError> {
        let mut txn = self.begin_write()?;
        // Saves the allocator state with every commit, so that a crash costs no full repair at the next start.
        txn.set_quick_repair(true);
        write_rows(&txn, &batch.rows)?;
        write_blocks(&txn, &batch.blocks)?;
        write_tiles(&txn, head)?;
        write_skipped(&txn, &batch.skipped)?;
        if let Some(checkpoint) = &batch.finality {
            checkpoint.write(&txn)?;
        }
        if !batch.ids.is_empty() {
            ids::add_run(&txn, &batch.ids)?;
        }
        let stored = StoredHead {
            sequence: head.sequence,
            cursor,
            signed: head.signed.clone(),
            frontier: head.state.blocks().encode().into(),
        };
        {
            let mut meta = txn.open_table(META)?;
            meta.insert("chain", &codec::encode(&head.header.chain)[..])?;
            meta.insert("head", &codec::encode(&stored)[..])?;
        }
        txn.commit()?;
        Ok(())
    }

    /// Stores at which numbers of the log blocks stand now; `head` is that of the newest stored one, from which reading
    /// then goes on.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of it is stored.
    pub(crate) fn renumber(
        &self,
        moved: &[(Height, Sequence)],
        head: Option<Sequence>,
    ) -> Result<(), StoreError> {
        let mut txn = self.begin_write()?;
        txn.set_quick_repair(true);
        {
            let mut blocks = txn.open_table(BLOCKS)?;
            for (height, sequence) in moved {
                let record = blocks.get(height.0)?.map(|bytes| parse_block(bytes.value())).transpose()?;
                let record = record.ok_or_else(|| block_missing(height.0))?;
                let record = BlockRecord { sequence: *sequence, ..record };
                blocks.insert(height.0, &codec::encode(&record)[..])?;
            }
            let mut meta = txn.open_table(META)?;
            if let Some(sequence) = head {
                let stored = meta.get("head")?.map(|bytes| parse_head(bytes.value())).transpose()?;
                let stored = stored.ok_or_else(|| StoreError::Corrupt("no head is stored".into()))?;
                let stored = StoredHead { sequence, cursor: sequence, ..stored };
                meta.insert("head", &codec::encode(&stored)[..])?;
            }
        }
        txn.commit()?;
        Ok(())
    }

    /// Checks every page's checksum again.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when one does not hold; the store must have no readers.
    pub fn check_integrity(&self) -> Result<(), StoreError> {
        self.reopen(true)
    }
}

/// Hash tiles straight from the file.
impl TileSource for Store {
    type Error = StoreError;

    fn tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, StoreError> {
        let txn = self.begin_read()?;
        let table = txn.open_table(TILES)?;
        Ok(table.get((level, index))?.map(|bytes| parse_tile(bytes.value())).unwrap_or_default())
    }

    fn header_hash(&self, height: u64) -> Result<Hash, StoreError> {
        let record = self.block(Height(height))?;
        record.map(|record| record.header_hash).ok_or_else(|| block_missing(height))
    }
}

fn block_missing(height: u64) -> StoreError {
    StoreError::Corrupt(format!("block {height} is not recorded"))
}

fn parse_tile(bytes: &[u8]) -> Vec<Hash> {
    bytes.as_chunks::<32>().0.iter().map(|entry| Hash::new(*entry)).collect()
}

fn closed() -> StoreError {
    StoreError::Io("is closed, or being opened again after a failed write".into())
}

fn row_key(key: &Key) -> Vec<u8> {
    [&[key.sub_tree()], key.as_bytes()].concat()
}

fn write_rows(txn: &WriteTransaction, rows: &BTreeMap<Key, Option<Value>>) -> Result<(), StoreError> {
    let mut table = txn.open_table(ROWS)?;
    let (mut stored_key, mut stored) = (Vec::new(), Vec::new());
    for (key, value) in rows {
        stored_key.clear();
        stored_key.push(key.sub_tree());
        stored_key.extend_from_slice(key.as_bytes());
        match value {
            Some(value) => {
                stored.clear();
                stored.extend_from_slice(leaf_hash(key.as_bytes(), &value_hash(value)).as_bytes());
                stored.extend_from_slice(value);
                table.insert(&stored_key[..], &stored[..])?;
            }
            None => {
                table.remove(&stored_key[..])?;
            }
        }
    }
    Ok(())
}

fn write_blocks(txn: &WriteTransaction, blocks: &[(Height, BlockRecord)]) -> Result<(), StoreError> {
    let mut table = txn.open_table(BLOCKS)?;
    for (height, record) in blocks {
        table.insert(height.0, &codec::encode(record)[..])?;
    }
    Ok(())
}

/// Brings the tiles up to the blocks below `head`.
fn write_tiles(txn: &WriteTransaction, head: &Head) -> Result<(), StoreError> {
    let stored = txn.open_table(META)?.get("head")?.map(|bytes| bytes.value().to_vec());
    let mut frontier = match stored {
        Some(bytes) => parse_head(&bytes).and_then(|head| parse_frontier(&head))?,
        None => Frontier::new(),
    };
    let blocks = txn.open_table(BLOCKS)?;
    let mut tiles = txn.open_table(TILES)?;
    let mut touched: BTreeMap<(u8, u64), Vec<Hash>> = BTreeMap::new();
    while frontier.len() < head.height().0 {
        let height = frontier.len();
        let record = blocks.get(height)?.ok_or_else(|| block_missing(height))?;
        for entry in frontier.append(parse_block(record.value())?.header_hash) {
            let at = (entry.level, entry.index / TILE_ENTRIES as u64);
            let tile = match touched.entry(at) {
                Entry::Occupied(tile) => tile.into_mut(),
                Entry::Vacant(slot) => {
                    slot.insert(tiles.get(at)?.map(|bytes| parse_tile(bytes.value())).unwrap_or_default())
                }
            };
            tile.push(entry.hash);
        }
    }
    for (at, tile) in touched {
        let bytes: Vec<u8> = tile.iter().flat_map(|hash| *hash.as_bytes()).collect();
        tiles.insert(at, &bytes[..])?;
    }
    Ok(())
}

fn parse_head(bytes: &[u8]) -> Result<StoredHead, StoreError> {
    codec::decode_trusted(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn parse_block(bytes: &[u8]) -> Result<BlockRecord, StoreError> {
    codec::decode_trusted(bytes).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The blocks tree below a stored head.
pub(crate) fn parse_frontier(head: &StoredHead) -> Result<Frontier, StoreError> {
    Frontier::decode(&head.frontier).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn write_skipped(txn: &WriteTransaction, skipped: &[Skipped]) -> Result<(), StoreError> {
    let mut table = txn.open_table(SKIPPED)?;
    for skip in skipped {
        table.insert(skip.sequence.0, &codec::encode(&(&skip.class, &skip.code, &skip.message))[..])?;
    }
    while table.len()? > SKIPPED_KEPT_MAX {
        table.pop_first()?;
    }
    Ok(())
}

/// Opens or makes the file. redb trusts what it reads, so a damaged file may make it panic; that is an error here.
fn open_database(path: &Path, checked: bool) -> Result<Database, StoreError> {
    create_private_file(path).map_err(|error| StoreError::Io(format!("{}: {error}", path.display())))?;
    let opened = catch_unwind(AssertUnwindSafe(|| {
        Database::builder().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(checked).create(path)
    }));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(redb::DatabaseError::DatabaseAlreadyOpen)) => Err(StoreError::Locked(path.into())),
        Ok(Err(redb::DatabaseError::UpgradeRequired(version))) => {
            Err(StoreError::Foreign { path: path.into(), reason: format!("redb file format {version}") })
        }
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(io))))
            if io.kind() == std::io::ErrorKind::InvalidData =>
        {
            Err(StoreError::Foreign { path: path.into(), reason: io.to_string() })
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(StoreError::Corrupt("its structure cannot be read".into())),
    }
}

/// Makes a file that only its owner may read and write, if it is not there.
pub(crate) fn create_private_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Makes a directory that only its owner may enter, with what leads to it.
pub fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
