//! What two nodes are asked to tell where they disagree, and in which words they answer.

use chaoschain_projector::{DivergenceStatus, FinalPoint};
use chaoschain_schemas::{Blob, ChainId, Hash, Height, SignedHeader, SubTreeProof};
use chaoschain_state::merkle::Region;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One of two nodes that are compared.
///
/// What it answers is checked by whoever compares, as far as it can be: headers by their signatures, roots by the header or
/// among themselves, fragments and records by the roots.
pub trait Peer {
    /// Where it stands.
    fn point(&mut self) -> Result<TreePoint, PeerError>;

    /// The header of its block at `height`.
    fn header(&mut self, height: Height) -> Result<SignedHeader, PeerError>;

    /// The roots of the state it computed at `height`.
    fn roots(&mut self, height: Height) -> Result<TreeRoots, PeerError>;

    /// The pruned tree of a sub-tree of that state that opens `region`.
    fn fragment(&mut self, height: Height, sub_tree: u8, region: &Region) -> Result<Vec<u8>, PeerError>;

    /// One record of it with its proof, or the proof that there is none.
    fn record(&mut self, height: Height, sub_tree: u8, key: &[u8]) -> Result<SubTreeProof, PeerError>;
}

/// Why a node did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PeerError {
    /// A stable word: the node's own, or that of the way to it.
    pub code: String,
    /// What failed, and what to do.
    pub message: String,
}

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreePoint {
    /// The chain.
    pub chain: ChainId,
    /// The height of the newest block it has folded.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// The newest height that is final, as far as it knows.
    pub finalized: Option<Height>,
    /// The height after it, when this node has computed another root there than the block's header says.
    pub diverged: Option<Height>,
    /// What it says of that, for people.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub divergence: Json,
}

impl TreePoint {
    pub(crate) fn of(
        chain: ChainId,
        (height, header_hash): (Height, Hash),
        finalized: Option<FinalPoint>,
        divergence: Option<DivergenceStatus>,
    ) -> Self {
        let diverged = divergence.as_ref().map(|divergence| divergence.height);
        let divergence = divergence.and_then(|divergence| serde_json::to_value(divergence).ok());
        Self {
            chain,
            height,
            header_hash,
            finalized: finalized.map(|point| point.height),
            diverged,
            divergence: divergence.unwrap_or_default(),
        }
    }
}

/// The roots of a state that a node computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRoots {
    /// The height.
    pub height: Height,
    /// The header of the block, which may say otherwise.
    pub header: SignedHeader,
    /// The state root.
    pub state_root: Hash,
    /// The roots of the sub-trees, by number.
    pub sub_roots: Vec<Hash>,
}

/// A part of one sub-tree, as the node answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFragment {
    /// The height.
    pub height: Height,
    /// The number of the sub-tree.
    pub sub_tree: u8,
    /// Its root.
    pub root: Hash,
    /// The pruned tree that opens the region asked for.
    pub tree: Blob,
}
