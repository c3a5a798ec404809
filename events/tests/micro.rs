//! Micro services on a real server: everybody is answered, in bounded numbers, and found in the log.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request as Send, RequestErrorKind};
use bytes::Bytes;
use chaoschain_events::micro::{
    self, AskError, Asking, Definition, Endpoint, Form, Payload, Refusal, Request, ServeOptions, Served, ask,
};
use chaoschain_schemas::api::ErrorBody;
use chaoschain_schemas::codec;
use chaoschain_test_support::nats::{Options, Server};
use futures::StreamExt;
use serde_json::{Value as Json, json};
use tokio::sync::{Semaphore, mpsc};

const PATIENCE: Duration = Duration::from_mins(1);
const PAYLOAD_MAX: usize = 16 * 1024;
const ENDPOINTS: &[Endpoint] = &[
    Endpoint { name: "echo", request_bytes_max: 1024 },
    Endpoint { name: "refuse", request_bytes_max: 1024 },
    Endpoint { name: "panic", request_bytes_max: 1024 },
    Endpoint { name: "hang", request_bytes_max: 1024 },
    Endpoint { name: "large", request_bytes_max: 1024 },
];

fn definition() -> Definition {
    Definition {
        name: "test-service",
        description: "answers tests".into(),
        version: "1.2.3",
        metadata: HashMap::from([("chain".into(), "00ff".into())]),
        prefix: "test.v1".into(),
        endpoints: ENDPOINTS,
        time_max: PATIENCE,
    }
}

async fn handle(endpoint: &str, request: Request) -> Result<Payload, Refusal> {
    tracing::info!("handled");
    match endpoint {
        "echo" => Ok(request.answer.write(&(request.payload.len(), request.content.content_type()))),
        "refuse" => Err(Refusal::new(409, "nonce_used", "it was\nused")),
        "panic" => panic!("on purpose"),
        "hang" => std::future::pending().await,
        _ => Ok(Payload { content_type: "application/octet-stream", bytes: vec![0; PAYLOAD_MAX].into() }),
    }
}

async fn connect(server: &Server) -> Client {
    async_nats::connect(server.url()).await.unwrap()
}

async fn serve(client: &Client) -> Served {
    micro::serve(client, definition(), &ServeOptions::default(), handle).await.unwrap()
}

type Headers<'a> = &'a [(&'static str, &'a str)];

/// Endpoint, headers, length of the request; status, code and whether to come back.
type Case<'a> = (&'a str, Headers<'a>, usize, (u16, &'a str, bool));

/// The answer to a request as it comes over the wire.
async fn send(client: &Client, endpoint: &str, headers: Headers<'_>, payload: Bytes) -> Message {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    loop {
        let request = Send::new().headers(map.clone()).payload(payload.clone()).timeout(Some(PATIENCE));
        match client.send_request(format!("test.v1.{endpoint}"), request).await {
            // The server may not know of the service yet.
            Err(error) if error.kind() == RequestErrorKind::NoResponders => tokio::task::yield_now().await,
            answer => return answer.unwrap(),
        }
    }
}

fn field<'a>(message: &'a Message, name: &'static str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(AsRef::as_ref)
}

