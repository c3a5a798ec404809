//! The tree against a `BTreeMap` and the one-pass root: contents alone decide, and versions never change.
//!
//! The root of a map is computed by `root_of`, which its own tests hold to the recursive definition.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::mpsc;

use chaoschain_schemas::{Hash, limits};
use chaoschain_state::merkle::{Builder, Tree, TreeError, Update, Version, leaf_hash, root_of, value_hash};
use proptest::collection::vec;
use proptest::prelude::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn root(map: &Map) -> Hash {
    root_of(map.iter().map(|(key, value)| (key, value_hash(value))))
}

fn apply(tree: &mut Tree, batch: &Batch) -> Version {
    let updates: Vec<_> = batch.iter().map(|(key, value)| Update { key, value: value.as_deref() }).collect();
    tree.apply(&updates).expect("the batch is sound")
}

fn put(map: &mut Map, batch: &Batch) {
    for (key, value) in batch {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

fn check(version: &Version, map: &Map) {
    assert_eq!(version.root(), root(map));
    assert_eq!(version.len(), map.len());
    // A hint, which has nothing to show for it: whatever keys it is given, it only has to come back.
    version.prefetch(map.keys().map(Vec::as_slice).chain([
        &[][..],
        &[7; limits::KEY_BYTES_MAX + 1],
        b"elsewhere",
    ]));
    let content: Map = version.iter().map(|(key, value)| (key, value.to_vec())).collect();
    assert_eq!(&content, map);
}

/// Prefix-free keys of 2 to 12 bytes: the first tells the length. Few enough that they meet often.
fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..3_u8, 0..12_u8, 0..3_u8).prop_map(|(kind, middle, last)| match kind {
        0 => vec![0, middle * 20],
        1 => vec![1, 7, 7, 7, middle, last],
        _ => [vec![2; 9], vec![last * 127, middle, 0]].concat(),
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(0..4_u8, 0..20), vec(any::<u8>(), 0..2), Just(vec![9; 1100])]
}

fn batch() -> impl Strategy<Value = Batch> {
    prop::collection::btree_map(key(), prop::option::weighted(0.6, value()), 0..30)
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Batch),
    Keep,
    Drop(usize),
    Revert(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => batch().prop_map(Step::Apply),
        2 => Just(Step::Keep),
        2 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Revert),
    ]
}

proptest! {
    #[test]
    fn order_and_batches_never_change_a_root(
        entries in vec((key(), prop::option::weighted(0.8, value())), 0..80),
        size in 1..20_usize,
    ) {
        let mut map = Map::new();
        let mut tree = Tree::new();
        for part in entries.chunks(size) {
            let batch: Batch = part.iter().cloned().collect();
            put(&mut map, &batch);
            apply(&mut tree, &batch);
        }
        check(&tree.head(), &map);

        let mut one_by_one = Tree::new();
        for (key, value) in map.iter().rev() {
            apply(&mut one_by_one, &Batch::from([(key.clone(), Some(value.clone()))]));
        }
        check(&one_by_one.head(), &map);

        let rows = map.iter().map(|(key, value)| (key, value, leaf_hash(key, &value_hash(value))));
        check(&Tree::from_sorted(rows).expect("the map is in order").head(), &map);

        apply(&mut tree, &map.keys().map(|key| (key.clone(), None)).collect());
        check(&tree.head(), &Map::new());
    }

    #[test]
    fn versions_stay_as_they_were(steps in vec(step(), 1..60)) {
        let mut tree = Tree::new();
        let mut line = vec![(tree.head(), Map::new())];
        let mut kept = Vec::new();
        for step in steps {
            match step {
                Step::Apply(batch) => {
                    let mut map = line.last().expect("the first stays").1.clone();
                    put(&mut map, &batch);
                    line.push((apply(&mut tree, &batch), map));
                }
                Step::Keep => kept.push(line[line.len() - 1].clone()),
                // The line drops its oldest, as a window of versions does; a reader drops any.
                Step::Drop(at) => {
                    if line.len() > 3 {
                        line.remove(0);
                    }
                    if !kept.is_empty() {
                        kept.swap_remove(at % kept.len());
                    }
                }
                Step::Revert(at) => {
                    line.truncate(1 + at % line.len());
                    tree.revert_to(&line[line.len() - 1].0).expect("it is of the line");
                }
            }
            let (head, map) = &line[line.len() - 1];
            check(head, map);
            prop_assert_eq!(tree.head().root(), head.root());
            for (version, map) in &kept {
                check(version, map);
            }
        }
        for (version, map) in line.iter().chain(&kept) {
            check(version, map);
        }
        // With all versions gone nothing but the head's own nodes may be left.
        let map = line[line.len() - 1].1.clone();
        drop((line, kept));
        tree.reclaim();
        let memory = tree.memory();
        prop_assert_eq!((memory.versions, memory.nodes), (1, map.len().saturating_sub(1)));
        apply(&mut tree, &map.keys().map(|key| (key.clone(), None)).collect());
        tree.reclaim();
        prop_assert_eq!(tree.memory().nodes, 0);
    }

    #[test]
    fn ranges_are_those_of_a_map(
        entries in prop::collection::btree_map(key(), vec(any::<u8>(), 0..3), 0..40),
        from in prop_oneof![key(), vec(any::<u8>(), 0..4), Just(vec![2; 9])],
        to in prop_oneof![key(), vec(any::<u8>(), 0..4), Just(vec![2; 100])],
    ) {
        let mut tree = Tree::new();
        let head = apply(&mut tree, &entries.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect());
        for to in [Bound::Unbounded, Bound::Included(to.as_slice()), Bound::Excluded(to.as_slice())] {
            let within = |key: &[u8]| key >= from.as_slice() && match to {
                Bound::Unbounded => true,
                Bound::Included(to) => key <= to,
                Bound::Excluded(to) => key < to,
            };
            let mut expected: Vec<_> = entries.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            expected.retain(|(key, _)| within(key));
            let found: Vec<_> = head.range(&from, to).map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(&found, &expected);
            expected.reverse();
            let found: Vec<_> = head.range_rev(&from, to).map(|(k, v)| (k, v.to_vec())).collect();
            prop_assert_eq!(&found, &expected);
        }
        for (key, value) in &entries {
            prop_assert_eq!(head.get(key).map(|value| value.to_vec()), Some(value.clone()));
        }
        prop_assert_eq!(head.contains(&from), entries.contains_key(&from));
        prop_assert_eq!(head.get(&to).map(|value| value.to_vec()), entries.get(&to).cloned());
    }
}

