//! Reactions to memes, and what memes do for their creators.

use chaoschain_schemas::society::{
    InfluenceScore, MemeContent, MemeInfluence, MemePublication, MemeReaction, MemeType, Reaction,
    ReactionCounts, RelationshipCounts, ReputationUpdate,
};
use chaoschain_schemas::{Fixed, MemeId};
use chaoschain_society::keys;
use serde_json::json;

use crate::support::*;

/// A world in which Ana has published a meme and Bob, Cleo and Dan look on.
fn published() -> (World, MemeId) {
    let publication = MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(b"hello chaos"),
        inline: None,
        metadata: String::new(),
        references: Vec::new(),
        tags: Vec::new(),
        targets: Vec::new(),
    };
    let world = given([ANA, BOB, CLEO, DAN].map(registered)).when(by(ANA), publication).then_accepted();
    let meme = world.last.into();
    (world, meme)
}

fn react(meme: MemeId, score: &str) -> MemeReaction {
    MemeReaction { meme, score: fixed(score) }
}

fn score(world: &World, meme: MemeId) -> InfluenceScore {
    world.record(&keys::influence(&meme)).unwrap()
}

#[test]
fn a_reaction_moves_the_meme_its_creator_and_the_authors_trust() {
    let (world, meme) = published();
    let rate = ReputationUpdate { subject: ANA.id(), rating: fixed("0.8") };
    let world = world.and([event(BOB, rate), passed(7)]).when(by(BOB), react(meme, "0.9")).then_accepted();
    // Love: 0.1 × 0.5 × 0.58, with trust as it was before.
    let want = InfluenceScore {
        value: fixed("0.029"),
        updated_at: world.now,
        count: 0,
        reactions: ReactionCounts { love: 1, ..Default::default() },
        score_sum: fixed("0.9"),
    };
    assert_eq!(score(&world, meme), want);
    // 0.58 + (0.9 − 0.5) × 0.1.
    let view = world.relationship(BOB, ANA);
    assert_eq!(view.trust, fixed("0.62"));
    assert_eq!(view.counts, RelationshipCounts { ratings: 1, memes: 1, ..Default::default() });
    // 0.5 + 0.029 × 0.05.
    assert_eq!(world.agent(ANA).influence, fixed("0.50145"));
    assert_eq!(world.agent(BOB).influence, Fixed::HALF);
    let taken = Reaction { score: fixed("0.9"), at: world.now };
    assert_eq!(world.record(&keys::reaction(&meme, &BOB.id())), Some(taken));
    assert!(!world.state.contains_key(&keys::relationship(&ANA.id(), &BOB.id())));
}

#[test]
fn each_kind_of_reaction_has_its_weight() {
    for (given_score, counts, value, creator) in [
        ("1", ReactionCounts { love: 1, ..Default::default() }, "0.225", "0.50125"),
        ("0.700001", ReactionCounts { love: 1, ..Default::default() }, "0.225", "0.50125"),
        ("0.7", ReactionCounts { like: 1, ..Default::default() }, "0.2125", "0.500625"),
        ("0.5", ReactionCounts { neutral: 1, ..Default::default() }, "0.2", "0.5"),
        ("0.3", ReactionCounts { dislike: 1, ..Default::default() }, "0.1875", "0.499375"),
        ("0", ReactionCounts { dislike: 1, ..Default::default() }, "0.1875", "0.499375"),
    ] {
        let (world, meme) = published();
        let own = MemeInfluence { meme, impact: fixed("0.2"), sentiment: Fixed::ZERO, affected: vec![] };
        let world = world.and([event(ANA, own)]).when(by(BOB), react(meme, given_score)).then_accepted();
        let got = score(&world, meme);
        assert_eq!((got.value, got.reactions), (fixed(value), counts), "{given_score}");
        assert_eq!(world.agent(ANA).influence, fixed(creator), "{given_score}");
    }
}

