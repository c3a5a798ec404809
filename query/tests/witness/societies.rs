//! The same over histories of the society, in which every kind of transition is accepted and refused: agents, alliances
//! and their rivalry, memes, entries, conflicts and evidence, beside what block time makes due.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_projector::{Head, Verdict};
use chaoschain_schemas::society::{ConflictKind, DecidedBy, DueKind};
use chaoschain_schemas::{AccountId, AgentId, Expectation, Hash, Timestamp};
use chaoschain_society::{Society, Transition, keys};
use chaoschain_state::domain::Domain;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::acts::*;
use crate::chain::*;
use crate::scene::{Scene, conflicts, due};

/// What is said of an event that is accepted.
const ACCEPTED: &str = "accepted";
/// Why an event is refused before any rule of the society is asked.
const FLAWS: [&str; 10] = [
    "nonce_used",
    "nonce_ahead",
    "expired",
    "key_wrong",
    "cosignature_missing",
    "cosignature_unneeded",
    "kind_unknown",
    "expectation_failed",
    "account_unknown",
    "truncated",
];

/// How often what occurred in all histories.
#[derive(Debug, Default)]
struct Tally {
    verdicts: BTreeMap<(u16, &'static str), usize>,
    /// Due work in blocks with accepted events whose refused ones were tried in blocks of the same time.
    due: BTreeMap<DueKind, usize>,
    decided: BTreeMap<(ConflictKind, DecidedBy), usize>,
    evidence: usize,
}

/// A chain and who acts on it: the agents, and the producer, who is none.
struct Stage {
    chain: Chain,
    authors: Vec<Author>,
}

/// A block that events are still tried for.
struct Draft {
    seconds: u64,
    /// What is accepted so far, sealed.
    block: Arc<VerifiedBlock>,
    /// The head that it would be.
    ahead: Arc<Head>,
    /// What is accepted when one event is refused, and that one.
    refused: Vec<Vec<VerifiedEnvelope>>,
}

impl Stage {
    fn new() -> Self {
        let chain = Chain::new(Arc::new(Society));
        let numbers = (0..AGENTS).map(|number| 20 + number as u8).chain([PRODUCER]);
        let authors = numbers.map(|number| Author::new(number, chain.id)).collect();
        Self { chain, authors }
    }

    fn ids(&self) -> Vec<AgentId> {
        self.authors.iter().map(|author| author.id).collect()
    }

    /// Puts what is accepted of the deeds into a block, and holds the verdicts on it, on every block with one of the
    /// refused, and on one with another root, against the full node's.
    fn play(&mut self, seconds: u64, deeds: &[Deed], tally: &mut Tally) {
        let (block, _, ahead) = self.chain.foresee(seconds, &[]);
        let mut draft = Draft { seconds, block, ahead, refused: Vec::new() };
        for deed in deeds {
            self.attempt(deed, &mut draft, tally);
        }
        if !draft.block.events().is_empty() && !draft.refused.is_empty() {
            for kind in due(&self.chain.head(), draft.block.header().timestamp) {
                *tally.due.entry(kind).or_default() += 1;
            }
        }
        self.judge(&draft.block, draft.refused);
    }

    /// Adds the event of a deed to what is accepted for the block or to what is refused.
    fn attempt(&mut self, deed: &Deed, draft: &mut Draft, tally: &mut Tally) {
        let scene = Scene::of(&draft.ahead, self.ids());
        let transition = transition(&scene, scene.agents[deed.by], &deed.act);
        let event = self.event(draft.block.header().timestamp, deed, &transition);
        let tried = [draft.block.events(), &[event]].concat();
        let (block, mut said, ahead) = self.chain.foresee(draft.seconds, &tried);
        let word = match said.pop() {
            Some(Verdict::Accepted(_)) => ACCEPTED,
            Some(Verdict::Rejected(rejection)) => rejection.code(),
            other => panic!("{deed:?} got no verdict but {other:?}"),
        };
        *tally.verdicts.entry((transition.kind(), word)).or_default() += 1;
        if word == ACCEPTED {
            (draft.block, draft.ahead) = (block, ahead);
            self.authors[deed.by].nonce += 1;
        } else {
            draft.refused.push(tried);
        }
    }

