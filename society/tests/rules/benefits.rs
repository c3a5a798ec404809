//! What members of alliances gain by them.

use chaoschain_schemas::society::{
    AllianceFormation, AllianceTerms, Benefit, InteractionKind, MemeContent, MemeInfluence, MemePublication,
    MemeType, ReputationUpdate, SocialInteraction,
};
use chaoschain_schemas::{AllianceId, Fixed, MemeId, codec};
use chaoschain_society::keys;

use crate::support::*;

/// Ana and Bob are in an alliance that promises this; Cleo has published a meme. All is as it was at the start, so the
/// alliance is worth 0.5 × 0.5 × 0.5 = 0.125.
fn promised(benefit: Benefit) -> (World, AllianceId, MemeId) {
    let terms = AllianceTerms { benefits: vec![benefit], ..formation(&[]).terms };
    let world =
        given(three()).and([formed(&[ANA, BOB], AllianceFormation { terms, ..formation(&[ANA, BOB]) })]);
    let id = AllianceId::from(world.last);
    let publication = MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(b"hello chaos"),
        inline: None,
        metadata: String::new(),
        references: Vec::new(),
        tags: Vec::new(),
        targets: Vec::new(),
    };
    let world = world.and([event(CLEO, publication)]);
    let meme = world.last.into();
    assert_eq!(world.alliance(id).strength, fixed("0.125"));
    (world, id, meme)
}

fn rate() -> ReputationUpdate {
    ReputationUpdate { subject: CLEO.id(), rating: Fixed::ONE }
}

fn meet() -> SocialInteraction {
    let (kind, targets) = (InteractionKind::Friend, ids(&[CLEO]));
    SocialInteraction { kind, targets, content: None, sentiment: Fixed::ONE, drama: 4 }
}

fn push(meme: MemeId, impact: &str) -> MemeInfluence {
    MemeInfluence { meme, impact: fixed(impact), sentiment: Fixed::ZERO, affected: Vec::new() }
}

#[test]
fn a_stake_boost_weighs_ratings() {
    let (world, _, _) = promised(Benefit::StakeBoost);
    let world = world.when(by(ANA), rate()).then_accepted();
    // 1 × 0.05 × (0.5 + 0.125); trust moves as ever.
    assert_eq!(world.agent(CLEO).reputation, fixed("0.53125"));
    assert_eq!(world.relationship(ANA, CLEO).trust, fixed("0.6"));
}

#[test]
fn a_drama_boost_makes_interactions_louder() {
    let (world, _, _) = promised(Benefit::DramaBoost);
    let world = world.when(by(ANA), meet()).then_accepted();
    // 4 + ⌊10 × 0.125⌋ = 5: 0.1 × 15 / 10.
    assert_eq!(world.relationship(ANA, CLEO).trust, fixed("0.65"));
    // At most 10, however loud it is already.
    let (world, _, _) = promised(Benefit::DramaBoost);
    let world = world.when(by(ANA), SocialInteraction { drama: 10, ..meet() }).then_accepted();
    assert_eq!(world.relationship(ANA, CLEO).trust, fixed("0.7"));
}

#[test]
fn a_meme_benefit_widens_the_bound_of_an_impact() {
    for sign in ["", "-"] {
        let impact = |text: &str| format!("{sign}{text}");
        let (world, _, meme) = promised(Benefit::MemeInfluence);
        world
            .when(by(ANA), push(meme, &impact("0.625001")))
            .then_rejected("impact_too_large")
            .when(by(ANA), push(meme, &impact("0.625")))
            .then_accepted();
    }
    let (world, _, meme) = promised(Benefit::VotingPower);
    world.when(by(ANA), push(meme, "0.500001")).then_rejected("impact_too_large");
}

/// Each benefit is worth nothing to others, for anything else, after the alliance's time, and while it is contested.
#[test]
fn a_benefit_is_for_members_of_a_live_uncontested_alliance() {
    let plain = |world: World, author: Person| {
        let world = world.when(by(author), rate()).then_accepted();
        assert_eq!(world.agent(CLEO).reputation, fixed("0.525"));
        let view = world.relationship(author, CLEO);
        let world = world.when(by(author), meet()).then_accepted();
        let moved = world.relationship(author, CLEO).trust.millionths() - view.trust.millionths();
        assert_eq!(moved, 140_000);
    };
    for benefit in [Benefit::VotingPower, Benefit::MemeInfluence] {
        plain(promised(benefit).0, ANA);
    }
    for benefit in [Benefit::StakeBoost, Benefit::DramaBoost] {
        let (world, _, _) = promised(benefit);
        let dan = world.and([registered(DAN)]);
        plain(dan, DAN);
        let (world, id, _) = promised(benefit);
        plain(world.contested(id), ANA);
        let (world, _, _) = promised(benefit);
        plain(world.and([passed(HOUR)]), ANA);
    }
    let (world, _, meme) = promised(Benefit::MemeInfluence);
    world.and([passed(HOUR)]).when(by(ANA), push(meme, "0.500001")).then_rejected("impact_too_large");
}

#[test]
fn the_strongest_alliance_counts_and_no_second_one() {
    let terms = AllianceTerms { benefits: vec![Benefit::StakeBoost], ..formation(&[]).terms };
    let many = || AllianceFormation { terms: terms.clone(), ..formation(&[ANA, BOB]) };
    let world = given(three()).and((0..64).map(|_| formed(&[ANA, BOB], many())));
    let world = world.when(by(ANA), rate()).then_accepted();
    assert_eq!(world.agent(CLEO).reputation, fixed("0.53125"), "0.05 × (0.5 + 0.125)");
    // Another one, formed when its members stood higher.
    let mut ana = world.agent(ANA);
    ana.alliances[7].strength = fixed("0.4");
    let world = world.and([Given::Record(keys::agent(&ANA.id()), codec::encode(&ana).into())]);
    let world = world.when(by(ANA), rate()).then_accepted();
    assert_eq!(world.agent(CLEO).reputation, fixed("0.57625"), "0.05 × (0.5 + 0.4) more");
}
