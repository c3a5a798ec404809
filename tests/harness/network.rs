//! A chain of several processes over NATS: command services, query replicas, validators, each in a directory of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaoschain_events::log::{EventLog, JetStreamLog, JetStreamOptions};
use chaoschain_events::nats::{self, Nats, NatsOptions};
use chaoschain_schemas::ChainId;
use tempfile::TempDir;

use super::{Altered, Node, json};

/// How many processes of which role a network has.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub commands: usize,
    pub queries: usize,
    /// With none, the first command service is the only validator.
    pub validators: usize,
    /// On how many servers the log is kept.
    pub replicas: usize,
}

/// One process: where it lives, what it does, how it reaches the log.
pub struct Member {
    pub dir: PathBuf,
    role: &'static str,
    url: String,
}

impl Member {
    /// Starts the process.
    pub fn up(&self) -> Node {
        Node::up_with(&self.dir, &["--role", self.role, "--log", &self.url])
    }

    /// Starts the process with an altered program.
    pub fn up_altered(&self, altered: Altered) -> Node {
        Node::up_altered(&self.dir, &["--role", self.role, "--log", &self.url], altered)
    }

    /// This member in other roles from now on.
    pub fn with_role(self, role: &'static str) -> Self {
        Self { role, ..self }
    }

    /// This member, reaching the log at another address from now on.
    pub fn through(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }
}

/// A chain and its members, none of them running yet.
pub struct Network {
    pub chain: ChainId,
    pub commands: Vec<Member>,
    pub queries: Vec<Member>,
    pub validators: Vec<Member>,
    url: String,
    pub home: TempDir,
}

impl Network {
    /// Makes a chain on the servers at `url` and a directory for everyone who takes part.
    pub fn new(url: &str, shape: Shape) -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = |name: &str, number: usize| {
            let file = home.path().join(format!("{name}{number}.key"));
            let made = json(&["key", "new", text(&file)]);
            (file, made["public_key"].as_str().unwrap().to_owned())
        };
        let producers: Vec<_> = (1..shape.commands).map(|number| key("producer", number)).collect();
        let validators: Vec<_> = (0..shape.validators).map(|number| key("validator", number)).collect();
        let first = home.path().join("command0");
        let replicas = shape.replicas.to_string();
        let mut line =
            vec!["init", "--dir", text(&first), "--name", "net", "--log", url, "--replicas", &replicas];
        for (_, public) in &producers {
            line.extend(["--producer-key", public]);
        }
        for (_, public) in &validators {
            line.extend(["--validator", public]);
        }
        let chain = json(&line)["chain"].as_str().unwrap().to_owned();
        let join = |name: &str, number: usize, key: &[&str]| {
            let dir = home.path().join(format!("{name}{number}"));
            json(&[&["join", "--dir", text(&dir), "--chain", &chain, "--log", url], key].concat());
            dir
        };
        let member = |role| move |dir| Member { dir, role, url: url.to_owned() };
        let commands = producers.iter().zip(1..);
        let commands =
            commands.map(|((file, _), number)| join("command", number, &["--producer-key-file", text(file)]));
        let role = if validators.is_empty() { "command,validator" } else { "command" };
        let mut members = vec![Member { dir: first.clone(), role, url: url.to_owned() }];
        members.extend(commands.map(member("command")));
        let validators = validators.iter().zip(0..);
        let validators = validators
            .map(|((file, _), number)| join("validator", number, &["--validator-key-file", text(file)]));
        Self {
            commands: members,
            queries: (0..shape.queries)
                .map(|number| join("query", number, &[]))
                .map(member("query"))
                .collect(),
            validators: validators.map(member("validator")).collect(),
            chain: chain.parse().unwrap(),
            url: url.to_owned(),
            home,
        }
    }

    /// Opens the log as an outsider.
    pub async fn log(&self) -> (Nats, Arc<dyn EventLog>) {
        let options = NatsOptions { url: self.url.clone(), name: "auditor".into(), ..NatsOptions::default() };
        let nats = nats::connect(&options).await.unwrap();
        let options = JetStreamOptions {
            chain: self.chain,
            name: "net".into(),
            create: false,
            replicas: 1,
            fsync_always: true,
        };
        let log = JetStreamLog::open(nats.clone(), options).await.unwrap();
        (nats, Arc::new(log))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
