//! Conflicts as examples and as properties: how they open, who votes, what is counted, and what comes of it.

#![allow(clippy::unwrap_used)]

mod alliances;
mod bounds;
mod counting;
mod deadlines;
mod electorate;
mod evidence;
mod facts;
mod opinions;
mod reads;
mod scene;
#[path = "../rules/support.rs"]
#[allow(dead_code, reason = "the rules' tests need more of it")]
mod support;
mod weights;
