//! Nobody can change a witness so that it says something else; what shows too little is called so.

use chaoschain_query::verify::{Agreement, Level, StateVerifier, Trust, VerifiedTransition};
use chaoschain_schemas::limits::WITNESS_ELEMENTS_MAX;
use chaoschain_schemas::{Blob, ProvenRecord, WitnessFile, codec};

use crate::chain::*;
use crate::differential::{acts, parlour};
use crate::parlour::*;

/// A chain with some seats taken and an alarm that has gone off, and the next block's witness: it reads keys and ranges,
/// overwrites, deletes, and finds absent what is.
pub(crate) fn sample() -> (Chain, WitnessFile) {
    let mut chain = parlour();
    let mut ana = Author::new(9, chain.id);
    let mut events = vec![ana.register()];
    events.extend([1, 3, 6, 9, 40].map(|seat| acts(&mut ana, &Deed::Take(seat, u64::from(seat)))));
    events.push(acts(&mut ana, &Deed::Alarm(1, 6)));
    events.push(acts(&mut ana, &Deed::Alarm(200, 7)));
    let block = chain.propose(1, &events);
    chain.fold(&block).unwrap();
    for _ in 0..2 {
        let block = chain.propose(0, &[]);
        chain.fold(&block).unwrap();
    }
    let deeds = [Deed::Take(3, 8), Deed::Leave(9), Deed::Count(1, 5), Deed::Take(30, 5)];
    let events = deeds.map(|deed| acts(&mut ana, &deed));
    let block = chain.propose(2, &events);
    assert_eq!(block.events().len(), 4);
    let witness = chain.witness(&block);
    assert!(chain.verify(&witness).is_ok());
    (chain, witness)
}

fn same(a: &VerifiedTransition, b: &VerifiedTransition) -> bool {
    (a.parent.at(), a.block.header_hash(), &a.changes) == (b.parent.at(), b.block.header_hash(), &b.changes)
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (chain, witness) = sample();
    let bytes = codec::encode(&witness);
    let verifier = StateVerifier::new(&chain.trust, &PARLOUR);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(verifier.verify_file(&changed).is_err(), "bit {bit} of byte {at}");
        }
        assert!(verifier.verify_file(&bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(verifier.verify_file(&longer).unwrap_err().code(), "trailing_bytes");
}

#[test]
fn every_record_left_out_is_missed_and_every_altered_one_refused() {
    let (chain, witness) = sample();
    let refused = |change: &dyn Fn(&mut WitnessFile)| {
        let mut changed = witness.clone();
        change(&mut changed);
        chain.verify(&changed).unwrap_err().code()
    };
    let mut records = 0;
    for (part, shown) in witness.sub_trees.iter().enumerate() {
        for at in 0..shown.records.len() {
            records += 1;
            let code = |change: &dyn Fn(&mut Vec<ProvenRecord>)| {
                refused(&|witness| change(&mut witness.sub_trees[part].records))
            };
            assert_eq!(code(&|records| drop(records.remove(at))), "witness_incomplete", "{part} {at}");
            assert_eq!(code(&|records| records[at].value.0[0] ^= 1), "record_value_wrong", "{part} {at}");
            assert_eq!(code(&|records| records[at].value = Blob::default()), "record_value_wrong");
            assert_eq!(code(&|records| records.insert(at, records[at].clone())), "records_unordered");
            let moved = code(&|records| *records[at].key.0.last_mut().unwrap() ^= 1);
            assert!(
                matches!(moved, "record_unproven" | "records_unordered" | "record_value_wrong"),
                "{moved}"
            );
        }
        assert_eq!(refused(&|witness| drop(witness.sub_trees.remove(part))), "witness_incomplete");
        assert_eq!(refused(&|witness| witness.sub_trees.insert(part, shown.clone())), "sub_tree_wrong");
        assert_eq!(refused(&|witness| witness.sub_trees[part].sub_tree = 1), "sub_tree_wrong");
        assert_eq!(refused(&|witness| witness.sub_trees[part].tree = Blob::default()), "tree_root_wrong");
    }
    // Account, three records of the chain, six seats and alarms.
    assert!(records > 8, "{records}");
    assert_eq!(refused(&|witness| witness.sub_trees.swap(0, 1)), "sub_tree_wrong");
    let swapped = refused(&|witness| {
        let tree = std::mem::take(&mut witness.sub_trees[1].tree);
        witness.sub_trees[1].tree = std::mem::replace(&mut witness.sub_trees[2].tree, tree);
    });
    assert_eq!(swapped, "tree_root_wrong");
}

/// Of each sub-tree every part that opens less: it is called incomplete, or says the same.
#[test]
fn what_opens_too_little_is_incomplete_and_never_absent() {
    let (chain, witness) = sample();
    let whole = chain.verify(&witness).unwrap();
    let (mut incomplete, mut enough) = (0, 0);
    for part in 0..witness.sub_trees.len() {
        let tree = chain.head().state.tree(witness.sub_trees[part].sub_tree).unwrap().clone();
        let keys: Vec<_> = tree.iter().map(|(key, _)| key).collect();
        for opened in 0..1_u32 << keys.len() {
            let open = |at: &usize| opened >> at & 1 == 1;
            let keys: Vec<&[u8]> = (0..keys.len()).filter(open).map(|at| keys[at].as_slice()).collect();
            let shown = tree.show(&keys, &[]);
            let records = shown.records.into_iter();
            let records =
                records.map(|(key, value)| ProvenRecord { key: key.into(), value: value[..].into() });
            let mut changed = witness.clone();
            changed.sub_trees[part].tree = shown.bytes.into();
            changed.sub_trees[part].records = records.collect();
            match chain.verify(&changed) {
                Ok(verified) => {
                    assert!(same(&verified, &whole));
                    enough += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), "witness_incomplete", "{error}");
                    incomplete += 1;
                }
            }
        }
    }
    // What shows more than is needed is taken as well, and says no more.
    assert!(incomplete > 100 && enough > 3, "{incomplete} incomplete, {enough} enough");
}

