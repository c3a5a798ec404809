//! What a block's rules know of it, and what is due at its start.

use chaoschain_schemas::control::{ChainState, Parameters};
use chaoschain_schemas::{ChainId, Hash, Height, Timestamp};

use super::{governance, keys, schedule};
use crate::domain::{BlockContext, DomainParameters, Machine};
use crate::key::Key;
use crate::view::{Base, BaseView, Changes, Fault, View};

/// Reads what a block's rules need to know from the state before it: what is in force, with what is scheduled to be
/// from this height on.
///
/// # Errors
/// [`Fault`] when the control records are missing or withheld.
pub fn block_context(
    machine: &dyn Machine,
    base: &dyn Base,
    chain: ChainId,
    height: Height,
    parent: Hash,
    now: Timestamp,
) -> Result<BlockContext, Fault> {
    let view = BaseView::new(base);
    let reader: &dyn View = &view;
    let parameters: Option<Parameters> = reader.record(&keys::parameters());
    let state: Option<ChainState> = reader.record(&keys::chain());
    let domain_parameters = reader.get(&keys::domain_parameters());
    let schedule = schedule::read(reader);
    if let Some(fault) = view.fault() {
        return Err(fault);
    }
    let missing = |key: Key| {
        Fault::Corrupt(Box::new(key), "there is no such record; was the state made by genesis?".into())
    };
    let state = state.ok_or_else(|| missing(keys::chain()))?;
    let mut context = BlockContext {
        chain,
        height,
        now,
        parent,
        epoch: state.epoch,
        rules: state.rules,
        parameters: parameters.ok_or_else(|| missing(keys::parameters()))?,
        domain_parameters: DomainParameters::new(
            domain_parameters.ok_or_else(|| missing(keys::domain_parameters()))?,
        ),
    };
    for entry in schedule::due(&schedule, height) {
        if let Some(change) = schedule::parameter_change(reader, entry) {
            governance::change_terms(machine, &mut context, change);
        }
    }
    view.fault().map_or(Ok(context), Err)
}

/// Does what is due at the start of a block, before its events: what is scheduled for it, then the domain's part.
pub fn begin_block(machine: &dyn Machine, block: &BlockContext, changes: &mut Changes<'_>) {
    schedule::take_effect(machine, block, changes);
    machine.begin_block(block, changes);
}
