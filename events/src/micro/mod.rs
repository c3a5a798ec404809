//! NATS micro services: endpoints that are discovered, counted, and answered in bounded numbers.
//!
//! [`serve`] runs one instance of a service: its endpoints share a queue group, so instances share the load. [`ask`] is the
//! other side. The protocol is that of [ADR-32], spoken here rather than by async-nats's own `Service`, which answers an
//! error with an empty body, does not count an error that has one, and loses what is on its way when it stops.
//!
//! [ADR-32]: https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-32.md
//!
//! # Invariants
//! - Every request that is received is answered: beyond [`ServeOptions::requests_max`] with `busy` at once, after
//!   [`Definition::time_max`] with `timed_out`, after a panic with `internal`. Only where an answer must not go it does not.
//! - No answer goes to a subject of ours or of the server's, whatever a request names as its reply subject: this connection
//!   may do what the requester may not.
//! - What is under way when the service stops is answered.

mod ask;
mod discovery;
mod message;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::service::endpoint::Stats;
use async_nats::service::error::Error as ServiceError;
use async_nats::{Client, Message, PublishErrorKind, Subject, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

pub use ask::{AskError, Asking, TRY_FIRST, TRY_MAX, ask, read_json};
pub use message::{Form, Payload, Refusal, Request};

use crate::trace::{TRACEPARENT, TraceContext};
use message::{answerable, answers_in, header, refusal_headers};

/// The queue group of a service that is not told another: the one of every NATS micro service.
pub const QUEUE_GROUP: &str = "q";
/// How many requests an instance works on at once when it is not told.
pub const REQUESTS_MAX: usize = 1024;
/// When to come back after `busy`.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_millis(100);
/// When to come back after `timed_out`.
const TIMED_OUT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A service: what every instance of it says and takes.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name: letters, digits, `-` and `_`.
    pub name: &'static str,
    /// What it does.
    pub description: String,
    /// Its version, by the rules of semantic versioning.
    pub version: &'static str,
    /// What else it says of itself when it is discovered.
    pub metadata: HashMap<String, String>,
    /// What the subjects of its endpoints start with: an endpoint listens at `<prefix>.<its name>`.
    pub prefix: String,
    /// What it answers.
    pub endpoints: &'static [Endpoint],
    /// The longest that a request may take.
    pub time_max: Duration,
}

/// One thing that a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, and the last token of its subject.
    pub name: &'static str,
    /// The largest request, bytes; the server's own limit may be lower.
    pub request_bytes_max: usize,
}

/// How an instance behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Instances of the same group share the requests.
    pub queue_group: String,
    /// The most requests that are worked on at once; more are told to come back.
    pub requests_max: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self { queue_group: QUEUE_GROUP.into(), requests_max: REQUESTS_MAX }
    }
}

/// Why a service cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The connection is closed, or a name cannot be listened at.
    #[error("the service cannot listen at {subject} on NATS: {reason}")]
    Subscribe {
        /// What it would have listened at.
        subject: String,
        /// What is wrong.
        reason: String,
    },
}

impl ServeError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } => "nats_subscribe",
        }
    }
}

/// A running instance. Dropped, it stops by itself; [`Served::shut_down`] waits for that.
#[derive(Debug)]
pub struct Served {
    id: String,
    client: Client,
    stop: watch::Sender<bool>,
    endpoints: Mutex<JoinSet<()>>,
}

