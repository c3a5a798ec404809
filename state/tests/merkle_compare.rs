//! Two trees are told apart by what is opened of them, a few levels at a time; the definition is to look at every key.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use chaoschain_schemas::Hash;
use chaoschain_state::merkle::{
    Difference, Pruned, Region, SPREAD_DEPTH_MAX, Tree, Update, Version, value_hash,
};
use proptest::prelude::*;

type Content = BTreeMap<Vec<u8>, u8>;

/// A key, the hash of its value in the one tree, and in the other.
type Differing = (Vec<u8>, Option<Hash>, Option<Hash>);

fn tree(content: &Content) -> Version {
    let values: Vec<_> = content.iter().map(|(key, value)| (key, [*value])).collect();
    let updates: Vec<_> = values.iter().map(|(key, value)| Update { key, value: Some(value) }).collect();
    Tree::new().apply(&updates).unwrap()
}

/// The definition: every key of both is looked at.
fn defined(ours: &Content, theirs: &Content) -> Vec<Differing> {
    let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let hash = |content: &Content, key: &Vec<u8>| content.get(key).map(|value| value_hash(&[*value]));
    let all = keys.into_iter().map(|key| (key.clone(), hash(ours, key), hash(theirs, key)));
    all.filter(|(_, ours, theirs)| ours != theirs).collect()
}

/// Descends where it has to, and counts how often it asked.
fn descended(ours: &Version, theirs: &Version, depth: usize) -> (Vec<Differing>, usize) {
    let (mut found, mut asked) = (Vec::new(), 0);
    let mut ahead = vec![Difference::Within { region: Region::ALL, ours: true, theirs: true }];
    while let Some(next) = ahead.pop() {
        match next {
            Difference::Key { key, ours, theirs } => found.push((key, ours, theirs)),
            Difference::Within { region, ours: in_ours, theirs: in_theirs } => {
                let mut part = |tree: &Version, wanted: bool| {
                    asked += usize::from(wanted);
                    let part = wanted.then(|| Pruned::parse(&tree.prove_spread(&region, depth)).unwrap());
                    assert!(part.as_ref().is_none_or(|part| part.root() == tree.root()));
                    part
                };
                let parts = [part(ours, in_ours), part(theirs, in_theirs)];
                let closer = Pruned::compare(parts[0].as_ref(), parts[1].as_ref(), &region).unwrap();
                let smaller = |one: &Difference| match one {
                    Difference::Within { region: within, .. } => within.bits() > region.bits(),
                    Difference::Key { .. } => true,
                };
                assert!(closer.iter().all(smaller), "every look goes deeper: {closer:?} in {region}");
                ahead.extend(closer.into_iter().rev());
            }
        }
    }
    (found, asked)
}

/// Prefix-free keys of few bits that differ, so that trees of many shapes come up.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<[u8; 2]>().prop_map(|bytes| [&[1][..], &bytes].concat()),
        (0..4_u8).prop_map(|byte| vec![2, byte]),
        any::<u8>().prop_map(|byte| vec![3, 0, 0, byte, 0, 7]),
    ]
}

fn content(most: usize) -> impl Strategy<Value = Content> {
    prop::collection::btree_map(key(), 0..2_u8, 0..most)
}

proptest! {
    /// Whatever the two trees are.
    #[test]
    fn what_is_found_is_the_definition(ours in content(40), theirs in content(40), depth in 1..=SPREAD_DEPTH_MAX) {
        let (found, _) = descended(&tree(&ours), &tree(&theirs), depth);
        prop_assert_eq!(found, defined(&ours, &theirs));
    }

    /// Two trees that are nearly the same, as those of a faulty fold are.
    #[test]
    fn a_few_differences_are_found(
        ours in content(200),
        changes in prop::collection::btree_map(key(), prop::option::of(2..4_u8), 0..4),
    ) {
        let mut theirs = ours.clone();
        for (key, value) in changes {
            match value {
                Some(value) => theirs.insert(key, value),
                None => theirs.remove(&key),
            };
        }
        let (found, _) = descended(&tree(&ours), &tree(&theirs), 4);
        prop_assert_eq!(found, defined(&ours, &theirs));
    }

    /// Trees of two folds may have keys that begin each other; each is found all the same.
    #[test]
    fn keys_that_begin_those_of_the_other_tree_are_found(
        ours in prop::collection::btree_set(prop::collection::vec(0..3_u8, 2..=2), 0..9),
        theirs in prop::collection::btree_set(prop::collection::vec(0..3_u8, 1..=1), 0..3),
        depth in 1..=SPREAD_DEPTH_MAX,
    ) {
        let [ours, theirs] = [ours, theirs].map(|keys| keys.into_iter().map(|key| (key, 0)).collect::<Content>());
        let (mut found, _) = descended(&tree(&ours), &tree(&theirs), depth);
        found.sort();
        prop_assert_eq!(found, defined(&ours, &theirs));
    }
}

/// In a tree of 2^16 keys the path to one of them is looked at, not the keys.
#[test]
fn one_difference_costs_a_path() {
    let mut content: Content = (0..=u16::MAX).map(|number| (blake(number), 0)).collect();
    let ours = tree(&content);
    let changed = blake(4711);
    content.insert(changed.clone(), 1);
    let (found, asked) = descended(&ours, &tree(&content), 4);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, changed);
    // Each look goes at least 4 of some 20 levels down, in both trees.
    assert!(asked <= 2 * 24_usize.div_ceil(4), "{asked} looks");
}

fn blake(number: u16) -> Vec<u8> {
    value_hash(&number.to_be_bytes()).as_bytes()[..16].to_vec()
}

#[test]
fn what_is_not_opened_is_not_told() {
    let content: Content = (0..64_u8).map(|number| (vec![number], 0)).collect();
    let tree = tree(&content);
    let part = Pruned::parse(&tree.prove(&[&[0]])).unwrap();
    let region = Region::of(&[0x3f], 8);
    assert!(Pruned::compare(Some(&part), None, &region).is_err());
    let whole = Pruned::compare(Some(&part), None, &Region::ALL).unwrap();
    assert!(matches!(whole[0], Difference::Key { ref key, .. } if *key == [0]), "{whole:?}");
    assert!(matches!(&whole[1..], [Difference::Within { theirs: false, .. }, ..]), "{whole:?}");
}
