//! The state as trees: roots, parts of sub-trees and single records, of every height at hand and of the one state that this
//! node computed and its block's header does not commit to.

use std::sync::Arc;

use chaoschain_schemas::{Height, ProvenRecord, SignedHeader, SubTreeProof};
use chaoschain_state::merkle::{Region, SPREAD_DEPTH_MAX, Version};
use chaoschain_state::{StateVersion, SubTree};
use serde_json::{Value as Json, json};

use crate::diff::{TreeFragment, TreePoint, TreeRoots};
use crate::error::QueryError;
use crate::query::Query;
use crate::question;

/// How many levels of a region one fragment opens, unless it is said.
const DEPTH_DEFAULT: usize = 4;

/// A state that this node computed, and the header of the block it is of.
struct Computed {
    header: SignedHeader,
    state: Arc<StateVersion>,
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
    pub(crate) fn tree(&self, arguments: &[String]) -> Result<Json, QueryError> {
        match arguments {
            [] => Ok(json!(self.tree_point())),
            [height] => Ok(json!(self.tree_roots(question::height(height)?)?)),
            [height, sub_tree, rest @ ..] => {
                let height = question::height(height)?;
                let Computed { state, .. } = self.computed(height)?;
                let (number, tree) = sub_tree_of(&state, sub_tree)?;
                match rest {
                    [key] if !key.contains('.') => Ok(json!(record(number, tree, &key_of(key)?))),
                    rest => {
                        let (region, depth) = asked_of(rest)?;
                        let part = fragment(tree, &region, depth);
                        Ok(json!(TreeFragment {
                            height,
                            sub_tree: number,
                            root: tree.root(),
                            tree: part.into()
                        }))
                    }
                }
            }
        }
    }

    fn tree_point(&self) -> TreePoint {
        let projection = self.projection();
        let head = projection.head();
        let finalized = projection.attestations().finalized();
        let place = (head.height(), head.hash);
        TreePoint::of(projection.chain(), place, finalized, projection.divergence_status())
    }

    fn tree_roots(&self, height: Height) -> Result<TreeRoots, QueryError> {
        let Computed { header, state } = self.computed(height)?;
        Ok(TreeRoots { height, header, state_root: state.root(), sub_roots: state.sub_roots().to_vec() })
    }

    /// The state that this node computed at `height`, whatever the header says.
    fn computed(&self, height: Height) -> Result<Computed, QueryError> {
        let projection = self.projection();
        if let Some(head) = projection.head_at(height) {
            return Ok(Computed { header: head.signed.clone(), state: Arc::clone(&head.state) });
        }
        if let Some(diverged) = projection.divergence().filter(|diverged| diverged.header.height == height) {
            return Ok(Computed { header: diverged.signed.clone(), state: Arc::clone(&diverged.state) });
        }
        let newest = projection.head().height();
        Err(match height <= newest {
            true => QueryError::HeightNotRetained { wanted: height, newest },
            false => QueryError::BlockUnknown { wanted: height, newest },
        })
    }
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
