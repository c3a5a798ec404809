//! Numbers that the society's rules use.

use serde::{Deserialize, Serialize};

use super::agent::Personality;
use super::conflict::Strategy;
use crate::{Fixed, Micros};

/// Numbers that the society's rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// The longest time an alliance may be formed for.
    pub alliance_duration_max: Micros,
    /// After how much block time a meme's influence is half of what it was; 0 when it stays for ever.
    pub meme_half_life: Micros,
    /// How often one agent may rate one other, at most; 0 for no bound.
    pub ratings_per_subject_max: u32,
    /// For how much block time an agent must have been registered to vote.
    pub elector_age_min: Micros,
    /// How much block time there is for opinions.
    pub conflict_duration: Micros,
    /// How electors are weighed where a report does not say.
    pub conflict_strategy: Strategy,
    /// An option is decided for at once when it has more than this share of all electors' weight, in \[½, 1\].
    pub conflict_threshold: Fixed,
    /// The share of all electors' weight that must have an opinion for the deadline to decide, in \[0, 1\].
    pub conflict_participation_min: Fixed,
    /// How much influence counts at most where electors are weighed by it, in \[0, 10\].
    pub influence_cap: Fixed,
    /// What an elector weighs by its personality.
    pub personality_weights: PersonalityWeights,
}

impl Default for Parameters {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            alliance_duration_max: Micros::from_secs(365 * DAY),
            meme_half_life: Micros::from_secs(DAY),
            ratings_per_subject_max: 0,
            elector_age_min: Micros::from_secs(3600),
            conflict_duration: Micros::from_secs(DAY),
            conflict_strategy: Strategy::Majority,
            conflict_threshold: Fixed::from_millionths(666_667),
            conflict_participation_min: Fixed::from_millionths(333_333),
            influence_cap: Fixed::ONE,
            personality_weights: PersonalityWeights::default(),
        }
    }
}

impl Parameters {
    /// What is out of its range, if anything.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: Fixed, low: Fixed, high: Fixed| {
            let text = || format!("{name} is {value}, not in {low} to {high}");
            if value.is_within(low, high) { Ok(()) } else { Err(text()) }
        };
        within("conflict_threshold", self.conflict_threshold, Fixed::HALF, Fixed::ONE)?;
        within("conflict_participation_min", self.conflict_participation_min, Fixed::ZERO, Fixed::ONE)?;
        let ten = Fixed::from_millionths(10 * Fixed::SCALE);
        within("influence_cap", self.influence_cap, Fixed::ZERO, ten)?;
        for personality in Personality::ALL {
            let weights = self.personality_weights.of(*personality);
            let name = format!("personality_weights of {personality}");
            let two = Fixed::from_millionths(2 * Fixed::SCALE);
            within(&name, weights.facts, Fixed::HALF, two)?;
            within(&name, weights.alliances, Fixed::HALF, two)?;
        }
        if self.conflict_duration.0 == 0 {
            return Err("conflict_duration must be more than zero".into());
        }
        Ok(())
    }
}

/// What an elector weighs, by what the conflict is about; each in \[½, 2\].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// In conflicts about facts of agents.
    pub facts: Fixed,
    /// In conflicts of alliances.
    pub alliances: Fixed,
}

/// What an elector weighs by its personality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are the personalities")]
pub struct PersonalityWeights {
    pub lawful: Weights,
    pub neutral: Weights,
    pub chaotic: Weights,
    pub memetic: Weights,
    pub greedy: Weights,
    pub dramatic: Weights,
    pub rational: Weights,
    pub emotional: Weights,
    pub strategic: Weights,
}

impl PersonalityWeights {
    /// What this personality weighs.
    pub const fn of(&self, personality: Personality) -> Weights {
        match personality {
            Personality::Lawful => self.lawful,
            Personality::Neutral => self.neutral,
            Personality::Chaotic => self.chaotic,
            Personality::Memetic => self.memetic,
            Personality::Greedy => self.greedy,
            Personality::Dramatic => self.dramatic,
            Personality::Rational => self.rational,
            Personality::Emotional => self.emotional,
            Personality::Strategic => self.strategic,
        }
    }
}

impl Default for PersonalityWeights {
    fn default() -> Self {
        const fn hundredths(facts: i64, alliances: i64) -> Weights {
            let step = Fixed::SCALE / 100;
            Weights {
                facts: Fixed::from_millionths(facts * step),
                alliances: Fixed::from_millionths(alliances * step),
            }
        }
        Self {
            lawful: hundredths(125, 125),
            neutral: hundredths(100, 100),
            chaotic: hundredths(75, 75),
            memetic: hundredths(90, 100),
            greedy: hundredths(75, 100),
            dramatic: hundredths(75, 110),
            rational: hundredths(125, 110),
            emotional: hundredths(90, 110),
            strategic: hundredths(110, 125),
        }
    }
}
