//! NATS: one connection of a process, the names a chain has there, and what a server must be like.
//!
//! [`connect`] finds the server, checks its version and that JetStream is on, and says plainly what is wrong otherwise.
//! The log's home on it is [`crate::log::JetStreamLog`]. A connection that was made once is made again for ever, however
//! long its server is away; [`Nats::watch`] tells.

mod api;
mod error;
mod link;
mod options;
mod streams;
mod subjects;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{ConnectError, ConnectErrorKind};
use serde::Serialize;
use tokio::sync::{broadcast, watch};

pub(crate) use api::{Answer, ApiError, Refusal, denied};
pub use error::{Denied, Difference, NatsError};
pub(crate) use link::Denial;
pub use link::Link;
use link::Watch;
pub use options::NatsOptions;
pub use subjects::Subjects;

/// The oldest server that is worked with.
pub const SERVER_VERSION_MIN: (u64, u64, u64) = (2, 10, 0);

/// How long the first connection may take, all servers together.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits for its answer where nothing else is said.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between two attempts to connect again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// A connection that says nothing is asked this often; after two silences it counts as lost.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The most messages that wait in one subscription; more are dropped, which the client reports.
pub(crate) const SUBSCRIPTION_MESSAGES_MAX: usize = 16 * 1024;
/// The most messages and requests that wait to be sent; then senders wait.
const COMMANDS_MAX: usize = 1024;
/// How long closing waits for what is on its way out.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A connection that the parts of a process share. Clones are the same connection; it reconnects by itself.
#[derive(Clone)]
pub struct Nats(Arc<Inner>);

struct Inner {
    client: async_nats::Client,
    jetstream: async_nats::jetstream::Context,
    watch: Arc<Watch>,
    url: String,
}

/// What is known of a connection, for metrics and people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NatsState {
    /// Whether there is a connection now.
    pub connected: bool,
    /// The server connected to last, its name and address.
    pub server: String,
    /// Its version.
    pub version: String,
    /// How often the connection was made again.
    pub reconnects: u64,
    /// How often messages were dropped because they were not taken fast enough.
    pub slow_consumers: u64,
    /// How often the server said that something is not allowed.
    pub denials: u64,
    /// What went wrong last, if anything ever did.
    pub last_error: Option<String>,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nats({})", self.server())
    }
}

impl Nats {
    /// The client, for services.
    pub fn client(&self) -> &async_nats::Client {
        &self.0.client
    }

    /// The JetStream context; made once, since each one runs a task.
    pub fn jetstream(&self) -> &async_nats::jetstream::Context {
        &self.0.jetstream
    }

    /// The URL this was made with, without passwords.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The server connected to last: its name, if it has one of its own, and its address.
    pub fn server(&self) -> String {
        let info = self.0.client.server_info();
        let address = format!("{}:{}", info.host, info.port);
        // A server without a name is called by its id.
        match info.server_name {
            name if name.is_empty() || name == info.server_id => address,
            name => format!("{name} ({address})"),
        }
    }

    /// Whether there is a connection now.
    pub fn is_connected(&self) -> bool {
        self.0.client.connection_state() == State::Connected
    }

    /// Tells of connections lost and made.
    pub fn watch(&self) -> watch::Receiver<Link> {
        self.0.watch.link.subscribe()
    }

    /// What is known of the connection.
    pub fn state(&self) -> NatsState {
        let watch = &self.0.watch;
        NatsState {
            connected: self.is_connected(),
            server: self.server(),
            version: self.0.client.server_info().version,
            reconnects: self.0.client.statistics().connects.load(Ordering::Relaxed).saturating_sub(1),
            slow_consumers: watch.slow_consumers.load(Ordering::Relaxed),
            denials: watch.denied.load(Ordering::Relaxed),
            last_error: watch.last_error(),
        }
    }

    /// Sends what waits to be sent and ends the connection, for every clone. Waits up to 2 s.
    pub async fn close(&self) {
        let mut link = self.watch();
        let drained = async {
            // An error means that it is closed already.
            if self.0.client.drain().await.is_ok() {
                let _ = link.wait_for(|link| link.closed).await;
            }
        };
        if tokio::time::timeout(CLOSE_PATIENCE, drained).await.is_err() {
            tracing::debug!("the NATS connection was left before everything was sent");
        }
    }

