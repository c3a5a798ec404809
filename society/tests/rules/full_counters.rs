//! A counter that has reached 4,294,967,295 stays there, and everything else goes on.

use chaoschain_schemas::society::{
    AllianceBetrayal, AllianceReconciliation, InfluenceScore, InteractionKind, MemeContent, MemeInfluence,
    MemePublication, MemeReaction, MemeType, Personality, PersonalityHistory, PersonalityShift,
    ReactionCounts, Relationship, RelationshipCounts, ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{AllianceId, Fixed, MemeId, codec};
use chaoschain_society::keys;

use crate::support::*;

const MOST: u32 = u32::MAX;

fn publication() -> MemePublication {
    MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(b"x"),
        inline: None,
        metadata: String::new(),
        references: Vec::new(),
        tags: Vec::new(),
        targets: Vec::new(),
    }
}

#[test]
fn counters_of_a_relationship_stay_at_their_end() {
    let mut world = given(three()).and([event(BOB, publication())]);
    let meme = MemeId::from(world.last);
    world.happen(formed(&[ANA, BOB], formation(&[ANA, BOB])));
    let alliance = AllianceId::from(world.last);
    let full = RelationshipCounts {
        ratings: MOST,
        friend: MOST,
        rival: MOST,
        chaotic_alliance: MOST,
        dramatic_nemesis: MOST,
        neutral_observer: MOST,
        memes: MOST,
        betrayals: MOST,
        reconciliations: MOST,
    };
    let view = Relationship { counts: full, ..Relationship::default() };
    world.happen(Given::Record(keys::relationship(&ANA.id(), &BOB.id()), codec::encode(&view).into()));
    let zero = Fixed::ZERO;
    let meet = |kind: &InteractionKind| {
        let targets = ids(&[BOB]);
        event(ANA, SocialInteraction { kind: *kind, targets, content: None, sentiment: zero, drama: 0 })
    };
    let world = world
        .and([event(ANA, ReputationUpdate { subject: BOB.id(), rating: zero })])
        .and(InteractionKind::ALL.iter().map(meet))
        .and([
            event(CLEO, MemeInfluence { meme, impact: zero, sentiment: zero, affected: ids(&[ANA]) }),
            event(ANA, MemeReaction { meme, score: Fixed::HALF }),
            event(BOB, AllianceBetrayal { alliance, description: "so".into(), drama: 0 }),
            Given::Event(
                by(ANA).with([BOB]),
                AllianceReconciliation { alliance, members: ids(&[ANA, BOB]) }.into(),
            ),
        ]);
    let view = world.relationship(ANA, BOB);
    assert_eq!(view.counts, full);
    // 0.5 − 0.1 + 0.05: what is not counted happened nevertheless.
    assert_eq!((view.trust, view.events.len()), (fixed("0.45"), 10));
}

#[test]
fn counters_of_a_meme_stay_at_their_end() {
    let mut world = given(three()).and([registered(DAN), registered(Person(5)), event(ANA, publication())]);
    let meme = MemeId::from(world.last);
    let reactions = ReactionCounts { love: MOST, like: MOST, neutral: MOST, dislike: MOST };
    let full = InfluenceScore { updated_at: START, count: MOST, reactions, ..InfluenceScore::default() };
    world.happen(Given::Record(keys::influence(&meme), codec::encode(&full).into()));
    let react = |(person, score): (Person, &str)| event(person, MemeReaction { meme, score: fixed(score) });
    let world =
        world.and([(BOB, "0.8"), (CLEO, "0.6"), (DAN, "0.4"), (Person(5), "0.2")].map(react)).and([event(
            BOB,
            MemeInfluence { meme, impact: fixed("0.1"), sentiment: Fixed::ZERO, affected: vec![] },
        )]);
    let score: InfluenceScore = world.record(&keys::influence(&meme)).unwrap();
    assert_eq!((score.count, score.reactions, score.score_sum), (MOST, reactions, fixed("2")));
    assert!(score.value > fixed("0.1"));
    let shown = world.read("meme", &[&meme.to_string()]).unwrap();
    assert_eq!((&shown["quality"], &shown["virality"]), (&"0".into(), &"1".into()));
}

#[test]
fn the_number_of_shifts_stays_at_its_end() {
    let mut world = given([registered(ANA)]);
    let shift = |personality| PersonalityShift { personality, reason: "bored".into(), drama: 0 };
    world.happen(event(ANA, shift(Personality::Lawful)));
    let key = keys::personality(&ANA.id());
    let history = PersonalityHistory { count: MOST, ..world.record(&key).unwrap() };
    world.happen(Given::Record(key, codec::encode(&history).into()));
    let world = world.when(by(ANA), shift(Personality::Chaotic)).then_accepted();
    let after: PersonalityHistory = world.record(&key).unwrap();
    assert_eq!((after.count, after.new), (MOST, Personality::Chaotic));
}
