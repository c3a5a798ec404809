//! Power cuts: whatever was acknowledged is there afterwards, once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::society::ReputationUpdate;
use chaoschain_schemas::{Blob, Fixed, TransitionId};

use crate::harness::audit::{Audited, audit};
use crate::harness::{Author, Node, PATIENCE, Random, is_put_off, json, receipt};

/// How often the node is killed.
const KILLS: usize = 20;
/// How many receipts at least lie between two kills.
const RECEIPTS_BETWEEN: usize = 500;
const AUTHORS: u64 = 40;
/// Transitions of one author in one request: fewer than the mempool takes.
const TURN: usize = 8;

/// Everything that was submitted, and what was heard of it.
struct Ledger {
    authors: Vec<Author>,
    receipts: BTreeMap<TransitionId, Receipt>,
    /// Submitted and never answered: to be sent again.
    open: Vec<Vec<(TransitionId, Blob)>>,
}

impl Ledger {
    /// Sends a request and writes down what it came to. Whether the node answered.
    fn submit(&mut self, node: &Node, place: usize) -> bool {
        if self.open[place].is_empty() {
            let subject = self.authors[(place + 1) % self.authors.len()].id;
            let rating = Fixed::from_millionths(1000 * (place as u64 + 1).cast_signed());
            self.open[place] =
                (0..TURN).map(|_| self.authors[place].sign(&ReputationUpdate { subject, rating })).collect();
        }
        let envelopes: Vec<Blob> = self.open[place].iter().map(|(_, envelope)| envelope.clone()).collect();
        let started = Instant::now();
        let outcomes = loop {
            let Some(outcomes) = node.submit(&envelopes) else { return false };
            if !outcomes.iter().any(is_put_off) {
                break outcomes;
            }
            assert!(started.elapsed() < PATIENCE, "it is put off for ever: {outcomes:?}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        for ((id, _), outcome) in self.open[place].iter().zip(&outcomes) {
            let receipt = receipt(outcome).unwrap_or_else(|code| panic!("{id} was refused: {code}"));
            assert_eq!(receipt.id, *id);
            let known = self.receipts.insert(*id, receipt);
            assert!(known.is_none_or(|known| known == receipt), "two receipts for {id}");
        }
        self.open[place].clear();
        true
    }
}

#[test]
fn receipts_survive_twenty_power_cuts() {
    let mut random = Random::new("power cuts");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    json(&["init", "--dir", data.to_str().unwrap(), "--name", "crash"]);
    let node = Node::up(&data);
    let mut authors: Vec<Author> = (0..AUTHORS).map(|number| Author::new(node.chain, number)).collect();
    let registrations: Vec<_> = authors.iter_mut().map(Author::register).collect();
    let mut ledger = Ledger { authors, receipts: BTreeMap::new(), open: vec![Vec::new(); AUTHORS as usize] };
    ledger.open[0] = registrations;
    assert!(ledger.submit(&node, 0));

    let mut node = Some(node);
    for _ in 0..KILLS {
        let running = node.take().unwrap_or_else(|| Node::up(&data));
        kill_after_some_receipts(&running, &mut ledger, &mut random);
        drop(running);
    }
    let node = Node::up(&data);
    for place in 0..AUTHORS as usize {
        // What was cut off is sent again, with the same bytes.
        assert!(ledger.open[place].is_empty() || ledger.submit(&node, place));
    }
    // A receipt is a fact: asked again, the node says the same.
    node.kill();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let running = runtime.block_on(check(&data, &data.join("state"), &ledger.receipts));
    let replayed = runtime.block_on(check(&data, &dir.path().join("replay"), &ledger.receipts));
    assert_eq!(running, replayed);
    eprintln!("{} receipts over {KILLS} power cuts, root {}", ledger.receipts.len(), running.root);
}

/// Submits until at least [`RECEIPTS_BETWEEN`] receipts are in, then kills the node at a random moment of the next request.
fn kill_after_some_receipts(node: &Node, ledger: &mut Ledger, random: &mut Random) {
    let before = ledger.receipts.len();
    let places = ledger.authors.len();
    let mut place = random.below(places as u64) as usize;
    while ledger.receipts.len() < before + RECEIPTS_BETWEEN {
        assert!(ledger.submit(node, place), "the node did not answer though nobody had killed it");
        place = (place + 1) % places;
    }
    // Microseconds, so that cuts fall into every stage of a request: reading, checking, sealing, syncing, answering.
    let delay = std::time::Duration::from_micros(random.below(12_000));
    let pid = node.pid();
    let answered = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(delay);
            assert!(
                std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success()
            );
        });
        for _ in 0..places * 4 {
            if !ledger.submit(node, place) {
                break;
            }
            answered.fetch_add(1, Ordering::Relaxed);
            place = (place + 1) % places;
        }
    });
}

/// Opens the chain in `data` with its state in `state` and audits it.
async fn check(data: &Path, state: &Path, receipts: &BTreeMap<TransitionId, Receipt>) -> Audited {
    let log: Arc<dyn EventLog> =
        Arc::new(EmbeddedLog::open(data.join("log"), EmbeddedOptions::default()).unwrap());
    let audited = audit(Arc::clone(&log), state, receipts).await;
    log.close().await;
    audited
}
