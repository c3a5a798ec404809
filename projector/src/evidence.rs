//! Evidence: files that say why a node has stopped, and proofs of it that need no trust in this node.
//!
//! What a node computed for a block that it does not follow is in no store: the report is the one place where it stays.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chaoschain_schemas::{ForkProof, Height, ProofFile, SignedHeader, codec};
use chaoschain_state::control::record_to_json;
use chaoschain_state::domain::Machine;
use chaoschain_state::{Change, Value};
use serde_json::{Value as Json, json};

use crate::store::create_private_file;

/// How many changes of a block a report holds at most.
pub const EVIDENCE_CHANGES_MAX: usize = 16_384;
/// How many bytes of keys and values it holds at most; written in hex and as records they take some times as many.
pub const EVIDENCE_BYTES_MAX: usize = 8 << 20;

/// The most that a report holds of a block's changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangesMax {
    pub(crate) changes: usize,
    pub(crate) bytes: usize,
}

impl Default for ChangesMax {
    fn default() -> Self {
        Self { changes: EVIDENCE_CHANGES_MAX, bytes: EVIDENCE_BYTES_MAX }
    }
}

/// What a block changes by this node's fold: each record's place, and its value before and after.
///
/// Those of sub-trees that `differ` come first. What there is no room for is left out, and counted.
pub(crate) fn changes_to_json(
    machine: &dyn Machine,
    changes: &[Change],
    differ: &dyn Fn(u8) -> bool,
    most: ChangesMax,
) -> Json {
    let (first, further): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|change| differ(change.key.sub_tree()));
    let mut room = most.bytes;
    let fits = |change: &&Change| {
        let left = room.checked_sub(size_of(change));
        room = left.unwrap_or(room);
        left.is_some()
    };
    let shown: Vec<Json> = first
        .into_iter()
        .chain(further)
        .filter(fits)
        .take(most.changes)
        .map(|change| change_to_json(machine, change))
        .collect();
    json!({ "left_out": changes.len() - shown.len(), "records": shown })
}

fn size_of(change: &Change) -> usize {
    let value = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.len());
    change.key.as_bytes().len() + value(&change.before) + value(&change.after)
}

fn change_to_json(machine: &dyn Machine, Change { key, before, after }: &Change) -> Json {
    let hex = |value: &Option<Value>| value.as_ref().map(hex::encode);
    let record = |value: &Option<Value>| value.as_ref().and_then(|value| record_to_json(machine, key, value));
    json!({
        "sub_tree": key.sub_tree(),
        "sub_tree_name": sub_tree_name(machine, usize::from(key.sub_tree())),
        "key": hex::encode(key.as_bytes()),
        "before": hex(before),
        "after": hex(after),
        "before_record": record(before),
        "after_record": record(after),
    })
}

/// What a sub-tree is called; `state` beyond the last, which stands for all of them.
pub(crate) fn sub_tree_name(machine: &dyn Machine, number: usize) -> &'static str {
    let names = ["control", "blocks"].into_iter().chain(machine.sub_trees().iter().copied());
    names.into_iter().nth(number).unwrap_or("state")
}

/// Writes a report; `None` when that is not possible, which is logged.
pub(crate) fn write_report(dir: &Path, name: &str, report: &Json) -> Option<PathBuf> {
    write(dir, &format!("{name}.json"), format!("{report:#}\n").as_bytes())
}

