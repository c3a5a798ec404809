//! `up`: runs a node with the roles command and query.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use chaoschain_command::CommandService;
use chaoschain_projector::{Condition, Producer, Projection};
use chaoschain_query::Query;
use chaoschain_schemas::api::ErrorBody;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal;
use tokio::sync::watch;
use tower_http::trace::{DefaultOnFailure, TraceLayer};
use tracing::Level;

use crate::App;
use crate::args::Run;
use crate::config::{Config, Flags};
use crate::datadir::{Chain, DataDir, write_private};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile;
use crate::node::{Node, Place, runtime};

/// Run a node: takes transitions in, seals blocks, answers reads with proofs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain up --dir demo
  chaoschain up --dir demo --listen 127.0.0.1:0 --ready-file demo.ready

When it serves, its address is printed (one JSON line with --json) and written to the ready file.
SIGINT and SIGTERM stop it in order: requests under way are answered, everything folded is stored.
The producer's passphrase, if it has one, is asked for or taken from CHAOSCHAIN_PASSPHRASE.")]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// A file to write when the node serves: one JSON line with address, chain and pid
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { dir: args.dir.clone(), listen: args.listen.clone(), ..Flags::default() };
    let config = run.configure(flags, "info")?;
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    let signer = keyfile::load(&dir.producer_key())?;
    let producer = Producer { account: signer.account, key: Arc::new(signer.key) };
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve(run, args, &config, &dir, &chain, producer));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    run: &Run<'_>,
    args: &Args,
    config: &Config,
    dir: &DataDir,
    chain: &Chain,
    producer: Producer,
) -> Outcome {
    let stop = stop_signal()?;
    let (log, state) = (dir.log(), dir.state());
    let place = Place { log: &log, state: &state, chain: Some(chain.id), fold_batch: config.fold_batch };
    let node = Node::open(run.app, place).await?;
    let listener = listen(&config.listen).await?;
    let address = listener.local_addr().map_err(|error| not_listening(&config.listen, &error))?;
    let caught_up = tokio::select! {
        outcome = node.catch_up() => outcome,
        () = stopped(stop.clone()) => {
            node.close().await;
            return Ok(());
        }
    };
    if let Err(error) = caught_up {
        // It still serves its last good height; the reason is in the log and in /readyz.
        tracing::error!("{error}");
    }
    let service = CommandService::start(node.projection.clone(), producer, config.command_options())
        .map_err(|error| CliError::new(Exit::Unavailable, "command_not_started", error.to_string()))?;
    let router = router(run.app, &node.projection, &service);
    announce(run, args, chain, address, &node.projection)?;
    let served = drive(listener, router, stop, Duration::from_millis(config.drain_ms)).await;
    tracing::info!("stopping");
    service.shut_down().await;
    drop(service);
    node.close().await;
    if let Some(file) = &args.ready_file {
        // Who reads it after this must not take the node for running.
        drop(std::fs::remove_file(file));
    }
    served
}

/// Serves until it is to stop; then requests under way have so long to finish.
async fn drive(
    listener: TcpListener,
    router: Router,
    stop: watch::Receiver<bool>,
    drain: Duration,
) -> Outcome {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped(stop.clone()));
    let overdue = async {
        stopped(stop).await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = serving => served.map_err(|error| {
            CliError::new(Exit::Unavailable, "serving_failed", format!("the server failed: {error}"))
        }),
        () = overdue => {
            tracing::warn!("some requests were cut off, they took longer than drain_ms");
            Ok(())
        }
    }
}

/// Everything a node answers over HTTP.
fn router(app: &App, projection: &Projection, service: &CommandService) -> Router {
    let description = openapi(app);
    let (ready_of, status_of) = (projection.clone(), service.clone());
    Router::new()
        .merge(chaoschain_command::http::router(service.clone()))
        .merge(chaoschain_query::http::router(Query::new(projection.clone())))
        .route("/openapi.json", get(move || async move { Json(description) }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { ready(&ready_of) }))
        .route("/v1/node/command", get(move || async move { Json(json!(status_of.status())) }))
        .fallback(|| async {
            let text = "there is nothing at this path: see /openapi.json";
            refusal(StatusCode::NOT_FOUND, "path_unknown", text.to_owned())
        })
        .method_not_allowed_fallback(|| async {
            let text = "this path does not take that method: see /openapi.json";
            refusal(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text.to_owned())
        })
        // Refusals are answers; what is wrong with the node itself is logged where it is found.
        .layer(TraceLayer::new_for_http().on_failure(DefaultOnFailure::new().level(Level::DEBUG)))
}

fn refusal(status: StatusCode, code: &str, message: String) -> axum::response::Response {
    let body = ErrorBody { code: code.to_owned(), message, retry_after_ms: None };
    (status, Json(body)).into_response()
}

fn ready(projection: &Projection) -> axum::response::Response {
    match projection.condition() {
        Condition::Following => Json(json!({ "height": projection.head().height() })).into_response(),
        Condition::Degraded { code, message, .. } => refusal(StatusCode::SERVICE_UNAVAILABLE, &code, message),
    }
}

/// The descriptions of both roles and of what is only here, in one.
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
    whole["paths"]["/readyz"] = text("Whether it follows its log; 503 with the reason when it does not");
    whole["paths"]["/v1/node/command"] = text("Figures of this node's command service");
    whole
}

fn announce(
    run: &Run<'_>,
    args: &Args,
    chain: &Chain,
    address: SocketAddr,
    projection: &Projection,
) -> Outcome {
    let head = projection.head();
    let ready = json!({
        "address": format!("http://{address}"),
        "chain": chain.id,
        "name": chain.name,
        "height": head.height(),
        "state_root": head.header.state_root,
        "pid": std::process::id(),
    });
    if let Some(file) = &args.ready_file {
        write_private(file, format!("{ready}\n").as_bytes())?;
    }
    run.output.print(&ready, || {
        let (height, root) = (head.height(), head.header.state_root);
        format!("listening on http://{address}, chain {} at height {height}, root {root}", chain.name)
    });
    Ok(())
}

async fn listen(address: &str) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| not_listening(address, &error))
}

fn not_listening(address: &str, error: &std::io::Error) -> CliError {
    let exit = if error.kind() == std::io::ErrorKind::InvalidInput { Exit::Usage } else { Exit::Unavailable };
    CliError::new(exit, "address_unavailable", format!("cannot listen on {address:?}: {error}"))
        .hint("give another with --listen ADDRESS:PORT; port 0 takes a free one")
}

/// Becomes true with the first signal to stop.
pub(crate) fn stop_signal() -> Outcome<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let wait = stop_asked().map_err(|error| {
        CliError::new(
            Exit::Unavailable,
            "signals_unavailable",
            format!("signals cannot be waited for: {error}"),
        )
    })?;
    tokio::spawn(async move {
        wait.await;
        sender.send_replace(true);
        // Kept, so that the receivers do not see it closed.
        sender.closed().await;
    });
    Ok(receiver)
}

#[cfg(unix)]
fn stop_asked() -> std::io::Result<impl Future<Output = ()>> {
    use signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_asked() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        drop(signal::ctrl_c().await);
    })
}

/// Resolves when it is to stop.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}
