//! The HTTP interface, on a node with a society.

use std::fmt::Write;
use std::future::Future;
use std::task::{Context, Waker};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chaoschain_query::http::{openapi, router};
use chaoschain_query::limits::REQUESTS_MAX;
use chaoschain_query::verify::{EventContent, Level, StateVerifier, Verified, verify_block, verify_file};
use chaoschain_query::{Ask, At, Query, QueryError};
use chaoschain_schemas::Height;
use chaoschain_society::Society;
use serde_json::Value as Json;
use tower::ServiceExt;

use crate::node::Node;

const NOBODY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

async fn get_with(router: &Router, path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn bytes(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 24).await.unwrap().to_vec()
}

pub(crate) async fn get(router: &Router, path: &str) -> (StatusCode, Json) {
    let response = get_with(router, path, &[]).await;
    let status = response.status();
    (status, serde_json::from_slice(&bytes(response).await).unwrap())
}

/// Hashes, ids and proofs depend on every record's form; here they are named by their length alone.
pub(crate) fn named_by_length(json: &mut Json) {
    match json {
        Json::String(text) => {
            let is_hex = |text: &str| text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_hex(text) {
                *text = format!("<{} bytes>", text.len() / 2);
            }
            let words: Vec<_> = text
                .split(' ')
                .map(|word| {
                    let bare = word.trim_end_matches([':', ';', ',']);
                    if is_hex(bare) { word.replace(bare, "<hex>") } else { word.to_owned() }
                })
                .collect();
            *text = words.join(" ");
        }
        Json::Array(items) => items.iter_mut().for_each(named_by_length),
        Json::Object(fields) => fields.values_mut().for_each(named_by_length),
        _ => {}
    }
}

