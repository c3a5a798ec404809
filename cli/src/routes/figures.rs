//! A node in figures: for people as JSON, for Prometheus as families.

use std::sync::atomic::Ordering;

use chaoschain_command::{CommandService, CommandStatus};
use chaoschain_events::nats::Nats;
use chaoschain_projector::{Attestor, AttestorStatus, Condition, LogState, Projection, ProjectionStatus};
use serde_json::{Value, json};

use super::{Inner, Readiness};
use crate::metrics::Scrape;

/// Everything about a node.
pub(super) fn all(inner: &Inner, readiness: &Readiness) -> Value {
    let projection = inner.projection.get();
    let parts = inner.parts.get();
    let attestor = parts.and_then(|parts| parts.attestor.as_ref());
    json!({
        "ready": readiness.json(),
        "log": {
            "place": inner.log.place,
            "nats": inner.log.nats.as_ref().map(Nats::state),
            "server_restarts": inner.log.managed_restarts.as_ref().map(|count| count.load(Ordering::Relaxed)),
        },
        "projection": projection.map(Projection::status),
        "finality": projection.map(finality),
        "command": parts.and_then(|parts| parts.command.as_ref()).map(CommandService::status),
        "attestor": attestor.map(|attestor| attestor.status()),
    })
}

fn finality(projection: &Projection) -> Value {
    let attestations = projection.attestations();
    json!({
        "finalized": attestations.finalized(),
        "highest_attested": attestations.highest_attested(),
        "validators": attestations.validators(),
        "attestations": attestations.status(),
    })
}

/// The same in families.
pub(super) fn scrape(inner: &Inner, to: &Scrape) {
    to.is("chaoschain_build_info", "The program: always 1", &[("version", env!("CARGO_PKG_VERSION"))]);
    of_log(inner, to);
    if let Some(projection) = inner.projection.get() {
        of_projection(projection, &projection.status(), to);
    }
    if let Some(parts) = inner.parts.get() {
        for role in parts.roles.names() {
            to.gauge(&format!("chaoschain_role_{role}"), "Whether the node has this role: 1", 1);
        }
        if let Some(command) = &parts.command {
            of_command(&command.status(), to);
        }
        if let Some(status) = parts.attestor.as_deref().map(Attestor::status) {
            of_attestor(&status, to);
        }
    }
}

fn of_log(inner: &Inner, to: &Scrape) {
    if let Some(nats) = inner.log.nats.as_ref().map(Nats::state) {
        to.gauge(
            "chaoschain_log_connected",
            "Whether there is a connection to NATS: 1, else 0",
            nats.connected.into(),
        );
        to.count("chaoschain_log_reconnects_total", "Connections to NATS made anew", nats.reconnects);
        let help = "Messages of NATS dropped because they were not taken fast enough";
        to.count("chaoschain_log_slow_consumers_total", help, nats.slow_consumers);
        to.count("chaoschain_log_denials_total", "What NATS has said is not allowed", nats.denials);
    }
    if let Some(restarts) = &inner.log.managed_restarts {
        let help = "Starts of the managed nats-server after it had died";
        to.count("chaoschain_log_server_restarts_total", help, restarts.load(Ordering::Relaxed));
    }
}

