//! Identifiers. Each is a newtype, so that an account cannot be passed where a meme is meant.

use std::fmt;

use crate::hash::{Hash, Purpose};
use crate::keys::PublicKey;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps the bytes of an id.
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        crate::bytes::fixed_bytes!($name, $len);
    };
}

id!(
    /// Names a chain: the hash of its genesis document.
    ChainId,
    32
);
id!(
    /// Names an account for ever: plain BLAKE3 of the first public key it registered with. Keys rotate, ids do not.
    AccountId,
    32
);
id!(
    /// Names a transition: the keyed hash of its signed body.
    TransitionId,
    32
);
id!(
    /// Names an alliance: the id of the transition that formed it.
    AllianceId,
    32
);
id!(
    /// Names a meme: the id of the transition that published it.
    MemeId,
    32
);
id!(
    /// Names a conflict: the keyed hash of its kind, subject, options and opening height.
    ConflictId,
    32
);
id!(
    /// Groups transitions that belong to one piece of work; 16 bytes, the size of a W3C trace id.
    CorrelationId,
    16
);
id!(
    /// An author-chosen name as it enters a state key: the first 16 bytes of its hash.
    NameHash,
    16
);

/// An agent of the society domain is an account of the kernel; the two share their id.
pub type AgentId = AccountId;

impl AccountId {
    /// The id of the account that first registers with `key`.
    pub fn from_first_key(key: &PublicKey) -> Self {
        Self(*blake3::hash(key.as_bytes()).as_bytes())
    }
}

impl TransitionId {
    /// The id of the transition whose signed body is `body`.
    pub fn of_body(body: &[u8]) -> Self {
        Self(*Purpose::Transition.hash(body).as_bytes())
    }
}

impl ChainId {
    /// The id of the chain that starts with the genesis document `genesis`.
    pub fn of_genesis(genesis: &[u8]) -> Self {
        Self(*Purpose::Genesis.hash(genesis).as_bytes())
    }
}

impl NameHash {
    /// The form in which `name` enters a state key.
    pub fn of(name: &[u8]) -> Self {
        let hash = Purpose::Name.hash(name);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Self(bytes)
    }
}

impl From<TransitionId> for AllianceId {
    fn from(id: TransitionId) -> Self {
        Self(id.0)
    }
}

impl From<TransitionId> for MemeId {
    fn from(id: TransitionId) -> Self {
        Self(id.0)
    }
}

impl From<Hash> for ConflictId {
    fn from(hash: Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl From<ChainId> for Hash {
    fn from(id: ChainId) -> Self {
        Self::new(id.0)
    }
}
