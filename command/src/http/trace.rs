//! Which request a log line belongs to, by W3C trace context.

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use chaoschain_events::trace::{TRACEPARENT, TraceContext};
use tracing::Instrument;

/// Serves every request in a span of its trace, so that its log lines carry `trace_id`, `span_id` and `parent_id`, and answers
/// with the `traceparent` of that span. A layer for a whole router, outside of all others:
/// `router.layer(axum::middleware::from_fn(trace))`.
pub async fn trace(request: Request, next: Next) -> Response {
    let given = request.headers().get_all(TRACEPARENT);
    let context = TraceContext::serving(given.iter().map(|value| value.to_str().unwrap_or_default()));
    let path = request.extensions().get::<MatchedPath>().map_or("(no such path)", MatchedPath::as_str);
    let span = context.span(&format!("{} {path}", request.method()));
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&context.to_string()) {
        response.headers_mut().insert(TRACEPARENT, value);
    }
    response
}
