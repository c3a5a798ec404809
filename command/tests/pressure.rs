//! A log that fails, queues that are full, a service that stops: everybody is answered and nothing is lost.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_command::{CommandOptions, MempoolLimits, OnOutcome, Outcome, Peer, Rate, SubmitError};
use chaoschain_events::log::EventLog;
use chaoschain_schemas::{Height, Timestamp};
use serde_json::json;
use support::*;
use tokio::sync::{Semaphore, mpsc};

/// Submits and tells outcomes as they come.
fn submit_all(node: &Node, envelopes: Vec<Bytes>) -> mpsc::UnboundedReceiver<(usize, Outcome)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let on_outcome: OnOutcome = Arc::new(move |place, outcome| drop(sender.send((place, outcome))));
    node.service.submit_many(envelopes, Peer::Local, &on_outcome);
    receiver
}

async fn gather(mut outcomes: mpsc::UnboundedReceiver<(usize, Outcome)>, count: usize) -> Vec<Outcome> {
    let mut gathered = vec![None; count];
    while let Some((place, outcome)) = outcomes.recv().await {
        assert!(gathered[place].replace(outcome).is_none(), "{place} was answered twice");
    }
    gathered.into_iter().map(|outcome| outcome.expect("everyone is answered")).collect()
}

fn registrations(count: u16) -> Vec<Bytes> {
    (0..count).map(|number| author(number).register()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_gets_over_it() {
    let node = node_with(options(), [Fate::NoSpace]).await;
    let envelope = author(1).register();
    let error = node.service.submit(envelope.clone(), Peer::Local).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), ("log_no_space", 503));
    assert!(error.retry_after().is_some());
    let receipt = loop {
        match node.service.submit(envelope.clone(), Peer::Local).await {
            Ok(receipt) => break receipt,
            Err(error) => assert_eq!(error.code(), "log_no_space"),
        }
    };
    assert_in_log(&node.projection, &receipt, &envelope).await;
    assert_eq!(node.caught_up().await.height(), Height(1));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclear_append_is_read_back() {
    for (fate, messages) in [(Fate::UnclearLanded, 2), (Fate::UnclearLost, 2), (Fate::Beaten, 3)] {
        let node = node_with(options(), [fate.clone()]).await;
        let envelope = author(1).register();
        let receipt = node.service.submit(envelope.clone(), Peer::Local).await.unwrap();
        assert_in_log(&node.projection, &receipt, &envelope).await;
        assert_eq!(node.log.tip().await.unwrap().0, messages, "{fate:?}");
        assert_eq!(node.service.submit(envelope, Peer::Local).await, Ok(receipt), "{fate:?}");
        node.close().await;
    }
}

/// A late append may land however often the log was read without it; what it lands with is no refusal's.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_append_is_waited_for() {
    let gate = Arc::new(Semaphore::new(0));
    let clock = Stopped::default();
    let options = CommandOptions { append_patience: Duration::ZERO, clock: clock.clock(), ..options() };
    let node = node_with(options, [Fate::Gated(gate.clone())]).await;
    let reads = node.log.reads.load(Ordering::SeqCst);
    let envelope = author(1).register();
    let outcomes = submit_all(&node, vec![envelope.clone()]);
    // The second look comes after the first has found nothing; giving the append up would bring a second one instead.
    while node.log.reads.load(Ordering::SeqCst) < reads + 2 {
        if outcomes.is_closed() || node.service.status().tip_lost > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    // Judged again, it would be too old.
    clock.set(Timestamp(START.0 + DAY));
    gate.add_permits(1);
    let receipt = gather(outcomes, 1).await.remove(0).unwrap();
    assert_in_log(&node.projection, &receipt, &envelope).await;
    assert_eq!((node.service.status().tip_lost, node.log.appends.load(Ordering::SeqCst)), (0, 1));
    node.close().await;
}

/// Blocks are sealed ahead of the log's answers; when one in the middle fails, those behind it stand on nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_anywhere_is_built_again() {
    use Fate::{Beaten, NoSpace, Pass, UnclearLanded, UnclearLost};
    let scripts = [
        vec![Beaten, Pass, Pass],
        vec![Pass, UnclearLost, Pass, Beaten],
        vec![UnclearLanded, UnclearLanded, Beaten, UnclearLost],
        vec![Pass, Pass, NoSpace, Pass, UnclearLanded],
    ];
    for script in scripts {
        let mut options = options();
        options.block.events = 2;
        options.nonce_wait = Duration::from_millis(5);
        let node = node_with(options, script.clone()).await;
        let mut envelopes = registrations(10);
        for nonce in 1..4 {
            envelopes.extend((0..10).map(|number| author(number).act(0, nonce)));
        }
        let full = script.iter().any(|fate| matches!(fate, NoSpace));
        let mut left = envelopes;
        while !left.is_empty() {
            let outcomes = node.service.submit_batch(left.clone(), Peer::Local).await;
            let mut again = Vec::new();
            for (envelope, outcome) in left.iter().zip(outcomes) {
                match outcome {
                    Ok(receipt) => assert_in_log(&node.projection, &receipt, envelope).await,
                    Err(error) => {
                        // Those told of the full disk are gone, and what would have followed them lies ahead.
                        let told = ["log_no_space", "nonce_ahead", "account_unknown"].contains(&error.code());
                        assert!(told && full, "{script:?}: {error}");
                        again.push(envelope.clone());
                    }
                }
            }
            left = again;
        }
        let pending = node.service.status();
        assert_eq!((pending.pending, pending.in_flight), (0, 0));
        node.close().await;
    }
}

