//! A thousand blocks of the society, each checked from a witness alone; whatever is changed about one is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaoschain_events::block::{VerifiedBlock, events_root, seal};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{Fold, Head, open_genesis, witness_of};
use chaoschain_query::verify::{StateVerifier, Trust};
use chaoschain_schemas::{Header, Sequence, WitnessFile, codec};
use chaoschain_society::Society;

use super::{AGENTS, MADE, SEED};
use crate::harness::Random;

const BLOCKS: usize = 1000;
/// Every how many blocks all mutations are tried, not only two of them.
const THOROUGH: u64 = 10;

struct Checker {
    trust: Trust,
    producer: SecretKey,
    random: Random,
    /// How often each mutation was refused with each code.
    refused: BTreeMap<(&'static str, &'static str), u32>,
}

#[test]
fn a_thousand_blocks_follow_by_their_witnesses_and_no_mutation_does() {
    let messages = &MADE.messages;
    let options = chaoschain_cli::simulate::Options { seed: SEED.into(), agents: AGENTS, events: 0 };
    let simulation = chaoschain_cli::simulate::Simulation::new(&options).unwrap();
    let producer = simulation.producer_key().clone();
    let trust = Trust::in_producers(simulation.chain(), vec![producer.public()]);
    let mut checker = Checker { trust, producer, random: Random::new("witness"), refused: BTreeMap::new() };

    let beginning = open_genesis(&Society, Sequence(1), &messages[0], None).unwrap();
    let mut fold = Fold::new(Arc::new(Society), beginning.forest, beginning.head);
    let mut grandparent: Option<Arc<Head>> = None;
    for (message, sequence) in messages[1..].iter().zip(2..).take(BLOCKS) {
        let block = VerifiedBlock::verify(message.clone()).unwrap();
        let parent = Arc::clone(fold.head());
        let witness = witness_of(&Society, &parent, &block, None);
        let verified = StateVerifier::new(&checker.trust, &Society).verify(&witness).unwrap();
        let folded = fold.fold(Sequence(sequence), &block).unwrap();
        assert_eq!(verified.changes, *folded.changes, "block {}", block.header().height);
        checker.tamper(&witness, &parent, &block, grandparent.as_deref());
        grandparent = Some(parent);
    }
    for ((mutation, code), count) in &checker.refused {
        println!("{mutation}: {code} {count} times");
    }
    assert_eq!(fold.head().height().0, BLOCKS as u64);
    let mutations: std::collections::BTreeSet<_> =
        checker.refused.keys().map(|(mutation, _)| *mutation).collect();
    assert_eq!(mutations.len(), 12, "{mutations:?}");
}

impl Checker {
    fn tamper(
        &mut self,
        witness: &WitnessFile,
        parent: &Head,
        block: &VerifiedBlock,
        grandparent: Option<&Head>,
    ) {
        let part = self.random.below(witness.sub_trees.len() as u64) as usize;
        let records = witness.sub_trees[part].records.len();
        if records > 0 {
            let record = self.random.below(records as u64) as usize;
            self.refuse("a record left out", witness, Some("witness_incomplete"), |file| {
                file.sub_trees[part].records.remove(record);
            });
            self.refuse("a record altered", witness, Some("record_value_wrong"), |file| {
                file.sub_trees[part].records[record].value.0[0] ^= 1;
            });
        }
        let bytes = codec::encode(witness);
        let (at, bit) = (self.random.below(bytes.len() as u64) as usize, self.random.below(8));
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        let error = StateVerifier::new(&self.trust, &Society).verify_file(&flipped).unwrap_err();
        self.count("a bit flipped", error.code());
        if !block.header().height.0.is_multiple_of(THOROUGH) {
            return;
        }
        self.refuse("a sub-tree left out", witness, Some("witness_incomplete"), |file| {
            file.sub_trees.remove(part);
        });
        // Before anything social has happened that tree is empty.
        if !witness.sub_trees[part].tree.is_empty() {
            self.refuse("a tree emptied", witness, None, |file| {
                file.sub_trees[part].tree = Vec::new().into();
            });
        }
        self.refuse("the frontier altered", witness, Some("blocks_root_wrong"), |file| file.blocks.0[0] ^= 1);
        self.refuse("the parent's signature altered", witness, None, |file| {
            let mut signature = *file.parent.signature.as_bytes();
            signature[0] ^= 1;
            file.parent.signature = chaoschain_schemas::Signature::new(signature);
        });
        if let Some(grandparent) = grandparent {
            self.refuse("another parent", witness, None, |file| file.parent = grandparent.signed.clone());
        }
        let claimed = parent.header.state_root;
        self.resealed("another state root", witness, block, |header, _| header.state_root = claimed);
        self.resealed("another time", witness, block, |header, _| header.timestamp.0 -= 10_000_000_000);
        self.resealed("an event left out", witness, block, |_, events| drop(events.pop()));
        self.resealed("an event twice", witness, block, |_, events| events.push(events[0].clone()));
    }

    /// The block changed by whoever has the producer's key.
    fn resealed(
        &mut self,
        mutation: &'static str,
        witness: &WitnessFile,
        block: &VerifiedBlock,
        change: impl FnOnce(&mut Header, &mut Vec<chaoschain_events::envelope::VerifiedEnvelope>),
    ) {
        let (mut header, mut events) = (block.header().clone(), block.events().to_vec());
        change(&mut header, &mut events);
        (header.event_count, header.events_root) = (events.len() as u32, events_root(&events));
        let sealed = seal(header, events, &self.producer).unwrap();
        self.refuse(mutation, witness, None, |file| file.block = sealed.message().to_vec().into());
    }

    fn refuse(
        &mut self,
        mutation: &'static str,
        witness: &WitnessFile,
        code: Option<&str>,
        change: impl FnOnce(&mut WitnessFile),
    ) {
        let mut changed = witness.clone();
        change(&mut changed);
        assert_ne!(changed, *witness, "{mutation} changes nothing");
        let verdict = StateVerifier::new(&self.trust, &Society).verify(&changed);
        let Err(error) = verdict else { panic!("{mutation}: taken") };
        assert!(code.is_none_or(|code| code == error.code()), "{mutation}: {error}");
        self.count(mutation, error.code());
    }

    fn count(&mut self, mutation: &'static str, code: &'static str) {
        *self.refused.entry((mutation, code)).or_default() += 1;
    }
}
