//! The state as trees: roots, parts of sub-trees and single records, of every height at hand and of the one state that this
//! node computed and its block's header does not commit to.
//!
//! An answer says which of them it was read from: that of a block, or one that is of none and is labelled so.

use std::sync::Arc;

use chaoschain_projector::{Divergence, Head};
use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::{Height, ProvenRecord, SignedHeader, SubTreeProof};
use chaoschain_state::merkle::{Region, SPREAD_DEPTH_MAX, Version};
use chaoschain_state::{StateVersion, SubTree};
use serde_json::{Value as Json, json};

use crate::answer::{Answer, Label};
use crate::diff::{TreeFragment, TreePoint, TreeRoots};
use crate::error::QueryError;
use crate::query::{Ask, Finality, Query};
use crate::question;

/// How many levels of a region one fragment opens, unless it is said.
const DEPTH_DEFAULT: usize = 4;

/// A state that this node computed, the header of the block it is of, and how far the two are agreed upon.
struct Computed {
    header: SignedHeader,
    state: Arc<StateVersion>,
    at: ReadPoint,
    label: Label,
}

impl Computed {
    /// The state of a block that is history.
    fn of_head(head: &Head, label: Label) -> Self {
        let (header, state) = (head.signed.clone(), Arc::clone(&head.state));
        Self { header, state, at: head.read_point(), label }
    }

    /// The state of no block.
    fn of_divergence(diverged: &Divergence) -> Self {
        let Divergence { header, header_hash, signed, state, .. } = diverged;
        let at = ReadPoint {
            chain: header.chain,
            height: header.height,
            header_hash: *header_hash,
            state_root: state.root(),
            timestamp: header.timestamp,
        };
        Self { header: signed.clone(), state: Arc::clone(state), at, label: Label::Computed }
    }

    fn answer(&self, value: Json) -> Answer<Json> {
        Answer { at: self.at, label: self.label, value, proof: None }
    }
}

/// The part of a sub-tree that opens `region`.
pub fn fragment(tree: &Version, region: &Region, depth: usize) -> Vec<u8> {
    tree.prove_spread(region, depth)
}

/// A record of a sub-tree with its proof, or the proof that there is none.
pub fn record(number: SubTree, tree: &Version, key: &[u8]) -> SubTreeProof {
    let proven = tree.get(key).map(|value| ProvenRecord { key: key.into(), value: (*value).into() });
    SubTreeProof { sub_tree: number, tree: tree.prove(&[key]).into(), records: proven.into_iter().collect() }
}

impl Query {
    /// Answers about trees: where the node stands; the roots of a height; a part of a sub-tree; or one record of it.
    pub(crate) async fn tree(&self, arguments: &[String], ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let Some((height, rest)) = arguments.split_first() else {
            return Ok(self.answer(&head, json!(self.tree_point())));
        };
        let height = question::height(height)?;
        let computed = self.computed(height)?;
        if ask.finality == Finality::Finalized && computed.label != Label::Finalized {
            let newest = self.projection().attestations().finalized().map(|point| point.height);
            return Err(QueryError::NotFinalized { wanted: height, newest });
        }
        let value = match rest {
            [] => json!(roots(height, &computed)),
            [sub_tree, rest @ ..] => part(height, &computed.state, sub_tree, rest)?,
        };
        Ok(computed.answer(value))
    }

    fn tree_point(&self) -> TreePoint {
        let projection = self.projection();
        let head = projection.head();
        let finalized = projection.attestations().finalized();
        let place = (head.height(), head.hash);
        TreePoint::of(projection.chain(), place, finalized, projection.divergence_status())
    }

    /// The state that this node computed at `height`, whatever the header says.
    fn computed(&self, height: Height) -> Result<Computed, QueryError> {
        let projection = self.projection();
        if let Some(head) = projection.head_at(height) {
            let label = if self.is_final(height) { Label::Finalized } else { Label::ProducerSigned };
            return Ok(Computed::of_head(&head, label));
        }
        if let Some(diverged) = projection.divergence().filter(|diverged| diverged.header.height == height) {
            return Ok(Computed::of_divergence(diverged));
        }
        let newest = projection.head().height();
        Err(if height <= newest {
            QueryError::HeightNotRetained { wanted: height, newest }
        } else {
            QueryError::BlockUnknown { wanted: height, newest }
        })
    }
}

fn roots(height: Height, Computed { header, state, .. }: &Computed) -> TreeRoots {
    let (state_root, sub_roots) = (state.root(), state.sub_roots().to_vec());
    TreeRoots { height, header: header.clone(), state_root, sub_roots }
}

/// A record of a sub-tree by its key, or the part that opens a region.
fn part(height: Height, state: &StateVersion, sub_tree: &str, of: &[String]) -> Result<Json, QueryError> {
    let (number, tree) = sub_tree_of(state, sub_tree)?;
    if let [key] = of
        && !key.contains('.')
    {
        return Ok(json!(record(number, tree, &key_of(key)?)));
    }
    let (region, depth) = asked_of(of)?;
    let (root, tree) = (tree.root(), fragment(tree, &region, depth).into());
    Ok(json!(TreeFragment { height, sub_tree: number, root, tree }))
}

fn sub_tree_of<'a>(state: &'a StateVersion, text: &str) -> Result<(SubTree, &'a Version), QueryError> {
    let number = text.parse::<SubTree>().ok();
    let found = number.and_then(|number| Some((number, state.tree(number)?)));
    found.ok_or_else(|| {
        QueryError::Argument(format!("{text:?} is not the number of a sub-tree of records of this chain"))
    })
}

fn key_of(text: &str) -> Result<Vec<u8>, QueryError> {
    let bytes = hex::decode(text).ok().filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| QueryError::Argument(format!("the key {text:?} is not bytes in hex")))
}

fn asked_of(arguments: &[String]) -> Result<(Region, usize), QueryError> {
    let region = arguments.first().map_or(Ok(Region::ALL), |text| {
        text.parse().map_err(|error| QueryError::Argument(format!("{text:?}: {error}")))
    })?;
    let depth = arguments.get(1).map_or(Some(DEPTH_DEFAULT), |text| {
        text.parse().ok().filter(|depth| (1..=SPREAD_DEPTH_MAX).contains(depth))
    });
    let wrong = || QueryError::Argument(format!("the depth is a number from 1 to {SPREAD_DEPTH_MAX}"));
    Ok((region, depth.ok_or_else(wrong)?))
}
