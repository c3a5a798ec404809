//! Finality: four validators of one weight, of whom some are silent, lie, equivocate, or come too early.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod attestations_support;
mod support;

use std::fs;
use std::sync::Arc;

use attestations_support::*;
use chaoschain_events::attest::{Board, LocalBoard, check_attestation, sign_attestation};
use chaoschain_events::log::EventLog;
use chaoschain_projector::{Condition, FILE_NAME, Head, Producer, StoreError};
use chaoschain_schemas::{
    Attestation, Blob, ChainId, FinalityProof, Hash, Header, Height, ProofFile, Signature,
};
use chaoschain_state::BLOCKS;
use chaoschain_state::merkle::blocks::{Frontier, MemoryTiles, prove};
use chaoschain_state::merkle::{Lookup, Pruned, value_hash};
use redb::{Database, ReadableTable, TableDefinition};
use support::*;
use tempfile::TempDir;

const FINALITY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("finality");

/// A node that follows a board, and what it has sealed.
struct World {
    dir: TempDir,
    log: Arc<dyn EventLog>,
    node: Node,
    board: Arc<MemoryBoard>,
    heads: Vec<Arc<Head>>,
}

/// A chain of four validators with this many blocks after block 0.
async fn world(blocks: usize) -> World {
    let dir = tempfile::tempdir().unwrap();
    let log = log_of_four(&dir.path().join("log")).await;
    let node = open(&dir.path().join("state"), &log).await;
    let board = MemoryBoard::new();
    node.projection.follow_board(board.clone());
    let mut world = World { dir, log, heads: vec![node.projection.head()], node, board };
    for _ in 0..blocks {
        world.seal().await;
    }
    world
}

impl World {
    async fn seal(&mut self) -> Arc<Head> {
        let head = self.node.seal(&[]).await;
        self.heads.push(Arc::clone(&head));
        head
    }

    fn say(&self, place: u8, height: usize) {
        self.board.post(&attest(&validator(place), &self.heads[height]));
    }

    fn finalized(&self) -> Option<u64> {
        self.node.projection.attestations().finalized().map(|point| point.height.0)
    }

    async fn final_at(&self, height: u64) {
        let point = finalized(self.node.projection.attestations(), height).await;
        assert_eq!((point.height.0, point.header_hash), (height, self.heads[height as usize].hash));
    }

