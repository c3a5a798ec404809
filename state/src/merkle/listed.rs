//! Proofs out of a list, for trees that nobody keeps, such as that of a block's events.

use chaoschain_schemas::Hash;

use super::proof::write;
use super::{TreeError, bit_of, check_key, common_bits, follows, root_of, short};

/// The pruned tree over (key, value hash) pairs, in strictly ascending order of key, that opens the one at `index`.
///
/// Hashes every entry once; [`Version::prove`](super::Version::prove) is the way for trees that are kept.
///
/// # Panics
/// When there is no entry at `index`, and as [`root_of`] on keys.
pub fn prove_entry<K: AsRef<[u8]>>(entries: &[(K, Hash)], index: usize) -> Vec<u8> {
    assert!(index < entries.len(), "there are {} entries, none is at {index}", entries.len());
    check(entries).unwrap_or_else(|error| panic!("{error}"));
    let (mut rest, mut index) = (entries, index);
    let mut out = Vec::new();
    // What comes after the opened leaf in pre-order: the right siblings above it, the lowest first.
    let mut behind = Vec::new();
    while let [(first, _), .., (last, _)] = rest {
        let bit = common_bits(first.as_ref(), last.as_ref());
        let (left, right) = rest.split_at(rest.partition_point(|(key, _)| !bit_of(key.as_ref(), bit)));
        write::node(&mut out, bit as u16);
        if index < left.len() {
            behind.push(short(&root_of(borrowed(right))));
            rest = left;
        } else {
            write::hash(&mut out, &short(&root_of(borrowed(left))));
            index -= left.len();
            rest = right;
        }
    }
    write::leaf(&mut out, rest[0].0.as_ref(), &rest[0].1);
    behind.iter().rev().for_each(|hash| write::hash(&mut out, hash));
    out
}

fn check<K: AsRef<[u8]>>(entries: &[(K, Hash)]) -> Result<(), TreeError> {
    for (at, (key, _)) in entries.iter().enumerate() {
        check_key(key.as_ref(), at)?;
        if let Some((before, _)) = at.checked_sub(1).map(|before| &entries[before]) {
            follows(before.as_ref(), key.as_ref(), at)?;
        }
    }
    Ok(())
}

fn borrowed<K: AsRef<[u8]>>(entries: &[(K, Hash)]) -> impl Iterator<Item = (&[u8], Hash)> {
    entries.iter().map(|(key, hash)| (key.as_ref(), *hash))
}

#[cfg(test)]
mod tests {
    use super::super::{Lookup, Pruned, Tree, Update, value_hash};
    use super::*;

    #[test]
    fn it_is_the_proof_of_a_kept_tree() {
        for count in [1_u32, 2, 3, 7, 64, 65] {
            let keys: Vec<_> = (0..count).map(u32::to_be_bytes).collect();
            let entries: Vec<_> = keys.iter().map(|key| (key, value_hash(key))).collect();
            let updates: Vec<_> = keys.iter().map(|key| Update { key, value: Some(key) }).collect();
            let kept = Tree::new().apply(&updates).expect("keys are in order");
            for (index, key) in keys.iter().enumerate() {
                let proof = prove_entry(&entries, index);
                assert_eq!(proof, kept.prove(&[key]), "{index} of {count}");
                assert_eq!(
                    Pruned::parse(&proof).map(|tree| tree.get(key)),
                    Ok(Lookup::Present(value_hash(key)))
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "keys must ascend strictly")]
    fn keys_are_checked() {
        prove_entry(&[(b"b", Hash::ZERO), (b"a", Hash::ZERO)], 0);
    }
}
