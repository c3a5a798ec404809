//! A chain's log and projection, opened together and closed in order.

use std::path::Path;
use std::sync::Arc;

use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog as _};
use chaoschain_projector::{Condition, Projection, ProjectionOptions};
use chaoschain_schemas::{ChainId, Sequence};
use tokio::runtime::Runtime;

use crate::App;
use crate::error::{CliError, Exit, Outcome};
use crate::progress::Progress;

/// A log and what is folded from it.
pub(crate) struct Node {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) projection: Projection,
}

/// Where a node's parts are and how they are opened.
pub(crate) struct Place<'a> {
    pub(crate) log: &'a Path,
    pub(crate) state: &'a Path,
    /// The chain it must be; `None` takes what the log holds.
    pub(crate) chain: Option<ChainId>,
    pub(crate) fold_batch: usize,
}

impl Node {
    /// Opens log and state. What is stored is checked; nothing is followed yet.
    pub(crate) async fn open(app: &App, place: Place<'_>) -> Outcome<Self> {
        let log = open_log(place.log)?;
        Self::open_on(app, log, place).await
    }

    /// [`Node::open`] on a log that is open already.
    pub(crate) async fn open_on(app: &App, log: Arc<EmbeddedLog>, place: Place<'_>) -> Outcome<Self> {
        let options = ProjectionOptions {
            chain: place.chain,
            fold_batch: place.fold_batch,
            ..ProjectionOptions::new(place.state)
        };
        let progress = Progress::start("checking stored rows", 0);
        let models = (app.models)();
        let tell = |rows| progress.at(rows);
        let projection =
            Projection::open(options, Arc::clone(&app.machine), log.clone(), models, &tell).await?;
        Ok(Self { log, projection })
    }

    /// Follows the log, and answers when everything that is in it now is folded.
    ///
    /// # Errors
    /// The reason why the projection has stopped before.
    pub(crate) async fn catch_up(&self) -> Outcome {
        let tip = self.log.tip().await?;
        self.projection.start().map_err(|error| threads_unavailable(&error))?;
        self.wait_for(tip).await
    }

    /// Waits until every message up to `tip` was looked at.
    pub(crate) async fn wait_for(&self, tip: Sequence) -> Outcome {
        let progress = Progress::start("folding the log", tip.0);
        let mut heads = self.projection.subscribe();
        let reached = self.projection.wait_cursor(tip);
        tokio::pin!(reached);
        loop {
            tokio::select! {
                outcome = &mut reached => return outcome.map_err(|condition| stopped(&condition)),
                changed = heads.changed() => {
                    if changed.is_ok() {
                        progress.at(self.projection.cursor().0);
                    }
                }
            }
        }
    }

    /// Stores what was folded, and lets go of everything.
    pub(crate) async fn close(self) {
        let projection = self.projection;
        if tokio::task::spawn_blocking(move || projection.close()).await.is_err() {
            tracing::error!("the projection could not be closed in order");
        }
        self.log.close().await;
    }
}

/// Opens the embedded log in `dir`, which has to be there.
pub(crate) fn open_log(dir: &Path) -> Outcome<Arc<EmbeddedLog>> {
    if !dir.is_dir() {
        let message = format!("{} is not the directory of a log", dir.display());
        return Err(CliError::usage("log_missing", message));
    }
    Ok(Arc::new(EmbeddedLog::open(dir, EmbeddedOptions::default())?))
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
