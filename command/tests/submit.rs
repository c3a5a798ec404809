//! What a submitter gets: one event and one receipt for the same bytes, or a refusal that names the fact.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chaoschain_command::{CommandService, DryRun, Outcome, Peer};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::limits::ENVELOPE_BYTES_MAX;
use chaoschain_schemas::{ChainId, Height, Timestamp};
use futures::future::join_all;
use serde_json::json;
use support::*;

fn code(outcome: &Outcome) -> String {
    outcome.as_ref().map_or_else(|error| error.code().to_owned(), |_| "accepted".to_owned())
}

async fn submit(service: &CommandService, envelope: &bytes::Bytes) -> Outcome {
    service.submit(envelope.clone(), Peer::Local).await
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_say_what_the_log_holds() {
    let node = node().await;
    let authors: Vec<_> = (0..20).map(author).collect();
    let mut envelopes = Vec::new();
    for nonce in 0..5 {
        for ana in &authors {
            envelopes.push(if nonce == 0 { ana.register() } else { ana.act(0, nonce) });
        }
    }
    let outcomes = node.service.submit_batch(envelopes.clone(), Peer::Local).await;
    for (outcome, envelope) in outcomes.iter().zip(&envelopes) {
        assert_in_log(&node.projection, outcome.as_ref().unwrap(), envelope).await;
    }
    let status = node.service.status();
    assert_eq!((status.accepted, status.pending, status.in_flight), (100, 0, 0), "{status:?}");
    let height = node.projection.head().height().0;
    assert_eq!(
        (status.blocks, status.catch_up_blocks),
        (height, 0),
        "blocks hold what was submitted, nothing else"
    );
    node.close().await;
}

/// A client that did not hear the answer asks again; so does a proxy, and a service that was restarted in between.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_give_one_event_and_one_receipt() {
    let node = node().await;
    let ana = author(1);
    let envelope = ana.register();
    let outcomes = join_all((0..50).map(|_| submit(&node.service, &envelope))).await;
    let receipt = outcomes[0].clone().unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Ok(receipt)), "{outcomes:?}");
    submit(&node.service, &ana.act(0, 1)).await.unwrap();
    assert_eq!(submit(&node.service, &envelope).await, Ok(receipt));
    assert_eq!(node.service.dry_run(envelope.clone(), Peer::Local).await.unwrap(), DryRun::Accepted(receipt));
    let head = node.projection.head();
    assert_eq!(head.height(), Height(2));
    let dir = node.close().await;

    let log = EmbeddedLog::open(dir.path().join("log"), EmbeddedOptions::default()).unwrap();
    let log: Arc<dyn EventLog> = Arc::new(log);
    let projection = open(&dir.path().join("state"), &log).await;
    let clock = Stopped::default();
    // Its validity is over by now, which does not make it less of a fact.
    clock.set(Timestamp(START.0 + 3_600_000_000));
    let options = chaoschain_command::CommandOptions { clock: clock.clock(), ..options() };
    let service = CommandService::start(projection.clone(), producer(2), options).unwrap();
    assert_eq!(submit(&service, &envelope).await, Ok(receipt));
    assert_eq!(code(&submit(&service, &ana.act(0, 2)).await), "expired");
    assert_eq!(projection.head().hash, head.hash);
    service.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_go_in_order_and_lanes_side_by_side() {
    let node = node().await;
    let ana = author(1);
    // Backwards: each waits for the one before it.
    let mut envelopes: Vec<_> = (1..6).rev().map(|nonce| ana.act(0, nonce)).collect();
    envelopes.push(ana.register());
    let outcomes = join_all(envelopes.iter().map(|envelope| submit(&node.service, envelope))).await;
    let mut places: Vec<_> = outcomes.iter().map(|outcome| outcome.clone().unwrap()).map(place).collect();
    places.reverse();
    assert!(places.is_sorted(), "{places:?}");

    let lanes: Vec<_> = (1..16).map(|lane| ana.act(lane, 0)).collect();
    for outcome in node.service.submit_batch(lanes, Peer::Local).await {
        outcome.unwrap();
    }
    let other = ana.signed(&ana.body("CustomSet", &note("another"), 0, 3));
    assert_eq!(code(&submit(&node.service, &other).await), "nonce_used");
    node.close().await;
}

