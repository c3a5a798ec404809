//! Freezes every record and payload of the society: `golden/society.json` holds each as JSON and as bytes.
//!
//! A change here is a change of format. When one is meant, write the file anew with `CHAOSCHAIN_GOLDEN=write` and read
//! the difference.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use chaoschain_schemas::society::*;
use chaoschain_schemas::{
    AgentId, AllianceId, EventAddress, Fixed, Hash, Height, MemeId, Micros, NameHash, Timestamp, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

struct Vectors(Vec<Json>);

impl Vectors {
    /// Adds a value, after checking that both its forms are read back as the same value.
    fn add<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(&mut self, name: &str, value: &T) {
        let bytes = codec::encode(value);
        assert_eq!(&codec::decode::<T>(&bytes, bytes.len()).unwrap(), value, "{name}");
        let shown = serde_json::to_value(value).unwrap();
        assert_eq!(&serde_json::from_value::<T>(shown.clone()).unwrap(), value, "{name}");
        self.0.push(json!({ "name": name, "json": shown, "hex": hex::encode(bytes) }));
    }

    fn payload<P: Payload + PartialEq + std::fmt::Debug>(&mut self, payload: &P) {
        let bytes = codec::encode(payload);
        assert_eq!(&P::decode(&bytes).unwrap(), payload, "{}", P::NAME);
        self.add(&format!("payload {} {}", P::KIND, P::NAME), payload);
    }
}

fn agent(byte: u8) -> AgentId {
    AgentId::new([byte; 32])
}

fn fixed(text: &str) -> Fixed {
    text.parse().unwrap()
}

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn payloads(vectors: &mut Vectors) {
    vectors.payload(&AgentRegistration { personality: Personality::Chaotic });
    let status = AgentStatus::Maintenance;
    vectors.payload(&StatusUpdate {
        status,
        reason: "new memory".into(),
        expected: Some(Micros::from_secs(3600)),
    });
    vectors.payload(&StatusUpdate { status: AgentStatus::Inactive, reason: "tired".into(), expected: None });
    vectors.payload(&ReputationUpdate { subject: agent(2), rating: fixed("0.8") });
    vectors.payload(&ReputationUpdate { subject: agent(2), rating: fixed("-1") });
    vectors.payload(&AllianceFormation {
        members: vec![agent(1), agent(2)],
        purpose: AlliancePurpose::of(PurposeKind::MemePromotion),
        terms: AllianceTerms { duration: Micros::from_secs(86_400), benefits: vec![], conditions: vec![] },
        exclusive: false,
    });
    vectors.payload(&AllianceFormation {
        members: vec![agent(3), agent(1), agent(2)],
        purpose: AlliancePurpose { kind: PurposeKind::Other, text: Some("tea".into()) },
        terms: terms(),
        exclusive: true,
    });
    vectors.payload(&SocialInteraction {
        kind: InteractionKind::DramaticNemesis,
        targets: vec![agent(2), agent(3)],
        content: Some(Hash::new([0xcc; 32])),
        sentiment: fixed("-0.5"),
        drama: 4,
    });
    vectors.payload(&SocialInteraction {
        kind: InteractionKind::Friend,
        targets: vec![agent(2)],
        content: None,
        sentiment: Fixed::ONE,
        drama: 0,
    });
    vectors.payload(&MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(b"hello chaos"),
        inline: Some(b"hello chaos".as_slice().into()),
        metadata: "a greeting".into(),
        references: vec![MemeId::new([0xee; 32])],
        tags: vec!["classic".into()],
        targets: vec![agent(2)],
    });
    vectors.payload(&MemeInfluence {
        meme: MemeId::new([0xee; 32]),
        impact: fixed("0.4"),
        sentiment: fixed("-0.5"),
        affected: vec![agent(2)],
    });
    let (namespace, key) = ("profile".to_owned(), "motto".to_owned());
    let value = b"chaos".as_slice().into();
    vectors.payload(&CustomSet { namespace: namespace.clone(), key: key.clone(), value });
    vectors.payload(&CustomDelete { namespace, key });
}

fn terms() -> AllianceTerms {
    AllianceTerms {
        duration: Micros::from_secs(86_400),
        benefits: vec![Benefit::DramaBoost, Benefit::VotingPower],
        conditions: vec!["share every template".into()],
    }
}

