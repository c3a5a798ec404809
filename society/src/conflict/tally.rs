//! Counting, and what follows from the count. Everything here is computed from a conflict's record alone.

use chaoschain_schemas::society::{Conflict, ConflictOutcome, DecidedBy};
use chaoschain_schemas::{Fixed, Timestamp};

const SCALE: u128 = Fixed::SCALE as u128;

/// What electors have said so far, by weight, in millionths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The weight of each option, by its number.
    pub weights: Vec<u64>,
    /// The weight of all electors, those with void opinions and those without any included.
    pub total: u64,
    /// Whether every elector has an opinion or two that are void.
    pub all_spoken: bool,
}

/// Counts the opinions that a record holds.
pub fn tally(conflict: &Conflict) -> Tally {
    let mut weights = vec![0_u64; conflict.options.len()];
    for elector in conflict.electors.iter().filter(|elector| !elector.voided) {
        if let Some(weight) = elector.opinion.and_then(|option| weights.get_mut(usize::from(option))) {
            *weight = weight.saturating_add(elector.weight);
        }
    }
    let total = conflict.electors.iter().fold(0_u64, |total, elector| total.saturating_add(elector.weight));
    let all_spoken = conflict.electors.iter().all(|elector| elector.voided || elector.opinion.is_some());
    Tally { weights, total, all_spoken }
}

impl Tally {
    /// The weight of all valid opinions.
    fn spoken(&self) -> u128 {
        self.weights.iter().map(|weight| u128::from(*weight)).sum()
    }

    /// The share of the total weight that has a valid opinion, rounded down; 0 where there is no weight.
    pub fn participation(&self) -> Fixed {
        let share = (self.spoken() * SCALE).checked_div(self.total.into()).unwrap_or(0);
        Fixed::from_millionths(share as i64)
    }

    /// The competing option that is heavier than every other, if one is.
    fn heaviest(&self, competing: &[u8]) -> Option<u8> {
        let weight = |option: u8| self.weights.get(usize::from(option)).copied();
        let most = competing.iter().filter_map(|option| weight(*option)).max()?;
        let mut heaviest = competing.iter().copied().filter(|option| weight(*option) == Some(most));
        match (heaviest.next(), heaviest.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }
}

/// Which option wins, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The winning option; `None` when there was none left.
    pub option: Option<u8>,
    /// What decides.
    pub by: DecidedBy,
}

/// What can be decided at any time, whoever has not spoken yet; `competing` are the options that can win, ascending.
///
/// Where no option competes the conflict lapses; where one is left of several it wins. Otherwise an option wins whose
/// weight is strictly more than the threshold's share of the total: `weight × 1,000,000 > threshold × total`.
pub fn decide_early(conflict: &Conflict, competing: &[u8]) -> Option<Decision> {
    let &[first, ref others @ ..] = competing else {
        return Some(Decision { option: None, by: DecidedBy::Lapse });
    };
    if others.is_empty() && conflict.options.len() > 1 {
        return Some(Decision { option: Some(first), by: DecidedBy::Expiry });
    }
    let Tally { weights, total, .. } = tally(conflict);
    let bar = parts(conflict.threshold) * u128::from(total);
    let above = |option: &&u8| {
        weights.get(usize::from(**option)).is_some_and(|weight| u128::from(*weight) * SCALE > bar)
    };
    competing.iter().find(above).map(|&option| Decision { option: Some(option), by: DecidedBy::Threshold })
}

/// What is decided when somebody asks at block time `at`, or when the deadline has come; `None` while it is too early.
///
/// It is what [`decide_early`] says, if anything. Else, once the deadline is there or every elector has spoken: the
/// heaviest of the competing options, if no other is as heavy and the valid opinions have at least the least
/// participation, `spoken × 1,000,000 ≥ participation_min × total`; and if not, the first competing option.
pub fn decide(conflict: &Conflict, at: Timestamp, competing: &[u8]) -> Option<Decision> {
    if let Some(early) = decide_early(conflict, competing) {
        return Some(early);
    }
    let counted = tally(conflict);
    let over = at >= conflict.deadline;
    if !over && !counted.all_spoken {
        return None;
    }
    let enough = counted.spoken() * SCALE >= parts(conflict.participation_min) * u128::from(counted.total);
    Some(match counted.heaviest(competing).filter(|_| enough) {
        Some(option) => {
            let by = if over { DecidedBy::Deadline } else { DecidedBy::AllSpoken };
            Decision { option: Some(option), by }
        }
        None => Decision { option: competing.first().copied(), by: DecidedBy::Default },
    })
}

/// Whether the outcome in the record is what its opinions give; `None` while it has none.
///
/// Which options competed, and when it was decided, are taken from the outcome. What makes an alliance compete is in
/// the alliances' records, not in this one.
pub fn agrees(conflict: &Conflict) -> Option<bool> {
    let ConflictOutcome { option, by, at, weights, total, competing, .. } = conflict.outcome.as_ref()?;
    let counted = tally(conflict);
    let decision = Decision { option: *option, by: *by };
    Some(
        (&counted.weights, &counted.total) == (weights, total)
            && competing.is_sorted_by(|a, b| a < b)
            && competing.iter().all(|option| usize::from(*option) < conflict.options.len())
            && decide(conflict, *at, competing) == Some(decision),
    )
}

/// A share in millionths; shares are not negative.
fn parts(share: Fixed) -> u128 {
    u128::try_from(share.millionths()).unwrap_or(0)
}
