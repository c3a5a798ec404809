//! Submission over HTTP: `POST /v1/transitions`, `POST /v1/transitions/batch`.
//!
//! An envelope comes as JSON (base64) or as it is (`application/msgpack`); answers come as JSON, or as MessagePack where
//! `Accept` asks for it. Every refusal is an [`ErrorBody`](chaoschain_schemas::api::ErrorBody), whatever refused it.

mod openapi;
mod trace;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use chaoschain_events::micro::{Form, Refusal};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

pub use openapi::openapi;
pub use trace::trace;

use crate::admission::busy;
use crate::rate::Peer;
use crate::service::CommandService;
use crate::submission::{self, BATCH_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX};

/// The most requests that are served at once; the next one is told that the service is busy.
pub const REQUESTS_MAX: usize = 4096;
/// How long a request's body may pause on its way in.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// How much longer a request may take than [`crate::CommandOptions::answer_patience`] before it is cut off.
pub(crate) const GRACE: Duration = Duration::from_secs(15);

const MSGPACK: &str = Form::MsgPack.content_type();
const JSON: &str = Form::Json.content_type();

#[derive(Clone)]
struct Served {
    service: CommandService,
    places: Arc<Semaphore>,
}

/// The routes of `service`. Serve them with [`axum::Router::into_make_service_with_connect_info`] of a [`SocketAddr`], so
/// that peers are told apart.
pub fn router(service: CommandService) -> Router {
    let cut_off = service.answer_patience() + GRACE;
    let served = Served { service, places: Arc::new(Semaphore::new(REQUESTS_MAX)) };
    Router::new()
        .route("/v1/transitions", post(submit).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)))
        .route(
            "/v1/transitions/batch",
            post(submit_batch).layer(DefaultBodyLimit::max(BATCH_REQUEST_BYTES_MAX)),
        )
        .layer(middleware::from_fn_with_state(served.clone(), take_place))
        .layer(RequestBodyTimeoutLayer::new(BODY_PATIENCE))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, cut_off))
        .layer(CatchPanicLayer::new())
        .with_state(served)
}

/// How a submission is to be taken.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
// A misspelt dry_run must not submit.
#[serde(deny_unknown_fields)]
struct Manner {
    /// Only say what would become of it.
    #[serde(default)]
    dry_run: bool,
}

async fn submit(State(served): State<Served>, request: Request) -> Response {
    let form = wanted(request.headers());
    let outcome = async {
        let manner = manner(&request)?;
        let (peer, content) = (peer(&request), content(request.headers())?);
        let envelope = submission::envelope(content, body(request).await?)?;
        if manner.dry_run {
            let verdict = served.service.dry_run(envelope, peer).await?;
            // Only people ask this, and the verdict has no binary form.
            return Ok(answer(Form::Json, StatusCode::OK, &verdict));
        }
        let receipt = served.service.submit(envelope, peer).await?;
        Ok(answer(form, StatusCode::OK, &receipt))
    };
    outcome.await.unwrap_or_else(|refusal: Refusal| refuse(&refusal, form))
}

async fn submit_batch(State(served): State<Served>, request: Request) -> Response {
    let form = wanted(request.headers());
    let outcome = async {
        if manner(&request)?.dry_run {
            return Err(Refusal::new(
                400,
                "malformed",
                "a batch cannot be dry-run: submit its envelopes one by one",
            ));
        }
        let (peer, content) = (peer(&request), content(request.headers())?);
        let envelopes = submission::envelopes(content, &body(request).await?)?;
        let outcomes = submission::outcomes(served.service.submit_batch(envelopes, peer).await);
        Ok(answer(form, StatusCode::OK, &outcomes))
    };
    outcome.await.unwrap_or_else(|refusal: Refusal| refuse(&refusal, form))
}

/// Lets only so many requests in at once.
async fn take_place(State(served): State<Served>, request: Request, next: Next) -> Response {
    let form = wanted(request.headers());
    match served.places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => refuse(&busy("too many requests are being served").into(), form),
    }
}

fn manner(request: &Request) -> Result<Manner, Refusal> {
    Query::try_from_uri(request.uri()).map(|Query(manner)| manner).map_err(|error| {
        Refusal::new(400, "malformed", format!("the query is refused: {}", error.body_text()))
    })
}

fn peer(request: &Request) -> Peer {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // A transport that cannot tell its peers apart has them share one rate.
    address.map_or(Peer::Client(0), |ConnectInfo(address)| Peer::Address(IpAddr::to_canonical(&address.ip())))
}

async fn body(request: Request<Body>) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, &()).await.map_err(|error| {
        let (status, text) = (error.status(), error.body_text());
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "truncated" };
        Refusal::new(status.as_u16(), code, format!("the request's body cannot be read: {text}"))
    })
}

/// The form an answer is wanted in.
fn wanted(headers: &HeaderMap) -> Form {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains(MSGPACK) { Form::MsgPack } else { Form::Json }
}

/// The form a request is in; JSON where it does not say.
fn content(headers: &HeaderMap) -> Result<Form, Refusal> {
    match headers.get(header::CONTENT_TYPE) {
        Some(content) => Form::of(content.to_str().unwrap_or_default()),
        None => Ok(Form::Json),
    }
}

fn answer<T: Serialize>(form: Form, status: StatusCode, value: &T) -> Response {
    let payload = form.write(value);
    let content = HeaderValue::from_static(payload.content_type);
    (status, [(header::CONTENT_TYPE, content)], payload.bytes).into_response()
}

fn refuse(refusal: &Refusal, form: Form) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = answer(form, status, &refusal.body);
    if let Some(millis) = refusal.body.retry_after_ms {
        // The header counts in whole seconds; sooner than that is for those who read the body.
        response.headers_mut().insert(header::RETRY_AFTER, millis.div_ceil(1000).into());
    }
    response
}
