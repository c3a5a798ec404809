//! Three nats-servers that replicate among each other.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::server::{PORT_TRIES_MAX, PortTaken, unique_name};
use super::{LOOK_EVERY, Options, PATIENCE, Server, binary};
use crate::ports;

/// How many servers a cluster has: the least of which one may fail.
pub const SERVERS: usize = 3;

/// A cluster on loopback, for streams of up to three replicas. Every server keeps its ports and its store.
///
/// It is ready within a second. Where a leader is killed or paused, nats-server elects the next after four to ten
/// seconds, which cannot be configured; killing a follower costs nothing.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// A cluster with JetStream that syncs every write, once all its servers are ready. `None`, and says so, where
    /// there is no nats-server.
    ///
    /// # Panics
    /// With a server's log, if it does not start; where there is no nats-server and `CI` is `true`.
    pub fn start() -> Option<Self> {
        Self::with(&Options::new())
    }

    /// A cluster whose servers all have this configuration.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn with(options: &Options) -> Option<Self> {
        let binary = binary()?;
        for _ in 0..PORT_TRIES_MAX {
            if let Ok(cluster) = Self::try_start(&binary, options) {
                cluster.await_ready();
                return Some(cluster);
            }
        }
        panic!("no free ports for a cluster in {PORT_TRIES_MAX} tries");
    }

    fn try_start(binary: &Path, options: &Options) -> Result<Self, PortTaken> {
        let cluster = unique_name("cluster");
        let places: Vec<_> = (0..SERVERS).map(|_| ports::unused()).collect();
        let routes: Vec<_> = places.iter().map(|place| format!("\"nats-route://{place}\"")).collect();
        let routes = routes.join(", ");
        let server = |(index, place)| {
            let name = format!("{cluster}-{index}");
            let section =
                format!("cluster {{\nname: {cluster:?}\nlisten: \"{place}\"\nroutes: [{routes}]\n}}\n");
            Server::prepare(binary, &name, options.clone(), section)
        };
        let servers: Vec<_> = places.iter().enumerate().map(server).collect();
        servers.iter().for_each(Server::spawn);
        servers.iter().try_for_each(Server::await_listening)?;
        Ok(Self { servers })
    }

    /// What clients connect to: the addresses of all servers, with commas between them.
    pub fn urls(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// One of the servers, to kill, pause or restart it. A restart waits until it listens, not until it has caught up:
    /// for that, [`await_ready`](Self::await_ready).
    ///
    /// # Panics
    /// If `index` is not below [`SERVERS`].
    pub fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// Kills every server, as a power failure does.
    pub fn kill_all(&self) {
        self.servers.iter().for_each(Server::kill);
    }

    /// Starts every server again, running or not, and waits until all are ready.
    ///
    /// # Panics
    /// With a server's log, if it does not start.
    pub fn restart_all(&self) {
        self.kill_all();
        self.servers.iter().for_each(Server::spawn);
        self.servers.iter().for_each(Server::await_serving);
        self.await_ready();
    }

    /// Waits until JetStream has a leader and every running server has caught up with its streams. Two must run. One that was
    /// paused until now goes by what it knew.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`], as it does while a server is paused.
    pub fn await_ready(&self) {
        self.await_some("to be ready", || {
            let mut running = self.servers.iter().filter(|server| server.pid().is_some());
            let healthy =
                |server: &Server| server.monitor("/healthz").is_some_and(|(status, _)| status == 200);
            running.all(healthy).then_some(())
        });
    }

    /// The server that leads JetStream's own group, which places streams; waits until there is one.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub fn meta_leader(&self) -> usize {
        self.await_some("for a leader", || {
            self.find(|server| {
                let (_, jetstream) = server.monitor("/jsz")?;
                Some(jetstream["meta_cluster"]["leader"] == server.name())
            })
        })
    }

    /// The server that leads a stream; waits until there is one.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub fn leader_of(&self, stream: &str) -> usize {
        self.await_some(&format!("for a leader of stream {stream}"), || {
            self.find(|server| {
                let (_, jetstream) = server.monitor("/jsz?accounts=true&streams=true")?;
                let accounts = jetstream["account_details"].as_array()?;
                let mut streams =
                    accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
                let leads =
                    |found: &Value| found["name"] == stream && found["cluster"]["leader"] == server.name();
                Some(streams.any(leads))
            })
        })
    }

    /// The first server that says yes of itself.
    fn find(&self, yes: impl Fn(&Server) -> Option<bool>) -> Option<usize> {
        self.servers.iter().position(|server| yes(server).unwrap_or(false))
    }

    fn await_some<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            let logs = || self.servers.iter().map(Server::log).collect::<Vec<_>>().join("\n\n");
            assert!(begun.elapsed() < PATIENCE, "waited in vain {what}: {}", logs());
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
