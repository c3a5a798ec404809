//! The blocks of a node, in order of height, out of its archive or its embedded log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{EventLog, LogError};
use chaoschain_schemas::control::Role;
use chaoschain_schemas::{ChainId, Hash, Header, Height, PublicKey, Sequence, SignedHeader};

use super::{READ_LIMITS, RestoreError};
use crate::anchor::{History, Known, Seen};
use crate::archive::place;
use crate::store::{Store, StoreError};
use crate::writer::lock;

/// The blocks of one node.
#[derive(Debug)]
pub struct BlockSource {
    log: Arc<dyn EventLog>,
    store: Option<Arc<Store>>,
    kind: Kind,
    chain: ChainId,
    newest: Height,
    /// Blocks that the store does not know of: 64 bytes each.
    beyond: BTreeMap<Height, (Hash, PublicKey)>,
    producers: Mutex<BTreeSet<PublicKey>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Message h + 1 is block h.
    Archive,
    /// The store knows which messages are blocks.
    Log,
}

impl BlockSource {
    /// The blocks of an archive. The store of the same node, if it can be opened, saves memory and is compared with it.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn archive(log: Arc<dyn EventLog>, store: Option<Arc<Store>>) -> Result<Self, RestoreError> {
        let newest = log.tip().await?.0.checked_sub(1).map(Height).ok_or(RestoreError::Empty)?;
        Self::open(log, store, Kind::Archive, newest).await
    }

    /// The blocks in another log, as far as the node of this store has folded it.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub async fn log(log: Arc<dyn EventLog>, store: Arc<Store>) -> Result<Self, RestoreError> {
        let newest = stored_height(&store)?.ok_or(RestoreError::Empty)?;
        Self::open(log, Some(store), Kind::Log, newest).await
    }

    async fn open(
        log: Arc<dyn EventLog>,
        store: Option<Arc<Store>>,
        kind: Kind,
        newest: Height,
    ) -> Result<Self, RestoreError> {
        let mut source = Self {
            log,
            store,
            kind,
            chain: ChainId::new([0; 32]),
            newest,
            beyond: BTreeMap::new(),
            producers: Mutex::default(),
        };
        let known = source.store.as_deref().map(stored_height).transpose()?.flatten();
        source.chain = match source.store.as_deref().map(Store::head).transpose()?.flatten() {
            Some((chain, _)) => chain,
            None => source.seen(newest).await?.header.chain,
        };
        if kind == Kind::Archive {
            let mut blocks = Blocks::new(&source, known.map_or(Height::GENESIS, Height::next));
            let mut beyond = BTreeMap::new();
            while let Some(batch) = blocks.next_batch().await? {
                for (height, message) in batch {
                    // A gap is named when the block is needed.
                    if let Some(seen) = Seen::read(&message) {
                        beyond.insert(height, (seen.hash, seen.signed.key));
                    }
                }
            }
            source.beyond = beyond;
        }
        source.learn_producers().await?;
        Ok(source)
    }

    /// The chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The newest height.
    pub const fn newest(&self) -> Height {
        self.newest
    }

    /// The genesis document's producers are among those whose blocks count, if it is here.
    async fn learn_producers(&self) -> Result<(), RestoreError> {
        let Ok(message) = self.message(Height::GENESIS).await else { return Ok(()) };
        let block = VerifiedBlock::verify(message)
            .map_err(|error| RestoreError::Invalid { height: Height::GENESIS, reason: error.to_string() })?;
        let accounts = block.genesis().map(|(genesis, _)| genesis.accounts.as_slice()).unwrap_or_default();
        let producers = accounts.iter().filter(|account| account.role == Role::Producer);
        lock(&self.producers).extend(producers.map(|account| account.key));
        Ok(())
    }

    fn sequence(&self, height: Height) -> Result<Sequence, RestoreError> {
        match (self.kind, &self.store) {
            (Kind::Archive, _) => Ok(place(height)),
            (Kind::Log, Some(store)) => {
                let record = store.block(height)?;
                Ok(record.ok_or(RestoreError::Missing { height })?.sequence)
            }
            (Kind::Log, None) => Err(RestoreError::Empty),
        }
    }

    async fn message(&self, height: Height) -> Result<Bytes, RestoreError> {
        let batch = Blocks::new(self, height).next_batch().await?.unwrap_or_default();
        let first =
            batch.into_iter().next().filter(|(found, message)| *found == height && !message.is_empty());
        first.map(|(_, message)| message).ok_or(RestoreError::Missing { height })
    }

    pub(super) async fn seen(&self, height: Height) -> Result<Seen, RestoreError> {
        let malformed = || RestoreError::Invalid { height, reason: "it cannot be read as a block".into() };
        Seen::read(&self.message(height).await?).ok_or_else(malformed)
    }
}

fn stored_height(store: &Store) -> Result<Option<Height>, RestoreError> {
    let Some((_, head)) = store.head()? else { return Ok(None) };
    let header =
        Header::decode(&head.signed.header).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Some(header.height))
}

impl History for BlockSource {
    fn block(&self, height: Height) -> Result<Option<Known>, StoreError> {
        let known = match self.beyond.get(&height) {
            Some((header_hash, key)) => {
                Some(Known { header_hash: *header_hash, key: *key, sequence: place(height) })
            }
            None => match &self.store {
                Some(store) => store.block(height)?.as_ref().map(Known::from),
                None => None,
            },
        };
        if let Some(known) = &known {
            lock(&self.producers).insert(known.key);
        }
        Ok(known)
    }

    fn signed(&self, height: Height) -> Result<Option<SignedHeader>, StoreError> {
        let Some(store) = &self.store else { return Ok(None) };
        Ok(store.block(height)?.map(|record| record.signed))
    }

    fn is_producer(&self, _: &Header, key: &PublicKey) -> bool {
        lock(&self.producers).contains(key)
    }
}

/// Reads a source's blocks in order of height. A block that is not there any more is an empty message.
pub(super) struct Blocks<'a> {
    source: &'a BlockSource,
    next: Height,
}

impl<'a> Blocks<'a> {
    pub(super) const fn new(source: &'a BlockSource, from: Height) -> Self {
        Self { source, next: from }
    }

    /// The next blocks; `None` at the end.
    pub(super) async fn next_batch(&mut self) -> Result<Option<Vec<(Height, Bytes)>>, RestoreError> {
        if self.next > self.source.newest {
            return Ok(None);
        }
        let mut wanted = self.source.sequence(self.next)?;
        let entries = match self.source.log.read(wanted, READ_LIMITS).await {
            Ok(entries) => entries,
            Err(LogError::Compacted { .. }) => return Err(RestoreError::Missing { height: self.next }),
            Err(error) => return Err(error.into()),
        };
        let mut batch = Vec::with_capacity(entries.len());
        for entry in entries {
            if entry.sequence != wanted {
                continue;
            }
            batch.push((self.next, entry.message));
            self.next = self.next.next();
            if self.next > self.source.newest {
                break;
            }
            wanted = self.source.sequence(self.next)?;
        }
        if batch.is_empty() { Err(RestoreError::Missing { height: self.next }) } else { Ok(Some(batch)) }
    }
}
