//! What a node answers over HTTP: the routes of its roles, and those of every node.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use chaoschain_command::http::trace;
use chaoschain_command::{Clock, CommandService};
use chaoschain_events::nats::Nats;
use chaoschain_projector::{Attestor, Condition, LogState, Projection};
use chaoschain_query::Query;
use chaoschain_schemas::Timestamp;
use chaoschain_schemas::api::ErrorBody;
use serde_json::{Value, json};

use crate::App;
use crate::metrics::{self, Metrics, Scrape};
use crate::roles::{Role, Roles};

mod figures;

/// How long the log may be away before a node is not ready any more.
const LOG_AWAY_MAX: Duration = Duration::from_secs(10);
/// When to come back to a node that starts.
const STARTING_RETRY_AFTER_MS: u64 = 1000;

/// A node, as its own routes see it. Clones share it.
#[derive(Clone)]
pub(crate) struct NodeView(Arc<Inner>);

struct Inner {
    openapi: Value,
    metrics: Metrics,
    log: LogOf,
    projection: OnceLock<Projection>,
    parts: OnceLock<Parts>,
    /// Everything that was in the log at the start was looked at.
    caught_up: AtomicBool,
}

/// The log of a node.
pub(crate) struct LogOf {
    pub(crate) place: String,
    pub(crate) nats: Option<Nats>,
    pub(crate) managed_restarts: Option<Arc<AtomicU64>>,
}

/// What runs on a node.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) roles: Roles,
    pub(crate) command: Option<CommandService>,
    pub(crate) attestor: Option<Arc<Attestor>>,
}

impl NodeView {
    pub(crate) fn new(app: &App, metrics: Metrics, log: LogOf) -> Self {
        Self(Arc::new(Inner {
            openapi: openapi(app),
            metrics,
            log,
            projection: OnceLock::new(),
            parts: OnceLock::new(),
            caught_up: AtomicBool::new(false),
        }))
    }

    /// From now on figures of the projection are shown.
    pub(crate) fn opened(&self, projection: &Projection) {
        self.0.projection.get_or_init(|| projection.clone());
    }

    /// From now on the node may be ready.
    pub(crate) fn caught_up(&self) {
        self.0.caught_up.store(true, Ordering::Release);
    }

    /// What a node answers that does not serve yet.
    pub(crate) fn starting(&self) -> Router {
        let starting = || async {
            let text = "this node is starting; /readyz says how far it is".to_owned();
            refusal(StatusCode::SERVICE_UNAVAILABLE, "starting", text, Some(STARTING_RETRY_AFTER_MS))
        };
        self.layered(self.of_every_node().fallback(starting))
    }

    /// What the node answers now that `parts` run.
    pub(crate) fn serving(&self, projection: &Projection, parts: Parts) -> Router {
        let mut router = self.of_every_node();
        let (command, query) = (parts.command.clone(), parts.roles.query);
        self.0.parts.get_or_init(|| parts);
        router = match &command {
            Some(service) => router.merge(chaoschain_command::http::router(service.clone())),
            None => ["/v1/transitions", "/v1/transitions/batch"]
                .into_iter()
                .fold(router, |router, path| router.route(path, any(|| async { absent(Role::Command) }))),
        };
        if query {
            router = router.merge(chaoschain_query::http::router(Query::new(projection.clone())));
        }
        let fallback = move |request: Request| async move {
            if request.uri().path().starts_with("/v1/") && !query {
                return absent(Role::Query);
            }
            let text = "there is nothing at this path: see /openapi.json".to_owned();
            refusal(StatusCode::NOT_FOUND, "path_unknown", text, None)
        };
        self.layered(router.fallback(fallback))
    }

