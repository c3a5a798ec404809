//! The forest, changes and recordings against a `BTreeMap`: what a block changed decides, not how it came about.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use chaoschain_schemas::{Hash, Purpose};
use chaoschain_state::merkle::{self, Pruned, TreeError, root_of, value_hash};
use chaoschain_state::{
    BLOCKS, Base, BaseView, CONTROL, Change, Changes, DOMAIN_FIRST, Forest, Key, Lookup, Reads, Recording,
    StateVersion, Value, View, state_root,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

type Model = BTreeMap<Key, Value>;
type Batch = BTreeMap<Key, Option<Value>>;

const DOMAIN_SUB_TREES: usize = 2;
const IN_MEMORY: [u8; 3] = [CONTROL, DOMAIN_FIRST, DOMAIN_FIRST + 1];

/// Prefix-free keys: the first byte tells the length. Few enough that they meet often.
fn key() -> impl Strategy<Value = Key> {
    (prop::sample::select(&IN_MEMORY[..]), 0..3_u8, 0..8_u8).prop_map(|(sub_tree, sort, number)| match sort {
        0 => Key::new(sub_tree, &[&[0, number * 32]]),
        1 => Key::new(sub_tree, &[&[1, 7, 7, number, 255]]),
        _ => Key::new(sub_tree, &[&[2; 40], &[number]]),
    })
}

fn value() -> impl Strategy<Value = Value> {
    vec(0..3_u8, 0..3).prop_map(Value::from)
}

fn batch() -> impl Strategy<Value = Batch> {
    btree_map(key(), prop::option::weighted(0.6, value()), 0..24)
}

fn header(height: usize) -> Hash {
    Purpose::Header.hash(&height.to_be_bytes())
}

fn put(model: &mut Model, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => model.insert(*key, Arc::clone(value)),
            None => model.remove(key),
        };
    }
}

fn changes(base: &dyn Base, batch: &Batch) -> Vec<Change> {
    let mut changes = Changes::new(base);
    for (key, value) in batch {
        changes.set(key, value.clone());
    }
    assert_eq!(changes.fault(), None);
    changes.into_changes()
}

fn sub_tree(model: &Model, number: u8) -> impl Iterator<Item = (&Key, &Value)> {
    model.iter().filter(move |(key, _)| key.sub_tree() == number)
}

/// The roots by number, each computed from all contents; `headers` are in the tree of blocks.
fn roots(model: &Model, headers: usize) -> Vec<Hash> {
    let of_records =
        |number| root_of(sub_tree(model, number).map(|(key, value)| (key.as_bytes(), value_hash(value))));
    let blocks = root_of(
        (0..headers).map(|height| ((height as u64).to_be_bytes(), value_hash(header(height).as_bytes()))),
    );
    (0..DOMAIN_FIRST + DOMAIN_SUB_TREES as u8)
        .map(|number| if number == BLOCKS { blocks } else { of_records(number) })
        .collect()
}

fn check(version: &StateVersion, model: &Model, headers: usize) {
    assert_eq!(version.sub_roots(), roots(model, headers));
    let by_number = version.sub_roots().iter().enumerate();
    let root = root_of(by_number.map(|(number, root)| ([number as u8], value_hash(root.as_bytes()))));
    assert_eq!(version.root(), root);
    assert_eq!(version.root(), state_root(version.sub_roots()));
    assert_eq!(version.record_count(), model.len() as u64);
    assert_eq!(version.blocks().len(), headers as u64);
    for number in IN_MEMORY {
        let tree = version.tree(number).unwrap();
        let content: Vec<_> =
            tree.iter().map(|(key, value)| (Key::from_bytes(number, &key).unwrap(), value)).collect();
        let expected: Vec<_> =
            sub_tree(model, number).map(|(key, value)| (*key, Arc::clone(value))).collect();
        assert_eq!(content, expected);
    }
}

