//! `demo`: a small simulated society lives on an embedded log, proves what it says, and is then attacked.

mod attack;
mod proofs;
mod society;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chaoschain_schemas::Hash;
use clap::Args;
use serde_json::json;

use self::proofs::Auditor;
use self::society::{AGENTS, EVENTS, Played, SEED};
use crate::args::Run;
use crate::config::Flags;
use crate::error::{CliError, Exit, Outcome};
use crate::node::runtime;
use crate::output::Output;

/// Play a small society that proves what it says and then attacks itself
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  chaoschain demo
  chaoschain demo --keep demo-chain     keeps the log and the state for a look")]
pub(crate) struct DemoArgs {
    /// Keep the demo's log and state in this new directory instead of a temporary one.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Prints as it goes; programs get one document at the end.
struct Script {
    output: Output,
}

impl Script {
    fn say(&self, text: &str) {
        if !self.output.json {
            // A reader that has gone away is no failure of the demo.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }
}

fn short(hash: &Hash) -> String {
    hash.to_string()[..16].to_owned()
}

/// Plays the demo.
pub(crate) fn run(run: &Run<'_>, args: &DemoArgs) -> Outcome {
    // The node's own warnings about the attack would only repeat what is told.
    run.configure(Flags::default(), "off")?;
    let temporary =
        tempfile::tempdir().map_err(|error| CliError::file("make", Path::new("a directory"), &error))?;
    let dir = match &args.keep {
        Some(dir) if dir.exists() => {
            return Err(CliError::usage("directory_exists", format!("{} is there already", dir.display()))
                .hint("name a new directory"));
        }
        Some(dir) => dir.clone(),
        None => temporary.path().to_owned(),
    };
    runtime()?.block_on(play(&dir, &Script { output: run.output }))
}

async fn play(dir: &Path, script: &Script) -> Outcome {
    let society = Played::in_dir(dir).await?;
    script.say(&format!(
        "{AGENTS} agents have lived on a new chain, as the seed {SEED:?} has it. What they did is signed by them, sealed in \
         blocks, and folded:\n"
    ));
    let blocks = society.tell(script);
    let standing = society.tell_standing(script).await?;
    let auditor = Auditor::of(&society);
    let dramas = auditor.dramas(script)?;
    let (conflict, decided) = auditor.conflict(script)?;
    let block = auditor.block(script, decided)?;
    let read = auditor.agent(script, &standing.first)?;
    let attacks = attack::play(&society, script, dir, &standing.last).await?;
    script.say(&try_next());
    let summary = json!({
        "chain": society.report.chain, "report": society.report, "blocks": blocks, "leaderboard": standing.rows,
        "dramas": dramas, "conflict": conflict, "block": block, "read": read, "attacks": attacks,
        "state_root": society.report.state_root,
    });
    script.output.print(&summary, String::new);
    Ok(())
}

fn try_next() -> String {
    let same = format!("chaoschain simulate --dir society --agents {AGENTS} --events {EVENTS} --seed {SEED}");
    format!(
        "
Try next:
  chaoschain init --dir my-chain && chaoschain up --dir my-chain     a chain of your own, served over HTTP
  chaoschain import ratings.csv --into trust --seed 1                a real trust network, the same root every time
  {same}
                                                                     this society as a chain: the same root
  chaoschain bench                                                   what this machine can do
  chaoschain --help                                                  everything else"
    )
}

fn broken(what: &dyn std::fmt::Display) -> CliError {
    CliError::new(Exit::Corrupt, "demo_broken", format!("the demo did not go as written: {what}"))
}
