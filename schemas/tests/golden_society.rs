//! Freezes every record and payload of the society: `golden/society.json` holds each as JSON and as bytes.
//!
//! A change here is a change of format. When one is meant, write the file anew with `CHAOSCHAIN_GOLDEN=write` and read
//! the difference.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use chaoschain_schemas::society::*;
use chaoschain_schemas::{
    AgentId, AllianceId, ConflictId, EventAddress, Fixed, Hash, Height, MemeId, Micros, NameHash, Timestamp,
    codec,
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

fn alliance_id(byte: u8) -> AllianceId {
    AllianceId::new([byte; 32])
}

fn acts(vectors: &mut Vectors) {
    let reason = || "new friends".to_owned();
    vectors.payload(&PersonalityShift { personality: Personality::Lawful, reason: reason(), drama: 3 });
    vectors.payload(&PersonalityShift {
        personality: Personality::Greedy,
        reason: "why not".into(),
        drama: 0,
    });
    vectors.payload(&AllianceDeparture { alliance: alliance_id(0xaa), reason: reason(), drama: 10 });
    vectors.payload(&AllianceDeparture { alliance: alliance_id(0xaa), reason: String::new(), drama: 0 });
    let description = "sold the template".to_owned();
    vectors.payload(&AllianceBetrayal { alliance: alliance_id(0xaa), description, drama: 8 });
    let description = "x".repeat(256);
    vectors.payload(&AllianceBetrayal { alliance: alliance_id(0xab), description, drama: 0 });
    let members = vec![agent(1), agent(2)];
    vectors.payload(&AllianceReconciliation { alliance: alliance_id(0xaa), members });
    let members = vec![agent(3), agent(1), agent(2)];
    vectors.payload(&AllianceReconciliation { alliance: alliance_id(0xab), members });
    let text = "hid every template".to_owned();
    vectors.payload(&DramaRecord { kind: DramaKind::Chaos, text, level: 7 });
    vectors.payload(&DramaRecord { kind: DramaKind::Drama, text: "wept".into(), level: 0 });
    let meme = MemeId::new([0xee; 32]);
    for score in ["0.9", "0", "1", "0.300001"] {
        vectors.payload(&MemeReaction { meme, score: fixed(score) });
    }
}

fn claims() -> [Claim; 3] {
    [
        Claim { personality: Some(Personality::Chaotic), ..Claim::default() },
        Claim { status: Some(AgentStatus::Inactive), ..Claim::default() },
        Claim { reputation: Some(fixed("0.25")), ..Claim::default() },
    ]
}

fn divergence() -> Divergence {
    Divergence { height: Height(70_000), header_hash: Hash::new([0xcc; 32]), computed: Hash::new([0xdd; 32]) }
}

fn conflict_payloads(vectors: &mut Vectors) {
    let report = |fact, divergence, strategy| ConflictReport {
        fact,
        divergence,
        strategy,
        reason: "gone for weeks".into(),
    };
    for claim in claims() {
        let fact = FactReport { agent: agent(2), claims: vec![claim] };
        vectors.payload(&report(Some(fact), None, None));
    }
    let several = [Personality::Lawful, Personality::Neutral]
        .map(|personality| Claim { personality: Some(personality), ..Claim::default() });
    let fact = FactReport { agent: agent(2), claims: several.to_vec() };
    vectors.payload(&report(Some(fact), None, Some(Strategy::SocialInfluence)));
    vectors.payload(&report(None, Some(divergence()), None));
    let conflict = ConflictId::new([0xcf; 32]);
    vectors.payload(&OpinionCast { conflict, option: 0 });
    vectors.payload(&OpinionCast { conflict, option: 7 });
    vectors.payload(&ConflictResolution { conflict });
}

fn terms() -> AllianceTerms {
    AllianceTerms {
        duration: Micros::from_secs(86_400),
        benefits: vec![Benefit::DramaBoost, Benefit::VotingPower],
        conditions: vec!["share every template".into()],
    }
}

fn agents_and_entries(vectors: &mut Vectors) {
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
        betrayed_at: None,
    };
    vectors.add("record Agent", &fresh);
    let busy = Agent {
        reputation: fixed("0.523751"),
        status: AgentStatus::Maintenance,
        status_reason: "new memory".into(),
        status_expected: Some(Micros::from_secs(3600)),
        alliances: vec![
            Membership {
                id: alliance_id(0xaa),
                expires_at: NOW,
                exclusive_for: None,
                benefits: vec![],
                strength: fixed("0.125"),
                contested: false,
            },
            Membership {
                id: alliance_id(0xab),
                expires_at: NOW,
                exclusive_for: Some(AlliancePurpose::of(PurposeKind::Defence).hash()),
                benefits: vec![Benefit::StakeBoost, Benefit::MemeInfluence],
                strength: fixed("0.1377"),
                contested: true,
            },
        ],
        ordinal: 70_000,
        ..fresh.clone()
    };
    vectors.add("record Agent", &busy);
    vectors.add("record Agent", &Agent { betrayed_at: Some(NOW), ..fresh });
    vectors.add("record AgentOrdinal", &AgentOrdinal { agent: agent(1) });
    let history = PersonalityHistory {
        count: 2,
        old: Personality::Neutral,
        new: Personality::Lawful,
        reason: "grew up".into(),
        drama: 3,
        changed_at: NOW,
    };
    vectors.add("record PersonalityHistory", &history);
    let entry = Entry { namespace: "profile".into(), key: "motto".into(), value: b"chaos".as_slice().into() };
    vectors.add("record Entry", &entry);
}