/// Block `height` of a chain that starts with block 0.
fn apply_block(forest: &mut Forest, height: usize, batch: &Batch) -> Arc<StateVersion> {
    let changes = changes(&**forest.head(), batch);
    forest.apply(&changes, height.checked_sub(1).map(header)).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Block(Batch),
    Revert(Index),
    Drop(Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => batch().prop_map(Step::Block),
        1 => any::<Index>().prop_map(Step::Revert),
        1 => any::<Index>().prop_map(Step::Drop),
    ]
}

/// How rules read and write.
#[derive(Clone, Debug)]
enum Access {
    Get(Key),
    Set(Key, Option<Value>),
    Range(Key, Key, usize),
}

/// Also keys that no record has: beginnings of others, and the ends of prefixes.
fn bound() -> impl Strategy<Value = Key> {
    const PREFIXES: &[&[u8]] = &[&[], &[0], &[1, 7], &[2; 12], &[9]];
    let inner = prop::sample::select(PREFIXES);
    prop_oneof![
        key(),
        (prop::sample::select(&IN_MEMORY[..]), inner, any::<bool>()).prop_map(|(sub_tree, bytes, last)| {
            let key = Key::new(sub_tree, &[bytes]);
            if last { key.upper_bound() } else { key }
        })
    ]
}

fn limit() -> impl Strategy<Value = usize> {
    prop_oneof![0..6_usize, Just(usize::MAX)]
}

fn access() -> impl Strategy<Value = Access> {
    let range = (bound(), bound(), limit()).prop_map(|(from, to, limit)| {
        Access::Range(from, Key::new(from.sub_tree(), &[to.as_bytes()]), limit)
    });
    prop_oneof![
        2 => bound().prop_map(Access::Get),
        2 => (key(), prop::option::of(value())).prop_map(|(key, value)| Access::Set(key, value)),
        3 => range,
    ]
}

/// What an access gave: one record or none, or a range.
type Seen = Vec<(Key, Value)>;

fn perform(changes: &mut Changes<'_>, accesses: &[Access]) -> Vec<Seen> {
    let one = |access: &Access| match access {
        Access::Get(key) => View::get(changes, key).map(|value| (*key, value)).into_iter().collect(),
        Access::Set(key, value) => {
            changes.set(key, value.clone());
            Vec::new()
        }
        Access::Range(from, to, limit) => View::range(changes, from, to, *limit),
    };
    accesses.iter().map(one).collect()
}

fn expected_range(model: &Model, from: &Key, to: &Key, limit: usize) -> Seen {
    let within = model.iter().filter(|(key, _)| *key >= from && *key <= to);
    within.take(limit).map(|(key, value)| (*key, Arc::clone(value))).collect()
}

fn expected(model: &mut Model, accesses: &[Access]) -> Vec<Seen> {
    let one = |access: &Access| match access {
        Access::Get(key) => model.get(key).map(|value| (*key, Arc::clone(value))).into_iter().collect(),
        Access::Set(key, value) => {
            put(model, &Batch::from([(*key, value.clone())]));
            Vec::new()
        }
        Access::Range(from, to, limit) => expected_range(model, from, to, *limit),
    };
    accesses.iter().map(one).collect()
}

fn version_of(model: &Model) -> Arc<StateVersion> {
    let mut forest = Forest::new(DOMAIN_SUB_TREES);
    let batch = model.iter().map(|(key, value)| (*key, Some(Arc::clone(value)))).collect();
    apply_block(&mut forest, 0, &batch)
}

fn model() -> impl Strategy<Value = Model> {
    btree_map(key(), value(), 0..40)
}

/// The parts of a state that prove some reads, and the values that were read.
struct Proven {
    trees: BTreeMap<u8, Pruned>,
    values: BTreeMap<Hash, Value>,
}

