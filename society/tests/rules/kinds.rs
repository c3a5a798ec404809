//! What the society says of its kinds.

use chaoschain_schemas::society::{
    AgentRegistration, AgentStatus, AllianceBetrayal, AllianceDeparture, AllianceFormation, AlliancePurpose,
    AllianceReconciliation, AllianceTerms, Benefit, Claim, ConflictReport, ConflictResolution, CustomDelete,
    CustomSet, DramaKind, DramaRecord, FactReport, InteractionKind, MemeContent, MemeInfluence,
    MemePublication, MemeReaction, MemeType, OpinionCast, Personality, PersonalityShift, PurposeKind,
    ReputationUpdate, SocialInteraction, StatusUpdate, Strategy,
};
use chaoschain_schemas::{AccountId, AllianceId, ConflictId, Fixed, Hash, MemeId, Micros};
use chaoschain_society::{Society, Transition};
use chaoschain_state::domain::Machine;
use serde_json::Value as Json;

/// The largest payload of each kind that its limits allow.
fn largest() -> Vec<Transition> {
    let id = AccountId::new([0xff; 32]);
    let meme = MemeId::new([0xff; 32]);
    let alliance = AllianceId::new([0xff; 32]);
    let lowest = Fixed::from_millionths(-i64::MAX);
    vec![
        AgentRegistration { personality: Personality::Strategic }.into(),
        StatusUpdate {
            status: AgentStatus::Maintenance,
            reason: "x".repeat(256),
            expected: Some(Micros(u64::MAX)),
        }
        .into(),
        ReputationUpdate { subject: id, rating: lowest }.into(),
        PersonalityShift { personality: Personality::Strategic, reason: "x".repeat(256), drama: u8::MAX }
            .into(),
        AllianceFormation {
            members: vec![id; 64],
            purpose: AlliancePurpose { kind: PurposeKind::Other, text: Some("x".repeat(64)) },
            terms: AllianceTerms {
                duration: Micros(u64::MAX),
                benefits: vec![Benefit::MemeInfluence; 4],
                conditions: vec!["x".repeat(256); 8],
            },
            exclusive: true,
        }
        .into(),
        AllianceDeparture { alliance, reason: "x".repeat(256), drama: u8::MAX }.into(),
        AllianceBetrayal { alliance, description: "x".repeat(256), drama: u8::MAX }.into(),
        AllianceReconciliation { alliance, members: vec![id; 64] }.into(),
        SocialInteraction {
            kind: InteractionKind::NeutralObserver,
            targets: vec![id; 32],
            content: Some(Hash::ZERO),
            sentiment: lowest,
            drama: u8::MAX,
        }
        .into(),
        DramaRecord { kind: DramaKind::Chaos, text: "x".repeat(256), level: u8::MAX }.into(),
        MemePublication {
            content_type: MemeType::Interactive,
            content: MemeContent { hash: Hash::ZERO, size: u64::MAX },
            inline: Some(vec![0; 64 * 1024].into()),
            metadata: "x".repeat(512),
            references: vec![meme; 16],
            tags: vec!["x".repeat(32); 16],
            targets: vec![id; 32],
        }
        .into(),
        MemeInfluence { meme, impact: lowest, sentiment: lowest, affected: vec![id; 32] }.into(),
        MemeReaction { meme, score: lowest }.into(),
        CustomSet { namespace: "x".repeat(32), key: "x".repeat(64), value: vec![0; 4096].into() }.into(),
        CustomDelete { namespace: "x".repeat(32), key: "x".repeat(64) }.into(),
        ConflictReport {
            fact: Some(FactReport {
                agent: id,
                claims: vec![Claim { reputation: Some(lowest), ..Claim::default() }; 7],
            }),
            divergence: None,
            strategy: Some(Strategy::SocialInfluence),
            reason: "x".repeat(256),
        }
        .into(),
        OpinionCast { conflict: ConflictId::new([0xff; 32]), option: u8::MAX }.into(),
        ConflictResolution { conflict: ConflictId::new([0xff; 32]) }.into(),
    ]
}

