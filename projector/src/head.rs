//! What a reader holds: one block's header and the state after it.

use std::sync::Arc;

use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::{Hash, Header, Height, Sequence, SignedHeader};
use chaoschain_state::StateVersion;
use chaoschain_state::succession::Parent;

/// The chain at one height. Everything read through one head is of that height, values, lists and proofs alike.
#[derive(Clone)]
pub struct Head {
    /// The block's header.
    pub header: Header,
    /// The header's hash.
    pub hash: Hash,
    /// The header's bytes with the producer's signature.
    pub signed: SignedHeader,
    /// The log's number of the block's message; 0 while the block is not in the log yet.
    pub sequence: Sequence,
    /// The state after the block.
    pub state: Arc<StateVersion>,
}

impl Head {
    /// The block's height.
    pub const fn height(&self) -> Height {
        self.header.height
    }

    /// This, as the block that another one is to follow.
    pub fn as_parent(&self) -> Parent<'_> {
        Parent { header: &self.header, hash: self.hash, state: &*self.state }
    }

    /// What an answer names as the place it was read.
    pub const fn read_point(&self) -> ReadPoint {
        ReadPoint {
            chain: self.header.chain,
            height: self.header.height,
            header_hash: self.hash,
            state_root: self.header.state_root,
            timestamp: self.header.timestamp,
        }
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({} {} @{})", self.header.height, self.hash, self.sequence)
    }
}