impl Proven {
    /// One proof a sub-tree: of the keys, the ends of the ranges and what lies between them.
    fn of(version: &StateVersion, reads: &Reads) -> Self {
        let mut open: BTreeSet<Key> = reads.keys.iter().copied().collect();
        for (from, last) in &reads.ranges {
            open.extend([*from, *last]);
            open.extend(version.range(from, last, usize::MAX).unwrap().iter().map(|(key, _)| *key));
        }
        let mut keys: BTreeMap<u8, Vec<&[u8]>> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for key in &open {
            keys.entry(key.sub_tree()).or_default().push(key.as_bytes());
            if let Lookup::Present(value) = version.get(key) {
                values.insert(value_hash(&value), value);
            }
        }
        let prove = |(number, keys): (u8, Vec<&[u8]>)| {
            let tree = Pruned::parse(&version.tree(number).unwrap().prove(&keys)).unwrap();
            assert_eq!(tree.root(), version.sub_roots()[usize::from(number)]);
            (number, tree)
        };
        Self { trees: keys.into_iter().map(prove).collect(), values }
    }
}

impl Base for Proven {
    fn get(&self, key: &Key) -> Lookup {
        match self.trees.get(&key.sub_tree()).map(|tree| tree.get(key.as_bytes())) {
            Some(merkle::Lookup::Present(hash)) => Lookup::Present(Arc::clone(&self.values[&hash])),
            Some(merkle::Lookup::Absent) => Lookup::Absent,
            Some(merkle::Lookup::Pruned) | None => Lookup::Withheld,
        }
    }

    fn range(&self, from: &Key, to: &Key, limit: usize) -> Option<Vec<(Key, Value)>> {
        let tree = self.trees.get(&from.sub_tree())?;
        let opened = tree.leaves().map(|(key, _)| key);
        let mut within = opened.filter(|key| *key >= from.as_bytes() && *key <= to.as_bytes());
        // As far as the page goes, it must be whole.
        let Some(last) = limit.checked_sub(1) else { return Some(Vec::new()) };
        let end = within.nth(last).unwrap_or(to.as_bytes());
        let found = tree.range(from.as_bytes(), Bound::Included(end)).ok()?;
        let record = |(key, hash): (&[u8], Hash)| {
            (Key::from_bytes(from.sub_tree(), key).unwrap(), Arc::clone(&self.values[&hash]))
        };
        Some(found.into_iter().take(limit).map(record).collect())
    }
}

