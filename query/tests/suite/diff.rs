//! Where two nodes disagree: found by bisection, without shipping the state, and without believing what does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use chaoschain_projector::Head;
use chaoschain_query::Query;
use chaoschain_query::diff::{
    DIFFERENCES_MAX, DiffError, Diverged, Found, Peer, PeerError, Report, Side, TreePoint, TreeRoots,
    compare, compare_within,
};
use chaoschain_query::http::router;
use chaoschain_query::tree::{fragment, record};
use chaoschain_query::verify::{Verified, verify_file};
use chaoschain_schemas::limits::VALUE_BYTES_MAX;
use chaoschain_schemas::{Hash, Height, SignedHeader, SubTreeProof};
use chaoschain_state::domain::Domain as _;
use chaoschain_state::merkle::{Pruned, Region};
use chaoschain_state::{Change, Forest, Key, StateVersion};
use proptest::prelude::*;

use crate::http::get;
use crate::node::Node;
use crate::shelf::*;

type Content = BTreeMap<(u8, u16), u8>;

fn state(content: &Content) -> Arc<StateVersion> {
    let change = |(&(shelf, number), &value): (&(u8, u16), &u8)| Change {
        key: item(shelf, number),
        before: None,
        after: Some([value].as_slice().into()),
    };
    let changes: Vec<Change> = content.iter().map(change).collect();
    Forest::new(Shelf::SUB_TREES.len()).apply(&changes, None).unwrap()
}

/// What a node that lies says wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Place,
    Header,
    Roots,
    OtherState,
    Fragment,
    Closed,
    Value,
    LongValue,
    Absence,
}

#[derive(Clone)]
struct Memory {
    /// By height.
    heads: Vec<Head>,
    /// The state computed for the block after them, and that block.
    diverged: Option<(SignedHeader, Arc<StateVersion>)>,
    lie: Option<Lie>,
    /// After how many requests it has let go of the states of its blocks.
    forgets_after: usize,
    asked: usize,
}

impl Memory {
    fn of(heads: Vec<Head>) -> Self {
        Self { heads, diverged: None, lie: None, forgets_after: usize::MAX, asked: 0 }
    }

    /// A node that has stopped at the last of `heads`, for which it computed `state`.
    fn stopped(mut heads: Vec<Head>, state: Arc<StateVersion>) -> Self {
        let last = heads.pop().unwrap();
        Self { diverged: Some((last.signed, state)), ..Self::of(heads) }
    }

    fn forgetting_after(self, forgets_after: usize) -> Self {
        Self { forgets_after, ..self }
    }

    /// Counts a request for a state, which it may have let go.
    fn keeps(&mut self, height: Height) -> Result<(), PeerError> {
        self.asked += 1;
        if (height.0 as usize) < self.heads.len() && self.asked > self.forgets_after {
            return Err(PeerError { code: "height_not_retained".into(), message: "no longer kept".into() });
        }
        Ok(())
    }

    fn lying(self, lie: Lie) -> Self {
        Self { lie: Some(lie), ..self }
    }

    fn state(&self, height: Height) -> (SignedHeader, Arc<StateVersion>) {
        let kept =
            self.heads.get(height.0 as usize).map(|head| (head.signed.clone(), Arc::clone(&head.state)));
        kept.or_else(|| self.diverged.clone()).unwrap()
    }
}

impl Peer for Memory {
    fn point(&mut self) -> Result<TreePoint, PeerError> {
        self.asked += 1;
        let head = self.heads.last().unwrap();
        let lies = self.lie == Some(Lie::Place);
        Ok(TreePoint {
            chain: CHAIN,
            height: if lies { Height(u64::MAX) } else { head.height() },
            header_hash: head.hash,
            finalized: None,
            diverged: if lies {
                Some(Height(1))
            } else {
                self.diverged.as_ref().map(|_| head.height().next())
            },
            divergence: serde_json::Value::Null,
        })
    }

    fn header(&mut self, height: Height) -> Result<SignedHeader, PeerError> {
        self.asked += 1;
        let mut signed = self.heads[height.0 as usize].signed.clone();
        if self.lie == Some(Lie::Header) {
            signed.signature = self.heads[0].signed.signature;
        }
        Ok(signed)
    }

