//! The keys: two trees are descended together, where their hashes differ and nowhere else.

use chaoschain_schemas::{Hash, Height};
use chaoschain_state::merkle::{Difference, Pruned, Region};

use super::counted::{Counted, lied};
use super::{DIFFERENCES_MAX, DiffError, KeyDiffers, Side, SubTreesDiffer};

/// Adds the keys of one sub-tree that differ to `keys`, up to the limits; whether there are more.
pub(super) fn find(
    nodes: &mut Counted<'_>,
    height: Height,
    differing: &SubTreesDiffer,
    keys: &mut Vec<KeyDiffers>,
) -> Result<bool, DiffError> {
    let sub_tree = differing.number;
    let [ours, theirs] = [differing.our_root, differing.their_root].map(|root| (height, sub_tree, root));
    let there = |root: Hash| root != Hash::ZERO;
    let (in_ours, in_theirs) = (there(differing.our_root), there(differing.their_root));
    let mut ahead = vec![Difference::Within { region: Region::ALL, ours: in_ours, theirs: in_theirs }];
    while let Some(next) = ahead.pop() {
        if keys.len() == DIFFERENCES_MAX || nodes.is_spent() {
            return Ok(true);
        }
        match next {
            Difference::Key { key, ours: our_hash, theirs: their_hash } => {
                let our_proof = nodes.record(Side::Ours, ours, &key, our_hash)?;
                let their_proof = nodes.record(Side::Theirs, theirs, &key, their_hash)?;
                let value = |proof: &chaoschain_schemas::SubTreeProof| {
                    proof.records.first().map(|record| record.value.clone())
                };
                keys.push(KeyDiffers {
                    sub_tree,
                    key,
                    ours: value(&our_proof),
                    theirs: value(&their_proof),
                    our_proof,
                    their_proof,
                    committed_proof: None,
                });
            }
            Difference::Within { region, ours: in_ours, theirs: in_theirs } => {
                let our_part = in_ours.then(|| nodes.fragment(Side::Ours, ours, &region)).transpose()?;
                let their_part =
                    in_theirs.then(|| nodes.fragment(Side::Theirs, theirs, &region)).transpose()?;
                let closer = closer(our_part.as_ref(), their_part.as_ref(), &region)?;
                ahead.extend(closer.into_iter().rev());
            }
        }
    }
    Ok(false)
}

/// What both parts say of the region; each has to open it.
fn closer(
    ours: Option<&Pruned>,
    theirs: Option<&Pruned>,
    region: &Region,
) -> Result<Vec<Difference>, DiffError> {
    for (side, part) in [(Side::Ours, ours), (Side::Theirs, theirs)] {
        if part.is_some_and(|part| Pruned::compare(Some(part), None, region).is_err()) {
            return Err(lied(side, &format!("a part of its tree does not open region {region}")));
        }
    }
    let found = Pruned::compare(ours, theirs, region);
    let found = found.map_err(|error| lied(Side::Theirs, &error.to_string()))?;
    if found.is_empty() {
        return Err(lied(Side::Theirs, &format!("the trees differed above region {region}, and not in it")));
    }
    Ok(found)
}
