//! Over random histories, of every block that is sealed or crafted: the verifier's verdict is the full node's.

use std::sync::Arc;

use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_schemas::{ChainId, Expectation, Hash, Height, codec};
use chaoschain_state::merkle::value_hash;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::chain::*;
use crate::parlour::*;

fn deed() -> impl Strategy<Value = Deed> {
    // Few seats, so that trees become empty and full again, and that one leaf is left of two.
    let number = 0..6_u8;
    prop_oneof![
        4 => (number.clone(), 0..4_u64).prop_map(|(seat, guest)| Deed::Take(seat, guest)),
        3 => number.clone().prop_map(Deed::Leave),
        2 => (number.clone(), number.clone()).prop_map(|(from, to)| Deed::Clear(from, to)),
        1 => (number.clone(), number.clone()).prop_map(|(from, to)| Deed::Count(from, to)),
        2 => (0..5_u8, number).prop_map(|(ahead, seat)| Deed::Alarm(ahead, seat)),
    ]
}

pub(crate) fn parlour() -> Chain {
    Chain::new(Arc::new(PARLOUR))
}

pub(crate) fn acts(author: &mut Author, deed: &Deed) -> VerifiedEnvelope {
    author.does(DEED, codec::encode(deed), &[])
}

/// Blocks that do not follow the head, made of one that does, each with the code a node gives it.
fn crafted(
    chain: &Chain,
    block: &chaoschain_events::block::VerifiedBlock,
) -> Vec<(&'static str, chaoschain_events::block::VerifiedBlock)> {
    let by = if chain.producer.key.public() == key(PRODUCER).public() { PRODUCER } else { ROTATED };
    let stranger = if by == PRODUCER { ROTATED } else { PRODUCER };
    let head = chain.head().header.clone();
    vec![
        ("producer_unauthorised", Chain::altered(block, stranger, |_| {})),
        (
            "producer_unauthorised",
            Chain::altered(block, 9, |header| header.producer = Author::new(9, chain.id).id),
        ),
        ("producer_unauthorised", Chain::altered(block, OTHER_PRODUCER, |_| {})),
        ("chain_wrong", Chain::altered(block, by, |header| header.chain = ChainId::new([8; 32]))),
        ("height_skipped", Chain::altered(block, by, |header| header.height = header.height.next())),
        ("parent_wrong", Chain::altered(block, by, |header| header.parent = Hash::new([7; 32]))),
        ("timestamp_wrong", Chain::altered(block, by, |header| header.timestamp.0 = head.timestamp.0 - 1)),
        ("timestamp_wrong", Chain::altered(block, by, |header| header.timestamp.0 += 86_400_000_001)),
        ("rules_wrong", Chain::altered(block, by, |header| header.rules += 1)),
        ("rules_wrong", Chain::altered(block, by, |header| header.epoch += 1)),
        ("state_root_wrong", Chain::altered(block, by, |header| header.state_root = Hash::new([1; 32]))),
        ("state_root_wrong", Chain::altered(block, by, |header| header.sub_roots[2] = Hash::new([1; 32]))),
        ("state_root_wrong", Chain::altered(block, by, |header| header.sub_roots[1] = head.sub_roots[1])),
        (
            "state_root_wrong",
            Chain::altered(block, by, |header| {
                header.sub_roots.pop();
            }),
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_verifiers_verdict_is_the_full_nodes(
        history in vec((vec(deed(), 0..7), 0..4_u64), 1..9), rotates_at in 0..9_usize, expects in any::<bool>(),
    ) {
        let mut chain = parlour();
        let mut ana = Author::new(9, chain.id);
        let block = chain.propose(1, &[ana.register()]);
        // Genesis's successor.
        prop_assert_eq!(chain.compare("registration", &block), Ok(()));
        let mut producer = Author::new(PRODUCER, chain.id);
        for (at, (deeds, seconds)) in history.into_iter().enumerate() {
            let nonce = ana.nonce;
            let mut accepted: Vec<VerifiedEnvelope> = Vec::new();
            if at == rotates_at {
                accepted.push(producer.rotate(ROTATED));
            }
            // One by one, so that each is signed with the nonce that it needs, and refused ones are tried in a block.
            let mut refused = Vec::new();
            for deed in &deeds {
                if expects {
                    let now = chain.head().state.tree(SEATS).unwrap().get(seat(0).as_bytes());
                    let value = now.map(|value| value_hash(&value));
                    ana.expects = vec![Expectation { sub_tree: SEATS, key: seat(0).as_bytes().into(), value }];
                }
                let event = acts(&mut ana, deed);
                let tried = [&accepted[..], std::slice::from_ref(&event)].concat();
                if chain.propose(seconds, &tried).events().len() == tried.len() {
                    accepted = tried;
                } else {
                    ana.nonce -= 1;
                    refused.push(tried);
                }
            }
            prop_assert!(ana.nonce - nonce <= deeds.len() as u64);
            let block = chain.propose(seconds, &accepted);
            for (code, wrong) in crafted(&chain, &block) {
                prop_assert_eq!(chain.compare(code, &wrong), Err(code));
            }
            let by = if chain.producer.key.public() == key(PRODUCER).public() { PRODUCER } else { ROTATED };
            for events in refused {
                let wrong = Chain::with_events(&block, events, by, |_| {});
                prop_assert_eq!(chain.compare("an event that is refused", &wrong), Err("event_rejected"));
            }
            prop_assert_eq!(chain.compare("sealed", &block), Ok(()));
            // What was next is stale now, and where it rotated its producer's key, not even a producer's.
            let stale = if at == rotates_at { "producer_unauthorised" } else { "height_taken" };
            prop_assert_eq!(chain.compare("stale", &block), Err(stale));
            if at == rotates_at {
                chain.producer.key = key(ROTATED);
            }
        }
    }
}

#[test]
fn a_block_of_no_events_follows() {
    let mut chain = parlour();
    for _ in 0..20 {
        let block = chain.propose(1, &[]);
        assert_eq!(block.events().len(), 0);
        assert_eq!(chain.compare("empty", &block), Ok(()));
    }
    assert_eq!(chain.head().height(), Height(20));
}

/// Of a tree of two leaves each of which is left alone in turn, and of one that becomes empty and full again.
#[test]
fn the_last_leaves_of_a_tree_are_told() {
    for (first, then) in [
        (vec![1, 5], vec![1]),
        (vec![1, 5], vec![5]),
        (vec![1, 5], vec![1, 5]),
        (vec![1, 4, 5], vec![1]),
        (vec![1, 4, 5], vec![4, 5]),
    ] {
        let mut chain = parlour();
        let mut ana = Author::new(9, chain.id);
        let mut events = vec![ana.register()];
        events.extend(first.iter().map(|seat| acts(&mut ana, &Deed::Take(*seat, 1))));
        let block = chain.propose(1, &events);
        assert_eq!(chain.compare("taken", &block), Ok(()));
        let events: Vec<_> = then.iter().map(|seat| acts(&mut ana, &Deed::Leave(*seat))).collect();
        let block = chain.propose(1, &events);
        assert_eq!(block.events().len(), then.len());
        assert_eq!(chain.compare("left", &block), Ok(()));
        let left = chain.head().state.tree(SEATS).unwrap().len();
        assert_eq!(left, first.len() - then.len());
        let block = chain.propose(1, &[acts(&mut ana, &Deed::Take(3, 1))]);
        assert_eq!(chain.compare("taken again", &block), Ok(()));
    }
}

#[test]
fn a_rotated_producers_old_key_is_refused_from_the_next_block_on() {
    let mut chain = parlour();
    let rotation = Author::new(PRODUCER, chain.id).rotate(ROTATED);
    let block = chain.propose(1, &[rotation]);
    assert_eq!(block.producer_key(), &key(PRODUCER).public());
    assert_eq!(chain.compare("rotation", &block), Ok(()));
    chain.producer.key = key(ROTATED);
    let block = chain.propose(1, &[]);
    let old = Chain::altered(&block, PRODUCER, |_| {});
    assert_eq!(chain.compare("old key", &old), Err("producer_unauthorised"));
    assert_eq!(chain.compare("new key", &block), Ok(()));
}
