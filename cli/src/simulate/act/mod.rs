//! What agents do: one function a deed, each a transition that the rules should take, or nothing where nobody of that
//! personality could do it now.

mod agents;
mod alliances;
mod conflicts;
mod entries;
mod memes;
mod refused;
mod social;

use std::collections::BTreeSet;

use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::control::{self, Registration};
use chaoschain_schemas::society::{Parameters, Payload, Personality};
use chaoschain_schemas::{AccountId, CorrelationId, Fixed, Hash, Height, Timestamp, codec};
use chaoschain_state::{Record, View};

use super::draws::Draws;
use super::model::{Model, Who};
use super::personality::Deed;
use crate::seed::Seed;

pub(super) use alliances::{has_kept_faith, pact};
pub(super) use conflicts::claims;
pub(super) use refused::wrong;

/// The validator that signs for those who register, where somebody has to.
const SPONSOR: Who = 0;
/// How often somebody of a personality is looked for before it is left for a later block.
const TRIES_MAX: usize = 32;

/// What is looked at while a block is made up: the state before it, who is busy in it already, and the next draws.
pub(super) struct Look<'a> {
    pub(super) view: &'a dyn View,
    /// The block's time.
    pub(super) now: Timestamp,
    /// The block before.
    pub(super) parent: (Height, Hash),
    pub(super) parameters: &'a Parameters,
    pub(super) kernel: &'a control::Parameters,
    pub(super) seed: &'a Seed,
    pub(super) model: &'a mut Model,
    pub(super) draws: &'a mut Draws,
    pub(super) busy: Busy,
}

/// What a block has to do with already. Nobody acts or signs twice in a block, so that no act of it depends on another.
#[derive(Default)]
pub(super) struct Busy {
    people: BTreeSet<Who>,
    things: BTreeSet<[u8; 32]>,
}

/// A transition to be signed and offered.
pub(super) struct Act {
    pub(super) author: Who,
    pub(super) cosigners: Vec<Who>,
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
    /// The key that signs for the author afterwards, and signs this with the present one.
    pub(super) new_key: Option<Box<SecretKey>>,
    /// How far beyond the author's next nonce.
    pub(super) nonce_ahead: u64,
    pub(super) origin: Origin,
}

/// Why somebody does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is new here.
    Arrival,
    /// Its personality's table.
    Table(Personality, Deed),
    /// A scene, whose transitions carry this id.
    Scene(CorrelationId),
    /// To be refused, with this code.
    Wrong(&'static str),
}

impl Act {
    pub(super) fn of<P: Payload>(author: Who, payload: &P) -> Self {
        Self::kernels(author, P::KIND, codec::encode(payload))
    }

    /// A transition of the kernel's.
    pub(super) fn kernels(author: Who, kind: u16, payload: Vec<u8>) -> Self {
        Self {
            author,
            cosigners: Vec::new(),
            kind,
            payload,
            new_key: None,
            nonce_ahead: 0,
            origin: Origin::Arrival,
        }
    }

    pub(super) fn with(self, cosigners: Vec<Who>) -> Self {
        Self { cosigners, ..self }
    }

    pub(super) fn from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }
}

impl Look<'_> {
    pub(super) fn record<R: Record>(&self, key: &chaoschain_state::Key) -> Option<R> {
        self.view.record(key)
    }

    pub(super) fn id(&self, who: Who) -> AccountId {
        self.model.people[who].id
    }

    /// Whether somebody can act or sign in this block.
    pub(super) fn is_free(&self, who: Who) -> bool {
        !self.is_busy(who) && self.model.people[who].is_able()
    }

    pub(super) fn is_busy(&self, who: Who) -> bool {
        self.busy.people.contains(&who)
    }

    pub(super) fn is_taken(&self, id: &[u8; 32]) -> bool {
        self.busy.things.contains(id)
    }

    /// The key that somebody will have after its present one.
    pub(super) fn next_key(&self, who: Who) -> SecretKey {
        let person = &self.model.people[who];
        self.seed.key(&format!("{} key {}", person.label, person.keys + 1))
    }

    /// A registration, signed by a sponsor as well where one is needed.
    pub(super) fn sponsored(&self, act: Act) -> Act {
        match self.kernel.registration {
            Registration::Open => act,
            Registration::Sponsored => act.with(vec![SPONSOR]),
        }
    }

    /// Takes everybody who signs for this block.
    pub(super) fn take(&mut self, act: Act) -> Act {
        self.busy.people.insert(act.author);
        self.busy.people.extend(&act.cosigners);
        act
    }

    pub(super) fn take_person(&mut self, who: Who) {
        self.busy.people.insert(who);
    }

    /// Takes a thing for this block, unless it is taken.
    pub(super) fn take_thing(&mut self, id: &[u8; 32]) -> bool {
        self.busy.things.insert(*id)
    }

    /// An agent of this personality that can act.
    pub(super) fn someone(&mut self, personality: Personality) -> Option<Who> {
        (0..TRIES_MAX).find_map(|_| {
            let who = *self.draws.pick(self.model.pool(personality))?;
            self.is_free(who).then_some(who)
        })
    }

    /// Different agents that are not `except`, up to `count`; able ones if they are to sign.
    pub(super) fn others(&mut self, except: &[Who], count: usize, signing: bool) -> Vec<Who> {
        let mut found: Vec<Who> = Vec::with_capacity(count);
        for _ in 0..count * 4 {
            if found.len() == count {
                break;
            }
            let who = self.draws.below(self.model.people.len());
            let fits = if signing { self.is_free(who) } else { self.model.people[who].agent.is_some() };
            if fits && !except.contains(&who) && !found.contains(&who) {
                found.push(who);
            }
        }
        found
    }

    pub(super) fn ids(&self, people: &[Who]) -> Vec<AccountId> {
        people.iter().map(|who| self.id(*who)).collect()
    }

    /// A number from `low` to `high` hundredths.
    pub(super) fn hundredths(&mut self, low: i64, high: i64) -> Fixed {
        Fixed::from_millionths(self.draws.within(low, high) * (Fixed::SCALE / 100))
    }

    /// A drama level.
    pub(super) fn level(&mut self) -> u8 {
        self.draws.below(11) as u8
    }

    pub(super) fn say(&mut self, phrases: &[&str]) -> String {
        self.draws.pick(phrases).copied().unwrap_or("so it is").to_owned()
    }

    /// A deed of the table, by somebody of this personality.
    pub(super) fn deed(&mut self, personality: Personality, deed: Deed) -> Option<Act> {
        let act = match deed {
            Deed::Rating => social::rating(self, personality),
            Deed::Interaction => social::interaction(self, personality),
            Deed::Drama => social::drama(self, personality),
            Deed::Publication => memes::publication(self, personality),
            Deed::Reaction => memes::reaction(self, personality),
            Deed::Influence => memes::influence(self, personality),
            Deed::Formation => alliances::formation(self, personality),
            Deed::Departure => alliances::departure(self, personality),
            Deed::Betrayal => alliances::betrayal(self, personality),
            Deed::Reconciliation => alliances::reconciliation(self, personality),
            Deed::Status => agents::status(self, personality),
            Deed::Shift => agents::shift(self, personality),
            Deed::KeyRotation => agents::rotation(self, personality),
            Deed::EntrySet => entries::set(self, personality),
            Deed::EntryDelete => entries::delete(self, personality),
            Deed::Report => conflicts::report(self, personality),
            Deed::Opinion => conflicts::opinion(self, personality),
        }?;
        Some(self.take(act).from(Origin::Table(personality, deed)))
    }
}
