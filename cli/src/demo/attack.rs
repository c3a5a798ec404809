//! What a thief with write access to the database would do, and what the node says to it.

use std::path::Path;
use std::sync::Arc;

use chaoschain_events::log::EventLog;
use chaoschain_projector::{FILE_NAME, OpenError, StoreError};
use chaoschain_schemas::society::Agent;
use chaoschain_schemas::{AccountId, Fixed, codec};
use chaoschain_society::keys;
use chaoschain_state::Key;
use chaoschain_state::merkle::{leaf_hash, value_hash};
use redb::{Database, ReadableTable, TableDefinition};

use super::cast::open;
use crate::error::{CliError, Exit, Outcome};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// How thorough the thief is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thief {
    /// Changes the record.
    Plain,
    /// Changes the record and the hash that is stored with it.
    Careful,
}

/// What the node said.
pub(super) struct Caught {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) key: Option<Key>,
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Unavailable, "demo_attack_failed", error.to_string())
}

/// Gives `who` a reputation of 1, straight in the file of the node that keeps its state in `dir/state`.
pub(super) fn edit(dir: &Path, who: &AccountId, thief: Thief) -> Outcome {
    let key = keys::agent(who);
    let at = [&[key.sub_tree()], key.as_bytes()].concat();
    let write = || -> Result<(), Box<dyn std::error::Error>> {
        let database = Database::open(dir.join("state").join(FILE_NAME))?;
        let txn = database.begin_write()?;
        {
            let mut table = txn.open_table(ROWS)?;
            let row = table.get(&at[..])?.map(|row| row.value().to_vec()).ok_or("there is no such row")?;
            let (hash, value) = row.split_at(32);
            let mut agent: Agent = codec::decode_trusted(value)?;
            agent.reputation = Fixed::ONE;
            let value = codec::encode(&agent);
            let hash = match thief {
                Thief::Plain => hash.to_vec(),
                Thief::Careful => leaf_hash(key.as_bytes(), &value_hash(&value)).as_bytes().to_vec(),
            };
            table.insert(&at[..], &[hash, value].concat()[..])?;
        }
        Ok(txn.commit()?)
    };
    write().map_err(|error| failed(&error))
}

/// Starts a node on the edited file; it must refuse.
pub(super) async fn start(dir: &Path, log: &Arc<dyn EventLog>) -> Outcome<Caught> {
    let Err(error) = open(dir, log).await else {
        return Err(CliError::new(Exit::Corrupt, "demo_broken", "the edited row went unnoticed"));
    };
    let key = match &error {
        OpenError::Store(StoreError::RowChanged(key)) => Some(*key),
        OpenError::RootMismatch { key, .. } => key.as_deref().copied(),
        _ => None,
    };
    Ok(Caught { code: error.code(), message: error.to_string(), key })
}
