//! Witnesses of blocks whose parent's state is still kept.

use std::sync::Arc;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_projector::witness_of;
use chaoschain_schemas::limits::{WITNESS_BYTES_MAX, WITNESS_ELEMENTS_MAX};
use chaoschain_schemas::{Height, WitnessFile, codec};
use chaoschain_state::merkle::element_count;

use crate::error::QueryError;
use crate::query::{Ask, Query, node};

impl Query {
    /// The witness file of the block at `height`: what [`StateVerifier`](crate::verify::StateVerifier) reads. With the proof
    /// that its parent is final, if it is.
    ///
    /// The block's events are run again for it, on a thread for blocking work, and only so many at once.
    ///
    /// # Errors
    /// [`QueryError`]; [`QueryError::OutsideWindow`] when the state before the block is not kept.
    pub async fn witness(&self, height: Height, ask: &Ask) -> Result<Vec<u8>, QueryError> {
        let before = height.0.checked_sub(1).map(Height);
        let before = before.ok_or_else(|| {
            QueryError::Argument("block 0 follows no block, so there is no witness of it".into())
        })?;
        let projection = self.projection();
        let (message, _) = self.block_message(height, ask).await?;
        let parent = projection.head_at(before).ok_or_else(|| QueryError::OutsideWindow {
            wanted: height,
            first: projection.first_retained().next(),
            newest: projection.head().height(),
        })?;
        let finality = if self.is_final(before) {
            let proof = projection.attestations().finality_proof(before);
            proof.map_err(|error| node("store_unreadable", &error))?
        } else {
            None
        };
        let place = self.witness_place(ask).await?;
        let machine = Arc::clone(projection.machine());
        let made = tokio::task::spawn_blocking(move || {
            // Whoever asked may be gone: the place is taken as long as the work goes on.
            let _place = place;
            let block = VerifiedBlock::verify(message).map_err(|error| node("log_changed", &error))?;
            written(height, &witness_of(&*machine, &parent, &block, finality))
        });
        made.await.map_err(|error| node("witness_failed", &error))?
    }
}

/// The file, if a verifier reads it.
fn written(height: Height, file: &WitnessFile) -> Result<Vec<u8>, QueryError> {
    let too_large = |size, max, unit| QueryError::WitnessTooLarge { height, size, max, unit };
    let elements = file.sub_trees.iter().map(|part| element_count(&part.tree)).sum();
    if elements > WITNESS_ELEMENTS_MAX {
        return Err(too_large(elements, WITNESS_ELEMENTS_MAX, "elements"));
    }
    let bytes = codec::encode(file);
    match bytes.len() {
        ..=WITNESS_BYTES_MAX => Ok(bytes),
        size => Err(too_large(size, WITNESS_BYTES_MAX, "bytes")),
    }
}

#[cfg(test)]
mod tests {
    use chaoschain_schemas::{Blob, SignedHeader, SubTreeProof, WITNESS_VERSION};

    use super::*;

    /// As many elements as are read, each the shortest there is, were once written in any number.
    #[test]
    fn what_no_verifier_reads_is_not_written() {
        let witness = |elements: usize, bytes: usize| WitnessFile {
            version: WITNESS_VERSION,
            parent: SignedHeader {
                header: Blob::default(),
                key: chaoschain_schemas::PublicKey::new([0; 32]),
                signature: chaoschain_schemas::Signature::new([0; 64]),
            },
            block: vec![0; bytes].into(),
            blocks: Blob::default(),
            sub_trees: vec![SubTreeProof {
                sub_tree: 2,
                tree: [2, 0, 0].repeat(elements).into(),
                records: Vec::new(),
            }],
            finality: None,
        };
        let refused = |elements, bytes| match written(Height(7), &witness(elements, bytes)) {
            Err(QueryError::WitnessTooLarge { unit, .. }) => Some(unit),
            other => {
                assert!(other.is_ok());
                None
            }
        };
        assert_eq!(refused(WITNESS_ELEMENTS_MAX, 0), None);
        assert_eq!(refused(WITNESS_ELEMENTS_MAX + 1, 0), Some("elements"));
        assert_eq!(refused(1, WITNESS_BYTES_MAX), Some("bytes"));
    }
}
