//! Entries of agents' own.

use chaoschain_schemas::AgentId;
use chaoschain_schemas::society::{CustomDelete, CustomSet, Entry};
use chaoschain_state::{Changes, View};

use crate::{Context, SocietyError, agent, keys};

/// What stands where `owner`'s entry of this name belongs.
pub(crate) enum Place {
    Free,
    Taken(Entry),
    /// An entry of another name with the same hash.
    Other(Entry),
}

pub(crate) fn look_up(view: &dyn View, owner: &AgentId, namespace: &str, key: &str) -> Place {
    match view.record::<Entry>(&keys::entry(owner, namespace, key)) {
        None => Place::Free,
        Some(entry) if entry.namespace == namespace && entry.key == key => Place::Taken(entry),
        Some(entry) => Place::Other(entry),
    }
}

pub(crate) fn verify_set(
    context: &Context<'_>,
    view: &dyn View,
    set: &CustomSet,
) -> Result<(), SocietyError> {
    agent::check_exists(view, &context.author)?;
    match look_up(view, &context.author, &set.namespace, &set.key) {
        Place::Other(Entry { namespace, key, .. }) => Err(SocietyError::NameCollision { namespace, key }),
        Place::Free | Place::Taken(_) => Ok(()),
    }
}

pub(crate) fn apply_set(context: &Context<'_>, changes: &mut Changes<'_>, set: &CustomSet) {
    let CustomSet { namespace, key, value } = set.clone();
    changes.put(&keys::entry(&context.author, &namespace, &key), &Entry { namespace, key, value });
}

pub(crate) fn verify_delete(
    context: &Context<'_>,
    view: &dyn View,
    delete: &CustomDelete,
) -> Result<(), SocietyError> {
    agent::check_exists(view, &context.author)?;
    match look_up(view, &context.author, &delete.namespace, &delete.key) {
        Place::Taken(_) => Ok(()),
        Place::Free | Place::Other(_) => {
            let CustomDelete { namespace, key } = delete.clone();
            Err(SocietyError::EntryUnknown { namespace, key })
        }
    }
}

pub(crate) fn apply_delete(context: &Context<'_>, changes: &mut Changes<'_>, delete: &CustomDelete) {
    changes.remove(&keys::entry(&context.author, &delete.namespace, &delete.key));
}
