//! Nothing is verified without trust, and nothing beyond it.

use chaoschain_events::signature::SecretKey;
use chaoschain_query::prove;
use chaoschain_query::verify::{Trust, verify_read};
use chaoschain_schemas::{ChainId, Hash};
use chaoschain_state::domain::Domain;

use crate::council::{WEIGHTS, council};
use crate::shelf::*;

#[test]
fn refusals_name_what_is_not_trusted() {
    let head = head([(LEFT, 1)]);
    let (_, proof) = prove::read_with_proof(&head, &Shelf, "item", &arguments(&[2, 1])).unwrap();
    let stranger = SecretKey::from_seed(&[8; 32]).public();
    let mut lying = head.header.clone();
    lying.state_root = Hash::new([1; 32]);
    let lying = sign(lying, head.state.clone()).signed;
    let mut unsigned = proof.header.clone();
    let last = unsigned.header.len() - 1;
    unsigned.header.0[last] ^= 1;
    let mut newer = head.header.clone();
    newer.rules = Shelf::RULES + 1;
    let newer = sign(newer, head.state.clone()).signed;

    let all = trust();
    let none = Trust { producers: Vec::new(), ..trust() };
    let other_chain = Trust { chain: ChainId::new([8; 32]), ..trust() };
    let other_producer = Trust { producers: vec![stranger], ..trust() };
    let both = Trust { producers: vec![stranger, producer().public()], ..trust() };
    assert!(verify_read(&proof, None, &both, Some(&Shelf)).is_ok());
    let refused = [
        (&none, &proof.header),
        (&other_chain, &proof.header),
        (&other_producer, &proof.header),
        (&all, &lying),
        (&all, &unsigned),
        (&all, &newer),
    ]
    .map(|(trust, header)| {
        let proof = chaoschain_schemas::ReadProof { header: header.clone(), ..proof.clone() };
        let error = verify_read(&proof, None, trust, Some(&Shelf)).unwrap_err();
        format!("{}: {error}", error.code())
    });
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn a_proof_of_another_domain_is_not_decoded() {
    let head = head([(LEFT, 1)]);
    let (_, proof) = prove::read_with_proof(&head, &Shelf, "item", &arguments(&[2, 1])).unwrap();
    let refused = verify_read(&proof, None, &trust(), Some(&chaoschain_society::Society)).unwrap_err();
    assert_eq!(refused.code(), "domain_wrong");
}

#[test]
fn a_trust_file_is_plain_json() {
    let text = serde_json::to_string(&trust()).unwrap();
    assert_eq!(serde_json::from_str::<Trust>(&text).unwrap(), trust());
    insta::assert_snapshot!(text);
    let misspelled = text.replace("producers", "producer");
    assert!(serde_json::from_str::<Trust>(&misspelled).is_err());
    let whole = Trust { domain: Some("shelf".into()), header: Some(Hash::new([7; 32])), ..council(WEIGHTS) };
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Trust>(&text).unwrap(), whole);
    insta::assert_snapshot!("a_whole_trust_file", text);
    assert!(serde_json::from_str::<Trust>(&text.replace("weight", "wait")).is_err());
}

#[test]
fn validators_have_to_make_sense_together() {
    let head = head([(LEFT, 1)]);
    let (_, proof) = prove::read_with_proof(&head, &Shelf, "item", &arguments(&[2, 1])).unwrap();
    let refused = |trust: Trust| {
        let trust = Trust { producers: crate::shelf::trust().producers, ..trust };
        let error = verify_read(&proof, None, &trust, Some(&Shelf)).unwrap_err();
        format!("{}: {error}", error.code())
    };
    let mut twice = council(WEIGHTS);
    twice.validators[3].account = twice.validators[1].account;
    let mut many = council(WEIGHTS);
    many.validators = vec![many.validators[0]; 257];
    let refused = [twice, council([u64::MAX, 0, 0, 1]), many].map(refused);
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn the_program_has_to_be_of_the_trusted_domain() {
    let head = head([(LEFT, 1)]);
    let (_, proof) = prove::read_with_proof(&head, &Shelf, "item", &arguments(&[2, 1])).unwrap();
    let named = |domain: &str| Trust { domain: Some(domain.into()), ..trust() };
    assert!(verify_read(&proof, None, &named("shelf"), Some(&Shelf)).is_ok());
    let refused = verify_read(&proof, None, &named("society"), Some(&Shelf)).unwrap_err();
    assert_eq!(refused.code(), "domain_wrong");
    // Without a program nothing is decoded, so no domain is wrong.
    assert!(verify_read(&proof, None, &named("society"), None).is_ok());
}