    /// The event of a deed in a block at `now`, signed by whom it needs but for its flaw.
    fn event(&self, now: Timestamp, deed: &Deed, transition: &Transition) -> VerifiedEnvelope {
        let mut author = self.authors[deed.by].clone();
        author.valid_until = Timestamp(now.0 + 1_000_000);
        let (mut kind, mut payload) = (transition.kind(), transition.encode());
        let mut signers = Society::parties(transition, &author.id);
        match deed.flaw {
            None => {}
            // Whoever has used none yet is judged as it is.
            Some(Flaw::NonceUsed) => author.nonce = author.nonce.saturating_sub(1),
            Some(Flaw::NonceAhead) => author.nonce += 1,
            Some(Flaw::Expired) => author.valid_until = Timestamp(now.0 - 1),
            Some(Flaw::AnothersKey) => author.key = key(99),
            Some(Flaw::CosignerMissing) => drop(signers.pop()),
            Some(Flaw::CosignerUnneeded) => {
                signers.extend(self.ids().into_iter().find(|id| *id != author.id && !signers.contains(id)));
            }
            Some(Flaw::Garbled) => drop(payload.pop()),
            Some(Flaw::KindUnknown) => kind = 999,
            Some(Flaw::Expectation) => author.expects = vec![never_holds(&author.id)],
        }
        let cosigners = self.authors.iter().filter(|author| signers.contains(&author.id));
        let mut cosigners: Vec<_> = cosigners.map(|author| (author.id, &*author.key)).collect();
        cosigners.sort_unstable_by_key(|(id, _)| *id);
        author.does(kind, payload, &cosigners)
    }

    fn judge(&mut self, block: &VerifiedBlock, refused: Vec<Vec<VerifiedEnvelope>>) {
        for events in refused {
            let wrong = Chain::with_events(block, events, PRODUCER, |_| {});
            assert_eq!(self.chain.compare("refused", &wrong), Err("event_rejected"));
        }
        let wrong = Chain::altered(block, PRODUCER, |header| header.state_root = Hash::ZERO);
        assert_eq!(self.chain.compare("another root", &wrong), Err("state_root_wrong"));
        assert_eq!(self.chain.compare("sealed", block), Ok(()));
    }
}

/// Expects the author's record to be what no record is.
fn never_holds(id: &AccountId) -> Expectation {
    let key = keys::agent(id);
    Expectation { sub_tree: key.sub_tree(), key: key.as_bytes().into(), value: Some(Hash::ZERO) }
}

/// All agents but the last register.
fn founding() -> Vec<Deed> {
    (0..AGENTS - 1).map(|by| Deed { by, act: Act::Register, flaw: None }).collect()
}

fn enact(history: &[(u64, Vec<Deed>)], tally: &mut Tally) {
    let mut stage = Stage::new();
    stage.play(1, &founding(), tally);
    for (seconds, deeds) in history {
        stage.play(*seconds, deeds, tally);
    }
    for (_, conflict) in conflicts(&stage.chain.head()) {
        tally.evidence += usize::from(conflict.kind == ConflictKind::DivergentTransitions);
        if let Some(outcome) = conflict.outcome {
            *tally.decided.entry((conflict.kind, outcome.by)).or_default() += 1;
        }
    }
}

/// Fails where something did not occur that the verdicts are worth comparing for.
fn check_variety(tally: &Tally) {
    for spec in Society::KINDS {
        let mut words = tally.verdicts.keys().filter(|(kind, _)| *kind == spec.kind).map(|(_, word)| *word);
        assert!(words.clone().any(|word| word == ACCEPTED), "no {} was accepted", spec.name);
        let by_rule = |word: &str| word != ACCEPTED && !FLAWS.contains(&word);
        assert!(words.any(by_rule), "no {} was refused by its own rules", spec.name);
    }
    for flaw in FLAWS {
        assert!(tally.verdicts.keys().any(|(_, word)| *word == flaw), "nothing was refused as {flaw}");
    }
    for kind in DueKind::ALL {
        let came = tally.due.contains_key(kind);
        assert!(came, "no {kind} came due beside accepted and refused events: {tally:?}");
    }
    for kind in [ConflictKind::ConflictingAlliances, ConflictKind::InconsistentAgentState] {
        assert!(
            tally.decided.keys().any(|(of, _)| *of == kind),
            "no conflict of {kind} was decided: {tally:?}"
        );
    }
    assert!(tally.evidence > 0, "no evidence was kept");
}

fn histories() -> impl Strategy<Value = Vec<(u64, Vec<Deed>)>> {
    let seconds = select(&[0, 1, 1, 1, 60, 60, 1200, 1200, 3600, 86_400][..]);
    vec((seconds, vec(deed(), 0..12)), 20..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Other histories each time.
    #[test]
    fn the_verifiers_verdict_is_the_full_nodes_on_any_history(history in histories()) {
        enact(&history, &mut Tally::default());
    }
}

#[test]
fn the_verifiers_verdict_is_the_full_nodes() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) };
    // The same histories each time, or what occurs in them could not be asked for.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tally = RefCell::new(Tally::default());
    let outcome = runner.run(&histories(), |history| {
        enact(&history, &mut tally.borrow_mut());
        Ok(())
    });
    outcome.unwrap();
    check_variety(&tally.into_inner());
}
