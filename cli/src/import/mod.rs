//! `import`: a ratings file as a chain of its own.
//!
//! It is the society's: every person becomes an agent, every row a rating. The chain follows from the file, the seed and
//! the number of events a block alone, so two imports give the same blocks and the same root. Afterwards it goes on as
//! any other.
//!
//! # Invariants
//! - Every row is an event, or it is counted and reported as skipped; a row that cannot be used stops the import before
//!   anything is written.

mod columns;
mod feed;
mod plan;
mod ratings;

use std::path::PathBuf;
use std::time::Instant;

use chaoschain_schemas::Fixed;
use chaoschain_schemas::limits::BLOCK_EVENTS_MAX;
use chaoschain_state::domain::Domain as _;
use serde_json::json;

use crate::App;
use crate::args::Run;
use crate::config::{Flags, LogArgs};
use crate::datadir::DataDir;
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::preflight;
use crate::node::runtime;
use crate::output::human;
use crate::progress::per_second;
use crate::seed::Seed;
use columns::Columns;
use plan::Plan;

/// The seed of a chain when none is given. Everybody knows it.
const SEED_DEFAULT: &str = "import";

/// Make a chain out of a file of ratings (CSV)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain import bitcoin-otc.csv --into otc
  chaoschain import trust.csv --into trust --columns from,to,rating,time --scale 5
  chaoschain up --dir otc

Columns are found by name, whatever the case and whether words are joined by '_', '-' or a space:
  who rates    from, from node, source, author, rater, truster, user, sender, i
  who is rated to, to node, target, subject, ratee, rated, trustee, recipient, j
  the rating   rating, weight, trust, trust index, score, value, sign
  when         time, timestamp, date, time since epoch, epoch, ts, created at
A file without a header has them in this order, or as --columns says.

Times are seconds since 1970, whole or fractional. Rows out of order are put in order of time; rows of one
time stay as they are. Lines that start with # and empty lines are passed over. Ratings lie within ±SCALE
and become RATING / SCALE, cut off after six places. People who rate themselves are not agents' business:
such rows are skipped and counted. Any other row that cannot be used stops the import and is named.

The same file, seed and number of events a block give the same chain. Keys derive from the seed (`key new
--seed … --label 'agent NODE'` makes one); agents.csv in the new directory says who became which agent.")]
pub(crate) struct Args {
    /// The file
    file: PathBuf,
    /// The data directory of the new chain; must be empty or not there
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// What all keys derive from: whoever knows it can sign for everybody
    #[arg(long, value_name = "HEX|TEXT", default_value = SEED_DEFAULT)]
    seed: String,
    /// The highest rating there can be
    #[arg(long, default_value = "10")]
    scale: Fixed,
    /// What the file's columns are, in order: from, to, rating, time, or _ for one that is not used
    #[arg(long, value_name = "LIST")]
    columns: Option<Columns>,
    /// How many events stand in a block
    #[arg(long, value_name = "N", default_value_t = 1000)]
    events_per_block: usize,
    /// The chain's name [default: the file's]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    log: LogArgs,
    /// On how many servers a new stream is kept: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "N", help_heading = "Log")]
    replicas: Option<usize>,
}

/// Whether this program's domain is the one that can be imported into.
pub(crate) fn is_offered(app: &App) -> bool {
    app.machine.id() == chaoschain_society::Society::ID
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { log: args.log.clone(), nats_replicas: args.replicas, ..Flags::default() };
    let config = run.configure(flags, "info")?;
    if !is_offered(run.app) {
        let message = format!("ratings are the society's; this program runs {:?}", run.app.machine.id());
        return Err(CliError::new(Exit::Refused, "domain_wrong", message));
    }
    if !(1..=BLOCK_EVENTS_MAX).contains(&args.events_per_block) {
        let message = format!("{} events a block are not 1 to {BLOCK_EVENTS_MAX}", args.events_per_block);
        return Err(CliError::usage("events_per_block_wrong", message));
    }
    if args.seed == SEED_DEFAULT {
        tracing::warn!(
            "the keys derive from the seed {SEED_DEFAULT:?}, which everybody knows; --seed takes a secret one"
        );
    }
    let start = Instant::now();
    let ratings = ratings::read(&args.file, args.columns.as_ref(), args.scale)?;
    let name = args.name.clone().unwrap_or_else(|| name_of(&args.file));
    let plan = Plan::new(&ratings, &Seed::of(&args.seed), args.events_per_block);
    let runtime = runtime()?;
    runtime.block_on(preflight(&config))?;
    let dir = DataDir::create(&args.into)?;
    let head = runtime.block_on(feed::feed(run.app, &config, &dir, &plan, &name))?;
    let elapsed = start.elapsed();
    let done = json!({
        "dir": dir.root(),
        "chain": head.header.chain,
        "name": name,
        "agents": plan.agents.len(),
        "ratings": ratings.rows.len(),
        "skipped_self_ratings": ratings.skipped_lines.len(),
        "first_skipped_lines": ratings.skipped_lines.iter().take(10).collect::<Vec<_>>(),
        "reordered": ratings.reordered,
        "height": head.height(),
        "header_hash": head.hash,
        "state_root": head.header.state_root,
        "millis": elapsed.as_millis() as u64,
        "events_per_second": per_second(plan.events.len() as u64, elapsed),
    });
    run.output.print(&done, || human(&done));
    Ok(())
}

/// A chain's name out of a file's: what does not belong into one becomes a dash.
fn name_of(file: &std::path::Path) -> String {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = stem.chars().map(plain).take(64).collect();
    if name.is_empty() { "import".into() } else { name }
}
