//! Submission over NATS: the micro service `chaoschain-command`.
//!
//! Its endpoints are `submit`, `batch` and `dry_run` under [`Subjects::command`]. An envelope comes as it is; requests and
//! answers are MessagePack unless `Content-Type` and `Accept` say JSON. Instances of one queue group share the load, and since
//! the same bytes give the same receipt from each of them, whoever gets no answer asks again; [`Client`] does.
//!
//! # Errors
//! `Nats-Service-Error-Code` is the HTTP status that says the same, `Nats-Service-Error` is `code: message`, and the body is
//! an [`ErrorBody`](chaoschain_schemas::api::ErrorBody). Everything is in `docs/format.md`.
//!
//! # Rates
//! NATS does not tell who sends. For [`crate::CommandOptions::peer_rate`] a peer is what the reply subject starts with: a
//! connection, or a user where each has an inbox prefix of its own and permission for no other. Without such permissions a
//! client can make itself into many; only [`crate::CommandOptions::global_rate`] binds it then.

mod client;

use std::collections::HashMap;

use chaoschain_events::micro::{self, Definition, Endpoint, Payload, Refusal, Request};
use chaoschain_events::nats::{Nats, Subjects};
use chaoschain_schemas::ChainId;
use serde_json::json;

pub use chaoschain_events::micro::{AskError, ServeError, ServeOptions, Served};
pub use client::Client;

use crate::http::GRACE;
use crate::rate::Peer;
use crate::service::CommandService;
use crate::submission::{self, BATCH_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX};

/// The service's name.
pub const SERVICE: &str = "chaoschain-command";

const SUBMIT: &str = "submit";
const BATCH: &str = "batch";
const DRY_RUN: &str = "dry_run";
const ENDPOINTS: &[Endpoint] = &[
    Endpoint { name: SUBMIT, request_bytes_max: REQUEST_BYTES_MAX },
    Endpoint { name: BATCH, request_bytes_max: BATCH_REQUEST_BYTES_MAX },
    Endpoint { name: DRY_RUN, request_bytes_max: REQUEST_BYTES_MAX },
];

/// Serves `service`, which seals blocks of `chain`. Shut it down before the service, so that what is under way is answered.
///
/// # Errors
/// [`ServeError`]
pub async fn serve(
    service: CommandService,
    nats: &Nats,
    chain: ChainId,
    options: &ServeOptions,
) -> Result<Served, ServeError> {
    let metadata = [("chain", chain.to_string()), ("domain", service.projection().machine().id().to_owned())];
    let definition = Definition {
        name: SERVICE,
        description: "Submission of signed transitions; the same bytes give one event and one receipt".into(),
        version: env!("CARGO_PKG_VERSION"),
        metadata: HashMap::from(metadata.map(|(name, value)| (name.to_owned(), value))),
        prefix: Subjects::of(chain).command(),
        endpoints: ENDPOINTS,
        time_max: service.answer_patience() + GRACE,
    };
    micro::serve(nats.client(), definition, options, move |endpoint, request| {
        answer(service.clone(), endpoint, request)
    })
    .await
}

async fn answer(service: CommandService, endpoint: &str, request: Request) -> Result<Payload, Refusal> {
    let Request { payload, content, answer, from } = request;
    let peer = Peer::Client(from);
    match endpoint {
        SUBMIT => {
            let envelope = submission::envelope(content, payload)?;
            Ok(answer.write(&service.submit(envelope, peer).await?))
        }
        BATCH => {
            let envelopes = submission::envelopes(content, &payload)?;
            Ok(answer.write(&submission::outcomes(service.submit_batch(envelopes, peer).await)))
        }
        _ => {
            let envelope = submission::envelope(content, payload)?;
            // It has no binary form of its own: the JSON document's members, as MessagePack.
            Ok(answer.write(&json!(service.dry_run(envelope, peer).await?)))
        }
    }
}
