//! Several nodes on one chain: who makes it, who joins, what each role answers, and what a NATS server has to allow.

use std::process::Command;

use chaoschain_test_support::nats;
use serde_json::Value as Json;

use crate::support::{Bench, Node};

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{name} in {json}"))
}

fn json(node: &Node, path: &str) -> (u16, Json) {
    let (status, text) = node.get(path);
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
}

#[test]
fn a_chain_of_several_nodes() {
    let Some(server) = nats::Server::start() else { return };
    let (bench, url) = (Bench::new(), server.url());
    let key = |name: &str| text(&bench.json(&["key", "new", name]), "public_key").to_owned();
    let (two, val) = (key("two.key"), key("val.key"));
    let validator = format!("{val}=3");
    let made = bench.json(&[
        "init",
        "--dir",
        "one",
        "--name",
        "shared",
        "--log",
        &url,
        "--producer-key",
        &two,
        "--validator",
        "self",
        "--validator",
        &validator,
    ]);
    let chain = text(&made, "chain");
    let join = |dir: &str, more: &[&str]| {
        let line = ["join", "--dir", dir, "--chain", chain, "--log", &url];
        bench.json(&[&line[..], more].concat())
    };
    assert_eq!(text(&join("two", &["--producer-key-file", "two.key"]), "name"), "shared");
    join("reader", &[]);
    join("val", &["--validator-key-file", "val.key"]);

    let one = bench.up_with("one", &["--role", "command"]);
    let two = bench.up("two");
    let reader = bench.up("reader");
    let val = bench.up_with("val", &["--role", "validator"]);
    let roles = |node: &Node| node.ready["roles"].to_string();
    assert_eq!(roles(&one), r#"["command"]"#);
    assert_eq!(roles(&two), r#"["command","query"]"#);
    assert_eq!(roles(&reader), r#"["query"]"#);
    assert_eq!(roles(&val), r#"["validator"]"#);

    // The same transition wherever it is sent is one event, and its receipt is the same everywhere.
    bench.json(&["key", "new", "ana.key"]);
    let submit = ["submit", "AgentRegistration", "--field", "personality=Chaotic", "--key", "ana.key"];
    let on = format!("{url}?chain={chain}");
    let receipt = bench.json(&[&submit[..], &["--node", &one.url, "--query-node", &reader.url]].concat());
    let height = receipt["height"].to_string();
    let id = text(&receipt, "id");
    for node in [reader.url.as_str(), &two.url, &on] {
        let event = bench.json(&["get", "event", id, "--min-height", &height, "--node", node]);
        assert_eq!(event["value"]["receipt"], receipt, "{node}");
    }
    // Both validators attest, and together they are more than two thirds.
    let finalized = ["get", "root", "--finalized", "--min-height", &height, "--node", &reader.url];
    assert_eq!(text(&bench.json(&finalized), "label"), "finalized");
    // Over NATS, whichever node answers.
    bench.json(&["key", "new", "bob.key"]);
    let mut over_nats = submit;
    over_nats[5] = "bob.key";
    assert_eq!(
        bench.json(&[&over_nats[..], &["--dry-run", "--node", &on]].concat())["verdict"],
        "acceptable"
    );
    let last = bench.json(&[&over_nats[..], &["--node", &on]].concat());

    // What a role does not answer it says; what every node answers it does.
    let (status, refused) = json(&reader, "/v1/transitions");
    assert_eq!((status, text(&refused, "code")), (404, "role_absent"));
    assert!(text(&refused, "message").contains("command"), "{refused}");
    let (status, refused) = json(&one, "/v1/root");
    assert_eq!((status, text(&refused, "code")), (404, "role_absent"));
    for node in [&one, &two, &reader, &val] {
        assert_eq!(json(node, "/readyz").0, 200);
        assert_eq!(node.get("/livez"), (200, "ok\n".to_owned()));
        assert_eq!(json(node, "/openapi.json").0, 200);
        let status = bench.json(&["status", "--node", &node.url]);
        assert_eq!(status["finality"]["validators"].as_array().unwrap().len(), 2, "{status}");
        assert_eq!(status["log"]["nats"]["connected"], true, "{status}");
        well_formed(&node.get("/metrics").1);
    }
    for node in [one, two, reader, val] {
        node.stop();
    }
    // A stopped node's directory leads to the log, wherever that is.
    assert_eq!(bench.json(&["doctor", "--deep", "--dir", "two"])["healthy"], true);
    let replayed = bench.json(&["replay", "--from", "reader", "--into", "again"]);
    assert_eq!(replayed["height"], last["height"]);

    let other = "ab".repeat(32);
    let wrong = bench.fails(&["join", "--dir", "x", "--chain", &other, "--log", &url]);
    assert!(wrong.starts_with("exit 1\nerror[stream_missing]: "), "{wrong}");
    let local = bench.fails(&["join", "--dir", "x", "--chain", chain, "--log", "managed"]);
    assert!(local.starts_with("exit 2\nerror[log_not_shared]: "), "{local}");
    let keyless = bench.fails(&["up", "--dir", "reader", "--role", "command"]);
    assert!(keyless.starts_with("exit 2\nerror[role_key_missing]: "), "{keyless}");
    server.kill();
    let gone = bench.fails(&["up", "--dir", "reader"]);
    assert!(gone.starts_with("exit 3\nerror[nats_unreachable]: "), "{gone}");
}

/// Every family of Prometheus's text says what it is before its samples, and every sample is a number.
fn well_formed(metrics: &str) {
    let mut family = ("", "");
    let mut helped = "";
    for line in metrics.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').unwrap().0;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split_once(' ').unwrap();
            assert_eq!(family.0, helped, "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            let part = match family.1 {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)),
                _ => Some(name),
            };
            assert_eq!(part, Some(family.0), "{line}");
            assert!(name.starts_with("chaoschain_") && value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(family.1 == "counter", name.ends_with("_total"), "{line}");
        }
    }
    assert!(metrics.lines().count() > 100, "{metrics}");
}

#[test]
fn printed_permissions_are_accepted_by_the_server() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    let nkey = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let bad = bench.fails(&["config", "nats", "--dir", "d", "--role-user", "boss=x"]);
    assert!(bad.starts_with("exit 2\nerror[user_malformed]: "), "{bad}");
    let Some(server) = nats::binary() else { return };
    for more in [
        &[][..],
        &["--role-user", "producer,validator,reader=node-1", "--role-user", "client=bots"],
        &["--nkey", &format!("client={nkey}")],
    ] {
        let printed = bench.json(&[&["config", "nats", "--dir", "d"], more].concat());
        bench.write("chaoschain.conf", text(&printed, "config"));
        let main =
            bench.write("main.conf", "jetstream { store_dir: \"store\" }\ninclude ./chaoschain.conf\n");
        let mut command = Command::new(&server);
        command.arg("-t").arg("-c").arg(main);
        // Without passwords the server does not start at all.
        assert!(!command.output().unwrap().status.success());
        for user in ["PRODUCER", "VALIDATOR", "READER", "CLIENT", "OPERATOR", "NODE_1", "BOTS"] {
            command.env(format!("NATS_PASSWORD_{user}"), "secret");
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{more:?}: {said}");
    }
}

#[test]
fn a_log_that_was_emptied_is_damage() {
    let bench = Bench::new();
    bench.json(&["init", "--dir", "d"]);
    std::fs::remove_dir_all(bench.path("d/log")).unwrap();
    std::fs::create_dir(bench.path("d/log")).unwrap();
    let failed = bench.fails(&["up", "--dir", "d"]);
    assert!(failed.starts_with("exit 4\nerror[log_empty]: "), "{failed}");
}

#[test]
fn a_line_that_is_not_understood_is_json_where_that_is_asked_for() {
    let bench = Bench::new();
    let ran = bench.run(&["--json", "up", "--rolle", "query"]);
    assert_eq!(ran.code, 2);
    let error: Json = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(text(&error, "code"), "usage");
    assert!(text(&error, "message").contains("--rolle"), "{error}");
    assert!(bench.run(&["up", "--rolle"]).stderr.starts_with("error: "));
}

/// What was recorded counts when nothing else is said; NATS's own variables count for less than ours and the file.
#[test]
fn settings_of_the_log_come_from_where_one_expects() {
    let bench = Bench::new();
    bench.write("c.toml", "nats_creds = \"of-the-file\"\n");
    let setting = |line: &[&str], environment: &[(&str, &str)]| {
        let ran = bench.run_with(&[&["--json", "config", "show"], line].concat(), environment);
        let settings: Json = serde_json::from_str(&ran.stdout).unwrap();
        let found =
            settings.as_array().unwrap().iter().find(|setting| setting["name"] == "nats_creds").unwrap();
        found["value"].as_str().map(str::to_owned)
    };
    let (theirs, ours) = (("NATS_CREDS", "theirs"), ("CHAOSCHAIN_NATS_CREDS", "ours"));
    assert_eq!(setting(&[], &[]), None);
    assert_eq!(setting(&[], &[theirs]).as_deref(), Some("theirs"));
    assert_eq!(setting(&["--config", "c.toml"], &[theirs]).as_deref(), Some("of-the-file"));
    assert_eq!(setting(&["--config", "c.toml"], &[theirs, ours]).as_deref(), Some("ours"));

    bench.json(&["init", "--dir", "d"]);
    let chain = std::fs::read_to_string(bench.path("d/chain.toml")).unwrap();
    assert!(chain.contains("\nlog = \"embedded\"\n"), "{chain}");
    bench.write("d/chain.toml", &chain.replace("embedded", "nats://user:secret@127.0.0.1:1"));
    let away = bench.fails(&["status", "--dir", "d"]);
    assert!(away.starts_with("exit 3\nerror[nats_unreachable]: ") && !away.contains("secret"), "{away}");
    bench.json(&["status", "--dir", "d", "--log", "embedded"]);
    let ran = bench.run_with(&["status", "--dir", "d"], &[("CHAOSCHAIN_LOG", "embedded")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let wrong = bench.fails(&["status", "--dir", "d", "--log", "here"]);
    assert!(wrong.starts_with("exit 2\nerror[log_choice_wrong]: "), "{wrong}");
}
