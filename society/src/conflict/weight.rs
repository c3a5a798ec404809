//! What an elector weighs: one function, three tables.

use chaoschain_schemas::society::{Agent, Benefit, ConflictKind, Parameters, Personality, Strategy};
use chaoschain_schemas::{Fixed, Timestamp};

use crate::alliance;

/// What of an agent its weight depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its personality.
    pub personality: Personality,
    /// Its reputation, in \[0, 1\].
    pub reputation: Fixed,
    /// Its influence, in \[0, 1\].
    pub influence: Fixed,
    /// The strength of the strongest of its live, uncontested alliances that promise voting power, in \[0, 1\].
    pub voting_power: Fixed,
}

impl Standing {
    /// An agent's at block time `now`.
    pub fn of(agent: &Agent, now: Timestamp) -> Self {
        Self {
            personality: agent.personality,
            reputation: agent.reputation,
            influence: agent.influence,
            voting_power: alliance::benefit(agent, Benefit::VotingPower, now),
        }
    }
}

/// What an elector weighs, in millionths. Products are made in 128 bits and rounded down.
///
/// - `Majority`: 1.
/// - `Personality`: what `personality_weights` says of its personality and of what the conflict is about.
/// - `SocialInfluence`: `reputation × (1 + min(influence + voting_power, influence_cap))`.
pub fn weight(strategy: Strategy, kind: ConflictKind, standing: &Standing, parameters: &Parameters) -> u64 {
    let (share, factor) = match strategy {
        Strategy::Majority => (Fixed::ONE, Fixed::ONE),
        Strategy::Personality => {
            let weights = parameters.personality_weights.of(standing.personality);
            let of_kind = match kind {
                ConflictKind::ConflictingAlliances => weights.alliances,
                ConflictKind::InconsistentAgentState | ConflictKind::DivergentTransitions => weights.facts,
            };
            (Fixed::ONE, of_kind)
        }
        Strategy::SocialInfluence => {
            let influence = standing.influence.plus(standing.voting_power).min(parameters.influence_cap);
            (standing.reputation, Fixed::ONE.plus(influence))
        }
    };
    let parts = |score: Fixed| u128::try_from(score.millionths()).unwrap_or(0);
    u64::try_from(parts(share) * parts(factor) / Fixed::SCALE as u128).unwrap_or(u64::MAX)
}
