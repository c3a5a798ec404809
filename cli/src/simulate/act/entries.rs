//! Entries of one's own.

use chaoschain_schemas::Blob;
use chaoschain_schemas::society::{CustomDelete, CustomSet, Personality};

use super::{Act, Look};
use crate::simulate::model::{KEYS, NAMESPACES, Name};

/// The longest value that is written, bytes.
const VALUE_BYTES_MAX: usize = 96;
/// How many entries are looked through for one of somebody who can act.
const ENTRIES_LOOKED_AT_MAX: usize = 512;

pub(super) fn set(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let author = look.someone(personality)?;
    let name = Name { namespace: look.draws.pick(&NAMESPACES)?, key: look.draws.below(KEYS.into()) as u16 };
    let long = look.draws.below(1 + VALUE_BYTES_MAX);
    let value: Vec<u8> = look.draws.bytes().into_iter().cycle().take(long).collect();
    let set = CustomSet { namespace: name.namespace.into(), key: name.key(), value: Blob::from(value) };
    Some(Act::of(author, &set))
}

pub(super) fn delete(look: &mut Look<'_>, personality: Personality) -> Option<Act> {
    let entries = look.model.entries.some(look.draws, ENTRIES_LOOKED_AT_MAX);
    let (author, name) = entries
        .into_iter()
        .find(|(owner, _)| look.model.personality(*owner) == Some(personality) && look.is_free(*owner))?;
    Some(Act::of(author, &CustomDelete { namespace: name.namespace.into(), key: name.key() }))
}
