//! The proof of a conflict lets anybody count its votes again: offline, from one record.

use chaoschain_projector::Head;
use chaoschain_query::prove;
use chaoschain_query::verify::{Level, Verified, verify_file};
use chaoschain_schemas::society::{
    Conflict, ConflictKind, ConflictOption, ConflictOutcome, ConflictSubject, DecidedBy, Elector, Strategy,
};
use chaoschain_schemas::{AgentId, Fixed, Height, ProofFile, Timestamp, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::Machine;
use chaoschain_state::{Change, Forest};
use serde_json::{Value as Json, json};

use crate::shelf::{producer, sign, trust};

/// Three electors; two are for option 1, and that was decided at the deadline.
fn decided() -> Conflict {
    let elector = |agent, weight, option| Elector {
        agent: AgentId::new([agent; 32]),
        weight,
        opinion: Some(option),
        voided: false,
    };
    Conflict {
        kind: ConflictKind::InconsistentAgentState,
        subject: ConflictSubject::default(),
        options: vec![ConflictOption::default(); 2],
        strategy: Strategy::Personality,
        reporter: AgentId::default(),
        reason: "look".into(),
        opened_height: Height(2),
        opened_at: Timestamp(100),
        deadline: Timestamp(900),
        threshold: Fixed::from_millionths(666_667),
        participation_min: Fixed::from_millionths(333_333),
        electors: vec![elector(1, 1_250_000, 0), elector(2, 1_000_000, 1), elector(3, 750_000, 1)],
        outcome: Some(ConflictOutcome {
            option: Some(1),
            by: DecidedBy::Deadline,
            at: Timestamp(950),
            height: Height(5),
            weights: vec![1_250_000, 1_750_000],
            total: 3_000_000,
            competing: vec![0, 1],
        }),
    }
}

/// The head of a society that holds this conflict.
fn head(conflict: &Conflict) -> Head {
    let after = Some(codec::encode(conflict).into());
    let changes = [Change { key: keys::conflict(&conflict.id()), before: None, after }];
    let state = Forest::new(Society.sub_trees().len()).apply(&changes, None).unwrap();
    let mut header = crate::shelf::head([]).header;
    assert_eq!(header.producer, AgentId::from_first_key(&producer().public()));
    header.state_root = state.root();
    header.sub_roots = state.sub_roots().to_vec();
    sign(header, state)
}

/// What the proof file of the read `conflict` verifies to.
fn verified(conflict: &Conflict) -> Json {
    let head = head(conflict);
    let asked = [conflict.id().to_string()];
    let (answer, proof) = prove::read_with_proof(&head, &Society, "conflict", &asked).unwrap();
    let file = codec::encode(&ProofFile::of_read(proof));
    let Verified::Read(read) = verify_file(&file, &trust(), Some(&Society)).unwrap() else {
        panic!("it is the proof of a read");
    };
    assert_eq!((read.level, read.records.len()), (Level::DecodedBySchema, 1));
    assert_eq!(read.value.as_ref(), Some(&answer));
    answer
}

#[test]
fn an_honest_tally_is_counted_again() {
    let shown = verified(&decided());
    assert_eq!(shown["tally"]["weights"], json!([1_250_000, 1_750_000]));
    assert_eq!(shown["tally"]["agrees"], true);
}

/// A producer that breaks the rules can sign such a state; the proof holds, and says that the count is another.
#[test]
fn a_proven_outcome_that_its_votes_do_not_give_is_told() {
    let mut conflict = decided();
    conflict.outcome.as_mut().unwrap().option = Some(0);
    assert_eq!(verified(&conflict)["tally"]["agrees"], false);
    let mut conflict = decided();
    conflict.electors[0].weight = 2_000_000;
    assert_eq!(verified(&conflict)["tally"]["agrees"], false);
}

#[test]
fn absence_is_proven_too() {
    let head = head(&decided());
    let asked = ["ab".repeat(32)];
    let (_, proof) = prove::read_with_proof(&head, &Society, "conflict", &asked).unwrap();
    let file = codec::encode(&ProofFile::of_read(proof));
    let Verified::Read(read) = verify_file(&file, &trust(), Some(&Society)).unwrap() else {
        panic!("it is the proof of a read");
    };
    assert_eq!(read.value, Some(Json::Null));
}
