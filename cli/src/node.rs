//! A chain's log and projection, opened together and closed in order.

use std::path::Path;
use std::sync::Arc;

use chaoschain_events::log::EventLog;
use chaoschain_projector::{Condition, Projection, ProjectionOptions};
use chaoschain_schemas::{ChainId, Hash, Height, Sequence};
use tokio::runtime::Runtime;

use crate::App;
use crate::config::Config;
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::{LogChoice, LogHome, open_any_log};
use crate::progress::Progress;

/// A log and what is folded from it.
pub(crate) struct Node {
    /// The log, as the projection sees it.
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) projection: Projection,
    pub(crate) home: LogHome,
}

/// Where a projection is and how it is opened.
pub(crate) struct Place<'a> {
    pub(crate) state: &'a Path,
    /// The chain it must be; `None` takes what the log holds.
    pub(crate) chain: Option<ChainId>,
    pub(crate) fold_batch: usize,
}

impl Node {
    /// Opens log and state of a directory. What is stored is checked; nothing is followed yet.
    pub(crate) async fn open(app: &App, config: &Config, dir: &DataDir, chain: &Chain) -> Outcome<Self> {
        dir.check_state_in_place()?;
        let home = open_any_log(config, dir, chain, false).await?;
        Self::open_dir(app, config, home, dir, chain).await
    }

    /// [`Node::open`] on a log that is open already.
    pub(crate) async fn open_dir(
        app: &App,
        config: &Config,
        home: LogHome,
        dir: &DataDir,
        chain: &Chain,
    ) -> Outcome<Self> {
        if let Err(error) = dir.check_state_in_place() {
            home.close().await;
            return Err(error);
        }
        Self::open_at(app, config, home, dir, chain, &dir.state()).await
    }

    /// [`Node::open_dir`] with its state elsewhere.
    pub(crate) async fn open_at(
        app: &App,
        config: &Config,
        home: LogHome,
        dir: &DataDir,
        chain: &Chain,
        state: &Path,
    ) -> Outcome<Self> {
        let mut options = ProjectionOptions::new(state);
        (options.chain, options.fold_batch) = (Some(chain.id), config.fold_batch);
        // A managed server keeps its files on this machine, as the embedded log does.
        options.archive = LogChoice::of(config, &chain.log)?.servers().map(|_| dir.blocks());
        match Self::open_with(app, home, options).await {
            // Nobody has emptied a log in order where a chain is written beside it.
            Err(error) if error.code == "log_empty" => {
                let message = format!("the log of chain {} is empty: it has lost everything", chain.name);
                Err(CliError::new(Exit::Corrupt, "log_empty", message).hint(
                    "restore it from a backup, or with `chaoschain log restore` from a node that has the blocks",
                ))
            }
            opened => opened,
        }
    }

    /// Opens a projection for itself, such as a replay's.
    pub(crate) async fn open_on(app: &App, home: LogHome, place: Place<'_>) -> Outcome<Self> {
        let mut options = ProjectionOptions::new(place.state);
        (options.chain, options.fold_batch) = (place.chain, place.fold_batch);
        Self::open_with(app, home, options).await
    }

    async fn open_with(app: &App, home: LogHome, options: ProjectionOptions) -> Outcome<Self> {
        let log = Arc::clone(&home.log);
        match open_projection(app, Arc::clone(&log), options).await {
            Ok(projection) => Ok(Self { log, projection, home }),
            Err(error) => {
                home.close().await;
                Err(error)
            }
        }
    }

    /// Follows the log, and answers when everything that is in it now is folded.
    ///
    /// # Errors
    /// The reason why the projection has stopped before.
    pub(crate) async fn catch_up(&self) -> Outcome {
        wait_for(&self.projection, self.log.tip().await?).await
    }

    /// Stores what was folded, and lets go of everything.
    pub(crate) async fn close(self) {
        let projection = self.projection;
        if tokio::task::spawn_blocking(move || projection.close()).await.is_err() {
            tracing::error!("the projection could not be closed in order");
        }
        self.home.close().await;
    }
}

/// Opens a projection on an open log; the log stays the caller's.
pub(crate) async fn open_projection(
    app: &App,
    log: Arc<dyn EventLog>,
    options: ProjectionOptions,
) -> Outcome<Projection> {
    let progress = Progress::start("checking stored rows", 0);
    let models = (app.models)();
    let tell = |rows| progress.at(rows);
    Ok(Projection::open(options, Arc::clone(&app.machine), log, models, &tell).await?)
}

/// Follows the log, and answers when every message up to `tip` was looked at.
///
/// # Errors
/// The reason why the projection has stopped before.
pub(crate) async fn wait_for(projection: &Projection, tip: Sequence) -> Outcome {
    projection.start().map_err(|error| threads_unavailable(&error))?;
    let progress = Progress::start("folding the log", tip.0);
    let mut heads = projection.subscribe();
    let reached = projection.wait_cursor(tip);
    tokio::pin!(reached);
    loop {
        tokio::select! {
            outcome = &mut reached => return outcome.map_err(|condition| stopped(&condition)),
            changed = heads.changed() => {
                if changed.is_ok() {
                    progress.at(projection.cursor().0);
                }
            }
        }
    }
}

const LOG_BEHIND: &str = "do not go on with this log: `chaoschain log status` says what it has, `chaoschain log restore` on a \
                          node that has the blocks what it would put back";

/// A log that ends before the message of the newest block that is stored.
pub(crate) fn log_is_behind(tip: Sequence, stored: Sequence) -> CliError {
    let message = format!(
        "the log ends at message {tip}, the newest stored block is message {stored}: it has lost blocks"
    );
    CliError::new(Exit::Corrupt, "log_behind", message).hint(LOG_BEHIND)
}

/// A log that does not give the block at `height` that is stored, of which it gives `got` or nothing before its `end`.
pub(crate) fn not_replayed(got: Option<Hash>, end: Height, height: Height, stored: Hash) -> CliError {
    let Some(got) = got else {
        let message = format!(
            "the log ends at height {end} of this chain, stored is height {height}: it has lost blocks"
        );
        return CliError::new(Exit::Corrupt, "log_behind", message).hint(LOG_BEHIND);
    };
    let message =
        format!("the log gives block {got} at height {height}, stored is {stored}: these are two histories");
    CliError::new(Exit::Corrupt, "replay_differs", message).hint(
        "keep both, and find out which of the two is the chain before anything is thrown away: what validators attest \
         (`chaoschain get finality` at another node), and what this log is (`chaoschain log status`)",
    )
}

/// A projection that has stopped, as an error.
pub(crate) fn stopped(condition: &Condition) -> CliError {
    match condition {
        Condition::Following => {
            CliError::new(Exit::Unavailable, "projection_closed", "the projection was closed meanwhile")
        }
        Condition::Degraded { code, message, evidence } => {
            let error = CliError::new(Exit::Corrupt, code.clone(), message.clone());
            match evidence {
                Some(path) => error.hint(format!("what proves it is in {}", path.display())),
                None => error,
            }
        }
    }
}

/// The runtime of a command.
pub(crate) fn runtime() -> Outcome<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| threads_unavailable(&error))
}

fn threads_unavailable(error: &std::io::Error) -> CliError {
    CliError::new(Exit::Unavailable, "thread_unavailable", format!("threads cannot be started: {error}"))
}
