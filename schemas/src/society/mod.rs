//! Records and payloads of the society domain.
//!
//! # Format
//! Kinds are grouped by family, sixteen numbers each; numbers that are not listed are unknown kinds.
//!
//! | numbers | family | kinds |
//! |---|---|---|
//! | 256–271 | agents | 256 [`AgentRegistration`], 257 [`StatusUpdate`], 258 [`ReputationUpdate`] |
//! | 272–287 | alliances | 272 [`AllianceFormation`] |
//! | 288–303 | social | 288 [`SocialInteraction`] |
//! | 304–319 | memes | 304 [`MemePublication`], 305 [`MemeInfluence`] |
//! | 320–335 | entries | 320 [`CustomSet`], 321 [`CustomDelete`] |
//!
//! Records stand in three sub-trees, `agents` (2), `social` (3) and `memes` (4):
//!
//! | sub-tree | key | record |
//! |---|---|---|
//! | agents | `00` | [`AgentCount`] |
//! | agents | `01` ‖ agent (32) | [`Agent`] |
//! | agents | `02` ‖ owner (32) ‖ namespace (16) ‖ key (16) | [`Entry`] |
//! | social | `01` ‖ alliance (32) | [`Alliance`] |
//! | social | `02` ‖ from (32) ‖ to (32) | [`Relationship`] |
//! | social | `03` ‖ meme (32) | [`InfluenceScore`] |
//! | memes | `01` ‖ meme (32) | [`Meme`] |
//! | memes | `02` ‖ meme (32) ‖ author (32) | [`InfluenceTurn`] |
//!
//! Namespace and key of an entry enter its key as [`crate::NameHash`].

mod agent;
mod alliance;
mod entry;
mod meme;
mod relationship;

pub use agent::{
    Agent, AgentCount, AgentRegistration, AgentStatus, Membership, Personality, ReputationUpdate,
    StatusUpdate,
};
pub use alliance::{
    Alliance, AllianceFormation, AlliancePurpose, AllianceState, AllianceTerms, Benefit, PurposeKind,
};
pub use entry::{CustomDelete, CustomSet, Entry};
pub use meme::{InfluenceScore, InfluenceTurn, Meme, MemeContent, MemeInfluence, MemePublication, MemeType};
pub use relationship::{InteractionKind, Relationship, RelationshipCounts, SocialInteraction};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::PAYLOAD_BYTES_MAX;
use crate::{CodecError, Micros, codec};

/// What a transition carries besides its author: one type a kind.
pub trait Payload: Serialize + DeserializeOwned {
    /// The kind's number.
    const KIND: u16;
    /// The kind's name.
    const NAME: &'static str;

    /// What oversteps a limit of [`crate::limits`], if anything.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Reads a payload, checking form and limits.
    ///
    /// # Errors
    /// [`CodecError`]; a limit overstepped is told as a form error that names it.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let payload: Self = codec::decode(bytes, PAYLOAD_BYTES_MAX)?;
        payload.check().map_err(CodecError::Form)?;
        Ok(payload)
    }
}

/// Numbers that the society's rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// The longest time an alliance may be formed for.
    pub alliance_duration_max: Micros,
    /// After how much block time a meme's influence is half of what it was; 0 when it stays for ever.
    pub meme_half_life: Micros,
}

impl Default for Parameters {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self { alliance_duration_max: Micros::from_secs(365 * DAY), meme_half_life: Micros::from_secs(DAY) }
    }
}

fn check_text(what: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    check_bytes(what, text.len(), min, max)
}

fn check_bytes(what: &str, bytes: usize, min: usize, max: usize) -> Result<(), String> {
    if (min..=max).contains(&bytes) {
        Ok(())
    } else {
        Err(format!("{what} has {bytes} bytes, not {min} to {max}"))
    }
}

fn check_count<T>(what: &str, list: &[T], min: usize, max: usize) -> Result<(), String> {
    let count = list.len();
    if (min..=max).contains(&count) { Ok(()) } else { Err(format!("{count} {what}, not {min} to {max}")) }
}
