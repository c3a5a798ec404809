//! Where two nodes disagree, found by bisection: the height, the sub-tree, the keys.
//!
//! Two nodes that have folded the same blocks to the same roots agree, and their newest common header says so. Else there is
//! a first height where their headers differ (the log was forked), or a height at which one of them computed another root
//! than the header commits to. There the roots of sub-trees tell which differ, and within each only those parts of the
//! trees are fetched whose hashes differ, so what is asked grows with the depth of the tree and the number of differences,
//! never with the state.
//!
//! # What is checked
//! Headers carry signatures that hold and are of the chain. Roots that a node says it computed give its
//! state root; every part of a tree and every record is held against them, and so the answers of one node cannot contradict
//! each other unnoticed. Which of two nodes is *right* is not decided here: the block's header is what one of them agrees with,
//! and validators say whether that is final.
//!
//! Nothing here does I/O: nodes are asked through [`Peer`].

mod counted;
mod heights;
mod keys;
mod peer;

use chaoschain_schemas::{
    Blob, ChainId, Hash, Header, Height, ProofFile, ReadProof, SignedHeader, SubTreeProof, codec,
};
use chaoschain_state::BLOCKS;
use serde::Serialize;

use counted::Counted;
use heights::{Place, find};
pub use peer::{Peer, PeerError, TreeFragment, TreePoint, TreeRoots};

/// The most keys that one comparison names.
pub const DIFFERENCES_MAX: usize = 64;
/// The most requests to both nodes together that one comparison makes.
pub const REQUESTS_MAX: u64 = 4096;

/// Which of the two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first, on whose behalf is asked.
    Ours,
    /// The second.
    Theirs,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ours => "our node",
            Self::Theirs => "the peer",
        })
    }
}

/// Why two nodes could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// A node did not answer, or not with what was asked for.
    #[error("{side} gives no answer about {what}: {error}")]
    Peer {
        /// Which.
        side: Side,
        /// What it was asked for.
        what: String,
        /// What it said.
        error: PeerError,
    },
    /// They are of two chains.
    #[error("our node is of chain {ours}, the peer of chain {theirs}")]
    ChainsDiffer {
        /// Ours.
        ours: ChainId,
        /// Theirs.
        theirs: ChainId,
    },
    /// What a node says does not hold, or contradicts what it said before.
    #[error("{side} contradicts itself: {reason}; believe nothing that it says")]
    Lied {
        /// Which.
        side: Side,
        /// What does not fit.
        reason: String,
    },
}

impl DiffError {
    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Peer { error, .. } => &error.code,
            Self::ChainsDiffer { .. } => "chain_wrong",
            Self::Lied { .. } => "peer_lied",
        }
    }
}

/// What came out of comparing two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The chain.
    pub chain: ChainId,
    /// Where our node stands.
    pub ours: TreePoint,
    /// Where the peer stands.
    pub theirs: TreePoint,
    /// What was found.
    pub found: Found,
    /// Requests to both nodes together.
    pub requests: u64,
    /// Bytes of trees and records that they answered with.
    pub bytes: u64,
}

/// How two nodes stand to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// They have the same blocks and the same state, up to this height; the one that is ahead was not looked at beyond.
    Same {
        /// The height.
        height: Height,
        /// The hash of its header.
        header_hash: Hash,
        /// Whether the states were compared; not where a node does not keep that of this height any more.
        states_compared: bool,
    },
    /// One of them has stopped at a block that the other does not have yet.
    NotYet {
        /// Who lacks it.
        behind: Side,
        /// The height of the block.
        height: Height,
    },
    /// From this height on they have other blocks.
    Forked {
        /// The first height where they differ.
        height: Height,
        /// Our node's block.
        ours: Box<SignedHeader>,
        /// Its header's hash.
        our_hash: Hash,
        /// The peer's block.
        theirs: Box<SignedHeader>,
        /// Its header's hash.
        their_hash: Hash,
    },
    /// They have the same block and computed the same state at it, and its header commits to another.
    BothRefuse {
        /// The height of the block.
        height: Height,
        /// The hash of its header.
        header_hash: Hash,
        /// The state root that the header commits to.
        committed_root: Hash,
        /// The one that both computed.
        computed_root: Hash,
    },
    /// They have the same block and computed two states at it.
    Diverged(Box<Diverged>),
}

/// Two states of one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diverged {
    /// The block's height.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// Its header as it was signed.
    pub header: SignedHeader,
    /// The state root that the header commits to.
    pub committed_root: Hash,
    /// The state root that our node computed.
    pub our_root: Hash,
    /// The one that the peer computed.
    pub their_root: Hash,
    /// Whose state the header commits to; `None` where it is neither's.
    pub committed_by: Option<Side>,
    /// The sub-trees whose roots differ, by number.
    pub sub_trees: Vec<SubTreesDiffer>,
    /// The keys whose values differ, by ascending sub-tree and key.
    pub keys: Vec<KeyDiffers>,
    /// Whether there are more than were looked for.
    pub more: bool,
}

/// Two roots of one sub-tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SubTreesDiffer {
    /// Its number.
    pub number: u8,
    /// Our node's root.
    pub our_root: Hash,
    /// The peer's root.
    pub their_root: Hash,
    /// What the header commits to.
    pub committed_root: Hash,
}

