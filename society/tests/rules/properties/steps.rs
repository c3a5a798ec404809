//! What histories are made of.

use chaoschain_schemas::Fixed;
use proptest::prelude::*;

use super::PEOPLE;

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Shift,
    Status,
    Rate,
    Meet,
    Ally,
    Leave,
    Betray,
    Reconcile,
    Drama,
    Publish,
    Influence,
    React,
    Set,
    Delete,
    Report,
    Opine,
    Resolve,
    Diverge,
    /// Time passes, and nobody does anything.
    Pass,
    /// A block without events.
    Block,
}

/// What may happen, in numbers that are free to be nonsense: what the rules refuse leaves no trace.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) what: What,
    pub(super) from: u64,
    pub(super) others: Vec<u64>,
    pub(super) pick: usize,
    pub(super) score: i64,
    pub(super) sentiment: i64,
    pub(super) drama: u8,
    pub(super) minutes: u64,
    pub(super) exclusive: bool,
}

/// Everything that may happen, what depends on more the more often.
pub(super) fn everything() -> Vec<What> {
    use What::*;
    vec![
        Shift, Status, Set, Delete, Delete, Drama, Block, Publish, Publish, Rate, Rate, Rate, Meet, Meet,
        Ally, Ally, Ally, Ally, Ally, Ally, Leave, Leave, Betray, Betray, Reconcile, Reconcile, Reconcile,
        Influence, Influence, Influence, React, React, React, Report, Report, Report, Opine, Opine, Opine,
        Resolve, Resolve, Resolve, Diverge, Pass, Pass, Pass,
    ]
}

pub(super) fn steps(what: Vec<What>, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let person = || 1..=PEOPLE;
    let score = || {
        prop_oneof![
            Just(Fixed::SCALE),
            Just(-Fixed::SCALE),
            Just(Fixed::SCALE / 2),
            -1_050_000..=1_050_000_i64
        ]
    };
    let step = (
        proptest::sample::select(what),
        person(),
        proptest::collection::vec(person(), 1..4),
        0..6_usize,
        score(),
        score(),
        0..=11_u8,
        0..180_u64,
        any::<bool>(),
    );
    let step = step.prop_map(|(what, from, others, pick, score, sentiment, drama, minutes, exclusive)| {
        Step { what, from, others, pick, score, sentiment, drama, minutes, exclusive }
    });
    proptest::collection::vec(step, 1..most)
}
