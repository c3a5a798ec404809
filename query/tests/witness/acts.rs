//! What somebody in a society may try to do, well or badly, and the events that come of it.

use std::collections::BTreeSet;

use chaoschain_schemas::society::{
    AgentRegistration, AgentStatus, AllianceBetrayal, AllianceDeparture, AllianceFormation, AlliancePurpose,
    AllianceReconciliation, AllianceTerms, Benefit, Claim, ConflictReport, ConflictResolution, CustomDelete,
    CustomSet, Divergence, DramaKind, DramaRecord, FactReport, InteractionKind, MemeContent, MemeInfluence,
    MemePublication, MemeReaction, MemeType, OpinionCast, Personality, PersonalityShift, PurposeKind,
    ReputationUpdate, SocialInteraction, StatusUpdate,
};
use chaoschain_schemas::{AgentId, Fixed, Hash, Height, Micros};
use chaoschain_society::Transition;
use proptest::prelude::*;
use proptest::sample::select;

use crate::scene::Scene;

/// How many may be agents; the producer comes after them and never is one.
pub(crate) const AGENTS: usize = 6;

/// What there is by its age, 0 for the latest, and round again where there is less; `None` for what never was.
pub(crate) type Age = Option<usize>;

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Register,
    TakeStatus(AgentStatus, Option<u64>),
    Rate(usize, i64),
    Shift(Personality, u8),
    Form { with: [usize; 2], exclusive: bool, lasts: u64 },
    Depart(Age),
    Betray(Age),
    Reconcile(Age),
    Meet(usize, u8),
    Dramatise(DramaKind),
    Publish { refers_to: Option<Age>, forged: bool },
    Influence(Age, i64),
    React(Age, i64),
    Set(u8),
    Delete(u8),
    Contest(usize, Personality),
    Diverge(u64),
    Opine(Age, u8),
    Resolve(Age),
}

/// What is wrong with an event whatever its rules say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flaw {
    NonceUsed,
    NonceAhead,
    Expired,
    AnothersKey,
    CosignerMissing,
    CosignerUnneeded,
    Garbled,
    KindUnknown,
    Expectation,
}

impl Flaw {
    const ALL: [Self; 9] = [
        Self::NonceUsed,
        Self::NonceAhead,
        Self::Expired,
        Self::AnothersKey,
        Self::CosignerMissing,
        Self::CosignerUnneeded,
        Self::Garbled,
        Self::KindUnknown,
        Self::Expectation,
    ];
}

#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) by: usize,
    pub(crate) act: Act,
    pub(crate) flaw: Option<Flaw>,
}

pub(crate) fn deed() -> impl Strategy<Value = Deed> {
    let flaw = prop_oneof![5 => Just(None), 1 => select(&Flaw::ALL[..]).prop_map(Some)];
    let done = prop_oneof![
        40 => (author(), prop_oneof![own_acts(), acts_together(), acts_on_memes(), acts_in_conflicts()]),
        1 => (AGENTS - 1..=AGENTS, (0..4_u64).prop_map(Act::Diverge)),
    ];
    (done, flaw).prop_map(|((by, act), flaw)| Deed { by, act, flaw })
}

fn author() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..AGENTS, 1 => Just(AGENTS)]
}

fn own_acts() -> impl Strategy<Value = Act> {
    let duration = select(&[None, Some(0), Some(3600)][..]);
    prop_oneof![
        2 => Just(Act::Register),
        1 => (select(AgentStatus::ALL), duration).prop_map(|(status, lasts)| Act::TakeStatus(status, lasts)),
        1 => (select(Personality::ALL), 0..12_u8).prop_map(|(to, drama)| Act::Shift(to, drama)),
        1 => select(DramaKind::ALL).prop_map(Act::Dramatise),
        1 => (0..3_u8).prop_map(Act::Set),
        1 => (0..3_u8).prop_map(Act::Delete),
    ]
}

fn acts_together() -> impl Strategy<Value = Act> {
    let lasts = select(&[0, 600, 7200, 172_800, 172_800, 172_800][..]);
    let formation = ([0..AGENTS, 0..AGENTS], any::<bool>(), lasts);
    prop_oneof![
        2 => (0..AGENTS, -11..11_i64).prop_map(|(of, rating)| Act::Rate(of, rating)),
        2 => (0..AGENTS, 0..12_u8).prop_map(|(whom, drama)| Act::Meet(whom, drama)),
        6 => formation.prop_map(|(with, exclusive, lasts)| Act::Form { with, exclusive, lasts }),
        3 => age().prop_map(Act::Depart),
        // Whoever betrayed is in no exclusive alliance for a month, which is longer than any history here.
        1 => age().prop_map(Act::Betray),
        3 => age().prop_map(Act::Reconcile),
    ]
}

fn acts_on_memes() -> impl Strategy<Value = Act> {
    let reference = prop_oneof![Just(None), age().prop_map(Some)];
    let forged = prop_oneof![4 => Just(false), 1 => Just(true)];
    prop_oneof![
        2 => (reference, forged).prop_map(|(refers_to, forged)| Act::Publish { refers_to, forged }),
        2 => (age(), -8..8_i64).prop_map(|(meme, impact)| Act::Influence(meme, impact)),
        2 => (age(), 0..12_i64).prop_map(|(meme, score)| Act::React(meme, score)),
    ]
}

