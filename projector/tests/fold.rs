//! One log, one root: whoever folds it, and whatever else stands in it.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use std::sync::Arc;

use chaoschain_events::block::{VerifiedBlock, seal};
use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_projector::{
    BlockLimits, Condition, Fold, FoldError, Producer, Projection, SkipClass, Verdict, open_genesis,
};
use chaoschain_schemas::{ChainId, Hash, Header, Height, Sequence, Timestamp};
use support::*;

fn fresh() -> Fold {
    let (chain, message) = genesis();
    let beginning = open_genesis(&Tally, Sequence(1), &message, Some(chain)).unwrap();
    Fold::new(machine(), beginning.forest, beginning.head)
}

fn proposal(fold: &mut Fold, events: &[chaoschain_events::envelope::VerifiedEnvelope]) -> Arc<VerifiedBlock> {
    let now = Timestamp(START.0 + 1);
    let (proposed, _) = fold.propose(&producer(1), now, BlockLimits::default(), events, true).unwrap();
    proposed.unwrap().block
}

/// The same block with a header changed by `change`, sealed by producer `by`.
fn altered(block: &VerifiedBlock, by: u8, change: impl FnOnce(&mut Header)) -> VerifiedBlock {
    let mut header = block.header().clone();
    change(&mut header);
    header.producer = producer(by).account;
    seal(header, block.events().to_vec(), &key(by)).unwrap()
}

#[test]
fn a_fold_of_the_sealed_block_gives_the_producers_root() {
    let (mut ours, mut theirs) = (fresh(), fresh());
    let mut ana = Author::new(9, genesis().0);
    let block = proposal(&mut ours, &[ana.register(), ana.add(1, 5), ana.add(1, 6)]);
    let adopted = ours.confirm(Sequence(2)).unwrap();
    let folded = theirs.fold(Sequence(2), &block).unwrap();
    assert_eq!(adopted.head.state.root(), folded.head.state.root());
    assert_eq!(adopted.changes, folded.changes);
    assert_eq!(adopted.ids, folded.ids);
    assert_ne!(folded.head.state.root(), fresh().head().state.root());
}

#[test]
fn our_own_header_under_anothers_key_is_not_our_block() {
    let mut fold = fresh();
    let own = proposal(&mut fold, &[]);
    let forged = seal(own.header().clone(), Vec::new(), &key(9)).unwrap();
    assert_eq!(forged.header_hash(), own.header_hash());
    let Err(FoldError::Skip(skip)) = fold.fold(Sequence(2), &forged) else { panic!("it was folded") };
    assert_eq!((skip.class, skip.code), (SkipClass::Foreign, "producer_unauthorised"));
    assert_eq!(fold.fold(Sequence(3), &own).unwrap().head.sequence, Sequence(3));
}

#[test]
fn a_producer_seals_nothing_after_its_key_was_rotated() {
    let mut fold = fresh();
    let rotation = Author::new(1, genesis().0).rotate(7);
    let block = proposal(&mut fold, &[rotation]);
    // Also while the rotation is not in the log yet.
    let mut next = |by| fold.propose(&by, Timestamp(START.0 + 2), BlockLimits::default(), &[], true);
    assert_eq!(next(producer(1)).unwrap_err().code(), "producer_unauthorised");
    let rotated = Producer { key: key(7), ..producer(1) };
    let second = next(rotated).unwrap().0.unwrap().block;
    let mut follower = fresh();
    follower.fold(Sequence(2), &block).unwrap();
    follower.fold(Sequence(3), &second).unwrap();
}

#[test]
fn dropping_speculative_blocks_restores_the_root() {
    let mut fold = fresh();
    let before = fold.head().state.root();
    let mut ana = Author::new(9, genesis().0);
    let first = proposal(&mut fold, &[ana.register()]);
    let second = proposal(&mut fold, &[ana.add(3, 1)]);
    assert_eq!(second.header().parent, first.header_hash());
    fold.drop_speculative();
    assert_eq!(fold.tip().state.root(), before);
    // What was dropped can be proposed again, to the same block.
    let mut again = Author::new(9, genesis().0);
    assert_eq!(proposal(&mut fold, &[again.register()]).message(), first.message());
}

