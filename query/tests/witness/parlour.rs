//! A small domain whose rules read, write and delete in every way: by key, by range, by page, and when time has come.

use chaoschain_schemas::{AccountId, CodecError, Micros, Timestamp, codec};
use chaoschain_state::domain::{BlockContext, Domain, EventContext, KindSpec, ReadError, ReadSpec};
use chaoschain_state::{Changes, Key, Rejection, View};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Guests who take seats, leave them, and set alarms, as a build knows them that has this version of the rules; all
/// versions are the same.
pub(crate) struct ParlourOf<const RULES: u16>;

pub(crate) const PARLOUR: ParlourOf<1> = ParlourOf;

pub(crate) const SEATS: u8 = 2;
pub(crate) const ALARMS: u8 = 3;
pub(crate) const DEED: u16 = 256;
/// The most alarms that ring in one block.
const RINGS_MAX: usize = 2;
/// The most seats that are cleared at once.
const CLEARED_MAX: usize = 8;

/// What a guest does. On the wire three integers: documents have no maps, and so no enumerations with content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "(u8, u8, u64)", try_from = "(u8, u8, u64)")]
pub(crate) enum Deed {
    /// Takes a seat, whoever had it.
    Take(u8, u64),
    /// Leaves a seat, which must be taken.
    Leave(u8),
    /// Clears the first seats from one to another, of which one must be taken.
    Clear(u8, u8),
    /// Notes in the first seat how many of a row are taken.
    Count(u8, u8),
    /// Sets an alarm, so many seconds ahead, that empties a seat.
    Alarm(u8, u8),
}

impl From<Deed> for (u8, u8, u64) {
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::Take(seat, guest) => (0, seat, guest),
            Deed::Leave(seat) => (1, seat, 0),
            Deed::Clear(from, to) => (2, from, to.into()),
            Deed::Count(from, to) => (3, from, to.into()),
            Deed::Alarm(ahead, seat) => (4, ahead, seat.into()),
        }
    }
}

impl TryFrom<(u8, u8, u64)> for Deed {
    type Error = std::num::TryFromIntError;

    fn try_from((what, first, second): (u8, u8, u64)) -> Result<Self, Self::Error> {
        Ok(match what {
            0 => Self::Take(first, second),
            1 => Self::Leave(first),
            2 => Self::Clear(first, second.try_into()?),
            3 => Self::Count(first, second.try_into()?),
            _ => Self::Alarm(first, second.try_into()?),
        })
    }
}

pub(crate) fn seat(number: u8) -> Key {
    Key::new(SEATS, &[&[number]])
}

pub(crate) fn alarm(at: Timestamp, seat: u8) -> Key {
    Key::new(ALARMS, &[&at.0.to_be_bytes(), &[seat]])
}

fn row(view: &dyn View, from: u8, to: u8, limit: usize) -> Vec<Key> {
    view.range(&seat(from), &seat(to), limit).into_iter().map(|(key, _)| key).collect()
}

impl<const KNOWN: u16> Domain for ParlourOf<KNOWN> {
    const ID: &'static str = "parlour";
    const RULES: u16 = KNOWN;
    const SUB_TREES: &'static [&'static str] = &["seats", "alarms"];
    const KINDS: &'static [KindSpec] = &[KindSpec {
        kind: DEED,
        name: "Deed",
        bytes_max: 64,
        registers: false,
        since: 1,
        help: "",
        example: "",
    }];
    const READS: &'static [ReadSpec] = &[];

    type Transition = Deed;
    type Parameters = ();

    fn decode(_: u16, payload: &[u8]) -> Result<Deed, CodecError> {
        codec::decode(payload, 64)
    }

    fn parties(_: &Deed, _: &AccountId) -> Vec<AccountId> {
        Vec::new()
    }

    fn verify(_: &EventContext<'_, ()>, view: &dyn View, deed: &Deed) -> Result<(), Rejection> {
        let free = |free| {
            if free { Err(Rejection::domain("seat_free", "nobody sits there")) } else { Ok(()) }
        };
        match deed {
            Deed::Leave(number) => free(view.get(&seat(*number)).is_none()),
            Deed::Clear(from, to) => free(row(view, *from, *to, 1).is_empty()),
            _ => Ok(()),
        }
    }

    fn apply(context: &EventContext<'_, ()>, changes: &mut Changes<'_>, deed: &Deed) {
        match *deed {
            Deed::Take(number, guest) => changes.put(&seat(number), &guest),
            Deed::Leave(number) => changes.remove(&seat(number)),
            Deed::Clear(from, to) => {
                for key in row(changes.view(), from, to, CLEARED_MAX) {
                    changes.remove(&key);
                }
            }
            Deed::Count(from, to) => {
                let taken = row(changes.view(), from, to, usize::MAX).len();
                changes.put(&seat(0), &(taken as u64));
            }
            Deed::Alarm(ahead, number) => {
                let at = context.now().saturating_add(Micros::from_secs(u64::from(ahead)));
                changes.put(&alarm(at, number), &number);
            }
        }
    }

    fn begin_block(block: &BlockContext, (): &(), changes: &mut Changes<'_>) {
        let due = changes.view().range(&alarm(Timestamp(0), 0), &alarm(block.now, u8::MAX), RINGS_MAX);
        for (key, value) in due {
            changes.remove(&key);
            if let Some(number) = changes.view().parse::<u8>(&key, &value) {
                changes.remove(&seat(number));
            }
        }
    }

    fn transition_to_json(_: u16, _: &[u8]) -> Result<Json, CodecError> {
        Ok(Json::Null)
    }

    fn transition_from_json(_: u16, _: &Json) -> Result<Vec<u8>, String> {
        Err("not needed".into())
    }

    fn record_to_json(_: &Key, _: &[u8]) -> Option<Json> {
        None
    }

    fn read(name: &str, _: &[String], _: Timestamp, _: &dyn View) -> Result<Json, ReadError> {
        Err(ReadError::Unknown(name.into()))
    }
}
