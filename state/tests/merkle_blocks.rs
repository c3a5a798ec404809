//! The tree of headers: the shape of RFC 6962, the same roots and proofs as the tree in memory, and consistency.

use chaoschain_schemas::Hash;
use chaoschain_state::merkle::blocks::{BlocksError, Frontier, MemoryTiles, consistency, prove};
use chaoschain_state::merkle::{
    Lookup, Pruned, Tree, Update, Version, leaf_hash, node_hash, root_of, value_hash,
};
use proptest::prelude::*;

fn header_hash(height: u64) -> Hash {
    value_hash(&height.to_le_bytes())
}

fn leaf(height: u64) -> (Vec<u8>, Hash) {
    (height.to_be_bytes().to_vec(), value_hash(header_hash(height).as_bytes()))
}

fn chain(size: u64) -> (Frontier, MemoryTiles) {
    let (mut frontier, mut tiles) = (Frontier::new(), MemoryTiles::default());
    (0..size).for_each(|height| tiles.append(&mut frontier, header_hash(height)));
    (frontier, tiles)
}

fn in_memory(size: u64) -> Version {
    let rows: Vec<_> = (0..size).map(|height| (height.to_be_bytes(), header_hash(height))).collect();
    let updates = rows.iter().map(|(key, hash)| Update { key, value: Some(hash.as_bytes()) });
    Tree::new().apply(&updates.collect::<Vec<_>>()).expect("heights ascend")
}

/// The Merkle tree hash of RFC 6962, section 2.1, with our hashes of leaves and nodes: MTH(D[n]) splits at the largest
/// power of two smaller than n. The bit of a node is the one in which the heights of its two sides differ.
fn mth(from: u64, n: u64) -> Hash {
    match n {
        0 => Hash::ZERO,
        1 => leaf_hash(&leaf(from).0, &leaf(from).1),
        _ => {
            let mut k = 1;
            while 2 * k < n {
                k *= 2;
            }
            node_hash(63 - k.trailing_zeros() as u16, &mth(from, k), &mth(from + k, n - k))
        }
    }
}

#[test]
fn the_shape_is_that_of_rfc_6962() {
    let mut frontier = Frontier::new();
    for size in 0..=530 {
        let root = mth(0, size);
        assert_eq!(frontier.root(), root, "{size} blocks");
        assert_eq!(root_of((0..size).map(leaf)), root, "{size} blocks");
        assert_eq!(frontier.len(), size);
        assert_eq!(Frontier::decode(&frontier.encode()).as_ref(), Ok(&frontier));
        frontier.append(header_hash(size));
    }
}

#[test]
fn proofs_are_those_of_the_tree_in_memory() {
    let (_, tiles) = chain(600);
    for size in [1, 2, 3, 7, 8, 255, 256, 257, 300, 511, 512, 513, 600] {
        let version = in_memory(size);
        for height in [0, 1, size / 3, size / 2, size - 1].into_iter().filter(|height| *height < size) {
            let bytes = prove(&tiles, &[height], size).expect("within the chain");
            assert_eq!(bytes, version.prove(&[&height.to_be_bytes()]), "{height} of {size}");
        }
        let heights = [size - 1, 0, size / 2, 0];
        let keys = heights.map(u64::to_be_bytes);
        assert_eq!(prove(&tiles, &heights, size), Ok(version.prove(&keys.each_ref().map(|key| &key[..]))));
        assert_eq!(prove(&tiles, &[], size), Ok(version.prove(&[])));
    }
    assert_eq!(prove(&tiles, &[], 0), Ok(vec![]));
}

#[test]
fn every_older_chain_is_a_cut() {
    let (_, tiles) = chain(70);
    for size in 0..=70 {
        for older in 0..=size {
            let pruned = Pruned::parse(&consistency(&tiles, older, size).expect("within")).expect("a proof");
            assert_eq!(pruned.root(), mth(0, size));
            assert_eq!(pruned.cut(older).expect("complete").root(), mth(0, older), "{older} of {size}");
        }
    }
}

#[test]
fn tiles_of_three_levels() {
    const SIZE: u64 = 65_536 + 4_000;
    let (frontier, tiles) = chain(SIZE);
    assert_eq!(frontier.root(), mth(0, SIZE));
    for (older, size) in [(65_535, 65_536), (65_536, 65_537), (1, SIZE), (65_800, SIZE), (SIZE, SIZE)] {
        let pruned = Pruned::parse(&consistency(&tiles, older, size).expect("within")).expect("a proof");
        assert_eq!(
            (pruned.root(), pruned.cut(older).expect("complete").root()),
            (mth(0, size), mth(0, older))
        );
    }
    let proof = prove(&tiles, &[66_000], SIZE).expect("within");
    let pruned = Pruned::parse(&proof).expect("a proof");
    assert_eq!(pruned.root(), frontier.root());
    assert_eq!(pruned.get(&66_000_u64.to_be_bytes()), Lookup::Present(leaf(66_000).1));
}

proptest! {
    #[test]
    fn a_cut_elsewhere_is_the_older_root_or_incomplete(height in 0..200_u64, older in 0..=200_u64, size in 1..=200_u64) {
        let (_, tiles) = chain(200);
        prop_assume!(height < size && older <= size);
        let pruned = Pruned::parse(&prove(&tiles, &[height], size).expect("within")).expect("a proof");
        if let Ok(cut) = pruned.cut(older) {
            prop_assert_eq!(cut.root(), mth(0, older));
        }
    }
}

#[test]
fn what_is_not_there_is_named() {
    let (_, tiles) = chain(300);
    assert_eq!(prove(&tiles, &[300], 300), Err(BlocksError::OutOfRange { asked: 300, size: 300 }));
    assert_eq!(consistency(&tiles, 301, 300), Err(BlocksError::OutOfRange { asked: 301, size: 300 }));
    assert!(matches!(prove(&tiles, &[0], 400), Err(BlocksError::Missing { level: 0, index: 1, entry: 44 })));
}

#[test]
fn damaged_frontiers_are_refused() {
    let good = chain(5).0.encode();
    assert!(Frontier::decode(&good).is_ok());
    assert!(Frontier::decode(&good[..7]).is_err());
    assert!(Frontier::decode(&good[..good.len() - 1]).is_err());
    assert!(Frontier::decode(&[&good[..], &[0; 32]].concat()).is_err());
    assert!(Frontier::decode(&[&7_u64.to_be_bytes(), &good[8..]].concat()).is_err());
    assert!(Frontier::decode(&[&good[..40], &[0; 32]].concat()).is_err());
}

#[test]
fn a_frontier_is_shown_by_what_the_root_commits_to() {
    let mut frontier = Frontier::new();
    for len in 0..70_u64 {
        let (shown, root) = (frontier.show(), frontier.root());
        let read = Frontier::shown(len, root, &shown).unwrap();
        assert_eq!((read.len(), read.root()), (len, root));
        let next = Hash::new([len as u8 + 1; 32]);
        let (mut ours, mut theirs) = (frontier.clone(), read);
        ours.append(next);
        theirs.append(next);
        assert_eq!(ours.root(), theirs.root(), "{len}");
        for at in 0..shown.len() {
            let mut changed = shown.clone();
            changed[at] ^= 1;
            assert!(Frontier::shown(len, root, &changed).is_err(), "{len}: {at}");
        }
        assert!(Frontier::shown(len, root, &[&shown[..], &[1; 31]].concat()).is_err(), "{len}");
        assert!(Frontier::shown(len, Hash::new([9; 32]), &shown).is_err() || len.is_power_of_two(), "{len}");
        frontier = ours;
    }
}