/// Writes the proof that two headers of `height` are signed, as `fork-<height>.proof`; anyone verifies it offline.
///
/// Answers where it is, or `None` when it could not be written, which is logged.
pub fn write_fork(dir: &Path, height: Height, ours: SignedHeader, theirs: SignedHeader) -> Option<PathBuf> {
    let proof = ProofFile::of_fork(ForkProof { ours, theirs });
    write(dir, &format!("fork-{height}.proof"), &codec::encode(&proof))
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Option<PathBuf> {
    let path = dir.join(name);
    let put = || {
        create_private_file(&path)?;
        let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    match put() {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::error!(%error, "the evidence could not be written to {}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chaoschain_schemas::{AccountId, CodecError, Timestamp};
    use chaoschain_state::domain::{BlockContext, Domain, EventContext, KindSpec, ReadError, ReadSpec};
    use chaoschain_state::{Changes, Key, Rejection, View};

    use super::*;

    struct Shelves;

    impl Domain for Shelves {
        const ID: &'static str = "shelves";
        const RULES: u16 = 1;
        const SUB_TREES: &'static [&'static str] = &["upper", "lower"];
        const KINDS: &'static [KindSpec] = &[];
        const READS: &'static [ReadSpec] = &[];

        type Transition = ();
        type Parameters = ();

        fn decode(_: u16, _: &[u8]) -> Result<(), CodecError> {
            Ok(())
        }

        fn parties((): &(), _: &AccountId) -> Vec<AccountId> {
            Vec::new()
        }

        fn verify(_: &EventContext<'_, ()>, _: &dyn View, (): &()) -> Result<(), Rejection> {
            Ok(())
        }

        fn apply(_: &EventContext<'_, ()>, _: &mut Changes<'_>, (): &()) {}

        fn begin_block(_: &BlockContext, (): &(), _: &mut Changes<'_>) {}

        fn transition_to_json(_: u16, _: &[u8]) -> Result<Json, CodecError> {
            Ok(Json::Null)
        }

        fn transition_from_json(_: u16, _: &Json) -> Result<Vec<u8>, String> {
            Err("not needed".into())
        }

        fn record_to_json(_: &Key, value: &[u8]) -> Option<Json> {
            (value.len() == 1).then(|| json!(value[0]))
        }

        fn read(name: &str, _: &[String], _: Timestamp, _: &dyn View) -> Result<Json, ReadError> {
            Err(ReadError::Unknown(name.into()))
        }
    }

    fn change(sub_tree: u8, number: u8, before: Option<&[u8]>, after: Option<&[u8]>) -> Change {
        let value = |value: Option<&[u8]>| value.map(Arc::from);
        Change { key: Key::new(sub_tree, &[&[number]]), before: value(before), after: value(after) }
    }

    #[test]
    fn changes_of_the_sub_trees_that_differ_come_first_and_what_has_no_room_is_counted() {
        let long = vec![7; 100];
        let changes = [
            change(2, 1, None, Some(&[1])),
            change(2, 2, Some(&[1]), None),
            change(3, 3, Some(&[2]), Some(&long)),
            change(3, 4, Some(&[3]), Some(&[4])),
        ];
        let shown = |most| {
            let shown = changes_to_json(&Shelves, &changes, &|number| number == 3, most);
            let keys = shown["records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["key"].as_str().unwrap().to_owned());
            (keys.collect::<Vec<_>>(), shown["left_out"].as_u64().unwrap())
        };
        let most = ChangesMax::default();
        assert_eq!(shown(most), (["03", "04", "01", "02"].map(str::to_owned).to_vec(), 0));
        assert_eq!(shown(ChangesMax { changes: 3, ..most }).1, 1);
        // What is too long leaves its room to others.
        assert_eq!(
            shown(ChangesMax { bytes: 10, ..most }),
            (["04", "01", "02"].map(str::to_owned).to_vec(), 1)
        );
        assert_eq!(shown(ChangesMax { bytes: 0, ..most }), (Vec::new(), 4));
        let first = &changes_to_json(&Shelves, &changes[1..3], &|_| false, most)["records"];
        assert_eq!(
            first[0],
            json!({
                "sub_tree": 2, "sub_tree_name": "upper", "key": "02",
                "before": "01", "after": null, "before_record": 1, "after_record": null,
            })
        );
        assert_eq!((&first[1]["after"], &first[1]["after_record"]), (&json!("07".repeat(100)), &Json::Null));
    }
}