/// Starts an instance; `handler` answers a request to the endpoint of this name, many at once.
///
/// Must be called within a tokio runtime. The subscriptions outlive reconnects.
///
/// # Errors
/// [`ServeError`]
pub async fn serve<H, F>(
    client: &Client,
    definition: Definition,
    options: &ServeOptions,
    handler: H,
) -> Result<Served, ServeError>
where
    H: Fn(&'static str, Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Payload, Refusal>> + Send + 'static,
{
    let mut subscribers = Vec::new();
    let mut counted = Vec::new();
    for endpoint in definition.endpoints {
        let subject = format!("{}.{}", definition.prefix, endpoint.name);
        let subscribed = client.queue_subscribe(subject.clone(), options.queue_group.clone()).await;
        subscribers.push(subscribed.map_err(|error| not_listening(&subject, &error))?);
        counted.push(Mutex::new(Stats {
            name: endpoint.name.into(),
            subject,
            queue_group: options.queue_group.clone(),
            ..Stats::default()
        }));
    }
    let (stop, stopped) = watch::channel(false);
    let (id, counted) = (discovery::instance_id(), Arc::new(counted));
    let words = discovery::Words::new(id.clone(), &definition, Arc::clone(&counted));
    let discovered = discovery::answer(client, words, stopped.clone()).await?;
    let places = Arc::new(Semaphore::new(options.requests_max));
    let instance = Arc::new(Instance { client: client.clone(), definition, places, counted, handler });
    let mut endpoints = JoinSet::new();
    for (at, subscriber) in subscribers.into_iter().enumerate() {
        endpoints.spawn(Arc::clone(&instance).run(at, subscriber, stopped.clone()));
    }
    endpoints.spawn(discovered);
    // So that the server knows of it soon; that it does not yet is what every client has to bear in any case.
    drop(client.flush().await);
    Ok(Served { id, client: client.clone(), stop, endpoints: Mutex::new(endpoints) })
}

/// Resolves when the instance is to stop; also when nobody could tell it any more.
async fn stopping(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

fn not_listening(subject: &str, error: &dyn std::fmt::Display) -> ServeError {
    ServeError::Subscribe { subject: subject.to_owned(), reason: error.to_string() }
}

impl Served {
    /// The instance's id, as discovery tells it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Takes nothing more in, answers what is under way for at most `patience`, and ends. Doing so twice is doing it once.
    pub async fn shut_down(&self, patience: Duration) {
        self.stop.send_replace(true);
        let mut endpoints =
            std::mem::take(&mut *self.endpoints.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async {
            while endpoints.join_next().await.is_some() {}
            // Answers are written when this comes back, whatever becomes of the connection then.
            drop(self.client.flush().await);
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!("some requests over NATS were cut off after {} ms", patience.as_millis());
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.endpoints.get_mut().unwrap_or_else(PoisonError::into_inner).detach_all();
    }
}

/// The figures of the endpoints, in their order.
type Counted = Arc<Vec<Mutex<Stats>>>;

fn figures(counted: &Mutex<Stats>) -> MutexGuard<'_, Stats> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Instance<H> {
    client: Client,
    definition: Definition,
    places: Arc<Semaphore>,
    counted: Counted,
    handler: H,
}

/// A request and what belongs to its answer.
struct Call {
    /// The endpoint's place.
    at: usize,
    message: Message,
    reply: Subject,
    received: Instant,
    form: Form,
    context: TraceContext,
}

impl<H, F> Instance<H>
where
    H: Fn(&'static str, Request) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Payload, Refusal>> + Send + 'static,
{
    /// Takes the requests of one endpoint until it is to stop and what came before that is answered.
    async fn run(self: Arc<Self>, at: usize, mut requests: Subscriber, mut stopped: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        let mut draining = false;
        loop {
            tokio::select! {
                message = requests.next() => match message {
                    Some(message) => self.take(at, message, &mut under_way).await,
                    None => break,
                },
                Some(ended) = under_way.join_next() => drop(ended),
                () = stopping(&mut stopped), if !draining => {
                    draining = true;
                    if requests.drain().await.is_err() {
                        break;
                    }
                }
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn take(self: &Arc<Self>, at: usize, message: Message, under_way: &mut JoinSet<()>) {
        let received = Instant::now();
        let reply = match answerable(message.reply.as_ref()) {
            Ok(reply) => reply,
            Err(refusal) => {
                let subject = &message.subject;
                tracing::debug!(%subject, "a request is dropped: {}", refusal.body.message);
                self.count(at, received, Some(&refusal));
                return;
            }
        };
        let headers = message.headers.as_ref();
        let given = headers.into_iter().flat_map(|headers| headers.get_all(TRACEPARENT)).map(AsRef::as_ref);
        let context = TraceContext::serving(given);
        let form = answers_in(headers);
        let call = Call { at, message, reply, received, form, context };
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let instance = Arc::clone(self);
            under_way.spawn(async move {
                instance.serve(call).await;
                drop(place);
            });
        } else {
            let text = "too many requests are being answered already; try again";
            // Waited for here: a server that takes no answers gets no further requests read.
            self.answer(&call, Err(Refusal::new(429, "busy", text).retry_after(BUSY_RETRY_AFTER))).await;
        }
    }

    async fn serve(&self, call: Call) {
        let endpoint = self.definition.endpoints[call.at];
        let span = call.context.span(&format!("{}.{}", self.definition.name, endpoint.name));
        async {
            let outcome = self.outcome(endpoint, &call).await;
            self.answer(&call, outcome).await;
        }
        .instrument(span)
        .await;
    }

    async fn outcome(&self, endpoint: Endpoint, call: &Call) -> Result<Payload, Refusal> {
        let request = Request::read(&call.message, &call.reply, call.form, endpoint.request_bytes_max)?;
        let patience = self.definition.time_max;
        let answer = AssertUnwindSafe(async { (self.handler)(endpoint.name, request).await });
        match tokio::time::timeout(patience, answer.catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => {
                let text = "this node failed to answer; its log says why";
                Err(Refusal::new(500, "internal", text))
            }
            Err(_) => {
                let text = format!("the answer took longer than {} s", patience.as_secs());
                Err(Refusal::new(503, "timed_out", text).retry_after(TIMED_OUT_RETRY_AFTER))
            }
        }
    }

    /// Sends the answer and counts it.
    async fn answer(&self, call: &Call, outcome: Result<Payload, Refusal>) {
        let refusal = match outcome {
            Ok(payload) => self.send(call, payload).await.err(),
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = &refusal {
            let (headers, payload) = refusal_headers(refusal, call.form);
            if refusal.is_ours() {
                tracing::error!(code = refusal.body.code, "a request failed: {}", refusal.body.message);
            }
            if self.publish(call, headers, payload).await.is_err() {
                tracing::warn!("a refusal is larger than the server takes; its request has no answer");
            }
        }
        let code = refusal.as_ref().map_or("ok", |refusal| &refusal.body.code);
        tracing::debug!(code, micros = call.received.elapsed().as_micros(), "answered");
        self.count(call.at, call.received, refusal.as_ref());
    }

    async fn send(&self, call: &Call, payload: Payload) -> Result<(), Refusal> {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, payload.content_type);
        let bytes = payload.bytes.len();
        self.publish(call, headers, payload).await.map_err(|TooLarge| {
            let most = self.client.max_payload();
            let text = format!(
                "the answer has {bytes} bytes, this NATS server takes messages of {most}: ask for less, or over HTTP"
            );
            Refusal::new(422, "answer_too_large", text)
        })
    }

    async fn publish(
        &self,
        call: &Call,
        mut headers: async_nats::HeaderMap,
        payload: Payload,
    ) -> Result<(), TooLarge> {
        headers.insert(TRACEPARENT, call.context.to_string());
        let published = self.client.publish_with_headers(call.reply.clone(), headers, payload.bytes).await;
        match published {
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => Err(TooLarge),
            Err(error) => {
                // The connection is closed, or nobody can listen at that subject.
                tracing::debug!("an answer cannot be sent: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn count(&self, at: usize, received: Instant, refusal: Option<&Refusal>) {
        let mut figures = figures(&self.counted[at]);
        figures.requests += 1;
        figures.processing_time += received.elapsed();
        let requests = u32::try_from(figures.requests).unwrap_or(u32::MAX);
        figures.average_processing_time = figures.processing_time / requests;
        if let Some(refusal) = refusal {
            figures.errors += 1;
            figures.last_error =
                Some(ServiceError { code: refusal.status.into(), status: refusal.sentence() });
        }
    }
}

/// The server takes no message of this size.
struct TooLarge;
