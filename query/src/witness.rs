//! Witnesses of blocks whose parent's state is still kept.

use std::sync::Arc;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_projector::witness_of;
use chaoschain_schemas::limits::WITNESS_BYTES_MAX;
use chaoschain_schemas::{Height, codec};

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
            let bytes = codec::encode(&witness_of(&*machine, &parent, &block, finality));
            let max = WITNESS_BYTES_MAX;
            match bytes.len() {
                ..=WITNESS_BYTES_MAX => Ok(bytes),
                bytes => Err(QueryError::WitnessTooLarge { height, bytes, max }),
            }
        });
        made.await.map_err(|error| node("witness_failed", &error))?
    }
}
