//! Freezes the arithmetic: `golden/formulas.json` holds each formula of docs/domain.md at many inputs, with its output.
//!
//! Numbers are as in all JSON: scores are decimals in quotes, weights millionths, times and spans microseconds. A change
//! here changes what every log comes to. When one is meant, write the file anew with `CHAOSCHAIN_GOLDEN=write` and read the
//! difference.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chaoschain_schemas::society::{
    AgentCount, Conflict, ConflictKind, ConflictOption, ConflictSubject, Elector, InfluenceScore, Meme,
    MemeContent, MemeType, Parameters, Personality, ReactionCounts, ReactionKind, Strategy, Weights,
};
use chaoschain_schemas::{AgentId, ConflictId, Fixed, Hash, Height, MemeId, Micros, Timestamp, codec};
use chaoschain_society::conflict::{
    Decision, Standing, decide, drawn_ordinal, shuffled_ordinals, tally, weight,
};
use chaoschain_society::{Society, formula, keys};
use chaoschain_state::{BaseView, Key, Value, control};
use serde::Serialize;
use serde_json::{Value as Json, json};

const DAY: u64 = 24 * formula::HOUR.0;

#[derive(Default)]
struct Vectors(Vec<Json>);

impl Vectors {
    #[allow(clippy::needless_pass_by_value, reason = "json! is written in place")]
    fn add(&mut self, formula: &str, inputs: Json, output: impl Serialize) {
        self.0.push(json!({ "formula": formula, "inputs": inputs, "output": output }));
    }
}

/// Numbers without a pattern, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn score(&mut self) -> Fixed {
        Fixed::from_millionths(self.below(1_000_001).cast_signed())
    }

    fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u64) as usize]
    }
}

fn fixed(text: &str) -> Fixed {
    text.parse().unwrap()
}

/// Within 0 … 1: the ends, both sides of every bound and of every truncation, and some between.
fn scores() -> Vec<Fixed> {
    let edges = [
        0, 1, 9, 10, 19, 20, 39, 125_000, 137_700, 300_000, 300_001, 475_000, 500_000, 500_001, 580_000,
        700_000, 700_001, 900_000, 999_999, 1_000_000,
    ];
    let mut numbers = Numbers(1);
    let between: Vec<_> = (0..10).map(|_| numbers.score()).collect();
    edges.into_iter().map(Fixed::from_millionths).chain(between).collect()
}

/// Within −1 … 1.
fn signed() -> Vec<Fixed> {
    let negative = scores().into_iter().filter(|score| *score != Fixed::ZERO);
    let negative = negative.step_by(2).map(|score| Fixed::from_millionths(-score.millionths()));
    [Fixed::from_millionths(-19), fixed("-1")].into_iter().chain(negative).chain(scores()).collect()
}

/// Each of `some` with two of the `others`.
fn paired(some: &[Fixed], others: &[Fixed]) -> Vec<(Fixed, Fixed)> {
    let with = |(at, one): (usize, &Fixed)| [0, 7].map(|step| (*one, others[(at + step) % others.len()]));
    some.iter().enumerate().flat_map(with).collect()
}

fn ratings(vectors: &mut Vectors) {
    for (value, change) in paired(&scores(), &signed()) {
        let held = value.plus_within(change, Fixed::ZERO, Fixed::ONE);
        vectors.add("held", json!({ "value": value, "change": change }), held);
    }
    for rating in signed() {
        vectors.add("trust_by_rating", json!({ "rating": rating }), formula::trust_by_rating(rating));
    }
    let boosts = [Fixed::ZERO, fixed("0.125"), Fixed::ZERO, fixed("0.000001"), Fixed::ONE];
    for ((rating, reputation), boost) in
        paired(&signed(), &scores()).into_iter().zip(boosts.into_iter().cycle())
    {
        let author = reputation.plus_within(boost, Fixed::ZERO, Fixed::ONE);
        let inputs = json!({ "rating": rating, "reputation": reputation, "boost": boost });
        vectors.add("reputation_by_rating", inputs, formula::reputation_by_rating(rating, author));
    }
}

