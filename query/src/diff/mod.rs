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
//! # Limits
//! A peer may be anybody's: what is asked ([`REQUESTS_MAX`]), what is taken ([`BYTES_MAX`], and of each tree and record what
//! a proof may have) and how long it takes ([`COMPARISON_MAX`]) is bounded, whatever it answers.
//!
//! Nothing here does I/O: nodes are asked through [`Peer`].

mod counted;
mod heights;
mod keys;
mod peer;

use std::time::Duration;

use chaoschain_schemas::{
    Blob, ChainId, Hash, Header, Height, ProofFile, ReadProof, SignedHeader, SubTreeProof, codec,
};
use chaoschain_state::BLOCKS;
use serde::Serialize;

use counted::{Counted, lied};
use heights::{Place, find};
pub use peer::{Peer, PeerError, TreeFragment, TreePoint, TreeRoots};

/// The most keys that one comparison names.
pub const DIFFERENCES_MAX: usize = 64;
/// The most requests to both nodes together that one comparison makes.
pub const REQUESTS_MAX: u64 = 4096;
/// How many bytes of trees and records one comparison takes; what is asked already may go beyond.
pub const BYTES_MAX: u64 = 64 << 20;
/// How long a comparison may take; a request under way is not broken off here.
pub const COMPARISON_MAX: Duration = Duration::from_mins(5);
/// What a node says of a state that it has let go.
const NOT_RETAINED: &str = "height_not_retained";

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
    /// It took too long.
    #[error("the comparison was not done within {} s; next {side} was to be asked for {what}", .after.as_secs())]
    TimedOut {
        /// How long it may take.
        after: Duration,
        /// Who was to be asked next.
        side: Side,
        /// What for.
        what: String,
    },
}

