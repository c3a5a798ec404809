//! Proofs: what is there verifies, what is altered does not, and a part of a tree changes as the whole does.

use std::collections::BTreeMap;
use std::ops::Bound;

use chaoschain_schemas::{Hash, limits};
use chaoschain_state::merkle::{
    Incomplete, Lookup, ProofError, Pruned, PrunedError, Tree, TreeError, Update, Version, leaf_hash,
    root_of, value_hash,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

type Map = BTreeMap<Vec<u8>, Hash>;

/// Values stand for their hashes, so that one map describes both whole and pruned trees.
fn tree(keys: impl IntoIterator<Item = (Vec<u8>, u8)>) -> (Version, Map) {
    let rows: BTreeMap<_, _> = keys.into_iter().collect();
    let updates: Vec<_> =
        rows.iter().map(|(key, value)| Update { key, value: Some(std::slice::from_ref(value)) }).collect();
    let version = Tree::new().apply(&updates).expect("the rows are sound");
    (version, rows.into_iter().map(|(key, value)| (key, value_hash(&[value]))).collect())
}

fn root(map: &Map) -> Hash {
    root_of(map.iter().map(|(key, value)| (key, *value)))
}

fn slices(keys: &[Vec<u8>]) -> Vec<&[u8]> {
    keys.iter().map(Vec::as_slice).collect()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..3_u8, 0..12_u8, 0..3_u8).prop_map(|(kind, middle, last)| match kind {
        0 => vec![0, middle * 20],
        1 => vec![1, 7, 7, 7, middle, last],
        _ => [vec![2; 9], vec![last * 127, middle, 0]].concat(),
    })
}

fn rows(count: usize) -> impl Strategy<Value = BTreeMap<Vec<u8>, u8>> {
    btree_map(key(), 0..3_u8, 0..count)
}

fn bound() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![key(), vec(0..4_u8, 0..4), Just(vec![2; 9]), Just(vec![])]
}

fn expected(map: &Map, from: &[u8], to: Bound<&[u8]>) -> Vec<(Vec<u8>, Hash)> {
    let before = |key: &[u8]| match to {
        Bound::Unbounded => true,
        Bound::Included(to) => key <= to,
        Bound::Excluded(to) => key < to,
    };
    let within = map.iter().filter(|(key, _)| key.as_slice() >= from && before(key));
    within.map(|(key, value)| (key.clone(), *value)).collect()
}

fn owned(found: Vec<(&[u8], Hash)>) -> Vec<(Vec<u8>, Hash)> {
    found.into_iter().map(|(key, value)| (key.to_vec(), value)).collect()
}

fn true_answer(map: &Map, key: &[u8]) -> Lookup {
    map.get(key).map_or(Lookup::Absent, |value| Lookup::Present(*value))
}

/// Whatever a pruned tree answers is so.
fn sound(pruned: &Pruned, map: &Map, keys: &[Vec<u8>], from: &[u8], to: &[u8]) {
    assert_eq!(pruned.root(), root(map));
    for key in keys {
        let answer = pruned.get(key);
        assert!(answer == Lookup::Pruned || answer == true_answer(map, key), "{key:?}: {answer:?}");
    }
    for to in [Bound::Unbounded, Bound::Included(to), Bound::Excluded(to)] {
        if let Ok(found) = pruned.range(from, to) {
            assert_eq!(owned(found), expected(map, from, to));
        }
    }
}