fn interactions(vectors: &mut Vectors) {
    for (at, sentiment) in (0..).zip(signed()) {
        for drama in BTreeSet::from([at % 11, 10]) {
            let inputs = json!({ "sentiment": sentiment, "drama": drama });
            vectors.add("trust_by_interaction", inputs, formula::trust_by_interaction(sentiment, drama));
        }
    }
    for drama in 0..=10 {
        for boost in ["0", "0.099999", "0.1", "0.1377", "0.999999", "1"].map(fixed) {
            let inputs = json!({ "drama": drama, "boost": boost });
            vectors.add("boosted_drama", inputs, formula::boosted_drama(drama, boost));
        }
        vectors.add("trust_by_betrayal", json!({ "drama": drama }), formula::trust_by_betrayal(drama));
    }
    vectors.add("trust_by_reconciliation", json!({}), formula::FORGIVENESS);
}

fn memes(vectors: &mut Vectors) {
    for (impact, sentiment) in paired(&signed(), &signed()) {
        let inputs = json!({ "impact": impact, "sentiment": sentiment });
        vectors.add("trust_by_influence", inputs, formula::trust_by_influence(impact, sentiment));
    }
    for added in signed() {
        vectors.add("influence_of_creator", json!({ "added": added }), formula::influence_of_creator(added));
    }
    let mut numbers = Numbers(2);
    for score in scores() {
        let kind = formula::reaction_kind(score);
        let base = formula::influence_by_reaction(kind, Fixed::ONE, Fixed::ONE);
        vectors.add("reaction", json!({ "score": score }), json!({ "kind": kind, "base": base }));
        vectors.add("trust_by_reaction", json!({ "score": score }), formula::trust_by_reaction(score));
        for (influence, trust) in [(Fixed::HALF, fixed("0.58")), (numbers.score(), numbers.score())] {
            let inputs = json!({ "score": score, "influence": influence, "trust": trust });
            vectors.add(
                "influence_by_reaction",
                inputs,
                formula::influence_by_reaction(kind, influence, trust),
            );
        }
    }
    // Each step is truncated: 19 × 0.05 is nothing, and so is what comes of it.
    for (influence, trust) in paired(&scores(), &scores()).into_iter().step_by(5) {
        let inputs = json!({ "score": "0", "influence": influence, "trust": trust });
        let added = formula::influence_by_reaction(ReactionKind::Dislike, influence, trust);
        vectors.add("influence_by_reaction", inputs, added);
    }
}

fn decay(vectors: &mut Vectors) {
    let mut add = |value: Fixed, elapsed: u64, half_life: u64| {
        let left = formula::decayed(value, Micros(elapsed), Micros(half_life));
        vectors.add("decayed", json!({ "value": value, "elapsed": elapsed, "half_life": half_life }), left);
    };
    for half_life in [1, 2, 3, 7, formula::HOUR.0, DAY] {
        let elapsed = [0, 1, half_life / 2, half_life - 1, half_life, half_life + 1, 3 * half_life / 2];
        let late = [19, 20, 62, 63, 64].map(|times| times * half_life);
        for (value, elapsed) in ["1", "0.8", "0.999999"].map(fixed).into_iter().cycle().zip(elapsed) {
            add(value, elapsed, half_life);
        }
        for elapsed in late {
            add(Fixed::ONE, elapsed, half_life);
        }
    }
    for (value, hours) in [(800_000, 12), (800_000, 36), (800_000, 48), (3, 24), (3, 23), (1, 1), (0, 5)] {
        add(Fixed::from_millionths(value), hours * formula::HOUR.0, DAY);
    }
    for half_life in [0, 1, u64::MAX - 1, u64::MAX] {
        for elapsed in [0, u64::MAX - 1, u64::MAX] {
            add(Fixed::ONE, elapsed, half_life);
        }
    }
    let mut numbers = Numbers(3);
    for _ in 0..24 {
        add(numbers.score(), numbers.below(20 * DAY), 1 + numbers.below(3 * DAY));
    }
}

