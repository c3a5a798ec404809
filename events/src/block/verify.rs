//! From a message to a verified block: read, verify all signatures together, answer.

use bytes::Bytes;
use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::{Header, Height, SealedBlock};
use rayon::prelude::*;

use super::{BlockError, BlockFault, Content, Sealed, VerifiedBlock, genesis_events_root, root_of_values};
use crate::envelope::{EnvelopeError, Parsed};
use crate::signature::verify_batch;

/// A message on its way to be verified.
pub(super) struct Unverified {
    /// None when the message cannot be read so far.
    sealed: Option<Sealed>,
    /// What is wrong already, or what is still to be verified.
    content: Result<UnverifiedContent, BlockFault>,
    producer_signed: bool,
}

enum UnverifiedContent {
    Genesis(Box<(Genesis, Bytes)>),
    Events(Vec<Parsed>),
}

impl Unverified {
    pub(super) fn read(message: Bytes) -> Self {
        let unreadable = |fault| Self { sealed: None, content: Err(fault), producer_signed: false };
        let bytes = message.clone();
        let block = match SealedBlock::decode(&bytes) {
            Ok(block) => block,
            Err(error) => return unreadable(BlockFault::Block(error)),
        };
        let header_bytes = message.slice_ref(block.header);
        let header = match Header::decode(&header_bytes) {
            Ok(header) => header,
            Err(error) => return unreadable(BlockFault::Header(error)),
        };
        let sealed = Sealed {
            header_hash: Header::hash_of(&header_bytes),
            header_bytes,
            header,
            key: block.key,
            signature: block.signature,
            message,
        };
        let content = Self::read_content(&sealed, &block.events);
        Self { sealed: Some(sealed), content, producer_signed: false }
    }

    fn read_content(
        sealed: &Sealed,
        events: &[&serde_bytes::Bytes],
    ) -> Result<UnverifiedContent, BlockFault> {
        let (claimed, found) = (sealed.header.event_count, events.len());
        if claimed as usize != found {
            return Err(BlockFault::EventCount { claimed, found });
        }
        if sealed.header.height == Height::GENESIS {
            let [document] = events else { return Err(BlockFault::Genesis("it has not one event".into())) };
            let document = sealed.message.slice_ref(document);
            sealed.check_root(genesis_events_root(&document))?;
            return Ok(UnverifiedContent::Genesis(Box::new((sealed.genesis(&document)?, document))));
        }
        let read = |event: &&serde_bytes::Bytes| Parsed::read(sealed.message.slice_ref(event));
        let parsed: Vec<_> = events.par_iter().with_min_len(64).map(read).collect();
        let mut good = Vec::with_capacity(parsed.len());
        let mut bad = Vec::new();
        for (index, outcome) in (0..).zip(parsed) {
            match outcome {
                Ok(event) => good.push(event),
                Err(error) => bad.push((index, error)),
            }
        }
        if !bad.is_empty() {
            return Err(BlockFault::Events(bad));
        }
        sealed.check_root(root_of_values(good.iter().map(Parsed::value_hash)))?;
        Ok(UnverifiedContent::Events(good))
    }

    /// Verifies every signature of all `blocks` together and notes the outcome in each.
    pub(super) fn check_signatures(blocks: &mut [Self]) {
        /// Whose signature a claim is: the producer's, or that of an event's party.
        type Owner = (usize, Option<(usize, usize)>);
        let mut claims = Vec::new();
        let mut owners: Vec<Owner> = Vec::new();
        for (nth, block) in blocks.iter().enumerate() {
            if let Some(sealed) = &block.sealed {
                claims.push(sealed.claim());
                owners.push((nth, None));
            }
            let Ok(UnverifiedContent::Events(events)) = &block.content else { continue };
            for (event, parsed) in events.iter().enumerate() {
                for (party, claim) in parsed.claims().enumerate() {
                    claims.push(claim);
                    owners.push((nth, Some((event, party))));
                }
            }
        }
        let bad = verify_batch(&claims);
        drop(claims);
        for block in blocks.iter_mut() {
            block.producer_signed = block.sealed.is_some();
        }
        let bad_owners: Vec<Owner> = bad.into_iter().map(|place| owners[place]).collect();
        for of_one in bad_owners.chunk_by(|(a, _), (b, _)| a == b) {
            blocks[of_one[0].0].note_bad(of_one.iter().map(|(_, party)| *party));
        }
    }

    fn note_bad(&mut self, bad: impl Iterator<Item = Option<(usize, usize)>>) {
        let mut refused: Vec<(u32, EnvelopeError)> = Vec::new();
        for signature in bad {
            match (signature, &self.content) {
                (None, _) => self.producer_signed = false,
                (Some((event, party)), Ok(UnverifiedContent::Events(events))) => {
                    let index = event as u32;
                    if refused.last().is_none_or(|(last, _)| *last != index) {
                        refused.push((index, events[event].bad_signature(party)));
                    }
                }
                _ => {}
            }
        }
        if !refused.is_empty() {
            self.content = Err(BlockFault::Events(refused));
        }
        if !self.producer_signed {
            self.content = Err(BlockFault::ProducerSignature);
        }
    }

    /// To be called when the signatures are checked.
    pub(super) fn verdict(self) -> Result<VerifiedBlock, BlockError> {
        match (self.sealed, self.content) {
            (Some(sealed), Ok(content)) => {
                let content = match content {
                    UnverifiedContent::Genesis(genesis) => Content::Genesis(genesis),
                    UnverifiedContent::Events(events) => {
                        Content::Events(events.into_iter().map(Parsed::trusted).collect())
                    }
                };
                Ok(VerifiedBlock { sealed, content })
            }
            (sealed, content) => {
                let sealed_by = sealed.filter(|_| self.producer_signed);
                let sealed_by = sealed_by.map(|sealed| Box::new((sealed.header, sealed.key)));
                let fault = content.err().unwrap_or(BlockFault::ProducerSignature);
                Err(BlockError { fault, sealed_by })
            }
        }
    }
}
