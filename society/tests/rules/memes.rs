//! Publication and influence of memes.

use chaoschain_schemas::society::{
    InfluenceScore, Meme, MemeContent, MemeInfluence, MemePublication, MemeType, RelationshipCounts,
};
use chaoschain_schemas::{Fixed, MemeId};
use chaoschain_society::keys;

use crate::support::*;

fn publication() -> MemePublication {
    MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(b"hello chaos"),
        inline: None,
        metadata: String::new(),
        references: Vec::new(),
        tags: Vec::new(),
        targets: Vec::new(),
    }
}

/// A world in which Ana has published a meme and Bob, Cleo and Dan look on.
fn published() -> (World, MemeId) {
    let world = given([ANA, BOB, CLEO, DAN].map(registered)).when(by(ANA), publication()).then_accepted();
    let meme = world.last.into();
    (world, meme)
}

fn influence(meme: MemeId, impact: &str, sentiment: &str, affected: &[Person]) -> MemeInfluence {
    MemeInfluence { meme, impact: fixed(impact), sentiment: fixed(sentiment), affected: ids(affected) }
}

fn score(world: &World, meme: MemeId) -> InfluenceScore {
    world.record(&keys::influence(&meme)).unwrap()
}

#[test]
fn a_meme_keeps_the_name_of_its_content() {
    let (world, first) = published();
    let full = MemePublication {
        inline: Some(b"hello chaos".as_slice().into()),
        metadata: "a greeting".into(),
        references: vec![first],
        tags: vec!["classic".into()],
        targets: ids(&[CLEO]),
        ..publication()
    };
    let world = world.when(by(BOB), full).then_accepted();
    let meme: Meme = world.record(&keys::meme(&world.last.into())).unwrap();
    let want = Meme {
        creator: BOB.id(),
        created_at: START,
        content_type: MemeType::Text,
        content: MemeContent::of(b"hello chaos"),
        metadata: "a greeting".into(),
        references: vec![first],
        tags: vec!["classic".into()],
        targets: ids(&[CLEO]),
    };
    assert_eq!(meme, want);
    assert!(!world.state.contains_key(&keys::influence(&first)), "nobody has influenced it yet");
}

#[test]
fn publications_that_are_refused() {
    let big = vec![0; 64 * 1024 + 1];
    let tags = |tags: &[&str]| tags.iter().map(|&tag| tag.to_owned()).collect::<Vec<_>>();
    let (_, known) = published();
    let unknown = MemeId::new([7; 32]);
    let inline = |content: &[u8]| MemePublication { inline: Some(content.into()), ..publication() };
    for (publication, code) in [
        (inline(b"hello chaoS"), "content_mismatch"),
        (inline(b"hello"), "content_mismatch"),
        (
            MemePublication {
                content: MemeContent { size: 12, ..publication().content },
                ..inline(b"hello chaos")
            },
            "content_mismatch",
        ),
        (MemePublication { content: MemeContent::of(&big), ..inline(&big) }, "malformed"),
        (MemePublication { metadata: "x".repeat(513), ..publication() }, "malformed"),
        (MemePublication { references: vec![unknown], ..publication() }, "meme_unknown"),
        (MemePublication { references: vec![known; 2], ..publication() }, "duplicate"),
        (MemePublication { references: vec![known; 17], ..publication() }, "malformed"),
        (MemePublication { tags: tags(&["a", "b", "a"]), ..publication() }, "duplicate"),
        (MemePublication { tags: tags(&["a"; 17]), ..publication() }, "malformed"),
        (MemePublication { tags: tags(&[""]), ..publication() }, "malformed"),
        (MemePublication { tags: tags(&[&"x".repeat(33)]), ..publication() }, "malformed"),
        (MemePublication { targets: ids(&[BOB, BOB]), ..publication() }, "duplicate"),
        (MemePublication { targets: ids(&[BOB; 33]), ..publication() }, "malformed"),
        (MemePublication { targets: ids(&[Person(99)]), ..publication() }, "agent_unknown"),
    ] {
        published().0.when(by(BOB), publication).then_rejected(code);
    }
    given([Given::Account(ANA)]).when(by(ANA), publication()).then_rejected("agent_unknown");
    let largest = MemePublication { content: MemeContent::of(&big[1..]), ..inline(&big[1..]) };
    published().0.when(by(BOB), largest).then_accepted();
}