/// Status, code and whether to come back.
fn refused(answer: &Message) -> (u16, String, bool) {
    let status = field(answer, "Nats-Service-Error-Code").expect("an error").parse().unwrap();
    let body: ErrorBody = match field(answer, "Content-Type") {
        Some("application/json") => serde_json::from_slice(&answer.payload).unwrap(),
        _ => codec::decode(&answer.payload, 4096).unwrap(),
    };
    assert!(field(answer, "Nats-Service-Error").unwrap().starts_with(&format!("{}: ", body.code)));
    (status, body.code, body.retry_after_ms.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_read_and_answered_in_the_forms_their_headers_name() {
    let Some(server) = Server::start() else { return };
    let client = connect(&server).await;
    let _instance = serve(&client).await;
    let packed = send(&client, "echo", &[], Bytes::from_static(b"abc")).await;
    assert_eq!(field(&packed, "Content-Type"), Some("application/msgpack"));
    let said: (usize, String) = codec::decode(&packed.payload, 100).unwrap();
    assert_eq!(said, (3, "application/msgpack".into()));
    let json = send(&client, "echo", &[("Content-Type", "application/json")], Bytes::new()).await;
    assert_eq!(field(&json, "Content-Type"), Some("application/json"));
    assert_eq!(&json.payload[..], br#"[0,"application/json"]"#);
    // Header names are what they are: another case is another name.
    let other = send(&client, "echo", &[("content-type", "application/json")], Bytes::new()).await;
    assert_eq!(field(&other, "Content-Type"), Some("application/msgpack"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_an_answer() {
    let config = format!("max_payload: {PAYLOAD_MAX}");
    let Some(server) = Server::with(&Options::new().config(&config)) else { return };
    let client = connect(&server).await;
    let definition = Definition { time_max: Duration::from_millis(50), ..definition() };
    let _instance = micro::serve(&client, definition, &ServeOptions::default(), handle).await.unwrap();
    let json: Headers = &[("Accept", "application/json")];
    let cases: [Case; 6] = [
        ("refuse", json, 0, (409, "nonce_used", false)),
        ("panic", json, 0, (500, "internal", false)),
        ("hang", &[], 0, (503, "timed_out", true)),
        ("large", &[], 0, (422, "answer_too_large", false)),
        ("echo", &[], 1025, (413, "too_large", false)),
        ("echo", &[("Content-Type", "text/plain")], 1, (415, "content_type_unknown", false)),
    ];
    for (endpoint, headers, bytes, (status, code, later)) in cases {
        let answer = send(&client, endpoint, headers, vec![0; bytes].into()).await;
        assert_eq!(refused(&answer), (status, code.to_owned(), later), "{endpoint}");
        assert!(field(&answer, "traceparent").is_some(), "{endpoint}");
    }
    let refusal = send(&client, "refuse", &[], Bytes::new()).await;
    assert_eq!(field(&refusal, "Nats-Service-Error"), Some("nonce_used: it was used"));
    assert_eq!(send(&client, "echo", &[], Bytes::new()).await.payload[0], 0x92, "it still serves");
}

async fn discover(client: &Client, subject: &str) -> Json {
    let answer = client.request(subject.to_owned(), Bytes::new()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Waits until the server knows all of an instance: what it listens at last is where it tells its figures.
async fn known(client: &Client, instance: &Served) {
    let subject = format!("$SRV.STATS.test-service.{}", instance.id());
    let answered = async {
        while client.request(subject.clone(), Bytes::new()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();
}

/// Stats once so many requests are counted; an answer is sent before it is counted.
async fn stats(client: &Client, id: &str, requests: u64) -> Json {
    let counted = async {
        loop {
            let stats = discover(client, &format!("$SRV.STATS.test-service.{id}")).await;
            let endpoints = stats["endpoints"].as_array().unwrap();
            if endpoints.iter().map(|one| one["num_requests"].as_u64().unwrap()).sum::<u64>() >= requests {
                return stats;
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_found_and_its_figures_are_right() {
    let Some(server) = Server::start() else { return };
    let client = connect(&server).await;
    let instance = serve(&client).await;
    for (verb, kind) in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")] {
        for of in [String::new(), ".test-service".into(), format!(".test-service.{}", instance.id())] {
            let said = discover(&client, &format!("$SRV.{verb}{of}")).await;
            assert_eq!(said["type"], format!("io.nats.micro.v1.{kind}_response"));
            assert_eq!((&said["name"], &said["version"]), (&json!("test-service"), &json!("1.2.3")));
            assert_eq!(said["id"], instance.id());
        }
    }
    let info = discover(&client, "$SRV.INFO.test-service").await;
    assert_eq!(info["metadata"]["chain"], "00ff");
    assert_eq!(
        info["endpoints"][1],
        json!({ "name": "refuse", "subject": "test.v1.refuse", "queue_group": "q", "metadata": {} })
    );
    for _ in 0..3 {
        send(&client, "refuse", &[], Bytes::new()).await;
        send(&client, "echo", &[], Bytes::new()).await;
    }
    let stats = stats(&client, instance.id(), 6).await;
    assert!(stats["started"].as_str().is_some_and(|at| at.contains('T') && at.ends_with('Z')), "{stats}");
    let (echo, refuse) = (&stats["endpoints"][0], &stats["endpoints"][1]);
    let counted = |one: &Json| (one["num_requests"].as_u64().unwrap(), one["num_errors"].as_u64().unwrap());
    assert_eq!((counted(echo), counted(refuse)), ((3, 0), (3, 3)));
    assert_eq!(
        (&echo["last_error"], &refuse["last_error"]),
        (&json!(""), &json!("409:nonce_used: it was used"))
    );
    let (all, one) = (echo["processing_time"].as_u64().unwrap(), echo["average_processing_time"].as_u64());
    assert!(all > 0 && one == Some(all / 3), "{echo}");
    instance.shut_down(PATIENCE).await;
    while is_there(&client, "$SRV.PING.test-service").await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_group_share_the_requests() {
    let Some(server) = Server::start() else { return };
    let (one, two) = (connect(&server).await, connect(&server).await);
    let instances = [serve(&one).await, serve(&two).await];
    let client = connect(&server).await;
    for instance in &instances {
        known(&client, instance).await;
    }
    let answers = (0..200).map(|_| send(&client, "echo", &[], Bytes::new()));
    assert_eq!(futures::future::join_all(answers).await.len(), 200);
    let mut shares = Vec::new();
    for instance in &instances {
        let stats = stats(&client, instance.id(), 1).await;
        shares.push(stats["endpoints"][0]["num_requests"].as_u64().unwrap());
    }
    assert!(shares.iter().all(|share| (1..200).contains(share)), "{shares:?}");
}

/// A service whose answers wait for permits of a gate, and tell when they do.
async fn gated(client: &Client, requests_max: usize) -> (Served, Arc<Semaphore>, mpsc::Receiver<()>) {
    let gate = Arc::new(Semaphore::new(0));
    let (begun, begins) = mpsc::channel(16);
    let options = ServeOptions { requests_max, ..ServeOptions::default() };
    let open = Arc::clone(&gate);
    let instance = micro::serve(client, definition(), &options, move |_, request| {
        let (gate, begun) = (Arc::clone(&open), begun.clone());
        async move {
            begun.send(()).await.unwrap();
            gate.acquire().await.unwrap().forget();
            Ok(request.answer.write("done"))
        }
    });
    (instance.await.unwrap(), gate, begins)
}

/// Whether anybody listens there.
async fn is_there(client: &Client, subject: &str) -> bool {
    let request = Send::new().timeout(Some(Duration::from_millis(100)));
    let answer = client.send_request(subject.to_owned(), request).await;
    !answer.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

fn send_soon(client: &Client) -> tokio::task::JoinHandle<Message> {
    let client = client.clone();
    tokio::spawn(async move { send(&client, "echo", &[], Bytes::new()).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_is_told_so_at_once() {
    let Some(server) = Server::start() else { return };
    let client = connect(&server).await;
    let (_instance, gate, mut begins) = gated(&client, 2).await;
    let under_way = [send_soon(&client), send_soon(&client)];
    for _ in &under_way {
        begins.recv().await.unwrap();
    }
    let third = send(&client, "echo", &[], Bytes::new()).await;
    assert_eq!(refused(&third), (429, "busy".into(), true));
    gate.add_permits(2);
    for answer in under_way {
        assert_eq!(codec::decode::<String>(&answer.await.unwrap().payload, 100).unwrap(), "done");
    }
    gate.add_permits(1);
    assert!(field(&send(&client, "echo", &[], Bytes::new()).await, "Nats-Service-Error").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_answered_at_the_end() {
    let Some(server) = Server::start() else { return };
    let (ours, client) = (connect(&server).await, connect(&server).await);
    let (instance, gate, mut begins) = gated(&ours, 8).await;
    let under_way = send_soon(&client);
    begins.recv().await.unwrap();
    let instance = Arc::new(instance);
    let stopping = Arc::clone(&instance);
    let ended = tokio::spawn(async move { stopping.shut_down(PATIENCE).await });
    let subject = format!("$SRV.PING.test-service.{}", instance.id());
    while is_there(&client, &subject).await {}
    // It listens no more, and waits for the one.
    assert!(!ended.is_finished());
    gate.add_permits(1);
    assert!(field(&under_way.await.unwrap(), "Nats-Service-Error").is_none());
    ended.await.unwrap();
    instance.shut_down(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_finds_the_service() {
    let Some(server) = Server::start() else { return };
    let (ours, client) = (connect(&server).await, connect(&server).await);
    let instance = serve(&ours).await;
    send(&client, "echo", &[], Bytes::new()).await;
    server.kill();
    let asked = tokio::spawn(async move {
        let asking = Asking {
            subject: "test.v1.echo",
            payload: Bytes::from_static(b"ab"),
            content: Form::MsgPack,
            accept: Form::Json,
            patience: PATIENCE,
        };
        ask(&client, asking).await
    });
    server.restart();
    assert_eq!(&asked.await.unwrap().unwrap()[..], br#"[2,"application/msgpack"]"#);
    instance.shut_down(PATIENCE).await;
}

/// The service's connection may do what the requester may not: append to a log, or command the server.
#[tokio::test(flavor = "multi_thread")]
async fn answers_go_to_no_subject_that_only_the_service_may_use() {
    let Some(server) = Server::start() else { return };
    let client = connect(&server).await;
    let instance = serve(&client).await;
    let mut log = client.subscribe("chaoschain.>").await.unwrap();
    for target in ["test.v1.echo", "$SRV.PING.test-service"] {
        client.publish_with_reply(target, "chaoschain.00ff.block", Bytes::new()).await.unwrap();
    }
    client.publish("test.v1.echo", Bytes::new()).await.unwrap();
    // They are taken in order, and so is this.
    send(&client, "echo", &[], Bytes::new()).await;
    let stats = stats(&client, instance.id(), 3).await;
    assert_eq!(stats["endpoints"][0]["num_errors"], 2);
    client.publish("chaoschain.end", Bytes::new()).await.unwrap();
    assert_eq!(log.next().await.unwrap().subject.as_str(), "chaoschain.end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_asking_side_asks_again_until_its_patience_ends() {
    let Some(server) = Server::start() else { return };
    let client = connect(&server).await;
    let asking = |endpoint: &'static str, patience| Asking {
        subject: endpoint,
        payload: Bytes::from_static(b"same"),
        content: Form::MsgPack,
        accept: Form::MsgPack,
        patience,
    };
    let nobody = ask(&client, asking("test.v1.echo", Duration::ZERO)).await.unwrap_err();
    assert_eq!(nobody.code(), "nats_unanswered");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let _instance = micro::serve(&client, definition(), &ServeOptions::default(), move |_, request| {
        let mut seen = seeing.lock().unwrap();
        seen.push(request.payload);
        let outcome = match seen.len() {
            1 => Err(Refusal::new(503, "outcome_unknown", "ask again").retry_after(Duration::from_millis(1))),
            2 => Ok(request.answer.write("known")),
            _ => Err(Refusal::new(503, "log_damaged", "somebody has to help")),
        };
        std::future::ready(outcome)
    })
    .await
    .unwrap();
    let known = ask(&client, asking("test.v1.echo", PATIENCE)).await.unwrap();
    assert_eq!(codec::decode::<String>(&known, 100).unwrap(), "known");
    assert_eq!(*seen.lock().unwrap(), ["same", "same"]);
    let refused = ask(&client, asking("test.v1.echo", PATIENCE)).await.unwrap_err();
    assert!(matches!(&refused, AskError::Refused { status: 503, body } if body.code == "log_damaged"));
    assert_eq!(seen.lock().unwrap().len(), 3, "what does not get better is not asked again");
    let large = Asking { payload: vec![0; 2 << 20].into(), ..asking("test.v1.echo", PATIENCE) };
    assert_eq!(ask(&client, large).await.unwrap_err().code(), "request_too_large");
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
    let Some(server) = Server::start() else { return };
    let lines = Lines::default();
    let writer = lines.clone();
    // Every task of this runtime is on this thread.
    let _guard = tracing::subscriber::set_default(
        tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish(),
    );
    let client = connect(&server).await;
    let _instance = serve(&client).await;
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let given = format!("00-{trace}-{caller}-01");
    let answer = send(&client, "echo", &[("traceparent", &given)], Bytes::new()).await;
    let ours = field(&answer, "traceparent").unwrap().to_owned();
    assert!(ours.starts_with(&format!("00-{trace}-")) && ours.ends_with("-01") && ours != given, "{ours}");
    let unasked = send(&client, "echo", &[], Bytes::new()).await;
    assert!(!field(&unasked, "traceparent").unwrap().contains(trace));
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let handled: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let handled: Vec<_> = handled.iter().filter(|line| line["fields"]["message"] == "handled").collect();
    assert_eq!(handled.len(), 2, "{log}");
    let span = &handled[0]["span"];
    assert_eq!(
        (&span["otel.name"], &span["trace_id"], &span["parent_id"], &span["span_id"]),
        (&json!("test-service.echo"), &json!(trace), &json!(caller), &json!(ours[36..52]))
    );
    assert_eq!(handled[1]["span"].get("parent_id"), None);
}
