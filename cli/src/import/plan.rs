//! What a chain of ratings will hold: every event with its author, nonce and time, in blocks.

use std::collections::BTreeMap;

use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::control::Parameters;
use chaoschain_schemas::society::{AgentRegistration, Payload, Personality, ReputationUpdate};
use chaoschain_schemas::{AccountId, BODY_VERSION, Body, ChainId, Fixed, Micros, Timestamp, codec};
use rayon::prelude::*;

use super::ratings::Ratings;
use crate::seed::Seed;

/// A person of the file.
pub(super) struct Agent {
    pub(super) node: String,
    pub(super) id: AccountId,
    pub(super) key: SecretKey,
}

/// One event to come.
pub(super) struct Event {
    /// The place of its author among the agents.
    author: usize,
    nonce: u64,
    /// Whom it rates and how; a registration where absent.
    rating: Option<(usize, Fixed)>,
    time: Timestamp,
}

/// All of it.
pub(super) struct Plan {
    pub(super) producer: SecretKey,
    /// In order of first appearance.
    pub(super) agents: Vec<Agent>,
    /// Every agent's registration, then every rating.
    pub(super) events: Vec<Event>,
    pub(super) events_per_block: usize,
}

impl Plan {
    pub(super) fn new(ratings: &Ratings, seed: &Seed, events_per_block: usize) -> Self {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut nodes: Vec<&str> = Vec::new();
        for row in &ratings.rows {
            for node in [&*row.from, &*row.to] {
                places.entry(node).or_insert_with(|| {
                    nodes.push(node);
                    nodes.len() - 1
                });
            }
        }
        let agents: Vec<Agent> = nodes.par_iter().map(|node| Agent::new(node, seed)).collect();
        let start = ratings.rows.first().map(|row| row.time).unwrap_or_default();
        let registration = |author| Event { author, nonce: 0, rating: None, time: start };
        let mut events: Vec<Event> = (0..agents.len()).map(registration).collect();
        let mut nonces = vec![0; agents.len()];
        for row in &ratings.rows {
            let (author, subject) = (places[&*row.from], places[&*row.to]);
            nonces[author] += 1;
            events.push(Event {
                author,
                nonce: nonces[author],
                rating: Some((subject, row.rating)),
                time: row.time,
            });
        }
        Self { producer: seed.key("producer"), agents, events, events_per_block }
    }

    /// The events of each block, in order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &[Event]> {
        self.events.chunks(self.events_per_block)
    }

    /// Block time of block 0: that of the first rating.
    pub(super) fn start(&self) -> Timestamp {
        self.events.first().map(|event| event.time).unwrap_or_default()
    }

    /// The kernel's parameters: the default ones, but for a step of time that fits the longest from block to block.
    pub(super) fn parameters(&self) -> Parameters {
        let times: Vec<Timestamp> =
            std::iter::once(self.start()).chain(self.blocks().map(block_time)).collect();
        let steps = times.windows(2).map(|pair| pair[1].since(pair[0]));
        let longest = steps.max().unwrap_or_default();
        let default = Parameters::default();
        Parameters { time_step_max: default.time_step_max.max(longest), ..default }
    }

    /// What an event's author signs.
    pub(super) fn body(&self, chain: ChainId, block_time: Timestamp, valid: Micros, event: &Event) -> Body {
        let (kind, payload) = match event.rating {
            None => {
                let registration = AgentRegistration { personality: Personality::Neutral };
                (AgentRegistration::KIND, codec::encode(&registration))
            }
            Some((subject, rating)) => {
                let update = ReputationUpdate { subject: self.agents[subject].id, rating };
                (ReputationUpdate::KIND, codec::encode(&update))
            }
        };
        Body {
            version: BODY_VERSION,
            chain,
            epoch: 0,
            author: self.author(event).id,
            lane: 0,
            nonce: event.nonce,
            valid_until: block_time.saturating_add(valid),
            occurred_at: event.rating.map(|_| event.time),
            correlation: None,
            causation: None,
            expects: Vec::new(),
            attachment: None,
            kind,
            payload: payload.into(),
        }
    }

    pub(super) fn author(&self, event: &Event) -> &Agent {
        &self.agents[event.author]
    }
}

/// A block's time: that of its last event.
pub(super) fn block_time(events: &[Event]) -> Timestamp {
    events.last().map(|event| event.time).unwrap_or_default()
}

impl Agent {
    fn new(node: &str, seed: &Seed) -> Self {
        let key = seed.key(&format!("agent {node}"));
        Self { node: node.to_owned(), id: AccountId::from_first_key(&key.public()), key }
    }
}
