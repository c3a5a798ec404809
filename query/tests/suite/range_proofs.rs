//! Whatever is read can be proven, and the proof gives the same answer to somebody who has nothing else.

use std::collections::BTreeSet;

use chaoschain_query::limits::KEYS_MAX;
use chaoschain_query::verify::{Level, VerifyError, verify_read};
use chaoschain_query::{ReadFailure, prove};
use proptest::prelude::*;

use crate::shelf::*;

fn check(head: &chaoschain_projector::Head, read: &str, asked: &[String]) -> Result<(), TestCaseError> {
    let (answer, proof) = prove::read_with_proof(head, &Shelf, read, asked).unwrap();
    prop_assert_eq!(prove::read(head, &Shelf, read, asked), Ok(answer.clone()));
    let verified = verify_read(&proof, None, &trust(), Some(&Shelf));
    prop_assert_eq!(
        verified.map(|read| (read.value, read.level)),
        Ok((Some(answer), Level::DecodedBySchema))
    );
    let undecoded = verify_read(&proof, None, &trust(), None).unwrap();
    prop_assert_eq!((undecoded.value, undecoded.level), (None, Level::SignaturesAndProofs));
    Ok(())
}

proptest! {
    #[test]
    fn a_proof_answers_as_the_state_does(
        items in prop::collection::btree_set((LEFT..=RIGHT, 0_u16..40), 0..40),
        shelf in LEFT..=RIGHT,
        bounds in (0_u16..42, 0_u16..42),
        limit in 0_usize..12,
    ) {
        let head = head(items);
        let (from, to) = bounds;
        check(&head, "item", &arguments(&[u16::from(shelf), from]))?;
        check(&head, "pair", &arguments(&[from]))?;
        check(&head, "list", &arguments(&[usize::from(shelf), from.into(), to.into(), limit]))?;
        check(&head, "record", &[shelf.to_string(), format!("{from:04x}")])?;
        check(&head, "root", &[])?;
    }

    /// The proof of one read says of another either the truth or nothing.
    #[test]
    fn a_proof_never_answers_another_question_wrongly(
        items in prop::collection::btree_set((Just(LEFT), 0_u16..60), 0..40),
        asked in (0_u16..60, 0_u16..60, 0_usize..12),
        other in (0_u16..60, 0_u16..60, 0_usize..12),
    ) {
        let head = head(items);
        let list = |(from, to, limit): (u16, u16, usize)| {
            arguments(&[usize::from(LEFT), from.into(), to.into(), limit])
        };
        let (_, mut proof) = prove::read_with_proof(&head, &Shelf, "list", &list(asked)).unwrap();
        proof.arguments = list(other);
        match verify_read(&proof, None, &trust(), Some(&Shelf)) {
            Ok(read) => prop_assert_eq!(read.value, prove::read(&head, &Shelf, "list", &list(other)).ok()),
            Err(VerifyError::Read(ReadFailure::Fault(_))) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn a_record_left_out_of_a_list_is_missed() {
    let head = head((0..20).map(|key| (LEFT, key)));
    let (_, proof) = prove::read_with_proof(&head, &Shelf, "list", &arguments(&[2, 3, 9, 100])).unwrap();
    assert_eq!(proof.sub_trees[0].records.len(), 7);
    for left_out in 0..7 {
        let mut proof = proof.clone();
        proof.sub_trees[0].records.remove(left_out);
        let refused = verify_read(&proof, None, &trust(), Some(&Shelf)).unwrap_err();
        assert_eq!(refused.code(), "read_unproven", "{left_out}");
    }
}

#[test]
fn a_read_is_bounded() {
    let keys: BTreeSet<(u8, u16)> = (0..=KEYS_MAX as u16).map(|key| (LEFT, key)).collect();
    let head = head(keys);
    let all = |limit: usize| arguments(&[usize::from(LEFT), 0, usize::from(u16::MAX), limit]);
    let (answer, proof) = prove::read_with_proof(&head, &Shelf, "list", &all(KEYS_MAX)).unwrap();
    assert_eq!(verify_read(&proof, None, &trust(), Some(&Shelf)).unwrap().value, Some(answer));
    let refused = prove::read_with_proof(&head, &Shelf, "list", &all(KEYS_MAX + 1)).unwrap_err();
    assert_eq!(refused, ReadFailure::TooLarge);
    assert_eq!(prove::read(&head, &Shelf, "list", &all(KEYS_MAX + 1)), Err(ReadFailure::TooLarge));
}
