//! Named reads: what can be asked of a state, by whoever holds it whole or only a proven part.
//!
//! Besides the kernel's and the domain's reads there are three that every chain has: [`READS`]. The same function answers
//! on a node and in verification, so an answer cannot mean something else there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chaoschain_schemas::Header;
use chaoschain_state::domain::{Machine, ReadError, ReadSpec};
use chaoschain_state::merkle::value_hash;
use chaoschain_state::{BLOCKS, Base, BaseView, DOMAIN_FIRST, Fault, Key, SubTree, View, control};
use serde_json::{Value as Json, json};

use crate::budget::Budget;

/// The reads that belong to no domain.
pub const READS: &[ReadSpec] = &[
    ReadSpec { name: "root", arguments: &[], help: "The state root and the roots of the sub-trees under it" },
    ReadSpec { name: "header", arguments: &["height"], help: "The header of a block" },
    ReadSpec {
        name: "record",
        arguments: &["sub_tree", "key"],
        help: "One record as it stands in the state, by name or number of its sub-tree and its key in hex",
    },
];

/// Why a read gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadFailure {
    /// There is no such read, or its arguments are wrong.
    #[error(transparent)]
    Asked(#[from] ReadError),
    /// It looks at more keys or ranges than one read may.
    #[error(
        "the read looks at more than {} keys or {} ranges; ask for less",
        crate::limits::KEYS_MAX,
        crate::limits::RANGES_MAX
    )]
    TooLarge,
    /// What it reads is withheld or damaged.
    #[error(transparent)]
    Fault(Box<Fault>),
}

/// All reads that can be asked of a chain of this domain.
pub fn catalogue(machine: &dyn Machine) -> impl Iterator<Item = &'static ReadSpec> {
    READS.iter().chain(control::READS).chain(machine.reads())
}

/// Answers a read of `base`, which is the state after the block with this header, or a part of it.
///
/// # Errors
/// [`ReadFailure`].
pub(crate) fn answer(
    machine: &dyn Machine,
    header: &Header,
    name: &str,
    arguments: &[String],
    base: &dyn Base,
) -> Result<Json, ReadFailure> {
    let budget = Budget::new(base);
    let view = BaseView::new(&budget);
    let answer = match (name, arguments) {
        ("root", []) => Ok(root(machine, header)),
        ("header", [height]) => self::header(header, height),
        ("record", [sub_tree, key]) => record(machine, header, sub_tree, key, &view),
        _ => match READS.iter().find(|spec| spec.name == name) {
            Some(spec) => Err(argument_count(spec, arguments.len())),
            None => control::read(machine, name, arguments, header.timestamp, &view),
        },
    };
    if budget.is_spent() {
        return Err(ReadFailure::TooLarge);
    }
    match view.fault() {
        Some(fault) => Err(ReadFailure::Fault(Box::new(fault))),
        None => Ok(answer?),
    }
}

fn argument_count(spec: &ReadSpec, got: usize) -> ReadError {
    let (want, names) = (spec.arguments.len(), spec.arguments.join(", "));
    ReadError::Argument(format!("{} takes {want} arguments ({names}), got {got}", spec.name))
}

/// The names of a chain's sub-trees, by number.
pub(crate) fn sub_tree_names(machine: &dyn Machine) -> impl Iterator<Item = &'static str> {
    ["control", "blocks"].into_iter().chain(machine.sub_trees().iter().copied())
}

fn root(machine: &dyn Machine, header: &Header) -> Json {
    let named = sub_tree_names(machine).zip(&header.sub_roots).enumerate();
    let sub_trees: Vec<_> =
        named.map(|(number, (name, root))| json!({ "number": number, "name": name, "root": root })).collect();
    json!({ "chain": header.chain, "height": header.height, "state_root": header.state_root, "sub_trees": sub_trees })
}

fn header(header: &Header, height: &str) -> Result<Json, ReadError> {
    if height != header.height.to_string() {
        let text = format!("the height asked for is {height:?}, the header's is {}", header.height);
        return Err(ReadError::Argument(text));
    }
    Ok(json!(header))
}

fn record(
    machine: &dyn Machine,
    header: &Header,
    sub_tree: &str,
    key: &str,
    view: &dyn View,
) -> Result<Json, ReadError> {
    let key = record_key(machine, header.sub_roots.len(), sub_tree, key).map_err(ReadError::Argument)?;
    Ok(view.get(&key).map_or(Json::Null, |value| {
        json!({
            "sub_tree": key.sub_tree(),
            "key": hex::encode(key.as_bytes()),
            "value": STANDARD.encode(&value),
            "value_hash": value_hash(&value),
            "record": control::record_to_json(machine, &key, &value),
        })
    }))
}

fn record_key(machine: &dyn Machine, sub_trees: usize, sub_tree: &str, key: &str) -> Result<Key, String> {
    let number = sub_tree_names(machine).position(|name| name == sub_tree).or_else(|| sub_tree.parse().ok());
    let number: SubTree = number
        .filter(|number| *number < sub_trees)
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("there is no sub-tree {sub_tree:?} among the {sub_trees} of this chain"))?;
    if number == BLOCKS {
        return Err("the sub-tree of blocks holds header hashes: read header instead".into());
    }
    let bytes = hex::decode(key).ok().filter(|bytes| !bytes.is_empty());
    let bytes = bytes.ok_or_else(|| format!("the key {key:?} is not bytes in hex"))?;
    Key::from_bytes(number, &bytes)
        .ok_or_else(|| format!("the key has {} bytes, more than any key", bytes.len()))
}

/// Whether a chain with these sub-tree roots can be one of this domain.
pub(crate) fn fits(machine: &dyn Machine, header: &Header) -> bool {
    header.sub_roots.len() == usize::from(DOMAIN_FIRST) + machine.sub_trees().len()
}