fn update<'a>(key: &'a [u8], value: &'a [u8]) -> Update<'a> {
    Update { key, value: Some(value) }
}

#[test]
fn a_refused_batch_changes_nothing() {
    let mut tree = Tree::new();
    let before = tree.apply(&[update(b"aa", b"1"), update(b"bb", b"2")]).expect("sound");
    let memory = tree.memory();
    let long = [7; limits::KEY_BYTES_MAX + 1];
    let big = vec![0; limits::VALUE_BYTES_MAX + 1];
    let cases: &[(&[Update<'_>], TreeError)] = &[
        (&[update(b"a1", b""), update(b"", b"")], TreeError::KeyEmpty { index: 1 }),
        (&[update(&long, b"")], TreeError::KeyTooLong { index: 0, bytes: long.len() }),
        (&[update(b"c1", b""), update(b"c1", b"")], TreeError::NotAscending { index: 1 }),
        (&[update(b"c2", b""), update(b"c1", b"")], TreeError::NotAscending { index: 1 }),
        (&[update(b"c1", b""), update(b"c12", b"")], TreeError::PrefixOfAnother { index: 1 }),
        (&[update(b"a1", b""), update(b"aaa", b"")], TreeError::PrefixOfAnother { index: 1 }),
        (&[update(b"a", b"")], TreeError::PrefixOfAnother { index: 0 }),
        (&[update(b"c1", &big)], TreeError::ValueTooLong { index: 0, bytes: big.len() }),
    ];
    for (updates, error) in cases {
        assert_eq!(tree.apply(updates).expect_err("refused"), *error);
        assert_eq!(tree.head().root(), before.root());
        assert_eq!((tree.memory().nodes, tree.memory().leaf_bytes), (memory.nodes, memory.leaf_bytes));
    }
    let nothing = [Update { key: b"a", value: None }, Update { key: b"bbb", value: None }];
    assert_eq!(tree.apply(&nothing).expect("deleting what is absent").root(), before.root());
}

#[test]
fn an_error_in_a_late_piece_takes_back_the_early_ones() {
    let mut tree = Tree::new();
    let keys: Vec<_> = (0..5000_u32).map(u32::to_be_bytes).collect();
    let value = |n: u8| keys.iter().map(move |key| (key.to_vec(), Some(vec![n]))).collect::<Batch>();
    let before = apply(&mut tree, &value(1));
    let memory = tree.memory();
    let longer = [keys[4999].as_slice(), b"x"].concat();
    let mut updates: Vec<_> = keys[..4999].iter().map(|key| update(key, b"2")).collect();
    updates.push(update(&longer, b""));
    assert_eq!(tree.apply(&updates).expect_err("refused"), TreeError::PrefixOfAnother { index: 4999 });
    assert_eq!(tree.memory().nodes, memory.nodes);
    assert_eq!(tree.memory().leaf_bytes, memory.leaf_bytes);
    assert_eq!(before.iter().count(), 5000);
    let after = apply(&mut tree, &value(3));
    check(&after, &keys.iter().map(|key| (key.to_vec(), vec![3])).collect());
}

#[test]
fn a_full_tree_says_so_and_goes_on_when_versions_are_dropped() {
    let mut tree = Tree::with_limits(100, 4096);
    let keys: Vec<_> = (0..40_u8).map(|n| [n, n]).collect();
    let batch = |n: u8| keys.iter().map(|key| (key.to_vec(), Some(vec![n; 8]))).collect::<Batch>();
    let first = apply(&mut tree, &batch(1));
    let second = apply(&mut tree, &batch(2));
    let values = [3; 8];
    let updates: Vec<_> = keys.iter().map(|key| update(key, &values)).collect();
    assert_eq!(tree.apply(&updates).expect_err("no room for a third version"), TreeError::Full);
    assert_eq!(tree.head().root(), second.root());
    drop(first);
    assert_eq!(tree.apply(&updates).expect("room").get(&[7, 7]).as_deref(), Some(&values[..]));
    assert_eq!(second.get(&[7, 7]).as_deref(), Some(&[2; 8][..]));
}

#[test]
fn only_an_ancestor_can_be_gone_back_to() {
    let mut tree = Tree::new();
    let first = tree.apply(&[update(b"a", b"1")]).expect("sound");
    let second = tree.apply(&[update(b"a", b"2")]).expect("sound");
    let other = Tree::new().apply(&[update(b"a", b"1")]).expect("sound");
    assert_eq!(tree.revert_to(&other), Err(TreeError::NotAnAncestor));
    assert_eq!(tree.revert_to(&first), Ok(()));
    assert_eq!(tree.revert_to(&second), Err(TreeError::NotAnAncestor));
    assert_eq!(second.get(b"a").as_deref(), Some(&b"2"[..]));
    assert_eq!(tree.head().root(), first.root());
}

#[test]
fn a_builder_refuses_rows_out_of_order() {
    let mut builder = Builder::new(Tree::new());
    builder.push(b"b", b"", Hash::ZERO).expect("the first row");
    assert_eq!(builder.push(b"a", b"", Hash::ZERO), Err(TreeError::NotAscending { index: 1 }));
    assert!(Builder::new(Tree::new()).finish().expect("empty").head().is_empty());
}

/// Readers recompute whole roots of versions, some of them old, while the writer reuses what nobody holds.
#[test]
fn readers_see_whole_versions_while_the_writer_reclaims() {
    const ROUNDS: u32 = 300;
    let mut tree = Tree::new();
    let (to_readers, versions) = mpsc::sync_channel::<Version>(4);
    let versions = std::sync::Arc::new(std::sync::Mutex::new(versions));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let versions = std::sync::Arc::clone(&versions);
            scope.spawn(move || {
                let mut held = Vec::new();
                loop {
                    let next = versions.lock().expect("no reader failed").recv();
                    let Ok(version) = next else { break };
                    held.push(version);
                    if held.len() > 3 * reader {
                        let oldest = held.remove(0);
                        let content = oldest.iter().map(|(key, value)| (key, value_hash(&value)));
                        assert_eq!(root_of(content), oldest.root());
                    }
                }
                for version in held {
                    assert_eq!(root_of(version.iter().map(|(k, v)| (k, value_hash(&v)))), version.root());
                }
            });
        }
        let mut most = 0;
        for round in 0..ROUNDS {
            let entry = |n: u32| {
                let key = (n * 7919 % 5000).to_be_bytes();
                (key.to_vec(), (!n.is_multiple_of(5)).then(|| vec![round as u8; (n % 90) as usize]))
            };
            let batch: Batch = (round * 100..round * 100 + 200).map(entry).collect();
            let version = apply(&mut tree, &batch);
            if round % 7 == 3 {
                let doomed = apply(&mut tree, &(0..50).map(entry).collect());
                to_readers.send(doomed).expect("readers run");
                tree.revert_to(&version).expect("just made");
            }
            to_readers.send(version).expect("readers run");
            most = most.max(tree.memory().nodes);
        }
        drop(to_readers);
        // Were nothing reclaimed, each round would leave about a thousand nodes.
        assert!(most < 100_000, "{most} nodes");
    });
}
