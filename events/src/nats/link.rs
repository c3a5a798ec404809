//! What is known of a connection from the events its client reports.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_nats::{Event, ServerError};
use tokio::sync::{broadcast, watch};

use super::{Denied, NatsError};

/// Denials that may wait for the requests they are about.
const DENIALS_MAX: usize = 64;

/// Whether there is a connection, and how often one was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether there is a connection.
    pub connected: bool,
    /// How many connections were lost.
    pub losses: u64,
    /// Whether the client was closed and will not connect again.
    pub closed: bool,
}

/// The server said that a user may not do something. It says so beside the request, which just gets no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) action: Denied,
    pub(crate) subject: String,
}

impl From<Denial> for NatsError {
    fn from(denial: Denial) -> Self {
        Self::Permission { action: denial.action, subject: denial.subject }
    }
}

/// What the event callback of a connection keeps.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) link: watch::Sender<Link>,
    pub(super) denials: broadcast::Sender<Denial>,
    /// Kept, since the server says it once and every later request then stays without an answer.
    inbox_denied: Mutex<Option<Denial>>,
    inbox_prefix: String,
    pub(super) slow_consumers: AtomicU64,
    pub(super) denied: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Watch {
    pub(super) fn new(inbox_prefix: &str) -> Self {
        let inbox_prefix = if inbox_prefix.is_empty() { "_INBOX" } else { inbox_prefix };
        Self {
            link: watch::Sender::new(Link { connected: true, ..Link::default() }),
            denials: broadcast::Sender::new(DENIALS_MAX),
            inbox_denied: Mutex::default(),
            inbox_prefix: format!("{inbox_prefix}."),
            slow_consumers: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn inbox_denied(&self) -> Option<Denial> {
        self.inbox_denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn on(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                // Another user may have been let in this time.
                *self.inbox_denied.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.link.send_modify(|link| link.connected = true);
            }
            Event::Disconnected => {
                tracing::warn!("the connection to NATS was lost; connecting again");
                self.link.send_modify(|link| {
                    link.connected = false;
                    link.losses += 1;
                });
            }
            Event::Closed => self.link.send_modify(|link| {
                link.connected = false;
                link.closed = true;
            }),
            Event::SlowConsumer(subscription) => {
                self.slow_consumers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    subscription,
                    "messages came faster than they were taken and some were dropped"
                );
            }
            Event::ServerError(error) => self.on_error(error),
            Event::LameDuckMode => tracing::info!("the NATS server is about to shut down"),
            Event::Draining => {}
            Event::ClientError(error) => {
                tracing::debug!(%error, "NATS client");
                self.remember(error.to_string());
            }
        }
    }

    fn on_error(&self, error: &ServerError) {
        let text = error.to_string();
        if let Some(denial) = denial(&text) {
            self.denied.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("this NATS user may not {} {}", denial.action, denial.subject);
            if denial.action == Denied::Subscribe && denial.subject.starts_with(&self.inbox_prefix) {
                *self.inbox_denied.lock().unwrap_or_else(PoisonError::into_inner) = Some(denial.clone());
            }
            // An error means that nobody waits.
            let _ = self.denials.send(denial);
        } else {
            tracing::warn!(error = text, "the NATS server complains");
        }
        self.remember(text);
    }

    fn remember(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Reads `Permissions Violation for Publish to "subject"` and its like.
fn denial(text: &str) -> Option<Denial> {
    let (_, what) = text.split_once("Permissions Violation for ")?;
    let action = if what.starts_with("Subscription") { Denied::Subscribe } else { Denied::Publish };
    let subject = what.split('"').nth(1)?.to_owned();
    Some(Denial { action, subject })
}