fn alliances(vectors: &mut Vectors) {
    let alliance = Alliance {
        members: vec![agent(1), agent(2), agent(3)],
        purpose: AlliancePurpose { kind: PurposeKind::Other, text: Some("tea".into()) },
        terms: terms(),
        exclusive: true,
        state: AllianceState::Active,
        formed_at: NOW,
        expires_at: NOW.saturating_add(terms().duration),
        strength: fixed("0.1377"),
        conflict: None,
        end: None,
    };
    vectors.add("record Alliance", &alliance);
    let contested = Alliance {
        state: AllianceState::Contested,
        conflict: Some(ConflictId::new([0xcf; 32])),
        ..alliance.clone()
    };
    vectors.add("record Alliance", &contested);
    for (cause, by) in [
        (AllianceEndCause::Departure, Some(agent(2))),
        (AllianceEndCause::Betrayal, Some(agent(1))),
        (AllianceEndCause::Conflict, None),
    ] {
        let end = Some(AllianceEnd { at: NOW, cause, by });
        let over = Alliance { state: AllianceState::Dissolved, end, ..alliance.clone() };
        vectors.add("record Alliance", &over);
    }
}

fn social_and_memes(vectors: &mut Vectors) {
    let address = |height, index| EventAddress { height: Height(height), index };
    let relationship = Relationship {
        trust: fixed("0.58"),
        last_updated: NOW,
        counts: RelationshipCounts {
            ratings: 1,
            memes: 300,
            betrayals: 2,
            reconciliations: 1,
            ..Default::default()
        },
        events: vec![address(3, 0), address(70_000, 511)],
    };
    vectors.add("record Relationship", &relationship);
    let score = InfluenceScore { value: fixed("0.4"), updated_at: NOW, count: 2, ..Default::default() };
    vectors.add("record InfluenceScore", &score);
    let reactions = ReactionCounts { love: 3, like: 2, neutral: 1, dislike: 300 };
    let score = InfluenceScore { reactions, score_sum: fixed("62.5"), ..score };
    vectors.add("record InfluenceScore", &score);
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
    vectors.add("record Reaction", &Reaction { score: fixed("0.9"), at: NOW });
    vectors.add("record Reaction", &Reaction { score: Fixed::ZERO, at: NOW });
    vectors.add("record Due", &Due { work: 2 });
    vectors.add("record Due", &Due { work: 128 });
    let drama = DramaEvent {
        kind: DramaKind::Chaos,
        agent: agent(1),
        text: "hid every template".into(),
        level: 7,
        at: NOW,
        alliance: None,
    };
    vectors.add("record DramaEvent", &drama);
    let breakup = DramaEvent {
        kind: DramaKind::Betrayal,
        text: "sold the template".into(),
        alliance: Some(alliance_id(0xaa)),
        ..drama
    };
    vectors.add("record DramaEvent", &breakup);
    vectors.add("parameters", &Parameters::default());
    let other = Parameters {
        ratings_per_subject_max: 3,
        elector_age_min: Micros(0),
        conflict_strategy: Strategy::Personality,
        ..Parameters::default()
    };
    vectors.add("parameters", &other);
}

