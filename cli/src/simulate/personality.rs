//! What agents of each personality do: the table of shares.

use chaoschain_schemas::control::kind;
use chaoschain_schemas::society::{
    AllianceBetrayal, AllianceDeparture, AllianceFormation, AllianceReconciliation, ConflictReport,
    CustomDelete, CustomSet, DramaRecord, MemeInfluence, MemePublication, MemeReaction, OpinionCast,
    Payload as _, Personality, PersonalityShift, ReputationUpdate, SocialInteraction, StatusUpdate,
};

/// What an agent may choose to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A `ReputationUpdate`.
    Rating,
    /// A `SocialInteraction`.
    Interaction,
    /// A `DramaRecord`.
    Drama,
    /// A `MemePublication`.
    Publication,
    /// A `MemeReaction`.
    Reaction,
    /// A `MemeInfluence`.
    Influence,
    /// A `AllianceFormation`.
    Formation,
    /// A `AllianceDeparture`.
    Departure,
    /// A `AllianceBetrayal`.
    Betrayal,
    /// A `AllianceReconciliation`.
    Reconciliation,
    /// A `StatusUpdate`.
    Status,
    /// A `PersonalityShift`.
    Shift,
    /// A `CustomSet`.
    EntrySet,
    /// A `CustomDelete`.
    EntryDelete,
    /// A `ConflictReport`.
    Report,
    /// A `OpinionCast`.
    Opinion,
    /// A `KeyRotation`.
    KeyRotation,
}

impl Deed {
    /// The kind of transition it is.
    pub const fn kind(self) -> u16 {
        match self {
            Self::Rating => ReputationUpdate::KIND,
            Self::Interaction => SocialInteraction::KIND,
            Self::Drama => DramaRecord::KIND,
            Self::Publication => MemePublication::KIND,
            Self::Reaction => MemeReaction::KIND,
            Self::Influence => MemeInfluence::KIND,
            Self::Formation => AllianceFormation::KIND,
            Self::Departure => AllianceDeparture::KIND,
            Self::Betrayal => AllianceBetrayal::KIND,
            Self::Reconciliation => AllianceReconciliation::KIND,
            Self::Status => StatusUpdate::KIND,
            Self::Shift => PersonalityShift::KIND,
            Self::EntrySet => CustomSet::KIND,
            Self::EntryDelete => CustomDelete::KIND,
            Self::Report => ConflictReport::KIND,
            Self::Opinion => OpinionCast::KIND,
            Self::KeyRotation => kind::KEY_ROTATION,
        }
    }
}

/// How many of a thousand deeds are of a kind, for each personality in the order of [`Personality::ALL`]. Every column
/// adds up to 1000.
#[rustfmt::skip]
pub const SHARES: [(Deed, [u16; 9]); 17] = [
    // Lawful, Neutral, Chaotic, Memetic, Greedy, Dramatic, Rational, Emotional, Strategic
    (Deed::Rating, [260, 200, 120, 90, 280, 120, 300, 160, 220]),
    (Deed::Interaction, [259, 299, 208, 192, 190, 234, 203, 276, 209]),
    (Deed::Drama, [15, 20, 110, 40, 30, 160, 10, 70, 20]),
    (Deed::Publication, [40, 50, 90, 190, 50, 80, 40, 60, 50]),
    (Deed::Reaction, [90, 110, 110, 190, 80, 90, 90, 150, 80]),
    (Deed::Influence, [50, 50, 90, 130, 100, 70, 50, 70, 100]),
    (Deed::Formation, [45, 40, 40, 35, 55, 40, 45, 45, 70]),
    (Deed::Departure, [5, 8, 15, 5, 12, 15, 6, 14, 8]),
    (Deed::Betrayal, [1, 2, 16, 2, 14, 12, 2, 6, 8]),
    (Deed::Reconciliation, [3, 2, 4, 2, 2, 8, 3, 10, 4]),
    (Deed::Status, [20, 25, 25, 15, 15, 25, 20, 25, 20]),
    (Deed::Shift, [2, 3, 20, 5, 4, 15, 3, 12, 5]),
    (Deed::EntrySet, [60, 60, 40, 30, 70, 30, 80, 30, 80]),
    (Deed::EntryDelete, [15, 12, 20, 6, 20, 10, 18, 8, 15]),
    (Deed::Report, [3, 2, 4, 2, 2, 5, 3, 3, 3]),
    (Deed::Opinion, [125, 110, 80, 60, 70, 80, 120, 55, 100]),
    (Deed::KeyRotation, [7, 7, 8, 6, 6, 6, 7, 6, 8]),
];

/// The shares of a personality, in the order of [`SHARES`].
pub(super) fn shares_of(personality: Personality) -> [usize; SHARES.len()] {
    SHARES.map(|(_, shares)| shares[personality as usize].into())
}

#[cfg(test)]
mod tests {
    use chaoschain_society::Society;
    use chaoschain_state::control::kind_spec;

    use super::*;

    #[test]
    fn every_column_adds_up_and_every_deed_has_its_own_kind() {
        for personality in Personality::ALL {
            assert_eq!(shares_of(*personality).iter().sum::<usize>(), 1000, "{personality}");
        }
        let mut kinds: Vec<_> = SHARES.iter().map(|(deed, _)| deed.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), SHARES.len());
    }

    #[test]
    fn the_documentation_has_the_same_table() {
        let page = include_str!("../../../docs/simulation.md");
        for (deed, shares) in SHARES {
            let name = kind_spec(&Society, deed.kind()).unwrap().name;
            let row = format!("| {name} | {} |", shares.map(|share| share.to_string()).join(" | "));
            assert!(page.contains(&row), "docs/simulation.md has no line {row}");
        }
    }
}