fn place(receipt: Receipt) -> (Height, u32) {
    (receipt.height, receipt.index)
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_fact_that_failed() {
    let mut options = options();
    options.nonce_wait = std::time::Duration::from_millis(5);
    let node = node_with(options, []).await;
    let (ana, stranger) = (author(1), author(2));
    submit(&node.service, &ana.register()).await.unwrap();
    let good = ana.act(0, 1);
    let changed = |change: &dyn Fn(&mut chaoschain_schemas::Body)| {
        let mut body = ana.body("CustomSet", &note("x"), 0, 1);
        change(&mut body);
        ana.signed(&body)
    };
    let registered = ana.body("AgentRegistration", &json!({ "personality": "Chaotic" }), 0, 1);
    let cases = [
        ("truncated", 400, good.slice(..good.len() - 1)),
        ("trailing_bytes", 400, [&good[..], &[0]].concat().into()),
        ("malformed", 400, bytes::Bytes::from_static(&[0xca, 0, 0, 0, 0])),
        ("too_large", 413, vec![0; ENVELOPE_BYTES_MAX + 1].into()),
        ("signature_invalid", 422, ana.forged(0, 1)),
        ("chain_wrong", 422, changed(&|body| body.chain = ChainId::default())),
        ("epoch_wrong", 422, changed(&|body| body.epoch = 1)),
        ("expired", 422, changed(&|body| body.valid_until = START)),
        ("validity_too_long", 422, changed(&|body| body.valid_until.0 = START.0 + DAY)),
        ("nonce_ahead", 409, ana.act(0, 2)),
        ("nonce_used", 409, changed(&|body| body.nonce = 0)),
        ("account_unknown", 422, stranger.act(0, 0)),
        ("kind_unknown", 422, changed(&|body| body.kind = 60_000)),
        ("key_wrong", 422, {
            let body = ana.body("CustomSet", &note("x"), 0, 1);
            let imposter = Author { id: ana.id, key: stranger.key.clone() };
            Author::with_parties(&body, &[&imposter])
        }),
        ("agent_exists", 422, ana.signed(&registered)),
    ];
    for (expected, status, envelope) in cases {
        let error = submit(&node.service, &envelope).await.unwrap_err();
        assert_eq!((error.code(), error.http_status()), (expected, status), "{error}");
        if expected != "nonce_ahead" && expected != "too_large" {
            let dry = node.service.dry_run(envelope, Peer::Local).await.unwrap_err();
            assert_eq!(dry.code(), expected);
        }
    }
    // Nothing of that was in the way.
    assert!(matches!(node.service.dry_run(good.clone(), Peer::Local).await, Ok(DryRun::Acceptable(_))));
    submit(&node.service, &good).await.unwrap();
    assert_eq!(node.service.status().refused["nonce_used"], 1);
    node.close().await;
}

/// Anyone who saw an envelope can send its body on with fewer signatures. That must not cost the true one its place.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_body_under_other_signatures_is_judged_by_itself() {
    let node = node().await;
    let (ana, bob) = (author(1), author(2));
    for register in [ana.register(), bob.register()] {
        submit(&node.service, &register).await.unwrap();
    }
    let formation = json!({
        "members": [ana.id, bob.id],
        "purpose": { "kind": "MemePromotion" },
        "terms": { "duration": DAY, "benefits": ["DramaBoost"], "conditions": ["share every template"] },
        "exclusive": true,
    });
    let body = ana.body("AllianceFormation", &formation, 0, 1);
    let stripped = Author::with_parties(&body, &[&ana]);
    let whole = Author::with_parties(&body, &[&ana, &bob]);
    let outcomes = node.service.submit_batch(vec![stripped.clone(), whole.clone()], Peer::Local).await;
    assert_eq!(code(&outcomes[0]), "cosignature_missing");
    let receipt = outcomes[1].clone().unwrap();
    // The body is history now, whoever signs it.
    assert_eq!(submit(&node.service, &stripped).await, Ok(receipt));
    assert_eq!(submit(&node.service, &whole).await, Ok(receipt));
    assert_in_log(&node.projection, &receipt, &whole).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_long_idle_span_block_time_catches_up_first() {
    let clock = Stopped::default();
    let node = node_with(chaoschain_command::CommandOptions { clock: clock.clock(), ..options() }, []).await;
    let now = Timestamp(START.0 + 10 * DAY + 5);
    clock.set(now);
    let ana = author(1);
    let mut body = ana.body("AgentRegistration", &json!({ "personality": "Chaotic" }), 0, 0);
    body.valid_until = Timestamp(now.0 + 60_000_000);
    let receipt = submit(&node.service, &ana.signed(&body)).await.unwrap();
    assert_eq!(receipt.height, Height(11));
    assert_eq!(node.projection.head().header.timestamp, now);
    assert_eq!(node.service.status().catch_up_blocks, 10);
    node.close().await;
}

/// Two services on one log, each with a projection of its own, offered the same work at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn two_producers_race_and_lose_nothing() {
    const AUTHORS: u16 = 12;
    const NONCES: u64 = 12;
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(dir.path()).await;
    let one = open(&dir.path().join("one"), &log).await;
    let two = open(&dir.path().join("two"), &log).await;
    let services = [
        CommandService::start(one.clone(), producer(1), options()).unwrap(),
        CommandService::start(two.clone(), producer(2), options()).unwrap(),
    ];
    let work = (0..AUTHORS).map(|number| {
        let services = services.clone();
        async move {
            let ana = author(number);
            let mut receipts = Vec::new();
            for nonce in 0..NONCES {
                let envelope = if nonce == 0 { ana.register() } else { ana.act(0, nonce) };
                // Both take it, whichever is quicker; the other has to come to the same receipt.
                let (a, b) = tokio::join!(submit(&services[0], &envelope), submit(&services[1], &envelope));
                let receipt = a.unwrap();
                assert_eq!(b, Ok(receipt));
                receipts.push((receipt, envelope));
            }
            receipts
        }
    });
    let receipts = join_all(work.map(tokio::spawn)).await;
    let heads = [caught_up(&one).await, caught_up(&two).await];
    assert_eq!(heads[0].hash, heads[1].hash);
    for (receipt, envelope) in receipts.into_iter().flat_map(Result::unwrap) {
        assert_in_log(&one, &receipt, &envelope).await;
        assert_in_log(&two, &receipt, &envelope).await;
    }
    for service in services {
        service.shut_down().await;
    }
}

