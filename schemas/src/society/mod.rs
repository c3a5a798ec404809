//! Records and payloads of the society domain.
//!
//! # Format
//! Kinds are grouped by family, sixteen numbers each; numbers that are not listed are unknown kinds.
//!
//! | numbers | family | kinds |
//! |---|---|---|
//! | 256–271 | agents | 256 [`AgentRegistration`], 257 [`StatusUpdate`], 258 [`ReputationUpdate`], 259 [`PersonalityShift`] |
//! | 272–287 | alliances | 272 [`AllianceFormation`], 273 [`AllianceDeparture`], 274 [`AllianceBetrayal`], 275 [`AllianceReconciliation`] |
//! | 288–303 | social | 288 [`SocialInteraction`], 289 [`DramaRecord`] |
//! | 304–319 | memes | 304 [`MemePublication`], 305 [`MemeInfluence`], 306 [`MemeReaction`] |
//! | 320–335 | entries | 320 [`CustomSet`], 321 [`CustomDelete`] |
//! | 336–351 | conflicts | 336 [`ConflictReport`], 337 [`OpinionCast`], 338 [`ConflictResolution`] |
//!
//! Records stand in three sub-trees, `agents` (2), `social` (3) and `memes` (4):
//!
//! | sub-tree | key | record |
//! |---|---|---|
//! | agents | `00` | [`AgentCount`] |
//! | agents | `01` ‖ agent (32) | [`Agent`] |
//! | agents | `02` ‖ owner (32) ‖ namespace (16) ‖ key (16) | [`Entry`] |
//! | agents | `03` ‖ ordinal u64 BE | [`AgentOrdinal`] |
//! | agents | `04` ‖ agent (32) | [`PersonalityHistory`] |
//! | social | `01` ‖ alliance (32) | [`Alliance`] |
//! | social | `02` ‖ from (32) ‖ to (32) | [`Relationship`] |
//! | social | `03` ‖ meme (32) | [`InfluenceScore`] |
//! | social | `04` ‖ height u64 BE ‖ index u32 BE | [`DramaEvent`] |
//! | social | `05` ‖ block time u64 BE ‖ [`DueKind`] u8 ‖ id (32) | [`Due`] |
//! | social | `06` ‖ conflict (32) | [`Conflict`] |
//! | social | `07` ‖ agent (32) ‖ [`ContestedField`] u8 | [`OpenConflict`] |
//! | social | `08` | [`ConflictCounts`] |
//! | social | `09` ‖ agent (32) | [`OpenConflict`], of the fact that the agent has contested |
//! | memes | `01` ‖ meme (32) | [`Meme`] |
//! | memes | `02` ‖ meme (32) ‖ author (32) | [`InfluenceTurn`] |
//! | memes | `03` ‖ meme (32) ‖ author (32) | [`Reaction`] |
//!
//! Namespace and key of an entry enter its key as [`crate::NameHash`].

mod agent;
mod alliance;
mod conflict;
mod drama;
mod due;
mod entry;
mod meme;
mod parameters;
mod relationship;

pub use agent::{
    Agent, AgentCount, AgentOrdinal, AgentRegistration, AgentStatus, Membership, Personality,
    PersonalityHistory, PersonalityShift, ReputationUpdate, StatusUpdate,
};
pub use alliance::{
    Alliance, AllianceBetrayal, AllianceDeparture, AllianceEnd, AllianceEndCause, AllianceFormation,
    AlliancePurpose, AllianceReconciliation, AllianceState, AllianceTerms, Benefit, PurposeKind,
};
pub use conflict::{
    Claim, Conflict, ConflictCounts, ConflictKind, ConflictOption, ConflictOutcome, ConflictReport,
    ConflictResolution, ConflictSubject, ContestedFact, ContestedField, DecidedBy, Divergence, Elector,
    FactReport, OpenConflict, OpinionCast, Strategy,
};
pub use drama::{DramaEvent, DramaKind, DramaRecord};
pub use due::{Due, DueKind};
pub use entry::{CustomDelete, CustomSet, Entry};
pub use meme::{
    InfluenceScore, InfluenceTurn, Meme, MemeContent, MemeInfluence, MemePublication, MemeReaction, MemeType,
    Reaction, ReactionCounts, ReactionKind,
};
pub use parameters::{Parameters, PersonalityWeights, Weights};
pub use relationship::{InteractionKind, Relationship, RelationshipCounts, SocialInteraction};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::PAYLOAD_BYTES_MAX;
use crate::{CodecError, codec};

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