#[test]
fn verdicts_name_what_the_rules_refuse_and_keep_the_rest() {
    let mut fold = fresh();
    let mut ana = Author::new(9, genesis().0);
    let (register, refused) = (ana.register(), ana.add(1, 0));
    ana.nonce = 1;
    let accepted = ana.add(1, 7);
    let events = [register, refused, accepted.clone(), accepted];
    let limits = BlockLimits::default();
    let (_, verdicts) = fold.propose(&producer(1), START, limits, &events, false).unwrap();
    let codes: Vec<_> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Accepted(_) => "accepted",
            Verdict::Rejected(rejection) => rejection.code(),
            Verdict::NoRoom => "no_room",
        })
        .collect();
    assert_eq!(codes, ["accepted", "amount_zero", "accepted", "nonce_used"]);
    let (_, verdicts) = fold
        .propose(&producer(1), START, BlockLimits { events: 0, ..limits }, &[ana.add(1, 1)], false)
        .unwrap();
    assert_eq!(verdicts, [Verdict::NoRoom]);
}

#[test]
fn what_is_not_the_next_block_is_skipped_by_its_class() {
    let mut source = fresh();
    let mut ana = Author::new(9, genesis().0);
    let block = proposal(&mut source, &[ana.register(), ana.add(1, 5)]);
    let cases: [(&str, SkipClass, VerifiedBlock); 9] = [
        ("producer_unauthorised", SkipClass::Foreign, altered(&block, 7, |_| {})),
        ("chain_wrong", SkipClass::Foreign, altered(&block, 1, |header| header.chain = ChainId::default())),
        ("height_skipped", SkipClass::Invalid, altered(&block, 1, |header| header.height = Height(2))),
        ("parent_wrong", SkipClass::Stale, altered(&block, 1, |header| header.parent = Hash::new([7; 32]))),
        (
            "timestamp_wrong",
            SkipClass::Invalid,
            altered(&block, 1, |header| header.timestamp.0 = START.0 - 1),
        ),
        (
            "timestamp_wrong",
            SkipClass::Invalid,
            altered(&block, 1, |header| header.timestamp.0 = START.0 + 24 * 3_600_000_000 + 1),
        ),
        ("rules_wrong", SkipClass::Invalid, altered(&block, 1, |header| header.epoch = 1)),
        ("rules_wrong", SkipClass::Invalid, altered(&block, 1, |header| header.rules = 2)),
        ("event_rejected", SkipClass::Invalid, {
            let events = vec![ana.add(1, 1)];
            let mut header = block.header().clone();
            header.event_count = 1;
            header.events_root = chaoschain_events::block::events_root(&events);
            seal(header, events, &key(1)).unwrap()
        }),
    ];
    for (code, class, case) in cases {
        let mut fold = fresh();
        let before = fold.head().hash;
        match fold.fold(Sequence(2), &case) {
            Err(FoldError::Skip(skip)) => assert_eq!((skip.code, skip.class), (code, class)),
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(fold.head().hash, before, "{code}");
        // It was not history, so the real block still is.
        fold.fold(Sequence(3), &block).unwrap();
        let stale = fold.fold(Sequence(4), &block);
        assert!(matches!(stale, Err(FoldError::Skip(skip)) if skip.code == "height_taken"));
    }
}

#[test]
fn a_wrong_root_is_a_divergence_and_leaves_the_state_alone() {
    let mut source = fresh();
    let mut ana = Author::new(9, genesis().0);
    let block = proposal(&mut source, &[ana.register()]);
    let wrong = altered(&block, 1, |header| header.state_root = Hash::new([1; 32]));
    let mut fold = fresh();
    let before = fold.head().state.root();
    assert!(matches!(fold.fold(Sequence(2), &wrong), Err(FoldError::Diverged { .. })));
    assert_eq!(fold.head().state.root(), before);
    fold.fold(Sequence(3), &block).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_passes_over_garbage_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open(&dir.path().join("a"), &log).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    let append = async |message: Vec<u8>| {
        let tip = log.tip().await.unwrap();
        log.append(tip, message.into()).await.unwrap()
    };
    append(b"garbage".to_vec()).await;
    let mut forged = log.read(Sequence(2), ReadLimits::default()).await.unwrap()[0].message.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    append(forged).await;
    node.caught_up().await;
    let head = node.seal(&[ana.add(1, 2)]).await;
    let other = open(&dir.path().join("b"), &log).await;
    assert_eq!(other.caught_up().await.hash, head.hash);
    for node in [&node, &other] {
        let status = node.projection.status();
        assert_eq!((status.skipped["foreign"], status.skipped["invalid"]), (1, 1));
        assert_eq!(status.condition, Condition::Following);
    }
    other.projection.flush().unwrap();
    let recorded = other.projection.store().skipped(10).unwrap();
    assert_eq!(recorded.len(), 2);
    assert_eq!(recorded[1].code, "block_malformed");
    node.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_root_in_the_log_stops_the_node_with_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open(&dir.path().join("a"), &log).await;
    let mut ana = Author::new(9, genesis().0);
    let good = node.seal(&[ana.register(), ana.add(1, 1)]).await;
    let mut source = fresh();
    let first = log.read(Sequence(2), ReadLimits::default()).await.unwrap()[0].message.clone();
    source.fold(Sequence(2), &VerifiedBlock::verify(first).unwrap()).unwrap();
    let block = proposal(&mut source, &[ana.add(1, 4)]);
    let wrong = altered(&block, 1, |header| header.state_root = Hash::new([1; 32]));
    log.append(Sequence(2), wrong.message().clone()).await.unwrap();
    let Err(Condition::Degraded { code, evidence, .. }) = node.projection.wait_cursor(Sequence(3)).await
    else {
        panic!("the node went on");
    };
    assert_eq!(code, "state_diverged");
    let file = evidence.unwrap();
    let evidence = std::fs::read_to_string(&file).unwrap();
    assert!(evidence.contains("state_diverged") && evidence.contains(&good.hash.to_string()));
    assert_eq!(node.projection.head().hash, good.hash);

    // What was computed stays readable, beside what the header says.
    let divergence = node.projection.divergence().unwrap().clone();
    assert_eq!(divergence.header_hash, wrong.header_hash());
    assert_eq!(divergence.state.root(), block.header().state_root);
    assert_eq!(divergence.state.tree(2).unwrap().get(slot_key(1).as_bytes()).unwrap()[..], [5]);
    let told = node.projection.status().divergence.unwrap();
    assert_eq!((told.height, told.committed_root), (block.header().height, Hash::new([1; 32])));
    assert_eq!(told.computed_root, block.header().state_root);
    // Only the state root differs here, no sub-tree's.
    assert_eq!((told.sub_tree, told.sub_tree_name), (3, "state"));
    assert_eq!((told.attested_weight, told.total_weight, told.this_node_is_faulty), (0, 2, false));
    node.close().await;

    // And so it does when the node is gone, whose store has the good state alone.
    let report: serde_json::Value = serde_json::from_str(&evidence).unwrap();
    let changes = &report["computed"]["changes"];
    let records = changes["records"].as_array().unwrap();
    assert_eq!(changes["left_out"], 0);
    let slot = records.iter().find(|record| record["sub_tree_name"] == "slots").unwrap();
    assert_eq!(
        *slot,
        serde_json::json!({
            "sub_tree": 2, "sub_tree_name": "slots", "key": "00000001",
            "before": "01", "after": "05", "before_record": 1, "after_record": 5,
        })
    );
    let author = records.iter().find(|record| record["sub_tree_name"] == "control").unwrap();
    assert_ne!(author["before_record"], author["after_record"]);
    assert!(author["after_record"].is_object(), "{author}");
    assert_eq!(records.len(), divergence.changes.len());

    // The same program comes to the same again.
    let again = open(&dir.path().join("a"), &log).await;
    assert!(again.projection.wait_cursor(Sequence(3)).await.is_err());
    assert_eq!(again.projection.divergence().unwrap().state.root(), block.header().state_root);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), evidence);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_size_never_changes_a_root() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let node = open(&dir.path().join("a"), &log).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    for round in 0..40 {
        let events: Vec<_> = (0..5).map(|slot| ana.add(slot * round, 1)).collect();
        node.seal(&events).await;
    }
    let head = node.projection.head();
    for batch in [1, 7, 1000] {
        let mut options = chaoschain_projector::ProjectionOptions::new(dir.path().join(format!("b{batch}")));
        options.fold_batch = batch;
        let other = open_with(options, &log).await.unwrap();
        assert_eq!(other.caught_up().await.hash, head.hash);
        other.close().await;
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_found_whatever_their_age() {
    let dir = tempfile::tempdir().unwrap();
    let log: Arc<dyn EventLog> = new_log(&dir.path().join("log")).await;
    let node = open(&dir.path().join("a"), &log).await;
    let mut ana = Author::new(9, genesis().0);
    let mut known = Vec::new();
    node.seal(&[ana.register()]).await;
    for round in 0..30_u32 {
        let events: Vec<_> = (0..3).map(|slot| ana.add(slot, 1)).collect();
        let head = node.seal(&events).await;
        known.extend(
            events
                .iter()
                .enumerate()
                .map(|(index, event)| (event.id(), head.height(), index as u32, head.hash)),
        );
        // A run of ids each, so that runs are merged, and merged runs again.
        if round % 2 == 0 {
            node.projection.flush().unwrap();
        }
    }
    let check = |node: &Node| {
        for (id, height, index, header_hash) in &known {
            let receipt = node.projection.receipt(id).unwrap().unwrap();
            assert_eq!((receipt.height, receipt.index, receipt.header_hash), (*height, *index, *header_hash));
        }
        assert_eq!(node.projection.receipt(&ana_unsent()).unwrap(), None);
    };
    check(&node);
    node.close().await;
    let node = open(&dir.path().join("a"), &log).await;
    check(&node);
    node.close().await;
}

fn ana_unsent() -> chaoschain_schemas::TransitionId {
    chaoschain_schemas::TransitionId::of_body(b"never sent")
}

/// A read model that fails at height 2.
struct Faulty;

impl chaoschain_state::domain::ReadModel for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn apply(&mut self, height: Height, _: &[chaoschain_state::Change]) {
        assert!(height < Height(2), "meant to fail");
    }

    fn query(&self, _: &[String]) -> Result<serde_json::Value, chaoschain_state::domain::ReadError> {
        Ok(serde_json::Value::Null)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_has_failed_stops_the_node_instead_of_hanging_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(&dir.path().join("log")).await;
    let options = chaoschain_projector::ProjectionOptions::new(dir.path().join("a"));
    let models = vec![Box::new(Faulty) as Box<_>];
    let projection = Projection::open(options, machine(), Arc::clone(&log), models, &|_| {}).await.unwrap();
    projection.start().unwrap();
    let node = Node { projection, log: Arc::clone(&log) };
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    node.projection.flush().unwrap();
    node.seal(&[ana.add(1, 1)]).await;
    assert_eq!(node.projection.flush().unwrap_err().0, "store_closed");
    let head = node.seal(&[ana.add(1, 1)]).await;
    let Condition::Degraded { code, .. } = node.projection.condition() else { panic!("the node goes on") };
    assert_eq!(code, "store_writer_failed");
    assert_eq!(node.projection.head().hash, head.hash);
    node.close().await;
    // Nothing is lost: what was not stored is folded again.
    let node = open(&dir.path().join("a"), &log).await;
    assert_eq!(node.caught_up().await.hash, head.hash);
    node.close().await;
}
