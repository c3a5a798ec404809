//! Relationships: one agent's view of another.

use serde::{Deserialize, Serialize};

use super::{Payload, check_count};
use crate::limits::{INTERACTION_TARGETS_MAX, RELATIONSHIP_EVENTS_MAX};
use crate::{AgentId, EventAddress, Fixed, Hash, Timestamp, code_enum};

code_enum! {
    /// The spirit in which an agent meets others. It is counted; it moves no number by itself.
    InteractionKind {
        /// As a friend.
        Friend = 0,
        /// As a rival.
        Rival = 1,
        /// As a partner in chaos.
        ChaoticAlliance = 2,
        /// As the nemesis of the drama.
        DramaticNemesis = 3,
        /// As somebody who looks on.
        NeutralObserver = 4,
    }
}

/// One agent's view of another. There is none until the first event that concerns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relationship {
    /// How much the one trusts the other, in \[0, 1\].
    pub trust: Fixed,
    /// Block time of the last event that concerned it.
    pub last_updated: Timestamp,
    /// How many events of each kind concerned it.
    pub counts: RelationshipCounts,
    /// Where the latest of them stand, the oldest first, at most [`RELATIONSHIP_EVENTS_MAX`].
    pub events: Vec<EventAddress>,
}

impl Relationship {
    /// Takes in an event at block time `now`: moves trust by `delta` within \[0, 1\] and notes where the event stands.
    /// Its kind is for the caller to count.
    pub fn note(&mut self, delta: Fixed, now: Timestamp, address: EventAddress) {
        self.trust = self.trust.plus_within(delta, Fixed::ZERO, Fixed::ONE);
        self.last_updated = now;
        if self.events.len() >= RELATIONSHIP_EVENTS_MAX {
            self.events.drain(..=self.events.len() - RELATIONSHIP_EVENTS_MAX);
        }
        self.events.push(address);
    }
}

impl Default for Relationship {
    /// A view that nothing has concerned yet: trust ½.
    fn default() -> Self {
        Self {
            trust: Fixed::HALF,
            last_updated: Timestamp::default(),
            counts: RelationshipCounts::default(),
            events: Vec::new(),
        }
    }
}

/// How many events of each kind concerned a relationship; each stays at its largest value once there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RelationshipCounts {
    /// Ratings.
    pub ratings: u32,
    /// Interactions as [`InteractionKind::Friend`].
    pub friend: u32,
    /// Interactions as [`InteractionKind::Rival`].
    pub rival: u32,
    /// Interactions as [`InteractionKind::ChaoticAlliance`].
    pub chaotic_alliance: u32,
    /// Interactions as [`InteractionKind::DramaticNemesis`].
    pub dramatic_nemesis: u32,
    /// Interactions as [`InteractionKind::NeutralObserver`].
    pub neutral_observer: u32,
    /// Influences of memes, and reactions to them.
    pub memes: u32,
    /// Betrayals of an alliance of the two.
    pub betrayals: u32,
    /// Reconciliations after a betrayal.
    pub reconciliations: u32,
}

impl RelationshipCounts {
    /// The counter of an interaction's kind.
    pub const fn interactions(&mut self, kind: InteractionKind) -> &mut u32 {
        match kind {
            InteractionKind::Friend => &mut self.friend,
            InteractionKind::Rival => &mut self.rival,
            InteractionKind::ChaoticAlliance => &mut self.chaotic_alliance,
            InteractionKind::DramaticNemesis => &mut self.dramatic_nemesis,
            InteractionKind::NeutralObserver => &mut self.neutral_observer,
        }
    }
}

/// Moves the author's view of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocialInteraction {
    /// In which spirit.
    pub kind: InteractionKind,
    /// Whom it is aimed at: 1 to 32 different agents, not the author.
    pub targets: Vec<AgentId>,
    /// Plain BLAKE3 of what was said, if anything.
    pub content: Option<Hash>,
    /// How it was meant, in \[−1, 1\].
    pub sentiment: Fixed,
    /// How dramatic it was, 0 to 10.
    pub drama: u8,
}

impl Payload for SocialInteraction {
    const KIND: u16 = 288;
    const NAME: &'static str = "SocialInteraction";

    fn check(&self) -> Result<(), String> {
        check_count("targets", &self.targets, 1, INTERACTION_TARGETS_MAX)
    }
}
