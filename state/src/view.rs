//! Reading and changing state while a block is folded.
//!
//! Rules see the state through a [`View`]; what they write gathers in [`Changes`] over an unchanged [`Base`]. A base may
//! be a whole version of the trees or only a proven part of one, so a view never says "absent" of what it was not shown:
//! it notes a [`Fault`] instead, and whoever ran the rules throws the result away.
//!
//! # Invariants
//! - [`Changes`] keeps the value before the first write to each key, so undoing them is derived, never written by hand.
//! - Reading what was written in the same block gives what was written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use chaoschain_schemas::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::key::Key;

/// A record's bytes, shared.
pub type Value = Arc<[u8]>;

/// What a base knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A record with this value stands there.
    Present(Value),
    /// No record stands there.
    Absent,
    /// Not shown: the base is a proven part and the key lies outside it.
    Withheld,
}

/// A state that does not change while it is read.
pub trait Base: Send + Sync {
    /// The record at `key`.
    fn get(&self, key: &Key) -> Lookup;

    /// The first `limit` records between `from` and `to`, both included and in the same sub-tree, in order of key;
    /// `None` when a part of them is withheld.
    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>>;

    /// Makes ready to be asked for these keys. Nothing but speed may depend on it.
    fn prefetch(&self, keys: &[Key]) {
        let _ = keys;
    }
}

/// Why what rules saw cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The base does not show this key.
    #[error("the record at {0} is not part of what was given")]
    Withheld(Box<Key>),
    /// The record's bytes are not what this build writes there.
    #[error("the record at {0} cannot be read: {1}")]
    Corrupt(Box<Key>, String),
}

/// A record that rules read and write whole.
pub trait Record: Serialize + DeserializeOwned {}

impl<T: Serialize + DeserializeOwned> Record for T {}

/// State as rules see it.
pub trait View {
    /// The bytes of the record at `key`; `None` when there is none, or after noting a [`Fault`].
    fn get(&self, key: &Key) -> Option<Value>;

    /// The first `limit` records between `from` and `to`, both included, in order of key.
    fn range(&self, from: &Key, to: &Key, limit: usize) -> Vec<(Key, Value)>;

    /// Notes that what is read cannot be trusted; the first note stays.
    fn note(&self, fault: Fault);
}

impl dyn View + '_ {
    /// The record at `key`.
    pub fn record<R: Record>(&self, key: &Key) -> Option<R> {
        self.get(key).and_then(|value| self.parse(key, &value))
    }

    /// Reads the bytes of a record, noting a fault when they are none.
    pub fn parse<R: Record>(&self, key: &Key, value: &[u8]) -> Option<R> {
        codec::decode_trusted(value)
            .map_err(|error| self.note(Fault::Corrupt(Box::new(*key), error.to_string())))
            .ok()
    }
}

/// Reads a base as it is.
pub struct BaseView<'a> {
    base: &'a dyn Base,
    fault: RefCell<Option<Fault>>,
}

impl<'a> BaseView<'a> {
    /// A view of `base`.
    pub const fn new(base: &'a dyn Base) -> Self {
        Self { base, fault: RefCell::new(None) }
    }

    /// What went wrong while reading, if anything.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }
}

impl View for BaseView<'_> {
    fn get(&self, key: &Key) -> Option<Value> {
        match self.base.get(key) {
            Lookup::Present(value) => Some(value),
            Lookup::Absent => None,
            Lookup::Withheld => {
                self.note(Fault::Withheld(Box::new(*key)));
                None
            }
        }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Vec<(Key, Value)> {
        self.base.range(from, to, limit).unwrap_or_else(|| {
            self.note(Fault::Withheld(Box::new(*from)));
            Vec::new()
        })
    }

    fn note(&self, fault: Fault) {
        self.fault.borrow_mut().get_or_insert(fault);
    }
}

/// A key's value before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The record.
    pub key: Key,
    /// Its value before the first write; `None` when there was none.
    pub before: Option<Value>,
    /// Its value now; `None` when it was removed.
    pub after: Option<Value>,
}

/// A key that was read or written: its value in the base, and its value now.
struct Slot {
    before: Option<Value>,
    after: Option<Value>,
}

/// What rules have written over a base. What they have read is remembered too, so the base is asked once a key.
pub struct Changes<'a> {
    base: BaseView<'a>,
    slots: RefCell<BTreeMap<Key, Slot>>,
}