#[test]
fn the_frontier_is_bound_byte_for_byte() {
    let (mut chain, _) = sample();
    let mut checked = 0;
    for _ in 0..12 {
        let block = chain.propose(1, &[]);
        let witness = chain.witness(&block);
        for at in 0..witness.blocks.len() {
            let mut changed = witness.clone();
            changed.blocks.0[at] ^= 1;
            assert_eq!(chain.verify(&changed).unwrap_err().code(), "blocks_root_wrong");
            checked += 1;
        }
        for wrong in [
            &witness.blocks[..witness.blocks.len().saturating_sub(1)],
            &[&witness.blocks[..], &[0; 31]].concat(),
        ] {
            let changed = WitnessFile { blocks: wrong.into(), ..witness.clone() };
            if changed != witness {
                assert_eq!(chain.verify(&changed).unwrap_err().code(), "blocks_root_wrong");
            }
        }
        chain.fold(&block).unwrap();
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn the_parent_is_believed_for_the_reason_given_and_no_other() {
    let (chain, witness) = sample();
    let at = chain.head().hash;
    let verify = |trust: &Trust| StateVerifier::new(trust, &PARLOUR).verify(&witness);
    let pinned = |header| Trust { header: Some(header), ..Trust::in_producers(chain.id, Vec::new()) };
    let verified = verify(&pinned(at)).unwrap();
    assert_eq!((verified.parent.agreement(), verified.level), (Agreement::Pinned, Level::ReExecuted));
    assert_eq!(verify(&chain.trust).unwrap().parent.agreement(), Agreement::ProducerSigned);
    let stranger = Trust::in_producers(chain.id, vec![key(77).public()]);
    assert_eq!(verify(&stranger).unwrap_err().code(), "producer_untrusted");
    assert_eq!(verify(&pinned(witness_block_hash(&chain, &witness))).unwrap_err().code(), "header_untrusted");
    let other = Trust { domain: Some("society".into()), ..chain.trust.clone() };
    assert_eq!(verify(&other).unwrap_err().code(), "domain_wrong");
    let nothing = Trust::in_producers(chain.id, Vec::new());
    assert_eq!(verify(&nothing).unwrap_err().code(), "trust_empty");
}

fn witness_block_hash(chain: &Chain, witness: &WitnessFile) -> chaoschain_schemas::Hash {
    chain.verify(witness).unwrap().block.header_hash()
}

#[test]
fn a_block_upon_another_parent_does_not_follow() {
    let (mut chain, witness) = sample();
    let mut grand = witness.clone();
    let before = chain.head();
    let block = chain.propose(1, &[]);
    chain.fold(&block).unwrap();
    let upon = chain.witness(&chain_block(&witness));
    assert_eq!(chain.verify(&upon).unwrap_err().code(), "height_taken");
    // The parts of one state and the header of another.
    grand.parent = chain.head().signed.clone();
    assert!(chain.verify(&grand).is_err());
    assert_ne!(before.hash, chain.head().hash);
}

fn chain_block(witness: &WitnessFile) -> chaoschain_events::block::VerifiedBlock {
    chaoschain_events::block::VerifiedBlock::verify(witness.block.0.clone().into()).unwrap()
}

#[test]
fn limits_hold_before_anything_is_built() {
    let (chain, witness) = sample();
    let mut changed = witness;
    let shown = changed.sub_trees.iter_mut().find(|shown| shown.sub_tree == SEATS).unwrap();
    shown.tree = [2, 0, 0].repeat(WITNESS_ELEMENTS_MAX + 1).into();
    let error = chain.verify(&changed).unwrap_err();
    assert_eq!(error.code(), "tree_malformed");
    assert!(error.to_string().contains("more than"), "{error}");
    let version = WitnessFile { version: 2, ..changed };
    assert_eq!(chain.verify(&version).unwrap_err().code(), "malformed");
    let long = vec![0x91; chaoschain_schemas::limits::WITNESS_BYTES_MAX + 1];
    let error = StateVerifier::new(&chain.trust, &PARLOUR).verify_file(&long).unwrap_err();
    assert_eq!(error.code(), "too_large");
}
