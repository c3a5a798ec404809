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
//! | `06` | [`Schedule`]; absent while nothing is scheduled |

mod genesis;
mod governance;
mod parameters;

use serde::{Deserialize, Serialize};

use crate::limits::{LANES, SIGNATURES_MAX};
use crate::{AccountId, Height, PublicKey, Timestamp, code_enum};

pub use genesis::{GENESIS_VERSION, Genesis, GenesisAccount};
pub use governance::{ParameterChange, RoleGrant, Schedule, Scheduled, Suspension};
pub use parameters::{Parameters, Registration};

/// Kinds of the kernel's own transitions; all are below 256.
pub mod kind {
    /// [`super::AccountRegistration`]
    pub const ACCOUNT_REGISTRATION: u16 = 1;
    /// [`super::KeyRotation`]
    pub const KEY_ROTATION: u16 = 2;
    /// [`super::RoleGrant`]
    pub const ROLE_GRANT: u16 = 3;
    /// [`super::Suspension`]
    pub const SUSPENSION: u16 = 4;
    /// [`super::ParameterChange`]
    pub const PARAMETER_CHANGE: u16 = 5;
    /// Kept for rolling the chain back; no transition has it yet.
    pub const ROLLBACK: u16 = 6;
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
        /// Is one of those who answer for the chain without sealing blocks: a domain may let it do more than a member. What
        /// attests and decides is the weight, whatever the role.
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
    /// How many registrations it may still sponsor.
    pub sponsorships: u32,
    /// Where the window of block time began that `window_events` counts in.
    pub window_start: Timestamp,
    /// How many of its transitions were accepted in that window; counted while there is a bound.
    pub window_events: u32,
}

/// The accounts that attest blocks and agree on governance, in ascending order of id; at most
/// [`VALIDATORS_MAX`](crate::limits::VALIDATORS_MAX), each with a weight above 0.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// The set.
    pub members: Vec<Validator>,
    /// The first block that the set's attestations count for: the one after that it came into force with. What comes
    /// before is for the set before.
    pub since: Height,
}

impl Validators {
    /// The weight of all together; genesis and grants keep it below 2^64.
    pub fn total(&self) -> u64 {
        self.members.iter().fold(0, |total: u64, member| total.saturating_add(member.weight))
    }

    /// The weight of an account; `None` when it is no validator.
    pub fn weight_of(&self, account: &AccountId) -> Option<u64> {
        let place = self.members.binary_search_by_key(account, |member| member.account).ok()?;
        Some(self.members[place].weight)
    }

    /// The greatest weight that can sign one envelope: that of the [`SIGNATURES_MAX`] heaviest.
    pub fn signable(&self) -> u64 {
        signable(self.members.iter().map(|member| member.weight))
    }
}

/// Whether `weight` is more than two thirds of `total`.
pub const fn is_quorum(weight: u64, total: u64) -> bool {
    3 * weight as u128 > 2 * total as u128
}

/// The sum of the [`SIGNATURES_MAX`] greatest of these weights.
fn signable(weights: impl Iterator<Item = u64>) -> u64 {
    let mut weights: Vec<u64> = weights.collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    weights.iter().take(SIGNATURES_MAX).fold(0, |sum, weight| sum.saturating_add(*weight))
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
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChainState {
    /// How often the chain was rolled back.
    pub epoch: u64,
    /// The version of the domain's rules in force.
    pub rules: u16,
    /// How many accounts may produce: producers that are not suspended.
    pub producers: u32,
    /// The weight of the validators that are suspended; it is part of the total.
    pub weight_suspended: u64,
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
