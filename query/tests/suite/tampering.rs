//! Nobody can change a proof so that it proves something else than the truth.

use chaoschain_projector::Head;
use chaoschain_query::prove;
use chaoschain_query::verify::{Verified, verify_file, verify_read};
use chaoschain_schemas::{Blob, ProofFile, ReadProof, codec};

use crate::shelf::*;

fn sample() -> Head {
    head([(LEFT, 1), (LEFT, 2), (LEFT, 300), (LEFT, 301), (LEFT, 40_000), (RIGHT, 2)])
}

fn proof(head: &Head, read: &str, asked: &[u32]) -> ReadProof {
    prove::read_with_proof(head, &Shelf, read, &arguments(asked)).unwrap().1
}

/// Every flipped bit makes the file refused, except where it asks another question to which the file happens to prove the
/// answer as well; then that answer is true.
#[test]
fn every_flipped_bit_is_noticed() {
    let head = sample();
    for (read, asked) in [
        ("item", vec![2, 2]),
        ("item", vec![2, 3]),
        ("pair", vec![2]),
        ("pair", vec![7]),
        ("list", vec![2, 2, 301, 10]),
        ("list", vec![2, 0, 9999, 2]),
        ("list", vec![3, 5, 9, 1]),
        ("root", vec![]),
        ("header", vec![5]),
    ] {
        let original = ProofFile::of_read(proof(&head, read, &asked));
        let file = codec::encode(&original);
        let asked_of = |file: &ProofFile| {
            file.proof.read.as_ref().map(|read| (read.read.clone(), read.arguments.clone()))
        };
        assert!(verify_file(&file, &trust(), Some(&Shelf)).is_ok());
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                let Ok(verified) = verify_file(&changed, &trust(), Some(&Shelf)) else { continue };
                let Verified::Read(verified) = verified else { panic!("a read became an event") };
                let question = (verified.read.clone(), verified.arguments.clone());
                assert_ne!(Some(question), asked_of(&original), "{read} {asked:?}: bit {bit} of byte {at}");
                let truth = prove::read(&head, &Shelf, &verified.read, &verified.arguments);
                assert_eq!(verified.value, truth.ok(), "{read} {asked:?}: bit {bit} of byte {at}");
            }
        }
        for end in 0..file.len() {
            assert!(verify_file(&file[..end], &trust(), Some(&Shelf)).is_err(), "{read}: cut at {end}");
        }
        assert_eq!(
            verify_file(&[&file[..], &[0]].concat(), &trust(), None).unwrap_err().code(),
            "trailing_bytes"
        );
    }
}

#[test]
fn what_is_wrong_is_named() {
    type Change = fn(&mut ReadProof);
    let other: Blob = proof(&head([(LEFT, 2)]), "item", &[2, 2]).sub_trees[0].tree.clone();
    let swapped = move |proof: &mut ReadProof| proof.sub_trees[0].tree = other.clone();
    let changes: [(&str, Change); 9] = [
        ("a value", |proof| proof.sub_trees[0].records[0].value.0[0] ^= 1),
        ("a key", |proof| proof.sub_trees[0].records[0].key.0[1] ^= 1),
        ("a record twice", |proof| {
            let again = proof.sub_trees[0].records[0].clone();
            proof.sub_trees[0].records.push(again);
        }),
        ("records turned round", |proof| proof.sub_trees[0].records.reverse()),
        ("a record left out", |proof| drop(proof.sub_trees[0].records.pop())),
        ("a sub-tree left out", |proof| drop(proof.sub_trees.remove(0))),
        ("a sub-tree twice", |proof| {
            let again = proof.sub_trees[0].clone();
            proof.sub_trees.push(again);
        }),
        ("a sub-tree that is not there", |proof| proof.sub_trees[0].sub_tree = 9),
        ("a sub-tree for another", |proof| proof.sub_trees[0].sub_tree = 3),
    ];
    let refused = |change: &dyn Fn(&mut ReadProof)| {
        let mut proof = proof(&sample(), "list", &[2, 2, 301, 10]);
        change(&mut proof);
        verify_read(&proof, None, &trust(), Some(&Shelf)).unwrap_err()
    };
    let mut named: Vec<_> = changes.iter().map(|(what, change)| (*what, refused(change))).collect();
    named.push(("another state's tree", refused(&swapped)));
    named.push(("a tree cut short", refused(&|proof| proof.sub_trees[0].tree.0.truncate(9))));
    let shown: Vec<String> =
        named.iter().map(|(what, error)| format!("{what}: {}: {error}", error.code())).collect();
    insta::assert_snapshot!(shown.join("\n"));
}
