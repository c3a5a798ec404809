//! The society's rules as examples: given what happened, when somebody acts, then it is accepted or refused.

#![allow(clippy::unwrap_used)]

mod agents;
mod alliances;
mod benefits;
mod drama;
mod due;
mod endings;
mod entries;
mod full_counters;
mod kinds;
mod leaderboard;
mod memes;
mod properties;
mod reactions;
mod reads;
mod reconciliation;
mod relationships;
mod sizes;
mod strength;
mod support;