proptest! {
    #[test]
    fn every_key_can_be_proved_or_disproved(
        rows in rows(60), asked in vec(key(), 0..8), other in vec(key(), 20), from in bound(), to in bound(),
    ) {
        let (version, map) = tree(rows);
        let bytes = version.prove(&slices(&asked));
        let pruned = Pruned::parse(&bytes).expect("a proof");
        prop_assert_eq!(pruned.encode(), bytes);
        for key in &asked {
            prop_assert_eq!(pruned.get(key), true_answer(&map, key));
        }
        sound(&pruned, &map, &other, &from, &to);
    }

    #[test]
    fn ranges_are_proved_complete(
        rows in rows(60), from in bound(), to in bound(), limit in 1..20_usize, other in vec(key(), 5),
    ) {
        let (version, map) = tree(rows);
        for to in [Bound::Unbounded, Bound::Included(to.as_slice()), Bound::Excluded(to.as_slice())] {
            let whole = version.prove_range(&from, to, usize::MAX);
            prop_assert_eq!(&whole.last, &None);
            let pruned = Pruned::parse(&whole.bytes).expect("a proof");
            prop_assert_eq!(pruned.root(), version.root());
            let found = owned(pruned.range(&from, to).expect("complete"));
            prop_assert_eq!(&found, &expected(&map, &from, to));

            let page = version.prove_range(&from, to, limit);
            let pruned = Pruned::parse(&page.bytes).expect("a proof");
            sound(&pruned, &map, &other, &from, &other[0]);
            prop_assert_eq!(page.last.is_some(), found.len() > limit);
            let end = page.last.as_deref().map_or(to, Bound::Included);
            prop_assert_eq!(&owned(pruned.range(&from, end).expect("complete")), &found[..limit.min(found.len())]);
        }
    }

    #[test]
    fn altered_proofs_fail(rows in btree_map(key(), 0..3_u8, 1..40), asked in vec(key(), 1..4), flip in 1..=255_u8) {
        let (version, _) = tree(rows);
        let bytes = version.prove(&slices(&asked));
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= flip;
            refuted(&version, &bytes, &altered);
            refuted(&version, &bytes, &bytes[..at]);
            refuted(&version, &bytes, &bytes[at + 1..]);
        }
        refuted(&version, &bytes, &[&bytes[..], &[flip]].concat());
        let elements = elements(&bytes);
        for at in 0..elements.len() {
            let mut altered = elements.clone();
            altered.remove(at);
            refuted(&version, &bytes, &altered.concat());
            altered.insert(at, elements[at]);
            altered.insert(at, elements[at]);
            refuted(&version, &bytes, &altered.concat());
            for with in 0..at {
                let mut altered = elements.clone();
                altered.swap(at, with);
                refuted(&version, &bytes, &altered.concat());
                let moved = altered.remove(at);
                altered.insert(with, moved);
                refuted(&version, &bytes, &altered.concat());
            }
        }
    }

    #[test]
    fn a_proof_is_of_one_tree_and_its_keys(
        rows in btree_map(key(), 0..3_u8, 1..30), other in btree_map(key(), 0..3_u8, 1..30), at in any::<Index>(),
    ) {
        let (version, map) = tree(rows.clone());
        let (another, _) = tree(other.clone());
        let key = at.get(&map.keys().cloned().collect::<Vec<_>>()).clone();
        let pruned = Pruned::parse(&version.prove(&[&key])).expect("a proof");
        prop_assert_eq!(pruned.root() == another.root(), rows == other);
        prop_assert!(map.keys().all(|there| pruned.get(there) != Lookup::Absent));
    }

    #[test]
    fn reading_never_panics_and_has_one_form(bytes in vec(prop_oneof![0..4_u8, any::<u8>()], 0..300)) {
        if let Ok(pruned) = Pruned::parse(&bytes) {
            prop_assert_eq!(pruned.encode(), bytes);
        }
    }

    #[test]
    fn parts_change_as_the_whole_does(
        rows in rows(40), asked in vec(key(), 0..6),
        batches in vec(btree_map(key(), prop::option::of(0..3_u8), 0..4), 1..4),
        other in vec(key(), 10), from in bound(), to in bound(),
    ) {
        let (version, mut map) = tree(rows);
        let mut pruned = Pruned::parse(&version.prove(&slices(&asked))).expect("a proof");
        for batch in batches {
            let updates: Vec<_> =
                batch.iter().map(|(key, value)| (key.as_slice(), value.map(|value| value_hash(&[value])))).collect();
            for (key, value) in &updates {
                match value {
                    Some(value) => map.insert(key.to_vec(), *value),
                    None => map.remove(*key),
                };
            }
            let Ok(changed) = pruned.apply(&updates) else { return Ok(()) };
            sound(&changed, &map, &other, &from, &to);
            match Pruned::parse(&changed.encode()) {
                Ok(read) => prop_assert_eq!(&read, &changed),
                Err(error) => {
                    prop_assert_eq!(error, ProofError::OpensNothing);
                    prop_assert_eq!(changed.leaves().count(), 0);
                }
            }
            pruned = changed;
        }
    }
}

/// Altered bytes are not a proof, or are one of another root.
fn refuted(version: &Version, bytes: &[u8], altered: &[u8]) {
    if altered != bytes
        && let Ok(pruned) = Pruned::parse(altered)
    {
        assert_ne!(pruned.root(), version.root(), "{altered:?}");
    }
}

fn elements(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let len = match bytes[0] {
            0 => 32,
            1 => 3 + usize::from(bytes[2]) + 32,
            _ => 3,
        };
        let (element, rest) = bytes.split_at(len);
        elements.push(element);
        bytes = rest;
    }
    elements
}