/// A service that has not folded yet what another one has sealed cannot know that it should refuse.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_behind_refuses_nothing_that_the_log_has_accepted() {
    let ahead = node().await;
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Scripted::new(ahead.log.clone(), []));
    let as_log: Arc<dyn EventLog> = log.clone();
    let projection = open(&dir.path().join("state"), &as_log).await;
    let behind = CommandService::start(projection.clone(), producer(2), options()).unwrap();
    let ana = author(1);
    let heir = Author { id: ana.id, key: author(2).key };
    submit(&ahead.service, &ana.register()).await.unwrap();
    caught_up(&projection).await;
    log.delivers.send_replace(false);
    let new_key = json!({ "new_key": heir.key.public().to_string() });
    let rotation = Author::with_parties(&ana.body("KeyRotation", &new_key, 0, 1), &[&ana, &heir]);
    submit(&ahead.service, &rotation).await.unwrap();
    let receipt = submit(&ahead.service, &heir.act(0, 2)).await.unwrap();
    let asked = log.tips.load(Ordering::SeqCst);
    let again = tokio::spawn({
        let (behind, envelope) = (behind.clone(), heir.act(0, 2));
        async move { submit(&behind, &envelope).await }
    });
    while !again.is_finished() && log.tips.load(Ordering::SeqCst) == asked {
        tokio::task::yield_now().await;
    }
    log.delivers.send_replace(true);
    assert_eq!(again.await.unwrap(), Ok(receipt));
    // What is still refused then is refused.
    assert_eq!(code(&submit(&behind, &ana.act(0, 3)).await), "key_wrong");
    behind.shut_down().await;
    tokio::task::spawn_blocking(move || projection.close()).await.unwrap();
    ahead.close().await;
}
