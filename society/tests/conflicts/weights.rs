//! What electors weigh, and what identities cost and gain.

use chaoschain_schemas::society::{
    Benefit, ConflictKind, ConflictReport, ContestedField, Membership, Parameters, Personality,
    PersonalityWeights, Strategy, Weights,
};
use chaoschain_schemas::{AllianceId, Fixed, Timestamp};
use chaoschain_society::conflict::{Standing, decide, weight};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use crate::counting::{DEADLINE, Said, conflict as conflict_of};
use crate::scene::*;
use crate::support::*;

const FACTS: ConflictKind = ConflictKind::InconsistentAgentState;
const ALLIANCES: ConflictKind = ConflictKind::ConflictingAlliances;

fn standing(personality: Personality, reputation: &str, influence: &str, power: &str) -> Standing {
    Standing {
        personality,
        reputation: fixed(reputation),
        influence: fixed(influence),
        voting_power: fixed(power),
    }
}

#[test]
fn a_majority_counts_heads() {
    let parameters = Parameters::default();
    for standing in
        [standing(Personality::Lawful, "1", "1", "1"), standing(Personality::Chaotic, "0", "0", "0")]
    {
        assert_eq!(weight(Strategy::Majority, FACTS, &standing, &parameters), 1_000_000);
    }
}

#[test]
fn personalities_weigh_what_the_table_says() {
    let parameters = Parameters::default();
    let hundredths = |personality, kind| {
        let of = standing(personality, "0", "0", "0");
        weight(Strategy::Personality, kind, &of, &parameters) / 10_000
    };
    let table: Vec<_> =
        Personality::ALL.iter().map(|of| (hundredths(*of, FACTS), hundredths(*of, ALLIANCES))).collect();
    let want = [
        (125, 125),
        (100, 100),
        (75, 75),
        (90, 100),
        (75, 100),
        (75, 110),
        (125, 110),
        (90, 110),
        (110, 125),
    ];
    assert_eq!(table, want);
}

#[test]
fn reputation_and_influence_weigh_by_the_formula() {
    let parameters = Parameters::default();
    let social = |reputation, influence, power| {
        let of = standing(Personality::Neutral, reputation, influence, power);
        weight(Strategy::SocialInfluence, FACTS, &of, &parameters)
    };
    assert_eq!(social("0.9", "0.5", "0"), 1_350_000);
    assert_eq!(social("0.5", "0.5", "0"), 750_000);
    assert_eq!(social("0.3", "0.8", "0"), 540_000);
    assert_eq!(social("0.5", "0.5", "0.2"), 850_000);
    assert_eq!((social("0.5", "0.5", "0.1377"), social("0.5", "0.9", "0.1377")), (818_850, 1_000_000));
    assert_eq!(social("1", "0.7", "0.7"), 2_000_000, "influence counts up to the cap");
    assert_eq!(social("0", "1", "1"), 0);
    assert_eq!(social("0.000001", "0.999999", "0"), 1, "1.999999 millionths, rounded down");
}

fn membership(id: u8, strength: &str) -> Membership {
    Membership {
        id: AllianceId::new([id; 32]),
        expires_at: Timestamp(u64::MAX),
        exclusive_for: None,
        benefits: vec![Benefit::VotingPower],
        strength: fixed(strength),
        contested: false,
    }
}

#[test]
fn voting_power_is_of_live_uncontested_alliances_that_promise_it() {
    let mut world = society(3, &Parameters::default());
    profile(&mut world, ANA, |agent| {
        agent.alliances = vec![
            membership(1, "0.1"),
            Membership { contested: true, ..membership(2, "0.2") },
            Membership { expires_at: START, ..membership(3, "0.2") },
            Membership { benefits: vec![Benefit::DramaBoost], ..membership(4, "0.2") },
            Membership { benefits: Benefit::ALL.to_vec(), ..membership(5, "0.03") },
        ];
    });
    assert_eq!(Standing::of(&world.agent(ANA), world.now).voting_power, fixed("0.1"), "the strongest");
    profile(&mut world, ANA, |agent| agent.alliances = vec![membership(1, "0.7"), membership(2, "0.8")]);
    assert_eq!(Standing::of(&world.agent(ANA), world.now).voting_power, fixed("0.8"));
}

