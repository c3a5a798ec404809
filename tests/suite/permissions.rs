//! What a NATS server refuses under the configuration that `config nats` prints: each role does what it must, and nothing
//! of the others' business.

use chaoschain_events::nats::Subjects;
use chaoschain_schemas::ChainId;
use chaoschain_schemas::Fixed;
use chaoschain_schemas::society::ReputationUpdate;
use chaoschain_test_support::nats::{Options, Server};
use tokio::sync::watch;

use crate::harness::network::{Network, Shape};
use crate::harness::{Author, Node, PATIENCE, json, run};
use crate::several::await_finalized;

const ROLES: [&str; 5] = ["producer", "validator", "reader", "client", "operator"];

/// A server that knows the users of `chain`, each with its name as password.
pub fn guarded(chain: &str) -> Option<Server> {
    let printed = run(&["config", "nats", "--chain", chain]);
    assert!(printed.status.success());
    let mut text = String::from_utf8(printed.stdout).unwrap();
    for role in ROLES {
        text = text.replace(&format!("$NATS_PASSWORD_{}", role.to_uppercase()), role);
    }
    Server::with(&Options::new().config(&text))
}

/// A user of the server, and what the server has refused it.
struct User {
    client: async_nats::Client,
    refusals: watch::Receiver<Vec<String>>,
}

impl User {
    async fn connect(server: &Server, role: &str) -> Self {
        let (heard, refusals) = watch::channel(Vec::new());
        let options = async_nats::ConnectOptions::with_user_and_password(role.into(), role.into())
            .custom_inbox_prefix(format!("_INBOX_{role}"))
            .event_callback(move |event| {
                heard.send_modify(|refusals| refusals.push(event.to_string()));
                async {}
            });
        Self { client: options.connect(server.address().to_string()).await.unwrap(), refusals }
    }

    /// Waits until the server has said that `what` is not allowed.
    async fn is_refused(&mut self, what: &str) {
        self.client.flush().await.unwrap();
        let told = |heard: &Vec<String>| {
            heard
                .iter()
                .any(|text| text.to_lowercase().contains("permissions violation") && text.contains(what))
        };
        let refused = tokio::time::timeout(PATIENCE, self.refusals.wait_for(told)).await.is_ok();
        assert!(refused, "{what} was not refused; heard {:?}", self.refusals.borrow());
    }
}

#[test]
fn roles_may_do_their_own_business_and_no_more() {
    // The chain's id is needed for the configuration, and the server for the chain: it is made on one that lets everybody.
    let Some(open) = Server::start() else { return };
    let network = Network::new(&open.url(), Shape { commands: 1, queries: 1, validators: 1, replicas: 1 });
    let chain: ChainId = network.chain;
    let Some(server) = guarded(&chain.to_string()) else { return };
    let url = |role: &str| format!("nats://{role}:{role}@{}", server.address());
    // The operator puts the log there: every block of it, from the directory that has them.
    let first = &network.commands[0].dir;
    let command = network.commands[0].up();
    let (mut author, mut other) = (Author::new(chain, 1), Author::new(chain, 2));
    command.accepted(&[author.register().1, other.register().1]);
    command.stop();
    let operator = url("operator");
    let restore = ["log", "restore", "--dir", first.to_str().unwrap(), "--log", &operator];
    let inbox = ["--nats-inbox-prefix", "_INBOX_operator"];
    json(&[&restore[..], &inbox, &["--apply"]].concat());

    // Each node runs as its user.
    let up = |dir: &std::path::Path, role: &str, user: &str| {
        let (url, prefix) = (url(user), format!("_INBOX_{user}"));
        Node::up_with(dir, &["--role", role, "--log", &url, "--nats-inbox-prefix", &prefix])
    };
    let command = up(first, "command", "producer");
    let query = up(&network.queries[0].dir, "query", "reader");
    let _validator = up(&network.validators[0].dir, "validator", "validator");
    let rating = ReputationUpdate { subject: other.id, rating: Fixed::from_millionths(500_000) };
    command.accepted(&[author.sign(&rating).1]);
    let height = command.status_height();
    query.root_at_least(height);
    await_finalized(&query, height);

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(refusals(&server, chain));
}

/// What each role may not publish, ask for or listen to.
async fn refusals(server: &Server, chain: ChainId) {
    let names = Subjects::of(chain);
    let attest = format!("chaoschain.{chain}.attest.{}", "0".repeat(64));
    let purge = format!("$JS.API.STREAM.PURGE.{}", names.log_stream());
    let delete = format!("$JS.API.STREAM.DELETE.{}", names.log_stream());
    let info = format!("$JS.API.STREAM.INFO.{}", names.log_stream());
    for (role, publish, listen) in [
        ("producer", vec![&attest, &purge, &delete], "_INBOX_client.>"),
        ("validator", vec![&names.block(), &purge, &delete], "_INBOX_client.>"),
        ("reader", vec![&names.block(), &attest, &purge, &delete], "_INBOX_client.>"),
        ("client", vec![&names.block(), &attest, &purge, &delete, &info], "_INBOX_reader.>"),
    ] {
        let mut user = User::connect(server, role).await;
        for subject in publish {
            user.client.publish(subject.clone(), "{}".into()).await.unwrap();
            user.is_refused(subject).await;
        }
        let _listening = user.client.subscribe(listen).await.unwrap();
        user.is_refused(listen).await;
    }
    // Nobody may take requests in the name of a service but the services.
    let mut client = User::connect(server, "client").await;
    let submissions = format!("{}.submit", names.command());
    let _listening = client.client.subscribe(submissions.clone()).await.unwrap();
    client.is_refused(&submissions).await;
    // And what a client is there for, it may do.
    let status = client.client.request(format!("{}.status", names.query()), "".into()).await.unwrap();
    assert!(!status.payload.is_empty());
}
