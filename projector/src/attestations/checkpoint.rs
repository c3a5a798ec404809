//! What made a height final, as it is kept in the store.

use chaoschain_schemas::{
    Attestation, AttestedHeader, FinalityProof, Hash, Height, SignedAttestation, codec,
};
use redb::{ReadableTableMetadata as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::FinalPoint;
use super::history::History;
use crate::store::{Store, StoreError};

/// By finalized height. Filled as `store.rs` describes.
pub(crate) const FINALITY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("finality");
/// The most checkpoints that are kept; the oldest go first. A newer one proves what an older one proves, at a few more
/// hashes.
pub const CHECKPOINTS_MAX: u64 = 4096;

/// A final block and the attestations that make it so: the fewest, all of this node's chain, at its height or above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) point: FinalPoint,
    pub(crate) attestations: Vec<SignedAttestation>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    header_hash: Hash,
    weight: u64,
    total: u64,
    attestations: Vec<SignedAttestation>,
}

impl Checkpoint {
    fn parse(height: u64, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: Row = codec::decode_trusted(bytes)
            .map_err(|error| StoreError::Corrupt(format!("finality: {error}")))?;
        let Row { header_hash, weight, total, attestations } = row;
        Ok(Self { point: FinalPoint { height: Height(height), header_hash, weight, total }, attestations })
    }

    /// The newest that is stored.
    pub(super) fn newest(store: &Store) -> Result<Option<Self>, StoreError> {
        Self::find(store, None)
    }

    /// The lowest that is stored and covers `height`.
    pub(super) fn at_or_above(store: &Store, height: Height) -> Result<Option<Self>, StoreError> {
        Self::find(store, Some(height))
    }

    fn find(store: &Store, from: Option<Height>) -> Result<Option<Self>, StoreError> {
        let txn = store.begin_read()?;
        let table = match txn.open_table(FINALITY) {
            // A file of a time before there was finality.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let mut rows = table.range(from.unwrap_or_default().0..)?;
        let row = if from.is_some() { rows.next() } else { rows.next_back() };
        let Some((height, bytes)) = row.transpose()? else { return Ok(None) };
        Self::parse(height.value(), bytes.value()).map(Some)
    }

    /// Stores it, and drops the oldest when there are too many. Any of a greater height were not believed at start.
    pub(crate) fn write(&self, txn: &WriteTransaction) -> Result<(), StoreError> {
        let FinalPoint { height, header_hash, weight, total } = self.point;
        let row = Row { header_hash, weight, total, attestations: self.attestations.clone() };
        let mut table = txn.open_table(FINALITY)?;
        table.insert(height.0, &codec::encode(&row)[..])?;
        table.retain_in(height.0 + 1.., |_, _| false)?;
        while table.len()? > CHECKPOINTS_MAX {
            table.pop_first()?;
        }
        Ok(())
    }

    /// What each of the attestations says; `None` for one that cannot be read.
    pub(super) fn words(&self) -> impl Iterator<Item = (Option<Attestation>, &SignedAttestation)> {
        self.attestations.iter().map(|signed| (Attestation::decode(&signed.attestation).ok(), signed))
    }

    /// The proof that the block at `height`, at or below this one, is final.
    pub(super) fn prove(&self, height: Height, history: &History) -> Result<FinalityProof, StoreError> {
        let mut words: Vec<(Height, SignedAttestation)> = Vec::with_capacity(self.attestations.len());
        for (attestation, signed) in self.words() {
            let unreadable = || StoreError::Corrupt("finality: an attestation cannot be read".into());
            words.push((attestation.ok_or_else(unreadable)?.height, signed.clone()));
        }
        words.sort_by(|(a, first), (b, second)| (a, first.key).cmp(&(b, second.key)));
        let mut attested: Vec<AttestedHeader> = Vec::new();
        for words in words.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((at, _)) = words.first() else { continue };
            let missing = || StoreError::Corrupt(format!("block {at} is attested and not recorded"));
            let record = history.record(*at)?.ok_or_else(missing)?;
            attested.push(AttestedHeader {
                header: record.signed.header,
                ancestor: history.prove_ancestor(height, *at)?.into(),
                attestations: words.iter().map(|(_, signed)| signed.clone()).collect(),
            });
        }
        Ok(FinalityProof { attested })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(height: u64) -> Checkpoint {
        let point =
            FinalPoint { height: Height(height), header_hash: Hash::new([1; 32]), weight: 3, total: height };
        Checkpoint { point, attestations: Vec::new() }
    }

    fn write(store: &Store, heights: impl IntoIterator<Item = u64>) {
        let txn = store.begin_write().expect("a transaction");
        heights.into_iter().for_each(|height| checkpoint(height).write(&txn).expect("a row"));
        txn.commit().expect("a commit");
    }

    #[test]
    fn the_newest_are_kept_and_the_lowest_that_covers_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("a store");
        let at = |height| Checkpoint::at_or_above(&store, Height(height)).expect("a store");
        assert_eq!((at(0), Checkpoint::newest(&store).expect("a store")), (None, None));
        write(&store, (0..CHECKPOINTS_MAX + 5).map(|nth| 10 * nth));
        let (first, last) = (50, 10 * (CHECKPOINTS_MAX + 4));
        assert_eq!(at(0), Some(checkpoint(first)));
        assert_eq!(at(60), Some(checkpoint(60)));
        assert_eq!(at(61), Some(checkpoint(70)));
        assert_eq!(at(last + 1), None);
        assert_eq!(Checkpoint::newest(&store).expect("a store"), Some(checkpoint(last)));
        write(&store, [65]);
        assert_eq!((at(61), at(66)), (Some(checkpoint(65)), None));
    }
}