fn conflicts(vectors: &mut Vectors) {
    let elector = |byte, weight, opinion, voided| Elector { agent: agent(byte), weight, opinion, voided };
    let electors = vec![
        elector(3, 1_000_000, Some(1), false),
        elector(4, 1_250_000, None, false),
        elector(5, 750_000, None, true),
    ];
    let alliances = Conflict {
        kind: ConflictKind::ConflictingAlliances,
        subject: ConflictSubject::default(),
        options: [0xaa, 0xab]
            .map(|byte| ConflictOption { alliance: Some(alliance_id(byte)), claim: None })
            .to_vec(),
        strategy: Strategy::Personality,
        reporter: agent(1),
        reason: String::new(),
        opened_height: Height(7),
        opened_at: NOW,
        deadline: NOW.saturating_add(Micros::from_secs(86_400)),
        threshold: fixed("0.666667"),
        participation_min: fixed("0.333333"),
        electors,
        outcome: None,
    };
    vectors.add("record Conflict", &alliances);
    // What an outcome says follows from the opinions: at its deadline the heaviest wins, since a third has spoken.
    let outcome = ConflictOutcome {
        option: Some(1),
        by: DecidedBy::Deadline,
        at: alliances.deadline,
        height: Height(9),
        weights: vec![0, 1_000_000],
        total: 3_000_000,
        competing: vec![0, 1],
    };
    vectors.add("record Conflict", &Conflict { outcome: Some(outcome.clone()), ..alliances.clone() });
    // Both alliances were over by then: what was said is counted, and nobody wins.
    let lapsed = ConflictOutcome { option: None, by: DecidedBy::Lapse, competing: Vec::new(), ..outcome };
    vectors.add("record Conflict", &Conflict { outcome: Some(lapsed), ..alliances.clone() });
    for claim in claims() {
        let fact = ContestedFact { agent: agent(2), field: claim.field().unwrap() };
        let fact = Conflict {
            kind: ConflictKind::InconsistentAgentState,
            subject: ConflictSubject { fact: Some(fact), divergence: None },
            options: vec![ConflictOption::default(), ConflictOption { alliance: None, claim: Some(claim) }],
            strategy: Strategy::Majority,
            reason: "gone for weeks".into(),
            ..alliances.clone()
        };
        vectors.add("record Conflict", &fact);
    }
    let evidence = Conflict {
        kind: ConflictKind::DivergentTransitions,
        subject: ConflictSubject { fact: None, divergence: Some(divergence()) },
        options: vec![],
        electors: vec![],
        ..alliances.clone()
    };
    vectors.add("record Conflict", &evidence);
    vectors.add("record OpenConflict", &OpenConflict { conflict: alliances.id() });
    let counts = ConflictCounts { opened: 300, open: 2, newest_height: Height(70_000), newest_opened: 1 };
    vectors.add("record ConflictCounts", &counts);
    vectors.add("record ConflictCounts", &ConflictCounts::default());
}

fn enumerations(vectors: &mut Vectors) {
    macro_rules! all {
        ($($name:ident),+) => {$(
            for value in $name::ALL {
                vectors.add(concat!("enum ", stringify!($name)), value);
            }
        )+};
    }
    all!(
        Personality,
        AgentStatus,
        PurposeKind,
        AllianceState,
        Benefit,
        AllianceEndCause,
        InteractionKind,
        DramaKind,
        DueKind,
        MemeType,
        ReactionKind,
        ConflictKind,
        Strategy,
        ContestedField,
        DecidedBy
    );
}

#[test]
fn the_society_is_written_as_it_always_was() {
    let mut vectors = Vectors(Vec::new());
    payloads(&mut vectors);
    acts(&mut vectors);
    conflict_payloads(&mut vectors);
    agents_and_entries(&mut vectors);
    alliances(&mut vectors);
    social_and_memes(&mut vectors);
    conflicts(&mut vectors);
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

/// An agent's record of version 1 ends before `betrayed_at`, and there is no other way to say that there is none.
#[test]
fn an_absent_last_field_is_not_written() {
    let agent = Agent {
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
        betrayed_at: None,
    };
    let mut bytes = codec::encode(&agent);
    assert_eq!(bytes[0], 0x9a);
    bytes[0] = 0x9b;
    bytes.push(0xc0);
    assert_eq!(codec::decode::<Agent>(&bytes, 100).unwrap_err().code(), "not_canonical");
    let betrayed = Agent { betrayed_at: Some(NOW), ..agent };
    assert_eq!(codec::encode(&betrayed)[0], 0x9b);
}

/// Frozen: a conflict's id is the keyed hash of kind, subject, options and opening height.
#[test]
fn conflicts_are_named_by_what_they_are_about() {
    let mut vectors = Vectors(Vec::new());
    conflicts(&mut vectors);
    let named: Vec<_> = vectors.0.iter().filter(|vector| vector["name"] == "record Conflict").collect();
    let ids: Vec<_> = named
        .iter()
        .map(|vector| serde_json::from_value::<Conflict>(vector["json"].clone()).unwrap().id())
        .collect();
    assert_eq!(ids[0], ids[1], "what it came to is no part of it");
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len() - 2);
}
