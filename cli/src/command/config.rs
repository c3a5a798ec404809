//! `config show`: what is configured, and by what. `config nats`: see [`nats`].

mod nats;

use serde_json::json;

use crate::args::Run;
use crate::config::Flags;
use crate::error::Outcome;
use crate::output::human;

/// Show the configuration, or print that of a NATS server
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Print every setting, its value, and what set it: default, file, environment or flag
    #[command(after_help = "Examples:
  chaoschain config show
  CHAOSCHAIN_LINGER_MS=5 chaoschain config show --json")]
    Show,
    Nats(nats::Args),
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    match &args.what {
        What::Show => show(run),
        What::Nats(args) => nats::run(run, args),
    }
}

fn show(run: &Run<'_>) -> Outcome {
    let settings = run.load(Flags::default())?.settings();
    let settings: serde_json::Value = settings
        .into_iter()
        .map(|(name, value, source)| json!({ "name": name, "value": value, "source": source }))
        .collect();
    run.output.print(&settings, || human(&settings));
    Ok(())
}
