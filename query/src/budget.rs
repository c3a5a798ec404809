//! A state of which only so much may be read.

use std::sync::atomic::{AtomicUsize, Ordering};

use chaoschain_state::{Base, Key, Lookup, Value};

use crate::limits::{KEYS_MAX, RANGES_MAX};

/// Bounds how many keys and ranges one read takes of `base`; what is over is withheld, and [`Budget::is_spent`] says so.
pub(crate) struct Budget<'a> {
    base: &'a dyn Base,
    keys: AtomicUsize,
    ranges: AtomicUsize,
    spent: AtomicUsize,
}

impl<'a> Budget<'a> {
    /// The budget of one read.
    pub(crate) const fn new(base: &'a dyn Base) -> Self {
        let (keys, ranges) = (AtomicUsize::new(KEYS_MAX), AtomicUsize::new(RANGES_MAX));
        Self { base, keys, ranges, spent: AtomicUsize::new(0) }
    }

    /// Whether something was withheld.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed) > 0
    }

    fn take(&self, purse: &AtomicUsize, amount: usize) -> bool {
        let taken = purse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount));
        if taken.is_err() {
            self.spent.store(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

impl Base for Budget<'_> {
    fn get(&self, key: &Key) -> Lookup {
        if self.take(&self.keys, 1) { self.base.get(key) } else { Lookup::Withheld }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        if !self.take(&self.ranges, 1) {
            return None;
        }
        // One more than there is room for, so that an overrun shows.
        let room = self.keys.load(Ordering::Relaxed).saturating_add(1);
        let records = self.base.range(from, to, limit.min(room))?;
        self.take(&self.keys, records.len()).then_some(records)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_over_is_withheld() {
        let key = |n: usize| Key::new(2, &[&(n as u32).to_be_bytes()]);
        let state: BTreeMap<Key, Value> = (0..=KEYS_MAX).map(|n| (key(n), Value::from([1]))).collect();

        let budget = Budget::new(&state);
        assert_eq!(budget.range(&key(1), &key(KEYS_MAX), usize::MAX).map(|all| all.len()), Some(KEYS_MAX));
        assert!(!budget.is_spent());
        assert_eq!(budget.get(&key(0)), Lookup::Withheld);
        assert!(budget.is_spent());

        let budget = Budget::new(&state);
        assert_eq!(budget.range(&key(0), &key(KEYS_MAX), usize::MAX), None);
        assert!(budget.is_spent());

        let budget = Budget::new(&state);
        (0..RANGES_MAX).for_each(|_| assert!(budget.range(&key(0), &key(0), 1).is_some()));
        assert_eq!(budget.range(&key(0), &key(0), 1), None);
        assert!(budget.is_spent());
    }
}
