//! The HTTP server: bounded in connections and in patience with each of them.
//!
//! # Invariants
//! - Every request that arrives whole is answered, whatever other connections do: up to [`CONNECTIONS_MAX`] connections are
//!   served, [`TURNED_AWAY_MAX`] more are told that the node is busy, and further ones wait to be accepted.
//! - A peer that sends or reads nothing for longer than a named span is disconnected.
//! - Who sends more than is taken still reads why: what is left of a body is read and thrown away, up to a bound.

mod body;
mod patient;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use prometheus::{IntCounter, IntGauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;

use crate::routes::refusal;
use body::Drained;
use patient::Patient;

/// The most connections that are served at once; fewer where the system allows fewer open files.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// The most connections beyond these that are told so.
const TURNED_AWAY_MAX: usize = 256;
/// How long a request's head may take to come, and how long a connection may rest between two requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// The same for a connection that is only told that the node is busy.
const TURNED_AWAY_PATIENCE: Duration = Duration::from_secs(5);
/// How long a peer may take nothing of what it is sent.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long nothing is accepted after the system has refused to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// When whoever was turned away may come back.
const BUSY_RETRY_AFTER_MS: u64 = 1000;

/// How a server behaves.
pub(crate) struct ServerOptions {
    /// The most connections that are served at once.
    pub(crate) connections_max: usize,
    /// How long requests under way may take when it stops.
    pub(crate) drain: Duration,
    /// Connections that are served.
    pub(crate) connections: IntGauge,
    /// Connections that were turned away.
    pub(crate) turned_away: IntCounter,
}

/// Serves whatever `routes` shows at the time of each request, until `stop` becomes true; then requests under way have
/// so long to finish.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: watch::Receiver<Router>,
    mut stop: watch::Receiver<bool>,
    options: ServerOptions,
) {
    let places = Arc::new(Semaphore::new(options.connections_max));
    let doorsteps = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places, &doorsteps) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        // An answer is one write; holding it back for more serves nobody.
        drop(stream.set_nodelay(true));
        match place {
            Place::Served(permit) => {
                let connection = Counted::new(&options.connections, permit);
                let service = service_of(routes.clone(), peer);
                let patience = HEAD_PATIENCE;
                let served = builder(patience).serve_connection(io(stream), service);
                let served = graceful.watch(served);
                tokio::spawn(async move {
                    let _connection = connection;
                    ended(served.await);
                });
            }
            Place::TurnedAway(permit) => {
                options.turned_away.inc();
                let service = service_fn(|request: hyper::Request<Incoming>| {
                    drop(Drained::wrap(request));
                    async { Ok::<_, std::convert::Infallible>(busy()) }
                });
                let served =
                    builder(TURNED_AWAY_PATIENCE).keep_alive(false).serve_connection(io(stream), service);
                tokio::spawn(async move {
                    let _permit = permit;
                    ended(served.await);
                });
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(options.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were cut off, they took longer than drain_ms");
    }
}

/// Where a connection stands.
enum Place {
    Served(OwnedSemaphorePermit),
    TurnedAway(OwnedSemaphorePermit),
}

/// The next connection there is a place for.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    doorsteps: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, Place)> {
    // Whoever comes when even the doorsteps are taken waits in the system's queue.
    let doorstep = Arc::clone(doorsteps).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let place = match Arc::clone(places).try_acquire_owned() {
                Ok(permit) => Place::Served(permit),
                Err(_) => Place::TurnedAway(doorstep),
            };
            Some((stream, peer, place))
        }
        Err(error) => {
            // Out of file descriptors, most likely: they come back when connections end.
            tracing::warn!("no connection can be accepted: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn builder(head_patience: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(head_patience).max_header_size(HEAD_BYTES_MAX);
    builder
}

fn io(stream: TcpStream) -> TokioIo<Patient<TcpStream>> {
    TokioIo::new(Patient::new(stream, WRITE_PATIENCE))
}

fn service_of(
    routes: watch::Receiver<Router>,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    hyper::Request<Incoming>,
    Response = Response,
    Error = std::convert::Infallible,
    Future = impl Future<Output = Result<Response, std::convert::Infallible>> + Send,
> {
    service_fn(move |request: hyper::Request<Incoming>| {
        let shown = routes.borrow().clone();
        let mut request: Request = Drained::wrap(request);
        request.extensions_mut().insert(ConnectInfo(peer));
        shown.oneshot(request)
    })
}

fn busy() -> Response {
    let text = "this node has as many connections as it takes; try again".to_owned();
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", text, Some(BUSY_RETRY_AFTER_MS));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn ended(outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        // Peers that go away, fall asleep or speak something else.
        tracing::debug!("a connection has ended: {error}");
    }
}

/// A connection that counts while it is there.
struct Counted {
    gauge: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(gauge: &IntGauge, permit: OwnedSemaphorePermit) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone(), _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// How many connections may be served: a quarter of the open files is left for logs, stores and servers.
pub(crate) fn connections_max() -> usize {
    open_files_max().map_or(CONNECTIONS_MAX, |files| {
        usize::try_from(files / 4 * 3).unwrap_or(CONNECTIONS_MAX).clamp(1, CONNECTIONS_MAX)
    })
}

/// How many files may be open, after asking for as many as we are allowed to.
#[cfg(unix)]
fn open_files_max() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const WANTED: u64 = CONNECTIONS_MAX as u64 * 2;

    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    let raised = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if raised <= current || setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_err() {
        return Some(current);
    }
    Some(raised)
}

#[cfg(not(unix))]
fn open_files_max() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests;
