//! Ratings and interactions.

use chaoschain_schemas::limits::RELATIONSHIP_EVENTS_MAX;
use chaoschain_schemas::society::{
    InteractionKind, Parameters, RelationshipCounts, ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{AccountId, Fixed};
use chaoschain_society::keys;
use chaoschain_state::control;

use crate::support::*;

fn rate(subject: Person, rating: &str) -> ReputationUpdate {
    ReputationUpdate { subject: subject.id(), rating: fixed(rating) }
}

fn meet(targets: &[Person], sentiment: &str, drama: u8) -> SocialInteraction {
    SocialInteraction {
        kind: InteractionKind::DramaticNemesis,
        targets: ids(targets),
        content: None,
        sentiment: fixed(sentiment),
        drama,
    }
}

#[test]
fn a_rating_moves_trust_and_reputation() {
    let world =
        given([registered(ANA), registered(BOB), passed(7)]).when(by(ANA), rate(BOB, "0.8")).then_accepted();
    let view = world.relationship(ANA, BOB);
    assert_eq!(view.trust, fixed("0.58"));
    assert_eq!(view.last_updated.0, START.0 + 7);
    assert_eq!(view.counts, RelationshipCounts { ratings: 1, ..Default::default() });
    assert_eq!(view.events.iter().map(ToString::to_string).collect::<Vec<_>>(), ["3/0"]);
    assert_eq!(world.agent(BOB).reputation, fixed("0.52"));
    assert_eq!(world.agent(ANA).reputation, fixed("0.5"));
    assert!(!world.state.contains_key(&keys::relationship(&BOB.id(), &ANA.id())), "views are one-sided");
    let activity = |person: Person| {
        let account: chaoschain_schemas::control::Account =
            world.record(&control::keys::account(&person.id())).unwrap();
        account.last_activity.0 - START.0
    };
    assert_eq!((activity(ANA), activity(BOB)), (7, 0), "only the author was active");
}

#[test]
fn a_rating_touches_three_records() {
    let world = given([registered(ANA), registered(BOB)]).when(by(ANA), rate(BOB, "1")).then_accepted();
    let mut touched: Vec<_> = world.changes.iter().map(|change| change.key).collect();
    touched.sort();
    let mut want =
        [control::keys::account(&ANA.id()), keys::agent(&BOB.id()), keys::relationship(&ANA.id(), &BOB.id())];
    want.sort();
    assert_eq!(touched, want);
}

#[test]
fn a_rating_weighs_what_its_author_is_worth() {
    // Bob falls to 0.475; his own rating then weighs that.
    let world = given([registered(ANA), registered(BOB), registered(CLEO), event(ANA, rate(BOB, "-1"))])
        .when(by(BOB), rate(CLEO, "1"))
        .then_accepted();
    assert_eq!(world.agent(BOB).reputation, fixed("0.475"));
    assert_eq!(world.agent(CLEO).reputation, fixed("0.52375"));
    assert_eq!(world.relationship(BOB, CLEO).trust, fixed("0.6"));
}

#[test]
fn changes_truncate_toward_zero() {
    let sliver =
        |millionths| ReputationUpdate { subject: BOB.id(), rating: Fixed::from_millionths(millionths) };
    for (rating, trust) in [(19, 500_001), (-19, 499_999), (9, 500_000), (-9, 500_000)] {
        let world = given([registered(ANA), registered(BOB)]).when(by(ANA), sliver(rating)).then_accepted();
        assert_eq!(world.relationship(ANA, BOB).trust.millionths(), trust, "rating {rating}");
        assert_eq!(world.agent(BOB).reputation, Fixed::HALF);
    }
}

#[test]
fn a_zero_rating_still_begins_a_view() {
    let world = given([registered(ANA), registered(BOB)]).when(by(ANA), rate(BOB, "0")).then_accepted();
    assert_eq!(world.relationship(ANA, BOB).trust, Fixed::HALF);
    assert_eq!(world.agent(BOB).reputation, Fixed::HALF);
}

#[test]
fn repeats_accumulate_up_to_the_ends() {
    let mut world = given([registered(ANA), registered(BOB)]);
    for _ in 0..30 {
        world.happen(event(ANA, rate(BOB, "1")));
    }
    assert_eq!(world.relationship(ANA, BOB).trust, Fixed::ONE);
    assert_eq!(world.agent(BOB).reputation, Fixed::ONE);
    for _ in 0..60 {
        world.happen(event(ANA, rate(BOB, "-1")));
    }
    assert_eq!(world.relationship(ANA, BOB).trust, Fixed::ZERO);
    assert_eq!(world.agent(BOB).reputation, Fixed::ZERO);
    let view = world.relationship(ANA, BOB);
    assert_eq!(view.counts.ratings, 90);
    assert_eq!(view.events.len(), RELATIONSHIP_EVENTS_MAX);
    let heights: Vec<_> = view.events.iter().map(|address| address.height.0).collect();
    assert_eq!(heights, (77..=92).collect::<Vec<_>>(), "the latest are kept");
}

#[test]
fn ratings_that_are_refused() {
    let nobody = ReputationUpdate { subject: AccountId::default(), rating: Fixed::ONE };
    for (update, code) in [
        (rate(ANA, "1"), "self_directed"),
        (rate(BOB, "1.000001"), "out_of_range"),
        (rate(BOB, "-1.000001"), "out_of_range"),
        (nobody, "agent_unknown"),
        (rate(DAN, "1"), "agent_unknown"),
    ] {
        given([registered(ANA), registered(BOB), Given::Account(DAN)])
            .when(by(ANA), update)
            .then_rejected(code);
    }
}

#[test]
fn a_parameter_bounds_ratings_of_one_subject() {
    let bounded = |ratings_per_subject_max| {
        let parameters = Parameters { ratings_per_subject_max, ..Default::default() };
        World::new(&parameters).and([registered(ANA), registered(BOB), registered(CLEO)])
    };
    let world = bounded(2).and([event(ANA, rate(BOB, "1")), event(ANA, rate(BOB, "0"))]);
    let world = world.when(by(ANA), rate(BOB, "1")).then_rejected("ratings_exhausted");
    // Interactions are not counted, other pairs have a count of their own.
    world
        .when(by(ANA), meet(&[BOB], "1", 0))
        .then_accepted()
        .when(by(ANA), rate(CLEO, "1"))
        .then_accepted()
        .when(by(BOB), rate(ANA, "1"))
        .then_accepted()
        .when(by(ANA), rate(BOB, "1"))
        .then_rejected("ratings_exhausted");
    let world = bounded(0).and((0..50).map(|_| event(ANA, rate(BOB, "1"))));
    world.when(by(ANA), rate(BOB, "1")).then_accepted();
}

#[test]
fn an_interaction_moves_the_authors_view_of_each_target() {
    let world = given([registered(ANA), registered(BOB), registered(CLEO)])
        .when(by(ANA), meet(&[CLEO, BOB], "-0.5", 4))
        .then_accepted();
    for target in [BOB, CLEO] {
        let view = world.relationship(ANA, target);
        assert_eq!(view.trust, fixed("0.43"));
        assert_eq!(view.counts, RelationshipCounts { dramatic_nemesis: 1, ..Default::default() });
        assert_eq!(world.agent(target).reputation, Fixed::HALF, "only trust moves");
    }
    assert!(!world.state.contains_key(&keys::relationship(&BOB.id(), &ANA.id())));
}

#[test]
fn each_kind_of_interaction_has_a_counter() {
    for &kind in InteractionKind::ALL {
        let interaction = SocialInteraction { kind, ..meet(&[BOB], "0", 0) };
        let world = given([registered(ANA), registered(BOB)]).when(by(ANA), interaction).then_accepted();
        let mut counts = world.relationship(ANA, BOB).counts;
        assert_eq!(*counts.interactions(kind), 1);
        *counts.interactions(kind) = 0;
        assert_eq!(counts, RelationshipCounts::default());
    }
}

#[test]
fn interactions_that_are_refused() {
    let crowd: Vec<_> = (10..43).map(Person).collect();
    for (interaction, code) in [
        (meet(&[], "0", 0), "malformed"),
        (meet(&crowd, "0", 0), "malformed"),
        (meet(&[BOB], "1.1", 0), "out_of_range"),
        (meet(&[BOB], "-1.1", 0), "out_of_range"),
        (meet(&[BOB], "0", 11), "out_of_range"),
        (meet(&[BOB, ANA], "0", 0), "self_directed"),
        (meet(&[BOB, CLEO, BOB], "0", 0), "duplicate"),
        (meet(&[BOB, DAN], "0", 0), "agent_unknown"),
    ] {
        given([registered(ANA), registered(BOB), registered(CLEO)])
            .when(by(ANA), interaction)
            .then_rejected(code);
    }
    given([Given::Account(ANA), registered(BOB)])
        .when(by(ANA), meet(&[BOB], "0", 0))
        .then_rejected("agent_unknown");
    let all = || (10..42).map(Person);
    given(all().chain([ANA]).map(registered))
        .when(by(ANA), meet(&all().collect::<Vec<_>>(), "1", 10))
        .then_accepted();
}
