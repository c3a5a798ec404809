//! Answers out of one head's state, with what proves them.
//!
//! A read runs over a recording of the state. For each sub-tree that it touched, one pruned tree then opens all keys and
//! ranges that were read: a range is opened by its two bounds and every key between them, so that nothing pruned can
//! lie within it.

use std::collections::{BTreeMap, BTreeSet};

use chaoschain_projector::Head;
use chaoschain_schemas::limits::PROOF_BYTES_MAX;
use chaoschain_schemas::{ProvenRecord, ReadProof, SubTreeProof};
use chaoschain_state::domain::Machine;
use chaoschain_state::{Base, Fault, Key, Lookup, Reads, Recording, StateVersion, Value};
use serde_json::Value as Json;

use crate::limits::KEYS_MAX;
use crate::named::{self, ReadFailure};

/// Answers a named read at `head`.
///
/// # Errors
/// [`ReadFailure`].
pub fn read(
    head: &Head,
    machine: &dyn Machine,
    name: &str,
    arguments: &[String],
) -> Result<Json, ReadFailure> {
    named::answer(machine, &head.header, name, arguments, &*head.state)
}

/// Answers a named read at `head` and proves the answer, absence included.
///
/// # Errors
/// [`ReadFailure`]; [`ReadFailure::TooLarge`] also for a proof that nobody would take.
pub fn read_with_proof(
    head: &Head,
    machine: &dyn Machine,
    name: &str,
    arguments: &[String],
) -> Result<(Json, ReadProof), ReadFailure> {
    let recording = Recording::new(&*head.state);
    let value = named::answer(machine, &head.header, name, arguments, &recording)?;
    let sub_trees = prove(&head.state, &recording.into_reads())?;
    let proof = ReadProof {
        header: head.signed.clone(),
        read: name.to_owned(),
        arguments: arguments.to_vec(),
        sub_trees,
    };
    Ok((value, proof))
}

/// Proves what was read, by ascending number of sub-tree.
fn prove(state: &StateVersion, reads: &Reads) -> Result<Vec<SubTreeProof>, ReadFailure> {
    let mut open = BTreeSet::new();
    let mut records: BTreeMap<Key, Value> = BTreeMap::new();
    for key in &reads.keys {
        open.insert(*key);
        if let Lookup::Present(value) = state.get(key) {
            records.insert(*key, value);
        }
    }
    for (from, last) in &reads.ranges {
        open.extend([*from, *last]);
        records.extend(state.range(from, last, KEYS_MAX).unwrap_or_default());
    }
    open.extend(records.keys().copied());

    let mut rest: &[Key] = &open.into_iter().collect::<Vec<_>>();
    let mut proofs = Vec::new();
    let mut size = 0;
    while let Some(first) = rest.first() {
        let sub_tree = first.sub_tree();
        let (here, after) = rest.split_at(rest.partition_point(|key| key.sub_tree() == sub_tree));
        rest = after;
        let tree = state
            .tree(sub_tree)
            .ok_or_else(|| ReadFailure::Fault(Box::new(Fault::Withheld(Box::new(*first)))))?;
        let keys: Vec<&[u8]> = here.iter().map(Key::as_bytes).collect();
        let tree = tree.prove(&keys);
        let proven = here.iter().filter_map(|key| {
            records.get(key).map(|value| ProvenRecord { key: key.as_bytes().into(), value: (**value).into() })
        });
        let records: Vec<_> = proven.collect();
        size += tree.len()
            + records.iter().map(|record| record.key.len() + record.value.len() + 8).sum::<usize>();
        proofs.push(SubTreeProof { sub_tree, tree: tree.into(), records });
    }
    // Room for the header, the question and what frames the parts.
    if size + PROOF_BYTES_MAX / 16 > PROOF_BYTES_MAX {
        return Err(ReadFailure::TooLarge);
    }
    Ok(proofs)
}
