//! `resync`: puts a state that is replayed from the log in the place of one that went wrong, which is kept aside.
//!
//! The new state grows beside the old one, in `state.resync/`, and takes its place when it has come to the end of the log. So a
//! replay that is interrupted goes on, and one that fails changes nothing.
//!
//! # Invariants
//! - The swap is two renames, and the report is written between them: where `state/` is missing beside `state.resync/`, only the
//!   second one is left to do. A node does not open such a directory, and the next run finishes it, checks included.
//! - What proves anything stays: evidence of the wrong program, also what it wrote while this was tried with it, is with the
//!   state that is kept aside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chaoschain_projector::{Store, StoreError};
use chaoschain_schemas::{Hash, Header, Height, Sequence};
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::command::up::{stop_signal, stopped};
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir, evidence_in, file_name, files_of, write_private};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::open_any_log;
use crate::node::{Node, log_is_behind, not_replayed, runtime};
use crate::output::human;

/// What the name of a state that is kept aside begins with.
const ASIDE: &str = "state.diverged-";
/// What is written of a resync, in the directory of the state that was set aside.
const REPORT: &str = "resync.json";
/// What the names of proofs begin with that stay with the node.
const EQUIVOCATION: &str = "equivocation-";
/// What is put before the name of evidence that the replay wrote, as `state/` may have the same.
const FROM_REPLAY: &str = "replay-";

/// Replace a stopped node's state by one replayed from its log
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain resync --dir demo --dry-run
  chaoschain resync --dir demo

For a node whose fold went wrong (state_diverged) or whose state is damaged, once the right program is in place. The log is
verified and folded again into DIR/state.resync, every root compared with its header's. At the end of the log that becomes
DIR/state, and the old state is kept as DIR/state.diverged-HEIGHT. With it go the evidence-*.json files, which have what this
node computed for the block it stopped at; the answer names them. Remove the directory when it is not needed any more. Keys,
log and what the validator has signed stay untouched. Interrupted, the same command goes on, also where a node refuses to start
with resync_unfinished; where it fails, the old state is still there.")]
pub(crate) struct Args {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { dir: args.dir.clone(), log: args.log.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    let done = runtime()?.block_on(resync(run, args, &config, &dir, &chain))?;
    run.output.print(&done, || human(&done));
    Ok(())
}

/// The state that is to be replaced. While this lives no node can open it.
struct Old {
    /// Where it is; nowhere if there is none.
    at: Option<PathBuf>,
    /// Where it is to be kept, or is already.
    aside: PathBuf,
    store: Option<Store>,
    /// Its newest block.
    newest: Option<(Height, Hash)>,
    /// Why it cannot be read, if so.
    damage: Option<String>,
}

impl Old {
    /// The state in its place, or the one that an interrupted run has set aside.
    fn find(dir: &DataDir) -> Outcome<Self> {
        let state = dir.state();
        let set_aside = if dir.is_swap_unfinished() { newest_aside(dir) } else { None };
        let at = set_aside.clone().or_else(|| state.is_dir().then_some(state));
        let mut old = Self { at, aside: PathBuf::new(), store: None, newest: None, damage: None };
        old.read()?;
        old.aside = set_aside.unwrap_or_else(|| old.free_name(dir));
        Ok(old)
    }

    fn read(&mut self) -> Outcome {
        let Some(at) = &self.at else { return Ok(()) };
        match Store::open(at).and_then(|store| store.head().map(|head| (store, head))) {
            Ok((store, head)) => {
                self.newest = head.and_then(|(_, stored)| {
                    let header = Header::decode(&stored.signed.header).ok()?;
                    Some((header.height, Header::hash_of(&stored.signed.header)))
                });
                self.store = Some(store);
            }
            Err(error @ (StoreError::Locked(_) | StoreError::Io(_) | StoreError::NoSpace)) => {
                return Err(error.into());
            }
            Err(error) => self.damage = Some(error.to_string()),
        }
        Ok(())
    }

    /// A name for it that is not taken.
    fn free_name(&self, dir: &DataDir) -> PathBuf {
        let height = self.newest.map_or_else(|| "unknown".to_owned(), |(height, _)| height.to_string());
        let name = format!("{ASIDE}{height}");
        let further = (2..).map(|number| format!("{name}-{number}"));
        let names = std::iter::once(name.clone()).chain(further);
        let mut paths = names.map(|name| dir.root().join(name));
        paths.find(|path| !path.exists()).unwrap_or_default()
    }

    fn is_aside(&self) -> bool {
        self.at.as_ref() == Some(&self.aside)
    }