proptest! {
    #[test]
    fn roots_are_those_of_the_contents(batches in vec(batch(), 1..8)) {
        let mut forest = Forest::new(DOMAIN_SUB_TREES);
        let mut model = Model::new();
        check(forest.head(), &model, 0);
        for (height, batch) in batches.iter().enumerate() {
            let before = model.clone();
            let changes = changes(&**forest.head(), batch);
            for Change { key, before: was, after } in &changes {
                prop_assert_eq!(was.as_ref(), before.get(key));
                prop_assert_eq!(after, &batch[key]);
                prop_assert_ne!(was, after);
            }
            prop_assert!(changes.is_sorted_by(|a, b| a.key < b.key));
            let version = forest.apply(&changes, height.checked_sub(1).map(header)).unwrap();
            put(&mut model, batch);
            // The header of block h commits to the headers of blocks 0 to h - 1.
            check(&version, &model, height);
            prop_assert_eq!(forest.head().root(), version.root());
        }
    }

    #[test]
    fn how_changes_are_cut_into_blocks_does_not_matter(whole in btree_map(key(), prop::option::of(value()), 1..60), before in model(), cuts in vec(any::<Index>(), 0..4)) {
        let start = before.iter().map(|(key, value)| (*key, Some(Arc::clone(value)))).collect();
        let mut at_once = Forest::new(DOMAIN_SUB_TREES);
        apply_block(&mut at_once, 0, &start);
        apply_block(&mut at_once, 1, &whole);

        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(whole.len())).collect();
        ends.push(whole.len());
        ends.sort_unstable();
        let mut in_parts = Forest::new(DOMAIN_SUB_TREES);
        apply_block(&mut in_parts, 0, &start);
        let mut done = 0;
        for (height, end) in ends.into_iter().enumerate() {
            let part = whole.iter().skip(done).take(end - done).map(|(key, value)| (*key, value.clone()));
            apply_block(&mut in_parts, height + 1, &part.collect());
            done = end;
        }
        for number in IN_MEMORY {
            let number = usize::from(number);
            prop_assert_eq!(at_once.head().sub_roots()[number], in_parts.head().sub_roots()[number]);
        }
    }

    #[test]
    fn going_back_restores_exactly_and_readers_notice_nothing(steps in vec(step(), 1..24)) {
        let mut forest = Forest::new(DOMAIN_SUB_TREES);
        let mut line = vec![(Arc::clone(forest.head()), Model::new(), 0)];
        let mut held = line.clone();
        for step in steps {
            match step {
                Step::Block(batch) => {
                    let (_, mut model, _) = line.last().unwrap().clone();
                    // The first block has no parent; every later one appends the header before it.
                    let headers = line.len() - 1;
                    let version = apply_block(&mut forest, headers, &batch);
                    put(&mut model, &batch);
                    line.push((version, model, headers));
                    held.push(line.last().unwrap().clone());
                }
                Step::Revert(index) => {
                    line.truncate(index.index(line.len()) + 1);
                    forest.revert_to(&line.last().unwrap().0);
                }
                Step::Drop(index) => {
                    // Readers go; what the line needs it holds itself.
                    held.swap_remove(index.index(held.len()));
                    held.push(line[0].clone());
                }
            }
            let (_, model, headers) = line.last().unwrap();
            check(forest.head(), model, *headers);
        }
        for (version, model, headers) in &held {
            check(version, model, *headers);
        }
    }

    #[test]
    fn changes_read_as_if_written(model in model(), accesses in vec(access(), 1..40)) {
        let seen = expected(&mut model.clone(), &accesses);
        let mut changes = Changes::new(&model);
        prop_assert_eq!(perform(&mut changes, &accesses), seen.clone());
        let written = changes.into_changes();

        let version = version_of(&model);
        let mut changes = Changes::new(&*version);
        prop_assert_eq!(perform(&mut changes, &accesses), seen);
        prop_assert_eq!(changes.is_empty(), written.is_empty());
        prop_assert_eq!(changes.into_changes(), written.clone());

        let mut after = model.clone();
        expected(&mut after, &accesses);
        let mut applied = model;
        put(&mut applied, &written.into_iter().map(|change| (change.key, change.after)).collect());
        prop_assert_eq!(applied, after);
    }

    #[test]
    fn every_base_reads_the_same(model in model(), from in bound(), to in bound(), limit in limit()) {
        let to = Key::new(from.sub_tree(), &[to.as_bytes()]);
        let version = version_of(&model);
        let range = expected_range(&model, &from, &to, limit);
        prop_assert_eq!(Base::range(&model, &from, &to, limit), Some(range.clone()));
        prop_assert_eq!(version.range(&from, &to, limit), Some(range.clone()));
        prop_assert_eq!(BaseView::new(&*version).range(&from, &to, limit), range);
        prop_assert_eq!(version.get(&from), Base::get(&model, &from));
    }

    #[test]
    fn a_recording_holds_what_was_read(model in model(), reads in vec((bound(), bound(), limit()), 1..12)) {
        let recording = Recording::new(&model);
        let mut keys = Vec::new();
        let mut ranges = Vec::new();
        for (from, to, limit) in reads {
            let to = Key::new(from.sub_tree(), &[to.as_bytes()]);
            prop_assert_eq!(recording.get(&to), Base::get(&model, &to));
            keys.push(to);
            let page = recording.range(&from, &to, limit).unwrap();
            prop_assert_eq!(&page, &expected_range(&model, &from, &to, limit));
            // A full page looked no further than its last record; any other looked to the end.
            let full = page.len() == limit;
            ranges.push((from, if full { page.last().map_or(from, |(key, _)| *key) } else { to }));
        }
        prop_assert_eq!(recording.into_reads(), Reads { keys, ranges });
    }

    #[test]
    fn rules_ask_the_base_once_a_key(model in model(), accesses in vec(access(), 1..40)) {
        let recording = Recording::new(&model);
        perform(&mut Changes::new(&recording), &accesses);
        let mut asked = Vec::new();
        for access in &accesses {
            if let Access::Get(key) | Access::Set(key, _) = access
                && !asked.contains(key)
            {
                asked.push(*key);
            }
        }
        prop_assert_eq!(recording.into_reads().keys, asked);
    }

    #[test]
    fn what_was_recorded_proves_the_reads(model in model(), accesses in vec(access(), 1..20)) {
        let version = version_of(&model);
        let recording = Recording::new(&*version);
        let mut changes = Changes::new(&recording);
        let seen = perform(&mut changes, &accesses);
        let written = changes.into_changes();

        let proven = Proven::of(&version, &recording.into_reads());
        let mut again = Changes::new(&proven);
        prop_assert_eq!(perform(&mut again, &accesses), seen);
        prop_assert_eq!(again.fault(), None);
        prop_assert_eq!(again.into_changes(), written);
    }
}

