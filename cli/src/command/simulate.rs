//! `simulate`: a society that lives by itself, in a chain of its own.
//!
//! The blocks follow from seed and number of agents, so an interrupted run needs no notes: the same command makes them
//! again, compares them with those in the log, and goes on where the log ends.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::log::{AppendError, Entry, EventLog, LogError, ReadLimits};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::{AccountId, Sequence};
use futures::future::BoxFuture;
use serde_json::json;
use tokio::sync::watch;

use crate::args::Run;
use crate::command::init::{left_behind, write_chain};
use crate::command::up::stop_signal;
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::import::is_offered;
use crate::keyfile::KeyFile;
use crate::log_home::{LogHome, open_any_log, preflight};
use crate::node::runtime;
use crate::progress::{Progress, per_second};
use crate::simulate::{Options, SimulatedBlock, Simulation};

/// The seed of a society when none is given. Everybody knows it.
const SEED_DEFAULT: &str = "simulate";
/// How many blocks are on their way to the log while the next one is made.
const IN_FLIGHT_MAX: usize = 8;
/// How long a block is sent again that the log may not have taken: it may be choosing a leader.
const APPEND_PATIENCE: Duration = Duration::from_mins(1);
const APPEND_RETRY: Duration = Duration::from_millis(250);

/// Make a chain of a society that lives by itself
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain simulate --dir society
  chaoschain simulate --dir small --agents 40 --events 5000 --seed 7
  chaoschain up --dir society

Agents with personalities rate, meet, ally, betray, publish, quarrel and decide; validators govern. Who does what is
drawn from the seed: the same seed and agents give the same blocks, and more events go on where fewer ended. What is
drawn and what is staged stands in docs/simulation.md.

An interrupted run leaves a whole chain, only a shorter one; the same command goes on from there. Keys derive from the
seed; those of the producer and of the validators are in keys/ of the new directory.")]
pub(crate) struct Args {
    /// The data directory of the new chain: empty, not there, or left by a run with the same seed and agents
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// How many agents take part: 16 to 1,000,000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    agents: usize,
    /// How many events there are to be at least; the last block may go beyond
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    events: u64,
    /// What everything derives from: whoever knows it can sign for everybody
    #[arg(long, value_name = "HEX|TEXT", default_value = SEED_DEFAULT)]
    seed: String,
    #[command(flatten)]
    log: LogArgs,
    /// On how many servers a new stream is kept: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "N", help_heading = "Log")]
    replicas: Option<usize>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { log: args.log.clone(), nats_replicas: args.replicas, ..Flags::default() };
    let config = run.configure(flags, "info")?;
    if !is_offered(run.app) {
        let message =
            format!("what is simulated is the society; this program runs {:?}", run.app.machine.id());
        return Err(CliError::new(Exit::Refused, "domain_wrong", message));
    }
    let start = Instant::now();
    let options = Options { seed: args.seed.clone(), agents: args.agents, events: args.events };
    let mut simulation = Simulation::new(&options)?;
    let runtime = runtime()?;
    let found = runtime.block_on(async {
        // First: whoever sees the directory may send a signal already.
        let stop = stop_signal()?;
        preflight(&config).await?;
        let (home, dir) = open(run, &config, args, &simulation).await?;
        let written = write(&*home.log, &mut simulation, args.events, &stop).await;
        home.close().await;
        written.map(|found| (found, dir))
    });
    let (found, dir) = found?;
    let (report, elapsed) = (simulation.report(), start.elapsed());
    let done = json!({
        "dir": dir.root(),
        "report": report,
        "blocks_found": found,
        "millis": elapsed.as_millis() as u64,
        "events_per_second": per_second(report.events, elapsed),
    });
    run.output.print(&done, || {
        let there = if found > 0 { format!("{found} blocks were there already\n") } else { String::new() };
        let (tables, name, dir) = (report.tables(), run.app.name, dir.root().display());
        format!("{tables}\n{there}next: {name} up --dir {dir}")
    });
    Ok(())
}

/// Makes the directory, or opens the one that a run of the same society left.
async fn open(
    run: &Run<'_>,
    config: &Config,
    args: &Args,
    simulation: &Simulation,
) -> Outcome<(LogHome, DataDir)> {
    let dir = DataDir::at(&args.dir);
    if dir.holds_chain() {
        let chain = dir.chain_of(run.app)?;
        if chain.id == simulation.chain() {
            return Ok((open_any_log(config, &dir, &chain, false).await?, dir));
        }
        let message =
            format!("{} holds chain {}, not the one of this seed and agents", args.dir.display(), chain.id);
        return Err(
            CliError::new(Exit::Refused, "chain_exists", message).hint("name another directory with --dir")
        );
    }
    let dir = DataDir::create(&args.dir)?;
    let made = make(run, config, &dir, simulation).await;
    let (chain, home) = made.map_err(|error| left_behind(error, &dir))?;
    // First, as every block that follows leaves a whole chain.
    dir.seal(&chain)?;
    Ok((home, dir))
}

