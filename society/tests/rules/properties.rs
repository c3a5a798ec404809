//! What holds after any history.

use chaoschain_schemas::limits::{AGENT_ALLIANCES_MAX, RELATIONSHIP_EVENTS_MAX};
use chaoschain_schemas::society::{
    Agent, AgentStatus, Alliance, AllianceFormation, AlliancePurpose, AllianceState, AllianceTerms, Benefit,
    InfluenceScore, InteractionKind, Membership, Meme, MemeContent, MemeInfluence, MemePublication, MemeType,
    Personality, PurposeKind, Relationship, RelationshipCounts, ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{
    AgentId, AllianceId, EventAddress, Fixed, Height, MemeId, Micros, NameHash, Timestamp, codec,
};
use chaoschain_society::{Transition, keys};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::support::*;

const PEOPLE: u64 = 5;

/// What may happen, in numbers that are free to be nonsense: what the rules refuse leaves no trace.
#[derive(Clone, Debug)]
enum Step {
    Rate { from: u64, to: u64, rating: i64 },
    Meet { from: u64, targets: Vec<u64>, sentiment: i64, drama: u8 },
    Ally { members: Vec<u64>, minutes: u64, exclusive: bool },
    Publish { from: u64 },
    Influence { from: u64, meme: usize, impact: i64, sentiment: i64, affected: Vec<u64> },
    Pass { minutes: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let person = || 1..=PEOPLE;
    let people = || proptest::collection::vec(person(), 1..4);
    let score = || prop_oneof![Just(Fixed::SCALE), Just(-Fixed::SCALE), -1_050_000..=1_050_000_i64];
    let step = prop_oneof![
        4 => (person(), person(), score()).prop_map(|(from, to, rating)| Step::Rate { from, to, rating }),
        2 => (person(), people(), score(), 0..=11_u8)
            .prop_map(|(from, targets, sentiment, drama)| Step::Meet { from, targets, sentiment, drama }),
        2 => (people(), 0..180_u64, any::<bool>())
            .prop_map(|(members, minutes, exclusive)| Step::Ally { members, minutes, exclusive }),
        1 => person().prop_map(|from| Step::Publish { from }),
        3 => (person(), 0..4_usize, score(), score(), people()).prop_map(|(from, meme, impact, sentiment, affected)| {
            Step::Influence { from, meme, impact: impact / 2, sentiment, affected }
        }),
        2 => (0..90_u64).prop_map(|minutes| Step::Pass { minutes }),
    ];
    proptest::collection::vec(step, 1..120)
}

fn play(world: &mut World, memes: &mut Vec<MemeId>, step: Step) {
    let people = |numbers: Vec<u64>| numbers.into_iter().map(Person).collect::<Vec<_>>();
    let millionths = Fixed::from_millionths;
    let (signers, transition): (_, Transition) = match step {
        Step::Pass { minutes } => return world.happen(passed(minutes * HOUR / 60)),
        Step::Rate { from, to, rating } => (
            by(Person(from)),
            ReputationUpdate { subject: Person(to).id(), rating: millionths(rating) }.into(),
        ),
        Step::Meet { from, targets, sentiment, drama } => {
            let targets = ids(&people(targets));
            let kind = InteractionKind::Friend;
            let sentiment = millionths(sentiment);
            (by(Person(from)), SocialInteraction { kind, targets, content: None, sentiment, drama }.into())
        }
        Step::Ally { members, minutes, exclusive } => {
            let members = people(members);
            let terms = AllianceTerms { duration: Micros(minutes * HOUR / 60), ..formation(&[]).terms };
            let signers = by(members[0]).with(members[1..].iter().copied());
            (signers, AllianceFormation { terms, exclusive, ..formation(&members) }.into())
        }
        Step::Publish { from } => {
            let publication = MemePublication {
                content_type: MemeType::Text,
                content: MemeContent::of(b"x"),
                inline: None,
                metadata: String::new(),
                references: memes.last().copied().into_iter().collect(),
                tags: Vec::new(),
                targets: Vec::new(),
            };
            (by(Person(from)), publication.into())
        }
        Step::Influence { from, meme, impact, sentiment, affected } => {
            let influence = MemeInfluence {
                meme: memes.get(meme).copied().unwrap_or_default(),
                impact: millionths(impact),
                sentiment: millionths(sentiment),
                affected: ids(&people(affected)),
            };
            (by(Person(from)), influence.into())
        }
    };
    let published = matches!(transition, Transition::MemePublication(_));
    if world.submit(&signers, &transition).is_ok() && published {
        memes.push(world.last.into());
    }
}

/// Checks every record of the society.
fn check(world: &World) -> Result<(), TestCaseError> {
    let unit = |score: Fixed| score.is_within(Fixed::ZERO, Fixed::ONE);
    let records = |sub_tree, tag| {
        world.state.keys().filter(move |key| key.sub_tree() == sub_tree && key.as_bytes()[0] == tag)
    };
    for key in records(keys::AGENTS, 1) {
        let agent: Agent = world.record(key).unwrap();
        prop_assert!(unit(agent.reputation) && unit(agent.influence), "{:?}", agent);
        let live: Vec<_> =
            agent.alliances.iter().filter(|membership| world.now < membership.expires_at).collect();
        prop_assert!(live.len() <= AGENT_ALLIANCES_MAX && agent.alliances.len() <= AGENT_ALLIANCES_MAX);
        for membership in &agent.alliances {
            let alliance: Alliance = world.record(&keys::alliance(&membership.id)).unwrap();
            prop_assert!(alliance.members.iter().any(|member| keys::agent(member) == *key));
            prop_assert_eq!(alliance.expires_at, membership.expires_at);
        }
        let mut purposes: Vec<_> = live.iter().filter_map(|membership| membership.exclusive_for).collect();
        let count = purposes.len();
        purposes.sort();
        purposes.dedup();
        prop_assert_eq!(purposes.len(), count, "two exclusive alliances for one purpose");
    }
    for key in records(keys::SOCIAL, 1) {
        let alliance: Alliance = world.record(key).unwrap();
        prop_assert!(alliance.members.is_sorted_by(|a, b| a < b));
        for member in alliance.members.iter().filter(|_| world.now < alliance.expires_at) {
            let agent: Agent = world.record(&keys::agent(member)).unwrap();
            prop_assert!(agent.alliances.iter().any(|membership| keys::alliance(&membership.id) == *key));
        }
    }
    for key in records(keys::SOCIAL, 2) {
        let view: Relationship = world.record(key).unwrap();
        prop_assert!(unit(view.trust) && view.events.len() <= RELATIONSHIP_EVENTS_MAX, "{:?}", view);
        let counts = view.counts;
        let counted = counts.ratings + counts.friend + counts.memes;
        prop_assert_eq!(view.events.len(), RELATIONSHIP_EVENTS_MAX.min(counted as usize));
        let (from, to) = key.as_bytes()[1..].split_at(32);
        prop_assert!(from != to, "a view of oneself");
    }
    for key in records(keys::SOCIAL, 3) {
        let score: InfluenceScore = world.record(key).unwrap();
        prop_assert!(unit(score.value) && score.updated_at <= world.now);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn after_any_history(steps in steps()) {
        let mut world = given((1..=PEOPLE).map(|number| registered(Person(number))));
        let mut memes = Vec::new();
        for step in steps {
            play(&mut world, &mut memes, step);
        }
        check(&world)?;
    }
}

/// The sizes that the documentation tells, with every list and text as long as it may be.
#[test]
fn the_largest_records_are_within_bounds() {
    let membership = Membership {
        id: AllianceId::default(),
        expires_at: Timestamp(u64::MAX),
        exclusive_for: Some(NameHash::default()),
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
    };
    assert!(codec::encode(&agent).len() <= 4608);
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
    };
    assert!(codec::encode(&alliance).len() <= 4608);
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
    assert!(codec::encode(&meme).len() <= 3072);
    let mut view = Relationship {
        counts: RelationshipCounts { ratings: 1_000, ..Default::default() },
        ..Default::default()
    };
    for index in 0..1_000 {
        view.note(Fixed::ONE, START, EventAddress { height: Height(1_000_000), index });
    }
    assert!(codec::encode(&view).len() <= 180, "{}", codec::encode(&view).len());
}

/// The histories above would prove little if the rules refused most of them.
#[test]
fn histories_are_mostly_accepted() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut relationships, mut alliances, mut scores) = (0, 0, 0);
    for _ in 0..20 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut world = given((1..=PEOPLE).map(|number| registered(Person(number))));
        let mut memes = Vec::new();
        for step in steps {
            play(&mut world, &mut memes, step);
        }
        let count = |tag| {
            world
                .state
                .keys()
                .filter(|key| key.sub_tree() == keys::SOCIAL && key.as_bytes()[0] == tag)
                .count()
        };
        alliances += count(1);
        relationships += count(2);
        scores += count(3);
    }
    assert!(relationships > 100 && alliances > 20 && scores > 10, "{relationships} {alliances} {scores}");
}
