//! Who does what: draws from the table of shares.

use std::collections::VecDeque;

use chaoschain_schemas::society::Personality;

use super::act::{Act, Look, wrong};
use super::personality::{Deed, SHARES, shares_of};

/// How many deeds of a thousand that are offered are wrong ones.
pub const WRONG_PER_MILLE: usize = 10;
/// How many deeds can wait for their occasion.
const OWED_MAX: usize = 4096;

/// Draws deeds. What was drawn and cannot be done now is owed: it is tried again in every block until it is done, so that
/// the deeds done have the shares of those drawn.
#[derive(Default)]
pub(super) struct Chooser {
    owed: VecDeque<(Personality, Deed)>,
    /// How many were given up because too many were owed.
    pub(super) dropped: u64,
}

impl Chooser {
    /// Up to `slots` deeds for a block.
    pub(super) fn choose(&mut self, look: &mut Look<'_>, slots: usize) -> Vec<Act> {
        let mut acts = Vec::with_capacity(slots);
        for _ in 0..self.owed.len().min(slots) {
            let Some((personality, deed)) = self.owed.pop_front() else { break };
            match look.deed(personality, deed) {
                Some(act) => acts.push(act),
                None => self.owe(personality, deed),
            }
        }
        for _ in acts.len()..slots {
            if look.draws.happens(WRONG_PER_MILLE) {
                acts.extend(wrong(look));
                continue;
            }
            let sizes = look.model.pool_sizes();
            let personality = Personality::ALL[look.draws.place(&sizes)];
            let (deed, _) = SHARES[look.draws.place(&shares_of(personality))];
            match look.deed(personality, deed) {
                Some(act) => acts.push(act),
                None => self.owe(personality, deed),
            }
        }
        acts
    }

    /// Remembers a deed that was drawn and not done.
    pub(super) fn owe(&mut self, personality: Personality, deed: Deed) {
        if self.owed.len() == OWED_MAX {
            self.owed.pop_front();
            self.dropped += 1;
        }
        self.owed.push_back((personality, deed));
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }
}