/// Each strategy with a table of its own, through the machine.
#[test]
fn weights_are_copied_when_the_conflict_opens() {
    for (strategy, want) in [
        (Strategy::Majority, [1_000_000, 1_000_000]),
        (Strategy::Personality, [1_250_000, 1_000_000]),
        (Strategy::SocialInfluence, [750_000, 1_500_000]),
    ] {
        let mut world = World::new(&Parameters::default());
        for person in [registered(ANA), registered(BOB), lawful(CLEO), registered(DAN)] {
            world.happen(person);
        }
        world.happen(passed(HOUR));
        profile(&mut world, DAN, |agent| (agent.reputation, agent.influence) = (Fixed::ONE, Fixed::HALF));
        let report = ConflictReport { strategy: Some(strategy), ..report(ANA, &[claim_reputation("1")]) };
        world.happen(event(BOB, report));
        let id = open_about(&world, ANA, ContestedField::Reputation).unwrap();
        let conflict = conflict(&world, id);
        let of = |person: Person| {
            conflict.electors.iter().find(|elector| elector.agent == person.id()).unwrap().weight
        };
        assert_eq!([of(CLEO), of(DAN)], want, "{strategy}");
    }
}

fn scores() -> impl Generator<Value = Fixed> {
    prop_oneof![Just(0), Just(Fixed::SCALE), 0..=Fixed::SCALE].prop_map(Fixed::from_millionths)
}

fn personalities() -> impl Generator<Value = Personality> {
    prop::sample::select(Personality::ALL)
}

/// What one of at most twenty identities gets of a score.
fn shares() -> impl Generator<Value = Fixed> {
    prop_oneof![Just(0), Just(50_000), 0..=50_000_i64].prop_map(Fixed::from_millionths)
}

/// Every table that the parameters allow.
fn tables() -> impl Generator<Value = Parameters> {
    let entry = prop_oneof![Just(500_000), Just(2_000_000), 500_000..=2_000_000_i64];
    prop::collection::vec(entry, 18).prop_map(|table| {
        let at = |index: usize| Weights {
            facts: Fixed::from_millionths(table[index]),
            alliances: Fixed::from_millionths(table[index + 9]),
        };
        let personality_weights = PersonalityWeights {
            lawful: at(0),
            neutral: at(1),
            chaotic: at(2),
            memetic: at(3),
            greedy: at(4),
            dramatic: at(5),
            rational: at(6),
            emotional: at(7),
            strategic: at(8),
        };
        Parameters { personality_weights, ..Parameters::default() }
    })
}

