//! `up`: runs a node with the roles its keys allow, or those it is told.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chaoschain_command::{CommandOptions, CommandService, StartError};
use chaoschain_events::attest::Board;
use chaoschain_events::micro::{ServeError, ServeOptions, Served};
use chaoschain_projector::{AttestError, Attestor, AttestorOptions, Projection, create_private_dir};
use chaoschain_query::Query;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::args::Run;
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir, write_private};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::{LogHome, open_any_log};
use crate::metered::Metered;
use crate::metrics::Metrics;
use crate::node::{Node, runtime};
use crate::roles::{Keys, Roles, Wanted};
use crate::routes::{LogOf, NodeView, Parts};
use crate::server::{self, ServerOptions};

/// Run a node: takes transitions in, seals blocks, answers reads with proofs, attests
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain up --dir demo
  chaoschain up --dir demo --listen 127.0.0.1:0 --ready-file demo.ready
  chaoschain up --dir replica --role query
  chaoschain up --dir two --role command,validator --log nats://a:4222,nats://b:4222

Without --role it does all that the keys in the directory allow: `command` with keys/producer.key, `validator` with
keys/validator.key or a producer's key that has weight, `query` always. /livez, /readyz, /metrics, /v1/node and
/openapi.json are served in every role; with the log on NATS, command and query are NATS micro services too.

When it serves, its address is printed (one JSON line with --json) and written to the ready file.
SIGINT and SIGTERM stop it in order: requests under way are answered, everything folded is stored.
The passphrase of a key, if it has one, is asked for or taken from CHAOSCHAIN_PASSPHRASE.")]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// What the node does: command, query, validator; may be repeated [default: all that its keys allow]
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
    /// A file to write when the node serves: one JSON line with address, chain, roles and pid
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags {
        dir: args.dir.clone(),
        listen: args.listen.clone(),
        role: (!args.role.is_empty()).then(|| args.role.join(",")),
        log: args.log.clone(),
        ..Flags::default()
    };
    let config = run.configure(flags, "info")?;
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    let keys = Keys::load(&dir, Wanted::of(&config.role)?)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve(run, args, &config, &dir, &chain, keys));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    run: &Run<'_>,
    args: &Args,
    config: &Config,
    dir: &DataDir,
    chain: &Chain,
    keys: Keys,
) -> Outcome {
    let stop = stop_signal()?;
    let mut home = open_any_log(config, dir, chain, false).await?;
    let metrics = Metrics::new();
    home.log = Arc::new(Metered::new(Arc::clone(&home.log), metrics.log.clone()));
    let listener = match listen(&config.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            home.close().await;
            return Err(error);
        }
    };
    let front = Front::start(run, config, listener, &home, metrics.clone())?;
    // Opening checks every row and is not broken off; it is followed by the first look at the signal.
    let node = match Node::open_dir(run.app, config, home, dir, chain).await {
        Ok(node) => node,
        Err(error) => {
            front.stop().await;
            return Err(error);
        }
    };
    front.view.opened(&node.projection);
    let mut running = Running::default();
    let outcome = tokio::select! {
        outcome = async {
            running.start(config, dir, chain, keys, &node, &front, metrics.observer()).await?;
            announce(run, args, chain, &front, &node.projection, &running)
        } => outcome,
        () = stopped(stop.clone()) => Ok(()),
    };
    if outcome.is_ok() {
        stopped(stop).await;
        tracing::info!("stopping");
    }
    front.stop().await;
    running.stop(Duration::from_millis(config.drain_ms)).await;
    node.close().await;
    if let Some(file) = &args.ready_file {
        // Who reads it after this must not take the node for running.
        drop(std::fs::remove_file(file));
    }
    outcome
}

