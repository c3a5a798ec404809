//! nats-server as tests need it: real servers and clusters that can be killed, paused and restarted.
//!
//! ```no_run
//! # use chaoschain_test_support::nats;
//! let Some(server) = nats::Server::start() else { return };
//! println!("{}", server.url());
//! server.kill();
//! server.restart();
//! ```

mod binary;
mod cluster;
mod fake;
mod monitor;
mod options;
mod server;

pub use binary::{VERSION_MIN, VERSION_PINNED, binary};
pub use cluster::{Cluster, SERVERS};
pub use fake::FakeServer;
pub use options::Options;
pub use server::Server;

use std::time::Duration;

/// How long a server may take to start or to end, and a cluster to agree, before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// How often a state that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