impl<'a> Changes<'a> {
    /// No changes yet over `base`.
    pub const fn new(base: &'a dyn Base) -> Self {
        Self { base: BaseView::new(base), slots: RefCell::new(BTreeMap::new()) }
    }

    /// This, as rules read it.
    pub fn view(&self) -> &dyn View {
        self
    }

    /// Writes a record.
    pub fn put<R: Record>(&mut self, key: &Key, record: &R) {
        self.set(key, Some(codec::encode(record).into()));
    }

    /// Removes a record; nothing happens when there is none.
    pub fn remove(&mut self, key: &Key) {
        self.set(key, None);
    }

    /// Writes or removes the bytes of a record.
    pub fn set(&mut self, key: &Key, after: Option<Value>) {
        match self.slots.get_mut().entry(*key) {
            Entry::Occupied(mut slot) => slot.get_mut().after = after,
            Entry::Vacant(slot) => {
                let before = self.base.get(key);
                slot.insert(Slot { before, after });
            }
        }
    }

    /// Whether everything is as it was.
    pub fn is_empty(&self) -> bool {
        self.slots.borrow().values().all(|slot| slot.before == slot.after)
    }

    /// What went wrong while reading, if anything; then nothing else here means anything.
    pub fn fault(&self) -> Option<Fault> {
        self.base.fault()
    }

    /// What changed, in order of key; what is as it was is left out.
    pub fn into_changes(self) -> Vec<Change> {
        let changed = self.slots.into_inner().into_iter().filter(|(_, slot)| slot.before != slot.after);
        changed.map(|(key, Slot { before, after })| Change { key, before, after }).collect()
    }
}

impl View for Changes<'_> {
    fn get(&self, key: &Key) -> Option<Value> {
        match self.slots.borrow_mut().entry(*key) {
            Entry::Occupied(slot) => slot.get().after.clone(),
            Entry::Vacant(slot) => {
                let value = self.base.get(key);
                slot.insert(Slot { before: value.clone(), after: value.clone() });
                value
            }
        }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Vec<(Key, Value)> {
        if from > to {
            return Vec::new();
        }
        let slots = self.slots.borrow();
        let overlay = slots.range((Bound::Included(from), Bound::Included(to)));
        // Each record that was removed here hides one of the base.
        let hidden = overlay.clone().filter(|(_, slot)| slot.after.is_none()).count();
        let mut merged: BTreeMap<Key, Value> =
            self.base.range(from, to, limit.saturating_add(hidden)).into_iter().collect();
        for (key, slot) in overlay {
            match &slot.after {
                Some(value) => merged.insert(*key, Arc::clone(value)),
                None => merged.remove(key),
            };
        }
        merged.into_iter().take(limit).collect()
    }

    fn note(&self, fault: Fault) {
        self.base.note(fault);
    }
}

/// What was read of a base: enough to prove the same reads to somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Keys, present or absent, in the order of reading.
    pub keys: Vec<Key>,
    /// Ranges, each from the first key to the last that matters, both included.
    pub ranges: Vec<(Key, Key)>,
}

/// A base that remembers what was read of it.
pub struct Recording<'a> {
    base: &'a dyn Base,
    reads: Mutex<Reads>,
}

impl<'a> Recording<'a> {
    /// Starts to remember reads of `base`.
    pub fn new(base: &'a dyn Base) -> Self {
        Self { base, reads: Mutex::default() }
    }

    /// What was read.
    pub fn into_reads(self) -> Reads {
        self.reads.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn reads(&self) -> std::sync::MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Base for Recording<'_> {
    fn get(&self, key: &Key) -> Lookup {
        self.reads().keys.push(*key);
        self.base.get(key)
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        let records = self.base.range(from, to, limit)?;
        // A full page says nothing of what follows it.
        let last = if records.len() == limit { records.last().map_or(*from, |(key, _)| *key) } else { *to };
        self.reads().ranges.push((*from, last));
        Some(records)
    }

    fn prefetch(&self, keys: &[Key]) {
        self.base.prefetch(keys);
    }
}

/// A state in an ordinary map: the reference in tests, and the empty state of genesis.
impl Base for BTreeMap<Key, Value> {
    fn get(&self, key: &Key) -> Lookup {
        Self::get(self, key).map_or(Lookup::Absent, |value| Lookup::Present(Arc::clone(value)))
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        if from > to {
            return Some(Vec::new());
        }
        let records = Self::range(self, (Bound::Included(from), Bound::Included(to)));
        Some(records.take(limit).map(|(key, value)| (*key, Arc::clone(value))).collect())
    }
}
