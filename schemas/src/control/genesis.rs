//! The document a chain starts from.

use serde::{Deserialize, Serialize};

use super::{Parameters, Role};
use crate::codec::{self, CodecError};
use crate::limits::{DOMAIN_PARAMETERS_BYTES_MAX, GENESIS_BYTES_MAX, SUB_TREES_MAX, VALIDATORS_MAX};
use crate::{Blob, ChainId, PublicKey, Timestamp};

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
    /// How many registrations it may sponsor.
    pub sponsorships: u32,
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
        let validators = self.accounts.iter().filter(|account| account.weight > 0).count();
        if validators > VALIDATORS_MAX {
            return Err(format!("{validators} validators are more than {VALIDATORS_MAX}"));
        }
        let bytes = self.domain_parameters.len();
        if bytes > DOMAIN_PARAMETERS_BYTES_MAX {
            return Err(format!(
                "the domain's parameters have {bytes} bytes, more than {DOMAIN_PARAMETERS_BYTES_MAX}"
            ));
        }
        self.parameters.check()
    }
}