#[test]
fn influence_adds_up_and_moves_views_of_the_creator() {
    let (world, meme) = published();
    let world = world.when(by(BOB), influence(meme, "0.4", "-0.5", &[CLEO, DAN])).then_accepted();
    let first = InfluenceScore { value: fixed("0.4"), updated_at: START, count: 1, ..Default::default() };
    assert_eq!(score(&world, meme), first);
    for person in [CLEO, DAN] {
        let view = world.relationship(person, ANA);
        assert_eq!(view.trust, fixed("0.48"));
        assert_eq!(view.counts, RelationshipCounts { memes: 1, ..Default::default() });
    }
    assert!(
        !world.state.contains_key(&keys::relationship(&BOB.id(), &ANA.id())),
        "the author's own view stays"
    );
    let world = world.when(by(CLEO), influence(meme, "0.5", "1", &[])).then_accepted();
    assert_eq!(score(&world, meme).value, fixed("0.9"));
    let world = world.when(by(DAN), influence(meme, "0.5", "1", &[])).then_accepted();
    assert_eq!(score(&world, meme).value, Fixed::ONE, "held at one");
    let world = world.when(by(ANA), influence(meme, "-0.5", "1", &[])).then_accepted();
    assert_eq!(
        score(&world, meme),
        InfluenceScore { value: Fixed::HALF, updated_at: START, count: 4, ..Default::default() }
    );
}

#[test]
fn influence_is_not_below_zero() {
    let (world, meme) = published();
    let world = world.when(by(BOB), influence(meme, "-0.5", "0", &[])).then_accepted();
    assert_eq!(score(&world, meme).value, Fixed::ZERO);
}

#[test]
fn influence_decays_before_more_is_added() {
    let (mut world, meme) = published();
    for person in [BOB, CLEO] {
        world.happen(event(person, influence(meme, "0.4", "0", &[])));
    }
    // 0.8 after 36 hours at a half-life of 24: 0.3.
    world.happen(passed(36 * HOUR));
    let world = world.when(by(BOB), influence(meme, "0.1", "0", &[])).then_accepted();
    let updated_at = world.now;
    assert_eq!(
        score(&world, meme),
        InfluenceScore { value: fixed("0.4"), updated_at, count: 3, ..Default::default() }
    );
}

#[test]
fn one_influence_an_author_meme_and_hour() {
    let (mut world, meme) = published();
    world.happen(event(BOB, influence(meme, "0.1", "0", &[])));
    world.happen(passed(HOUR - 1));
    let again = || influence(meme, "0.1", "0", &[]);
    let mut world = world.when(by(BOB), again()).then_rejected("influence_turn_taken");
    let other = {
        world.happen(event(BOB, publication()));
        world.last.into()
    };
    let world = world.when(by(BOB), influence(other, "0.1", "0", &[])).then_accepted();
    let mut world = world.when(by(CLEO), again()).then_accepted();
    world.happen(passed(1));
    world.when(by(BOB), again()).then_accepted().when(by(CLEO), again()).then_accepted();
}

#[test]
fn influences_that_are_refused() {
    let (_, meme) = published();
    let crowd: Vec<_> = (10..43).map(Person).collect();
    for (influence, code) in [
        (influence(MemeId::new([7; 32]), "0.1", "0", &[]), "meme_unknown"),
        (influence(meme, "0.500001", "0", &[]), "impact_too_large"),
        (influence(meme, "-0.500001", "0", &[]), "impact_too_large"),
        (influence(meme, "0.1", "1.1", &[]), "out_of_range"),
        (influence(meme, "0.1", "-1.1", &[]), "out_of_range"),
        (influence(meme, "0.1", "0", &[CLEO, ANA]), "creator_affected"),
        (influence(meme, "0.1", "0", &[CLEO, CLEO]), "duplicate"),
        (influence(meme, "0.1", "0", &[Person(99)]), "agent_unknown"),
        (influence(meme, "0.1", "0", &crowd), "malformed"),
    ] {
        published().0.when(by(BOB), influence).then_rejected(code);
    }
    let (mut world, meme) = published();
    world.happen(Given::Account(Person(9)));
    world.when(by(Person(9)), influence(meme, "0", "0", &[])).then_rejected("agent_unknown");
    // The author may be among the affected; the impact may be all it has.
    let (world, meme) = published();
    world.when(by(BOB), influence(meme, "0.5", "1", &[BOB])).then_accepted();
}