/// A key with two values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDiffers {
    /// The number of its sub-tree.
    pub sub_tree: u8,
    /// The key.
    #[serde(serialize_with = "as_hex")]
    pub key: Vec<u8>,
    /// Our node's value; `None` where it has none.
    pub ours: Option<Blob>,
    /// The peer's.
    pub theirs: Option<Blob>,
    /// The proof of our node's value, or that there is none, against its root of the sub-tree. It was checked.
    pub our_proof: SubTreeProof,
    /// The peer's, likewise.
    pub their_proof: SubTreeProof,
    /// The proof of what the header commits to, as a file that `verify proof` takes; `None` where it commits to neither.
    pub committed_proof: Option<Blob>,
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

/// Compares two nodes.
///
/// # Errors
/// [`DiffError`].
pub fn compare(ours: &mut dyn Peer, theirs: &mut dyn Peer) -> Result<Report, DiffError> {
    let mut nodes = Counted::new(ours, theirs);
    let (our_point, their_point) = (nodes.point(Side::Ours)?, nodes.point(Side::Theirs)?);
    if our_point.chain != their_point.chain {
        return Err(DiffError::ChainsDiffer { ours: our_point.chain, theirs: their_point.chain });
    }
    let found = match find(&mut nodes, &our_point, &their_point)? {
        Place::Forked(found) | Place::NotYet(found) => found,
        Place::Block { height, hash, diverged } => states(&mut nodes, height, hash, diverged)?,
    };
    let (requests, bytes) = nodes.counts();
    Ok(Report { chain: our_point.chain, ours: our_point, theirs: their_point, found, requests, bytes })
}

/// Compares the states that both computed at one block; with `needed` unset it is no failure that one is kept no longer.
fn states(nodes: &mut Counted<'_>, height: Height, hash: Hash, needed: bool) -> Result<Found, DiffError> {
    let same = |states_compared| Ok(Found::Same { height, header_hash: hash, states_compared });
    let mut both = Vec::new();
    for side in [Side::Ours, Side::Theirs] {
        match nodes.roots(side, height, hash) {
            Ok(roots) => both.push(roots),
            Err(DiffError::Peer { error, .. }) if !needed && error.code == "height_not_retained" => {
                return same(false);
            }
            Err(error) => return Err(error),
        }
    }
    let [(header, ours), (_, theirs)] =
        <[_; 2]>::try_from(both).unwrap_or_else(|_| unreachable!("both were asked"));
    if ours.state_root == theirs.state_root {
        let (committed_root, computed_root) = (header.state_root, ours.state_root);
        if committed_root == computed_root {
            return same(true);
        }
        return Ok(Found::BothRefuse { height, header_hash: hash, committed_root, computed_root });
    }
    let numbered = header.sub_roots.iter().zip(ours.sub_roots.iter().zip(&theirs.sub_roots)).zip(0_u8..);
    let sub_trees: Vec<SubTreesDiffer> = numbered
        .filter(|((_, (ours, theirs)), _)| ours != theirs)
        .map(|((committed, (ours, theirs)), number)| SubTreesDiffer {
            number,
            our_root: *ours,
            their_root: *theirs,
            committed_root: *committed,
        })
        .collect();
    let committed_by = [(Side::Ours, &ours), (Side::Theirs, &theirs)];
    let committed_by = committed_by.into_iter().find(|(_, roots)| roots.state_root == header.state_root);
    let committed_by = committed_by.map(|(side, _)| side);
    let (mut keys, mut more) = (Vec::new(), false);
    // The tree of blocks holds no records; its root follows from the headers, which are the same.
    for differing in sub_trees.iter().filter(|one| one.number != BLOCKS) {
        more |= keys::find(nodes, height, differing, &mut keys)?;
    }
    let named = keys.into_iter().map(|key| {
        let committed =
            committed_by.map(|side| if side == Side::Ours { &key.our_proof } else { &key.their_proof });
        let committed_proof = committed.map(|proof| proof_file(&ours.header, key.sub_tree, &key.key, proof));
        KeyDiffers { committed_proof, ..key }
    });
    Ok(Found::Diverged(Box::new(Diverged {
        height,
        header_hash: hash,
        committed_root: header.state_root,
        our_root: ours.state_root,
        their_root: theirs.state_root,
        committed_by,
        keys: named.collect(),
        header: ours.header,
        sub_trees,
        more,
    })))
}

/// The read of one record, proven against the header.
fn proof_file(header: &SignedHeader, sub_tree: u8, key: &[u8], proof: &SubTreeProof) -> Blob {
    let read = ReadProof {
        header: header.clone(),
        read: "record".into(),
        arguments: vec![sub_tree.to_string(), hex::encode(key)],
        sub_trees: vec![proof.clone()],
    };
    codec::encode(&ProofFile::of_read(read)).into()
}

/// A signed header that is what it says: of this chain and height, and signed. Its roots may be wrong: that is the producer's doing.
fn checked_header(
    signed: &SignedHeader,
    chain: ChainId,
    height: Height,
) -> Result<(Header, Hash), &'static str> {
    let header = Header::decode(&signed.header).map_err(|_| "its header cannot be read")?;
    if header.chain != chain || header.height != height {
        return Err("its header is of another chain or height");
    }
    if crate::verify::check_signature(signed).is_err() {
        return Err("the signature of its header is wrong");
    }
    Ok((header, Header::hash_of(&signed.header)))
}