    fn roots(&mut self, height: Height) -> Result<TreeRoots, PeerError> {
        self.keeps(height)?;
        let (header, state) = self.state(height);
        let mut roots =
            TreeRoots { height, header, state_root: state.root(), sub_roots: state.sub_roots().to_vec() };
        match self.lie {
            Some(Lie::Roots) => roots.state_root = Hash::new([1; 32]),
            Some(Lie::OtherState) => roots.header = self.heads[0].signed.clone(),
            _ => {}
        }
        Ok(roots)
    }

    fn fragment(&mut self, height: Height, sub_tree: u8, region: &Region) -> Result<Vec<u8>, PeerError> {
        self.keeps(height)?;
        let (_, state) = self.state(height);
        let tree = state.tree(sub_tree).unwrap();
        Ok(match self.lie {
            Some(Lie::Fragment) => fragment(self.heads[0].state.tree(sub_tree).unwrap(), region, 4),
            // The same part, whatever is asked for.
            Some(Lie::Closed) => tree.prove(&[&[0xff, 0xff]]),
            _ => fragment(tree, region, 4),
        })
    }

    fn record(&mut self, height: Height, sub_tree: u8, key: &[u8]) -> Result<SubTreeProof, PeerError> {
        self.keeps(height)?;
        let (_, state) = self.state(height);
        let mut proof = record(sub_tree, state.tree(sub_tree).unwrap(), key);
        match self.lie {
            Some(Lie::Value) => proof.records.iter_mut().for_each(|record| record.value = vec![99].into()),
            Some(Lie::LongValue) => {
                proof
                    .records
                    .iter_mut()
                    .for_each(|record| record.value = vec![0; VALUE_BYTES_MAX + 1].into());
            }
            Some(Lie::Absence) => proof.records.clear(),
            _ => {}
        }
        Ok(proof)
    }
}

/// A chain whose last block has `committed` as its state, those before have nothing; `mark` makes it another one from a
/// height on.
fn chain(length: u64, committed: &Arc<StateVersion>, marked_from: u64) -> Vec<Head> {
    let empty = state(&Content::new());
    let mut heads: Vec<Head> = Vec::new();
    for height in 0..length {
        let state = if height + 1 == length { committed } else { &empty };
        let mut header = head([]).header;
        header.height = Height(height);
        header.parent = heads.last().map_or(Hash::ZERO, |parent| parent.hash);
        header.event_count = u32::from(height >= marked_from);
        (header.state_root, header.sub_roots) = (state.root(), state.sub_roots().to_vec());
        heads.push(sign(header, Arc::clone(state)));
    }
    heads
}

const UNMARKED: u64 = u64::MAX;

fn diverged(report: Report) -> Diverged {
    match report.found {
        Found::Diverged(diverged) => *diverged,
        other => panic!("{other:?}"),
    }
}