/// All trees over six keys, all sets of opened leaves, all batches of at most three changes.
#[test]
fn parts_change_as_the_whole_does_in_all_small_cases() {
    const KEYS: [u8; 6] = [0b000, 0b001, 0b010, 0b100, 0b101, 0b111];
    let chosen = |set: u32| (0..6).filter(move |at| set >> at & 1 == 1).map(|at| vec![KEYS[at] << 4]);
    let (mut complete, mut incomplete) = (0, 0);
    for there in 0..64_u32 {
        let (version, map) = tree(chosen(there).map(|key| (key, 0)));
        for opened in 1..64_u32 {
            let asked: Vec<_> = chosen(opened).collect();
            let pruned = Pruned::parse(&version.prove(&slices(&asked))).expect("a proof");
            for (changed, written) in (0..64_u32).flat_map(|changed| (0..64_u32).map(move |w| (changed, w))) {
                if changed.count_ones() > 3 || written & !changed != 0 {
                    continue;
                }
                let batch: Vec<_> = (0..6)
                    .filter(|at| changed >> at & 1 == 1)
                    .map(|at| (vec![KEYS[at] << 4], (written >> at & 1 == 1).then(|| value_hash(&[1]))))
                    .collect();
                let updates: Vec<_> = batch.iter().map(|(key, value)| (key.as_slice(), *value)).collect();
                let mut after = map.clone();
                for (key, value) in &batch {
                    match value {
                        Some(value) => after.insert(key.clone(), *value),
                        None => after.remove(key),
                    };
                }
                match pruned.apply(&updates) {
                    Ok(changed) => {
                        assert_eq!(changed.root(), root(&after));
                        complete += 1;
                    }
                    Err(error) => {
                        assert_eq!(error, PrunedError::Incomplete(Incomplete));
                        // Opening what a batch names is enough, unless only what is pruned is left.
                        let named = changed & !opened == 0;
                        let known = |key: &[u8]| {
                            pruned.leaves().any(|(opened, _)| opened == key)
                                || batch.iter().any(|(k, _)| k == key)
                        };
                        let only_pruned = !after.is_empty() && !after.keys().any(|key| known(key));
                        assert!(!named || only_pruned, "{there:b} {opened:b} {changed:b} {written:b}");
                        incomplete += 1;
                    }
                }
            }
        }
    }
    assert!(complete > 100_000 && incomplete > 100_000, "{complete} complete, {incomplete} not");
}

#[test]
fn an_update_of_a_part_is_refused_as_that_of_the_whole() {
    let (version, _) = tree([(b"aa".to_vec(), 0), (b"bb".to_vec(), 0)]);
    let pruned = Pruned::parse(&version.prove(&[b"aa", b"bb"])).expect("a proof");
    let value = Some(Hash::ZERO);
    let refused = |updates: &[(&[u8], Option<Hash>)]| match pruned.apply(updates) {
        Err(PrunedError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[(b"", value)]), TreeError::KeyEmpty { index: 0 });
    assert_eq!(refused(&[(b"b", value), (b"a", value)]), TreeError::NotAscending { index: 1 });
    assert_eq!(refused(&[(b"a", value), (b"ab", value)]), TreeError::PrefixOfAnother { index: 1 });
    assert_eq!(refused(&[(b"a", value)]), TreeError::PrefixOfAnother { index: 0 });
    assert_eq!(refused(&[(b"aab", value)]), TreeError::PrefixOfAnother { index: 0 });
    assert_eq!(pruned.apply(&[(b"a", None)]).expect("absent").root(), version.root());
}

fn hash() -> Vec<u8> {
    [vec![0], vec![5; 31]].concat()
}

fn leaf(key: &[u8]) -> Vec<u8> {
    [&[1], &(key.len() as u16).to_be_bytes()[..], key, &[7; 32]].concat()
}

fn node(bit: u16, left: Vec<u8>, right: Vec<u8>) -> Vec<u8> {
    [vec![2], bit.to_be_bytes().to_vec(), left, right].concat()
}