    /// Where it is kept in the end.
    fn kept_as(&self) -> Option<&Path> {
        self.at.is_some().then_some(&self.aside)
    }
}

/// What was set aside last: the one without a report, or else that with the newest.
fn newest_aside(dir: &DataDir) -> Option<PathBuf> {
    let entries = fs::read_dir(dir.root()).ok()?.flatten().map(|entry| entry.path());
    let asides = entries.filter(|path| file_name(path).starts_with(ASIDE) && path.is_dir());
    asides.max_by_key(|path| {
        let reported = fs::metadata(path.join(REPORT)).and_then(|report| report.modified()).ok();
        (reported.is_none(), reported, file_name(path).to_owned())
    })
}

async fn resync(run: &Run<'_>, args: &Args, config: &Config, dir: &DataDir, chain: &Chain) -> Outcome<Json> {
    let stop = stop_signal()?;
    let (old, fresh) = (Old::find(dir)?, dir.fresh_state());
    let home = open_any_log(config, dir, chain, false).await?;
    let ends = async { Ok::<_, CliError>((home.log.first().await?, home.log.tip().await?)) }.await;
    let (first, tip) = match ends {
        Ok(ends) => ends,
        Err(error) => {
            home.close().await;
            return Err(error);
        }
    };
    let mut shown = json!({
        "dir": dir.root(),
        "stored": old.newest.map(|(height, hash)| json!({ "height": height, "header_hash": hash })),
        "damage": old.damage,
        "log": { "place": home.log.description(), "first": first, "tip": tip },
        "begun_already": fresh.is_dir(),
        "set_aside_already": old.is_aside(),
        "kept_as": old.kept_as(),
    });
    if args.dry_run {
        home.close().await;
        let cursor = old.store.as_ref().map_or(Ok(None), Store::head)?.map(|(_, stored)| stored.sequence);
        if let Some(stored) = cursor.filter(|stored| *stored > tip) {
            return Err(log_is_behind(tip, stored));
        }
        shown["next"] =
            json!("nothing was changed: without --dry-run this log is replayed and takes the state's place");
        return Ok(shown);
    }
    let started = Instant::now();
    let node = Node::open_at(run.app, config, home, dir, chain, &fresh).await?;
    let outcome = tokio::select! {
        outcome = replayed(&node, &old, tip) => outcome,
        () = stopped(stop) => {
            let height = node.projection.head().height();
            let message = format!("stopped at height {height}; what was folded is kept in {}", fresh.display());
            Err(CliError::new(Exit::Interrupted, "interrupted", message)
                .hint("the same command goes on from there; the old state is still there"))
        }
    };
    let head = node.projection.head();
    node.close().await;
    outcome?;
    shown["replayed"] = json!({
        "height": head.height(),
        "header_hash": head.hash,
        "state_root": head.header.state_root,
        "millis": started.elapsed().as_millis() as u64,
    });
    shown["next"] = json!("the state is that of the log: start the node");
    put_in_place(dir, &fresh, old, &mut shown)?;
    Ok(shown)
}

/// Replays to the end of the log, and holds what comes of it against the newest block that was stored.
async fn replayed(node: &Node, old: &Old, tip: Sequence) -> Outcome {
    node.catch_up().await.map_err(|error| match &*error.code {
        "state_diverged" => error.hint(
            "this program computes another root than the header says, as before: put the right one in place, or see with \
             `chaoschain diff` who is wrong; the old state is still there",
        ),
        _ => error,
    })?;
    let flushing = node.projection.clone();
    let flushed = tokio::task::spawn_blocking(move || flushing.flush()).await;
    flushed
        .map_err(|error| CliError::panicked(&error))?
        .map_err(|(code, message)| CliError::new(Exit::Unavailable, code, message))?;
    let Some((height, stored)) = old.newest else { return Ok(()) };
    let got = node.projection.block_record(height)?.map(|record| record.header_hash);
    if got == Some(stored) {
        return Ok(());
    }
    let end = node.projection.head().height();
    // A log that ends before may be another one all the same.
    let known = old.store.as_ref().map_or(Ok(None), |store| store.block(end))?;
    if let (None, Some(known)) = (got, known.map(|record| record.header_hash))
        && known != node.projection.head().hash
    {
        return Err(unchanged(not_replayed(Some(node.projection.head().hash), end, end, known), tip));
    }
    Err(unchanged(not_replayed(got, end, height, stored), tip))
}

fn unchanged(mut error: CliError, tip: Sequence) -> CliError {
    error.message = format!("{}; its newest message is {tip}; nothing was changed", error.message);
    error
}

/// Puts the new state in the place of the old one, which is kept with what it proves and a report.
fn put_in_place(dir: &DataDir, fresh: &Path, old: Old, shown: &mut Json) -> Outcome {
    let state = dir.state();
    if let Some(at) = &old.at {
        keep_proofs(at, fresh)?;
        if !old.is_aside() {
            rename(dir, &state, &old.aside)?;
        }
        move_evidence(fresh, &old.aside)?;
        let mut evidence = evidence_in(&old.aside);
        evidence.extend(files_of(&old.aside, &[FROM_REPLAY]));
        shown["evidence"] = json!(evidence);
        write_private(&old.aside.join(REPORT), format!("{shown:#}\n").as_bytes())?;
    }
    rename(dir, fresh, &state)?;
    drop(old.store);
    Ok(())
}

/// Moves a directory for good.
fn rename(dir: &DataDir, from: &Path, to: &Path) -> Outcome {
    fs::rename(from, to).map_err(|error| CliError::file("move", from, &error))?;
    #[cfg(unix)]
    fs::File::open(dir.root())
        .and_then(|root| root.sync_all())
        .map_err(|error| CliError::file("sync", dir.root(), &error))?;
    Ok(())
}

/// Takes over what proves that validators have contradicted themselves: their words count for nothing while it is there.
fn keep_proofs(from: &Path, to: &Path) -> Outcome {
    for path in files_of(from, &[EQUIVOCATION]) {
        let bytes = fs::read(&path).map_err(|error| CliError::file("read", &path, &error))?;
        write_private(&to.join(file_name(&path)), &bytes)?;
    }
    Ok(())
}

/// Takes out of the new state what a replay with the wrong program has left in it.
fn move_evidence(fresh: &Path, aside: &Path) -> Outcome {
    for path in evidence_in(fresh) {
        let to = aside.join(format!("{FROM_REPLAY}{}", file_name(&path)));
        fs::rename(&path, to).map_err(|error| CliError::file("move", &path, &error))?;
    }
    Ok(())
}