/// More changes than are applied one sub-tree after the other.
fn many(from: u32, value: u8) -> Batch {
    let key = |number: u32| Key::new(IN_MEMORY[number as usize % 3], &[&number.to_be_bytes()]);
    (from..from + 1_000).map(|number| (key(number), Some(Value::from([value])))).collect()
}

#[test]
fn large_blocks_are_as_small_ones() {
    let mut forest = Forest::new(DOMAIN_SUB_TREES);
    let mut model = Model::new();
    let removed = many(200, 0).into_keys().map(|key| (key, None)).collect();
    for (height, batch) in [many(0, 1), many(500, 2), removed].iter().enumerate() {
        let version = apply_block(&mut forest, height, batch);
        put(&mut model, batch);
        check(&version, &model, height);
    }
    assert_eq!(model.len(), 500);
}

#[test]
fn a_refused_block_changes_nothing() {
    let mut forest = Forest::new(DOMAIN_SUB_TREES);
    let start = many(0, 1);
    let mut model = Model::new();
    put(&mut model, &start);
    apply_block(&mut forest, 0, &start);

    // Sub-trees 0 and 2 take theirs; in the last one a key begins with another.
    let longer = Key::new(3, &[&2_u32.to_be_bytes(), &[0]]);
    for sound in [many(2_000, 2), Batch::from([(Key::new(0, &[&[9; 9]]), Some(Value::from([2])))])] {
        let mut batch = sound.clone();
        batch.insert(longer, Some(Value::from([])));
        let changes = changes(&**forest.head(), &batch);
        let before = forest.head().root();
        assert!(matches!(forest.apply(&changes, Some(header(0))), Err(TreeError::PrefixOfAnother { .. })));
        assert_eq!(forest.head().root(), before);
        check(forest.head(), &model, 0);
    }
    let version = apply_block(&mut forest, 1, &many(2_000, 2));
    put(&mut model, &many(2_000, 2));
    check(&version, &model, 1);
}

#[test]
fn what_is_no_sub_tree_of_records_is_withheld() {
    let version = version_of(&Model::new());
    for (number, shown) in [(CONTROL, true), (BLOCKS, false), (2, true), (3, true), (4, false), (255, false)]
    {
        let key = Key::new(number, &[&[0; 8]]);
        assert_eq!(version.get(&key), if shown { Lookup::Absent } else { Lookup::Withheld });
        assert_eq!(version.range(&key, &key.upper_bound(), 1), shown.then(Vec::new));
    }
}

#[test]
#[should_panic(expected = "no sub-tree of records")]
fn nothing_is_written_into_the_tree_of_blocks() {
    let batch = Batch::from([(Key::new(BLOCKS, &[&[0; 8]]), Some(Value::from([])))]);
    let _ = Forest::new(DOMAIN_SUB_TREES).apply(&changes(&Model::new(), &batch), None);
}

#[test]
#[should_panic(expected = "no sub-tree of records")]
fn nothing_is_written_behind_the_domains_sub_trees() {
    let batch = Batch::from([(Key::new(4, &[&[0; 8]]), Some(Value::from([])))]);
    let _ = Forest::new(DOMAIN_SUB_TREES).apply(&changes(&Model::new(), &batch), None);
}
