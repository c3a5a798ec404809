//! `doctor`: examines a stopped node's directory.

use std::path::{Path, PathBuf};

use chaoschain_projector::ProjectionOptions;
use chaoschain_schemas::{Hash, Height};
use serde_json::json;

use crate::args::Run;
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir, evidence_in, open_to_others, stop_in};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::KeyFile;
use crate::log_home::{LogHome, open_any_log};
use crate::node::{Node, not_replayed, open_projection, runtime, wait_for};
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
    #[command(flatten)]
    log: LogArgs,
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
    let flags = Flags { dir: args.dir.clone(), log: args.log.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    let runtime = runtime()?;
    // Somebody else working here, or a server that cannot be reached, is no illness: say so, and find nothing.
    let log = match runtime.block_on(open_any_log(&config, &dir, &chain, false)) {
        Err(error) if error.exit == Exit::Unavailable => return Err(error),
        log => log,
    };
    let mut findings = Findings(Vec::new());
    findings.note("private files", private_files(&dir), Clone::clone);
    for (what, file) in [("producer key", dir.producer_key()), ("validator key", dir.validator_key())] {
        if file.exists() {
            let key = KeyFile::read(&file);
            findings.note(what, key, |key| format!("{} of {}", key.public_key, key.account));
        }
    }
    let home = findings.note("log opens", log, |home| home.log.description());
    if let Some(home) = home {
        runtime.block_on(examine(run, args, &config, (&dir, &chain), home, &mut findings));
    }
    report(run, &dir, &findings)
}

async fn examine(
    run: &Run<'_>,
    args: &Args,
    config: &Config,
    (dir, chain): (&DataDir, &Chain),
    home: LogHome,
    findings: &mut Findings,
) {
    if args.deep {
        if let Some(log) = &home.embedded {
            let progress = Progress::start("scrubbing the log, bytes", 0);
            let scrubbed = log.scrub(|done| progress.at(done.bytes));
            findings.note("log messages", scrubbed.map_err(Into::into), |done| {
                format!("{} messages, {} bytes", done.messages, done.bytes)
            });
        }
        let pages = dir.open_store().and_then(|store| Ok(store.check_integrity()?));
        findings.note("store pages", pages, |()| "every checksum holds".into());
    }
    let opened = Node::open_dir(run.app, config, home, dir, chain).await;
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
    let stop = stop_in(dir, node.projection.cursor());
    findings.note("why it stopped", stop.map_or_else(|| Ok(evidence_in(&dir.state())), Err), |evidence| {
        match evidence.len() {
            0 => "it never did".to_owned(),
            count => format!("{count} files of evidence, none of the message that comes next"),
        }
    });
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
    let options = ProjectionOptions { chain: Some(chain.id), ..ProjectionOptions::new(temporary.path()) };
    let again = open_projection(run.app, node.log.clone(), options).await?;
    let caught_up = wait_for(&again, node.log.tip().await?).await;
    let record = again.block_record(height);
    let (root, end) = (again.head().header.state_root, again.head().height());
    drop(tokio::task::spawn_blocking(move || again.close()).await);
    caught_up?;
    let hash = record?.map(|record| record.header_hash);
    if hash == Some(stored) {
        return Ok(format!(
            "the log gives the stored block at height {height}, and root {root} at its end, height {end}"
        ));
    }
    Err(not_replayed(hash, end, height, stored))
}

fn private_files(dir: &DataDir) -> Outcome<String> {
    let mut paths = vec![dir.root().to_path_buf(), dir.producer_key(), dir.root().join("chain.toml")];
    // What a managed server writes is behind the door of its directory.
    paths.extend([dir.validator_key(), dir.nats(), dir.nats().join("nats-server.conf")]);
    paths.retain(|path| path.exists());
    for directory in [dir.log(), dir.attestations(), dir.blocks(), dir.state()] {
        if !directory.exists() {
            continue;
        }
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