/// The HTTP server and what it shows.
struct Front {
    address: SocketAddr,
    view: NodeView,
    routes: watch::Sender<Router>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Front {
    /// Listens, and says of itself that the node is starting.
    fn start(
        run: &Run<'_>,
        config: &Config,
        listener: TcpListener,
        home: &LogHome,
        metrics: Metrics,
    ) -> Outcome<Self> {
        let address = listener.local_addr().map_err(|error| not_listening(&config.listen, &error))?;
        let options = ServerOptions {
            connections_max: server::connections_max(),
            drain: Duration::from_millis(config.drain_ms),
            connections: metrics.connections.clone(),
            turned_away: metrics.turned_away.clone(),
        };
        let log = LogOf {
            place: home.log.description(),
            nats: home.nats.clone(),
            managed_restarts: home.managed_restarts(),
        };
        let view = NodeView::new(run.app, metrics, log);
        let (routes, shown) = watch::channel(view.starting());
        let (stop, stopping) = watch::channel(false);
        let server = tokio::spawn(server::serve(listener, shown, stopping, options));
        Ok(Self { address, view, routes, stop, server })
    }

    /// Accepts nothing more, and waits until requests under way are answered or the drain ends.
    async fn stop(self) {
        self.stop.send_replace(true);
        if self.server.await.is_err() {
            tracing::error!("the HTTP server has panicked");
        }
    }
}

/// The roles of a node, at work.
#[derive(Default)]
struct Running {
    roles: Option<Roles>,
    board: Option<Arc<dyn Board>>,
    command: Option<CommandService>,
    attestor: Option<Arc<Attestor>>,
    services: Vec<Served>,
}

impl Running {
    /// Catches up with the log, then starts what the node is to do. What was started before an error is for
    /// [`Running::stop`] to stop.
    #[expect(clippy::too_many_arguments, reason = "everything of a node comes together here, once")]
    async fn start(
        &mut self,
        config: &Config,
        dir: &DataDir,
        chain: &Chain,
        keys: Keys,
        node: &Node,
        front: &Front,
        observer: chaoschain_command::Observer,
    ) -> Outcome {
        let projection = &node.projection;
        if let Err(error) = node.catch_up().await {
            // It still serves its last good height; the reason is in the log and in /readyz.
            tracing::error!("{error}");
        }
        let roles = keys.roles(&projection.head())?;
        tracing::info!("roles: {}", roles.names().join(", "));
        self.board = match node.home.board(config, dir, chain.id, roles.command.is_some()).await {
            Ok(board) => Some(board),
            // Who only reads can do without. A producer has to know what validators have attested.
            Err(error) if roles.validator.is_none() && roles.command.is_none() => {
                tracing::warn!("finality is not known here: {error}");
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(board) = &self.board {
            projection.follow_board(Arc::clone(board));
        }
        if let (Some(validator), Some(board)) = (&roles.validator, &self.board) {
            let place = dir.validator();
            create_private_dir(&place).map_err(|error| CliError::file("make", &place, &error))?;
            let mut options = AttestorOptions::new(place);
            options.interval = Duration::from_millis(config.attest_ms);
            let attestor = Attestor::start(projection.clone(), Arc::clone(board), validator.clone(), options);
            self.attestor = Some(Arc::new(attestor.map_err(|error| not_attesting(&error))?));
        }
        if let Some(producer) = &roles.command {
            let options = CommandOptions { observer, ..config.command_options() };
            let service = CommandService::start(projection.clone(), producer.clone(), options);
            self.command = Some(service.map_err(|error| not_sealing(&error))?);
        }
        if let Some(nats) = &node.home.nats {
            let options = ServeOptions::default();
            if let Some(service) = &self.command {
                let served = chaoschain_command::nats::serve(service.clone(), nats, chain.id, &options).await;
                self.services.push(served.map_err(|error| not_serving(&error))?);
            }
            if roles.query {
                let query = Query::new(projection.clone());
                let served = chaoschain_query::nats::serve(query, nats, chain.id, &options).await;
                self.services.push(served.map_err(|error| not_serving(&error))?);
            }
        }
        let (command, attestor) = (self.command.clone(), self.attestor.clone());
        let parts = Parts { roles: roles.clone(), command, attestor };
        drop(front.routes.send_replace(front.view.serving(projection, parts)));
        front.view.caught_up();
        self.roles = Some(roles);
        Ok(())
    }

    /// Stops in the order in which answers depend on each other.
    async fn stop(self, drain: Duration) {
        for service in self.services {
            service.shut_down(drain).await;
        }
        if let Some(service) = &self.command {
            service.shut_down().await;
        }
        if let Some(attestor) = &self.attestor {
            attestor.shut_down().await;
        }
        if let Some(board) = &self.board {
            board.close().await;
        }
    }
}

fn not_serving(error: &ServeError) -> CliError {
    CliError::new(Exit::Unavailable, error.code(), error.to_string()).hint(
        "may this user subscribe to the subjects of its role? `chaoschain config nats` prints what it needs",
    )
}

fn not_sealing(error: &StartError) -> CliError {
    let told = CliError::new(Exit::Unavailable, "command_not_started", error.to_string());
    match error {
        StartError::LogMessagesTooShort { .. } => told
            .hint("on NATS that is the server's max_payload, 1 MB by default, and the stream's max_msg_size"),
        _ => told,
    }
}

fn not_attesting(error: &AttestError) -> CliError {
    CliError::new(Exit::Unavailable, error.code(), error.to_string())
        .hint("the file must stay with this validator: without it it could sign two blocks of one height")
}

fn announce(
    run: &Run<'_>,
    args: &Args,
    chain: &Chain,
    front: &Front,
    projection: &Projection,
    running: &Running,
) -> Outcome {
    let head = projection.head();
    let roles = running.roles.as_ref().map(Roles::names).unwrap_or_default();
    let address = front.address;
    let ready = json!({
        "address": format!("http://{address}"),
        "chain": chain.id,
        "name": chain.name,
        "roles": roles,
        "height": head.height(),
        "state_root": head.header.state_root,
        "pid": std::process::id(),
    });
    if let Some(file) = &args.ready_file {
        write_private(file, format!("{ready}\n").as_bytes())?;
    }
    run.output.print(&ready, || {
        let (height, root, roles) = (head.height(), head.header.state_root, roles.join(", "));
        format!(
            "listening on http://{address} as {roles}; chain {} at height {height}, root {root}",
            chain.name
        )
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