async fn make(
    run: &Run<'_>,
    config: &Config,
    dir: &DataDir,
    simulation: &Simulation,
) -> Outcome<(Chain, LogHome)> {
    let file = |key: &SecretKey| KeyFile::new(AccountId::from_first_key(&key.public()), key, None);
    for (number, key) in (1..).zip(simulation.validator_keys()) {
        file(key)?.write_new(&dir.root().join("keys").join(format!("validator-{number}.key")))?;
    }
    let key = simulation.producer_key();
    write_chain(run.app, config, dir, simulation.genesis(), key, &file(key)?).await
}

/// Brings the log to where the society comes to; answers how many of its blocks were there already.
async fn write(
    log: &dyn EventLog,
    simulation: &mut Simulation,
    events: u64,
    stop: &watch::Receiver<bool>,
) -> Outcome<u64> {
    let progress = Progress::start("simulating", events);
    let tip = log.tip().await?;
    let mut there = There { log, tip, next: Sequence(2), read: VecDeque::new(), found: 0 };
    let mut in_flight = VecDeque::new();
    let mut done = 0;
    while let Some(block) = next(simulation, stop)? {
        done += u64::from(block.events);
        progress.at(done);
        if there.holds(&block).await? {
            continue;
        }
        in_flight.push_back(InFlight::start(log, block));
        while in_flight.len() > IN_FLIGHT_MAX {
            if let Some(oldest) = in_flight.pop_front() {
                oldest.land(log, stop).await?;
            }
        }
    }
    for block in in_flight {
        block.land(log, stop).await?;
    }
    if there.more().await?.is_none() {
        return Ok(there.found);
    }
    let height = simulation.report().height;
    let message = format!("the log goes on after block {height}, with which these events end");
    Err(CliError::new(Exit::Refused, "simulation_longer", message).hint("ask for more --events"))
}

/// The next block, unless somebody wants it to stop.
fn next(simulation: &mut Simulation, stop: &watch::Receiver<bool>) -> Outcome<Option<SimulatedBlock>> {
    if *stop.borrow() {
        let report = simulation.report();
        let message = format!(
            "stopped after {} events, at height {}; the chain is whole",
            report.events, report.height
        );
        return Err(CliError::new(Exit::Interrupted, "interrupted", message)
            .hint("the same command goes on from there"));
    }
    simulation.next_block()
}

/// A block on its way to the log.
struct InFlight {
    expected_tip: Sequence,
    message: Bytes,
    appended: BoxFuture<'static, Result<Sequence, AppendError>>,
}

impl InFlight {
    fn start(log: &dyn EventLog, block: SimulatedBlock) -> Self {
        let (expected_tip, message) = (Sequence(block.height.0), block.message);
        let appended = log.append(expected_tip, message.clone());
        Self { expected_tip, message, appended }
    }

    /// Answers when the log has the block: one that it may not have taken, or that came before one it did not take, is
    /// looked for there and sent again.
    async fn land(self, log: &dyn EventLog, stop: &watch::Receiver<bool>) -> Outcome {
        let Self { expected_tip, message, appended } = self;
        let (started, place) = (Instant::now(), expected_tip.next());
        let one = ReadLimits { messages: 1, ..ReadLimits::default() };
        let mut outcome = appended.await;
        if let Err(error) = &outcome {
            tracing::info!(%error, %place, "a block may not have been taken; looking for it");
        }
        while let Err(error) = outcome {
            let may_pass = matches!(
                error,
                AppendError::Unavailable { .. }
                    | AppendError::Unclear { .. }
                    | AppendError::Busy { .. }
                    | AppendError::TipMoved { .. }
            );
            if !may_pass || *stop.borrow() || started.elapsed() > APPEND_PATIENCE {
                return Err(error.into());
            }
            match log.read(place, one).await {
                Ok(there) => match there.first() {
                    Some(entry) if entry.sequence == place && entry.message == message => return Ok(()),
                    Some(_) => return Err(error.into()),
                    None => {}
                },
                Err(LogError::Unavailable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(APPEND_RETRY).await;
            outcome = log.append(expected_tip, message.clone()).await;
        }
        Ok(())
    }
}

/// What the log held when it was opened.
struct There<'a> {
    log: &'a dyn EventLog,
    tip: Sequence,
    next: Sequence,
    read: VecDeque<Entry>,
    found: u64,
}

impl There<'_> {
    /// Whether the log has this block.
    ///
    /// # Errors
    /// `simulation_differs` when it has another message there.
    async fn holds(&mut self, block: &SimulatedBlock) -> Outcome<bool> {
        let Some(entry) = self.more().await? else { return Ok(false) };
        if entry.message != block.message {
            let message = format!(
                "message {} of the log is not block {} of this society",
                entry.sequence, block.height
            );
            return Err(CliError::new(Exit::Refused, "simulation_differs", message).hint(
                "others have sealed blocks on this chain, or another version made it: name another directory",
            ));
        }
        self.found += 1;
        Ok(true)
    }

    async fn more(&mut self) -> Outcome<Option<Entry>> {
        if self.read.is_empty() && self.next <= self.tip {
            self.read = self.log.read(self.next, ReadLimits::default()).await?.into();
            if let Some(last) = self.read.back() {
                self.next = last.sequence.next();
            }
        }
        Ok(self.read.pop_front())
    }
}