fn of_projection(projection: &Projection, status: &ProjectionStatus, to: &Scrape) {
    let reachable = status.log_state == LogState::Reachable;
    to.gauge("chaoschain_log_reachable", "Whether the log can be read: 1, else 0", reachable.into());
    to.gauge("chaoschain_log_tip_sequence", "The last message of the log, as last seen", status.log_tip.0);
    let gauge =
        |name: &str, help: &str, value: u64| to.gauge(&format!("chaoschain_projection_{name}"), help, value);
    let count =
        |name: &str, help: &str, value: u64| to.count(&format!("chaoschain_projection_{name}"), help, value);
    gauge("height", "The newest height", status.height.0);
    gauge("stored_height", "The height that is durable in the store", status.stored_height.0);
    if let Some(height) = status.archive_height {
        gauge("archive_height", "The newest height in the block archive", height.0);
    }
    gauge("lag_blocks", "Messages of the log that were not looked at yet", status.lag_blocks);
    let help =
        "How long the oldest message that was not looked at yet has been known to be there; 0 without one";
    gauge("lag_seconds", help, status.lag_seconds);
    gauge("dirty_rows", "Rows that wait to be stored", status.dirty_rows as u64);
    gauge("records", "Records in the state", status.records);
    count("commits_total", "Commits of the store", status.commits);
    count("rows_written_total", "Rows written to the store", status.rows_written);
    count("events_folded_total", "Events folded", status.events_folded);
    to.counts(
        "chaoschain_projection_skipped_total",
        "Messages of the log that are no history, by class",
        "class",
        status.skipped.iter().map(|(class, count)| (*class, *count)),
    );
    let degraded = matches!(status.condition, Condition::Degraded { .. });
    gauge("degraded", "Whether it has stopped at its last good height: 1, else 0", degraded.into());
    let attestations = projection.attestations();
    if let Some(point) = attestations.finalized() {
        gauge("finalized_height", "The newest final height", point.height.0);
    }
    let attested = attestations.highest_attested().0;
    gauge("highest_attested_height", "What more than a third of the weight attests", attested);
    let status = attestations.status();
    count("attestations_total", "Attestations that were news", status.heard);
    to.counts(
        "chaoschain_projection_attestations_refused_total",
        "Attestations that count for nothing, by code",
        "code",
        status.refused.iter().map(|(code, count)| (*code, *count)),
    );
    gauge("equivocators", "Validators that have signed two hashes at one height", status.equivocators);
}

fn of_command(status: &CommandStatus, to: &Scrape) {
    let gauge =
        |name: &str, help: &str, value: u64| to.gauge(&format!("chaoschain_command_{name}"), help, value);
    let count =
        |name: &str, help: &str, value: u64| to.count(&format!("chaoschain_command_{name}"), help, value);
    count("submitted_total", "Submissions that came in, duplicates included", status.submitted);
    count("accepted_total", "Transitions that got a receipt", status.accepted);
    to.counts(
        "chaoschain_command_refused_total",
        "Transitions that got no receipt, by code",
        "code",
        status.refused.iter().map(|(code, count)| (code.as_str(), *count)),
    );
    count("duplicates_total", "Submissions of bytes that were under way already", status.duplicates);
    gauge("queued", "Submissions that wait for their signatures to be checked", status.queued as u64);
    gauge("pending", "Transitions that are checked and not answered", status.pending as u64);
    gauge("blocks_in_flight", "Blocks on their way to the log", status.in_flight);
    count("blocks_total", "Blocks sealed and acknowledged", status.blocks);
    let help = "Empty blocks sealed to bring block time up to the clock for events";
    count("catch_up_blocks_total", help, status.catch_up_blocks);
    count("heartbeats_total", "Empty blocks sealed because something was due", status.heartbeats);
    let seconds = |micros: u64| micros / 1_000_000;
    let help = "How far the newest block's time lies behind the clock; it grows while nothing happens";
    gauge("block_time_lag_seconds", help, seconds(status.block_time_lag_us));
    let help = "For how long the first thing that is due has been due; 0 while nothing is";
    gauge("due_lag_seconds", help, seconds(status.due_lag_us));
    count("tip_lost_total", "How often other producers were quicker", status.tip_lost);
    gauge(
        "stalled",
        "Whether the log takes no blocks at the moment: 1, else 0",
        status.stalled.is_some().into(),
    );
}

fn of_attestor(status: &AttestorStatus, to: &Scrape) {
    let gauge =
        |name: &str, help: &str, value: u64| to.gauge(&format!("chaoschain_attestor_{name}"), help, value);
    let count =
        |name: &str, help: &str, value: u64| to.count(&format!("chaoschain_attestor_{name}"), help, value);
    gauge("signed_height", "The height that was signed last", status.signed.map_or(0, |height| height.0));
    gauge(
        "published_height",
        "The height that was published last",
        status.published.map_or(0, |height| height.0),
    );
    count("publications_total", "Attestations published", status.publications);
    count("failures_total", "Publications that failed and were tried again", status.failures);
    gauge(
        "blocked",
        "Whether something keeps it from attesting: 1, else 0",
        status.obstacle.is_some().into(),
    );
}