#[test]
fn the_largest_payload_of_each_kind_fits_and_shows_as_json() {
    let kinds = Society.kinds();
    let largest = largest();
    assert_eq!(
        largest.iter().map(Transition::kind).collect::<Vec<_>>(),
        kinds.iter().map(|spec| spec.kind).collect::<Vec<_>>()
    );
    for (transition, spec) in largest.iter().zip(kinds) {
        let bytes = transition.encode();
        assert!(bytes.len() <= spec.bytes_max, "{}: {} bytes", spec.name, bytes.len());
        assert_eq!(Transition::decode(spec.kind, &bytes).as_ref(), Ok(transition));
        let json = Society.transition_to_json(spec.kind, &bytes).unwrap();
        assert_eq!(Society.transition_from_json(spec.kind, &json), Ok(bytes), "{}", spec.name);
    }
}

#[test]
fn kinds_ascend_from_256() {
    let kinds: Vec<_> = Society.kinds().iter().map(|spec| spec.kind).collect();
    let want = [256, 257, 258, 259, 272, 273, 274, 275, 288, 289, 304, 305, 306, 320, 321, 336, 337, 338];
    assert_eq!(kinds, want);
    assert!(Transition::decode(260, &[0x90]).is_err());
    let registering: Vec<_> =
        Society.kinds().iter().filter(|spec| spec.registers).map(|spec| spec.name).collect();
    assert_eq!(registering, ["AgentRegistration"]);
}

#[test]
fn examples_are_what_they_are_examples_of() {
    for spec in Society.kinds() {
        let text = spec.example.replace("<64 hex digits>", &"ab".repeat(32));
        let json: Json = serde_json::from_str(&text).unwrap();
        let bytes = Society
            .transition_from_json(spec.kind, &json)
            .unwrap_or_else(|error| panic!("{}: {error}", spec.name));
        assert!(Society.transition_to_json(spec.kind, &bytes).is_ok());
    }
}

#[test]
fn json_that_is_refused() {
    let from = |kind, text: &str| {
        Society.transition_from_json(kind, &serde_json::from_str(text).unwrap()).unwrap_err()
    };
    assert!(from(256, r#"{"personality":"Grumpy"}"#).contains("Strategic"), "the choice is told");
    assert!(from(256, r#"{"personality":"Lawful","mood":1}"#).contains("mood"));
    assert!(from(257, r#"{"status":"Active","reason":""}"#).contains("reason has 0 bytes"));
    assert!(from(258, r#"{"subject":"12","rating":"1"}"#).contains("64 hex digits"));
    assert!(
        from(258, &format!(r#"{{"subject":"{}","rating":1}}"#, "ab".repeat(32)))
            .contains("decimal in quotes")
    );
    assert!(from(999, "{}").contains("999"));
}

#[test]
fn parameters_have_a_json_form_of_which_parts_may_be_left_out() {
    let shown = Society.parameters_to_json(&Society.default_parameters()).unwrap();
    let want = r#"{"alliance_duration_max":31536000000000,"meme_half_life":86400000000,"ratings_per_subject_max":0,"#;
    assert!(shown.to_string().starts_with(want), "{shown}");
    assert_eq!(
        shown["personality_weights"]["lawful"],
        serde_json::json!({ "facts": "1.25", "alliances": "1.25" })
    );
    let bytes = Society.parameters_from_json(&serde_json::json!({ "meme_half_life": 5 })).unwrap();
    assert_eq!(Society.check_parameters(1, &bytes), Ok(()));
    assert_eq!(Society.parameters_to_json(&bytes).unwrap()["meme_half_life"], 5);
    assert!(Society.parameters_from_json(&serde_json::json!({ "half_life": 5 })).is_err());
    for wrong in [
        serde_json::json!({ "conflict_threshold": "0.499999" }),
        serde_json::json!({ "conflict_threshold": "1.000001" }),
        serde_json::json!({ "conflict_participation_min": "-0.1" }),
        serde_json::json!({ "influence_cap": "10.000001" }),
        serde_json::json!({ "conflict_duration": 0 }),
        serde_json::json!({ "personality_weights": { "greedy": { "facts": "0.4", "alliances": "1" } } }),
        serde_json::json!({ "personality_weights": { "greedy": { "facts": "1", "alliances": "2.1" } } }),
    ] {
        assert!(Society.parameters_from_json(&wrong).is_err(), "{wrong}");
    }
}
