//! Reads over NATS, on a real server: the same answers as over HTTP, in both forms, and every refusal with its code.
#![allow(clippy::unwrap_used)]

#[path = "suite/node.rs"]
#[allow(dead_code)]
mod node;

use std::time::Duration;

use async_nats::{HeaderMap, Message, Request, RequestErrorKind};
use axum::body::to_bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chaoschain_events::nats::{Nats, NatsOptions, Subjects, connect};
use chaoschain_query::nats::{Asking, Client, ServeOptions, Served, serve};
use chaoschain_query::verify::{Verified, verify_block, verify_file};
use chaoschain_query::{Finality, Query, http};
use chaoschain_schemas::api::ErrorBody;
use chaoschain_schemas::{Height, codec};
use chaoschain_society::Society;
use chaoschain_test_support::nats::{Options, Server};
use node::Node;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use tower::ServiceExt;

const PATIENCE: Duration = Duration::from_mins(1);
const JSON: &str = "application/json";

async fn connected(server: &Server) -> Nats {
    connect(&NatsOptions { url: server.url(), ..NatsOptions::default() }).await.unwrap()
}

async fn instance(node: &Node, nats: &Nats) -> Served {
    let query = Query::new(node.projection.clone());
    serve(query, nats, node.chain, &ServeOptions::default()).await.unwrap()
}

/// The answer to a request as it comes over the wire; an empty header is not sent.
async fn send(nats: &Nats, node: &Node, endpoint: &str, content: &str, payload: impl Into<Bytes>) -> Message {
    let mut headers = HeaderMap::new();
    if !content.is_empty() {
        headers.insert("Content-Type", content);
    }
    let payload = payload.into();
    let subject = format!("{}.{endpoint}", Subjects::of(node.chain).query());
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

async fn over_http(node: &Node, path: &str) -> Json {
    let router = http::router(Query::new(node.projection.clone()));
    let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 24).await.unwrap()).unwrap()
}

/// An answer as a client in another language reads it: a map with names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Packed {
    at: Map<String, Json>,
    label: String,
    value: Json,
    #[serde(default, with = "serde_bytes")]
    proof: Option<Vec<u8>>,
}

