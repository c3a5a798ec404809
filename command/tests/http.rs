//! Submission over HTTP: both forms in, both forms out, and every refusal with its code and status.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::middleware::from_fn;
use axum::routing::get;
use bytes::Bytes;
use chaoschain_command::{BATCH_EVENTS_MAX, CommandOptions, Rate, http};
use chaoschain_schemas::api::{BatchOutcome, ErrorBody, Receipt, Submission};
use chaoschain_schemas::{Blob, codec};
use serde_json::{Value as Json, json};
use support::*;
use tower::ServiceExt;

const MSGPACK: &str = "application/msgpack";

struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    content: String,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Json {
        assert_eq!(self.content, "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn post(router: &Router, path: &str, content: &str, accept: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, content)
        .header(header::ACCEPT, accept)
        .body(body.into())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: parts.status,
        retry_after: text(header::RETRY_AFTER),
        content: text(header::CONTENT_TYPE).unwrap_or_default(),
        body: to_bytes(body, 16 << 20).await.unwrap(),
    }
}

fn as_json(envelope: &Bytes) -> String {
    serde_json::to_string(&Submission { envelope: Blob(envelope.to_vec()) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_give_the_same_receipt() {
    let node = node().await;
    let router = http::router(node.service.clone());
    let envelope = author(1).register();
    let would = post(&router, "/v1/transitions?dry_run=true", MSGPACK, "*/*", envelope.clone()).await;
    assert_eq!((would.status, &would.json()["verdict"]), (StatusCode::OK, &json!("acceptable")));
    let packed = post(&router, "/v1/transitions", MSGPACK, MSGPACK, envelope.clone()).await;
    assert_eq!((packed.status, packed.content.as_str()), (StatusCode::OK, MSGPACK));
    let receipt: Receipt = codec::decode(&packed.body, 1024).unwrap();
    let plain = post(&router, "/v1/transitions", "application/json", "*/*", as_json(&envelope)).await;
    assert_eq!((plain.status, plain.json()), (StatusCode::OK, serde_json::to_value(receipt).unwrap()));
    let did = post(&router, "/v1/transitions?dry_run=true", MSGPACK, "*/*", envelope.clone()).await;
    assert_eq!(did.json()["verdict"], "accepted");
    assert_in_log(&node.projection, &receipt, &envelope).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_one_by_one() {
    let node = node().await;
    let router = http::router(node.service.clone());
    let ana = author(1);
    let envelopes = [ana.register(), ana.act(0, 1), ana.forged(0, 2)].map(|bytes| Blob(bytes.to_vec()));
    let path = "/v1/transitions/batch";
    let packed = post(&router, path, MSGPACK, MSGPACK, codec::encode(&envelopes)).await;
    assert_eq!(packed.status, StatusCode::OK);
    let outcomes: Vec<BatchOutcome> = codec::decode(&packed.body, 1 << 20).unwrap();
    assert!(outcomes[0].receipt.is_some() && outcomes[1].receipt.is_some());
    assert_eq!(outcomes[2].error.as_ref().unwrap().code, "signature_invalid");
    let body = json!({ "envelopes": envelopes }).to_string();
    let plain = post(&router, path, "application/json", "*/*", body).await;
    assert_eq!(plain.json(), serde_json::to_value(&outcomes).unwrap());
    let many = vec![Blob::default(); BATCH_EVENTS_MAX + 1];
    let refused = post(&router, path, MSGPACK, "*/*", codec::encode(&many)).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large"))
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_status_and_code() {
    let rate = Rate { per_second: 1, burst: 8 };
    let mut options = CommandOptions { peer_rate: Some(rate), ..options() };
    options.nonce_wait = std::time::Duration::ZERO;
    let node = node_with(options, []).await;
    let router = http::router(node.service.clone());
    let ana = author(1);
    let registered = post(&router, "/v1/transitions", MSGPACK, "*/*", ana.register()).await;
    assert_eq!(registered.status, StatusCode::OK);
    let other = ana.signed(&ana.body("CustomSet", &note("x"), 0, 0));
    let cases: [(u16, &str, &str, &str, Body); 12] = [
        (400, "malformed", "application/json", "", "{}".into()),
        (400, "malformed", "application/json", "", r#"{"envelope":"no base64!"}"#.into()),
        (400, "malformed", MSGPACK, "?dry_run=maybe", ana.act(0, 1).into()),
        (415, "content_type_unknown", "text/plain", "", "hello".into()),
        (413, "too_large", MSGPACK, "", vec![0; 1 << 20].into()),
        (400, "trailing_bytes", MSGPACK, "", [&ana.act(0, 1)[..], &[0]].concat().into()),
        (422, "signature_invalid", MSGPACK, "", ana.forged(0, 1).into()),
        (409, "nonce_used", MSGPACK, "", other.into()),
        (409, "nonce_ahead", MSGPACK, "", ana.act(0, 2).into()),
        (422, "account_unknown", MSGPACK, "?dry_run=true", author(2).act(0, 0).into()),
        (422, "kind_unknown", "application/json; charset=utf-8", "", {
            let mut body = ana.body("CustomSet", &note("x"), 0, 1);
            body.kind = 60_000;
            as_json(&ana.signed(&body)).into()
        }),
        (400, "malformed", MSGPACK, "", Bytes::new().into()),
    ];
    for (status, code, content, query, body) in cases {
        let answer = post(&router, &format!("/v1/transitions{query}"), content, "*/*", body).await;
        let error: ErrorBody = serde_json::from_value(answer.json()).unwrap();
        let expected = if error.code == "truncated" { "malformed" } else { &error.code };
        assert_eq!((answer.status.as_u16(), expected), (status, code), "{}", error.message);
        assert_eq!(answer.retry_after, None);
    }
    // That was the last of the burst. Where it took long there are tokens again, which come to an end as well.
    let submit = || post(&router, "/v1/transitions", MSGPACK, MSGPACK, ana.act(0, 1));
    let mut busy = submit().await;
    for _ in 0..100 {
        if busy.status == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        busy = submit().await;
    }
    assert_eq!((busy.status, busy.retry_after.as_deref()), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    let error: ErrorBody = codec::decode(&busy.body, 1024).unwrap();
    assert_eq!((error.code.as_str(), error.retry_after_ms), ("busy", Some(1000)));
    node.close().await;
}

/// Log lines, to be looked through.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_lines_of_a_request_carry_its_trace() {
    let lines = Lines::default();
    let writer = lines.clone();
    // Every task of this runtime is on this thread.
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish(),
    );
    let handled = || async { tracing::info!("handled") };
    let router = Router::new().route("/v1/things/{id}", get(handled)).layer(from_fn(http::trace));
    let ask = async |headers: &[(&str, &str)]| -> HeaderMap {
        let mut request = Request::get("/v1/things/7");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        response.headers().clone()
    };
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let given = format!("00-{trace}-{caller}-01");
    let answer = ask(&[("TraceParent", &given)]).await;
    let ours = answer["traceparent"].to_str().unwrap();
    assert!(ours.starts_with(&format!("00-{trace}-")) && ours.ends_with("-01") && ours != given, "{ours}");
    // Two callers are none.
    for headers in
        [&[][..], &[("traceparent", "00-1-2-3")], &[("traceparent", &given), ("traceparent", &given)]]
    {
        assert!(!ask(headers).await["traceparent"].to_str().unwrap().contains(trace), "{headers:?}");
    }
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let handled: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let span = &handled[0]["span"];
    assert_eq!(
        (&span["otel.name"], &span["trace_id"], &span["parent_id"], &span["span_id"]),
        (&json!("GET /v1/things/{id}"), &json!(trace), &json!(caller), &json!(ours[36..52]))
    );
    assert_eq!(handled.len(), 4);
}
