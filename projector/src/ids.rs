//! The index from transition ids to addresses, in sorted runs.
//!
//! Every commit writes its ids as one sorted run, a table of its own; when eight runs of a level have gathered they are
//! merged into one of the next. An id is thus written about once a level instead of at a random place of one big table.
//! Only the first 16 bytes of an id are kept: that two transitions share them takes 2⁶⁴ work, and an answer is checked
//! against the event it points to wherever it matters.

use chaoschain_schemas::{EventAddress, Height, TransitionId};
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction,
};

use crate::store::StoreError;

/// Run number → (level, length).
pub(crate) const RUNS: TableDefinition<'_, u64, (u8, u64)> = TableDefinition::new("runs");
/// How many runs of one level are merged into one of the next.
const FAN_IN: usize = 8;

type Prefix = [u8; 16];

fn run_name(run: u64) -> String {
    format!("ids-{run:010}")
}

fn prefix(id: &TransitionId) -> Prefix {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&id.as_bytes()[..16]);
    prefix
}

/// Writes a run of new ids, and merges runs where that is due.
pub(crate) fn add_run(
    txn: &WriteTransaction,
    ids: &[(TransitionId, EventAddress)],
) -> Result<(), StoreError> {
    let mut entries: Vec<(Prefix, EventAddress)> =
        ids.iter().map(|(id, address)| (prefix(id), *address)).collect();
    let mut level = 0;
    loop {
        entries.sort_unstable_by_key(|(prefix, _)| *prefix);
        let mut runs = txn.open_table(RUNS)?;
        let run = runs.last()?.map_or(0, |(run, _)| run.value() + 1);
        let of_level: Vec<u64> = runs
            .iter()?
            .filter_map(|row| row.ok().filter(|(_, of)| of.value().0 == level).map(|(run, _)| run.value()))
            .collect();
        if of_level.len() + 1 < FAN_IN {
            runs.insert(run, (level, entries.len() as u64))?;
            return write_run(txn, run, &entries);
        }
        for run in of_level {
            entries.extend(take_run(txn, run)?);
            runs.remove(run)?;
        }
        level += 1;
    }
}

fn write_run(txn: &WriteTransaction, run: u64, entries: &[(Prefix, EventAddress)]) -> Result<(), StoreError> {
    let name = run_name(run);
    let mut table = txn.open_table(TableDefinition::<Prefix, (u64, u32)>::new(&name))?;
    for (prefix, address) in entries {
        table.insert(prefix, (address.height.0, address.index))?;
    }
    Ok(())
}

fn take_run(txn: &WriteTransaction, run: u64) -> Result<Vec<(Prefix, EventAddress)>, StoreError> {
    let name = run_name(run);
    let definition = TableDefinition::<Prefix, (u64, u32)>::new(&name);
    let mut entries = Vec::new();
    {
        let table = txn.open_table(definition)?;
        entries.reserve(table.len()? as usize);
        for row in table.iter()? {
            let (prefix, address) = row?;
            let (height, index) = address.value();
            entries.push((prefix.value(), EventAddress { height: Height(height), index }));
        }
    }
    txn.delete_table(definition)?;
    Ok(entries)
}

/// Where the transition stands, by the newest run that knows it.
pub(crate) fn find(txn: &ReadTransaction, id: &TransitionId) -> Result<Option<EventAddress>, StoreError> {
    let prefix = prefix(id);
    for row in txn.open_table(RUNS)?.iter()?.rev() {
        let name = run_name(row?.0.value());
        let table = match txn.open_table(TableDefinition::<Prefix, (u64, u32)>::new(&name)) {
            Err(TableError::TableDoesNotExist(_)) => continue,
            table => table?,
        };
        if let Some(address) = table.get(prefix)? {
            let (height, index) = address.value();
            return Ok(Some(EventAddress { height: Height(height), index }));
        }
    }
    Ok(None)
}
