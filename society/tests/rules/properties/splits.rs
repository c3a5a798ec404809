//! Where a history is cut into blocks does not matter, as long as each event keeps its time.

use std::collections::BTreeMap;

use chaoschain_schemas::society::Relationship;
use chaoschain_schemas::{EventAddress, Height, codec};
use chaoschain_society::keys;
use chaoschain_state::{Key, Value};
use proptest::prelude::*;

use super::{Entry, History, beginning};
/// Plays the accepted transitions again, in blocks of these sizes at most and none over a leap of time.
pub(super) fn check(history: &History, sizes: &[usize]) -> Result<(), TestCaseError> {
    let one_by_one = replay(&history.log, &[1])?;
    let in_blocks = replay(&history.log, sizes)?;
    prop_assert_eq!(one_by_one, in_blocks);
    Ok(())
}

/// The society's state after it, with each event's place told by its number.
fn replay(log: &[Entry], sizes: &[usize]) -> Result<BTreeMap<Key, Value>, TestCaseError> {
    let mut world = beginning(2);
    let mut places = BTreeMap::new();
    let mut sizes = sizes.iter().cycle();
    for same_time in log.chunk_by(|a, b| a.at == b.at) {
        let mut rest = same_time;
        while !rest.is_empty() {
            let size = sizes.next().copied().unwrap_or(1).min(rest.len());
            let (block, after) = rest.split_at(size);
            rest = after;
            world.now = block[0].at;
            let events: Vec<_> =
                block.iter().map(|entry| (entry.signers.clone(), entry.transition.clone())).collect();
            for (index, (entry, (id, result))) in (0..).zip(block.iter().zip(world.block(&events))) {
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(id, entry.id);
                places.insert(EventAddress { height: world.height, index }, places.len() as u32);
            }
        }
    }
    let numbered = |address: EventAddress| EventAddress { height: Height(0), index: places[&address] };
    let own = world.state.iter().filter(|(key, _)| key.sub_tree() >= keys::AGENTS);
    Ok(own
        .map(|(key, value)| match (key.sub_tree(), key.as_bytes()) {
            (keys::SOCIAL, [2, ..]) => {
                let mut view: Relationship = codec::decode_trusted(value).unwrap();
                for event in &mut view.events {
                    *event = numbered(*event);
                }
                (*key, Value::from(codec::encode(&view)))
            }
            (keys::SOCIAL, [4, address @ ..]) => {
                let (height, index) = address.split_at(8);
                let address = EventAddress {
                    height: Height(u64::from_be_bytes(height.try_into().unwrap())),
                    index: u32::from_be_bytes(index.try_into().unwrap()),
                };
                (keys::drama(numbered(address)), value.clone())
            }
            _ => (*key, value.clone()),
        })
        .collect())
}
