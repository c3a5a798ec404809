//! Blocks: sealing, and the type that says a message of the log is a well-formed, signed block.

mod verify;

use std::fmt;

use bytes::Bytes;
use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, HEADER_BYTES_MAX};
use chaoschain_schemas::{
    AccountId, Blob, ChainId, CodecError, Hash, Header, Height, PublicKey, SealedBlock, Signature,
    SignedHeader, SigningContext, codec,
};
use chaoschain_state::merkle::{root_of, value_hash};
use rayon::prelude::*;

use crate::envelope::{EnvelopeError, VerifiedEnvelope};
use crate::signature::{Claim, SecretKey};
use verify::Unverified;

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFault {
    /// The message is not a sealed block.
    #[error("the message is not a block: {0}")]
    Block(#[source] CodecError),
    /// The header is not of the required form.
    #[error("the header is refused: {0}")]
    Header(#[source] CodecError),
    /// The producer's signature does not hold for the header under the key it carries.
    #[error("the producer's signature does not hold")]
    ProducerSignature,
    /// The header counts other events than there are.
    #[error("the header counts {claimed} events, there are {found}")]
    EventCount {
        /// What the header says.
        claimed: u32,
        /// How many there are.
        found: usize,
    },
    /// The header commits to other events.
    #[error("the header's events root is {claimed}, the events' is {found}")]
    EventsRoot {
        /// What the header says.
        claimed: Hash,
        /// What the events give.
        found: Hash,
    },
    /// Some events are refused: every one that is, by its index, ascending; never empty.
    #[error("{} of the events are refused, the first at index {}: {}", .0.len(), .0[0].0, .0[0].1)]
    Events(Vec<(u32, EnvelopeError)>),
    /// Block 0 is not the genesis block of the chain it names.
    #[error("the genesis block is refused: {0}")]
    Genesis(String),
}

impl BlockFault {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Block(_) => "block_malformed",
            Self::Header(_) => "header_malformed",
            Self::ProducerSignature => "producer_signature_invalid",
            Self::EventCount { .. } => "event_count_wrong",
            Self::EventsRoot { .. } => "events_root_wrong",
            Self::Events(_) => "events_refused",
            Self::Genesis(_) => "genesis_refused",
        }
    }
}

/// A message that is not a block whose signatures hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct BlockError {
    /// What is wrong.
    #[source]
    pub fault: BlockFault,
    /// The header and the key it is signed with, if at least that signature holds: whoever has this key made the block.
    pub sealed_by: Option<Box<(Header, PublicKey)>>,
}

impl BlockError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        self.fault.code()
    }
}

/// A block of sound form whose signatures hold.
///
/// # What it proves
/// Message, header and every envelope are canonical and within the limits; the header counts and commits to exactly
/// these events; the producer's signature holds for the header, and every party's for its body, under the keys that
/// they carry. For block 0 also that its chain is the hash of its genesis document and that the document's first
/// producer sealed it.
///
/// # What it does not prove
/// Anything that needs the chain before it: that the block is on this chain, at the next height and upon the head; its
/// time, epoch and rules version; that the producer is one and the key its own; that events are acceptable; the state
/// root. The fold checks those.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedBlock {
    sealed: Sealed,
    content: Content,
}

/// A block's message, taken apart.
#[derive(Clone, PartialEq, Eq)]
struct Sealed {
    message: Bytes,
    header_bytes: Bytes,
    header: Header,
    header_hash: Hash,
    key: PublicKey,
    signature: Signature,
}

#[derive(Clone, PartialEq, Eq)]
enum Content {
    Genesis(Box<(Genesis, Bytes)>),
    Events(Vec<VerifiedEnvelope>),
}

impl VerifiedBlock {
    /// Checks one message. [`verify_blocks`] is faster for many.
    ///
    /// # Errors
    /// [`BlockError`]
    pub fn verify(message: Bytes) -> Result<Self, BlockError> {
        let mut unverified = [Unverified::read(message)];
        Unverified::check_signatures(&mut unverified);
        let [block] = unverified;
        block.verdict()
    }

    /// The block as it stands in the log.
    pub fn message(&self) -> &Bytes {
        &self.sealed.message
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.sealed.header
    }

    /// The header's bytes, as they were signed after the tag.
    pub fn header_bytes(&self) -> &Bytes {
        &self.sealed.header_bytes
    }

    /// The hash of the header: the block's name.
    pub fn header_hash(&self) -> Hash {
        self.sealed.header_hash
    }

    /// The key the header is signed with.
    pub fn producer_key(&self) -> &PublicKey {
        &self.sealed.key
    }

    /// The header and its signature, as proofs carry them.
    pub fn signed_header(&self) -> SignedHeader {
        SignedHeader {
            header: Blob::from(&self.sealed.header_bytes[..]),
            key: self.sealed.key,
            signature: self.sealed.signature,
        }
    }

    /// The events, by index. Block 0 has none: its only content is [`genesis`](Self::genesis).
    pub fn events(&self) -> &[VerifiedEnvelope] {
        match &self.content {
            Content::Genesis(_) => &[],
            Content::Events(events) => events,
        }
    }

    /// The genesis document and its bytes, in block 0 alone.
    pub fn genesis(&self) -> Option<(&Genesis, &Bytes)> {
        match &self.content {
            Content::Genesis(genesis) => Some((&genesis.0, &genesis.1)),
            Content::Events(_) => None,
        }
    }
}

