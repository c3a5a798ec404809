//! `bench`: the figures of this machine, each beside its ceiling, measured in the same run.
//!
//! Absolute figures say more about the machine than about the program; the share of the ceiling is what to compare.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rates and percentiles are for people"
)]

mod chain;
mod due;
mod ingest;
mod reads;
mod replay;
mod society;
mod trees;

use std::time::{Duration, Instant};

use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_events::signature::{Claim, verify_batch};
use chaoschain_schemas::SigningContext;
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::args::Run;
use crate::config::{Config, Flags, LogArgs};
use crate::error::{CliError, Outcome};
use crate::log_home::{LogChoice, preflight};

/// How often the ceiling is measured; the best counts.
const CEILING_ROUNDS: usize = 3;
/// How many signatures a round of the ceiling verifies.
const CEILING_SIGNATURES: usize = 20 * 1024;

/// Measure this machine: ingest, latency, replay, reads and trees, each beside its ceiling
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  chaoschain bench                      everything, in about a minute
  chaoschain bench --only tree --json
  chaoschain bench --log managed        the log on a nats-server too, and two services on one chain
  chaoschain bench --events 1000000     a longer burst")]
pub(crate) struct BenchArgs {
    /// Events of the burst, besides the registrations.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// Authors that send them.
    #[arg(long, default_value_t = 10_000)]
    authors: usize,
    /// Leaves of the tree.
    #[arg(long, default_value_t = 1_000_000)]
    leaves: u64,
    /// Seconds of steady load for the latencies.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only these parts: ingest, replay, reads, society, due, tree.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    log: LogArgs,
}

impl BenchArgs {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    /// What the figure cannot exceed here, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    ceiling: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Figure {
    fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, ceiling: None, share: None, note: String::new() }
    }

    fn named(mut self, home: &str) -> Self {
        self.what.push_str(home);
        self
    }

    fn under(mut self, ceiling: f64) -> Self {
        self.ceiling = Some(ceiling);
        self.share = (ceiling > 0.0).then(|| self.value / ceiling);
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Runs the benchmark and prints it.
pub(crate) fn run(run: &Run<'_>, args: &BenchArgs) -> Outcome {
    let config = run.configure(Flags { log: args.log.clone(), ..Flags::default() }, "error")?;
    let mut figures = Vec::new();
    if args.wants("ingest") || args.wants("replay") || args.wants("reads") {
        figures.extend(chain_figures(&config, args)?);
    }
    if args.wants("society") {
        figures.extend(society::measure(args)?);
    }
    if args.wants("due") {
        figures.extend(due::measure()?);
    }
    if args.wants("tree") {
        eprintln!("tree of {} leaves …", args.leaves);
        figures.extend(trees::measure(args.leaves));
    }
    let machine = serde_json::json!({
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "version": env!("CARGO_PKG_VERSION"),
    });
    run.output.print(&serde_json::json!({ "machine": machine, "figures": figures }), || table(&figures));
    Ok(())
}

fn chain_figures(config: &Config, args: &BenchArgs) -> Outcome<Vec<Figure>> {
    let home = LogChoice::of(config, &LogChoice::Embedded)?;
    if home.servers().is_some() {
        let message =
            "a benchmark makes chains of its own, and leaves none behind on a server that others use";
        return Err(CliError::usage("bench_home_wrong", message).hint("say --log managed"));
    }
    let runtime = chain::runtime()?;
    runtime.block_on(preflight(config))?;
    eprintln!("signing {} events of {} authors …", args.events, args.authors);
    let embedded = Config { log: "embedded".into(), ..config.clone() };
    let mut bench = runtime.block_on(chain::Bench::new(&embedded, args.authors))?;
    let before = batch_verify_ceiling(bench.registrations());
    let mut figures = Vec::new();
    let measured = runtime.block_on(ingest::measure(&mut bench, args))?;
    // The machine may be shared: the better of before and after is nearer to what it can do.
    let ceiling = before.max(batch_verify_ceiling(bench.registrations()));
    figures.push(
        Figure::new("batch verification of signatures, all cores", ceiling, "/s")
            .note("the ceiling of the rows below"),
    );
    figures.extend(measured.figures("", ceiling, ceiling));
    if args.wants("replay") {
        eprintln!("replay …");
        figures.push(runtime.block_on(replay::measure(&bench))?.under(ceiling));
    }
    if args.wants("reads") {
        eprintln!("reads …");
        figures.push(reads::measure(&bench)?);
    }
    runtime.block_on(bench.close());
    if home == LogChoice::Managed && args.wants("ingest") {
        figures.extend(runtime.block_on(managed_figures(config, args, &measured))?);
    }
    Ok(figures)
}

/// The same on a server of our own, under the embedded log's figures of the same run.
async fn managed_figures(
    config: &Config,
    args: &BenchArgs,
    embedded: &ingest::Ingest,
) -> Outcome<Vec<Figure>> {
    let name = " (managed)";
    eprintln!("the same over JetStream …");
    let mut bench = chain::Bench::new(config, args.authors).await?;
    let one = ingest::measure(&mut bench, args).await?;
    let mut figures = one.figures(name, embedded.burst(), embedded.sustained());
    figures.push(replay::measure(&bench).await?.named(name));
    figures.push(ingest::measure_two(&mut bench, args).await?.named(name).under(one.burst()));
    bench.close().await;
    Ok(figures)
}

/// Signatures a second that this machine verifies in batches, those of `events`, on all cores, and nothing else.
fn batch_verify_ceiling(events: &[VerifiedEnvelope]) -> f64 {
    let parties = events.iter().flat_map(|event| event.parties().iter().map(move |party| (event, party)));
    let claims: Vec<Claim<'_>> = parties
        .take(CEILING_SIGNATURES)
        .map(|(event, party)| Claim {
            context: SigningContext::Transition,
            key: &party.key,
            signature: &party.signature,
            bytes: event.body_bytes(),
        })
        .collect();
    let once = || {
        let start = Instant::now();
        assert!(verify_batch(&claims).is_empty(), "these signatures are our own");
        per_second(claims.len(), start.elapsed())
    };
    (0..CEILING_ROUNDS).map(|_| once()).fold(0.0, f64::max)
}

fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-9)
}

fn table(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["what", "figure", "ceiling", "share", ""]);
    for figure in figures {
        table.add_row([
            figure.what.clone(),
            format!("{} {}", human(figure.value), figure.unit),
            figure.ceiling.map(human).unwrap_or_default(),
            figure.share.map(|share| format!("{:.0}%", share * 100.0)).unwrap_or_default(),
            figure.note.clone(),
        ]);
    }
    table.to_string()
}

/// A number as people read it: thousands apart, and as many places as it needs.
fn human(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::with_capacity(whole.len() * 4 / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
