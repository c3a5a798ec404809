//! `doctor`: examines a stopped node's directory.

use std::path::{Path, PathBuf};

use chaoschain_events::log::EventLog as _;
use chaoschain_projector::Store;
use chaoschain_schemas::{Hash, Height};
use serde_json::json;

use crate::args::Run;
use crate::config::Flags;
use crate::datadir::{Chain, DataDir, open_to_others};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::KeyFile;
use crate::node::{Node, Place, open_log, runtime};
use crate::progress::Progress;

/// Examine the data directory of a stopped node
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain doctor --dir demo
  chaoschain doctor --dir demo --deep

Checks every stored row against its hash, the root they give against the header's, and that the log
has what was folded. --deep also checks every page of the store and every message of the log, and
replays the log into a temporary directory to compare the roots; it needs that much free space.
What is wrong is named; history is not changed. Exit code 4 if data is damaged, 1 for lesser findings.")]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Check everything, however long it takes
    #[arg(long)]
    deep: bool,
}

/// What was looked at, and what was found.
struct Findings(Vec<(&'static str, Outcome<String>)>);

impl Findings {
    /// Notes a finding; what was found if it is good.
    fn note<T>(
        &mut self,
        what: &'static str,
        found: Outcome<T>,
        detail: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match found {
            Ok(found) => {
                self.0.push((what, Ok(detail(&found))));
                Some(found)
            }
            Err(error) => {
                self.0.push((what, Err(error)));
                None
            }
        }
    }
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let config = run.configure(Flags { dir: args.dir.clone(), ..Flags::default() }, "warn")?;
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    // Somebody else working here is no illness: say so, and find nothing.
    let log = match open_log(&dir.log()) {
        Err(error) if error.exit == Exit::Unavailable => return Err(error),
        log => log,
    };
    let mut findings = Findings(Vec::new());
    findings.note("private files", private_files(&dir), Clone::clone);
    let key = KeyFile::read(&dir.producer_key());
    findings.note("producer key", key, |key| format!("{} of {}", key.public_key, key.account));
    let log = findings.note("log opens", log, |log| log.description());
    if let Some(log) = log {
        runtime()?.block_on(examine(run, args, &dir, &chain, log, &mut findings));
    }
    report(run, &dir, &findings)
}

async fn examine(
    run: &Run<'_>,
    args: &Args,
    dir: &DataDir,
    chain: &Chain,
    log: std::sync::Arc<chaoschain_events::log::EmbeddedLog>,
    findings: &mut Findings,
) {
    if args.deep {
        let progress = Progress::start("scrubbing the log, bytes", 0);
        let scrubbed = log.scrub(|done| progress.at(done.bytes));
        findings.note("log messages", scrubbed.map_err(Into::into), |done| {
            format!("{} messages, {} bytes", done.messages, done.bytes)
        });
        let pages = Store::open(&dir.state()).and_then(|store| store.check_integrity());
        findings.note("store pages", pages.map_err(Into::into), |()| "every checksum holds".into());
    }
    let (log_dir, state) = (dir.log(), dir.state());
    let place = Place { log: &log_dir, state: &state, chain: Some(chain.id), fold_batch: 256 };
    let opened = Node::open_on(run.app, log, place).await;
    let node = findings.note("rows, hashes and root", opened, |node| {
        let head = node.projection.head();
        format!(
            "{} records give root {} of height {}",
            head.state.record_count(),
            head.header.state_root,
            head.height()
        )
    });
    let Some(node) = node else { return };
    let head = node.projection.head();
    let tip = node.log.tip().await.map_err(CliError::from);
    findings.note("log has what was folded", tip, |tip| {
        format!("folded to message {}, the log ends at {tip}", head.sequence)
    });
    if args.deep {
        let replayed = replayed(run, chain, &node, head.height(), head.hash).await;
        findings.note("replay", replayed, Clone::clone);
    }
    node.close().await;
}

/// Replays the log into a temporary directory and compares what comes of it at the stored height.
async fn replayed(
    run: &Run<'_>,
    chain: &Chain,
    node: &Node,
    height: Height,
    stored: Hash,
) -> Outcome<String> {
    let temporary = tempfile::tempdir()
        .map_err(|error| CliError::file("make a directory in", &std::env::temp_dir(), &error))?;
    let unused = PathBuf::new();
    let place = Place { log: &unused, state: temporary.path(), chain: Some(chain.id), fold_batch: 256 };
    let again = Node::open_on(run.app, node.log.clone(), place).await?;
    let caught_up = again.catch_up().await;
    let record = again.projection.block_record(height);
    let root = again.projection.head().header.state_root;
    let end = again.projection.head().height();
    // Only the projection: the log is the caller's.
    let projection = again.projection;
    drop(tokio::task::spawn_blocking(move || projection.close()).await);
    caught_up?;
    let hash = record?.map(|record| record.header_hash);
    if hash == Some(stored) {
        return Ok(format!(
            "the log gives the stored block at height {height}, and root {root} at its end, height {end}"
        ));
    }
    let got = hash.map_or_else(|| "no block".to_owned(), |hash| hash.to_string());
    let message = format!("a replay of the log gives {got} at height {height}, stored is {stored}");
    Err(CliError::new(Exit::Corrupt, "replay_differs", message)
        .hint("move the state directory away and rebuild it with `chaoschain replay`"))
}

fn private_files(dir: &DataDir) -> Outcome<String> {
    let mut paths = vec![dir.root().to_path_buf(), dir.producer_key(), dir.root().join("chain.toml")];
    for directory in [dir.log(), dir.state()] {
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| entry.path()));
        paths.push(directory);
    }
    let open: Vec<&Path> =
        paths.iter().map(PathBuf::as_path).filter(|path| open_to_others(path) == Some(true)).collect();
    match open.first() {
        None => Ok(format!("{} files and directories are their owner's alone", paths.len())),
        Some(first) => {
            let message = format!("{} can be used by others, and {} more", first.display(), open.len() - 1);
            Err(CliError::new(Exit::Refused, "file_open_to_others", message)
                .hint(format!("chmod -R go-rwx {}", dir.root().display())))
        }
    }
}

fn report(run: &Run<'_>, dir: &DataDir, findings: &Findings) -> Outcome {
    let worst =
        findings.0.iter().filter_map(|(_, found)| found.as_ref().err()).max_by_key(|error| error.exit);
    let shown = json!({
        "dir": dir.root(),
        "healthy": worst.is_none(),
        "findings": findings.0.iter().map(|(what, found)| match found {
            Ok(detail) => json!({ "check": what, "ok": true, "detail": detail }),
            Err(error) => json!({ "check": what, "ok": false, "error": error }),
        }).collect::<Vec<_>>(),
    });
    run.output.print(&shown, || {
        let line = |(what, found): &(&str, Outcome<String>)| match found {
            Ok(detail) => format!("ok      {what}: {detail}\n"),
            Err(error) => format!("FAILED  {what}: {error}\n"),
        };
        findings.0.iter().map(line).collect()
    });
    match worst {
        None => Ok(()),
        Some(worst) => {
            let message = format!("{} is not well: {}", dir.root().display(), worst.message);
            Err(CliError { message, ..worst.clone() })
        }
    }
}
