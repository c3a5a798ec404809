//! `resync`: puts a state that is replayed from the log in the place of one that went wrong, which is kept aside.
//!
//! The new state grows beside the old one, in `state.resync/`, and takes its place when it has come to the end of the log. So a
//! replay that is interrupted goes on, and one that fails changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chaoschain_projector::{Store, StoreError};
use chaoschain_schemas::{Hash, Header, Height, Sequence};
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::command::up::{stop_signal, stopped};
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir, write_private};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::open_any_log;
use crate::node::{Node, runtime};
use crate::output::human;

/// What the state that grows is called.
const FRESH: &str = "state.resync";
/// What is written of a resync, in the directory of the state that was set aside.
const REPORT: &str = "resync.json";
/// What the names of proofs begin with that stay with the node.
const EQUIVOCATION: &str = "equivocation-";

/// Replace a stopped node's state by one replayed from its log
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain resync --dir demo --dry-run
  chaoschain resync --dir demo

For a node whose fold went wrong (state_diverged) or whose state is damaged, once the right program is in place. The log is
verified and folded again into DIR/state.resync, every root compared with its header's. At the end of the log that becomes
DIR/state, and the old state is kept as DIR/state.diverged-HEIGHT: its evidence is in there, remove it when it is not needed
any more. Keys, log and what the validator has signed stay untouched. Interrupted, the same command goes on; where it fails,
the old state is still in its place.")]
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
    store: Option<Store>,
    /// Its newest block.
    newest: Option<(Height, Hash)>,
    /// Why it cannot be read, if so.
    damage: Option<String>,
}

impl Old {
    fn open(state: &Path) -> Outcome<Self> {
        if !state.is_dir() {
            return Ok(Self { store: None, newest: None, damage: None });
        }
        let opened = Store::open(state).and_then(|store| store.head().map(|head| (store, head)));
        match opened {
            Ok((store, head)) => {
                let newest = head.and_then(|(_, stored)| {
                    let header = Header::decode(&stored.signed.header).ok()?;
                    Some((header.height, Header::hash_of(&stored.signed.header)))
                });
                Ok(Self { store: Some(store), newest, damage: None })
            }
            Err(error @ (StoreError::Locked(_) | StoreError::Io(_) | StoreError::NoSpace)) => {
                Err(error.into())
            }
            Err(error) => Ok(Self { store: None, newest: None, damage: Some(error.to_string()) }),
        }
    }

    /// A name for it that is not taken.
    fn aside(&self, dir: &DataDir) -> PathBuf {
        let height = self.newest.map_or_else(|| "unknown".to_owned(), |(height, _)| height.to_string());
        let name = format!("state.diverged-{height}");
        let further = (2..).map(|number| format!("{name}-{number}"));
        let names = std::iter::once(name.clone()).chain(further);
        let mut paths = names.map(|name| dir.root().join(name));
        paths.find(|path| !path.exists()).unwrap_or_default()
    }
}

async fn resync(run: &Run<'_>, args: &Args, config: &Config, dir: &DataDir, chain: &Chain) -> Outcome<Json> {
    let stop = stop_signal()?;
    let old = Old::open(&dir.state())?;
    let (aside, fresh) = (old.aside(dir), dir.root().join(FRESH));
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
    });
    if args.dry_run {
        home.close().await;
        shown["next"] =
            json!("nothing was changed: without --dry-run this log is replayed and takes the state's place");
        shown["kept_as"] = json!(dir.state().is_dir().then_some(&aside));
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
                .hint("the same command goes on from there; the old state is still in its place"))
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
    let was_there = dir.state().is_dir();
    keep_proofs(&dir.state(), &fresh)?;
    put_in_place(dir, &fresh, &aside)?;
    drop(old.store);
    shown["kept_as"] = json!(was_there.then_some(&aside));
    shown["next"] = json!("the state is that of the log: start the node");
    if was_there {
        write_private(&aside.join(REPORT), format!("{shown:#}\n").as_bytes())?;
    }
    Ok(shown)
}

/// Replays to the end of the log, and holds what comes of it against the newest block that was stored.
async fn replayed(node: &Node, old: &Old, tip: Sequence) -> Outcome {
    node.catch_up().await.map_err(|error| match &*error.code {
        "state_diverged" => error.hint(
            "this program computes another root than the header says, as before: put the right one in place, or see with \
             `chaoschain diff` who is wrong; the old state is still in its place",
        ),
        _ => error,
    })?;
    let flushing = node.projection.clone();
    let flushed = tokio::task::spawn_blocking(move || flushing.flush()).await;
    flushed
        .map_err(|error| CliError::panicked(&error))?
        .map_err(|(code, message)| CliError::new(Exit::Unavailable, code, message))?;
    let Some((height, stored)) = old.newest else { return Ok(()) };
    let record = node.projection.block_record(height)?;
    if record.as_ref().is_some_and(|record| record.header_hash == stored) {
        return Ok(());
    }
    let got = record.map_or_else(|| "no block".to_owned(), |record| record.header_hash.to_string());
    let message =
        format!("the log gives {got} at height {height}, stored is {stored}; its newest message is {tip}");
    Err(CliError::new(Exit::Corrupt, "replay_differs", message).hint(
        "this log is not the one that was folded: nothing was changed; `chaoschain log status` says what it has",
    ))
}

/// Takes over what proves that validators have contradicted themselves: their words count for nothing while it is there.
fn keep_proofs(from: &Path, to: &Path) -> Outcome {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(EQUIVOCATION) {
            let bytes = fs::read(&path).map_err(|error| CliError::file("read", &path, &error))?;
            write_private(&to.join(name), &bytes)?;
        }
    }
    Ok(())
}

fn put_in_place(dir: &DataDir, fresh: &Path, aside: &Path) -> Outcome {
    let state = dir.state();
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to).map_err(|error| CliError::file("move aside", from, &error))
    };
    if state.is_dir() {
        rename(&state, aside)?;
    }
    rename(fresh, &state)?;
    #[cfg(unix)]
    fs::File::open(dir.root())
        .and_then(|root| root.sync_all())
        .map_err(|error| CliError::file("sync", dir.root(), &error))?;
    Ok(())
}
