//! Blocks and events as JSON, decoded through the chain's machine.

use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::{Body, ChainId, CodecError, EventAddress, Height, PartySignature, TransitionId};
use chaoschain_state::control;
use chaoschain_state::domain::Machine;
use serde_json::{Value as Json, json};

use crate::stored::StoredBlock;

/// A block in the seed's shape, with its header and the producer's signature.
///
/// `signatures` are those of validators; none attest yet.
pub(crate) fn block(machine: &dyn Machine, block: &StoredBlock) -> Result<Json, CodecError> {
    let header = &block.header;
    let events = (0..block.event_count()).filter_map(|index| block.show_event(machine, index));
    let transactions: Vec<Json> =
        events.map(|event| event.map(|(_, shown)| shown)).collect::<Result<_, CodecError>>()?;
    Ok(json!({
        "height": header.height,
        "hash": block.hash,
        "parent_hash": header.parent,
        "timestamp": header.timestamp,
        "producer": header.producer,
        "producer_key": block.signed.key,
        "producer_signature": block.signed.signature,
        "transactions": transactions,
        "state_root": header.state_root,
        "signatures": [],
        "header": header,
    }))
}

/// An event: what was signed with its payload decoded, its id and address, and who signed.
pub(crate) fn event(
    machine: &dyn Machine,
    address: EventAddress,
    id: TransitionId,
    body: &Body,
    parties: &[PartySignature],
) -> Json {
    let mut shown = json!({
        "height": address.height,
        "index": address.index,
        "id": id,
        "kind": control::kind_spec(machine, body.kind).map(|spec| spec.name),
        "kind_number": body.kind,
        "epoch": body.epoch,
        "author": body.author,
        "lane": body.lane,
        "nonce": body.nonce,
        "valid_until": body.valid_until,
        "occurred_at": body.occurred_at,
        "correlation": body.correlation,
        "causation": body.causation,
        "expects": body.expects,
        "attachment": body.attachment,
        "signatures": parties,
    });
    // Rules of a version that this build lacks may have accepted what it cannot read.
    match control::transition_to_json(machine, body.kind, &body.payload) {
        Ok(payload) => shown["payload"] = payload,
        Err(error) => {
            shown["payload"] = Json::Null;
            shown["payload_bytes"] = json!(body.payload);
            shown["payload_error"] = json!(error.to_string());
        }
    }
    shown
}

/// The genesis document, in place of an event.
pub(crate) fn genesis(machine: &dyn Machine, genesis: &Genesis) -> Json {
    let (_, chain): (_, ChainId) = genesis.encode();
    let mut shown = json!({
        "height": Height::GENESIS,
        "index": 0,
        "kind": "Genesis",
        "chain": chain,
        "genesis": genesis,
    });
    // Where they cannot be read they stay as they are, bytes.
    if let Ok(parameters) = machine.parameters_to_json(&genesis.domain_parameters) {
        shown["genesis"]["domain_parameters"] = parameters;
    }
    shown
}
