//! Submission over HTTP: `POST /v1/transitions`, `POST /v1/transitions/batch`.
//!
//! An envelope comes as JSON (base64) or as it is (`application/msgpack`); answers come as JSON, or as MessagePack where
//! `Accept` asks for it. Every refusal is an [`ErrorBody`], whatever refused it.

mod openapi;

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
use chaoschain_schemas::api::{BatchOutcome, BatchSubmission, ErrorBody, Submission};
use chaoschain_schemas::limits::ENVELOPE_BYTES_MAX;
use chaoschain_schemas::{Blob, CodecError, codec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};

pub use openapi::openapi;

use crate::admission::busy;
use crate::error::SubmitError;
use crate::options::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use crate::rate::Peer;
use crate::service::CommandService;

/// The most requests that are served at once; the next one is told that the service is busy.
pub const REQUESTS_MAX: usize = 4096;
/// How long a request's body may pause on its way in.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// How much longer a request may take than [`crate::CommandOptions::answer_patience`] before it is cut off.
const GRACE: Duration = Duration::from_secs(15);

const MSGPACK: &str = "application/msgpack";
const JSON: &str = "application/json";

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
    // Base64 takes four bytes for three, and there is a little JSON around it.
    let one = ENVELOPE_BYTES_MAX / 3 * 4 + 1024;
    let many = BATCH_BYTES_MAX / 3 * 4 + 16 * BATCH_EVENTS_MAX;
    Router::new()
        .route("/v1/transitions", post(submit).layer(DefaultBodyLimit::max(one)))
        .route("/v1/transitions/batch", post(submit_batch).layer(DefaultBodyLimit::max(many)))
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
    let form = Form::of(request.headers());
    let outcome = async {
        let manner = manner(&request)?;
        let (peer, content) = (peer(&request), Form::of_content(request.headers())?);
        let body = body(request).await?;
        let envelope = match content {
            Form::MsgPack => body,
            Form::Json => from_json::<Submission>(&body)?.envelope.0.into(),
        };
        if manner.dry_run {
            let verdict = served.service.dry_run(envelope, peer).await?;
            // Only people ask this, and the verdict has no binary form.
            return Ok(Form::Json.answer(StatusCode::OK, &verdict));
        }
        let receipt = served.service.submit(envelope, peer).await?;
        Ok(form.answer(StatusCode::OK, &receipt))
    };
    outcome.await.unwrap_or_else(|refusal: Refusal| refusal.answer(form))
}

async fn submit_batch(State(served): State<Served>, request: Request) -> Response {
    let form = Form::of(request.headers());
    let outcome = async {
        if manner(&request)?.dry_run {
            return Err(Refusal::new(
                400,
                "malformed",
                "a batch cannot be dry-run: submit its envelopes one by one",
            ));
        }
        let (peer, content) = (peer(&request), Form::of_content(request.headers())?);
        let body = body(request).await?;
        let envelopes: Vec<Blob> = match content {
            Form::MsgPack => codec::decode(&body, BATCH_BYTES_MAX).map_err(SubmitError::Malformed)?,
            Form::Json => from_json::<BatchSubmission>(&body)?.envelopes,
        };
        if envelopes.len() > BATCH_EVENTS_MAX {
            let text =
                format!("{} envelopes are more than the {BATCH_EVENTS_MAX} of a batch", envelopes.len());
            return Err(Refusal::new(413, "too_large", text));
        }
        let envelopes = envelopes.into_iter().map(|envelope| envelope.0.into()).collect();
        let outcomes =
            served.service.submit_batch(envelopes, peer).await.into_iter().map(|outcome| match outcome {
                Ok(receipt) => BatchOutcome { receipt: Some(receipt), error: None },
                Err(error) => BatchOutcome { receipt: None, error: Some(error.body()) },
            });
        Ok(form.answer(StatusCode::OK, &outcomes.collect::<Vec<_>>()))
    };
    outcome.await.unwrap_or_else(|refusal: Refusal| refusal.answer(form))
}

/// Lets only so many requests in at once.
async fn take_place(State(served): State<Served>, request: Request, next: Next) -> Response {
    let form = Form::of(request.headers());
    match served.places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Refusal::from(busy("too many requests are being served")).answer(form),
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

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, SubmitError> {
    serde_json::from_slice(body).map_err(|error| SubmitError::Malformed(CodecError::Form(error.to_string())))
}

/// How bytes are written in a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    MsgPack,
}

impl Form {
    /// The form an answer is wanted in.
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if accept.contains(MSGPACK) { Self::MsgPack } else { Self::Json }
    }

    /// The form a request is in; JSON where it does not say.
    fn of_content(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(content) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        let content = content.to_str().unwrap_or_default();
        match content.split(';').next().unwrap_or_default().trim() {
            JSON => Ok(Self::Json),
            MSGPACK => Ok(Self::MsgPack),
            other => {
                let text = format!("content type {other:?} is not taken here; send {JSON} or {MSGPACK}");
                Err(Refusal::new(415, "content_type_unknown", text))
            }
        }
    }

    fn answer<T: Serialize>(self, status: StatusCode, value: &T) -> Response {
        let (content, bytes) = match self {
            Self::MsgPack => (MSGPACK, codec::encode(value)),
            Self::Json => (JSON, serde_json::to_vec(value).unwrap_or_default()),
        };
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static(content))], bytes).into_response()
    }
}

/// A request that is not answered with what it asked for.
struct Refusal {
    status: u16,
    body: ErrorBody,
}

impl Refusal {
    fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody { code: code.to_owned(), message: message.into(), retry_after_ms: None };
        Self { status, body }
    }

    fn answer(self, form: Form) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = form.answer(status, &self.body);
        if let Some(millis) = self.body.retry_after_ms {
            // The header counts in whole seconds; sooner than that is for those who read the body.
            response.headers_mut().insert(header::RETRY_AFTER, millis.div_ceil(1000).into());
        }
        response
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        Self { status: error.http_status(), body: error.body() }
    }
}
