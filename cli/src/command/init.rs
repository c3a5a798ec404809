//! `init`: makes a chain.

use std::path::{Path, PathBuf};

use chaoschain_command::Clock;
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog as _};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::seal_genesis;
use chaoschain_schemas::control::{GENESIS_VERSION, Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::{AccountId, Micros, Sequence, Timestamp};
use chaoschain_state::domain::Machine;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::App;
use crate::args::Run;
use crate::config::Flags;
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::{self, KeyFile};
use crate::node::runtime;
use crate::seed::Seed;

/// Make a new chain: a data directory with a fresh producer key and block 0
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain init --dir demo --name demo
  chaoschain init --dir fast --parameters fast.toml

A parameters file (TOML or JSON) has what differs from the defaults, times in microseconds:
  [kernel]
  time_step_max = 86400000000
  valid_until_max = 600000000
  [domain]
  # the domain's own")]
pub(crate) struct Args {
    /// The data directory; must be empty or not there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A name for people: 1 to 64 of A-Z a-z 0-9 _ -
    #[arg(long, default_value = "chaoschain")]
    name: String,
    /// Parameters that differ from the defaults
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
    /// Derive the producer's key from this, so that the chain can be made again; for tests
    #[arg(long, value_name = "HEX|TEXT")]
    seed: Option<String>,
    /// Block time of block 0, microseconds since the Unix epoch [default: now]
    #[arg(long, value_name = "MICROS")]
    time: Option<u64>,
    /// Ask for a passphrase for the producer's key
    #[arg(long)]
    passphrase: bool,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let config = run.configure(Flags { dir: args.dir.clone(), ..Flags::default() }, "warn")?;
    let (kernel, domain) = parameters(run.app, args.parameters.as_deref())?;
    let key = match &args.seed {
        Some(seed) => Seed::of(seed).key("producer"),
        None => SecretKey::generate()
            .map_err(|error| CliError::new(Exit::Unavailable, "randomness_unavailable", error.to_string()))?,
    };
    let timestamp = args.time.map_or_else(|| Clock::system().now(), Timestamp);
    let genesis = genesis(&*run.app.machine, &args.name, timestamp, kernel, domain, &key);
    // Refused before anything is written.
    seal_genesis(&*run.app.machine, &genesis, &key)?;
    let passphrase = args.passphrase.then(|| keyfile::passphrase(Path::new("the producer's key"), true));
    let passphrase = passphrase.transpose()?;
    let dir = DataDir::create(&config.dir)?;
    let chain = runtime()?.block_on(write_chain(
        run.app,
        &dir,
        &genesis,
        &key,
        passphrase.as_deref().map(String::as_str),
    ))?;
    dir.seal(&chain)?;
    let producer = AccountId::from_first_key(&key.public());
    let made = json!({
        "chain": chain.id, "name": genesis.name, "domain": genesis.domain, "dir": dir.root(),
        "producer": producer, "producer_key": key.public(),
    });
    run.output.print(&made, || {
        format!("{}\nnext: {} up --dir {}", crate::output::human(&made), run.app.name, dir.root().display())
    });
    Ok(())
}

/// The genesis document of a chain with one producer, who is also its only validator.
pub(crate) fn genesis(
    machine: &dyn Machine,
    name: &str,
    timestamp: Timestamp,
    parameters: Parameters,
    domain_parameters: Vec<u8>,
    key: &SecretKey,
) -> Genesis {
    Genesis {
        version: GENESIS_VERSION,
        name: name.to_owned(),
        domain: machine.id().to_owned(),
        rules: machine.rules(),
        sub_trees: machine.sub_trees().iter().map(|name| (*name).to_owned()).collect(),
        timestamp,
        parameters,
        domain_parameters: domain_parameters.into(),
        accounts: vec![GenesisAccount { key: key.public(), role: Role::Producer, weight: 1 }],
    }
}

/// Fills a new data directory with the producer's key and block 0 in the log. It holds a chain once the answer is sealed
/// into it with [`DataDir::seal`].
pub(crate) async fn write_chain(
    app: &App,
    dir: &DataDir,
    genesis: &Genesis,
    key: &SecretKey,
    passphrase: Option<&str>,
) -> Outcome<Chain> {
    let (id, block) = seal_genesis(&*app.machine, genesis, key)?;
    let account = AccountId::from_first_key(&key.public());
    KeyFile::new(account, key, passphrase)?.write_new(&dir.producer_key())?;
    let log = EmbeddedLog::open(dir.log(), EmbeddedOptions::default())?;
    let appended = log.append(Sequence(0), block).await;
    log.close().await;
    appended?;
    Ok(Chain { id, name: genesis.name.clone(), domain: genesis.domain.clone() })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParametersFile {
    kernel: Option<Kernel>,
    domain: Option<Json>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kernel {
    time_step_max: Option<u64>,
    valid_until_max: Option<u64>,
}

fn parameters(app: &App, file: Option<&Path>) -> Outcome<(Parameters, Vec<u8>)> {
    let mut kernel = Parameters::default();
    let Some(path) = file else { return Ok((kernel, app.machine.default_parameters())) };
    let text = std::fs::read_to_string(path).map_err(|error| CliError::file("read", path, &error))?;
    let refused = |error: String| {
        let message = format!("the parameters in {} are refused: {error}", path.display());
        CliError::usage("parameters_invalid", message).hint("see `init --help` for the form")
    };
    let file: ParametersFile = if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?
    } else {
        Figment::from(Toml::string(&text)).extract().map_err(|error| refused(error.to_string()))?
    };
    if let Some(changed) = file.kernel {
        kernel.time_step_max = changed.time_step_max.map_or(kernel.time_step_max, Micros);
        kernel.valid_until_max = changed.valid_until_max.map_or(kernel.valid_until_max, Micros);
    }
    let domain = match file.domain {
        Some(json) => app.machine.parameters_from_json(&json).map_err(refused)?,
        None => app.machine.default_parameters(),
    };
    Ok((kernel, domain))
}
