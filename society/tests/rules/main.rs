//! The society's rules as examples: given what happened, when somebody acts, then it is accepted or refused.

#![allow(clippy::unwrap_used)]

mod agents;
mod alliances;
mod entries;
mod kinds;
mod leaderboard;
mod memes;
mod properties;
mod reads;
mod relationships;
mod support;
