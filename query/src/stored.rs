//! Blocks as this node's log holds them, checked against what was folded.
//!
//! Signatures were verified when a block was folded; its header's hash was kept. A message with that header and the events
//! that the header commits to is the same block, so nothing has to be verified twice.

use bytes::Bytes;
use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::{
    Blob, Body, CodecError, Envelope, EventAddress, EventProof, Hash, Header, Height, PartySignature,
    SealedBlock, SignedHeader, TransitionId,
};
use chaoschain_state::domain::Machine;
use chaoschain_state::merkle::{prove_entry, root_of, value_hash};
use serde_json::Value as Json;

use crate::show;

/// A block of the chain.
pub(crate) struct StoredBlock {
    pub(crate) signed: SignedHeader,
    pub(crate) hash: Hash,
    pub(crate) header: Header,
    events: Vec<Bytes>,
}

/// The message is not the block that was folded, so somebody changed the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangedBlock {
    #[error("the message cannot be read as a block any more: {0}")]
    Malformed(#[from] CodecError),
    #[error("the message holds header {found}, folded was {folded}")]
    Header { found: Hash, folded: Hash },
    #[error("the message's events are not those its header commits to")]
    Events,
}

impl StoredBlock {
    /// Reads a message whose header is to have the hash `folded`.
    pub(crate) fn read(message: &Bytes, folded: Hash) -> Result<Self, ChangedBlock> {
        let sealed = SealedBlock::decode(message)?;
        let hash = Header::hash_of(sealed.header);
        if hash != folded {
            return Err(ChangedBlock::Header { found: hash, folded });
        }
        let header = Header::decode(sealed.header)?;
        let signed = SignedHeader {
            header: Blob::from(&sealed.header[..]),
            key: sealed.key,
            signature: sealed.signature,
        };
        let events: Vec<_> = sealed.events.iter().map(|event| message.slice_ref(event)).collect();
        let block = Self { signed, hash, header, events };
        if root_of(block.entries()) != block.header.events_root {
            return Err(ChangedBlock::Events);
        }
        Ok(block)
    }

    fn entries(&self) -> Vec<([u8; 4], Hash)> {
        (0_u32..).map(u32::to_be_bytes).zip(self.events.iter().map(|event| value_hash(event))).collect()
    }

    /// How many events there are, the genesis document counted as one.
    pub(crate) fn event_count(&self) -> u32 {
        self.events.len() as u32
    }

    /// The event at `index`; none behind the last.
    pub(crate) fn event(&self, index: u32) -> Option<Result<StoredEvent, CodecError>> {
        let bytes = self.events.get(index as usize)?;
        if self.header.height == Height::GENESIS {
            return Some(Genesis::decode(bytes).map(|genesis| StoredEvent::Genesis(Box::new(genesis))));
        }
        Some(StoredEvent::read(bytes))
    }

    /// The event at `index` as JSON, with its id where it has one.
    pub(crate) fn show_event(
        &self,
        machine: &dyn Machine,
        index: u32,
    ) -> Option<Result<ShownEvent, CodecError>> {
        let address = EventAddress { height: self.header.height, index };
        Some(self.event(index)?.map(|event| match event {
            StoredEvent::Genesis(genesis) => (None, show::genesis(machine, &genesis)),
            StoredEvent::Transition { id, body, parties } => {
                (Some(id), show::event(machine, address, id, &body, &parties))
            }
        }))
    }

    /// Proves that an event stands at `index`; `None` behind the last.
    pub(crate) fn prove_event(&self, index: u32) -> Option<EventProof> {
        let envelope = Blob::from(&self.events.get(index as usize)?[..]);
        let tree = prove_entry(&self.entries(), index as usize).into();
        Some(EventProof { header: self.signed.clone(), index, envelope, tree })
    }
}

pub(crate) type ShownEvent = (Option<TransitionId>, Json);

/// What stands at an address.
pub(crate) enum StoredEvent {
    Genesis(Box<Genesis>),
    Transition { id: TransitionId, body: Box<Body>, parties: Vec<PartySignature> },
}

impl StoredEvent {
    fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let Envelope { body, signatures } = Envelope::decode(bytes)?;
        let id = TransitionId::of_body(body);
        Ok(Self::Transition { id, body: Box::new(Body::decode(body)?), parties: signatures })
    }
}
