//! The society domain of chaoschain: agents, alliances, relationships, drama, memes,
//! conflicts.
//!
//! [`Society`] is a domain as `chaoschain_state` knows it. Each family of transitions has a file that holds how they are
//! verified and applied; every number they compute comes from [`formula`].
//!
//! # Invariants
//! - Only an agent acts, and only in its own name; an influence also moves others' views of the meme's creator, and a
//!   betrayal those of the traitor.
//! - Trust, reputation and influence stay in \[0, 1\].
//! - A live alliance lists exactly the agents that list it.
//! - The due queue has an entry for each alliance that has not ended and each conflict that is open, and for nothing else.
//! - No record grows beyond the limits in `chaoschain_schemas::limits`.

mod agent;
mod alliance;
pub mod conflict;
mod domain;
mod drama;
mod due;
mod entry;
mod error;
pub mod formula;
pub mod keys;
mod leaderboard;
mod meme;
mod reads;
mod relationship;
mod transition;

pub use domain::Society;
pub use error::SocietyError;
pub use leaderboard::{LEADERBOARD_ROWS_DEFAULT, LEADERBOARD_ROWS_MAX, Leaderboard};
pub use reads::DRAMAS_MAX;
pub use transition::Transition;

use chaoschain_schemas::Fixed;
use chaoschain_schemas::society::Parameters;
use chaoschain_state::domain::EventContext;

type Context<'a> = EventContext<'a, Parameters>;

/// Checks that the items of a list are different from one another.
fn check_distinct<T: Ord + std::fmt::Display>(list: &'static str, items: &[T]) -> Result<(), SocietyError> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(SocietyError::Duplicate { list, item: pair[0].to_string() }),
        None => Ok(()),
    }
}

fn check_range(what: &'static str, got: Fixed, low: Fixed, high: Fixed) -> Result<(), SocietyError> {
    if got.is_within(low, high) { Ok(()) } else { Err(SocietyError::OutOfRange { what, got, low, high }) }
}

/// −1, the lowest rating and sentiment.
const MINUS_ONE: Fixed = Fixed::from_millionths(-Fixed::SCALE);
