//! Reads over NATS: the micro service `chaoschain-query`.
//!
//! Its endpoints, under [`Subjects::query`], ask what the paths of [`crate::http`] ask; a request is an [`Asking`], and
//! nothing at all is one that says nothing. Requests and answers are MessagePack maps unless `Content-Type` and `Accept` say
//! JSON. Instances of one queue group share the load; [`Client`] asks again where it gets no answer.
//!
//! # Errors
//! `Nats-Service-Error-Code` is the HTTP status that says the same, `Nats-Service-Error` is `code: message`, and the body is
//! an [`ErrorBody`](chaoschain_schemas::api::ErrorBody). Everything is in `docs/format.md`.

mod answer;
mod asking;
mod client;

use std::collections::HashMap;

use chaoschain_events::micro::{self, Definition, Endpoint, Payload, Refusal, Request};
use chaoschain_events::nats::{Nats, Subjects};
use chaoschain_schemas::ChainId;

pub use asking::Asking;
pub use chaoschain_events::micro::{AskError, ServeError, ServeOptions, Served};
pub use client::Client;

use crate::error::QueryError;
use crate::http::refuse;
use crate::limits::{NATS_REQUEST_BYTES_MAX, REQUEST_TIME_MAX};
use crate::query::{Ask, Query};
use crate::question::{Question, height};

/// The service's name.
pub const SERVICE: &str = "chaoschain-query";

const BLOCK_RAW: &str = "block_raw";
const QUESTIONS: [(&str, Question); 10] = [
    ("read", Question::Read),
    ("record", Question::Record),
    ("block", Question::Block),
    ("event", Question::Event),
    ("event_by_id", Question::EventById),
    ("model", Question::Model),
    ("finality", Question::Finality),
    ("status", Question::Status),
    ("kinds", Question::Kinds),
    ("reads", Question::Reads),
];
const ENDPOINTS: &[Endpoint] = &{
    let mut endpoints =
        [Endpoint { name: BLOCK_RAW, request_bytes_max: NATS_REQUEST_BYTES_MAX }; QUESTIONS.len() + 1];
    let mut at = 0;
    while at < QUESTIONS.len() {
        endpoints[at].name = QUESTIONS[at].0;
        at += 1;
    }
    endpoints
};

/// Serves `query`, which answers of `chain`.
///
/// # Errors
/// [`ServeError`]
pub async fn serve(
    query: Query,
    nats: &Nats,
    chain: ChainId,
    options: &ServeOptions,
) -> Result<Served, ServeError> {
    let domain = query.projection().machine().id().to_owned();
    let metadata = [("chain", chain.to_string()), ("domain", domain)];
    let definition = Definition {
        name: SERVICE,
        description:
            "Reads with proofs; every answer names the height, state root and header hash it was read at"
                .into(),
        version: env!("CARGO_PKG_VERSION"),
        metadata: HashMap::from(metadata.map(|(name, value)| (name.to_owned(), value))),
        prefix: Subjects::of(chain).query(),
        endpoints: ENDPOINTS,
        time_max: REQUEST_TIME_MAX,
    };
    micro::serve(nats.client(), definition, options, move |endpoint, request| {
        answer(query.clone(), endpoint, request)
    })
    .await
}

async fn answer(query: Query, endpoint: &'static str, request: Request) -> Result<Payload, Refusal> {
    let answered = async {
        let (arguments, ask) = Asking::read(request.content, &request.payload)?.take_apart(endpoint)?;
        let question = QUESTIONS.iter().find(|(name, _)| *name == endpoint);
        let Some((_, question)) = question else { return block_raw(&query, &arguments, &ask).await };
        let answer = question.answer(&query, &arguments, &ask).await?;
        Ok(answer::write(request.answer, &answer))
    };
    answered.await.map_err(|error: QueryError| {
        let refuse::Refusal(status, body) = error.into();
        Refusal { status: status.as_u16(), body }
    })
}

async fn block_raw(query: &Query, arguments: &[String], ask: &Ask) -> Result<Payload, QueryError> {
    let [wanted] = arguments else {
        let text = format!("1 arguments are wanted (height), got {}", arguments.len());
        return Err(QueryError::Argument(text));
    };
    let (bytes, _) = query.block_message(height(wanted)?, ask).await?;
    Ok(Payload { content_type: "application/octet-stream", bytes })
}
