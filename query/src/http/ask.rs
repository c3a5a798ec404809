//! How a request asks, and how its answer is written.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query as QueryString};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chaoschain_schemas::Height;
use serde::{Deserialize, Serialize};

use super::refuse::Refusal;
use super::{check_arguments, msgpack};
use crate::answer::Answer;
use crate::error::QueryError;
use crate::limits::{PATIENCE_DEFAULT, PATIENCE_MAX};
use crate::query::{Ask, At};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    #[serde(default)]
    proof: bool,
    min_height: Option<u64>,
    at_height: Option<u64>,
    patience_ms: Option<u64>,
}

/// The parts of a request that say how to answer.
pub(super) struct Asked {
    pub(super) ask: Ask,
    /// Whether the proof file is wanted alone.
    file: bool,
    known: Option<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let wrong = |text: String| Refusal::from(QueryError::Argument(text));
        let parameters = QueryString::<Parameters>::try_from_uri(&parts.uri);
        let QueryString(asked) = parameters.map_err(|error| wrong(error.body_text()))?;
        let at = match (asked.min_height, asked.at_height) {
            (None, None) => At::Newest,
            (Some(height), None) => At::AtLeast(Height(height)),
            (None, Some(height)) => At::Exactly(Height(height)),
            (Some(_), Some(_)) => return Err(wrong("min_height and at_height exclude each other".into())),
        };
        let patience = asked.patience_ms.map_or(PATIENCE_DEFAULT, Duration::from_millis).min(PATIENCE_MAX);
        let accepted = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let file = accepted
            .flat_map(|value| value.split(','))
            .any(|form| form.split(';').next().is_some_and(|form| form.trim() == "application/msgpack"));
        let ask = Ask { at, patience, proof: asked.proof || file };
        Ok(Self { ask, file, known: parts.headers.get(header::IF_NONE_MATCH).cloned() })
    }
}

impl Asked {
    /// The response to an answer; `fixed` when the answer is settled by its head, so that it may be cached by that.
    pub(super) fn respond<T: Serialize>(&self, answer: Answer<T>, fixed: bool) -> Response {
        let form = if self.file { "-proof" } else { "" };
        let tag =
            HeaderValue::from_str(&format!("\"{}{form}\"", answer.at.header_hash)).ok().filter(|_| fixed);
        if tag.is_some() && tag == self.known {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let mut response = match answer.proof {
            Some(proof) if self.file => ([(header::CONTENT_TYPE, msgpack())], proof.0).into_response(),
            proof => Json(Answer { proof, ..answer }).into_response(),
        };
        if let Some(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// The parts of a path that are not fixed, percent-decoded, in order.
pub(super) struct Arguments(pub(super) Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for Arguments {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<Vec<String>>::from_request_parts(parts, state).await;
        let path = path.map_err(|error| QueryError::Argument(error.body_text()))?;
        Ok(Self(check_arguments(path)?))
    }
}
