//! `log`: looks at a chain's log, and puts lost blocks back into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_projector::restore::{BlockSource, RestoreError, RestorePlan, apply, plan, survey};
use chaoschain_projector::{Store, StoreError, write_fork};
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::command::up::{stop_signal, stopped};
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::{LogChoice, LogHome, open_any_log};
use crate::node::runtime;
use crate::output::human;
use crate::progress::Progress;

/// Look at a chain's log, or put lost blocks back into it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain log status --dir demo
  chaoschain log restore --dir demo            # says what it would do
  chaoschain log restore --dir demo --apply")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Status(StatusArgs),
    Restore(RestoreArgs),
}

/// Say where the log is, from where to where it goes, and what its newest block is
#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Put blocks that the log has lost back into it, from a node that has them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain log restore --dir demo
  chaoschain log restore --dir demo --apply
  chaoschain log restore --dir demo --from /backup/other-node --apply

The node whose blocks are read must be stopped, and so should every command service of the chain.
Without --apply nothing is changed: what would be put back is printed. Every block is verified first.
A log that has other blocks of this chain, or more of them, is refused. A log that is gone is made
again. It may be interrupted and run again; nothing is put back twice. Start the nodes afterwards:
each finds its place by the hash of its newest block.")]
struct RestoreArgs {
    /// The data directory of a node of the chain; its log is the one that is restored
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The data directory whose blocks are put back [default: the same]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Do it
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let (dir, log) = match &args.what {
        What::Status(args) => (&args.dir, &args.log),
        What::Restore(args) => (&args.dir, &args.log),
    };
    let config = run.configure(Flags { dir: dir.clone(), log: log.clone(), ..Flags::default() }, "warn")?;
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    let shown = runtime()?.block_on(async {
        match &args.what {
            What::Status(_) => status(&config, &dir, &chain).await,
            What::Restore(args) => restore(&config, &dir, &chain, args).await,
        }
    })?;
    run.output.print(&shown, || human(&shown));
    Ok(())
}

async fn status(config: &Config, dir: &DataDir, chain: &Chain) -> Outcome<Json> {
    let home = open_any_log(config, dir, chain, false).await?;
    let found = survey(&*home.log, Some(chain.id)).await;
    home.close().await;
    Ok(serde_json::to_value(found?).unwrap_or_default())
}

async fn restore(config: &Config, dir: &DataDir, chain: &Chain, args: &RestoreArgs) -> Outcome<Json> {
    let stop = stop_signal()?;
    let source = open_source(args.from.as_deref().unwrap_or(dir.root()), dir, config).await?;
    if source.chain() != chain.id {
        let message =
            format!("the blocks are of chain {}, {} is chain {}", source.chain(), chain.name, chain.id);
        return Err(CliError::new(Exit::Refused, "chain_wrong", message));
    }
    let target = Target::open(config, dir, chain, args.apply).await?;
    if let (Target::There(home), true) = (&target, args.apply) {
        // Where the log was lost, what validators publish on was lost with it; nodes do not start without.
        home.board(config, dir, chain.id, true).await?.close().await;
    }
    let outcome = tokio::select! {
        outcome = put_back(&source, &target, dir, args.apply) => outcome,
        () = stopped(stop) => {
            Err(CliError::new(Exit::Interrupted, "interrupted", "stopped; what was put back stays")
                .hint("the same command goes on from there"))
        }
    };
    target.close().await;
    outcome
}

async fn put_back(source: &BlockSource, target: &Target, dir: &DataDir, doing: bool) -> Outcome<Json> {
    let progress = Progress::start("comparing", 0);
    let planned = plan(source, target.log(), &|done| progress.at(done)).await;
    drop(progress);
    let mut planned = planned.map_err(|error| differing(error, dir))?;
    if let Target::Gone { .. } = target {
        planned.log = "gone: it would be made again".into();
    }
    if doing && planned.blocks > 0 {
        let progress = Progress::start("putting blocks back", planned.blocks);
        apply(source, target.log(), &planned, &|done| progress.at(done)).await?;
    }
    Ok(shown(&planned, doing))
}

fn shown(planned: &RestorePlan, done: bool) -> Json {
    let next = match (planned.blocks, done) {
        (0, _) => "the log has every block of this node: nothing is to be put back",
        (_, false) => "nothing was changed: run it again with --apply to put these blocks back",
        (_, true) => "put back; start the nodes again",
    };
    let mut shown = serde_json::to_value(planned).unwrap_or_default();
    shown["applied"] = json!(done && planned.blocks > 0);
    shown["next"] = next.into();
    shown
}

/// Two histories are worth a proof.
fn differing(error: RestoreError, dir: &DataDir) -> CliError {
    let proof = match &error {
        RestoreError::Differs { height, headers, .. } => {
            let (ours, theirs) = &**headers;
            write_fork(&dir.state(), *height, ours.clone(), theirs.clone())
        }
        _ => None,
    };
    let error = CliError::from(error);
    match proof {
        Some(path) => {
            error.hint(format!("{} proves it: `chaoschain verify proof` checks it", path.display()))
        }
        None => error,
    }
}

/// The blocks in a node's directory: its archive, or else its embedded log.
async fn open_source(from: &Path, target: &DataDir, config: &Config) -> Outcome<BlockSource> {
    let from = DataDir::at(from);
    from.check_state_in_place()?;
    let store = match Store::open(&from.state()) {
        Ok(store) => Some(Arc::new(store)),
        Err(error @ StoreError::Locked(_)) => return Err(error.into()),
        Err(error) => {
            tracing::warn!(code = error.code(), %error, "the state cannot be used: going by the blocks alone");
            None
        }
    };
    let open = |dir: PathBuf| -> Outcome<Arc<dyn EventLog>> {
        Ok(Arc::new(EmbeddedLog::open(dir, EmbeddedOptions::default())?))
    };
    if from.blocks().is_dir() {
        return Ok(BlockSource::archive(open(from.blocks())?, store).await?);
    }
    let is_target =
        from.root() == target.root() && LogChoice::of(config, &from.chain()?.log)? == LogChoice::Embedded;
    if let (true, false, Some(store)) = (from.log().is_dir(), is_target, store) {
        return Ok(BlockSource::log(open(from.log())?, store).await?);
    }
    let message = format!("{} has no blocks besides the log itself", from.root().display());
    Err(CliError::new(Exit::Refused, "restore_empty", message)
        .hint("name the directory of a node that has them with --from DIR"))
}

/// The log that is restored.
enum Target {
    /// It is there.
    There(LogHome),
    /// It is gone, and is only planned for; an empty one stands for it.
    Gone { log: EmbeddedLog, _place: tempfile::TempDir },
}

impl Target {
    async fn open(config: &Config, dir: &DataDir, chain: &Chain, create: bool) -> Outcome<Self> {
        match open_any_log(config, dir, chain, create).await {
            Err(error) if !create && matches!(&*error.code, "stream_missing" | "log_missing") => {
                let place = tempfile::tempdir()
                    .map_err(|error| CliError::file("make a directory in", &std::env::temp_dir(), &error))?;
                let log = EmbeddedLog::open(place.path(), EmbeddedOptions::default())?;
                Ok(Self::Gone { log, _place: place })
            }
            home => Ok(Self::There(home?)),
        }
    }

    fn log(&self) -> &dyn EventLog {
        match self {
            Self::There(home) => &*home.log,
            Self::Gone { log, .. } => log,
        }
    }

    async fn close(self) {
        match self {
            Self::There(home) => home.close().await,
            Self::Gone { log, .. } => log.close().await,
        }
    }
}