/// What a meme with this score shows, among so many agents.
fn shown(score: &InfluenceScore, agents: u64) -> Json {
    let id = MemeId::default();
    let meme = Meme {
        creator: AgentId::default(),
        created_at: Timestamp(0),
        content_type: MemeType::Text,
        content: MemeContent::of(b""),
        metadata: String::new(),
        references: Vec::new(),
        tags: Vec::new(),
        targets: Vec::new(),
    };
    let state: BTreeMap<Key, Value> = BTreeMap::from([
        (keys::meme(&id), codec::encode(&meme).into()),
        (keys::influence(&id), codec::encode(score).into()),
        (keys::agent_count(), codec::encode(&AgentCount { agents }).into()),
    ]);
    control::read(&Society, "meme", &[id.to_string()], Timestamp(0), &BaseView::new(&state)).unwrap()
}

fn standing_of_memes(vectors: &mut Vectors) {
    let most = u32::MAX;
    let mut counts = vec![
        ([0, 0, 0, 0], 0, 4),
        ([1, 1, 0, 1], 0, 4),
        ([2, 1, 9, 9], 1, 7),
        ([0, 0, 3, 0], 1, 3),
        ([1, 0, 0, 0], 0, u64::MAX),
        ([most, most, most, most], most, 5),
        ([most, 0, 0, 0], 0, u64::from(most) + 1),
        ([3, 3, 0, 0], 3, 9),
        ([3, 3, 0, 0], 3, 10),
    ];
    let mut numbers = Numbers(4);
    for _ in 0..24 {
        let reactions = [0; 4].map(|_: u32| numbers.below(40) as u32);
        counts.push((reactions, numbers.below(40) as u32, 1 + numbers.below(200)));
    }
    for (at, ([love, like, neutral, dislike], count, agents)) in (0_i64..).zip(counts) {
        let reactions = ReactionCounts { love, like, neutral, dislike };
        let number = [love, like, neutral, dislike].into_iter().map(i64::from).sum::<i64>();
        // From nothing at all to the best score each time; 1.5 for the example.
        let score_sum =
            if at == 1 { fixed("1.5") } else { Fixed::from_millionths(number * (at * 33_333 % 1_000_001)) };
        let score = InfluenceScore { count, reactions, score_sum, ..InfluenceScore::default() };
        let shown = shown(&score, agents);
        let inputs = json!({ "score_sum": score_sum, "reactions": reactions });
        vectors.add("quality", inputs, &shown["quality"]);
        let inputs = json!({ "love": love, "like": like, "influences": count, "agents": agents });
        assert_eq!(shown["virality"], json!(formula::virality(love, like, count, agents)));
        vectors.add("virality", inputs, &shown["virality"]);
    }
}