fn asking(json: Json) -> Asking {
    serde_json::from_value(json).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_what_http_answers() {
    let Some(server) = Server::start() else { return };
    let (node, nats) = (Node::start().await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let client = Client::new(&nats, node.chain);
    let projection = node.projection.clone();
    tokio::task::spawn_blocking(move || projection.flush()).await.unwrap().unwrap();
    let (ana, meme) = (node.ana.id().to_string(), node.meme.to_string());
    let cases = [
        ("read", json!({ "read": "root" }), "/v1/root".to_owned()),
        ("read", json!({ "read": "agents", "arguments": [ana] }), format!("/v1/agents/{ana}")),
        (
            "read",
            json!({ "read": "entry", "arguments": [ana, "notes", "a/b c"] }),
            format!("/v1/entries/{ana}/notes/a%2Fb%20c"),
        ),
        (
            "read",
            json!({ "read": "header", "arguments": ["2"], "at_height": 3 }),
            "/v1/header/2?at_height=3".into(),
        ),
        (
            "record",
            json!({ "arguments": ["control", format!("01{ana}")] }),
            format!("/v1/records/control/01{ana}"),
        ),
        ("block", json!({ "arguments": ["2"] }), "/v1/blocks/2".into()),
        ("event", json!({ "arguments": ["2", "1"] }), "/v1/events/2/1".into()),
        ("event_by_id", json!({ "arguments": [meme] }), format!("/v1/events/by-id/{meme}")),
        ("model", json!({ "model": "leaderboard" }), "/v1/models/leaderboard".into()),
        ("finality", json!({}), "/v1/finality".into()),
        ("status", json!({}), "/v1/status".into()),
        ("kinds", json!({ "min_height": 1 }), "/v1/kinds".into()),
        ("reads", json!({}), "/v1/reads".into()),
    ];
    for (endpoint, request, path) in cases {
        let expected = over_http(&node, &path).await;
        assert!(expected.get("at").is_some(), "{path}: {expected}");
        let answer: Json = client.ask(endpoint, &asking(request.clone()), PATIENCE).await.unwrap();
        assert_eq!(answer, expected, "{endpoint} {request}");
        let packed = send(&nats, &node, endpoint, "", rmp_serde::to_vec_named(&request).unwrap()).await;
        assert_eq!(field(&packed, "Content-Type"), Some("application/msgpack"), "{endpoint}");
        let read: Json = rmp_serde::from_slice(&packed.payload).unwrap();
        assert_eq!(read, expected, "{endpoint} {request}");
    }
    let message = client.block_raw(Height(2), PATIENCE).await.unwrap();
    assert_eq!(verify_block(&message, None, &node.trust()).unwrap().header.header().height, Height(2));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_come_as_bytes_and_hold() {
    let Some(server) = Server::start() else { return };
    let (node, nats) = (Node::start().await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let nobody = "11".repeat(32);
    for id in [node.ana.id().to_string(), nobody] {
        let request = json!({ "read": "agent", "arguments": [id], "proof": true });
        let answer = send(&nats, &node, "read", "", rmp_serde::to_vec_named(&request).unwrap()).await;
        let packed: Packed = rmp_serde::from_slice(&answer.payload).unwrap();
        let file = packed.proof.unwrap();
        let Ok(Verified::Read(read)) = verify_file(&file, &node.trust(), Some(&Society)) else {
            panic!("{id}")
        };
        assert_eq!(read.value.as_ref(), Some(&packed.value));
        assert_eq!(serde_json::to_value(read.header.at()).unwrap(), Json::Object(packed.at));
        assert_eq!(packed.label, "producer-signed");
        let plain = send(&nats, &node, "read", JSON, request.to_string()).await;
        let plain: Json = serde_json::from_slice(&plain.payload).unwrap();
        assert_eq!(STANDARD.decode(plain["proof"].as_str().unwrap()).unwrap(), file);
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_number_and_code() {
    let Some(server) = Server::with(&Options::new().config("max_payload: 100000")) else { return };
    let (node, nats) = (Node::start().await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let long = json!({ "read": "agent", "arguments": ["1".repeat(1025)] }).to_string();
    let many = json!({ "read": "agent", "arguments": ["1", "2", "3", "4", "5"] }).to_string();
    let nobody = json!({ "read": "agent", "arguments": ["11".repeat(32)] }).to_string();
    let cases: [(&str, &str, &str, &str, Bytes); 21] = [
        ("400", "argument_wrong", "read", JSON, Bytes::new()),
        ("400", "argument_wrong", "read", JSON, "{".into()),
        ("400", "argument_wrong", "read", "", r#"{"read":"root"}"#.into()),
        ("400", "argument_wrong", "read", JSON, r#"{"read":"root","min_hight":3}"#.into()),
        ("400", "argument_wrong", "read", JSON, r#"{"read":"root","min_height":1,"at_height":1}"#.into()),
        ("400", "argument_wrong", "read", JSON, r#"{"model":"leaderboard"}"#.into()),
        ("400", "argument_wrong", "read", JSON, long.into()),
        ("400", "argument_wrong", "read", JSON, many.into()),
        ("400", "argument_wrong", "block", JSON, Bytes::new()),
        ("400", "argument_wrong", "block", JSON, r#"{"arguments":["two"]}"#.into()),
        ("400", "argument_wrong", "block_raw", JSON, r#"{"arguments":["1","2"]}"#.into()),
        ("400", "argument_wrong", "status", JSON, r#"{"arguments":["1"]}"#.into()),
        ("400", "not_provable", "model", JSON, r#"{"model":"leaderboard","proof":true}"#.into()),
        ("413", "too_large", "read", JSON, vec![b' '; 64 << 10].into()),
        ("415", "content_type_unknown", "read", "application/x-www-form-urlencoded", "read=root".into()),
        ("404", "absent", "read", JSON, nobody.into()),
        ("404", "read_unknown", "read", JSON, r#"{"read":"weather"}"#.into()),
        ("404", "model_unknown", "model", JSON, r#"{"model":"weather"}"#.into()),
        ("404", "block_unknown", "block_raw", JSON, r#"{"arguments":["99"]}"#.into()),
        ("404", "event_unknown", "event", JSON, r#"{"arguments":["2","99"]}"#.into()),
        (
            "503",
            "height_not_reached",
            "read",
            JSON,
            r#"{"read":"root","min_height":99,"patience_ms":1}"#.into(),
        ),
    ];
    for (status, code, endpoint, content, payload) in cases {
        let answer = send(&nats, &node, endpoint, content, payload.clone()).await;
        let error: ErrorBody = match content {
            JSON => serde_json::from_slice(&answer.payload).unwrap(),
            _ => codec::decode(&answer.payload, 4096).unwrap(),
        };
        let told = field(&answer, "Nats-Service-Error-Code").unwrap();
        assert_eq!((told, error.code.as_str()), (status, code), "{endpoint} {payload:?}: {}", error.message);
        assert_eq!(error.retry_after_ms.is_some(), status == "503");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_height_that_comes_while_it_is_asked_for_is_answered() {
    let Some(server) = Server::start() else { return };
    let (node, nats) = (Node::start().await, connected(&server).await);
    let _instance = instance(&node, &nats).await;
    let client = Client::new(&nats, node.chain);
    // The service gives up at once; the client asks again.
    let later = Asking {
        read: Some("root".into()),
        min_height: Some(4),
        patience_ms: Some(0),
        finality: Finality::Latest,
        ..Asking::default()
    };
    let waiting = tokio::spawn(async move { client.ask::<Json>("read", &later, PATIENCE).await });
    node.seal(&[]).await;
    assert_eq!(waiting.await.unwrap().unwrap()["value"]["height"], 4);
    node.close().await;
}
