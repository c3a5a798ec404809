//! What an auditor does who trusts nobody: reads the whole log and holds every receipt against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_projector::{Projection, ProjectionOptions};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::{EventAddress, Hash, Height, Sequence, TransitionId};
use chaoschain_society::Society;

/// Where a fold of a log ends, and what it met on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    pub height: Height,
    pub root: Hash,
    pub skipped: BTreeMap<&'static str, u64>,
}

/// Folds `log` into `state` and checks every receipt against the history that comes out: its event is where it says, in
/// the block it says, and there is no event without a receipt.
pub async fn audit(
    log: Arc<dyn EventLog>,
    state: &Path,
    receipts: &BTreeMap<TransitionId, Receipt>,
) -> Audited {
    let options = ProjectionOptions::new(state);
    let opened = Projection::open(options, Arc::new(Society), Arc::clone(&log), Vec::new(), &|_| {});
    let projection = opened.await.unwrap();
    projection.start().unwrap();
    projection.wait_cursor(log.tip().await.unwrap()).await.unwrap();
    let (events, hashes) = history(&*log, &projection).await;
    for (id, receipt) in receipts {
        let address = EventAddress { height: receipt.height, index: receipt.index };
        assert_eq!(events.get(&address), Some(id), "the event of {id} is not at {address}");
        assert_eq!(hashes[&receipt.height], receipt.header_hash);
        assert_eq!(projection.receipt(id).unwrap().as_ref(), Some(receipt));
    }
    assert_eq!(events.len(), receipts.len(), "events without a receipt, though all were sent until answered");
    let head = projection.head();
    let skipped = projection.status().skipped;
    let closing = projection.clone();
    tokio::task::spawn_blocking(move || closing.close()).await.unwrap();
    Audited { height: head.height(), root: head.header.state_root, skipped }
}

/// Every event of the history by address, and every header hash; each author's nonces must be used once and in order.
///
/// The log is read message by message. What `projection` did not take into its history was skipped, and counts here for
/// nothing.
async fn history(
    log: &dyn EventLog,
    projection: &Projection,
) -> (BTreeMap<EventAddress, TransitionId>, BTreeMap<Height, Hash>) {
    let (mut events, mut hashes) = (BTreeMap::new(), BTreeMap::new());
    let mut next_nonce = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut next = Sequence(1);
    loop {
        let entries = log.read(next, ReadLimits::default()).await.unwrap();
        let Some(last) = entries.last() else { break };
        next = last.sequence.next();
        for entry in entries {
            let Ok(block) = VerifiedBlock::verify(entry.message) else { continue };
            let height = block.header().height;
            let record = projection.block_record(height).unwrap();
            if record.is_none_or(|record| record.sequence != entry.sequence) {
                continue;
            }
            assert!(hashes.insert(height, block.header_hash()).is_none(), "two blocks of height {height}");
            for (event, index) in block.events().iter().zip(0..) {
                let nonce: &mut u64 = next_nonce.entry((event.body().author, event.body().lane)).or_default();
                assert_eq!(event.body().nonce, *nonce, "a nonce was used twice or left out");
                *nonce += 1;
                assert!(ids.insert(event.id()));
                events.insert(EventAddress { height, index }, event.id());
            }
        }
    }
    assert_eq!(hashes.len() as u64, projection.head().height().0 + 1, "every height has one block");
    (events, hashes)
}
