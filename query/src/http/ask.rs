//! How a request asks, and how its answer is written.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query as QueryString};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chaoschain_schemas::Height;
use serde::{Deserialize, Serialize};

use super::msgpack;
use super::refuse::Refusal;
use crate::answer::{Answer, Label};
use crate::error::QueryError;
use crate::limits::{PATIENCE_DEFAULT, PATIENCE_MAX};
use crate::query::{Ask, At, Finality};

/// How to answer, as a request says it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    #[serde(default)]
    pub(crate) proof: bool,
    pub(crate) min_height: Option<u64>,
    pub(crate) at_height: Option<u64>,
    #[serde(default)]
    pub(crate) finality: Finality,
    pub(crate) patience_ms: Option<u64>,
}

impl TryFrom<Parameters> for Ask {
    type Error = QueryError;

    fn try_from(asked: Parameters) -> Result<Self, QueryError> {
        let at = match (asked.min_height, asked.at_height) {
            (None, None) => At::Newest,
            (Some(height), None) => At::AtLeast(Height(height)),
            (None, Some(height)) => At::Exactly(Height(height)),
            (Some(_), Some(_)) => {
                return Err(QueryError::Argument("min_height and at_height exclude each other".into()));
            }
        };
        let patience = asked.patience_ms.map_or(PATIENCE_DEFAULT, Duration::from_millis).min(PATIENCE_MAX);
        Ok(Self { at, finality: asked.finality, patience, proof: asked.proof })
    }
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
        let parameters = QueryString::<Parameters>::try_from_uri(&parts.uri);
        let QueryString(asked) = parameters.map_err(|error| QueryError::Argument(error.body_text()))?;
        let mut ask = Ask::try_from(asked)?;
        let accepted = parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let file = accepted
            .flat_map(|value| value.split(','))
            .any(|form| form.split(';').next().is_some_and(|form| form.trim() == "application/msgpack"));
        ask.proof |= file;
        Ok(Self { ask, file, known: parts.headers.get(header::IF_NONE_MATCH).cloned() })
    }
}

impl Asked {
    /// The response to an answer; `fixed` when the answer is settled by its head and label, so that it may be cached by those.
    pub(super) fn respond<T: Serialize>(&self, answer: Answer<T>, fixed: bool) -> Response {
        let form = if self.file { "-proof" } else { "" };
        let label = if answer.label == Label::Finalized { "-final" } else { "" };
        let tag = format!("\"{}{form}{label}\"", answer.at.header_hash);
        let tag = HeaderValue::from_str(&tag).ok().filter(|_| fixed);
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
        let Path(path) = path.map_err(|error| QueryError::Argument(error.body_text()))?;
        Ok(Self(path))
    }
}
