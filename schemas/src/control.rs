//! The kernel's own records, transitions and the genesis document.
//!
//! # Format
//! Keys of the control sub-tree (number 0):
//!
//! | key | record |
//! |---|---|
//! | `01` ‖ account id (32) | [`Account`] |
//! | `02` | [`Parameters`] |
//! | `03` | the domain's parameters, encoded by the domain |
//! | `04` | [`Validators`] |
//! | `05` | [`ChainState`] |

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::limits::{GENESIS_BYTES_MAX, LANES, SUB_TREES_MAX};
use crate::{AccountId, Blob, ChainId, Micros, PublicKey, Timestamp, code_enum};

/// Kinds of the kernel's own transitions; all are below 256.
pub mod kind {
    /// [`super::AccountRegistration`]
    pub const ACCOUNT_REGISTRATION: u16 = 1;
    /// [`super::KeyRotation`]
    pub const KEY_ROTATION: u16 = 2;
    /// The first kind that belongs to the domain.
    pub const DOMAIN_FIRST: u16 = 256;
}

code_enum! {
    /// What an account may do besides submitting.
    Role {
        /// Submits transitions.
        Member = 0,
        /// Also seals blocks.
        Producer = 1,
        /// Also attests blocks.
        Validator = 2,
    }
}

/// What the kernel knows of an author. Everything that each event changes is in this one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The key that signs for the account now.
    pub key: PublicKey,
    /// What the account may do.
    pub role: Role,
    /// A suspended account may submit nothing.
    pub suspended: bool,
    /// Block time of its registration.
    pub registered_at: Timestamp,
    /// Block time of its last accepted transition.
    pub last_activity: Timestamp,
    /// The next nonce of each lane.
    pub nonces: [u64; LANES],
}

/// Numbers the kernel's rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The most that block time may advance from one block to the next.
    pub time_step_max: Micros,
    /// How far ahead of block time a transition's `valid_until` may lie.
    pub valid_until_max: Micros,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { time_step_max: Micros::from_secs(24 * 3600), valid_until_max: Micros::from_secs(600) }
    }
}

/// The accounts that attest blocks, in ascending order of id.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// The set.
    pub members: Vec<Validator>,
}

/// A member of the validator set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// The account.
    pub account: AccountId,
    /// Its share of the total weight.
    pub weight: u64,
}

/// The kernel's own counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    /// How often the chain was rolled back.
    pub epoch: u64,
    /// The version of the domain's rules in force.
    pub rules: u16,
}

/// Registers the author's account under the key it signs with; has no fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRegistration {}

/// Replaces the author's key. Both keys sign: the old one as author, the new one as a further signature of the author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// The key that signs from the next event on.
    pub new_key: PublicKey,
}

/// The number of the genesis document's format that this build writes and reads.
pub const GENESIS_VERSION: u16 = 1;

/// The document a chain starts from; its hash is the chain's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The format's number, [`GENESIS_VERSION`].
    pub version: u16,
    /// A name for people, 1–64 of `A–Z a–z 0–9 _ -`.
    pub name: String,
    /// The id of the domain whose rules the chain runs.
    pub domain: String,
    /// The version of the domain's rules it starts with.
    pub rules: u16,
    /// The domain's sub-trees, in order; they are numbered from 2.
    pub sub_trees: Vec<String>,
    /// Block time of block 0.
    pub timestamp: Timestamp,
    /// The kernel's parameters.
    pub parameters: Parameters,
    /// The domain's parameters, in its own encoding.
    pub domain_parameters: Blob,
    /// The accounts there are from the start, in ascending order of key; at least one is a producer, and the first
    /// producer seals block 0.
    pub accounts: Vec<GenesisAccount>,
}

/// An account that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenesisAccount {
    /// Its first key, which also gives its id.
    pub key: PublicKey,
    /// What it may do.
    pub role: Role,
    /// Its weight as a validator; 0 for none.
    pub weight: u64,
}

impl Genesis {
    /// Reads a genesis document, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let genesis: Self = codec::decode(bytes, GENESIS_BYTES_MAX)?;
        genesis.check().map_err(CodecError::Form)?;
        Ok(genesis)
    }

    /// The document's bytes and the id they give the chain.
    pub fn encode(&self) -> (Vec<u8>, ChainId) {
        let bytes = codec::encode(self);
        let id = ChainId::of_genesis(&bytes);
        (bytes, id)
    }

    /// The account that seals block 0.
    pub fn first_producer(&self) -> Option<&GenesisAccount> {
        self.accounts.iter().find(|account| account.role == Role::Producer)
    }

    /// What is wrong with the document, if anything.
    pub fn check(&self) -> Result<(), String> {
        if self.version != GENESIS_VERSION {
            return Err(format!(
                "genesis version {} is unknown; this build reads {GENESIS_VERSION}",
                self.version
            ));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(plain) {
            return Err(format!("the chain's name {:?} is not 1 to 64 of A-Z a-z 0-9 _ -", self.name));
        }
        if self.sub_trees.len() + 2 > SUB_TREES_MAX {
            return Err(format!("{} sub-trees are more than {}", self.sub_trees.len(), SUB_TREES_MAX - 2));
        }
        if !self.accounts.is_sorted_by(|a, b| a.key < b.key) {
            return Err("accounts are not in strictly ascending order of key".into());
        }
        if self.first_producer().is_none() {
            return Err("no account is a producer, so nobody could seal a block".into());
        }
        let weights = self.accounts.iter().map(|account| account.weight);
        if weights.into_iter().try_fold(0, u64::checked_add).is_none() {
            return Err("the validators' weights together are more than 2^64 - 1".into());
        }
        if self.parameters.time_step_max.0 == 0 || self.parameters.valid_until_max.0 == 0 {
            return Err("time_step_max and valid_until_max must be more than zero".into());
        }
        Ok(())
    }
}
