//! Drama events by their place.

use chaoschain_schemas::society::DramaEvent;
use chaoschain_schemas::{EventAddress, Height};
use chaoschain_state::domain::ReadError;
use chaoschain_state::{Key, View};
use serde::Serialize;

use super::parse;
use crate::keys;

/// The most drama events that one read lists.
pub const DRAMAS_MAX: usize = 256;

#[derive(Serialize)]
pub(super) struct DramaView {
    height: Height,
    index: u32,
    #[serde(flatten)]
    event: DramaEvent,
}

/// A page of drama events in order of place.
#[derive(Serialize)]
pub(super) struct DramaPage {
    events: Vec<DramaView>,
    /// Where the next page starts, where this one is full.
    next: Option<String>,
}

pub(super) fn one(height: u64, index: u32, view: &dyn View) -> Option<DramaView> {
    let address = EventAddress { height: Height(height), index };
    let event = view.record(&keys::drama(address))?;
    Some(DramaView { height: address.height, index, event })
}

/// Lists what happened from a height or an address on.
pub(super) fn from(from: &str, limit: &str, view: &dyn View) -> Result<DramaPage, ReadError> {
    let limit = limit.parse().ok().filter(|limit| (1..=DRAMAS_MAX).contains(limit)).ok_or_else(|| {
        ReadError::Argument(format!("limit is {limit:?}, not a number from 1 to {DRAMAS_MAX}"))
    })?;
    let (height, index) = from.split_once('/').unwrap_or((from, "0"));
    let first = EventAddress { height: Height(parse("from", height)?), index: parse("from", index)? };
    let (first, last) = (keys::drama(first), keys::drama_last());
    let records = view.range(&first, &last, limit);
    let next = records.last().filter(|_| records.len() == limit).and_then(|(key, _)| {
        let EventAddress { height, index } = address(key)?;
        Some(match index.checked_add(1) {
            Some(index) => EventAddress { height, index },
            None => EventAddress { height: height.next(), index: 0 },
        })
    });
    let events = records.iter().filter_map(|(key, value)| {
        let EventAddress { height, index } = address(key)?;
        Some(DramaView { height, index, event: view.parse(key, value)? })
    });
    Ok(DramaPage { events: events.collect(), next: next.map(|next| next.to_string()) })
}

fn address(key: &Key) -> Option<EventAddress> {
    let (height, index) = key.as_bytes().get(1..)?.split_first_chunk()?;
    Some(EventAddress {
        height: Height(u64::from_be_bytes(*height)),
        index: u32::from_be_bytes(index.try_into().ok()?),
    })
}
