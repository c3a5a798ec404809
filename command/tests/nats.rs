//! Submission over NATS, on a real server: both forms in and out, every refusal with its code, one receipt from everywhere.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Request, RequestErrorKind};
use bytes::Bytes;
use chaoschain_command::nats::{Client, ServeOptions, Served, serve};
use chaoschain_command::{BATCH_EVENTS_MAX, CommandOptions, Rate};
use chaoschain_events::nats::{Nats, NatsOptions, Subjects, connect};
use chaoschain_schemas::api::{BatchOutcome, ErrorBody, Receipt, Submission};
use chaoschain_schemas::{Blob, codec};
use chaoschain_test_support::nats::Server;
use serde_json::{Value as Json, json};
use support::*;
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_mins(1);
const MSGPACK: &str = "application/msgpack";
const JSON: &str = "application/json";

async fn connected(server: &Server) -> Nats {
    connect(&NatsOptions { url: server.url(), ..NatsOptions::default() }).await.unwrap()
}

async fn instance(node: &Node, nats: &Nats) -> Served {
    serve(node.service.clone(), nats, genesis().0, &ServeOptions::default()).await.unwrap()
}

/// Waits until the server knows all of an instance: what it listens at last is where it tells its figures.
async fn known(nats: &Nats, instance: &Served) {
    let subject = format!("$SRV.STATS.chaoschain-command.{}", instance.id());
    let answered = async {
        while nats.client().request(subject.clone(), Bytes::new()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

/// The answer to a request as it comes over the wire; an empty header is not sent.
async fn send(
    nats: &Nats,
    endpoint: &str,
    content: &str,
    accept: &str,
    payload: impl Into<Bytes>,
) -> Message {
    let mut headers = HeaderMap::new();
    for (name, value) in [("Content-Type", content), ("Accept", accept)] {
        if !value.is_empty() {
            headers.insert(name, value);
        }
    }
    let payload = payload.into();
    let subject = format!("{}.{endpoint}", Subjects::of(genesis().0).command());
    loop {
        let request =
            Request::new().headers(headers.clone()).payload(payload.clone()).timeout(Some(PATIENCE));
        match nats.client().send_request(subject.clone(), request).await {
            // The server may not know of the service yet.
            Err(error) if error.kind() == RequestErrorKind::NoResponders => tokio::task::yield_now().await,
            answer => return answer.unwrap(),
        }
    }
}

fn field<'a>(message: &'a Message, name: &'static str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(AsRef::as_ref)
}

fn json(message: &Message) -> Json {
    assert_eq!(field(message, "Content-Type"), Some(JSON));
    serde_json::from_slice(&message.payload).unwrap()
}

fn as_json(envelope: &Bytes) -> String {
    serde_json::to_string(&Submission { envelope: Blob(envelope.to_vec()) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_give_the_same_receipt() {
    let Some(server) = Server::start() else { return };
    let (node, nats) = (node().await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let envelope = author(1).register();
    let would = send(&nats, "dry_run", "", JSON, envelope.clone()).await;
    assert_eq!(json(&would)["verdict"], "acceptable");
    let packed = send(&nats, "submit", "", "", envelope.clone()).await;
    assert_eq!(field(&packed, "Content-Type"), Some(MSGPACK));
    let receipt: Receipt = codec::decode(&packed.payload, 1024).unwrap();
    for (content, accept) in [(JSON, ""), (JSON, JSON)] {
        let plain = send(&nats, "submit", content, accept, as_json(&envelope)).await;
        assert_eq!(json(&plain), serde_json::to_value(receipt).unwrap());
    }
    let client = Client::new(&nats, genesis().0);
    assert_eq!(client.submit(envelope.clone(), PATIENCE).await, Ok(receipt));
    let did = client.dry_run(envelope.clone(), PATIENCE).await.unwrap();
    assert_eq!((&did["verdict"], &did["height"]), (&json!("accepted"), &json!(receipt.height)));
    // The verdict as MessagePack: a map of what the JSON document holds.
    let packed = send(&nats, "dry_run", "", "", envelope.clone()).await;
    assert_eq!(codec::decode_trusted::<Json>(&packed.payload).unwrap(), did);
    assert_in_log(&node.projection, &receipt, &envelope).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_one_by_one() {
    let Some(server) = Server::start() else { return };
    let (node, nats) = (node().await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let ana = author(1);
    let envelopes = vec![ana.register(), ana.act(0, 1), ana.forged(0, 2)];
    let client = Client::new(&nats, genesis().0);
    let outcomes = client.submit_batch(envelopes.clone(), PATIENCE).await.unwrap();
    assert!(outcomes[0].receipt.is_some() && outcomes[1].receipt.is_some());
    assert_eq!(outcomes[2].error.as_ref().unwrap().code, "signature_invalid");
    let blobs: Vec<_> = envelopes.iter().map(|envelope| Blob(envelope.to_vec())).collect();
    let packed = send(&nats, "batch", MSGPACK, MSGPACK, codec::encode(&blobs)).await;
    assert_eq!(codec::decode::<Vec<BatchOutcome>>(&packed.payload, 1 << 20).unwrap(), outcomes);
    let plain = send(&nats, "batch", JSON, "", json!({ "envelopes": blobs }).to_string()).await;
    assert_eq!(json(&plain), serde_json::to_value(&outcomes).unwrap());
    let many = codec::encode(&vec![Blob::default(); BATCH_EVENTS_MAX + 1]);
    let refused = send(&nats, "batch", "", JSON, many).await;
    assert_eq!(
        (field(&refused, "Nats-Service-Error-Code"), json(&refused)["code"].as_str()),
        (Some("413"), Some("too_large"))
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_number_and_code() {
    let Some(server) = Server::start() else { return };
    let options = CommandOptions { nonce_wait: Duration::ZERO, ..options() };
    let (node, nats) = (node_with(options, []).await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let ana = author(1);
    Client::new(&nats, genesis().0).submit(ana.register(), PATIENCE).await.unwrap();
    let other = ana.signed(&ana.body("CustomSet", &note("x"), 0, 0));
    let cases: [(&str, &str, &str, &str, Bytes); 14] = [
        ("400", "truncated", "submit", "", Bytes::new()),
        ("400", "malformed", "submit", "", vec![0xc1].into()),
        ("400", "malformed", "submit", JSON, "{}".into()),
        ("400", "malformed", "submit", JSON, r#"{"envelope":"no base64!"}"#.into()),
        // JSON that does not say so.
        ("400", "trailing_bytes", "submit", "", as_json(&ana.act(0, 1)).into()),
        ("415", "content_type_unknown", "submit", "text/plain", ana.act(0, 1)),
        ("413", "too_large", "submit", "", vec![0; 1 << 18].into()),
        ("413", "too_large", "submit", "", vec![0; 150 << 10].into()),
        ("400", "trailing_bytes", "submit", MSGPACK, [&ana.act(0, 1)[..], &[0]].concat().into()),
        ("422", "signature_invalid", "submit", "", ana.forged(0, 1)),
        ("409", "nonce_used", "submit", "", other),
        ("409", "nonce_ahead", "submit", "application/msgpack; v=1", ana.act(0, 2)),
        ("422", "account_unknown", "dry_run", "", author(2).act(0, 0)),
        ("400", "malformed", "batch", "", "\u{1}".into()),
    ];
    for (status, code, endpoint, content, payload) in cases {
        let answer = send(&nats, endpoint, content, MSGPACK, payload).await;
        let error: ErrorBody = codec::decode(&answer.payload, 4096).unwrap();
        let told = field(&answer, "Nats-Service-Error-Code").unwrap();
        assert_eq!((told, error.code.as_str()), (status, code), "{}", error.message);
        assert_eq!(field(&answer, "Nats-Service-Error"), Some(&*format!("{code}: {}", error.message)));
        assert_eq!(error.retry_after_ms, None);
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_a_rate_of_its_own() {
    let Some(server) = Server::start() else { return };
    let rate = Rate { per_second: 1, burst: 1 };
    let options = CommandOptions { peer_rate: Some(rate), ..options() };
    let (node, one, two) = (node_with(options, []).await, connected(&server).await, connected(&server).await);
    let _instance = instance(&node, &one).await;
    assert_eq!(
        field(&send(&one, "submit", "", JSON, author(1).register()).await, "Nats-Service-Error-Code"),
        None
    );
    // A batch shows it whatever the time is: at most one of these finds a token.
    let batch: Vec<_> = (2..12).map(|number| Blob(author(number).register().to_vec())).collect();
    let answer = send(&one, "batch", "", JSON, codec::encode(&batch)).await;
    let busy =
        json(&answer).as_array().unwrap().iter().filter(|outcome| outcome["error"]["code"] == "busy").count();
    assert!(busy >= 8, "{busy}");
    assert_eq!(
        field(&send(&two, "submit", "", JSON, author(20).register()).await, "Nats-Service-Error-Code"),
        None
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_share_the_load_and_give_one_receipt_each() {
    let Some(server) = Server::start() else { return };
    let (node, one, two) = (node().await, connected(&server).await, connected(&server).await);
    let instances = [instance(&node, &one).await, instance(&node, &two).await];
    let nats = connected(&server).await;
    for instance in &instances {
        known(&nats, instance).await;
    }
    let client = Client::new(&nats, genesis().0);
    let envelopes: Vec<_> = (0..100).map(|number| author(number).register()).collect();
    let submit = |envelope: &Bytes| {
        let (client, envelope) = (client.clone(), envelope.clone());
        async move { client.submit(envelope, PATIENCE).await.unwrap() }
    };
    // Each of them twice, at once.
    let receipts = envelopes.iter().chain(&envelopes).map(submit);
    let receipts = futures::future::join_all(receipts).await;
    assert_eq!(receipts[..100], receipts[100..]);
    for instance in &instances {
        let subject = format!("$SRV.STATS.chaoschain-command.{}", instance.id());
        let stats = nats.client().request(subject, Bytes::new()).await.unwrap();
        let stats: Json = serde_json::from_slice(&stats.payload).unwrap();
        assert_eq!(stats["endpoints"][0]["name"], "submit");
        assert!(stats["endpoints"][0]["num_requests"].as_u64().unwrap() > 0, "{stats}");
    }
    let info = nats.client().request("$SRV.INFO.chaoschain-command", Bytes::new()).await.unwrap();
    let info: Json = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["metadata"], json!({ "chain": genesis().0, "domain": node.projection.machine().id() }));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_receipt_gets_it_though_the_service_stops() {
    let Some(server) = Server::start() else { return };
    let gate = Arc::new(Semaphore::new(0));
    let node = node_with(options(), [Fate::Gated(gate.clone())]).await;
    let (ours, theirs) = (connected(&server).await, connected(&server).await);
    let instance = Arc::new(instance(&node, &ours).await);
    let (client, envelope) = (Client::new(&theirs, genesis().0), author(1).register());
    let submitting = tokio::spawn({
        let (client, envelope) = (client.clone(), envelope.clone());
        async move { client.submit(envelope, PATIENCE).await }
    });
    while node.log.appends.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = Arc::clone(&instance);
    let stopped = tokio::spawn(async move { stopping.shut_down(PATIENCE).await });
    gate.add_permits(1);
    let receipt = submitting.await.unwrap().unwrap();
    stopped.await.unwrap();
    assert_in_log(&node.projection, &receipt, &envelope).await;
    assert_eq!(node.log.appends.load(Ordering::SeqCst), 1);
    let nobody = client.submit(envelope, Duration::ZERO).await.unwrap_err();
    assert_eq!(nobody.code(), "nats_unanswered");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_served_again() {
    let Some(server) = Server::start() else { return };
    let (node, ours, theirs) = (node().await, connected(&server).await, connected(&server).await);
    let _instance = instance(&node, &ours).await;
    let client = Client::new(&theirs, genesis().0);
    let envelope = author(1).register();
    let receipt = client.submit(envelope.clone(), PATIENCE).await.unwrap();
    server.kill();
    let asked = tokio::spawn(async move { client.submit(envelope, PATIENCE).await });
    server.restart();
    assert_eq!(asked.await.unwrap(), Ok(receipt));
    node.close().await;
}