impl fmt::Debug for VerifiedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedBlock")
            .field("header_hash", &self.sealed.header_hash)
            .field("header", &self.sealed.header)
            .finish_non_exhaustive()
    }
}

/// Checks many messages at once, the signatures of all in common batches on rayon's current pool. The answers are in
/// the order given.
pub fn verify_blocks(messages: &[Bytes]) -> Vec<Result<VerifiedBlock, BlockError>> {
    let mut blocks: Vec<_> = messages.par_iter().map(|message| Unverified::read(message.clone())).collect();
    Unverified::check_signatures(&mut blocks);
    blocks.into_iter().map(Unverified::verdict).collect()
}

/// The root over index → envelope, as it stands in the header.
pub fn events_root(events: &[VerifiedEnvelope]) -> Hash {
    root_of_values(events.iter().map(VerifiedEnvelope::value_hash))
}

/// The events root of the genesis block, whose only event is the document.
pub fn genesis_events_root(document: &[u8]) -> Hash {
    root_of_values([value_hash(document)])
}

fn root_of_values(hashes: impl IntoIterator<Item = Hash>) -> Hash {
    root_of((0_u32..).map(u32::to_be_bytes).zip(hashes))
}

/// Seals a block over `events`.
///
/// # Errors
/// [`BlockFault`] when the header does not fit the events, or a limit is exceeded: what the sealer would do to itself.
pub fn seal(
    header: Header,
    events: Vec<VerifiedEnvelope>,
    key: &SecretKey,
) -> Result<VerifiedBlock, BlockFault> {
    if header.height == Height::GENESIS {
        return Err(BlockFault::Genesis("block 0 holds a genesis document, not events".into()));
    }
    let bytes = events.iter().map(|event| serde_bytes::Bytes::new(event.bytes())).collect();
    let sealed = Sealed::seal(header, bytes, key)?;
    sealed.check_root(events_root(&events))?;
    Ok(VerifiedBlock { sealed, content: Content::Events(events) })
}

/// Seals block 0 over a genesis document's bytes.
///
/// # Errors
/// [`BlockFault`] when the document is not one, or the header or the key does not fit it.
pub fn seal_genesis(header: Header, document: Bytes, key: &SecretKey) -> Result<VerifiedBlock, BlockFault> {
    let sealed = Sealed::seal(header, vec![serde_bytes::Bytes::new(&document)], key)?;
    sealed.check_root(genesis_events_root(&document))?;
    let genesis = sealed.genesis(&document)?;
    Ok(VerifiedBlock { sealed, content: Content::Genesis(Box::new((genesis, document))) })
}

impl Sealed {
    fn seal(header: Header, events: Vec<&serde_bytes::Bytes>, key: &SecretKey) -> Result<Self, BlockFault> {
        let count = events.len();
        if count > BLOCK_EVENTS_MAX || header.event_count as usize != count {
            return Err(BlockFault::EventCount { claimed: header.event_count, found: count });
        }
        let header_bytes = Bytes::from(codec::encode(&header));
        if header_bytes.len() > HEADER_BYTES_MAX {
            let (bytes, max) = (header_bytes.len(), HEADER_BYTES_MAX);
            return Err(BlockFault::Header(CodecError::TooLarge { bytes, max }));
        }
        let signature = key.sign(SigningContext::Header, &header_bytes);
        let block = SealedBlock {
            header: serde_bytes::Bytes::new(&header_bytes),
            key: key.public(),
            signature,
            events,
        };
        let message = Bytes::from(codec::encode(&block));
        if message.len() > BLOCK_BYTES_MAX {
            let (bytes, max) = (message.len(), BLOCK_BYTES_MAX);
            return Err(BlockFault::Block(CodecError::TooLarge { bytes, max }));
        }
        let header_hash = Header::hash_of(&header_bytes);
        Ok(Self { message, header_bytes, header, header_hash, key: key.public(), signature })
    }

    fn check_root(&self, found: Hash) -> Result<(), BlockFault> {
        let claimed = self.header.events_root;
        if claimed == found { Ok(()) } else { Err(BlockFault::EventsRoot { claimed, found }) }
    }

    /// Reads the genesis document and checks that this is the block 0 it calls for.
    fn genesis(&self, document: &Bytes) -> Result<Genesis, BlockFault> {
        let wrong = |what: String| Err(BlockFault::Genesis(what));
        let genesis = Genesis::decode(document).map_err(|error| BlockFault::Genesis(error.to_string()))?;
        let header = &self.header;
        let chain = ChainId::of_genesis(document);
        if header.height != Height::GENESIS || !header.parent.is_zero() {
            return wrong("it is not at height 0 without a parent".into());
        }
        if header.chain != chain {
            return wrong(format!("it is for chain {}, its document is that of {chain}", header.chain));
        }
        let first = genesis.first_producer().map(|account| account.key);
        if first != Some(self.key) || header.producer != AccountId::from_first_key(&self.key) {
            return wrong("it is not sealed by the document's first producer".into());
        }
        Ok(genesis)
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            context: SigningContext::Header,
            key: &self.key,
            signature: &self.signature,
            bytes: &self.header_bytes,
        }
    }
}