/// Where the log ends is known only as far as it was folded: a place that was hoped for is nothing to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_line_that_is_lost_is_sealed_again_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let lost = || Fate::GatedLost(gate.clone());
    let mut options = options();
    options.block.events = 1;
    let node = node_with(options, [Fate::Pass, lost(), lost(), lost()]).await;
    // Whoever sealed the newest block may have several on their way.
    node.service.submit(author(0).register(), Peer::Local).await.unwrap();
    let envelopes = registrations(4).split_off(1);
    let outcomes = submit_all(&node, envelopes.clone());
    while node.service.status().in_flight < 3 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(3);
    for (outcome, envelope) in gather(outcomes, 3).await.into_iter().zip(&envelopes) {
        assert_in_log(&node.projection, &outcome.unwrap(), envelope).await;
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_answered_busy_and_the_rest_is_served() {
    const COUNT: u16 = 200;
    let gate = Arc::new(Semaphore::new(0));
    let options = CommandOptions {
        mempool: MempoolLimits { events: 50, ..MempoolLimits::default() },
        in_flight_max: 1,
        ..options()
    };
    let node = node_with(options, [Fate::Gated(gate.clone())]).await;
    let envelopes = registrations(COUNT);
    let mut outcomes = submit_all(&node, envelopes.clone());
    // Nothing is in the log yet, so these are the ones there is no room for.
    let mut refused = 0;
    while refused < usize::from(COUNT) - 50 {
        let (_, outcome) = outcomes.recv().await.unwrap();
        let error = outcome.unwrap_err();
        assert_eq!((error.code(), error.http_status()), ("busy", 429));
        assert!(error.retry_after().is_some());
        refused += 1;
    }
    assert_eq!(node.service.status().pending, 50);
    gate.add_permits(1);
    let mut accepted = 0;
    while let Some((place, outcome)) = outcomes.recv().await {
        assert_in_log(&node.projection, &outcome.unwrap(), &envelopes[place]).await;
        accepted += 1;
    }
    assert_eq!(accepted, 50);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_author_cannot_take_the_whole_pool() {
    let gate = Arc::new(Semaphore::new(0));
    let options = CommandOptions { in_flight_max: 1, ..options() };
    let node = node_with(options, [Fate::Pass, Fate::Gated(gate.clone())]).await;
    let (greedy, modest) = (author(1), author(2));
    node.service.submit(greedy.register(), Peer::Local).await.unwrap();
    let mut envelopes: Vec<_> = (1..21).map(|nonce| greedy.act(0, nonce)).collect();
    envelopes.push(modest.register());
    let outcomes = submit_all(&node, envelopes);
    gate.add_permits(1);
    let outcomes = gather(outcomes, 21).await;
    let busy = outcomes.iter().filter(|outcome| matches!(outcome, Err(SubmitError::Busy { .. }))).count();
    assert_eq!(busy, 4);
    assert!(outcomes[..16].iter().all(Result::is_ok) && outcomes[20].is_ok(), "{outcomes:?}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impostors_use_up_no_place_but_their_own() {
    let gate = Arc::new(Semaphore::new(0));
    let options = CommandOptions { in_flight_max: 1, ..options() };
    let node = node_with(options, [Fate::Pass, Fate::Gated(gate.clone())]).await;
    let (ana, mallory) = (author(1), author(2));
    node.service.submit(ana.register(), Peer::Local).await.unwrap();
    let first = submit_all(&node, vec![author(3).register()]);
    while node.service.status().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let impostor = Author { id: ana.id, key: mallory.key };
    let mut envelopes: Vec<_> = (2..18).map(|nonce| impostor.act(0, nonce)).collect();
    envelopes.push(ana.act(0, 1));
    let outcomes = submit_all(&node, envelopes);
    gate.add_permits(1);
    let mut outcomes = gather(outcomes, 17).await;
    outcomes.pop().unwrap().unwrap();
    let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap_err().code()).collect();
    assert_eq!(codes, ["key_wrong"; 16]);
    gather(first, 1).await.remove(0).unwrap();
    node.close().await;
}

/// What the new key signs is served in turns of its own, and yet comes after the rotation.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_transitions_goes_on_across_a_rotation() {
    let node = node().await;
    let ana = author(1);
    let heir = Author { id: ana.id, key: author(2).key };
    let new_key = json!({ "new_key": heir.key.public().to_string() });
    let rotation = Author::with_parties(&ana.body("KeyRotation", &new_key, 0, 3), &[&ana, &heir]);
    let mut envelopes = vec![ana.register(), ana.act(0, 1), ana.act(0, 2), rotation];
    envelopes.extend([heir.act(0, 4), heir.act(1, 0), heir.act(0, 5)]);
    for (place, outcome) in node.service.submit_batch(envelopes, Peer::Local).await.into_iter().enumerate() {
        assert!(outcome.is_ok(), "{place}: {outcome:?}");
    }
    assert_eq!(node.service.submit(ana.act(0, 6), Peer::Local).await.unwrap_err().code(), "key_wrong");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_bind_before_anything_is_looked_at() {
    let rate = Rate { per_second: 1, burst: 3 };
    let node = node_with(CommandOptions { peer_rate: Some(rate), ..options() }, []).await;
    let garbage = vec![Bytes::from_static(b"garbage"); 5];
    let outcomes = node.service.submit_batch(garbage, Peer::Client(1)).await;
    let codes: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap_err().code()).collect();
    assert_eq!(codes[3..], ["busy", "busy"]);
    assert!(codes[..3].iter().all(|code| *code != "busy"), "{codes:?}");
    // Where the batch took long there is a token again; they come to an end as well.
    let dry_run = async || node.service.dry_run(Bytes::new(), Peer::Client(1)).await.unwrap_err();
    let mut refused = dry_run().await;
    for _ in 0..100 {
        if refused.code() == "busy" {
            break;
        }
        refused = dry_run().await;
    }
    assert_eq!(refused.code(), "busy");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_answers_everybody() {
    let gate = Arc::new(Semaphore::new(0));
    let options = CommandOptions { in_flight_max: 1, shutdown_patience: Duration::ZERO, ..options() };
    let node = node_with(options, [Fate::Gated(gate.clone())]).await;
    let first = submit_all(&node, registrations(1));
    // The first block is on its way, and nobody knows whether it gets there.
    while node.service.status().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let rest = submit_all(&node, registrations(40).split_off(1));
    node.service.shut_down().await;
    assert_eq!(gather(first, 1).await, [Err(SubmitError::OutcomeUnknown)]);
    assert!(gather(rest, 39).await.iter().all(|outcome| *outcome == Err(SubmitError::ShuttingDown)));
    let late = node.service.submit(author(50).register(), Peer::Local).await;
    assert_eq!(late, Err(SubmitError::ShuttingDown));
    gate.add_permits(1);
    // It did: whoever asks the next service gets the receipt.
    let head = node.projection.wait_for(Height(1), Duration::from_secs(30)).await.unwrap();
    assert_eq!(head.header.event_count, 1);
    let again =
        chaoschain_command::CommandService::start(node.projection.clone(), producer(1), self::options());
    let again = again.unwrap();
    let receipt = again.submit(author(0).register(), Peer::Local).await.unwrap();
    assert_eq!((receipt.height, receipt.header_hash), (Height(1), head.hash));
    again.shut_down().await;
    node.close().await;
}

/// A node that does not trust its own state says so instead of taking work that it cannot do.
#[tokio::test(flavor = "multi_thread")]
async fn a_degraded_node_refuses_with_its_reason() {
    let node = node().await;
    node.service.submit(author(1).register(), Peer::Local).await.unwrap();
    let head = node.caught_up().await;
    let mut header = head.header.clone();
    header.height = header.height.next();
    header.parent = head.hash;
    header.event_count = 0;
    header.producer = producer(2).account;
    header.events_root = chaoschain_events::block::events_root(&[]);
    header.state_root = chaoschain_schemas::Hash::new([1; 32]);
    let wrong = chaoschain_events::block::seal(header, Vec::new(), &producer(2).key).unwrap();
    let tip = node.log.tip().await.unwrap();
    let at = node.log.append(tip, wrong.message().clone()).await.unwrap();
    node.projection.wait_cursor(at).await.unwrap_err();
    for number in 2..4 {
        let error = node.service.submit(author(number).register(), Peer::Local).await.unwrap_err();
        assert_eq!((error.code(), error.http_status(), error.retry_after()), ("state_diverged", 503, None));
    }
    node.close().await;
}
