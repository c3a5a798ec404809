//! How large records may become.

use chaoschain_schemas::limits::{AGENT_ALLIANCES_MAX, CONFLICT_CLAIMS_MAX, CONFLICT_ELECTORS_MAX};
use chaoschain_schemas::society::{
    Agent, AgentCount, AgentOrdinal, AgentStatus, Alliance, AllianceEnd, AllianceEndCause, AlliancePurpose,
    AllianceState, AllianceTerms, Benefit, Claim, Conflict, ConflictCounts, ConflictKind, ConflictOption,
    ConflictOutcome, ConflictSubject, ContestedFact, ContestedField, DecidedBy, DramaEvent, DramaKind, Due,
    DueKind, Elector, Entry, InfluenceScore, InfluenceTurn, Membership, Meme, MemeContent, MemeType,
    OpenConflict, Personality, PersonalityHistory, PurposeKind, Reaction, ReactionCounts, Relationship,
    RelationshipCounts, Strategy,
};
use chaoschain_schemas::{
    AgentId, AllianceId, ConflictId, EventAddress, Fixed, Height, MemeId, Micros, NameHash, Timestamp, codec,
};
use chaoschain_society::keys;
use chaoschain_state::Key;
use serde::Serialize;

use crate::support::*;

/// The sizes that the documentation tells, with every list and text as long as it may be.
#[test]
fn the_largest_records_are_within_bounds() {
    let id = AgentId::default();
    let membership = Membership {
        id: AllianceId::default(),
        expires_at: Timestamp(u64::MAX),
        exclusive_for: Some(NameHash::default()),
        benefits: Benefit::ALL.to_vec(),
        strength: Fixed::ONE,
        contested: true,
    };
    let agent = Agent {
        personality: Personality::Strategic,
        reputation: Fixed::ONE,
        influence: Fixed::ONE,
        status: AgentStatus::Maintenance,
        status_reason: "x".repeat(256),
        status_since: Timestamp(u64::MAX),
        status_expected: Some(Micros(u64::MAX)),
        alliances: vec![membership; AGENT_ALLIANCES_MAX],
        registered_at: Timestamp(u64::MAX),
        ordinal: u64::MAX,
        betrayed_at: Some(Timestamp(u64::MAX)),
    };
    assert_within(&keys::agent(&id), &agent);
    let alliance = Alliance {
        members: vec![AgentId::default(); 64],
        purpose: AlliancePurpose { kind: PurposeKind::Other, text: Some("x".repeat(64)) },
        terms: AllianceTerms {
            duration: Micros(u64::MAX),
            benefits: Benefit::ALL.to_vec(),
            conditions: vec!["x".repeat(256); 8],
        },
        exclusive: true,
        state: AllianceState::Active,
        formed_at: Timestamp(u64::MAX),
        expires_at: Timestamp(u64::MAX),
        strength: Fixed::ONE,
        conflict: Some(ConflictId::default()),
        end: Some(AllianceEnd { at: Timestamp(u64::MAX), cause: AllianceEndCause::Conflict, by: Some(id) }),
    };
    assert_within(&keys::alliance(&AllianceId::default()), &alliance);
    let meme = Meme {
        creator: AgentId::default(),
        created_at: Timestamp(u64::MAX),
        content_type: MemeType::Interactive,
        content: MemeContent { size: u64::MAX, ..MemeContent::of(b"") },
        metadata: "x".repeat(512),
        references: vec![MemeId::default(); 16],
        tags: vec!["x".repeat(32); 16],
        targets: vec![AgentId::default(); 32],
    };
    assert_within(&keys::meme(&MemeId::default()), &meme);
    let entry = Entry { namespace: "x".repeat(32), key: "x".repeat(64), value: vec![0; 4096].into() };
    assert_within(&keys::entry(&id, "", ""), &entry);
}