fn content(most: usize) -> impl Strategy<Value = Content> {
    prop::collection::btree_map((LEFT..=RIGHT, 0..500_u16), 0..3_u8, 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every key that differs is named with both values, whichever node has stopped.
    #[test]
    fn what_differs_is_the_definition(right in content(300), changes in content(20), removed in content(9), swapped: bool) {
        let mut wrong = right.clone();
        wrong.extend(changes);
        for key in removed.keys() {
            wrong.remove(key);
        }
        prop_assume!(right != wrong);
        let (right_state, wrong_state) = (state(&right), state(&wrong));
        let heads = chain(4, &right_state, UNMARKED);
        let mut good = Memory::of(heads.clone());
        let mut faulty = Memory::stopped(heads, Arc::clone(&wrong_state));
        let report =
            if swapped { compare(&mut good, &mut faulty) } else { compare(&mut faulty, &mut good) }.unwrap();
        prop_assert_eq!(report.requests as usize, good.asked + faulty.asked);
        let found = diverged(report);
        prop_assert_eq!(found.committed_by, Some(if swapped { Side::Ours } else { Side::Theirs }));
        prop_assert_eq!((found.height, found.committed_root), (Height(3), right_state.root()));
        let keys: BTreeSet<_> = right.keys().chain(wrong.keys()).collect();
        let value = |content: &Content, key| content.get(key).map(|value| vec![*value]);
        let defined = keys.into_iter().map(|key| (item(key.0, key.1), value(&right, key), value(&wrong, key)));
        let defined: Vec<_> = defined.filter(|(_, right, wrong)| right != wrong).collect();
        let named = found.keys.iter().map(|one| {
            let values = [&one.ours, &one.theirs].map(|value| value.as_ref().map(|value| value.to_vec()));
            let [ours, theirs] = values;
            let (right, wrong) = if swapped { (ours, theirs) } else { (theirs, ours) };
            (Key::from_bytes(one.sub_tree, &one.key).unwrap(), right, wrong)
        });
        prop_assert_eq!(named.collect::<Vec<_>>(), defined);
        prop_assert!(!found.more);
        // What the header commits to is proven to anybody.
        for one in &found.keys {
            let file = one.committed_proof.as_ref().unwrap();
            let verified = verify_file(file, &trust(), Some(&Shelf));
            prop_assert!(matches!(verified, Ok(Verified::Read(_))), "{verified:?}");
        }
    }
}

#[test]
fn one_difference_costs_paths_not_the_state() {
    let right: Content = (0..u16::MAX).map(|number| ((LEFT, number), 0)).collect();
    let mut wrong = right.clone();
    wrong.insert((LEFT, 4711), 1);
    let heads = chain(1000, &state(&right), UNMARKED);
    let mut faulty = Memory::stopped(heads.clone(), state(&wrong));
    let report = compare(&mut faulty, &mut Memory::of(heads)).unwrap();
    // Where they stand, newest common headers, that block, its roots; 16 levels, 4 at a time; the record.
    assert!(report.requests <= 2 * (1 + 1 + 1 + 1 + 5 + 1), "{} requests", report.requests);
    assert!(report.bytes < 100_000, "{} bytes of {} records", report.bytes, right.len());
    assert_eq!(diverged(report).keys.len(), 1);
}

#[test]
fn more_differences_than_are_named_are_said_to_be_there() {
    let right: Content = (0..500).map(|number| ((RIGHT, number), 0)).collect();
    let wrong: Content = right.keys().map(|key| (*key, 1)).collect();
    let heads = chain(2, &state(&right), UNMARKED);
    let report = compare(&mut Memory::of(heads.clone()), &mut Memory::stopped(heads, state(&wrong))).unwrap();
    let found = diverged(report);
    assert!(found.more);
    assert_eq!(found.keys.len(), DIFFERENCES_MAX);
}

#[test]
fn forked_logs_are_told_apart_at_the_first_height() {
    let empty = state(&Content::new());
    for marked in [1, 2, 500, 998, 999] {
        let (mut ours, mut theirs) =
            (Memory::of(chain(1000, &empty, UNMARKED)), Memory::of(chain(1200, &empty, marked)));
        let report = compare(&mut ours, &mut theirs).unwrap();
        let Found::Forked { height, our_hash, their_hash, .. } = report.found else {
            panic!("{:?}", report.found)
        };
        assert_eq!(height, Height(marked));
        assert_eq!(our_hash, ours.heads[marked as usize].hash);
        assert_eq!(their_hash, theirs.heads[marked as usize].hash);
        assert!(report.requests <= 2 * (1 + 1 + 10 + 1) + 1, "{} requests", report.requests);
    }
}

#[test]
fn nodes_that_agree_are_the_same() {
    let heads = chain(5, &state(&Content::from([((LEFT, 1), 1)])), UNMARKED);
    let report = compare(&mut Memory::of(heads.clone()), &mut Memory::of(heads[..3].to_vec())).unwrap();
    let (header_hash, height) = (heads[2].hash, Height(2));
    assert_eq!(report.found, Found::Same { height, header_hash, states_compared: true });

    // Both have stopped, with the same state: then it is the producer's that differs.
    let other = state(&Content::from([((LEFT, 1), 2)]));
    let mut both = [(); 2].map(|()| Memory::stopped(heads.clone(), Arc::clone(&other)));
    let [ours, theirs] = &mut both;
    let found = compare(ours, theirs).unwrap().found;
    assert!(matches!(found, Found::BothRefuse { height: Height(4), .. }), "{found:?}");

    // One has stopped at a block that the other does not have yet, or has another one of.
    let mut stopped = Memory::stopped(heads.clone(), other);
    let found = compare(&mut Memory::of(heads[..2].to_vec()), &mut stopped).unwrap().found;
    assert_eq!(found, Found::NotYet { behind: Side::Ours, height: Height(4) });
    let rewritten = chain(5, &state(&Content::new()), 4);
    let found = compare(&mut Memory::of(rewritten), &mut stopped).unwrap().found;
    assert!(matches!(found, Found::Forked { height: Height(4), .. }), "{found:?}");
}

#[test]
fn a_lying_peer_is_caught() {
    let right: Content = (0..300).map(|number| ((LEFT, number), 0)).collect();
    let mut wrong = right.clone();
    wrong.insert((LEFT, 7), 1);
    let heads = chain(3, &state(&right), UNMARKED);
    let ours = Memory::stopped(heads.clone(), state(&wrong));
    for lie in [
        Lie::Place,
        Lie::Header,
        Lie::Roots,
        Lie::OtherState,
        Lie::Fragment,
        Lie::Closed,
        Lie::Value,
        Lie::LongValue,
        Lie::Absence,
    ] {
        let error = compare(&mut ours.clone(), &mut Memory::of(heads.clone()).lying(lie)).unwrap_err();
        assert!(matches!(error, DiffError::Lied { side: Side::Theirs, .. }), "{lie:?}: {error:?}");
        assert_eq!(error.code(), "peer_lied");
    }
    assert!(compare(&mut ours.clone(), &mut Memory::of(heads.clone())).is_ok());
    // One that says that it computed otherwise, and shows what the header says.
    let mut liar = Memory::stopped(heads.clone(), Arc::clone(&heads[2].state));
    let error = compare(&mut liar, &mut Memory::of(heads.clone())).unwrap_err();
    assert!(matches!(error, DiffError::Lied { side: Side::Ours, .. }), "{error:?}");
    // One that says that it folded a block, and shows what the header does not say: beside one that did fold it, and beside
    // one that has stopped there.
    let mut liar = Memory::of(heads.clone());
    liar.heads.last_mut().unwrap().state = state(&Content::new());
    for mut honest in [Memory::of(heads), ours] {
        let error = compare(&mut honest, &mut liar.clone()).unwrap_err();
        assert!(matches!(error, DiffError::Lied { side: Side::Theirs, .. }), "{error:?}");
    }
}

/// Of a state that is not kept any more the headers still tell which sub-trees differ.
#[test]
fn what_is_known_of_a_state_that_is_let_go_is_reported() {
    let right: Content = (0..300).map(|number| ((LEFT, number), 0)).collect();
    let mut wrong = right.clone();
    wrong.insert((LEFT, 7), 1);
    wrong.insert((RIGHT, 1), 1);
    let heads = chain(3, &state(&right), UNMARKED);
    let stopped = Memory::stopped(heads.clone(), state(&wrong));
    let whole = diverged(compare(&mut stopped.clone(), &mut Memory::of(heads.clone())).unwrap());
    assert_eq!((whole.keys.len(), &whole.keys_unnamed), (2, &None));
    let mut named = BTreeSet::new();
    for forgets_after in 3..10 {
        let mut peer = Memory::of(heads.clone()).forgetting_after(forgets_after);
        let found = diverged(compare(&mut stopped.clone(), &mut peer).unwrap());
        assert_eq!(found.sub_trees, whole.sub_trees);
        assert_eq!((found.their_root, found.committed_by), (heads[2].header.state_root, Some(Side::Theirs)));
        assert!(found.keys.iter().all(|key| whole.keys.contains(key)));
        named.insert(found.keys.len());
        let Some(unnamed) = found.keys_unnamed else { continue };
        assert_eq!((unnamed.side, &*unnamed.code, found.more), (Side::Theirs, "height_not_retained", true));
    }
    assert_eq!(named, BTreeSet::from([0, 1, 2]));
}

/// A node that answers slowly holds nobody up for longer than a comparison may take.
#[test]
fn a_comparison_ends_in_time() {
    let heads = chain(3, &state(&Content::from([((LEFT, 1), 0)])), UNMARKED);
    let stopped = Memory::stopped(heads.clone(), state(&Content::from([((LEFT, 1), 1)])));
    let error = compare_within(Duration::ZERO, &mut stopped.clone(), &mut Memory::of(heads)).unwrap_err();
    assert!(matches!(error, DiffError::TimedOut { side: Side::Ours, .. }), "{error:?}");
    assert_eq!(error.code(), "comparison_timed_out");
}

/// The state that a node computed for a block whose header commits to another is of no block, and its answers say so.
#[tokio::test]
async fn a_state_that_is_of_no_block_is_labelled() {
    let node = Node::start().await;
    let block = node.append_with_wrong_root().await;
    let router = router(Query::new(node.projection.clone()));
    let height = block.header().height;
    let computed = node.projection.divergence().unwrap().state.root();
    let answers =
        [format!("/v1/tree/{height}"), format!("/v1/tree/{height}/2"), format!("/v1/tree/{height}/2/00")];
    for path in &answers {
        let (status, answer) = get(&router, path).await;
        assert_eq!((status, &answer["label"]), (StatusCode::OK, &"computed".into()), "{path}: {answer}");
        assert_eq!(answer["at"]["height"], height.0, "{answer}");
        assert_eq!(answer["at"]["state_root"], computed.to_string(), "{answer}");
        assert_eq!(answer["at"]["header_hash"], block.header_hash().to_string(), "{answer}");
        let (status, refused) = get(&router, &format!("{path}?finality=finalized")).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
        assert_eq!(refused["code"], "not_finalized");
    }
    let before = height.0 - 1;
    let (_, answer) = get(&router, &format!("/v1/tree/{before}")).await;
    assert_eq!((&answer["at"]["height"], &answer["label"]), (&before.into(), &"producer-signed".into()));
    let (_, answer) = get(&router, "/v1/tree").await;
    assert_eq!((&answer["at"]["height"], &answer["value"]["diverged"]), (&before.into(), &height.0.into()));
    node.close().await;
}

#[tokio::test]
async fn trees_are_served() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let head = node.projection.head();
    let (_, point) = get(&router, "/v1/tree").await;
    assert_eq!(
        (&point["value"]["height"], &point["value"]["diverged"]),
        (&3.into(), &serde_json::Value::Null)
    );
    let (_, roots) = get(&router, "/v1/tree/3").await;
    let roots: TreeRoots = serde_json::from_value(roots["value"].clone()).unwrap();
    assert_eq!((roots.header, roots.sub_roots), (head.signed.clone(), head.header.sub_roots.clone()));
    for path in ["/v1/tree/3/2", "/v1/tree/3/2/0.", "/v1/tree/3/2/1.80/5"] {
        let (_, part) = get(&router, path).await;
        let part: chaoschain_query::diff::TreeFragment =
            serde_json::from_value(part["value"].clone()).unwrap();
        assert_eq!(Pruned::parse(&part.tree).unwrap().root(), head.header.sub_roots[2], "{path}");
    }
    let (key, _) = head.state.tree(2).unwrap().iter().next().unwrap();
    let (_, proof) = get(&router, &format!("/v1/tree/3/2/{}", hex::encode(&key))).await;
    let proof: SubTreeProof = serde_json::from_value(proof["value"].clone()).unwrap();
    assert_eq!(*proof.records[0].key, *key);
    for (path, status, code) in [
        ("/v1/tree/4", StatusCode::NOT_FOUND, "block_unknown"),
        ("/v1/tree/x", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/tree/3/1", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/tree/3/99", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/tree/3/2/0.00", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/tree/3/2/0./6", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/tree/3/2/0./0", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/tree/3/2/xx", StatusCode::BAD_REQUEST, "argument_wrong"),
    ] {
        let (got, body) = get(&router, path).await;
        assert_eq!((got, &body["code"]), (status, &code.into()), "{path}");
    }
    node.close().await;
}