    fn of_every_node(&self) -> Router {
        Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(|State(node): State<Self>| async move { node.readiness().respond() }))
            .route("/metrics", get(|State(node): State<Self>| async move { node.metrics() }))
            .route(
                "/openapi.json",
                get(|State(node): State<Self>| async move { Json(node.0.openapi.clone()) }),
            )
            .route("/v1/node", get(|State(node): State<Self>| async move { Json(node.figures()) }))
            .route("/v1/node/command", get(|State(node): State<Self>| async move { node.command() }))
            .with_state(self.clone())
    }

    fn layered(&self, router: Router) -> Router {
        router
            .method_not_allowed_fallback(|| async {
                let text = "this path does not take that method: see /openapi.json".to_owned();
                refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text, None)
            })
            .layer(from_fn_with_state(self.0.metrics.clone(), metrics::count))
            .layer(from_fn(trace))
    }

    fn command(&self) -> Response {
        match self.0.parts.get().and_then(|parts| parts.command.as_ref()) {
            Some(service) => Json(service.status()).into_response(),
            None => absent(Role::Command),
        }
    }

    fn metrics(&self) -> Response {
        let scrape = Scrape::new();
        figures::scrape(&self.0, &scrape);
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))];
        (headers, self.0.metrics.render(&scrape)).into_response()
    }

    /// Everything about the node, for people.
    fn figures(&self) -> Value {
        figures::all(&self.0, &self.readiness())
    }

    fn readiness(&self) -> Readiness {
        let status = self.0.projection.get().map(Projection::status);
        let state = status.as_ref().map(|status| (&status.condition, &status.log_state));
        let caught_up = self.0.caught_up.load(Ordering::Acquire);
        let divergence = status.as_ref().and_then(|status| status.divergence.as_ref());
        Readiness {
            reasons: reasons(caught_up, state, Clock::system().now()),
            divergence: divergence.map(|divergence| json!(divergence)),
            height: status.as_ref().map(|status| status.height.0),
            roles: self.0.parts.get().map(|parts| parts.roles.names()).unwrap_or_default(),
        }
    }
}

/// Whether a node is ready, and if not, why.
struct Readiness {
    reasons: Vec<(String, String)>,
    /// The block at which it has computed another root, if that has stopped it.
    divergence: Option<Value>,
    height: Option<u64>,
    roles: Vec<&'static str>,
}

impl Readiness {
    /// How good the answers to reads are: of the newest block, of an older one, or there are none.
    fn reads(&self) -> &'static str {
        match (self.roles.contains(&Role::Query.name()), self.reasons.is_empty()) {
            (false, _) => "absent",
            (true, true) => "current",
            (true, false) => "degraded",
        }
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "ready": self.reasons.is_empty(), "height": self.height, "roles": self.roles, "reads": self.reads(),
        });
        if let Some((code, message)) = self.reasons.first() {
            json["code"] = json!(code);
            json["message"] = json!(message);
            let reason = |(code, message): &(String, String)| json!({ "code": code, "message": message });
            json["reasons"] = self.reasons.iter().map(reason).collect();
        }
        if let Some(divergence) = &self.divergence {
            json["divergence"] = divergence.clone();
        }
        json
    }

    fn respond(&self) -> Response {
        let status = if self.reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(self.json())).into_response()
    }
}

/// What keeps a node from being ready at `now`, worst first. `state` is that of the projection, once it is open.
fn reasons(caught_up: bool, state: Option<(&Condition, &LogState)>, now: Timestamp) -> Vec<(String, String)> {
    let mut reasons = Vec::new();
    if let Some((Condition::Degraded { code, message, .. }, _)) = state {
        reasons.push((code.clone(), message.clone()));
    }
    if let Some((_, LogState::Away { since, message, .. })) = state {
        let away = Duration::from_micros(now.0.saturating_sub(since.0));
        if away > LOG_AWAY_MAX {
            let text = format!("the log has been away for {} s: {message}", away.as_secs());
            reasons.push(("log_unavailable".to_owned(), text));
        }
    }
    if !caught_up {
        let doing = if state.is_some() { "it folds what the log has" } else { "its state is being opened" };
        reasons.push(("starting".to_owned(), format!("the node is starting: {doing}")));
    }
    reasons
}