fn strengths(vectors: &mut Vectors) {
    let mut numbers = Numbers(5);
    let mut means = vec![
        vec![Fixed::ZERO],
        vec![Fixed::ONE; 64],
        ["0.5", "0.52"].map(fixed).to_vec(),
        ["0.58", "0.5"].map(fixed).to_vec(),
        ["0.000001", "0.000002"].map(fixed).to_vec(),
        ["1", "1", "0.999999"].map(fixed).to_vec(),
    ];
    for size in 2..20 {
        means.push((0..size).map(|_| numbers.score()).collect());
    }
    for scores in means {
        let mean = formula::mean(scores.iter().copied());
        vectors.add("mean", json!({ "scores": scores }), mean);
    }
    let mut times = vec![
        (0, 1, 0),
        (0, 1, 1),
        (5, 9, 9),
        (5, 9, 10),
        (5, 8, 6),
        (100, 500, 200),
        (100, 103, 101),
        (0, u64::MAX, 0),
        (0, u64::MAX, 1),
        (0, u64::MAX, u64::MAX - 1),
        (7, 7 + 4 * DAY, 7 + DAY),
    ];
    for _ in 0..16 {
        let (formed, lasts) = (numbers.below(DAY), 1 + numbers.below(9 * DAY));
        times.push((formed, formed + lasts, formed + numbers.below(lasts)));
    }
    for (formed_at, expires_at, now) in times {
        let left = formula::time_left(Timestamp(formed_at), Timestamp(expires_at), Timestamp(now));
        let inputs = json!({ "formed_at": formed_at, "expires_at": expires_at, "now": now });
        vectors.add("time_left", inputs, left);
    }
    let mut factors = vec![
        ["0.51", "0.54", "0.5", "1"].map(fixed),
        ["0.51", "0.54", "0.5", "0.75"].map(fixed),
        ["0.51", "0.54", "0.5", "0"].map(fixed),
        ["0.5", "0.475", "0.5", "1"].map(fixed),
        ["1", "1", "1", "1"].map(fixed),
        ["0", "1", "1", "1"].map(fixed),
        ["0.999999", "0.999999", "0.999999", "0.999999"].map(fixed),
        ["0.001", "0.001", "1", "1"].map(fixed),
        ["0.001", "0.000999", "1", "1"].map(fixed),
    ];
    factors.extend((0..24).map(|_| [0; 4].map(|_: u8| numbers.score())));
    for [members, interactions, memes, time] in factors {
        let inputs =
            json!({ "members": members, "interactions": interactions, "memes": memes, "time": time });
        vectors.add("strength", inputs, formula::strength(members, interactions, memes, time));
    }
}

fn draws(vectors: &mut Vectors) {
    let mut add = |parent: u8, conflict: u8, draw: u32, agents: u64| {
        let (parent, conflict) = (Hash::new([parent; 32]), ConflictId::new([conflict; 32]));
        let inputs = json!({ "parent": parent, "conflict": conflict, "draw": draw, "agents": agents });
        vectors.add("drawn_ordinal", inputs, drawn_ordinal(&parent, &conflict, draw, agents));
    };
    for draw in 0..8 {
        add(0x11, 0x22, draw, 1_000);
        add(0x22, 0x11, draw, 1_000);
    }
    for agents in [1, 2, 129, 1_000_000, u64::MAX] {
        for draw in [0, 1, 1_023] {
            add(0, 0, draw, agents);
            add(0xff, 0xfe, draw, agents);
        }
    }
    for (parent, agents) in [(0x11, 1_000), (0x22, 1_000), (0, 0), (1, 1), (2, 2), (3, 12), (4, u64::MAX)] {
        let (hash, conflict) = (Hash::new([parent; 32]), ConflictId::new([0x22; 32]));
        let inputs = json!({ "parent": hash, "conflict": conflict, "agents": agents });
        let ordinals = shuffled_ordinals(hash, conflict, agents).take(12).collect::<Vec<_>>();
        vectors.add("shuffled_ordinals", inputs, ordinals);
    }
}

