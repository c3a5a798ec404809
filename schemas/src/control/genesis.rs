//! The document a chain starts from.

use serde::{Deserialize, Serialize};

use super::{Parameters, Role, is_quorum, signable};
use crate::codec::{self, CodecError};
use crate::limits::{
    DOMAIN_PARAMETERS_BYTES_MAX, GENESIS_BYTES_MAX, SIGNATURES_MAX, SUB_TREES_MAX, VALIDATORS_MAX,
};
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
        self.check_validators()?;
        let bytes = self.domain_parameters.len();
        if bytes > DOMAIN_PARAMETERS_BYTES_MAX {
            return Err(format!(
                "the domain's parameters have {bytes} bytes, more than {DOMAIN_PARAMETERS_BYTES_MAX}"
            ));
        }
        self.parameters.check()
    }

    fn check_validators(&self) -> Result<(), String> {
        let weights = || self.accounts.iter().map(|account| account.weight).filter(|weight| *weight > 0);
        let Some(total) = weights().try_fold(0, u64::checked_add) else {
            return Err("the validators' weights together are more than 2^64 - 1".into());
        };
        let validators = weights().count();
        if validators > VALIDATORS_MAX {
            return Err(format!("{validators} validators are more than {VALIDATORS_MAX}"));
        }
        let signable = signable(weights());
        if validators > 0 && !is_quorum(signable, total) {
            return Err(format!(
                "the {SIGNATURES_MAX} heaviest validators have {signable} of {total} weight, not more than two thirds, and no \
                 more can sign one decision"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One producer without weight, and validators with these.
    fn of_weights(weights: impl Iterator<Item = u64>) -> Genesis {
        let accounts = (0_u16..).zip([0].into_iter().chain(weights)).map(|(number, weight)| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            let role = if number == 0 { Role::Producer } else { Role::Validator };
            GenesisAccount { key: PublicKey::new(key), role, weight, sponsorships: 0 }
        });
        Genesis {
            version: GENESIS_VERSION,
            name: "test".into(),
            domain: "none".into(),
            rules: 1,
            sub_trees: Vec::new(),
            timestamp: Timestamp(0),
            parameters: Parameters::default(),
            domain_parameters: Blob::default(),
            accounts: accounts.collect(),
        }
    }

    /// 64 signatures of 96 equal validators are two thirds and not more: governance would be locked from block 0 on.
    #[test]
    fn as_many_as_can_sign_have_a_quorum() {
        assert_eq!(of_weights(std::iter::empty()).check(), Ok(()));
        assert_eq!(of_weights((0..95).map(|_| 1)).check(), Ok(()));
        let refused = of_weights((0..96).map(|_| 1)).check().unwrap_err();
        assert!(refused.contains("64 of 96"), "{refused}");
        assert_eq!(of_weights((0..255).map(|_| 1).chain([400])).check(), Ok(()));
    }
}
