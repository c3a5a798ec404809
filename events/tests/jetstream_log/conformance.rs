//! The suite every home of the log is run through, on one server and on three.

use std::sync::Arc;

use chaoschain_events::log::conformance::{self, Home};
use chaoschain_events::log::{EventLog, JetStreamLog, JetStreamOptions};
use chaoschain_schemas::ChainId;
use chaoschain_test_support::nats::{Cluster, Server};
use futures::future::{BoxFuture, FutureExt as _};

use crate::support::{nats, new_chain, options};

/// Where the logs are, and what a crash does there.
struct Place {
    urls: String,
    replicas: usize,
    crash: Box<dyn Fn() + Sync>,
}

impl Place {
    async fn open(&self, chain: ChainId) -> Arc<dyn EventLog> {
        let options = JetStreamOptions { replicas: self.replicas, ..options(chain) };
        Arc::new(JetStreamLog::open(nats(&self.urls).await, options).await.unwrap())
    }
}

/// The log does not tell its chain, but its description does.
fn chain_of(log: &dyn EventLog) -> ChainId {
    let description = log.description();
    let name = description.split(' ').find_map(|word| word.strip_prefix("chaoschain-"));
    name.unwrap().parse().unwrap()
}

impl Home for Place {
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn EventLog>> {
        self.open(new_chain()).boxed()
    }

    fn reopen(&self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Arc<dyn EventLog>> {
        async move {
            let chain = chain_of(&*log);
            log.close().await;
            self.open(chain).await
        }
        .boxed()
    }

    fn crash(&self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Arc<dyn EventLog>> {
        async move {
            let chain = chain_of(&*log);
            drop(log);
            (self.crash)();
            self.open(chain).await
        }
        .boxed()
    }

    /// A consumer may be on a server that follows.
    fn readers_may_lag(&self) -> bool {
        self.replicas > 1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_on_one_server() {
    let Some(server) = Server::start() else { return };
    let urls = server.url();
    let crash = Box::new(move || {
        server.kill();
        server.restart();
    });
    conformance::run(&Place { urls, replicas: 1, crash }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_on_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let urls = cluster.urls();
    let crash = Box::new(move || cluster.restart_all());
    conformance::run(&Place { urls, replicas: 3, crash }).await;
}
