//! The height: the first one where two nodes have other blocks, or the one where their states are to be compared.

use chaoschain_schemas::{Hash, Height, SignedHeader};

use super::counted::{Counted, lied};
use super::peer::TreePoint;
use super::{DiffError, Found, Side};

/// Where to look.
pub(super) enum Place {
    /// Their histories differ.
    Forked(Found),
    /// One lacks the block at which the other has stopped.
    NotYet(Found),
    /// The states of this block; `stopped` says of either node whether it computed another one than the header says.
    Block { height: Height, hash: Hash, stopped: [bool; 2] },
}

pub(super) fn find(
    nodes: &mut Counted<'_>,
    ours: &TreePoint,
    theirs: &TreePoint,
) -> Result<Place, DiffError> {
    let common = ours.height.min(theirs.height);
    let (our_hash, their_hash) =
        (hash_of(nodes, Side::Ours, ours, common)?, hash_of(nodes, Side::Theirs, theirs, common)?);
    if our_hash != their_hash {
        return Ok(Place::Forked(fork(nodes, common)?));
    }
    // A node stops at its next block, so of two that have, the lower one is what can be compared.
    let Some(height) = [ours, theirs].into_iter().filter_map(|point| point.diverged).min() else {
        return Ok(Place::Block { height: common, hash: our_hash, stopped: [false; 2] });
    };
    let has = |point: &TreePoint| point.height >= height || point.diverged == Some(height);
    for (side, point) in [(Side::Ours, ours), (Side::Theirs, theirs)] {
        if !has(point) {
            return Ok(Place::NotYet(Found::NotYet { behind: side, height }));
        }
    }
    // Whether they mean the same block: who has stopped at it shows it with what it computed.
    let (our_hash, their_hash) =
        (block_at(nodes, Side::Ours, ours, height)?, block_at(nodes, Side::Theirs, theirs, height)?);
    if our_hash.1 == their_hash.1 {
        let stopped = [ours, theirs].map(|point| point.diverged == Some(height));
        return Ok(Place::Block { height, hash: our_hash.1, stopped });
    }
    Ok(Place::Forked(forked(height, our_hash, their_hash)))
}

/// A header as it was signed, and its hash.
type Signed = (SignedHeader, Hash);

fn forked(height: Height, ours: Signed, theirs: Signed) -> Found {
    let ((ours, our_hash), (theirs, their_hash)) = (ours, theirs);
    Found::Forked { height, ours: Box::new(ours), our_hash, theirs: Box::new(theirs), their_hash }
}

/// The block at which a node stands or has stopped.
fn block_at(
    nodes: &mut Counted<'_>,
    side: Side,
    point: &TreePoint,
    height: Height,
) -> Result<Signed, DiffError> {
    if point.height >= height {
        let (_, hash, signed) = nodes.header(side, height)?;
        return Ok((signed, hash));
    }
    nodes.rejected(side, height)
}

fn hash_of(
    nodes: &mut Counted<'_>,
    side: Side,
    point: &TreePoint,
    height: Height,
) -> Result<Hash, DiffError> {
    let (_, hash, _) = nodes.header(side, height)?;
    if point.height == height && point.header_hash != hash {
        return Err(lied(side, "its newest header is not the one it said"));
    }
    Ok(hash)
}

/// Headers name their parents, so once two histories differ they differ for ever: the first height is found by halving.
fn fork(nodes: &mut Counted<'_>, differs: Height) -> Result<Found, DiffError> {
    let (mut low, mut high) = (0, differs.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let ours = nodes.header(Side::Ours, Height(middle))?.1;
        let theirs = nodes.header(Side::Theirs, Height(middle))?.1;
        if ours == theirs { low = middle + 1 } else { high = middle }
    }
    let height = Height(low);
    let ours = nodes.header(Side::Ours, height)?;
    let theirs = nodes.header(Side::Theirs, height)?;
    // Both were said to have the same block before it.
    if let Some(before) = low.checked_sub(1).map(Height) {
        let parent = nodes.header(Side::Ours, before)?.1;
        for (side, header) in [(Side::Ours, &ours.0), (Side::Theirs, &theirs.0)] {
            if header.parent != parent {
                return Err(lied(side, "its headers do not name each other as parents"));
            }
        }
    }
    Ok(forked(height, (ours.2, ours.1), (theirs.2, theirs.1)))
}