#[test]
fn what_no_prover_writes_is_refused() {
    let long = [9; limits::KEY_BYTES_MAX + 1];
    let cases = [
        ("a bare hash", hash(), ProofError::OpensNothing),
        ("a node of hashes", node(0, node(1, hash(), hash()), leaf(&[128])), ProofError::OpensNothing),
        ("a zero hash", node(0, vec![0; 32], leaf(&[128])), ProofError::ZeroHash),
        ("a node below itself", node(3, node(3, leaf(&[0]), hash()), leaf(&[16])), ProofError::Bit),
        ("a lower bit below a higher", node(3, hash(), node(2, leaf(&[16]), hash())), ProofError::Bit),
        ("a bit after the longest key", node(768, leaf(&[0; 96]), hash()), ProofError::Bit),
        ("a bit after the key", node(8, leaf(&[0]), hash()), ProofError::Misplaced),
        ("a key on the wrong side", node(3, hash(), leaf(&[0])), ProofError::Misplaced),
        (
            "a key on the wrong side above",
            node(2, node(3, leaf(&[32]), hash()), hash()),
            ProofError::Misplaced,
        ),
        ("keys in disorder", node(3, leaf(&[16]), leaf(&[0])), ProofError::Misplaced),
        ("a key twice", node(3, leaf(&[0]), leaf(&[0])), ProofError::Misplaced),
        ("keys that part earlier", node(3, leaf(&[0]), leaf(&[0b0101_0000])), ProofError::Misplaced),
        ("a key and its prefix", node(9, leaf(&[0, 0]), leaf(&[0])), ProofError::Misplaced),
        ("no key", leaf(&[]), ProofError::KeyLength(0)),
        ("too long a key", leaf(&long), ProofError::KeyLength(long.len())),
        ("an unknown element", vec![3], ProofError::Tag(3)),
        ("half a node", vec![2, 0], ProofError::Truncated),
        ("a node without its right", node(3, leaf(&[0]), vec![]), ProofError::Truncated),
        ("two trees", [leaf(&[0]), leaf(&[1])].concat(), ProofError::TrailingBytes),
        (
            "too many elements",
            [2, 0, 0].repeat(limits::PROOF_ELEMENTS_MAX + 1),
            ProofError::TooManyElements { max: limits::PROOF_ELEMENTS_MAX },
        ),
        (
            "too many bytes",
            vec![2; limits::PROOF_BYTES_MAX + 1],
            ProofError::TooLong { bytes: limits::PROOF_BYTES_MAX + 1, max: limits::PROOF_BYTES_MAX },
        ),
    ];
    for (what, bytes, error) in cases {
        assert_eq!(Pruned::parse(&bytes), Err(error), "{what}");
    }
    for bytes in [vec![], leaf(&[0]), node(3, leaf(&[0]), hash()), node(767, leaf(&[0; 96]), hash())] {
        assert_eq!(Pruned::parse(&bytes).map(|pruned| pruned.encode()), Ok(bytes));
    }
}

#[test]
fn the_deepest_tree_is_proved_and_read() {
    let all = [0xFF; limits::KEY_BYTES_MAX];
    // One key parts from the all-ones key at each bit.
    let parted = (0..8 * limits::KEY_BYTES_MAX).map(|bit| {
        let mut key = all.to_vec();
        key[bit / 8] ^= 128 >> (bit % 8);
        key
    });
    let (version, map) = tree(parted.chain([all.to_vec()]).map(|key| (key, 0)));
    let pruned = Pruned::parse(&version.prove(&[&all])).expect("a proof");
    assert_eq!(pruned.root(), root(&map));
    assert_eq!(pruned.get(&all), Lookup::Present(value_hash(&[0])));
    let changed = pruned.apply(&[(&all, None)]);
    assert_eq!(
        changed.expect("complete").root(),
        root(&map.into_iter().filter(|(key, _)| *key != all).collect())
    );
}

#[test]
fn empty_and_single_trees() {
    let empty = Pruned::parse(&Tree::new().head().prove(&[b"a"])).expect("no bytes");
    assert_eq!((empty.root(), empty.get(b"a")), (Hash::ZERO, Lookup::Absent));
    assert_eq!(empty.range(&[], Bound::Unbounded), Ok(vec![]));
    let value = value_hash(b"v");
    let one = empty.apply(&[(b"a", Some(value))]).expect("nothing is pruned");
    assert_eq!(one.root(), leaf_hash(b"a", &value));
    assert_eq!(one.apply(&[(b"a", None)]).expect("opened"), empty);
}

proptest! {
    #[test]
    fn keys_and_ranges_are_shown_together(
        rows in rows(60), asked in vec(key(), 0..5), ranges in vec((bound(), bound()), 0..4), other in vec(key(), 10),
    ) {
        let (version, map) = tree(rows);
        let bounds: Vec<(&[u8], &[u8])> = ranges.iter().map(|(from, to)| (from.as_slice(), to.as_slice())).collect();
        let shown = version.show(&slices(&asked), &bounds);
        let pruned = Pruned::parse(&shown.bytes).expect("a proof");
        prop_assert_eq!(pruned.encode(), shown.bytes);
        let mut wanted = Map::new();
        for key in &asked {
            prop_assert_eq!(pruned.get(key), true_answer(&map, key));
            wanted.extend(map.get_key_value(key).map(|(key, value)| (key.clone(), *value)));
        }
        for (from, to) in &bounds {
            let found = owned(pruned.range(from, Bound::Included(to)).expect("complete"));
            prop_assert_eq!(&found, &expected(&map, from, Bound::Included(to)));
            wanted.extend(found);
        }
        let records: Map = shown.records.iter().map(|(key, value)| (key.clone(), value_hash(value))).collect();
        prop_assert_eq!(records, wanted);
        prop_assert_eq!(pruned.root(), version.root());
        for (from, to) in &bounds {
            sound(&pruned, &map, &other, from, to);
        }
    }
}
