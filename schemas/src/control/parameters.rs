//! Numbers the kernel's rules use.

use serde::{Deserialize, Serialize};

use crate::limits::{
    AUTHOR_WINDOW_MAX, AUTHOR_WINDOW_MIN, TIME_STEP_MAX, TIME_STEP_MIN, VALID_UNTIL_MAX, VALID_UNTIL_MIN,
};
use crate::{Micros, code_enum};

code_enum! {
    /// Who may register.
    Registration {
        /// Anyone.
        Open = 0,
        /// Whoever an account with sponsorships left signs for.
        Sponsored = 1,
    }
}

/// Numbers the kernel's rules use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The most that block time may advance from one block to the next.
    pub time_step_max: Micros,
    /// How far ahead of block time a transition's `valid_until` may lie.
    pub valid_until_max: Micros,
    /// Who may register.
    pub registration: Registration,
    /// The most transitions of one author that are accepted in a window; 0 for no bound.
    pub author_events_max: u32,
    /// The windows' length: they lie end to end from block time 0.
    pub author_window: Micros,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            time_step_max: Micros::from_secs(24 * 3600),
            valid_until_max: Micros::from_secs(600),
            registration: Registration::Open,
            author_events_max: 0,
            author_window: Micros::from_secs(60),
        }
    }
}

impl Parameters {
    /// Whether every number is in its range.
    ///
    /// # Errors
    /// The first that is not, in words.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("time_step_max", self.time_step_max, TIME_STEP_MIN, TIME_STEP_MAX),
            ("valid_until_max", self.valid_until_max, VALID_UNTIL_MIN, VALID_UNTIL_MAX),
            ("author_window", self.author_window, AUTHOR_WINDOW_MIN, AUTHOR_WINDOW_MAX),
        ];
        match ranges.into_iter().find(|(_, value, low, high)| value < low || value > high) {
            Some((name, value, low, high)) => {
                Err(format!("{name} is {} µs, not {} to {} µs", value.0, low.0, high.0))
            }
            None => Ok(()),
        }
    }
}
