//! Reads over HTTP: JSON answers that name their height, proofs beside them or as files.
//!
//! Everything is a `GET` under `/v1`. The chain's named reads are paths of their own, `/v1/{read}/{argument}/…`, in the
//! singular or the plural (`/v1/agent/…`, `/v1/agents/…`), arguments percent-encoded. Query parameters: `proof=true`,
//! `finality=finalized`, `min_height`, `at_height`, `patience_ms`.
//!
//! # Absence
//! What does not exist is a 404 with code `absent`. With `proof=true` absence is an answer like any other: 200, the value
//! `null`, and a proof of it.
//!
//! # Errors
//! Every refusal is an [`ErrorBody`] with a stable code.

pub(crate) mod ask;
mod openapi;
pub(crate) mod refuse;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use chaoschain_schemas::api::ErrorBody;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::limits::{ARGUMENTS_MAX, REQUEST_BYTES_MAX, REQUEST_TIME_MAX, REQUESTS_MAX};
use crate::query::Query;
use crate::question::{Question, height};
use ask::{Arguments, Asked};
pub use openapi::openapi;
use refuse::{Refusal, panicked};

type Answered = Result<Response, Refusal>;

/// Serves `query`. It has no fallback, so it can be merged with other routers.
pub fn router(query: Query) -> Router {
    let mut router = Router::new()
        .route("/v1/status", whole(Question::Status))
        .route("/v1/kinds", whole(Question::Kinds))
        .route("/v1/reads", whole(Question::Reads))
        .route("/v1/finality", whole(Question::Finality))
        .route("/v1/blocks/{height}", one(Question::Block))
        .route("/v1/blocks/{height}/raw", get(block_raw))
        .route("/v1/blocks/{height}/witness", get(block_witness))
        .route("/v1/events/{height}/{index}", one(Question::Event))
        .route("/v1/events/by-id/{id}", one(Question::EventById))
        .route("/v1/records/{sub_tree}/{key}", one(Question::Record));
    router = router.route("/v1/tree", whole(Question::Tree));
    for path in [
        "/{height}",
        "/{height}/{sub_tree}",
        "/{height}/{sub_tree}/{of}",
        "/{height}/{sub_tree}/{of}/{depth}",
    ] {
        router = router.route(&format!("/v1/tree{path}"), one(Question::Tree));
    }
    let mut arguments = String::new();
    for count in 0..=ARGUMENTS_MAX {
        router = router
            .route(&format!("/v1/models/{{name}}{arguments}"), one(Question::Model))
            .route(&format!("/v1/read/{{read}}{arguments}"), one(Question::Read))
            .route(&format!("/v1/{{read}}{arguments}"), one(Question::Read));
        arguments = format!("{arguments}/{{argument_{count}}}");
    }
    router
        .with_state(query)
        .layer(RequestBodyLimitLayer::new(REQUEST_BYTES_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(REQUESTS_MAX)), guard))
}

/// Bounds how many requests are worked on at once, and how long each may take.
async fn guard(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let refuse = |code: &str, message: String| {
        let body = ErrorBody { code: code.into(), message, retry_after_ms: Some(1000) };
        Refusal(StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    };
    let Ok(_place) = places.try_acquire() else {
        return refuse("busy", format!("{REQUESTS_MAX} requests are being answered already: try again"));
    };
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            refuse("timed_out", format!("the answer took longer than {} s", REQUEST_TIME_MAX.as_secs()))
        }
    }
}

/// Answers what has no arguments.
fn whole(question: Question) -> MethodRouter<Query> {
    get(move |State(query): State<Query>, asked: Asked| async move {
        let answer = question.answer(&query, &[], &asked.ask).await?;
        Answered::Ok(asked.respond(answer, question.is_settled()))
    })
}

/// Answers what has its arguments in the path.
fn one(question: Question) -> MethodRouter<Query> {
    get(move |State(query): State<Query>, Arguments(path): Arguments, asked: Asked| async move {
        let answer = question.answer(&query, &path, &asked.ask).await?;
        Answered::Ok(asked.respond(answer, question.is_settled()))
    })
}

async fn block_raw(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let height = height(&path[0])?;
    let (message, hash) = query.block_message(height, &asked.ask).await?;
    let name = format!("attachment; filename=\"block-{height}.bin\"");
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::ETAG, format!("\"{hash}\"")),
    ];
    Ok((headers, message).into_response())
}

async fn block_witness(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let height = height(&path[0])?;
    let bytes = query.witness(height, &asked.ask).await?;
    let name = format!("attachment; filename=\"block-{height}.witness\"");
    let name = [(header::CONTENT_DISPOSITION, name)];
    Ok(([(header::CONTENT_TYPE, msgpack())], name, bytes).into_response())
}

fn msgpack() -> HeaderValue {
    HeaderValue::from_static("application/msgpack")
}