    /// Resolves when the server says that this user may not do something: who then waits for an answer waits in vain. What it
    /// said before counts only where it was about being answered at all.
    pub async fn denied(&self) -> NatsError {
        let mut denials = self.denials();
        if let Some(denial) = self.inbox_denied() {
            return denial.into();
        }
        loop {
            match denials.recv().await {
                Ok(denial) => return denial.into(),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    pub(crate) fn denials(&self) -> broadcast::Receiver<Denial> {
        self.0.watch.denials.subscribe()
    }

    pub(crate) fn inbox_denied(&self) -> Option<Denial> {
        self.0.watch.inbox_denied()
    }

    /// Refuses servers that are too old or have no JetStream.
    async fn check_server(&self) -> Result<(), NatsError> {
        let info = self.0.client.server_info();
        let (major, minor, patch) = SERVER_VERSION_MIN;
        if !self.0.client.is_server_compatible(major.cast_signed(), minor.cast_signed(), patch.cast_signed())
        {
            return Err(NatsError::ServerTooOld { server: self.server(), version: info.version });
        }
        if info.jetstream {
            return Ok(());
        }
        // Another server of its cluster may have it. That this user may not ask says nothing.
        match self.api::<serde_json::Value>("INFO", "", REQUEST_PATIENCE).await {
            Err(ApiError::NoResponders { .. }) => Err(self.jetstream_off("nobody answers for it".into())),
            Err(ApiError::Refused(refusal)) => Err(self.jetstream_off(refusal.to_string())),
            _ => Ok(()),
        }
    }

    pub(crate) fn jetstream_off(&self, reason: String) -> NatsError {
        NatsError::JetStreamOff { server: self.server(), reason }
    }
}

/// Connects, and checks that the server can keep a log.
///
/// Tries for about 5 s; afterwards the connection is kept up for ever.
///
/// # Errors
/// [`NatsError`], each with what to do.
pub async fn connect(options: &NatsOptions) -> Result<Nats, NatsError> {
    let servers = options.servers()?;
    let watch = Arc::new(Watch::new(&options.inbox_prefix));
    let on_event = Arc::clone(&watch);
    let connecting = options
        .connect_options(&servers)?
        .connection_timeout(options::share(CONNECT_PATIENCE, servers.addresses.len()))
        .request_timeout(Some(REQUEST_PATIENCE))
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .client_capacity(COMMANDS_MAX)
        .reconnect_delay_callback(reconnect_pause)
        .event_callback(move |event| {
            on_event.on(&event);
            std::future::ready(())
        })
        .connect(servers.addresses);
    let connected = tokio::time::timeout(CONNECT_PATIENCE + Duration::from_secs(1), connecting).await;
    let client = match connected {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(explain(options, servers.shown, &error)),
        Err(_) => {
            return Err(NatsError::Unreachable {
                url: servers.shown,
                reason: "it does not answer in time".into(),
            });
        }
    };
    let jetstream = async_nats::jetstream::new(client.clone());
    let nats = Nats(Arc::new(Inner { client, jetstream, watch, url: servers.shown }));
    let checked = nats.check_server().await;
    if checked.is_err() {
        nats.close().await;
    }
    checked.map(|()| nats)
}

/// The pause before an attempt to connect: none before the first, then longer, never in step with others.
fn reconnect_pause(attempts: usize) -> Duration {
    let longest = match attempts {
        0 | 1 => return Duration::ZERO,
        attempts => Duration::from_millis(25 << attempts.min(7)).min(RECONNECT_PAUSE_MAX),
    };
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    longest / 2 + (longest / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

fn explain(options: &NatsOptions, url: String, error: &ConnectError) -> NatsError {
    let source = std::error::Error::source(error);
    let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
    let invalid_data = source
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::InvalidData);
    match error.kind() {
        ConnectErrorKind::Authentication => options.unsigned(),
        ConnectErrorKind::AuthorizationViolation => NatsError::Unauthorised { url, reason },
        ConnectErrorKind::Tls => NatsError::Tls { url, reason },
        // What rustls says comes as invalid data.
        ConnectErrorKind::Io if invalid_data => NatsError::Tls { url, reason },
        ConnectErrorKind::Io if reason.to_lowercase().contains("authenti") => {
            NatsError::Unauthorised { url, reason }
        }
        _ => NatsError::Unreachable { url, reason },
    }
}
