//! Whose words count at which heights: the sets of validators that followed one another.
//!
//! A set that comes into force with block *h* counts from block *h* + 1 on ([`Validators::since`]); block *h* itself is
//! for the set before, so that the old set makes final what the new one begins with. A word on a block is one on every
//! block below, so whoever is in the old set speaks for its blocks also by later words.

use std::collections::BTreeMap;

use chaoschain_schemas::control::{Account, Validators};
use chaoschain_schemas::{AccountId, Height, PublicKey};
use chaoschain_state::control::keys;
use chaoschain_state::{BaseView, StateVersion, View};

/// How many sets are kept; the newest stay.
pub(super) const SETS_MAX: usize = 8;

/// The validators of a state that have weight, with their current keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Electorate {
    pub(crate) members: BTreeMap<AccountId, Member>,
    pub(super) total: u64,
    /// The first height that it counts at.
    pub(crate) since: Height,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(super) weight: u64,
    pub(crate) key: PublicKey,
}

impl Electorate {
    pub(crate) fn of(state: &StateVersion) -> Self {
        let view = BaseView::new(state);
        let view: &dyn View = &view;
        let validators: Validators = view.record(&keys::validators()).unwrap_or_default();
        let mut electorate = Self { since: validators.since, ..Self::default() };
        for validator in validators.members.into_iter().filter(|member| member.weight > 0) {
            // A weight without an account cannot speak; it still counts as a part of the whole.
            electorate.total = electorate.total.saturating_add(validator.weight);
            if let Some(account) = view.record::<Account>(&keys::account(&validator.account)) {
                let member = Member { weight: validator.weight, key: account.key };
                electorate.members.insert(validator.account, member);
            }
        }
        electorate
    }
}

/// A set and the heights that it counts at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) electorate: Electorate,
    /// The last height; the newest set's is the greatest there is.
    until: Height,
}

impl Span {
    /// The height of this span that a word on a block at `height` speaks for, with all below.
    pub(super) fn within(&self, height: Height) -> Option<Height> {
        (height >= self.electorate.since).then(|| height.min(self.until))
    }

    /// Whether the block at `height` is one of those that this set decides about.
    pub(super) fn decides(&self, height: Height) -> bool {
        self.electorate.since <= height && height <= self.until
    }

    /// The last height that it decides about.
    pub(super) fn until(&self) -> Height {
        self.until
    }
}

/// The sets that still matter, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Electorates {
    spans: Vec<Span>,
    /// The newest head that was looked at.
    seen: Height,
}

impl Electorates {
    /// With the set that is in force after `head`.
    pub(super) fn new(electorate: Electorate, head: Height) -> Self {
        Self { spans: vec![Span { electorate, until: Height(u64::MAX) }], seen: head }
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The newest set.
    pub(super) fn newest(&self) -> &Electorate {
        let last = self.spans.len() - 1;
        &self.spans[last].electorate
    }

    /// A validator of any of the sets, with its current key.
    pub(super) fn member(&self, account: &AccountId) -> Option<&Member> {
        self.spans.iter().rev().find_map(|span| span.electorate.members.get(account))
    }

    /// Takes in what is in force after `head`; `key_of` tells the current keys of those who left.
    pub(super) fn advance(
        &mut self,
        newest: Electorate,
        head: Height,
        key_of: impl Fn(&AccountId) -> Option<PublicKey>,
    ) {
        let last = self.spans.len() - 1;
        if newest.since == self.spans[last].electorate.since {
            self.spans[last].electorate = newest;
        } else {
            // Between two heads another set may have come and gone unseen; the old one counts as far as was known.
            self.spans[last].until = self.seen.next();
            self.spans.push(Span { electorate: newest, until: Height(u64::MAX) });
            if self.spans.len() > SETS_MAX {
                self.spans.remove(0);
            }
        }
        let last = self.spans.len() - 1;
        for span in &mut self.spans[..last] {
            for (account, member) in &mut span.electorate.members {
                member.key = key_of(account).unwrap_or(member.key);
            }
        }
        self.seen = head;
    }

    /// Takes in that the newest set is in force after `head`, too.
    pub(super) fn unchanged(&mut self, head: Height) {
        self.seen = head;
    }

    /// Drops the sets of which every height is final.
    pub(super) fn forget(&mut self, finalized: Height) {
        self.spans.retain(|span| span.until > finalized);
    }
}

/// The current key of an account.
pub(super) fn key_in(state: &StateVersion, account: &AccountId) -> Option<PublicKey> {
    let view = BaseView::new(state);
    let account = (&view as &dyn View).record::<Account>(&keys::account(account));
    account.map(|account| account.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(since: u64, numbers: &[u8]) -> Electorate {
        let member = |number: &u8| {
            (AccountId::new([*number; 32]), Member { weight: 1, key: PublicKey::new([*number; 32]) })
        };
        Electorate {
            members: numbers.iter().map(member).collect(),
            total: numbers.len() as u64,
            since: Height(since),
        }
    }

    fn spans(electorates: &Electorates) -> Vec<(u64, u64)> {
        electorates.spans().iter().map(|span| (span.electorate.since.0, span.until.0)).collect()
    }

    #[test]
    fn a_set_ends_where_the_next_begins() {
        let mut sets = Electorates::new(set(0, &[1, 2]), Height(3));
        sets.advance(set(0, &[1, 2]), Height(4), |_| None);
        // Block 5 brings the new set, which counts from 6 on.
        sets.advance(set(6, &[2, 3]), Height(5), |account| {
            Some(PublicKey::new([account.as_bytes()[0] + 100; 32]))
        });
        assert_eq!(spans(&sets), [(0, 5), (6, u64::MAX)]);
        let old = &sets.spans()[0];
        assert_eq!([4, 5, 9].map(|height| old.within(Height(height))), [4, 5, 5].map(|at| Some(Height(at))));
        let new = &sets.spans()[1];
        assert_eq!(
            [5, 6, 9].map(|height| new.within(Height(height)).map(|at| at.0)),
            [None, Some(6), Some(9)]
        );
        // Who left is known under its key of now.
        assert_eq!(
            sets.member(&AccountId::new([1; 32])).map(|member| member.key),
            Some(PublicKey::new([101; 32]))
        );
        sets.forget(Height(4));
        assert_eq!(spans(&sets), [(0, 5), (6, u64::MAX)]);
        sets.forget(Height(5));
        assert_eq!(spans(&sets), [(6, u64::MAX)]);
        assert_eq!(sets.member(&AccountId::new([1; 32])), None);
    }

    #[test]
    fn what_lies_between_two_heads_counts_for_no_set() {
        let mut sets = Electorates::new(set(0, &[1]), Height(3));
        sets.advance(set(9, &[1]), Height(20), |_| None);
        assert_eq!(spans(&sets), [(0, 4), (9, u64::MAX)]);
        for since in 0..20 {
            sets.advance(set(100 + since, &[1]), Height(100 + since), |_| None);
        }
        assert_eq!(sets.spans().len(), SETS_MAX);
        assert_eq!(sets.newest().since, Height(119));
    }
}
