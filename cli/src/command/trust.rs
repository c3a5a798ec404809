//! `trust`: the trust file of a chain one runs.

use std::path::PathBuf;

use serde_json::json;

use crate::args::Run;
use crate::config::Flags;
use crate::datadir::DataDir;
use crate::error::{CliError, Outcome};
use crate::keyfile::KeyFile;

/// Write down what to trust for verifying: the id and producer key of a chain you run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain trust --dir demo --out demo.trust
  chaoschain verify proof ana.proof --trust demo.trust

Give the file to others by a way they trust: whoever changes it decides what verifies.
It works while the node runs, and needs no passphrase.")]
pub(crate) struct Args {
    /// The chain's data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let config = run.configure(Flags { dir: args.dir.clone(), ..Flags::default() }, "warn")?;
    let dir = DataDir::at(config.dir);
    let chain = dir.chain()?;
    let key = KeyFile::read(&dir.producer_key())?.public_key;
    let trust = json!({ "chain": chain.id, "producers": [key] });
    let text = format!("chain = \"{}\"\nproducers = [\"{key}\"]\n", chain.id);
    match &args.out {
        Some(out) => {
            let json = out.extension().is_some_and(|extension| extension == "json");
            let bytes = if json { format!("{trust}\n") } else { text };
            std::fs::write(out, bytes).map_err(|error| CliError::file("write", out, &error))?;
            run.output
                .print(&json!({ "file": out, "trust": trust }), || format!("written to {}", out.display()));
        }
        None => run.output.print(&trust, || text),
    }
    Ok(())
}
