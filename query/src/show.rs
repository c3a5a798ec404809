//! Blocks and events as JSON, decoded through the chain's machine.

use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::{
    Attestation, Body, ChainId, CodecError, EventAddress, Height, PartySignature, SignedAttestation,
    TransitionId,
};
use chaoschain_state::control;
use chaoschain_state::domain::Machine;
use serde_json::{Value as Json, json};

use crate::stored::StoredBlock;

/// A block with its header and everybody's signatures who vouches for it: its producer's on the header, and those of
/// `attestations`, each on the header that it names, of this height or above.
pub(crate) fn block(
    machine: &dyn Machine,
    block: &StoredBlock,
    attestations: &[SignedAttestation],
    finalized: bool,
) -> Result<Json, CodecError> {
    let header = &block.header;
    let producer = json!({
        "role": "producer",
        "account": header.producer,
        "key": block.signed.key,
        "signature": block.signed.signature,
        "height": header.height,
        "header_hash": block.hash,
    });
    let attested = attestations.iter().map(|signed| {
        let word = Attestation::decode(&signed.attestation)?;
        Ok(json!({
            "role": "validator",
            "account": word.validator,
            "key": signed.key,
            "signature": signed.signature,
            "height": word.height,
            "header_hash": word.header_hash,
        }))
    });
    let signatures: Vec<Json> =
        std::iter::once(Ok(producer)).chain(attested).collect::<Result<_, CodecError>>()?;
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
        "signatures": signatures,
        "finalized": finalized,
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
