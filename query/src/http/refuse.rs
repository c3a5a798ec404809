//! Refusals as HTTP answers.

use std::any::Any;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chaoschain_schemas::api::ErrorBody;

use crate::error::QueryError;
use crate::named::ReadFailure;

/// A refusal: status and body.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) ErrorBody);

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let waits = matches!(
            error,
            QueryError::HeightNotReached { .. } | QueryError::NotFinalized { .. } | QueryError::Busy(_)
        );
        let retry_after_ms = waits.then_some(500);
        let body = ErrorBody { code: error.code().to_owned(), message: error.to_string(), retry_after_ms };
        Self(status(&error), body)
    }
}

fn status(error: &QueryError) -> StatusCode {
    use chaoschain_state::domain::ReadError;
    match error {
        QueryError::HeightNotReached { .. } | QueryError::NotFinalized { .. } | QueryError::Busy(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        QueryError::HeightNotRetained { .. }
        | QueryError::OutsideWindow { .. }
        | QueryError::BlockGone(_) => StatusCode::GONE,
        QueryError::Argument(_)
        | QueryError::NotProvable(_)
        | QueryError::Read(ReadFailure::Asked(ReadError::Argument(_))) => StatusCode::BAD_REQUEST,
        QueryError::Read(ReadFailure::TooLarge) | QueryError::WitnessTooLarge { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        QueryError::Read(ReadFailure::Asked(ReadError::Unknown(_)))
        | QueryError::Absent { .. }
        | QueryError::BlockUnknown { .. }
        | QueryError::EventUnknown(_)
        | QueryError::TransitionUnknown(_)
        | QueryError::ModelUnknown(_) => StatusCode::NOT_FOUND,
        QueryError::Read(ReadFailure::Fault(_)) | QueryError::Node { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, body) = self;
        if status.is_server_error() && body.retry_after_ms.is_none() {
            tracing::error!(code = body.code, "a request could not be answered: {}", body.message);
        }
        (status, Json(body)).into_response()
    }
}

/// The answer after a handler has panicked; the panic itself went to the log.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    drop(panic);
    let message = "this node failed to answer; its log says why".to_owned();
    let body = ErrorBody { code: "internal".into(), message, retry_after_ms: None };
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
}
