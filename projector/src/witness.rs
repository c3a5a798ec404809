//! Witnesses of blocks, out of a state that is still held.

use chaoschain_events::block::VerifiedBlock;
use chaoschain_schemas::{Blob, FinalityProof, WITNESS_VERSION, WitnessFile};
use chaoschain_state::domain::Machine;
use chaoschain_state::succession::Successor;
use chaoschain_state::witness::{Recorded, WholeParent, record};

use crate::fold::signed;
use crate::head::Head;

/// The witness of `block` upon `parent`: what a verifier needs to decide whether it follows, which may be that it does not.
/// `finality` is of the parent, where it is final.
///
/// Runs the block's events once, on the parent's state, and hashes about as much as folding the block; call it off the
/// async threads. It may come out larger than [`WITNESS_BYTES_MAX`](chaoschain_schemas::limits::WITNESS_BYTES_MAX), and is
/// then read by nobody.
pub fn witness_of(
    machine: &dyn Machine,
    parent: &Head,
    block: &VerifiedBlock,
    finality: Option<FinalityProof>,
) -> WitnessFile {
    let events: Vec<_> = block.events().iter().map(signed).collect();
    let successor = Successor { header: block.header(), key: block.producer_key(), events: &events };
    let whole = WholeParent { header: &parent.header, hash: parent.hash, state: &parent.state };
    let Recorded { blocks, sub_trees, .. } = record(machine, whole, successor);
    WitnessFile {
        version: WITNESS_VERSION,
        parent: parent.signed.clone(),
        block: Blob::from(&block.message()[..]),
        blocks: blocks.into(),
        sub_trees,
        finality,
    }
}