#[test]
fn the_longest_histories_are_within_bounds() {
    let id = AgentId::default();
    let most = u32::MAX;
    let counts = RelationshipCounts {
        ratings: most,
        friend: most,
        rival: most,
        chaotic_alliance: most,
        dramatic_nemesis: most,
        neutral_observer: most,
        memes: most,
        betrayals: most,
        reconciliations: most,
    };
    let mut view = Relationship { counts, ..Default::default() };
    for _ in 0..1_000 {
        view.note(Fixed::ONE, Timestamp(u64::MAX), EventAddress { height: Height(u64::MAX), index: most });
    }
    assert_within(&keys::relationship(&id, &id), &view);
    let text = "x".repeat(256);
    let history = PersonalityHistory {
        count: most,
        old: Personality::Strategic,
        new: Personality::Strategic,
        reason: text.clone(),
        drama: 10,
        changed_at: Timestamp(u64::MAX),
    };
    assert_within(&keys::personality(&id), &history);
    let drama = DramaEvent {
        kind: DramaKind::PersonalityShift,
        agent: id,
        text,
        level: 10,
        at: Timestamp(u64::MAX),
        alliance: Some(AllianceId::default()),
    };
    assert_within(&keys::drama(EventAddress { height: Height(0), index: 0 }), &drama);
    let score = InfluenceScore {
        value: Fixed::ONE,
        updated_at: Timestamp(u64::MAX),
        count: most,
        reactions: ReactionCounts { love: most, like: most, neutral: most, dislike: most },
        score_sum: Fixed::from_millionths(i64::MAX),
    };
    assert_within(&keys::influence(&MemeId::default()), &score);
    assert_within(
        &keys::reaction(&MemeId::default(), &id),
        &Reaction { score: Fixed::ONE, at: Timestamp(u64::MAX) },
    );
    assert_within(&keys::influence_turn(&MemeId::default(), &id), &InfluenceTurn { hour: u64::MAX });
    assert_within(&keys::due(START, DueKind::AllianceExpiry, &[0; 32]), &Due { work: 64 });
    assert_within(&keys::agent_count(), &AgentCount { agents: u64::MAX });
    assert_within(&keys::ordinal(0), &AgentOrdinal { agent: id });
}

#[test]
fn the_largest_conflicts_are_within_bounds() {
    let (id, elector) = (ConflictId::default(), AgentId::new([0xff; 32]));
    let claim = |at: u32| Claim { reputation: Some(Fixed::from_millionths(at.into())), ..Claim::default() };
    let option = |at| ConflictOption { alliance: None, claim: Some(claim(at)) };
    let fact = ContestedFact { agent: elector, field: ContestedField::Reputation };
    let conflict = Conflict {
        kind: ConflictKind::InconsistentAgentState,
        subject: ConflictSubject { fact: Some(fact), divergence: None },
        options: (0..=CONFLICT_CLAIMS_MAX as u32).map(|at| option(900_000 + at)).collect(),
        strategy: Strategy::SocialInfluence,
        reporter: elector,
        reason: "x".repeat(256),
        opened_height: Height(u64::MAX),
        opened_at: Timestamp(u64::MAX),
        deadline: Timestamp(u64::MAX),
        threshold: Fixed::ONE,
        participation_min: Fixed::ONE,
        electors: vec![
            Elector { agent: elector, weight: u64::MAX, opinion: Some(7), voided: true };
            CONFLICT_ELECTORS_MAX
        ],
        outcome: Some(ConflictOutcome {
            option: Some(7),
            by: DecidedBy::Lapse,
            at: Timestamp(u64::MAX),
            height: Height(u64::MAX),
            weights: vec![u64::MAX; CONFLICT_CLAIMS_MAX + 1],
            total: u64::MAX,
            competing: (0..=CONFLICT_CLAIMS_MAX as u8).collect(),
        }),
    };
    assert_within(&keys::conflict(&id), &conflict);
    let open = OpenConflict { conflict: ConflictId::new([0xff; 32]) };
    assert_within(&keys::open_conflict(&fact), &open);
    assert_within(&keys::open_report(&elector), &open);
    let counts = ConflictCounts {
        opened: u64::MAX,
        open: u32::MAX,
        newest_height: Height(u64::MAX),
        newest_opened: u32::MAX,
    };
    assert_within(&keys::conflict_counts(), &counts);
}

fn assert_within<R: Serialize>(key: &Key, record: &R) {
    let bytes = codec::encode(record).len();
    let max = bytes_max(key).unwrap();
    assert!(bytes <= max, "{key} has {bytes} bytes");
    assert!(bytes * 2 > max, "{key} has {bytes} bytes, the bound of {max} says little");
}

/// The most bytes that the record at a key may have, as documented; `None` for keys of other families.
pub(crate) fn bytes_max(key: &Key) -> Option<usize> {
    Some(match (key.sub_tree(), key.as_bytes()[0]) {
        (keys::AGENTS, 0) | (keys::MEMES, 2) => 10,
        (keys::AGENTS, 1) => 5_120,
        (keys::AGENTS, 2) => 4_352,
        (keys::AGENTS, 3) | (keys::SOCIAL, 7 | 9) => 35,
        (keys::AGENTS, 4) => 300,
        (keys::SOCIAL, 1) => 4_608,
        (keys::SOCIAL, 2) => 320,
        (keys::SOCIAL, 3) => 60,
        (keys::SOCIAL, 4) => 352,
        (keys::SOCIAL, 5) => 3,
        (keys::SOCIAL, 6) => 6_656,
        (keys::SOCIAL, 8) => 30,
        (keys::MEMES, 1) => 3_072,
        (keys::MEMES, 3) => 16,
        _ => return None,
    })
}