fn weights(vectors: &mut Vectors) {
    let mut add = |strategy: Strategy, kind: ConflictKind, parameters: &Parameters, standing: Standing| {
        let Standing { personality, reputation, influence, voting_power } = standing;
        let inputs = json!({
            "strategy": strategy, "kind": kind,
            "personality_weights": parameters.personality_weights.of(personality),
            "influence_cap": parameters.influence_cap,
            "reputation": reputation, "influence": influence, "voting_power": voting_power,
        });
        vectors.add("weight", inputs, weight(strategy, kind, &standing, parameters));
    };
    let kinds = [ConflictKind::InconsistentAgentState, ConflictKind::ConflictingAlliances];
    let mut numbers = Numbers(6);
    let mut some = |personality| Standing {
        personality,
        reputation: numbers.score(),
        influence: numbers.score(),
        voting_power: numbers.score(),
    };
    let default = Parameters::default();
    let mut bounds = Parameters::default();
    bounds.personality_weights.lawful = Weights { facts: Fixed::HALF, alliances: fixed("2") };
    for kind in kinds {
        for personality in Personality::ALL {
            add(Strategy::Personality, kind, &default, some(*personality));
        }
        add(Strategy::Personality, kind, &bounds, some(Personality::Lawful));
        for strategy in Strategy::ALL {
            add(*strategy, kind, &default, some(Personality::Chaotic));
        }
    }
    let of = |[reputation, influence, voting_power]: [&str; 3]| Standing {
        personality: Personality::Neutral,
        reputation: fixed(reputation),
        influence: fixed(influence),
        voting_power: fixed(voting_power),
    };
    let standings = [
        ["0.9", "0.5", "0"],
        ["0.5", "0.5", "0"],
        ["0.3", "0.8", "0"],
        ["0.5", "0.5", "0.1377"],
        ["1", "0.7", "0.7"],
        ["0", "1", "1"],
        ["1", "1", "1"],
        ["0.000001", "0.999999", "0"],
        ["0.999999", "0.999999", "0.000001"],
    ];
    for standing in standings {
        for cap in ["1", "0", "0.5", "10"].map(fixed) {
            let parameters = Parameters { influence_cap: cap, ..Parameters::default() };
            add(Strategy::SocialInfluence, kinds[0], &parameters, of(standing));
        }
    }
}

const DEADLINE: u64 = 1_000;

/// An electorate as its record holds it; nothing of it but what a tally is made of matters.
fn conflict(options: usize, bounds: [Fixed; 2], electors: &[(u64, Option<u8>, bool)]) -> Conflict {
    let [threshold, participation_min] = bounds;
    let elector = |(at, (weight, opinion, voided)): (usize, &(u64, Option<u8>, bool))| Elector {
        agent: AgentId::new([at as u8; 32]),
        weight: *weight,
        opinion: *opinion,
        voided: *voided,
    };
    Conflict {
        kind: ConflictKind::InconsistentAgentState,
        subject: ConflictSubject::default(),
        options: vec![ConflictOption::default(); options],
        strategy: Strategy::Majority,
        reporter: AgentId::default(),
        reason: String::new(),
        opened_height: Height(1),
        opened_at: Timestamp(0),
        deadline: Timestamp(DEADLINE),
        threshold,
        participation_min,
        electors: electors.iter().enumerate().map(elector).collect(),
        outcome: None,
    }
}