fn acts_in_conflicts() -> impl Strategy<Value = Act> {
    let option = select(&[0, 1, 1, 1, 2][..]);
    prop_oneof![
        2 => (0..AGENTS, select(Personality::ALL)).prop_map(|(whom, claim)| Act::Contest(whom, claim)),
        8 => (age(), option).prop_map(|(conflict, option)| Act::Opine(conflict, option)),
        2 => age().prop_map(Act::Resolve),
    ]
}

fn age() -> impl Strategy<Value = Age> {
    prop_oneof![9 => select(&[0, 0, 0, 1, 1, 2][..]).prop_map(Some), 1 => Just(None)]
}

fn tenths(number: i64) -> Fixed {
    Fixed::from_millionths(number * 100_000)
}

/// The transition that `by` wants as things stand in the scene.
pub(crate) fn transition(scene: &Scene, by: AgentId, act: &Act) -> Transition {
    match *act {
        Act::Register => AgentRegistration { personality: Personality::Chaotic }.into(),
        Act::TakeStatus(status, lasts) => {
            StatusUpdate { status, reason: "so".into(), expected: lasts.map(Micros::from_secs) }.into()
        }
        Act::Rate(of, rating) => {
            ReputationUpdate { subject: scene.agents[of], rating: tenths(rating) }.into()
        }
        Act::Shift(personality, drama) => PersonalityShift { personality, reason: "so".into(), drama }.into(),
        Act::Form { with, exclusive, lasts } => formation(scene, by, with, exclusive, lasts),
        Act::Depart(age) => {
            let alliance = scene.alliance(age).0;
            AllianceDeparture { alliance, reason: "bored".into(), drama: 2 }.into()
        }
        Act::Betray(age) => {
            let alliance = scene.alliance(age).0;
            AllianceBetrayal { alliance, description: "sold out".into(), drama: 8 }.into()
        }
        Act::Reconcile(age) => {
            let (alliance, members) = scene.alliance(age);
            AllianceReconciliation { alliance, members }.into()
        }
        Act::Meet(whom, drama) => interaction(scene, whom, drama),
        Act::Dramatise(kind) => DramaRecord { kind, text: "chaos".into(), level: 3 }.into(),
        Act::Publish { refers_to, forged } => publication(scene, refers_to, forged),
        Act::Influence(age, impact) => influence(scene, age, impact),
        Act::React(age, score) => MemeReaction { meme: scene.meme(age), score: tenths(score) }.into(),
        Act::Set(key) => {
            let (namespace, key) = entry(key);
            CustomSet { namespace, key, value: b"v".to_vec().into() }.into()
        }
        Act::Delete(key) => {
            let (namespace, key) = entry(key);
            CustomDelete { namespace, key }.into()
        }
        Act::Contest(whom, personality) => contest(scene, whom, personality),
        Act::Diverge(ahead) => evidence(scene, ahead),
        Act::Opine(age, option) => OpinionCast { conflict: scene.conflict(age), option }.into(),
        Act::Resolve(age) => ConflictResolution { conflict: scene.conflict(age) }.into(),
    }
}

fn entry(key: u8) -> (String, String) {
    ("notes".into(), key.to_string())
}

fn formation(scene: &Scene, by: AgentId, with: [usize; 2], exclusive: bool, lasts: u64) -> Transition {
    let members = with.map(|member| scene.agents[member]).into_iter().chain([by]);
    AllianceFormation {
        members: members.collect::<BTreeSet<_>>().into_iter().collect(),
        purpose: AlliancePurpose::of(PurposeKind::Social),
        terms: AllianceTerms {
            duration: Micros::from_secs(lasts),
            benefits: Benefit::ALL.to_vec(),
            conditions: Vec::new(),
        },
        exclusive,
    }
    .into()
}

fn interaction(scene: &Scene, whom: usize, drama: u8) -> Transition {
    SocialInteraction {
        kind: InteractionKind::Rival,
        targets: vec![scene.agents[whom]],
        content: None,
        sentiment: tenths(-4),
        drama,
    }
    .into()
}

fn publication(scene: &Scene, refers_to: Option<Age>, forged: bool) -> Transition {
    let claimed: &[u8] = if forged { b"not this" } else { b"this" };
    MemePublication {
        content_type: MemeType::Text,
        content: MemeContent::of(claimed),
        inline: Some(b"this".to_vec().into()),
        metadata: String::new(),
        references: refers_to.map(|age| scene.meme(age)).into_iter().collect(),
        tags: vec!["classic".into()],
        targets: vec![scene.agents[0]],
    }
    .into()
}

fn influence(scene: &Scene, age: Age, impact: i64) -> Transition {
    MemeInfluence {
        meme: scene.meme(age),
        impact: tenths(impact),
        sentiment: tenths(5),
        affected: vec![scene.agents[1]],
    }
    .into()
}

fn contest(scene: &Scene, whom: usize, personality: Personality) -> Transition {
    let claim = Claim { personality: Some(personality), ..Claim::default() };
    let fact = FactReport { agent: scene.agents[whom], claims: vec![claim] };
    ConflictReport { fact: Some(fact), divergence: None, strategy: None, reason: "look".into() }.into()
}

/// Evidence about a height near the next one's, on either side of it.
fn evidence(scene: &Scene, ahead: u64) -> Transition {
    let height = Height(scene.height.0.saturating_sub(2) + ahead);
    let divergence = Divergence { height, header_hash: Hash::new([1; 32]), computed: Hash::new([2; 32]) };
    ConflictReport { fact: None, divergence: Some(divergence), strategy: None, reason: "look".into() }.into()
}
