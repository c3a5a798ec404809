//! What a user reads when NATS cannot be used: the code, the exit code, the words that decide, and no password.

use std::path::Path;

use async_nats::jetstream::stream::{Config, StorageType};
use chaoschain_events::nats::Subjects;
use chaoschain_schemas::ChainId;
use chaoschain_test_support::nats::{FakeServer, Options, Server};
use tempfile::TempDir;

use crate::harness::{json, run, run_with};
use crate::permissions::guarded;

/// Runs what must fail, for people and for programs: both say the same, and nothing goes to standard output.
fn fails(exit: i32, code: &str, words: &[&str], line: &[&str]) {
    let said = run(line);
    let text = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(exit), "{line:?}: {text}");
    assert!(said.stdout.is_empty(), "{line:?}");
    assert!(text.contains(&format!("error[{code}]: ")), "{line:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{line:?} does not say {word:?}: {text}");
    }
    assert!(!text.contains("s3cret"), "{line:?}: {text}");

    let said = run(&[line, &["--json"]].concat());
    let lines = String::from_utf8(said.stderr).unwrap();
    let error: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((said.status.code(), error["code"].as_str()), (Some(exit), Some(code)), "{line:?}: {lines}");
    let shown = ["message", "hint"].map(|part| error[part].as_str().unwrap_or_default()).join("\n");
    for word in words {
        assert!(shown.contains(word), "{line:?} does not say {word:?}: {lines}");
    }
}

/// Where a directory may be made that is not there.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn servers_that_cannot_be_used() {
    let place = Place::new();
    let dir = place.dir("d");
    let old = FakeServer::with_version("2.9.10");
    // Nobody listens there.
    let closed = "127.0.0.1:1";
    let nobody = format!("nats://ana:s3cret@{closed}");
    let init = |url: &str, exit, code, words: &[&str]| {
        fails(exit, code, words, &["init", "--dir", &dir, "--log", url]);
        assert!(!Path::new(&dir).exists(), "{code}: nothing is left behind");
    };
    init(&old.url(), 1, "nats_server_too_old", &["2.9.10", "2.10.0 or newer", "https://nats.io/download"]);
    init(&nobody, 3, "nats_unreachable", &[closed, "is it running"]);
    init("nats://127.0.0.1:99999", 2, "nats_option", &["invalid port"]);
    let chain = "ab".repeat(32);
    let services = format!("{nobody}?chain={chain}");
    fails(3, "nats_unreachable", &["is it running"], &["get", "root", "--node", &services]);
    fails(
        3,
        "nats_unreachable",
        &["is it running"],
        &["join", "--dir", &dir, "--chain", &chain, "--log", &nobody],
    );

    let Some(off) = Server::with(&Options::new().without_jetstream()) else { return };
    init(&off.url(), 1, "nats_jetstream_off", &["JetStream is not on", "jetstream block"]);
    let login = "authorization { user: ana, password: right }";
    let Some(locked) = Server::with(&Options::new().config(login)) else { return };
    let wrong = locked.url().replace("nats://", "nats://ana:s3cret@");
    init(&wrong, 1, "nats_unauthorised", &["does not let us in", "check the user and password"]);
}

#[test]
fn streams_that_are_not_the_log() {
    let Some(server) = Server::start() else { return };
    let (place, url) = (Place::new(), server.url());
    let dir = place.dir("d");
    let made = json(&["init", "--dir", &dir, "--log", &url]);
    let chain: ChainId = made["chain"].as_str().unwrap().parse().unwrap();
    let subjects = Subjects::of(chain);
    let stream = subjects.log_stream();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let nats = async_nats::connect(&url).await.unwrap();
        async_nats::jetstream::new(nats).delete_stream(&stream).await.unwrap();
    });
    let gone = [&stream[..], "log restore", "init", "right server and account"];
    fails(1, "stream_missing", &gone, &["up", "--dir", &dir]);
    fails(1, "stream_missing", &gone, &["log", "status", "--dir", &dir]);
    runtime.block_on(async {
        let config = Config {
            name: stream.clone(),
            subjects: vec![subjects.block()],
            storage: StorageType::Memory,
            ..Config::default()
        };
        let nats = async_nats::connect(&url).await.unwrap();
        async_nats::jetstream::new(nats).create_stream(config).await.unwrap();
    });
    let edit = format!("nats stream edit {stream}");
    let words = ["setting  has     must be\n  storage  memory  file\n  discard  old     new\n", &edit];
    fails(1, "stream_foreign_config", &words, &["up", "--dir", &dir]);
    let joined = place.dir("j");
    fails(
        1,
        "stream_foreign_config",
        &words,
        &["join", "--dir", &joined, "--chain", &chain.to_string(), "--log", &url],
    );
    assert!(!Path::new(&joined).exists());
}

#[test]
fn users_that_may_not() {
    let chain = "ab".repeat(32);
    let Some(server) = guarded(&chain) else { return };
    let place = Place::new();
    let refused = |inbox: &str, words: &[&str], line: &[&str]| {
        let words = [words, &["have its permissions extended", "config nats"]].concat();
        let prefix = format!("_INBOX_{inbox}");
        fails(1, "nats_permission", &words, &[line, &["--nats-inbox-prefix", &prefix]].concat());
    };
    for role in ["reader", "client", "producer", "validator"] {
        let url = format!("nats://{role}:{role}@{}", server.address());
        let (dir, inbox) = (place.dir(role), format!("_INBOX_{role}"));
        let init = run(&["init", "--dir", &dir, "--log", &url, "--nats-inbox-prefix", &inbox]);
        let said = String::from_utf8(init.stderr).unwrap();
        assert_eq!(init.status.code(), Some(1), "{role}: {said}");
        assert!(
            said.contains("error[nats_permission]: this NATS user may not publish to $JS.API.STREAM."),
            "{said}"
        );
        assert!(said.contains("config nats") && said.contains(&format!("remove {dir}")), "{role}: {said}");
    }
    let client = format!("nats://client:client@{}", server.address());
    let join = ["join", "--dir", &place.dir("j"), "--chain", &chain, "--log", &client];
    refused("client", &[&format!("may not publish to $JS.API.STREAM.INFO.chaoschain-{chain}")], &join);

    // Who may ask, but with another inbox prefix, is not left to wait for answers that cannot come.
    let reader = format!("nats://reader:reader@{}", server.address());
    let join = ["join", "--dir", &place.dir("j"), "--chain", &chain, "--log", &reader];
    refused("other", &["may not subscribe to _INBOX_other.", "or set the inbox prefix"], &join);

    // A reader may not ask the services, and is not left to wait for their answer.
    let services = format!("nats://reader:reader@{}?chain={chain}", server.address());
    let inbox = [("CHAOSCHAIN_NATS_INBOX_PREFIX", "_INBOX_reader")];
    let asked = run_with(&inbox, &["get", "root", "--node", &services]);
    let asked = String::from_utf8(asked.stderr).unwrap();
    assert!(asked.contains("error[nats_permission]: this NATS user may not publish to "), "{asked}");
    assert!(asked.contains(&format!("{}.read", Subjects::of(chain.parse().unwrap()).query())), "{asked}");
}