#[test]
fn a_reaction_meets_what_is_left_of_the_influence() {
    let (world, meme) = published();
    let push = MemeInfluence { meme, impact: fixed("0.4"), sentiment: Fixed::ZERO, affected: vec![] };
    let world = world.and([event(ANA, push), passed(24 * HOUR)]);
    let world = world.when(by(BOB), react(meme, "0.9")).then_accepted();
    // 0.4 halved, + 0.1 × 0.5 × 0.5.
    assert_eq!(score(&world, meme).value, fixed("0.225"));
    assert_eq!(score(&world, meme).updated_at, world.now);
}

#[test]
fn influence_of_a_meme_and_its_creator_stay_in_range() {
    let (world, meme) = published();
    let world = world.when(by(BOB), react(meme, "0")).then_accepted();
    assert_eq!(score(&world, meme).value, Fixed::ZERO);
    assert_eq!(world.agent(ANA).influence, fixed("0.499375"));
    let mut world = world;
    let push = MemeInfluence { meme, impact: fixed("0.5"), sentiment: Fixed::ZERO, affected: vec![] };
    for _ in 0..30 {
        world = world.and([event(CLEO, push.clone()), passed(HOUR)]);
    }
    assert_eq!(world.agent(ANA).influence, Fixed::ONE);
}

#[test]
fn an_influence_by_others_moves_the_creator() {
    let (world, meme) = published();
    let push =
        |impact| MemeInfluence { meme, impact: fixed(impact), sentiment: Fixed::ZERO, affected: vec![] };
    let world = world.when(by(BOB), push("0.4")).then_accepted();
    assert_eq!(world.agent(ANA).influence, fixed("0.52"));
    let world = world.when(by(CLEO), push("-0.2")).then_accepted();
    assert_eq!(world.agent(ANA).influence, fixed("0.51"));
    let world = world.when(by(ANA), push("0.5")).then_accepted();
    assert_eq!(world.agent(ANA).influence, fixed("0.51"), "not by its own");
}

#[test]
fn reactions_that_are_refused() {
    let (world, meme) = published();
    let world = world.and([Given::Account(Person(9))]);
    world
        .when(by(BOB), react(meme, "1.000001"))
        .then_rejected("out_of_range")
        .when(by(BOB), react(meme, "-0.000001"))
        .then_rejected("out_of_range")
        .when(by(BOB), react(MemeId::new([7; 32]), "1"))
        .then_rejected("meme_unknown")
        .when(by(ANA), react(meme, "1"))
        .then_rejected("self_directed")
        .when(by(Person(9)), react(meme, "1"))
        .then_rejected("agent_unknown")
        .when(by(BOB), react(meme, "1"))
        .then_accepted()
        .and([passed(1_000 * HOUR)])
        .when(by(BOB), react(meme, "0"))
        .then_rejected("reaction_taken")
        .when(by(CLEO), react(meme, "0"))
        .then_accepted();
}

#[test]
fn quality_and_virality_are_shown() {
    let (world, meme) = published();
    let id = meme.to_string();
    let shown = world.read("meme", &[&id]).unwrap();
    assert_eq!((&shown["quality"], &shown["virality"]), (&json!("0"), &json!("0")));
    let world = world.and([
        event(BOB, react(meme, "0.9")),
        event(CLEO, react(meme, "0.6")),
        event(DAN, react(meme, "0")),
    ]);
    let shown = world.read("meme", &[&id]).unwrap();
    // (0.9 + 0.6 + 0) / 3; a love and a like among four agents.
    assert_eq!((&shown["quality"], &shown["virality"]), (&json!("0.5"), &json!("0.5")));
    assert_eq!(shown["reactions"], json!({ "love": 1, "like": 1, "neutral": 0, "dislike": 1 }));
    let push = |who| {
        event(who, MemeInfluence { meme, impact: fixed("0.1"), sentiment: Fixed::ZERO, affected: vec![] })
    };
    let world = world.and([push(ANA), push(BOB), push(CLEO)]);
    assert_eq!(world.read("meme", &[&id]).unwrap()["virality"], "1", "at most");
}