fn records(vectors: &mut Vectors) {
    vectors.add("record AgentCount", &AgentCount { agents: 5881 });
    let fresh = Agent {
        personality: Personality::Neutral,
        reputation: Fixed::HALF,
        influence: Fixed::HALF,
        status: AgentStatus::Active,
        status_reason: String::new(),
        status_since: NOW,
        status_expected: None,
        alliances: vec![],
        registered_at: NOW,
        ordinal: 0,
    };
    vectors.add("record Agent", &fresh);
    let busy = Agent {
        reputation: fixed("0.523751"),
        status: AgentStatus::Maintenance,
        status_reason: "new memory".into(),
        status_expected: Some(Micros::from_secs(3600)),
        alliances: vec![
            Membership { id: AllianceId::new([0xaa; 32]), expires_at: NOW, exclusive_for: None },
            Membership {
                id: AllianceId::new([0xab; 32]),
                expires_at: NOW,
                exclusive_for: Some(AlliancePurpose::of(PurposeKind::Defence).hash()),
            },
        ],
        ordinal: 70_000,
        ..fresh
    };
    vectors.add("record Agent", &busy);
    let entry = Entry { namespace: "profile".into(), key: "motto".into(), value: b"chaos".as_slice().into() };
    vectors.add("record Entry", &entry);
    let alliance = Alliance {
        members: vec![agent(1), agent(2), agent(3)],
        purpose: AlliancePurpose { kind: PurposeKind::Other, text: Some("tea".into()) },
        terms: terms(),
        exclusive: true,
        state: AllianceState::Active,
        formed_at: NOW,
        expires_at: NOW.saturating_add(terms().duration),
    };
    vectors.add("record Alliance", &alliance);
    let address = |height, index| EventAddress { height: Height(height), index };
    let relationship = Relationship {
        trust: fixed("0.58"),
        last_updated: NOW,
        counts: RelationshipCounts { ratings: 1, memes: 300, ..Default::default() },
        events: vec![address(3, 0), address(70_000, 511)],
    };
    vectors.add("record Relationship", &relationship);
    vectors.add("record InfluenceScore", &InfluenceScore { value: fixed("0.4"), updated_at: NOW, count: 2 });
    let meme = Meme {
        creator: agent(1),
        created_at: NOW,
        content_type: MemeType::Gif,
        content: MemeContent::of(b"hello chaos"),
        metadata: "a greeting".into(),
        references: vec![MemeId::new([0xee; 32])],
        tags: vec!["classic".into(), "loud".into()],
        targets: vec![agent(2)],
    };
    vectors.add("record Meme", &meme);
    vectors.add("record InfluenceTurn", &InfluenceTurn { hour: 472_222 });
    vectors.add("parameters", &Parameters::default());
}

fn enumerations(vectors: &mut Vectors) {
    macro_rules! all {
        ($($name:ident),+) => {$(
            for value in $name::ALL {
                vectors.add(concat!("enum ", stringify!($name)), value);
            }
        )+};
    }
    all!(Personality, AgentStatus, PurposeKind, AllianceState, Benefit, InteractionKind, MemeType);
}

#[test]
fn the_society_is_written_as_it_always_was() {
    let mut vectors = Vectors(Vec::new());
    payloads(&mut vectors);
    records(&mut vectors);
    enumerations(&mut vectors);
    // One vector a line, so that a difference names what it is about.
    let lines: Vec<_> = vectors.0.iter().map(Json::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/society.json");
    if std::env::var_os("CHAOSCHAIN_GOLDEN").is_some_and(|what| what == "write") {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    for (line, (got, want)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, want, "golden/society.json, line {}", line + 1);
    }
    assert_eq!(text, golden, "vectors were added or left out");
}

#[test]
fn purposes_are_told_apart_by_hash() {
    let tea = AlliancePurpose { kind: PurposeKind::Other, text: Some("tea".into()) };
    // Frozen: the hash of the purpose's bytes is part of Agent records.
    assert_eq!(AlliancePurpose::of(PurposeKind::Defence).hash(), NameHash::of(&[0x92, 0x03, 0xc0]));
    assert_eq!(tea.hash(), NameHash::of(b"\x92\x05\xa3tea"));
}
