//! Verification of an event's place in a block.

use bytes::Bytes;
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::{ChainId, EventAddress, EventProof, FinalityProof, Height};
use chaoschain_state::domain::Machine;
use chaoschain_state::merkle::{Lookup, Pruned, value_hash};
use serde_json::Value as Json;

use super::read::check_domain;
use super::{Level, Trust, TrustedHeader, VerifyError};
use crate::show;

/// An event that stands where a header says that is believed.
///
/// # What it proves
/// The envelope stands at this address; each party's signature holds under the key the envelope carries.
///
/// # What it does not say
/// That a key was its account's or that the rules allow the event: the producer says so by sealing it, validators by attesting
/// it, and a replay of the log checks it. Where only a producer vouches, that the block is on the chain that others follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEvent {
    /// The header of the event's block.
    pub header: TrustedHeader,
    /// Where the event stands.
    pub address: EventAddress,
    /// The event.
    pub content: EventContent,
    /// The event as JSON, when there was a machine to decode it.
    pub value: Option<Json>,
    /// How far the verification went.
    pub level: Level,
}

/// What stands at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventContent {
    /// The genesis document, the only content of block 0.
    Genesis(Box<Genesis>),
    /// A signed transition.
    Transition(VerifiedEnvelope),
}

/// Verifies the proof of an event; with the chain's machine it is also decoded.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_event(
    proof: &EventProof,
    finality: Option<&FinalityProof>,
    trust: &Trust,
    machine: Option<&dyn Machine>,
) -> Result<VerifiedEvent, VerifyError> {
    let header = trust.check_header(&proof.header, finality)?;
    let tree = Pruned::parse(&proof.tree).map_err(VerifyError::EventTreeMalformed)?;
    if tree.root() != header.header.events_root {
        return Err(VerifyError::EventsRoot);
    }
    let committed = tree.get(&proof.index.to_be_bytes());
    if proof.index >= header.header.event_count || committed != Lookup::Present(value_hash(&proof.envelope)) {
        return Err(VerifyError::EventPlace(proof.index));
    }
    let address = EventAddress { height: header.header.height, index: proof.index };
    let content = content(&header, &proof.envelope)?;
    let value = machine.map(|machine| {
        check_domain(machine, trust, &header)?;
        Ok::<_, VerifyError>(match &content {
            EventContent::Genesis(genesis) => show::genesis(machine, genesis),
            EventContent::Transition(envelope) => {
                show::event(machine, address, envelope.id(), envelope.body(), envelope.parties())
            }
        })
    });
    let value = value.transpose()?;
    let level = if value.is_some() { Level::DecodedBySchema } else { Level::SignaturesAndProofs };
    Ok(VerifiedEvent { header, address, content, value, level })
}

fn content(header: &TrustedHeader, bytes: &[u8]) -> Result<EventContent, VerifyError> {
    if header.header.height == Height::GENESIS {
        if ChainId::of_genesis(bytes) != header.header.chain {
            return Err(VerifyError::Genesis);
        }
        let genesis = Genesis::decode(bytes).map_err(VerifyError::Malformed)?;
        return Ok(EventContent::Genesis(Box::new(genesis)));
    }
    let envelope = VerifiedEnvelope::verify(Bytes::copy_from_slice(bytes));
    envelope.map(EventContent::Transition).map_err(VerifyError::Envelope)
}
