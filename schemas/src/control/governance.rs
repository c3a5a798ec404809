//! What validators decide together, and what of it waits for its height.

use serde::{Deserialize, Serialize};

use super::{Parameters, Role};
use crate::{AccountId, Blob, EventAddress, Height};

/// Gives an account its role, weight and sponsorships from a height on, in place of what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleGrant {
    /// The account.
    pub account: AccountId,
    /// What it may do.
    pub role: Role,
    /// Its weight as a validator; 0 for none.
    pub weight: u64,
    /// How many registrations it may sponsor from then on.
    pub sponsorships: u32,
    /// The block at whose start it takes effect.
    pub at: Height,
}

/// Suspends an account or lets it act again, from the next event on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// The account.
    pub account: AccountId,
    /// Whether it may submit nothing from now on.
    pub suspended: bool,
    /// Why, in words; 1 to [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
    pub reason: String,
}

/// Replaces parameters, or moves to the next version of the domain's rules, from a height on. At least one is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterChange {
    /// The block at whose start it takes effect.
    pub at: Height,
    /// The kernel's parameters, all of them.
    pub kernel: Option<Parameters>,
    /// The domain's parameters, all of them, in its own encoding; at most
    /// [`DOMAIN_PARAMETERS_BYTES_MAX`](crate::limits::DOMAIN_PARAMETERS_BYTES_MAX) bytes.
    pub domain: Option<Blob>,
    /// The version of the domain's rules: the one before it, and one.
    pub rules: Option<u16>,
    /// Why, in words; 1 to [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
    pub reason: String,
}

/// What validators have decided and is not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// At most [`SCHEDULED_MAX`](crate::limits::SCHEDULED_MAX), by height; those of one height in the order of their
    /// events.
    pub changes: Vec<Scheduled>,
}

/// A change that waits for its height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// The block at whose start it takes effect.
    pub at: Height,
    /// The event that it was decided with.
    pub event: EventAddress,
    /// The event's kind.
    pub kind: u16,
    /// The event's payload: a [`RoleGrant`] or a [`ParameterChange`].
    pub payload: Blob,
}