proptest! {
    /// What one agent has, split among k identities in any way, weighs what k agents weigh and never more: by majority
    /// exactly k, by personality at most k × the largest weight of the table, whatever any of them has gathered; and
    /// by social influence no more than it did in one.
    #[test]
    fn splitting_oneself_gains_identities_alone(
        parameters in tables(), shares in prop::collection::vec((personalities(), shares(), shares(), shares()), 1..20),
        rich in [scores(), scores(), scores()],
    ) {
        prop_assert!(parameters.check().is_ok());
        let identity = |&(personality, reputation, influence, voting_power): &_| {
            Standing { personality, reputation, influence, voting_power }
        };
        let identities: Vec<_> = shares.iter().map(identity).collect();
        let whole = identities.iter().skip(1).fold(identities[0], |whole, part| Standing {
            reputation: whole.reputation.plus(part.reputation),
            influence: whole.influence.plus(part.influence),
            voting_power: whole.voting_power.plus(part.voting_power),
            ..whole
        });
        let [reputation, influence, voting_power] = rich;
        let k = identities.len() as u64;
        for kind in [FACTS, ALLIANCES] {
            let of = |strategy, standing: &Standing| weight(strategy, kind, standing, &parameters);
            let all = |strategy| identities.iter().map(|one| of(strategy, one)).sum::<u64>();
            prop_assert_eq!(all(Strategy::Majority), k * of(Strategy::Majority, &whole));
            let largest = Personality::ALL.iter().map(|personality| {
                of(Strategy::Personality, &Standing { personality: *personality, ..whole })
            });
            prop_assert!(all(Strategy::Personality) <= k * largest.max().unwrap());
            prop_assert!(all(Strategy::SocialInfluence) <= of(Strategy::SocialInfluence, &whole));
            // However rich as many identities are, they weigh what they weighed poor.
            let rich = identities.iter().map(|one| Standing { reputation, influence, voting_power, ..*one });
            let rich: u64 = rich.map(|one| of(Strategy::Personality, &one)).sum();
            prop_assert_eq!(rich, all(Strategy::Personality));
        }
    }

    /// Whoever owns k identities that have all there is to have carries nothing against k agents that have nothing, by
    /// majority, nor against 4 k of them by personality, whatever the table is.
    #[test]
    fn identities_outvote_no_crowd(
        parameters in tables(), own in prop::collection::vec(personalities(), 1..10),
        crowd in prop::collection::vec(personalities(), 40),
    ) {
        for (strategy, times) in [(Strategy::Majority, 1), (Strategy::Personality, 4)] {
            for kind in [FACTS, ALLIANCES] {
                let weigh = |personality: &Personality, all: &str| {
                    weight(strategy, kind, &standing(*personality, all, all, all), &parameters)
                };
                let crowd = crowd[..own.len() * times].iter().map(|one| (weigh(one, "0"), Said::For(0)));
                let own = own.iter().map(|one| (weigh(one, "1"), Said::For(1)));
                let conflict = conflict_of(2, &own.chain(crowd).collect::<Vec<_>>());
                prop_assert_eq!(decide(&conflict, DEADLINE, &[0, 1]).unwrap().option, Some(0));
            }
        }
    }

    /// Personality and majority look at nothing that an agent can gather: reputation, influence, alliances.
    #[test]
    fn what_is_gathered_moves_only_social_influence(
        personality in personalities(), scores in [scores(), scores(), scores(), scores(), scores(), scores()],
    ) {
        let parameters = Parameters::default();
        let [a, b, c, d, e, f] = scores;
        let one = Standing { personality, reputation: a, influence: b, voting_power: c };
        let other = Standing { personality, reputation: d, influence: e, voting_power: f };
        for strategy in [Strategy::Majority, Strategy::Personality] {
            prop_assert_eq!(
                weight(strategy, FACTS, &one, &parameters),
                weight(strategy, FACTS, &other, &parameters)
            );
        }
    }

    /// Reputation that is split among identities of the same influence weighs at most what it weighed in one.
    #[test]
    fn splitting_reputation_gains_nothing(
        parts in prop::collection::vec(0..=100_000_i64, 1..10), influence in scores(), power in scores(),
        cap in 0..=10 * Fixed::SCALE,
    ) {
        let parameters = Parameters { influence_cap: Fixed::from_millionths(cap), ..Parameters::default() };
        let social = |reputation: i64| {
            let reputation = Fixed::from_millionths(reputation);
            let of = Standing { personality: Personality::Neutral, reputation, influence, voting_power: power };
            weight(Strategy::SocialInfluence, FACTS, &of, &parameters)
        };
        let whole = social(parts.iter().sum());
        let split: u64 = parts.iter().map(|part| social(*part)).sum();
        prop_assert!(split <= whole);
        prop_assert!(whole - split < parts.len() as u64, "and loses less than a millionth each");
    }

    /// More reputation, influence or voting power never weighs less, and a cap holds whatever they are.
    #[test]
    fn weights_rise_with_their_factors(
        low in scores(), high in scores(), rest in [scores(), scores()], cap in 0..=10 * Fixed::SCALE,
    ) {
        let parameters = Parameters { influence_cap: Fixed::from_millionths(cap), ..Parameters::default() };
        let (low, high) = (low.min(high), low.max(high));
        let social = |reputation, influence, voting_power| {
            let of = Standing { personality: Personality::Neutral, reputation, influence, voting_power };
            weight(Strategy::SocialInfluence, FACTS, &of, &parameters)
        };
        let [a, b] = rest;
        prop_assert!(social(low, a, b) <= social(high, a, b));
        prop_assert!(social(a, low, b) <= social(a, high, b));
        prop_assert!(social(a, b, low) <= social(a, b, high));
        prop_assert!(social(high, a, b) <= 1_000_000 + cap.unsigned_abs());
    }

    /// Scores that no rule would let into the state overflow nothing.
    #[test]
    fn nothing_overflows(reputation: i64, influence: i64, power: i64, cap: i64) {
        let millionths = Fixed::from_millionths;
        let parameters = Parameters { influence_cap: millionths(cap), ..Parameters::default() };
        let of = Standing {
            personality: Personality::Neutral,
            reputation: millionths(reputation),
            influence: millionths(influence),
            voting_power: millionths(power),
        };
        for strategy in Strategy::ALL {
            weight(*strategy, FACTS, &of, &parameters);
        }
    }
}