/// An answer that is none.
pub(crate) fn refusal(
    status: StatusCode,
    code: &str,
    message: String,
    retry_after_ms: Option<u64>,
) -> Response {
    let body = ErrorBody { code: code.to_owned(), message, retry_after_ms };
    let mut response = (status, Json(body)).into_response();
    if let Some(ms) = retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, ms.div_ceil(1000).into());
    }
    response
}

fn absent(role: Role) -> Response {
    let text = format!("this node does not have the role {role}: ask one that has it");
    refusal(StatusCode::NOT_FOUND, "role_absent", text, None)
}

/// The descriptions of both roles and of what every node answers, in one.
fn openapi(app: &App) -> Value {
    let mut whole = json!(chaoschain_query::http::openapi(&*app.machine));
    let command = json!(chaoschain_command::http::openapi());
    for part in ["/paths", "/components/schemas"] {
        let theirs = command.pointer(part).and_then(Value::as_object);
        if let (Some(ours), Some(theirs)) = (whole.pointer_mut(part).and_then(Value::as_object_mut), theirs) {
            ours.extend(theirs.clone());
        }
    }
    whole["info"]["title"] = json!("chaoschain node");
    let text =
        |help: &str| json!({ "get": { "summary": help, "responses": { "200": { "description": help } } } });
    whole["paths"]["/livez"] = text("Whether the process runs");
    whole["paths"]["/readyz"] = text("Whether it follows its log; 503 with the reasons when it does not");
    whole["paths"]["/metrics"] = text("Figures for Prometheus");
    whole["paths"]["/v1/node"] = text("The node's roles, log, projection, command service and validators");
    whole["paths"]["/v1/node/command"] = text("Figures of this node's command service");
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn away(seconds: u64) -> LogState {
        let since = Timestamp(NOW.0 - seconds * 1_000_000);
        LogState::Away { since, code: "log_unavailable".into(), message: "connection refused".into() }
    }

    fn degraded() -> Condition {
        Condition::Degraded { code: "state_diverged".into(), message: "roots differ".into(), evidence: None }
    }

    #[test]
    fn a_node_is_ready_when_nothing_speaks_against_it() {
        let codes = |caught_up: bool, state: Option<(&Condition, &LogState)>| -> Vec<String> {
            reasons(caught_up, state, NOW).into_iter().map(|(code, _)| code).collect()
        };
        let following = Condition::Following;
        assert!(codes(true, Some((&following, &LogState::Reachable))).is_empty());
        assert!(codes(true, Some((&following, &away(10)))).is_empty());
        assert_eq!(codes(true, Some((&following, &away(11)))), ["log_unavailable"]);
        assert_eq!(codes(false, Some((&following, &LogState::Reachable))), ["starting"]);
        assert_eq!(codes(false, None), ["starting"]);
        let all = codes(false, Some((&degraded(), &away(11))));
        assert_eq!(all, ["state_diverged", "log_unavailable", "starting"]);
    }

    #[test]
    fn reads_are_called_what_they_are() {
        let reads = |roles: &[&'static str], reasons: Vec<(String, String)>| {
            Readiness { reasons, divergence: None, height: Some(3), roles: roles.to_vec() }.reads()
        };
        assert_eq!(reads(&["query"], Vec::new()), "current");
        let reasons = reasons(true, Some((&Condition::Following, &away(60))), NOW);
        assert_eq!(reads(&["command", "query"], reasons), "degraded");
        assert_eq!(reads(&["command"], Vec::new()), "absent");
    }

    #[test]
    fn the_first_reason_stands_at_the_top() {
        let reasons = reasons(true, Some((&degraded(), &away(60))), NOW);
        let readiness = Readiness { reasons, divergence: None, height: None, roles: Vec::new() };
        let json = readiness.json();
        assert_eq!((&json["ready"], &json["code"]), (&json!(false), &json!("state_diverged")));
        assert_eq!(json["reasons"].as_array().unwrap().len(), 2);
    }
}