fn paths(node: &Node) -> Vec<String> {
    let (ana, bob) = (node.ana.id(), node.bob.id());
    vec![
        "/v1/root".into(),
        "/v1/header/2".into(),
        format!("/v1/account/{ana}"),
        "/v1/parameters".into(),
        "/v1/validators".into(),
        format!("/v1/agents/{ana}"),
        format!("/v1/agent/{NOBODY}"),
        format!("/v1/alliances/{}", node.alliance),
        format!("/v1/relationships/{bob}/{ana}"),
        format!("/v1/relationships/{bob}/{NOBODY}"),
        format!("/v1/memes/{}", node.meme),
        format!("/v1/entries/{ana}/notes/a%2Fb%20c"),
        format!("/v1/read/entry/{ana}/notes/nothing"),
        format!("/v1/records/control/01{ana}"),
        format!("/v1/records/0/01{NOBODY}"),
        "/v1/records/memes/00".into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_verifies_offline() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    for path in paths(&node) {
        let (status, plain) = get(&router, &path).await;
        let (proven_status, proven) = get(&router, &format!("{path}?proof=true")).await;
        assert_eq!(proven_status, StatusCode::OK, "{path}: {proven}");
        let file = STANDARD.decode(proven["proof"].as_str().unwrap()).unwrap();
        let alone = get_with(&router, &path, &[(header::ACCEPT, "application/msgpack")]).await;
        assert_eq!(alone.headers()[header::CONTENT_TYPE], "application/msgpack");
        assert_eq!(bytes(alone).await, file, "{path}");

        let Ok(Verified::Read(read)) = verify_file(&file, &node.trust(), Some(&Society)) else {
            panic!("{path}: {:?}", verify_file(&file, &node.trust(), Some(&Society)));
        };
        assert_eq!(read.value.as_ref(), Some(&proven["value"]), "{path}");
        assert_eq!(read.level, Level::DecodedBySchema);
        if path.starts_with("/v1/header") {
            continue;
        }
        assert_eq!(serde_json::to_value(read.header.at()).unwrap(), proven["at"], "{path}");
        if proven["value"].is_null() {
            assert_eq!((status, plain["code"].as_str()), (StatusCode::NOT_FOUND, Some("absent")), "{path}");
        } else {
            assert_eq!((status, &plain["value"]), (StatusCode::OK, &proven["value"]), "{path}");
        }
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_look_so() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let mut shown = String::new();
    let mut all = paths(&node);
    all.extend(
        ["/v1/kinds", "/v1/reads", "/v1/blocks/0", "/v1/blocks/2", "/v1/events/1/1"].map(String::from),
    );
    for path in all {
        let (status, mut answer) = get(&router, &path).await;
        named_by_length(&mut answer);
        let path: Vec<_> = path.split('/').map(|part| if part.len() > 60 { "…" } else { part }).collect();
        writeln!(shown, "GET {} -> {status}\n{answer:#}\n", path.join("/")).unwrap();
    }
    insta::assert_snapshot!(shown);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_blocks_verify_offline() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    for path in [format!("/v1/events/by-id/{}", node.meme), "/v1/events/2/1".into(), "/v1/events/0/0".into()]
    {
        let (status, answer) = get(&router, &format!("{path}?proof=true")).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let file = STANDARD.decode(answer["proof"].as_str().unwrap()).unwrap();
        let verified = verify_file(&file, &node.trust(), Some(&Society));
        let Ok(Verified::Event(event)) = verified else { panic!("{path}: {verified:?}") };
        assert_eq!(event.value.as_ref(), Some(&answer["value"]["event"]), "{path}");
        match &event.content {
            EventContent::Genesis(_) => assert_eq!(event.address.height, Height(0)),
            EventContent::Transition(envelope) => {
                assert_eq!((envelope.id(), event.address.index), (node.meme, 1));
                assert_eq!(answer["value"]["receipt"]["id"], node.meme.to_string());
            }
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(verify_file(&changed, &node.trust(), Some(&Society)).is_err(), "{path}: byte {at}");
        }
    }
    for height in 0..=3 {
        let response = get_with(&router, &format!("/v1/blocks/{height}/raw"), &[]).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
        let message = bytes(response).await;
        let block = verify_block(&message, None, &node.trust()).unwrap();
        assert_eq!(block.header.header().height, Height(height));
        let (_, shown) = get(&router, &format!("/v1/blocks/{height}")).await;
        assert_eq!(shown["value"]["hash"], block.header.at().header_hash.to_string());
        for at in (0..message.len()).step_by(7) {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(verify_block(&changed, None, &node.trust()).is_err(), "block {height}: byte {at}");
        }
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_look_so() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let ana = node.ana.id();
    let mut shown = String::new();
    for path in [
        "/v1/nonsense".into(),
        "/v1/nonsense/with/arguments".into(),
        "/v1/agent".into(),
        "/v1/agents/xyz".into(),
        format!("/v1/agent/{ana}/more"),
        format!("/v1/agent/{}", "1".repeat(2000)),
        format!("/v1/agent/{NOBODY}"),
        "/v1/root?proof=maybe".into(),
        "/v1/root?prof=true".into(),
        "/v1/root?min_height=2&at_height=2".into(),
        "/v1/root?min_height=99&patience_ms=0".into(),
        "/v1/root?at_height=99&patience_ms=0".into(),
        "/v1/records/9/00".into(),
        "/v1/records/blocks/00".into(),
        "/v1/records/control/0".into(),
        "/v1/blocks/4".into(),
        "/v1/blocks/-1".into(),
        "/v1/header/4".into(),
        "/v1/events/2/4".into(),
        "/v1/events/2/x".into(),
        format!("/v1/events/by-id/{NOBODY}"),
        "/v1/events/by-id/12".into(),
        "/v1/models/nonsense".into(),
        "/v1/models/leaderboard?proof=true".into(),
        "/v1/models/leaderboard/0".into(),
    ] {
        let (status, mut answer) = get(&router, &path).await;
        named_by_length(&mut answer);
        let path: Vec<_> = path.split('/').map(|part| if part.len() > 60 { "…" } else { part }).collect();
        writeln!(shown, "GET {} -> {status}\n{answer:#}\n", path.join("/")).unwrap();
    }
    insta::assert_snapshot!(shown);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_height_is_of_that_height() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let alliance = format!("/v1/alliance/{}", node.alliance);
    let (_, before) = get(&router, &format!("{alliance}?at_height=1&proof=true")).await;
    assert_eq!((&before["at"]["height"], &before["value"]), (&Json::from(1), &Json::Null));
    let (_, after) = get(&router, &format!("{alliance}?at_height=2")).await;
    assert_eq!(after["at"]["height"], 2);
    // A read that waits is answered by the block it waits for.
    let query = Query::new(node.projection.clone());
    let ask = Ask { at: At::AtLeast(Height(4)), ..Ask::default() };
    let waiting = tokio::spawn(async move { query.read("root", &[], &ask).await });
    node.seal(&[]).await;
    assert_eq!(waiting.await.unwrap().unwrap().at.height, Height(4));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_blocks_but_no_older_states() {
    let node = Node::start().await.restart().await;
    let router = router(Query::new(node.projection.clone()));
    let (status, refused) = get(&router, "/v1/root?at_height=2").await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::GONE, Some("height_not_retained")));
    let (_, event) = get(&router, &format!("/v1/events/by-id/{}", node.meme)).await;
    assert_eq!(event["value"]["event"]["kind"], "MemePublication");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_are_answered_at_once_are_told_to_come_back() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let mut nothing_wakes = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..REQUESTS_MAX)
        .map(|_| Box::pin(get_with(&router, "/v1/root?min_height=99&patience_ms=30000", &[])))
        .collect();
    for request in &mut waiting {
        assert!(request.as_mut().poll(&mut nothing_wakes).is_pending());
    }
    let (status, refused) = get(&router, "/v1/root").await;
    assert_eq!((status, refused["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("busy")));
    assert!(refused["retry_after_ms"].is_u64());
    drop(waiting);
    assert_eq!(get(&router, "/v1/root").await.0, StatusCode::OK);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_knows_is_not_sent_again() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let first = get_with(&router, "/v1/root", &[]).await;
    let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    let again = get_with(&router, "/v1/root", &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    node.seal(&[]).await;
    let later = get_with(&router, "/v1/root", &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(later.status(), StatusCode::OK);
    node.close().await;
}

/// A start looks at the place of the head alone; whatever else was put in is noticed when it is read.
#[tokio::test(flavor = "multi_thread")]
async fn another_block_in_the_log_is_not_served() {
    let node = Node::start().await;
    let other = node.projection.block_message(Height(1)).await.unwrap().unwrap();
    let node = node.restart_on_changed_log(2, other).await;
    let router = router(Query::new(node.projection.clone()));
    for path in ["/v1/blocks/2", "/v1/blocks/2/raw", "/v1/events/2/0"] {
        let (status, refusal) = get(&router, path).await;
        assert_eq!((status.as_u16(), &refusal["code"]), (500, &"log_changed".into()), "{path}: {refusal}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_models_answer() {
    let node = Node::start().await;
    let query = Query::new(node.projection.clone());
    let status = query.status(&Ask { proof: true, ..Ask::default() }).await.unwrap();
    assert_eq!(status.value["height"], 3);
    let verified = verify_file(&status.proof.unwrap(), &node.trust(), Some(&Society));
    let Ok(Verified::Read(root)) = verified else { panic!("{verified:?}") };
    assert_eq!(root.header.at(), status.at);
    let projection = node.projection.clone();
    tokio::task::spawn_blocking(move || projection.flush()).await.unwrap().unwrap();
    let board = query.model("leaderboard", &[], &Ask::default()).await.unwrap();
    assert_eq!(board.value[0]["id"], node.ana.id().to_string());
    let refused = query.model("leaderboard", &[], &Ask { proof: true, ..Ask::default() }).await;
    assert_eq!(refused, Err(QueryError::NotProvable("a read model's answer")));
    node.close().await;
}

/// Every described path exists, with every parameter the description names.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_of_this_interface() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    let description = serde_json::to_value(openapi(&Society)).unwrap();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/entry/{owner}/{namespace}/{key}"), "the domain's reads are described");
    for path in paths.keys() {
        let path: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "0" } else { part }).collect();
        let path = path.join("/");
        let response = get_with(&router, &path, &[]).await;
        let status = response.status();
        let body = bytes(response).await;
        if status != StatusCode::OK {
            let refusal: Json = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{path}: {status}"));
            assert_ne!(refusal["code"], "read_unknown", "{path}");
        }
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_are_served_while_the_state_before_is_kept() {
    let node = Node::start().await;
    let router = router(Query::new(node.projection.clone()));
    for height in 1..=3 {
        let response = get_with(&router, &format!("/v1/blocks/{height}/witness"), &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/msgpack");
        let file = bytes(response).await;
        let trust = node.trust();
        let verified = StateVerifier::new(&trust, &Society).verify_file(&file).unwrap();
        assert_eq!(verified.block.header().height, Height(height));
        assert_eq!(verified.level, Level::ReExecuted);
    }
    for (path, status, code) in [
        ("/v1/blocks/0/witness", StatusCode::BAD_REQUEST, "argument_wrong"),
        ("/v1/blocks/4/witness", StatusCode::NOT_FOUND, "block_unknown"),
        ("/v1/blocks/x/witness", StatusCode::BAD_REQUEST, "argument_wrong"),
    ] {
        let (got, body) = get(&router, path).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{path}");
    }
    let node = node.restart().await;
    let query = Query::new(node.projection.clone());
    let error = query.witness(Height(2), &Ask::default()).await.unwrap_err();
    assert_eq!(error.code(), "outside_window");
    node.close().await;
}