fn counts(vectors: &mut Vectors) {
    let default = ["0.666667", "0.333333"].map(fixed);
    let one = 1_000_000;
    let mut cases = vec![
        conflict(2, default, &[]),
        conflict(2, default, &[(0, Some(1), false), (0, None, false)]),
        conflict(
            2,
            default,
            &[(1_350_000, Some(0), false), (750_000, Some(1), false), (540_000, Some(1), false)],
        ),
        conflict(2, default, &[(one, Some(0), false), (one, Some(1), false), (one, None, true)]),
        conflict(3, default, &[(3, Some(0), false), (3, Some(1), false), (3, Some(2), false)]),
        conflict(3, default, &[(2, Some(0), false), (3, Some(1), false), (3, Some(2), false)]),
        // Exactly at the bar, and a millionth above it.
        conflict(2, default, &[(666_667, Some(1), false), (333_333, None, false)]),
        conflict(2, default, &[(666_668, Some(1), false), (333_332, None, false)]),
        conflict(2, [Fixed::HALF, Fixed::ZERO], &[(one, Some(1), false), (one, None, false)]),
        conflict(2, [Fixed::ONE, Fixed::ONE], &[(one, Some(1), false), (one, Some(1), false)]),
        // Exactly the least participation, and a millionth less.
        conflict(2, default, &[(333_333, Some(1), false), (666_667, None, false)]),
        conflict(2, default, &[(333_332, Some(1), false), (666_668, None, false)]),
        conflict(2, [Fixed::ONE, Fixed::ONE], &[(one, Some(1), false), (one, None, true)]),
    ];
    let mut numbers = Numbers(7);
    for _ in 0..40 {
        let options = 2 + numbers.below(7);
        let bounds = [
            numbers.one_of(&["0.5", "0.666667", "1"].map(fixed)),
            numbers.one_of(&["0", "0.333333", "0.5", "1"].map(fixed)),
        ];
        let size = numbers.below(8);
        let electors: Vec<_> = (0..size)
            .map(|_| {
                let weight = numbers.one_of(&[500_000, 750_000, one, one, 1_250_000, 2_000_000, 1, 0]);
                match numbers.below(6) {
                    0 => (weight, None, false),
                    1 => (weight, None, true),
                    _ => (weight, Some(numbers.below(options.min(3)) as u8), false),
                }
            })
            .collect();
        cases.push(conflict(options as usize, bounds, &electors));
    }
    for conflict in cases {
        let electors: Vec<_> = conflict
            .electors
            .iter()
            .map(|of| json!({ "weight": of.weight, "opinion": of.opinion, "voided": of.voided }))
            .collect();
        let options = conflict.options.len();
        let counted = tally(&conflict);
        let output = json!({
            "weights": counted.weights, "total": counted.total, "participation": counted.participation(),
            "all_spoken": counted.all_spoken,
        });
        vectors.add("tally", json!({ "options": options, "electors": electors }), output);
        let all: Vec<_> = (0..options as u8).collect();
        for (at, competing) in [
            (DEADLINE - 1, all.clone()),
            (DEADLINE, all.clone()),
            (DEADLINE, all[..all.len() - 1].to_vec()),
            (DEADLINE - 1, all[1..].to_vec()),
            (0, Vec::new()),
        ] {
            let decision = decide(&conflict, Timestamp(at), &competing);
            let output = decision.map(|Decision { option, by }| json!({ "option": option, "by": by }));
            let inputs = json!({
                "options": options, "electors": electors, "threshold": conflict.threshold,
                "participation_min": conflict.participation_min, "deadline": conflict.deadline, "at": at,
                "competing": competing,
            });
            vectors.add("decide", inputs, output);
        }
    }
}

#[test]
fn formulas_give_what_they_always_gave() {
    let mut vectors = Vectors::default();
    for add in [ratings, interactions, memes, decay, standing_of_memes, strengths, draws, weights, counts] {
        add(&mut vectors);
    }
    // One vector a line, so that a difference names what it is about.
    let lines: Vec<_> = vectors.0.iter().map(Json::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/formulas.json");
    if std::env::var_os("CHAOSCHAIN_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (got, want)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, want, "golden/formulas.json, line {}", line + 1);
    }
    assert_eq!(text, golden, "vectors were added or left out");
}

/// Vectors that never reach an end would freeze little.
#[test]
fn the_vectors_reach_the_ends() {
    let mut vectors = Vectors::default();
    counts(&mut vectors);
    let decisions = vectors.0.iter().filter(|vector| vector["formula"] == "decide");
    let by: BTreeSet<_> = decisions.map(|vector| vector["output"]["by"].to_string()).collect();
    let want =
        ["\"AllSpoken\"", "\"Deadline\"", "\"Default\"", "\"Expiry\"", "\"Lapse\"", "\"Threshold\"", "null"];
    assert_eq!(by.into_iter().collect::<Vec<_>>(), want);
    let mut vectors = Vectors::default();
    standing_of_memes(&mut vectors);
    assert!(vectors.0.iter().any(|vector| vector["formula"] == "virality" && vector["output"] == "1"));
}
