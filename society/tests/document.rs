//! Holds `docs/domain.md` against the rules: its kinds, default parameters, refusals, and what its worked examples come to.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use chaoschain_schemas::society::{ConflictKind, Parameters, Personality, ReactionKind, Strategy};
use chaoschain_schemas::{ConflictId, Fixed, Hash, Micros, Timestamp};
use chaoschain_society::conflict::{Standing, shuffled_ordinals, weight};
use chaoschain_society::{Society, formula};
use chaoschain_state::domain::Domain as _;
use serde_json::{Value as Json, json};

const DOCUMENT: &str = include_str!("../../docs/domain.md");

/// The lines after a heading, up to the next one.
fn section(heading: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// A table's rows, cell by cell.
fn rows(section: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    section.lines().filter(|line| line.starts_with('|')).map(cells)
}

#[test]
fn the_kinds_are_those_of_the_rules() {
    let documented: Vec<_> = rows(section("Kinds"))
        .filter_map(|row| {
            let name = row[2].strip_prefix('`')?.strip_suffix('`')?;
            let (size, unit) = row[4].split_once(' ').unwrap();
            let unit = ["B", "KiB"].iter().position(|known| *known == unit).unwrap();
            let bytes = size.parse::<usize>().unwrap() << (10 * unit);
            Some((row[1].parse::<u16>().unwrap(), name, bytes))
        })
        .collect();
    let known: Vec<_> = Society::KINDS.iter().map(|spec| (spec.kind, spec.name, spec.bytes_max)).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_parameters_are_those_of_a_new_chain() {
    let section = section("Parameters");
    let (_, json) = section.split_once("```json\n").unwrap();
    let mut documented: Json = serde_json::from_str(json.split_once("```").unwrap().0).unwrap();
    let described: BTreeSet<_> =
        rows(section).filter_map(|row| row[0].strip_prefix('`')?.strip_suffix('`')).collect();
    let defaults = serde_json::to_value(Parameters::default()).unwrap();
    assert_eq!(described, defaults.as_object().unwrap().keys().map(String::as_str).collect());
    // The other weights are in a table.
    let weights = documented["personality_weights"].as_object_mut().unwrap();
    let header = rows(DOCUMENT).find(|row| row.len() == 10 && row[1] == "Lawful").unwrap();
    for (column, personality) in header.iter().enumerate().skip(1) {
        let [facts, alliances] = ["facts", "alliances"]
            .map(|name| rows(DOCUMENT).find(|row| row.len() == 10 && row[0] == name).unwrap()[column]);
        let told = json!({ "facts": facts, "alliances": alliances });
        let also = weights.insert(personality.to_lowercase(), told.clone());
        assert!(also.is_none_or(|also| also == told), "{personality}");
    }
    assert_eq!(documented, defaults);
}

/// What the sources give as codes of refusals.
fn codes(source: &'static str) -> impl Iterator<Item = &'static str> {
    let (_, matched) = source.split_once("pub const fn code").unwrap();
    let (matched, _) = matched.split_once("\n    }\n").unwrap();
    matched.lines().filter_map(|line| line.split_once("=> \"")?.1.split_once('"')).map(|(code, _)| code)
}

#[test]
fn the_refusals_are_those_of_the_rules() {
    let known: BTreeSet<_> = codes(include_str!("../src/error.rs"))
        .chain(codes(include_str!("../src/conflict/error.rs")))
        .collect();
    assert!(known.len() > 40, "{known:?}");
    let documented: BTreeSet<_> =
        rows(section("Refusals")).filter_map(|row| row[0].strip_prefix('`')?.strip_suffix('`')).collect();
    assert_eq!(documented, known);
}

/// What is bold in the examples, after the word itself; numbers without commas.
fn results() -> Vec<String> {
    let quoted = DOCUMENT.lines().filter_map(|line| line.strip_prefix("> "));
    let text = quoted.collect::<Vec<_>>().join("\n");
    let bold = text.split("**").skip(1).step_by(2).filter(|bold| *bold != "Example.");
    bold.map(|bold| bold.replace(',', "")).collect()
}

#[test]
fn the_examples_come_to_what_the_rules_make_of_them() {
    let fixed = |text: &str| text.parse::<Fixed>().unwrap();
    let hours = |count: u64| Micros(formula::HOUR.0 * count);
    let (half, one) = (fixed("0.5"), Fixed::ONE);
    let up = |score: Fixed, by: Fixed| score.plus_within(by, Fixed::ZERO, one);
    let mut expected: Vec<String> = Vec::new();
    let mut comes_to = |value: &dyn ToString| expected.push(value.to_string());

    // Ratings.
    comes_to(&up(half, formula::trust_by_rating(fixed("0.8"))));
    comes_to(&up(half, formula::reputation_by_rating(fixed("0.8"), half)));
    let bob = up(half, formula::reputation_by_rating(fixed("-1"), half));
    comes_to(&up(half, formula::reputation_by_rating(one, bob)));
    // Interactions.
    comes_to(&up(half, formula::trust_by_interaction(fixed("-0.5"), 4)));
    comes_to(&formula::trust_by_interaction(fixed("0.000019"), 10).millionths());
    comes_to(&formula::boosted_drama(4, fixed("0.1377")));
    // Benefits.
    comes_to(&formula::reputation_by_rating(one, half.plus(fixed("0.125"))));
    comes_to(&formula::reputation_by_rating(one, half));
    // Betrayal, reconciliation, strength.
    comes_to(&up(half, formula::trust_by_betrayal(8)));
    comes_to(&Timestamp(1_700_000_000_000_000).saturating_add(formula::BETRAYAL_MEMORY).0);
    let mended = up(up(half, formula::trust_by_betrayal(0)), formula::FORGIVENESS);
    comes_to(&mended);
    comes_to(&formula::strength(half, formula::mean([mended, half]), half, one));
    let members = formula::mean([half, fixed("0.52")]);
    let interactions = formula::mean([fixed("0.58"), half]);
    for quarters_left in [4, 3, 0] {
        let left = formula::time_left(Timestamp(0), Timestamp(4), Timestamp(4 - quarters_left));
        comes_to(&formula::strength(members, interactions, half, left));
    }
    // Memes.
    comes_to(&fixed("0.4"));
    comes_to(&up(half, formula::trust_by_influence(fixed("0.4"), fixed("-0.5"))));
    comes_to(&up(half, formula::influence_of_creator(fixed("0.4"))));
    comes_to(&half.plus(fixed("0.1377")));
    comes_to(&(1_700_000_000_000_000 / formula::HOUR.0));
    comes_to(&(472_223 * formula::HOUR.0));
    let added = formula::influence_by_reaction(ReactionKind::Love, half, fixed("0.58"));
    comes_to(&added);
    comes_to(&up(half, formula::influence_of_creator(added)));
    comes_to(&up(fixed("0.58"), formula::trust_by_reaction(fixed("0.9"))));
    comes_to(&formula::mean([fixed("0.9"), fixed("0.6"), Fixed::ZERO]));
    comes_to(&formula::virality(1, 1, 0, 4));
    for elapsed in [12, 36, 48] {
        comes_to(&formula::decayed(fixed("0.8"), hours(elapsed), hours(24)));
    }
    comes_to(&formula::decayed(fixed("0.8"), hours(36), hours(24)).plus(fixed("0.1")));
    // Draws, electors.
    let first = shuffled_ordinals(Hash::new([0x11; 32]), ConflictId::new([0x22; 32]), 1000).take(8);
    comes_to(&first.map(|ordinal| ordinal.to_string()).collect::<Vec<_>>().join(" "));
    for influence in ["0.5", "0.9"] {
        let standing = Standing {
            personality: Personality::Neutral,
            reputation: half,
            influence: fixed(influence),
            voting_power: fixed("0.1377"),
        };
        let weight = weight(
            Strategy::SocialInfluence,
            ConflictKind::InconsistentAgentState,
            &standing,
            &Parameters::default(),
        );
        comes_to(&Fixed::from_millionths(weight.try_into().unwrap()));
    }
    for decided in ["Deadline", "Default"] {
        comes_to(&decided);
    }
    assert_eq!(results(), expected);
}
