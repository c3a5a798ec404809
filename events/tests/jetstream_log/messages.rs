//! What an operator reads when a server is not as it has to be.

use chaoschain_events::log::{EventLog, JetStreamLog, JetStreamOptions, ReadLimits};
use chaoschain_events::nats::{NatsError, NatsOptions, Subjects, connect};
use chaoschain_schemas::Sequence;
use chaoschain_test_support::nats::{FakeServer, Options, Server};

use crate::support::*;

/// A message without what differs from run to run.
fn shown(error: &NatsError, server: &str) -> String {
    let host = server.trim_start_matches("nats://");
    error.to_string().replace(server, "URL").replace(host, "HOST")
}

async fn failure(options: NatsOptions) -> NatsError {
    connect(&options).await.unwrap_err()
}

#[tokio::test]
async fn nobody_there() {
    // Port 1 is nobody's.
    let error = failure(at("nats://127.0.0.1:1, nats://user:secret@127.0.0.1:1")).await;
    assert_eq!(error.code(), "nats_unreachable");
    assert_eq!(
        error.to_string(),
        "no NATS server can be reached at nats://127.0.0.1:1,nats://127.0.0.1:1: Connection refused (os error 111); is it \
         running, and is this its address?"
    );
}

#[tokio::test]
async fn options_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let missing = Some(dir.path().join("missing"));
    let base = at("nats://127.0.0.1:1");
    let garbage = file("garbage", "garbage");
    let seed = file("seed", "SUNOSEEDATALL\n");
    let cases = [
        (at(""), "url cannot be used: : it names no server: nats://host:4222"),
        (at("http://host"), "url cannot be used: http://host: invalid scheme for NATS server URL: http"),
        (
            at("ws://host"),
            "url cannot be used: ws://host: WebSockets are not supported: use nats:// or tls://",
        ),
        (
            at("nats://a:1@host,nats://b:2@other"),
            "url cannot be used: nats://host,nats://other: all servers must have the same user and password, or token",
        ),
        (
            NatsOptions { creds: missing.clone(), ..base.clone() },
            "creds cannot be used: DIR/missing: the file cannot be read (No such file or directory (os error 2))",
        ),
        (
            NatsOptions { creds: garbage.clone(), ..base.clone() },
            "creds cannot be used: DIR/garbage: it holds no -----BEGIN NATS USER JWT-----",
        ),
        (
            NatsOptions { nkey: garbage.clone(), ..base.clone() },
            "nkey cannot be used: DIR/garbage: it holds no nkey seed (a line SU…)",
        ),
        (
            NatsOptions { tls_ca: garbage.clone(), ..base.clone() },
            "tls_ca cannot be used: DIR/garbage: it holds no -----BEGIN CERTIFICATE-----",
        ),
        (
            NatsOptions { tls_cert: garbage.clone(), ..base.clone() },
            "tls_cert cannot be used: DIR/garbage: it needs its key: set tls_key as well",
        ),
        (
            NatsOptions { inbox_prefix: "_INBOX.>".into(), ..base.clone() },
            "inbox_prefix cannot be used: _INBOX.>: it must be tokens separated by dots, without * and >",
        ),
    ];
    for (options, expected) in cases {
        let error = failure(options).await;
        assert_eq!(error.code(), "nats_option");
        let text = error.to_string().replace(&dir.path().display().to_string(), "DIR");
        assert_eq!(text, format!("the NATS option {expected}"));
    }
    // Whether a seed is one shows only when the server wants something signed.
    let Some(server) = Server::start() else { return };
    let error = failure(NatsOptions { nkey: seed, ..at(&server.url()) }).await;
    assert_eq!(error.code(), "nats_option");
    assert!(error.to_string().ends_with("its seed is not one: nothing can be signed with it"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let Some(server) = Server::start() else { return };
    let url = server.url().replace("nats://", "tls://");
    let error = failure(at(&url)).await;
    assert_eq!(error.code(), "nats_tls");
    assert_eq!(
        error.to_string().replace(&url, "URL"),
        "no TLS connection to the NATS server at URL (received corrupt message of type InvalidContentType): check that \
         the server speaks TLS, that tls_ca holds the authority that signed its certificate, that the certificate names \
         this host, and tls_cert and tls_key if the server asks for them"
    );
}

#[test]
fn passwords_are_not_shown() {
    let options = at("nats://ana:s3cret@one:4222,t0ken@two,nats://three");
    assert_eq!(options.shown_url(), "nats://one:4222,two,nats://three");
    let debug = format!("{options:?}");
    assert!(!debug.contains("s3cret") && !debug.contains("t0ken"), "{debug}");
}

#[tokio::test]
async fn a_server_that_is_too_old() {
    let server = FakeServer::with_version("2.9.10");
    let error = failure(at(&server.url())).await;
    assert_eq!(error.code(), "nats_server_too_old");
    assert_eq!(
        shown(&error, &server.url()),
        "the NATS server fake (HOST) has version 2.9.10, 2.10.0 or newer is needed: take a release from \
         https://nats.io/download or the image nats:2 (Debian's own package is too old)"
    );
}

#[tokio::test]
async fn a_server_without_jetstream() {
    let Some(server) = Server::with(&Options::new().without_jetstream()) else { return };
    let error = failure(at(&server.url())).await;
    assert_eq!(error.code(), "nats_jetstream_off");
    assert_eq!(
        shown(&error, &server.url()).replace(server.name(), "NAME"),
        "JetStream is not on at the NATS server NAME (HOST) (nobody answers for it): start it with -js, or with a \
         jetstream block in its configuration, and enable it for the account"
    );
}

const USERS: &str = r#"
accounts {
  APP {
    jetstream: enabled
    users: [
      { user: "all", password: "p@ss:w/rd" }
      { user: "reader", password: "r", permissions: {
          publish: { deny: ["chaoschain.>", "$JS.API.STREAM.CREATE.>"] }, subscribe: ["_INBOX.>"] } }
      { user: "blind", password: "b", permissions: { publish: ["$JS.API.INFO"], subscribe: ["_INBOX.>"] } }
      { user: "deaf", password: "d", permissions: { subscribe: ["_INBOX_deaf.>"] } }
    ]
  }
  OTHER { users: [ { user: "other", password: "o" } ] }
}
"#;

fn as_user(server: &Server, user: &str) -> String {
    format!("nats://{user}@{}", server.address())
}

#[tokio::test]
async fn users_and_what_they_may_not_do() {
    let Some(server) = Server::with(&Options::new().config(USERS)) else { return };
    let chain = new_chain();
    let subjects = Subjects::of(chain);
    let text = |error: &NatsError| {
        shown(error, &server.url())
            .replace(server.name(), "NAME")
            .replace(&chain.to_string(), "CHAIN")
            .replace(&chain.to_string(), "CHAIN")
    };

    let error = failure(at(&as_user(&server, "all:wrong"))).await;
    assert_eq!(error.code(), "nats_unauthorised");
    assert_eq!(
        text(&error),
        "the NATS server at URL does not let us in (nats: authorization violation): check the user and password or \
         token in the URL, or the credentials or nkey file"
    );

    let error = refused(&as_user(&server, "other:o"), options(chain)).await;
    assert_eq!(error.code(), "nats_jetstream_off");
    assert_eq!(
        text(&error),
        "JetStream is not on at the NATS server NAME (HOST) (JetStream not enabled for account (code 10039)): start it \
         with -js, or with a jetstream block in its configuration, and enable it for the account"
    );

    let error = refused(&as_user(&server, "blind:b"), options(chain)).await;
    assert_eq!(error.code(), "nats_permission");
    assert_eq!(
        text(&error),
        "this NATS user may not publish to $JS.API.STREAM.INFO.chaoschain-CHAIN: have its permissions extended"
    );

    // No inbox, no answer: that is told too, and not taken for a server that does not answer.
    let error = refused(&as_user(&server, "deaf:d"), options(chain)).await;
    assert_eq!(error.code(), "nats_permission");
    let told = text(&error);
    assert!(told.starts_with("this NATS user may not subscribe to _INBOX."), "{told}");
    assert!(told.ends_with("have its permissions extended, or set the inbox prefix it may use"), "{told}");
    let own = NatsOptions { inbox_prefix: "_INBOX_deaf".into(), ..at(&as_user(&server, "deaf:d")) };
    JetStreamLog::open(connect(&own).await.unwrap(), options(new_chain())).await.unwrap();

    let missing = JetStreamOptions { create: false, ..options(chain) };
    let error = refused(&as_user(&server, "all:p%40ss%3Aw%2Frd"), missing.clone()).await;
    assert_eq!(error.code(), "stream_missing");
    assert_eq!(
        text(&error),
        "the NATS server NAME (HOST) has no stream chaoschain-CHAIN: is this the right server and account? `init` \
         makes a chain's stream, and `log restore --apply` makes one that was lost again"
    );

    let error = refused(&as_user(&server, "reader:r"), options(chain)).await;
    assert_eq!(error.code(), "nats_permission");
    assert_eq!(
        text(&error),
        "this NATS user may not publish to $JS.API.STREAM.CREATE.chaoschain-CHAIN: have its permissions extended"
    );

    // A reader reads, and learns at once that it may not append.
    let log = open(&as_user(&server, "all:p%40ss%3Aw%2Frd"), chain).await;
    fill(&*log, 3).await;
    let reader = JetStreamLog::open(nats(&as_user(&server, "reader:r")).await, missing).await.unwrap();
    assert_eq!(contents(&reader).await, filled(1..=3));
    let mut subscription = reader.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    assert_eq!(take(&mut *subscription, 3).await, filled(1..=3));
    let error = reader.append(Sequence(3), message(4)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the log cannot be written: this NATS user may not publish to {}: have its permissions extended",
            subjects.block()
        )
    );
    assert_eq!(log.tip().await.unwrap(), Sequence(3));
    assert_eq!(reader.nats().state().denials, 1);
}

#[tokio::test]
async fn replicas_need_a_cluster() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let error = refused(&server.url(), JetStreamOptions { replicas: 3, ..options(chain) }).await;
    assert_eq!(error.code(), "stream_refused");
    assert_eq!(
        error.to_string().replace(&chain.to_string(), "CHAIN"),
        "the NATS server refuses the stream chaoschain-CHAIN: replicas > 1 not supported in non-clustered mode (code \
         10074); several replicas need a cluster: keep one replica, or connect to a cluster"
    );
}

#[tokio::test]
async fn the_log_says_where_it_is() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    assert_eq!(
        log.description(),
        format!("JetStream stream chaoschain-{chain} at {} ({}), 1 replica", server.name(), server.address())
    );
    assert!(log.message_bytes_max() >= chaoschain_schemas::limits::BLOCK_BYTES_MAX);
    let status = serde_json::to_value(log.status()).unwrap();
    assert_eq!(status["connected"], true);
    log.close().await;
    log.nats().close().await;
    assert!(log.nats().watch().borrow().closed);
}
