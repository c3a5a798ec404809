//! Reads over HTTP: JSON answers that name their height, proofs beside them or as files.
//!
//! Everything is a `GET` under `/v1`. The chain's named reads are paths of their own, `/v1/{read}/{argument}/…`, in the
//! singular or the plural (`/v1/agent/…`, `/v1/agents/…`), arguments percent-encoded. Query parameters: `proof=true`,
//! `min_height`, `at_height`, `patience_ms`.
//!
//! # Absence
//! What does not exist is a 404 with code `absent`. With `proof=true` absence is an answer like any other: 200, the value
//! `null`, and a proof of it.
//!
//! # Errors
//! Every refusal is an [`ErrorBody`] with a stable code.

mod ask;
mod openapi;
mod refuse;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chaoschain_schemas::api::ErrorBody;
use chaoschain_schemas::{EventAddress, Height};
use serde_json::Value as Json;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::answer::Answer;
use crate::error::QueryError;
use crate::limits::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, REQUEST_BYTES_MAX, REQUEST_TIME_MAX, REQUESTS_MAX};
use crate::named;
use crate::query::Query;
use ask::{Arguments, Asked};
pub use openapi::openapi;
use refuse::{Refusal, panicked};

type Answered = Result<Response, Refusal>;

/// Serves `query`. It has no fallback, so it can be merged with other routers.
pub fn router(query: Query) -> Router {
    let mut router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/kinds", get(kinds))
        .route("/v1/reads", get(reads))
        .route("/v1/blocks/{height}", get(block))
        .route("/v1/blocks/{height}/raw", get(block_raw))
        .route("/v1/events/{height}/{index}", get(event))
        .route("/v1/events/by-id/{id}", get(event_by_id))
        .route("/v1/records/{sub_tree}/{key}", get(record));
    let mut arguments = String::new();
    for count in 0..=ARGUMENTS_MAX {
        router = router
            .route(&format!("/v1/models/{{name}}{arguments}"), get(model))
            .route(&format!("/v1/read/{{read}}{arguments}"), get(read))
            .route(&format!("/v1/{{read}}{arguments}"), get(read));
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

async fn status(State(query): State<Query>, asked: Asked) -> Answered {
    Ok(asked.respond(query.status(&asked.ask).await?, false))
}

async fn kinds(State(query): State<Query>, asked: Asked) -> Answered {
    let head = query.head(&asked.ask).await?;
    Ok(asked.respond(Answer::at(&head, query.kinds()), true))
}

async fn reads(State(query): State<Query>, asked: Asked) -> Answered {
    let head = query.head(&asked.ask).await?;
    Ok(asked.respond(Answer::at(&head, query.reads()), true))
}

async fn block(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let answer = query.block(height(&path[0])?, &asked.ask).await?;
    Ok(asked.respond(answer, true))
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

async fn event(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let height = height(&path[0])?;
    let index = path[1].parse().map_err(|_| QueryError::Argument(format!("{:?} is no index", path[1])))?;
    let answer = query.event(EventAddress { height, index }, &asked.ask).await?;
    Ok(asked.respond(answer, true))
}

async fn event_by_id(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let id =
        path[0].parse().map_err(|error| QueryError::Argument(format!("the transition's id: {error}")))?;
    Ok(asked.respond(query.event_by_id(&id, &asked.ask).await?, true))
}

async fn record(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    existing(query.read("record", &path, &asked.ask).await?, "record", &path, &asked)
}

async fn read(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let (name, arguments) =
        path.split_first().ok_or_else(|| QueryError::Argument("no read is named".into()))?;
    let name = spelled(&query, name, arguments.len());
    existing(query.read(&name, arguments, &asked.ask).await?, &name, arguments, &asked)
}

async fn model(State(query): State<Query>, Arguments(path): Arguments, asked: Asked) -> Answered {
    let (name, arguments) =
        path.split_first().ok_or_else(|| QueryError::Argument("no model is named".into()))?;
    Ok(asked.respond(query.model(name, arguments, &asked.ask).await?, false))
}

/// The read that is meant by a name in the singular or plural: the first with so many arguments, or else the first.
fn spelled(query: &Query, name: &str, arguments: usize) -> String {
    let singular = match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(name).to_owned(),
    };
    let machine = &**query.projection().machine();
    let specs = [name, &singular].map(|name| named::catalogue(machine).find(|spec| spec.name == name));
    let known = || specs.iter().flatten();
    let meant = known().find(|spec| spec.arguments.len() == arguments).or_else(|| known().next());
    meant.map_or_else(|| name.to_owned(), |spec| spec.name.to_owned())
}

fn existing(answer: Answer<Json>, name: &str, arguments: &[String], asked: &Asked) -> Answered {
    if answer.value.is_null() && answer.proof.is_none() {
        let (height, root) = (answer.at.height, answer.at.state_root);
        let asked_for = [&[name.to_owned()], arguments].concat().join(" ");
        let message = format!(
            "{asked_for}: there is none at height {height}, state root {root}; proof=true proves its absence"
        );
        let body = ErrorBody { code: "absent".into(), message, retry_after_ms: None };
        return Err(Refusal(StatusCode::NOT_FOUND, body));
    }
    Ok(asked.respond(answer, true))
}

fn height(text: &str) -> Result<Height, QueryError> {
    text.parse().map(Height).map_err(|_| QueryError::Argument(format!("{text:?} is no height")))
}

/// Path arguments must be text of bounded length.
fn check_arguments(Path(arguments): Path<Vec<String>>) -> Result<Vec<String>, QueryError> {
    match arguments.iter().find(|argument| argument.len() > ARGUMENT_BYTES_MAX) {
        Some(long) => {
            let text =
                format!("an argument has {} bytes, at most {ARGUMENT_BYTES_MAX} are taken", long.len());
            Err(QueryError::Argument(text))
        }
        None => Ok(arguments),
    }
}

fn msgpack() -> HeaderValue {
    HeaderValue::from_static("application/msgpack")
}