    /// Checks a proof as somebody would who knows the validators and nothing else.
    fn check(&self, proof: &FinalityProof, height: u64) {
        let hash = self.heads[height as usize].hash;
        let mut by = Vec::new();
        for attested in &proof.attested {
            let header = Header::decode(&attested.header).unwrap();
            let header_hash = Header::hash_of(&attested.header);
            if attested.ancestor.is_empty() {
                assert_eq!((header.height.0, header_hash), (height, hash));
            } else {
                let tree = Pruned::parse(&attested.ancestor).unwrap();
                assert_eq!(tree.root(), header.sub_roots[usize::from(BLOCKS)]);
                assert_eq!(tree.get(&height.to_be_bytes()), Lookup::Present(value_hash(hash.as_bytes())));
            }
            for signed in &attested.attestations {
                let said = check_attestation(signed).unwrap();
                assert_eq!(
                    (said.height, said.header_hash, said.chain),
                    (header.height, header_hash, chain())
                );
                assert!((0..4).any(|place| validator(place).key.public() == signed.key));
                by.push(said.validator);
            }
            assert!(attested.attestations.is_sorted_by(|a, b| a.key < b.key));
        }
        let heights = |at: usize| Header::decode(&proof.attested[at].header).unwrap().height;
        assert!((1..proof.attested.len()).all(|at| heights(at - 1) < heights(at)));
        by.sort();
        by.dedup();
        assert_eq!(by.len(), 3, "the fewest that are more than two thirds of four");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_two_thirds_make_a_block_and_its_ancestors_final() {
    let world = world(3).await;
    let attestations = world.node.projection.attestations();
    assert_eq!((attestations.finalized(), attestations.highest_attested()), (None, Height(0)));
    world.say(0, 1);
    world.say(1, 2);
    world.say(2, 3);
    world.final_at(1).await;
    let point = attestations.finalized().unwrap();
    assert_eq!((point.weight, point.total), (3, 4));
    assert_eq!(world.node.projection.finalized_head().unwrap().hash, world.heads[1].hash);
    // Two of four have attested 2 or more.
    assert_eq!(attestations.highest_attested(), Height(2));
    for height in 0..=1 {
        world.check(&attestations.finality_proof(Height(height)).unwrap().unwrap(), height);
    }
    assert_eq!(attestations.finality_proof(Height(2)).unwrap(), None);
    world.say(3, 3);
    world.final_at(2).await;
    assert_eq!(attestations.covering(Height(3)).len(), 2);
    assert_eq!(attestations.covering(Height(0)).len(), 4);
    // An older word takes nothing back.
    world.say(2, 1);
    world.say(0, 3);
    world.final_at(3).await;
    let said = attestations.validators();
    assert_eq!(
        said.iter().map(|word| (word.weight, word.on_chain, word.equivocated)).collect::<Vec<_>>(),
        [(1, true, false); 4]
    );
    world.node.close().await;
}

/// A proof has one word of a key at a height. Two validators with one key once broke every proof that named both.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_validators_with_one_key_a_proof_has_one_word_at_a_height() {
    let mut world = world(0).await;
    let mut twin = Author { chain: chain(), ..Author::new(3, chain()) };
    assert_eq!(twin.id, validator(1).account);
    let head = world.node.seal(&[twin.rotate(2)]).await;
    world.heads.push(head);
    world.seal().await;
    world.seal().await;
    let twin = Producer { key: validator(0).key, ..validator(1) };
    let say = |height: usize| world.board.post(&attest(&twin, &world.heads[height]));
    world.say(0, 2);
    say(2);
    world.say(2, 2);
    while world.node.projection.attestations().status().heard < 3 {
        tokio::task::yield_now().await;
    }
    // Three of four, and only two of them fit into a proof.
    assert_eq!(world.finalized(), None);
    world.say(3, 2);
    world.final_at(2).await;
    let proof =
        |height| world.node.projection.attestations().finality_proof(Height(height)).unwrap().unwrap();
    world.check(&proof(2), 2);
    world.check(&proof(1), 1);
    // At two heights both fit.
    world.say(0, 3);
    world.say(2, 3);
    world.say(3, 3);
    world.final_at(3).await;
    world.check(&proof(3), 3);
    world.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attestations_may_come_before_their_block() {
    let mut ahead = world(3).await;
    let late = tempfile::tempdir().unwrap();
    let log = log_of_four(&late.path().join("log")).await;
    let node = open(&late.path().join("state"), &log).await;
    let board = MemoryBoard::new();
    node.projection.follow_board(board.clone());
    let attestations = node.projection.attestations();
    for place in 0..3 {
        board.post(&attest(&validator(place), &ahead.heads[3]));
    }
    board.post(&attest(&validator(3), &ahead.heads[0]));
    // Block 0 is attested by all, since they attest descendants, but this node cannot know that those are such.
    ahead.seal().await;
    while attestations.highest_attested() < Height(3) || attestations.status().heard < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(attestations.finalized(), None);
    copy_log(&ahead.log, &log, 3).await;
    node.caught_up().await;
    assert_eq!(attestations.finalized(), None);
    copy_log(&ahead.log, &log, 4).await;
    assert_eq!(finalized(attestations, 3).await.height, Height(3));
    node.close().await;
    ahead.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_validators_counts_nothing() {
    let world = world(2).await;
    let (head, board) = (Arc::clone(&world.heads[2]), &world.board);
    let elsewhere =
        Attestation { chain: ChainId::new([9; 32]), ..attestation(&validator(3), head.height(), head.hash) };
    let stranger = producer(99);
    let mut as_another = validator(2);
    as_another.key = stranger.key.clone();
    let mut forged = attest(&validator(2), &head);
    forged.signature = Signature::new([1; 64]);
    let mut newer = attestation(&validator(2), head.height(), head.hash);
    newer.version += 1;
    world.say(0, 2);
    board.put(&b"garbage"[..]);
    board.put(vec![0x93; 4096]);
    board.post(&sign_attestation(&newer, &validator(2).key));
    board.post(&sign_attestation(&elsewhere, &validator(3).key));
    board.post(&attest(&stranger, &head));
    // The producer has no weight.
    board.post(&attest(&producer(1), &head));
    board.post(&attest(&as_another, &head));
    board.post(&forged);
    world.say(1, 2);
    let attestations = world.node.projection.attestations();
    while attestations.status().heard < 2 {
        tokio::task::yield_now().await;
    }
    let status = attestations.status();
    let refused: Vec<_> = status.refused.into_iter().collect();
    assert_eq!(
        refused,
        [
            ("attestation_malformed", 3),
            ("chain_wrong", 1),
            ("key_wrong", 1),
            ("signature_invalid", 1),
            ("validator_unknown", 2),
        ]
    );
    assert_eq!(attestations.finalized(), None);
    world.say(2, 2);
    world.final_at(2).await;
    world.node.close().await;
}

/// A liar can name any height; it must not stop producers, nor finality.
#[tokio::test(flavor = "multi_thread")]
async fn one_liar_among_four_changes_nothing() {
    let world = world(1).await;
    world.board.post(&attest_hash(&validator(3), Height(u64::MAX), Hash::new([6; 32])));
    world.board.post(&attest_hash(&validator(3), Height(1), Hash::new([6; 32])));
    for place in 0..3 {
        world.say(place, 1);
    }
    world.final_at(1).await;
    let attestations = world.node.projection.attestations();
    assert_eq!(attestations.highest_attested(), Height(1));
    assert_eq!(world.node.projection.condition(), Condition::Following);
    let liar =
        attestations.validators().into_iter().find(|said| said.account == validator(3).account).unwrap();
    assert_eq!((liar.height, liar.on_chain), (Some(Height(1)), false));
    world.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equivocator_is_proven_and_counts_no_more() {
    let world = world(3).await;
    for place in 0..3 {
        world.say(place, 1);
    }
    world.final_at(1).await;
    let liar = validator(2);
    world.board.post(&attest_hash(&liar, Height(1), Hash::new([6; 32])));
    for place in 0..3 {
        world.say(place, 2);
    }
    let attestations = world.node.projection.attestations();
    while attestations.status().refused.is_empty() || attestations.covering(Height(2)).len() < 2 {
        tokio::task::yield_now().await;
    }
    // What was final stays so; of the rest, one weight of four is lost for good.
    assert_eq!(world.finalized(), Some(1));
    let status = attestations.status();
    assert_eq!((status.equivocators, status.refused["validator_equivocated"]), (1, 1));
    let path = world.dir.path().join("state").join(format!("equivocation-{}-1.proof", liar.account));
    let bytes = loop {
        // It is written after the conclusions are drawn.
        if let Ok(bytes) = fs::read(&path) {
            break bytes;
        }
        tokio::task::yield_now().await;
    };
    let proof = ProofFile::decode(&bytes).unwrap().proof.equivocation.unwrap();
    let (first, second) =
        (check_attestation(&proof.first).unwrap(), check_attestation(&proof.second).unwrap());
    assert_eq!(
        (first.validator, first.height, proof.first.key),
        (liar.account, Height(1), liar.key.public())
    );
    assert_eq!(
        (second.validator, second.height, proof.second.key),
        (liar.account, Height(1), liar.key.public())
    );
    assert_ne!(first.header_hash, second.header_hash);
    let World { dir, log, node, board, heads } = world;
    node.close().await;
    // The next process knows it from the file.
    let node = open(&dir.path().join("state"), &log).await;
    let attestations = node.projection.attestations();
    assert_eq!(attestations.status().equivocators, 1);
    assert!(
        attestations.validators().into_iter().any(|word| word.equivocated && word.account == liar.account)
    );
    node.projection.follow_board(board.clone());
    board.post(&attest(&validator(3), &heads[3]));
    assert_eq!(finalized(attestations, 2).await.height, Height(2));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finality_is_known_again_after_a_restart() {
    let mut world = world(4).await;
    for place in 0..3 {
        world.say(place, 2);
    }
    world.final_at(2).await;
    world.node.projection.flush().unwrap();
    world.seal().await;
    for place in 1..4 {
        world.say(place, 5);
    }
    world.final_at(5).await;
    let World { dir, log, node, .. } = &mut world;
    let fresh = open(&dir.path().join("fresh"), log).await;
    std::mem::replace(node, fresh).close().await;
    // Nobody is asked: it is in the store.
    let again = open(&dir.path().join("state"), log).await;
    let attestations = again.projection.attestations().clone();
    let point = attestations.finalized().unwrap();
    assert_eq!((point.height, point.weight, point.total), (Height(5), 3, 4));
    assert_eq!(attestations.highest_attested(), Height(5));
    assert!(attestations.is_caught_up());
    assert_eq!(attestations.covering(Height(5)).len(), 3);
    std::mem::replace(&mut world.node, again).close().await;
    for height in 0..=5 {
        let proof = attestations.finality_proof(Height(height)).unwrap().unwrap();
        world.check(&proof, height);
        // The lowest checkpoint that covers it, which is older.
        let attested = Header::decode(&proof.attested[0].header).unwrap().height;
        assert_eq!(attested, if height <= 2 { Height(2) } else { Height(5) });
    }
    assert_eq!(attestations.finality_proof(Height(6)).unwrap(), None);
    world.node.close().await;
    assert!(matches!(attestations.finality_proof(Height(1)), Err(StoreError::Io(_))));
}

/// A checkpoint of another chain, or of a time this store does not know, is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_checkpoint_is_held_against_the_chain() {
    let mut world = world(2).await;
    for place in 0..3 {
        world.say(place, 1);
    }
    world.final_at(1).await;
    let World { dir, log, node, board, heads } = &mut world;
    let other = open(&dir.path().join("other"), log).await;
    std::mem::replace(node, other).close().await;
    let path = dir.path().join("state").join(FILE_NAME);
    for wrong in [2, 3] {
        let database = Database::open(&path).unwrap();
        let txn = database.begin_write().unwrap();
        {
            let mut table = txn.open_table(FINALITY).unwrap();
            let row = table.get(1).unwrap().unwrap().value().to_vec();
            table.insert(wrong, &row[..]).unwrap();
        }
        txn.commit().unwrap();
        drop(database);
        let again = open(&dir.path().join("state"), log).await;
        assert_eq!(again.projection.attestations().finalized(), None);
        again.projection.follow_board(board.clone());
        assert_eq!(finalized(again.projection.attestations(), 1).await.header_hash, heads[1].hash);
        again.close().await;
        let again = open(&dir.path().join("state"), log).await;
        assert_eq!(again.projection.attestations().finalized().unwrap().height, Height(1));
        again.close().await;
    }
    world.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_two_thirds_contradict_stops_with_evidence() {
    let world = world(2).await;
    let other =
        |place: u8, height| attest_hash(&validator(place), Height(height), Hash::new([height as u8; 32]));
    world.board.post(&other(0, 1));
    world.board.post(&other(1, 2));
    world.say(3, 2);
    let attestations = world.node.projection.attestations();
    while attestations.status().heard < 3 {
        tokio::task::yield_now().await;
    }
    // Half is not enough.
    assert_eq!(world.node.projection.condition(), Condition::Following);
    world.board.post(&other(2, 2));
    let mut condition = world.node.projection.watch_condition();
    let condition = condition.wait_for(|condition| *condition != Condition::Following).await.unwrap().clone();
    let Condition::Degraded { code, evidence, .. } = condition else { unreachable!() };
    assert_eq!(code, "finality_conflict");
    let evidence: serde_json::Value = serde_json::from_slice(&fs::read(evidence.unwrap()).unwrap()).unwrap();
    let words = evidence["attestations"].as_array().unwrap();
    assert_eq!(words.len(), 3);
    for word in words {
        let message: Blob = serde_json::from_value(word["message"].clone()).unwrap();
        let (said, _) = chaoschain_events::attest::verify_attestation(&message).unwrap();
        let ours = world.heads[said.height.0 as usize].hash.to_string();
        assert_eq!(word["ours"], ours);
        assert_ne!(said.header_hash.to_string(), ours);
    }
    world.node.close().await;
}

/// A rotated key counts from the block that rotates it on, also when its attestation was quicker than the block.
#[tokio::test(flavor = "multi_thread")]
async fn the_current_key_is_the_one_that_counts() {
    let mut world = world(1).await;
    let mut rotating = Author::new(3, chain());
    assert_eq!(rotating.id, validator(1).account);
    let ahead = tempfile::tempdir().unwrap();
    let log = log_of_four(&ahead.path().join("log")).await;
    copy_log(&world.log, &log, 2).await;
    let first = open(&ahead.path().join("state"), &log).await;
    first.caught_up().await;
    let rotated = first.seal(&[rotating.rotate(50)]).await;
    let new = chaoschain_projector::Producer { account: rotating.id, key: key(50) };
    world.board.post(&attest(&new, &rotated));
    world.say(0, 1);
    world.say(2, 1);
    let attestations = world.node.projection.attestations().clone();
    while attestations.status().heard < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!((attestations.status().refused["key_wrong"], attestations.finalized()), (1, None));
    copy_log(&log, &world.log, 3).await;
    // With it, three of four attest block 1.
    world.final_at(1).await;
    world.heads.push(Arc::clone(&rotated));
    world.board.post(&attest(&validator(0), &rotated));
    // The old key says nothing any more.
    world.board.post(&attest_hash(&validator(1), Height(2), Hash::new([6; 32])));
    world.board.post(&attest(&validator(2), &rotated));
    world.final_at(2).await;
    assert_eq!(attestations.status().equivocators, 0);
    first.close().await;
    world.node.close().await;
}

/// Proofs are made of what is stored and what is about to be, at whatever place the store is.
#[tokio::test(flavor = "multi_thread")]
async fn ancestors_are_proven_before_and_after_they_are_stored() {
    let mut world = world(300).await;
    let (mut tiles, mut frontier) = (MemoryTiles::default(), Frontier::new());
    for head in &world.heads {
        tiles.append(&mut frontier, head.hash);
    }
    let check = |world: &World| {
        for under in [1, 2, 255, 256, 257, 300] {
            for height in [0, 1, 200, 255, 256, 299].into_iter().filter(|height| *height < under) {
                let made = world.node.projection.prove_ancestor(Height(height), &world.heads[under as usize]);
                assert_eq!(made.unwrap(), prove(&tiles, &[height], under).unwrap(), "{height} under {under}");
            }
        }
    };
    check(&world);
    world.node.projection.flush().unwrap();
    check(&world);
    let head = Arc::clone(&world.heads[9]);
    assert!(world.node.projection.prove_ancestor(Height(9), &head).unwrap().is_empty());
    assert!(world.node.projection.prove_ancestor(Height(10), &head).is_err());
    world.seal().await;
    check(&world);
    world.node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_this_machine_does_as_well() {
    let world = world(1).await;
    let board: Arc<dyn Board> = Arc::new(LocalBoard::open(world.dir.path().join("board")).unwrap());
    let other = open(&world.dir.path().join("other"), &world.log).await;
    board.publish(attest(&validator(0), &world.heads[1])).await.unwrap();
    other.projection.follow_board(Arc::clone(&board));
    for place in 1..3 {
        board.publish(attest(&validator(place), &world.heads[1])).await.unwrap();
    }
    assert_eq!(finalized(other.projection.attestations(), 1).await.header_hash, world.heads[1].hash);
    while !other.projection.attestations().is_caught_up() {
        tokio::task::yield_now().await;
    }
    // A closed board ends nothing but the news.
    board.close().await;
    other.close().await;
    world.node.close().await;
}
