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
use serde_json::{Value as Json, json};

use super::society::{Played, caught_up, close, open};
use super::{Script, broken, short};
use crate::error::{CliError, Exit, Outcome};

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// Gives `who` a reputation of 1 in the database of the stopped node, then throws the state away and replays the log.
pub(super) async fn play(society: &Played, script: &Script, dir: &Path, who: &AccountId) -> Outcome<Json> {
    script.say(&format!(
        "\nNow it attacks itself. The node is stopped, and {}, last of all, gets reputation 1 in the database file:",
        society.name(who)
    ));
    let ended = society.projection.head();
    close(&society.projection).await;
    let mut attacks = Vec::new();
    for (thief, what) in
        [(Thief::Plain, "the record alone"), (Thief::Careful, "the record and the hash stored beside it")]
    {
        edit(dir, who, thief)?;
        let Caught { code, message, key } = start(dir, &society.log).await?;
        if key != Some(keys::agent(who)) {
            return Err(broken(&format!("the attack was seen ({message}), the row was not named")));
        }
        script.say(&format!("  {what}: refused at start, {code}; it names the row"));
        attacks.push(
            json!({ "what": what, "code": code, "message": message, "key": key.map(|key| key.to_string()) }),
        );
    }
    let stored = dir.join("state");
    std::fs::remove_dir_all(&stored).map_err(|error| CliError::file("remove", &stored, &error))?;
    let projection = open(dir, &society.log).await?;
    let replayed = caught_up(&projection, &society.log).await?;
    close(&projection).await;
    if replayed.hash != ended.hash {
        return Err(broken(&"the replay gave another root"));
    }
    script.say(&format!(
        "  The state is thrown away and replayed from the log: height {}, root {}…, as before.",
        replayed.height(),
        short(&replayed.header.state_root)
    ));
    Ok(attacks.into())
}

/// How thorough the thief is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thief {
    /// Changes the record.
    Plain,
    /// Changes the record and the hash that is stored with it.
    Careful,
}

/// What the node said.
struct Caught {
    code: &'static str,
    message: String,
    key: Option<Key>,
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Unavailable, "demo_attack_failed", error.to_string())
}

/// Gives `who` a reputation of 1, straight in the file of the node that keeps its state in `dir/state`.
fn edit(dir: &Path, who: &AccountId, thief: Thief) -> Outcome {
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
async fn start(dir: &Path, log: &Arc<dyn EventLog>) -> Outcome<Caught> {
    let Err(error) = open(dir, log).await else {
        return Err(broken(&"the edited row went unnoticed"));
    };
    let key = match &error {
        OpenError::Store(StoreError::RowChanged(key)) => Some(*key),
        OpenError::RootMismatch { key, .. } => key.as_deref().copied(),
        _ => None,
    };
    Ok(Caught { code: error.code(), message: error.to_string(), key })
}
