//! A list of drama events comes with a proof that none of them was left out.

use chaoschain_projector::Head;
use chaoschain_query::prove;
use chaoschain_query::verify::{Level, Verified, verify_file};
use chaoschain_schemas::society::{DramaEvent, DramaKind};
use chaoschain_schemas::{AgentId, EventAddress, Height, ProofFile, Timestamp, codec};
use chaoschain_society::{Society, keys};
use chaoschain_state::domain::Machine;
use chaoschain_state::{Change, Forest};
use serde_json::{Value as Json, json};

use crate::shelf::{producer, sign, trust};

const PLACES: [(u64, u32); 4] = [(3, 0), (3, 7), (70_000, 2), (70_001, 0)];

/// The head of a society with drama at these places.
fn head() -> Head {
    let changes = PLACES.map(|(height, index)| {
        let event = DramaEvent {
            kind: DramaKind::Chaos,
            agent: AgentId::new([1; 32]),
            text: "hid every template".into(),
            level: 7,
            at: Timestamp(height),
            alliance: None,
        };
        let key = keys::drama(EventAddress { height: Height(height), index });
        Change { key, before: None, after: Some(codec::encode(&event).into()) }
    });
    let state = Forest::new(Society.sub_trees().len()).apply(&changes, None).unwrap();
    let mut header = crate::shelf::head([]).header;
    assert_eq!(header.producer, AgentId::from_first_key(&producer().public()));
    header.state_root = state.root();
    header.sub_roots = state.sub_roots().to_vec();
    sign(header, state)
}

/// What the proof file of a page verifies to.
fn page(head: &Head, from: &str, limit: &str) -> Json {
    let asked = [from.to_owned(), limit.to_owned()];
    let (answer, proof) = prove::read_with_proof(head, &Society, "dramas", &asked).unwrap();
    let file = codec::encode(&ProofFile::of_read(proof));
    let Verified::Read(read) = verify_file(&file, &trust(), Some(&Society)).unwrap() else {
        panic!("it is the proof of a read");
    };
    assert_eq!((read.level, read.value.as_ref()), (Level::DecodedBySchema, Some(&answer)));
    answer
}

#[test]
fn pages_are_proven_whole() {
    let head = head();
    let places = |page: &Json| {
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| (event["height"].as_u64().unwrap(), event["index"].as_u64().unwrap() as u32))
            .collect::<Vec<_>>()
    };
    assert_eq!(places(&page(&head, "0", "256")), PLACES);
    let first = page(&head, "0", "2");
    assert_eq!((places(&first), &first["next"]), (PLACES[..2].to_vec(), &json!("3/8")));
    let second = page(&head, "3/8", "2");
    assert_eq!((places(&second), &second["next"]), (PLACES[2..].to_vec(), &json!("70001/1")));
    assert_eq!(page(&head, "70001/1", "2"), json!({ "events": [], "next": null }));
}

/// Whoever hides an event of a page has no proof of the rest.
#[test]
fn a_page_without_one_of_its_events_is_refused() {
    let head = head();
    let asked = ["0".to_owned(), "256".to_owned()];
    let (_, whole) = prove::read_with_proof(&head, &Society, "dramas", &asked).unwrap();
    for hidden in 0..PLACES.len() {
        let mut proof = whole.clone();
        let [social] = &mut proof.sub_trees[..] else { panic!("one sub-tree was read") };
        social.records.remove(hidden);
        let file = codec::encode(&ProofFile::of_read(proof));
        assert!(verify_file(&file, &trust(), Some(&Society)).is_err(), "without number {hidden}");
    }
}
