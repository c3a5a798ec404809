//! `replay`: rebuilds the state from the log.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::args::Run;
use crate::command::up::{stop_signal, stopped};
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::DataDir;
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::{open_any_log, open_bare_log};
use crate::node::{Node, Place, runtime};
use crate::output::human;
use crate::progress::per_second;

/// Rebuild the state from a log, verifying everything again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain replay --from demo --into /tmp/again
  mv demo/state demo/state.old && chaoschain replay --from demo --into demo/state

The node whose log it is must be stopped, unless the log is on servers of its own (nats://…). An interrupted replay goes on where it was when it is
started again with the same directory. The root at the end is computed here and equals the header's.")]
pub(crate) struct Args {
    /// The data directory of a chain, wherever its log is, or the directory of an embedded log
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    log: LogArgs,
    /// The state directory to fill: empty, not there, or left by an interrupted replay of the same chain
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// How many messages are read, verified and folded together
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// How many threads verify [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let config = run.configure(Flags { log: args.log.clone(), ..Flags::default() }, "info")?;
    use_threads(args.threads)?;
    let occupied = args.into.is_dir() && !args.into.join(chaoschain_projector::FILE_NAME).is_file();
    let strange = std::fs::read_dir(&args.into).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && strange {
        let message = format!("{} is not empty and holds no state", args.into.display());
        return Err(
            CliError::new(Exit::Refused, "dir_occupied", message).hint("name an empty directory with --into")
        );
    }
    runtime()?.block_on(replay(run, args, &config))
}

async fn replay(run: &Run<'_>, args: &Args, config: &Config) -> Outcome {
    let stop = stop_signal()?;
    let dir = DataDir::at(&args.from);
    let (home, chain) = if dir.holds_chain() {
        let chain = dir.chain_of(run.app)?;
        (open_any_log(config, &dir, &chain, false).await?, Some(chain.id))
    } else {
        (open_bare_log(&log_of(&args.from))?, None)
    };
    let place = Place { state: &args.into, chain, fold_batch: args.batch as usize };
    let node = Node::open_on(run.app, home, place).await?;
    let (from, start) = (node.projection.head().height(), Instant::now());
    let outcome = tokio::select! {
        outcome = node.catch_up() => outcome,
        () = stopped(stop) => {
            let message = format!("stopped at height {}; what was folded is stored", node.projection.head().height());
            Err(CliError::new(Exit::Interrupted, "interrupted", message).hint("the same command goes on from there"))
        }
    };
    let status = node.projection.status();
    let head = node.projection.head();
    node.close().await;
    outcome?;
    let elapsed = start.elapsed();
    let blocks = head.height().0 - from.0;
    let events = status.events_folded;
    let done = json!({
        "chain": head.header.chain,
        "height": head.height(),
        "header_hash": head.hash,
        "state_root": head.header.state_root,
        "records": status.records,
        "blocks": blocks,
        "events": events,
        "skipped": status.skipped,
        "millis": elapsed.as_millis() as u64,
        "blocks_per_second": per_second(blocks, elapsed),
        "events_per_second": per_second(events, elapsed),
    });
    run.output.print(&done, || human(&done));
    Ok(())
}

/// The embedded log of a directory that has lost its `chain.toml`, or the directory itself.
fn log_of(from: &Path) -> PathBuf {
    let dir = DataDir::at(from);
    if dir.log().is_dir() { dir.log() } else { from.to_path_buf() }
}

fn use_threads(threads: Option<u16>) -> Outcome {
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global().map_err(|error| {
        CliError::new(Exit::Unavailable, "thread_unavailable", format!("threads cannot be started: {error}"))
    })
}
