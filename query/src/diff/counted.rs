//! The two nodes of a comparison: every answer is counted, and checked before it is used.

use std::time::{Duration, Instant};

use chaoschain_schemas::limits::VALUE_BYTES_MAX;
use chaoschain_schemas::{ChainId, Hash, Header, Height, SignedHeader, SubTreeProof};
use chaoschain_state::merkle::{Lookup, Pruned, Region, value_hash};

use super::peer::{Peer, PeerError, TreePoint, TreeRoots};
use super::{BYTES_MAX, DiffError, REQUESTS_MAX, Side, checked_header};

/// Two nodes, how often they were asked, and until when they may be.
pub(super) struct Counted<'a> {
    nodes: [&'a mut dyn Peer; 2],
    chain: ChainId,
    started: Instant,
    patience: Duration,
    requests: u64,
    bytes: u64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(ours: &'a mut dyn Peer, theirs: &'a mut dyn Peer, patience: Duration) -> Self {
        let (nodes, chain) = ([ours, theirs], ChainId::new([0; 32]));
        Self { nodes, chain, started: Instant::now(), patience, requests: 0, bytes: 0 }
    }

    /// Requests, and bytes of trees and records.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.requests, self.bytes)
    }

    /// Whether no more may be asked.
    pub(super) fn is_spent(&self) -> bool {
        self.requests >= REQUESTS_MAX || self.bytes >= BYTES_MAX || self.started.elapsed() >= self.patience
    }

    fn ask<T>(
        &mut self,
        side: Side,
        what: impl FnOnce() -> String,
        ask: impl FnOnce(&mut dyn Peer) -> Result<T, PeerError>,
    ) -> Result<T, DiffError> {
        if self.started.elapsed() >= self.patience {
            return Err(DiffError::TimedOut { after: self.patience, side, what: what() });
        }
        self.requests += 1;
        let node = &mut *self.nodes[usize::from(side == Side::Theirs)];
        ask(node).map_err(|error| DiffError::Peer { side, what: what(), error })
    }

    pub(super) fn point(&mut self, side: Side) -> Result<TreePoint, DiffError> {
        let point = self.ask(side, || "where it stands".into(), |node| node.point())?;
        self.chain = point.chain;
        if point.diverged.is_some_and(|diverged| diverged.0.checked_sub(1) != Some(point.height.0)) {
            return Err(lied(side, "it has stopped at a block that is not its next one"));
        }
        Ok(point)
    }

    /// The header of a node's block and its hash.
    pub(super) fn header(
        &mut self,
        side: Side,
        height: Height,
    ) -> Result<(Header, Hash, SignedHeader), DiffError> {
        let signed =
            self.ask(side, || format!("the header of block {height}"), |node| node.header(height))?;
        let (header, hash) =
            checked_header(&signed, self.chain, height).map_err(|reason| lied(side, reason))?;
        Ok((header, hash, signed))
    }

    /// The header of the block that a node has computed another state for.
    pub(super) fn rejected(&mut self, side: Side, height: Height) -> Result<(SignedHeader, Hash), DiffError> {
        let roots = self.ask(side, || format!("its state at height {height}"), |node| node.roots(height))?;
        let (_, hash) =
            checked_header(&roots.header, self.chain, height).map_err(|reason| lied(side, reason))?;
        Ok((roots.header, hash))
    }

    /// The roots of the state that a node computed at the block with this header hash, with its header.
    pub(super) fn roots(
        &mut self,
        side: Side,
        height: Height,
        hash: Hash,
    ) -> Result<(Header, TreeRoots), DiffError> {
        let roots = self.ask(side, || format!("its state at height {height}"), |node| node.roots(height))?;
        let (header, found) =
            checked_header(&roots.header, self.chain, height).map_err(|reason| lied(side, reason))?;
        if found != hash {
            return Err(lied(side, "its state is of another block than it said"));
        }
        let fits = roots.sub_roots.len() == header.sub_roots.len()
            && chaoschain_state::state_root(&roots.sub_roots) == roots.state_root;
        if fits { Ok((header, roots)) } else { Err(lied(side, "the roots of its state do not fit together")) }
    }

    /// The same of a node that has folded the block and keeps its state no longer: it folds nothing but what gives the
    /// header's roots.
    pub(super) fn folded_roots(
        &mut self,
        side: Side,
        height: Height,
        hash: Hash,
    ) -> Result<(Header, TreeRoots), DiffError> {
        let (header, found, signed) = self.header(side, height)?;
        if found != hash {
            return Err(lied(side, "its block is another one than it said"));
        }
        let (state_root, sub_roots) = (header.state_root, header.sub_roots.clone());
        Ok((header, TreeRoots { height, header: signed, state_root, sub_roots }))
    }

    /// A part of a sub-tree, which has to have its root.
    pub(super) fn fragment(
        &mut self,
        side: Side,
        (height, sub_tree, root): (Height, u8, Hash),
        region: &Region,
    ) -> Result<Pruned, DiffError> {
        let what = || format!("region {region} of sub-tree {sub_tree} at height {height}");
        let bytes = self.ask(side, what, |node| node.fragment(height, sub_tree, region))?;
        self.bytes += bytes.len() as u64;
        let tree = Pruned::parse(&bytes)
            .map_err(|error| lied(side, &format!("a part of sub-tree {sub_tree} is none: {error}")))?;
        if tree.root() == root {
            return Ok(tree);
        }
        Err(lied(side, &format!("a part of sub-tree {sub_tree} has the root {}, not {root}", tree.root())))
    }

    /// A record, or that there is none: it has to be what the tree said before.
    pub(super) fn record(
        &mut self,
        side: Side,
        (height, sub_tree, root): (Height, u8, Hash),
        key: &[u8],
        committed: Option<Hash>,
    ) -> Result<SubTreeProof, DiffError> {
        let what = || format!("record {} of sub-tree {sub_tree} at height {height}", hex::encode(key));
        let proof = self.ask(side, what, |node| node.record(height, sub_tree, key))?;
        if let Some(long) = proof.records.iter().find(|record| record.value.len() > VALUE_BYTES_MAX) {
            let bytes = long.value.len();
            return Err(lied(
                side,
                &format!("a record has {bytes} bytes, none has more than {VALUE_BYTES_MAX}"),
            ));
        }
        self.bytes +=
            (proof.tree.len() + proof.records.iter().map(|one| one.value.len()).sum::<usize>()) as u64;
        let found = Pruned::parse(&proof.tree).ok().filter(|tree| tree.root() == root);
        let found = found.map(|tree| tree.get(key));
        let holds = proof.sub_tree == sub_tree
            && match (found, committed, &proof.records[..]) {
                (Some(Lookup::Absent), None, []) => true,
                (Some(Lookup::Present(found)), Some(committed), [record]) => {
                    found == committed && *record.key == *key && value_hash(&record.value) == committed
                }
                _ => false,
            };
        if holds { Ok(proof) } else { Err(lied(side, "a record is not what its tree commits to")) }
    }
}

pub(super) fn lied(side: Side, reason: &str) -> DiffError {
    DiffError::Lied { side, reason: reason.to_owned() }
}
