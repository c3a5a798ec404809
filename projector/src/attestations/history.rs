//! The headers below the head, stored or about to be, and proofs that one is an ancestor of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaoschain_schemas::{Hash, Height};
use chaoschain_state::merkle::Frontier;
use chaoschain_state::merkle::blocks::{BlocksError, TILE_ENTRIES, TileSource, prove};

use crate::store::{BlockRecord, Store, StoreError, parse_frontier};
use crate::writer;

/// What is recorded of blocks, by whoever has it: the writer until a block is stored, then the store.
#[derive(Clone)]
pub(super) struct History {
    store: Arc<Store>,
    writer: Arc<writer::Shared>,
}

impl History {
    pub(super) fn new(store: Arc<Store>, writer: Arc<writer::Shared>) -> Self {
        Self { store, writer }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn record(&self, height: Height) -> Result<Option<BlockRecord>, StoreError> {
        match self.writer.block(height) {
            Some(record) => Ok(Some(record)),
            None => self.store.block(height),
        }
    }

    /// The pruned tree of the blocks below `under` that opens `height`; empty when the two are the same.
    pub(super) fn prove_ancestor(&self, height: Height, under: Height) -> Result<Vec<u8>, StoreError> {
        if height == under {
            return Ok(Vec::new());
        }
        let tiles = Tiles { history: self, fresh: self.fresh(under)? };
        prove(&tiles, &[height.0], under.0).map_err(|error| match error {
            BlocksError::Source(error) => error,
            missing => StoreError::Corrupt(missing.to_string()),
        })
    }

    /// The hashes that the blocks below `under` add to the stored tiles.
    fn fresh(&self, under: Height) -> Result<Fresh, StoreError> {
        let mut frontier = match self.store.head()? {
            Some((_, head)) => parse_frontier(&head)?,
            None => Frontier::new(),
        };
        let mut fresh = Fresh::new();
        while frontier.len() < under.0 {
            for entry in frontier.append(self.header_hash(frontier.len())?) {
                let place = entry.index as usize % TILE_ENTRIES;
                let tile = (entry.level, entry.index / TILE_ENTRIES as u64);
                fresh.entry(tile).or_default().push((place, entry.hash));
            }
        }
        Ok(fresh)
    }

    fn header_hash(&self, height: u64) -> Result<Hash, StoreError> {
        let record = self.record(Height(height))?;
        let missing = || StoreError::Corrupt(format!("block {height} is not recorded"));
        record.map(|record| record.header_hash).ok_or_else(missing)
    }
}

/// By tile, ascending: the place in it and the hash.
type Fresh = BTreeMap<(u8, u64), Vec<(usize, Hash)>>;

struct Tiles<'h> {
    history: &'h History,
    fresh: Fresh,
}

impl TileSource for Tiles<'_> {
    type Error = StoreError;

    fn tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, StoreError> {
        // The store may have come further since its frontier was read.
        let mut tile = self.history.store.tile(level, index)?;
        for (place, hash) in self.fresh.get(&(level, index)).into_iter().flatten() {
            if *place == tile.len() {
                tile.push(*hash);
            }
        }
        Ok(tile)
    }

    fn header_hash(&self, height: u64) -> Result<Hash, StoreError> {
        self.history.header_hash(height)
    }
}
