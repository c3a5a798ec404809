//! The strength of an alliance rises with each of its factors, and falls with the time that passes.

use chaoschain_schemas::society::Relationship;
use chaoschain_schemas::{AllianceId, Fixed, Timestamp, codec};
use chaoschain_society::{formula, keys};
use proptest::prelude::*;

use crate::support::*;

/// What an alliance of some people is made of, each from a tenth on; the third is a member's view of the next.
type Factors = Vec<[i64; 3]>;

fn factors() -> impl Strategy<Value = Factors> {
    let score = || prop_oneof![Just(100_000), Just(Fixed::SCALE), 100_000..=Fixed::SCALE];
    proptest::collection::vec([score(), score(), score()], 2..6)
}

/// Writes the factors into the state in place of those that were.
fn set(mut world: World, id: AllianceId, factors: &Factors) -> World {
    let members = world.alliance(id).members;
    for (at, factors) in factors.iter().enumerate() {
        let [reputation, influence, trust] = factors.map(Fixed::from_millionths);
        let key = keys::agent(&members[at]);
        let mut agent: chaoschain_schemas::society::Agent = world.record(&key).unwrap();
        (agent.reputation, agent.influence) = (reputation, influence);
        world.happen(Given::Record(key, codec::encode(&agent).into()));
        let view = Relationship { trust, ..Relationship::default() };
        let key = keys::relationship(&members[at], &members[(at + 1) % members.len()]);
        world.happen(Given::Record(key, codec::encode(&view).into()));
    }
    world
}

fn strength(world: &World, id: AllianceId) -> Fixed {
    fixed(world.read("alliance", &[&id.to_string()]).unwrap()["strength"].as_str().unwrap())
}

proptest! {
    #[test]
    fn it_rises_with_each_factor_and_falls_with_time(
        factors in factors(), who: prop::sample::Index, which in 0..3_usize, more in 0..=Fixed::SCALE,
        early in 0..HOUR / 2, later in 0..HOUR / 4,
    ) {
        let people: Vec<_> = (1..=factors.len() as u64).map(Person).collect();
        let world = given(people.iter().copied().map(registered)).and([formed(&people, formation(&people))]);
        let id = AllianceId::from(world.last);
        let mut world = set(world, id, &factors).and([passed(early)]);
        let before = strength(&world, id);
        prop_assert!(before.is_within(Fixed::ZERO, Fixed::ONE));

        let mut raised = factors.clone();
        let score = &mut raised[who.index(factors.len())][which];
        let gained = more.min(Fixed::SCALE - *score);
        *score += gained;
        world = set(world, id, &raised);
        let after = strength(&world, id);
        prop_assert!(after >= before);
        // The other three make at least a thousandth, and truncation takes less than four millionths.
        if gained > 10_000 * factors.len().cast_signed() as i64 {
            prop_assert!(after > before, "{} is not above {}", after, before);
        }

        world.happen(passed(later));
        prop_assert!(strength(&world, id) <= after);
        if later > HOUR / 10 {
            prop_assert!(strength(&world, id) < after);
        }
        world.now = Timestamp(START.0 + HOUR);
        prop_assert_eq!(strength(&world, id), Fixed::ZERO);
    }

    /// A mean lies between the ends of what it is of, and rises with each.
    #[test]
    fn means_rise_with_each_score(
        scores in proptest::collection::vec(0..=Fixed::SCALE, 1..64), who: prop::sample::Index, more in 0..=Fixed::SCALE,
    ) {
        let mean = |scores: &[i64]| formula::mean(scores.iter().copied().map(Fixed::from_millionths)).millionths();
        let mut raised = scores.clone();
        raised[who.index(scores.len())] += more;
        prop_assert!((scores.iter().min()..=scores.iter().max()).contains(&Some(&mean(&scores))));
        prop_assert!(mean(&raised) >= mean(&scores));
        let least = more / scores.len().cast_signed() as i64;
        prop_assert!((least..=least + 1).contains(&(mean(&raised) - mean(&scores))));
    }

    /// What is left falls from the whole to nothing, for any times that there are.
    #[test]
    fn the_time_that_is_left_falls(formed: u64, lasts: u64, one: u64, other: u64) {
        let expires = Timestamp(formed.saturating_add(lasts));
        let left = |now| formula::time_left(Timestamp(formed), expires, Timestamp(now));
        prop_assert!(left(one.min(other)) >= left(one.max(other)));
        prop_assert!(left(one).is_within(Fixed::ZERO, Fixed::ONE));
        prop_assert_eq!(left(expires.0), Fixed::ZERO);
        prop_assert_eq!(left(formed), if expires.0 > formed { Fixed::ONE } else { Fixed::ZERO });
    }
}
