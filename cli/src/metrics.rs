//! What a node counts, as Prometheus reads it.
//!
//! Names start with `chaoschain_`; units are base units. Counters and gauges that a part of the node keeps for itself are
//! read when they are asked for; histograms are kept here.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use chaoschain_command::Observer;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::metered::LogCounters;

/// What [`Metrics::render`] writes.
pub(crate) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;
/// Spans of appends and receipts, seconds: from an fsync on a fast disk to a client's patience.
const SPANS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
/// Spans of requests, seconds: reads take microseconds, waiting for a height takes as long as was asked for.
const REQUEST_SPANS: [f64; 12] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];
/// Methods that are told apart; what a client makes up is not.
const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];

/// What is counted as it happens.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    receipts: Histogram,
    /// The log's.
    pub(crate) log: LogCounters,
    /// Connections that are served.
    pub(crate) connections: IntGauge,
    /// Connections that were turned away.
    pub(crate) turned_away: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str, spans: &[f64]| {
            registered(
                &registry,
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(spans.to_vec())),
            )
        };
        let receipts = histogram(
            "chaoschain_command_receipt_seconds",
            "From the check of a transition's signatures to its receipt",
            &SPANS,
        );
        let seconds = histogram(
            "chaoschain_log_append_seconds",
            "From sending a block to the log to its acknowledgement",
            &SPANS,
        );
        let request_seconds = HistogramVec::new(
            HistogramOpts::new("chaoschain_http_request_seconds", "How long HTTP requests took, by route")
                .buckets(REQUEST_SPANS.to_vec()),
            &["route"],
        );
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let appends = counters(
            "chaoschain_log_appends_total",
            "Appends to the log that came to an end, by ok or the code of the error",
            &["outcome"],
        );
        appends.with_label_values(&["ok"]);
        Self {
            requests: counters(
                "chaoschain_http_requests_total",
                "HTTP requests that were answered, by route, method and status",
                &["route", "method", "status"],
            ),
            request_seconds: registered(&registry, request_seconds),
            receipts,
            log: LogCounters {
                appends,
                seconds,
                in_flight: registered(
                    &registry,
                    IntGauge::new(
                        "chaoschain_log_appends_in_flight",
                        "Appends to the log that are under way",
                    ),
                ),
            },
            connections: registered(
                &registry,
                IntGauge::new("chaoschain_http_connections", "HTTP connections that are served"),
            ),
            turned_away: registered(
                &registry,
                IntCounter::new(
                    "chaoschain_http_connections_turned_away_total",
                    "HTTP connections that were told that the node is busy, for there were too many",
                ),
            ),
            registry,
        }
    }

    /// Is told of receipts.
    pub(crate) fn observer(&self) -> Observer {
        let receipts = self.receipts.clone();
        Observer::new(move |took: Duration| receipts.observe(took.as_secs_f64()))
    }

    /// Everything counted here and in `scrape`, as text.
    pub(crate) fn render(&self, scrape: &Scrape) -> String {
        let mut families = self.registry.gather();
        families.extend(scrape.0.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!("the metrics cannot be written: {error}");
            String::new()
        })
    }
}

/// Counts requests and how long they take.
pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = METHODS.into_iter().find(|name| *name == request.method().as_str()).unwrap_or("other");
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics.requests.with_label_values(&[route, method, response.status().as_str()]).inc();
    metrics.request_seconds.with_label_values(&[route]).observe(start.elapsed().as_secs_f64());
    response
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("names, labels and help are written above");
    registry.register(Box::new(metric.clone())).expect("every name is given once");
    metric
}

/// Figures read at one moment.
pub(crate) struct Scrape(Registry);

impl Scrape {
    pub(crate) fn new() -> Self {
        Self(Registry::new())
    }

    /// Something that only grows.
    pub(crate) fn count(&self, name: &str, help: &str, value: u64) {
        registered(&self.0, IntCounter::new(name, help)).inc_by(value);
    }

    /// Something that only grows, by a label.
    pub(crate) fn counts<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        let counter = registered(&self.0, IntCounterVec::new(Opts::new(name, help), &[label]));
        for (value, count) in values {
            counter.with_label_values(&[value]).inc_by(count);
        }
    }

    /// Something that goes up and down.
    pub(crate) fn gauge(&self, name: &str, help: &str, value: u64) {
        registered(&self.0, IntGauge::new(name, help)).set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// Which of several things is the case: 1 for it.
    pub(crate) fn is(&self, name: &str, help: &str, labels: &[(&str, &str)]) {
        let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().copied().unzip();
        registered(&self.0, IntGaugeVec::new(Opts::new(name, help), &names))
            .with_label_values(&values)
            .set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_both_kinds_are_written() {
        let metrics = Metrics::new();
        metrics.log.appends.with_label_values(&["log_busy"]).inc_by(2);
        metrics.receipts.observe(0.003);
        let scrape = Scrape::new();
        scrape.gauge("chaoschain_projection_height", "The newest height", 7);
        scrape.counts("chaoschain_x_total", "Xs", "code", [("a\"b", 3)]);
        scrape.is("chaoschain_build_info", "The program", &[("version", "1")]);
        let text = metrics.render(&scrape);
        for line in [
            "# HELP chaoschain_projection_height The newest height",
            "# TYPE chaoschain_projection_height gauge",
            "chaoschain_projection_height 7",
            "chaoschain_log_appends_total{outcome=\"log_busy\"} 2",
            "chaoschain_x_total{code=\"a\\\"b\"} 3",
            "chaoschain_build_info{version=\"1\"} 1",
            "# TYPE chaoschain_command_receipt_seconds histogram",
            "chaoschain_command_receipt_seconds_bucket{le=\"0.002\"} 0",
            "chaoschain_command_receipt_seconds_bucket{le=\"0.005\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