impl DiffError {
    /// A stable word for programs.
    pub fn code(&self) -> &str {
        match self {
            Self::Peer { error, .. } => &error.code,
            Self::ChainsDiffer { .. } => "chain_wrong",
            Self::Lied { .. } => "peer_lied",
            Self::TimedOut { .. } => "comparison_timed_out",
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
    /// They have the same block and computed the same state at it, and its header commits to another. Its producer computed
    /// wrong, or both of them did: two nodes of one program come to the same.
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
    /// Why keys are not named, or not all of them, if a node does not keep its state any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_unnamed: Option<Unnamed>,
}

/// A state that is not there to be looked into. The sub-trees that differ are known all the same: whoever has folded the block
/// had the roots of its header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unnamed {
    /// Whose state it is.
    pub side: Side,
    /// What that node says.
    pub code: String,
    /// The same for people.
    pub message: String,
}

impl Unnamed {
    /// What keeps keys from being named, if `error` does that and nothing worse.
    fn by(error: DiffError) -> Result<Self, DiffError> {
        match error {
            DiffError::Peer { side, error: PeerError { code, message }, .. } if code == NOT_RETAINED => {
                Ok(Self { side, code, message })
            }
            error => Err(error),
        }
    }
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

/// Compares two nodes, for at most [`COMPARISON_MAX`].
///
/// # Errors
/// [`DiffError`].
pub fn compare(ours: &mut dyn Peer, theirs: &mut dyn Peer) -> Result<Report, DiffError> {
    compare_within(COMPARISON_MAX, ours, theirs)
}

/// [`compare`] with another bound on how long it takes.
///
/// # Errors
/// [`DiffError`].
pub fn compare_within(
    patience: Duration,
    ours: &mut dyn Peer,
    theirs: &mut dyn Peer,
) -> Result<Report, DiffError> {
    let mut nodes = Counted::new(ours, theirs, patience);
    let (our_point, their_point) = (nodes.point(Side::Ours)?, nodes.point(Side::Theirs)?);
    if our_point.chain != their_point.chain {
        return Err(DiffError::ChainsDiffer { ours: our_point.chain, theirs: their_point.chain });
    }
    let found = match find(&mut nodes, &our_point, &their_point)? {
        Place::Forked(found) | Place::NotYet(found) => found,
        Place::Block { height, hash, stopped: [false, false] } => settled(&mut nodes, height, hash)?,
        Place::Block { height, hash, stopped } => disputed(&mut nodes, height, hash, stopped)?,
    };
    let (requests, bytes) = nodes.counts();
    Ok(Report { chain: our_point.chain, ours: our_point, theirs: their_point, found, requests, bytes })
}

/// What a node cannot have come to: it would have stopped there.
const UNCOMMITTED: &str = "it has folded a block, and shows other roots than its header has";

/// A block that both have folded. It is no failure that one keeps its state no longer.
fn settled(nodes: &mut Counted<'_>, height: Height, hash: Hash) -> Result<Found, DiffError> {
    let mut both = Vec::new();
    for side in [Side::Ours, Side::Theirs] {
        match nodes.roots(side, height, hash) {
            Ok((header, roots)) if !is_committed(&header, &roots) => {
                return Err(lied(side, UNCOMMITTED));
            }
            Ok(roots) => both.push(roots),
            Err(error) => {
                Unnamed::by(error)?;
                return Ok(Found::Same { height, header_hash: hash, states_compared: false });
            }
        }
    }
    compared(nodes, (height, hash), both, None)
}

/// A block at which one has stopped, or both have. Of the other one its header says what it computed, also when the state is
/// not kept any more.
fn disputed(
    nodes: &mut Counted<'_>,
    height: Height,
    hash: Hash,
    stopped: [bool; 2],
) -> Result<Found, DiffError> {
    let (mut both, mut unnamed) = (Vec::new(), None);
    for (side, stopped) in [Side::Ours, Side::Theirs].into_iter().zip(stopped) {
        match nodes.roots(side, height, hash) {
            Ok((header, roots)) if stopped && is_committed(&header, &roots) => {
                return Err(lied(side, "it has stopped at a block, and computed what its header says"));
            }
            Ok((header, roots)) if !stopped && !is_committed(&header, &roots) => {
                return Err(lied(side, UNCOMMITTED));
            }
            Ok(roots) => both.push(roots),
            Err(error) if stopped => return Err(error),
            Err(error) => {
                unnamed = Some(Unnamed::by(error)?);
                both.push(nodes.folded_roots(side, height, hash)?);
            }
        }
    }
    compared(nodes, (height, hash), both, unnamed)
}

/// What follows from the roots of both; keys are looked for unless one of the states is `unnamed`.
fn compared(
    nodes: &mut Counted<'_>,
    (height, header_hash): (Height, Hash),
    both: Vec<(Header, TreeRoots)>,
    unnamed: Option<Unnamed>,
) -> Result<Found, DiffError> {
    let [(header, ours), (_, theirs)] =
        <[_; 2]>::try_from(both).unwrap_or_else(|_| unreachable!("both were asked"));
    if ours.state_root == theirs.state_root {
        let (committed_root, computed_root) = (header.state_root, ours.state_root);
        if is_committed(&header, &ours) {
            return Ok(Found::Same { height, header_hash, states_compared: true });
        }
        return Ok(Found::BothRefuse { height, header_hash, committed_root, computed_root });
    }
    let committed_by = [(Side::Ours, &ours), (Side::Theirs, &theirs)];
    let committed_by = committed_by.into_iter().find(|(_, roots)| is_committed(&header, roots));
    let mut diverged = Diverged {
        height,
        header_hash,
        committed_root: header.state_root,
        our_root: ours.state_root,
        their_root: theirs.state_root,
        committed_by: committed_by.map(|(side, _)| side),
        sub_trees: sub_trees(&header, &ours, &theirs),
        header: ours.header,
        keys: Vec::new(),
        more: unnamed.is_some(),
        keys_unnamed: unnamed,
    };
    if diverged.keys_unnamed.is_none() {
        name_keys(nodes, &mut diverged)?;
    }
    Ok(Found::Diverged(Box::new(diverged)))
}

/// Whether the header commits to these roots, all of them.
fn is_committed(header: &Header, roots: &TreeRoots) -> bool {
    header.state_root == roots.state_root && header.sub_roots == roots.sub_roots
}

fn sub_trees(header: &Header, ours: &TreeRoots, theirs: &TreeRoots) -> Vec<SubTreesDiffer> {
    let numbered = header.sub_roots.iter().zip(ours.sub_roots.iter().zip(&theirs.sub_roots)).zip(0_u8..);
    numbered
        .filter(|((_, (ours, theirs)), _)| ours != theirs)
        .map(|((committed, (ours, theirs)), number)| SubTreesDiffer {
            number,
            our_root: *ours,
            their_root: *theirs,
            committed_root: *committed,
        })
        .collect()
}

/// Looks for the keys that differ; a state that is let go meanwhile ends the search, with what was found.
fn name_keys(nodes: &mut Counted<'_>, diverged: &mut Diverged) -> Result<(), DiffError> {
    let mut keys = Vec::new();
    // The tree of blocks holds no records; its root follows from the headers, which are the same.
    for differing in diverged.sub_trees.iter().filter(|one| one.number != BLOCKS) {
        match keys::find(nodes, diverged.height, differing, &mut keys) {
            Ok(more) => diverged.more |= more,
            Err(DiffError::TimedOut { .. }) => diverged.more = true,
            Err(error) => {
                (diverged.keys_unnamed, diverged.more) = (Some(Unnamed::by(error)?), true);
                break;
            }
        }
    }
    for key in &mut keys {
        let committed = match diverged.committed_by {
            Some(Side::Ours) => &key.our_proof,
            Some(Side::Theirs) => &key.their_proof,
            None => continue,
        };
        key.committed_proof = Some(proof_file(&diverged.header, key.sub_tree, &key.key, committed));
    }
    diverged.keys = keys;
    Ok(())
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
