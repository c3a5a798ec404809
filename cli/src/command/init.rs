//! `init`: makes a chain.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chaoschain_command::Clock;
use chaoschain_events::log::{AppendError, EventLog, ReadLimits};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::seal_genesis;
use chaoschain_schemas::control::{GENESIS_VERSION, Genesis, GenesisAccount, Parameters, Registration, Role};
use chaoschain_schemas::{Micros, Sequence, Timestamp};
use chaoschain_state::domain::Machine;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::App;
use crate::args::Run;
use crate::command::accounts::{AccountArgs, Others, account_of};
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::{self, KeyFile};
use crate::log_home::{LogChoice, LogHome, open_any_log, preflight, without_secrets};
use crate::node::runtime;
use crate::seed::Seed;

/// How many fresh keys are drawn to find one that comes before those of the other producers.
const DRAWS_MAX: usize = 1 << 18;

/// Make a new chain: a data directory with a fresh producer key and block 0
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain init --dir demo --name demo
  chaoschain init --dir fast --parameters fast.toml
  chaoschain init --dir closed --registration sponsored --sponsorships 100
  chaoschain init --dir one --log managed
  chaoschain init --dir one --log nats://127.0.0.1:4222 --replicas 3 \\
      --producer-key 77ab… --validator 51c0… --validator 9e12… --validator 03dd…

With --log nats://… block 0 goes into a stream of its own there; other nodes then `join` the chain. Where the log is is
written down in chain.toml, addresses with the password in them too: prefer --nats-creds or --nats-nkey.

A parameters file (TOML or JSON) has what differs from the defaults, times in microseconds:
  [kernel]
  time_step_max = 86400000000
  valid_until_max = 600000000
  registration = \"Sponsored\"   # or Open
  author_events_max = 100       # of one author in a window; 0 for no bound
  author_window = 60000000
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
    /// Who may register: open to anyone, or sponsored by an account with sponsorships left [default: open]
    #[arg(long, value_name = "open|sponsored")]
    registration: Option<Registration>,
    /// How many registrations this directory's producer may sponsor
    #[arg(long, value_name = "N", default_value_t = 0)]
    sponsorships: u32,
    /// Derive the producer's key from this, so that the chain can be made again; for tests
    #[arg(long, value_name = "HEX|TEXT")]
    seed: Option<String>,
    /// The key file of the producer that seals block 0, instead of a fresh key; it is copied
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "passphrase"])]
    key: Option<PathBuf>,
    #[command(flatten)]
    accounts: AccountArgs,
    #[command(flatten)]
    log: LogArgs,
    /// On how many servers a new stream is kept: 1, 3 or 5 [default: 1]
    #[arg(long, value_name = "N", help_heading = "Log")]
    replicas: Option<usize>,
    /// Block time of block 0, microseconds since the Unix epoch [default: now]
    #[arg(long, value_name = "MICROS")]
    time: Option<u64>,
    /// Ask for a passphrase for the producer's key
    #[arg(long)]
    passphrase: bool,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags {
        dir: args.dir.clone(),
        log: args.log.clone(),
        nats_replicas: args.replicas,
        ..Flags::default()
    };
    let config = run.configure(flags, "warn")?;
    let (mut kernel, domain) = parameters(run.app, args.parameters.as_deref())?;
    kernel.registration = args.registration.unwrap_or(kernel.registration);
    let others = args.accounts.read()?;
    let (key, file) = producer(args, &others)?;
    let timestamp = args.time.map_or_else(|| Clock::system().now(), Timestamp);
    let mut genesis = genesis(&*run.app.machine, &args.name, timestamp, kernel, domain, &key);
    genesis.accounts = others.with(&key.public())?;
    if let Some(own) = genesis.accounts.iter_mut().find(|account| account.key == key.public()) {
        own.sponsorships = args.sponsorships;
    }
    // Refused before anything is written.
    seal_genesis(&*run.app.machine, &genesis, &key)?;
    let file = if let Some(file) = file {
        file
    } else {
        let ask = || keyfile::passphrase(Path::new("the producer's key"), true);
        let passphrase = args.passphrase.then(ask).transpose()?;
        KeyFile::new(account_of(&key.public()), &key, passphrase.as_deref().map(String::as_str))?
    };
    let runtime = runtime()?;
    runtime.block_on(preflight(&config))?;
    let dir = DataDir::create(&config.dir)?;
    let made = runtime.block_on(async {
        let (chain, home) = write_chain(run.app, &config, &dir, &genesis, &key, &file).await?;
        home.close().await;
        Ok::<_, CliError>(chain)
    });
    let chain = made.map_err(|error| left_behind(error, &dir))?;
    dir.seal(&chain)?;
    let made = json!({
        "chain": chain.id, "name": genesis.name, "domain": genesis.domain, "dir": dir.root(),
        "log": without_secrets(&chain.log.to_string()),
        "producer": account_of(&key.public()), "producer_key": key.public(),
    });
    run.output.print(&made, || {
        format!("{}\nnext: {} up --dir {}", crate::output::human(&made), run.app.name, dir.root().display())
    });
    Ok(())
}

/// An error after which a directory is there that holds no chain.
pub(crate) fn left_behind(error: CliError, dir: &DataDir) -> CliError {
    let hint = format!("remove {} before you try again", dir.root().display());
    CliError { hint: Some(error.hint.map_or_else(|| hint.clone(), |own| format!("{own}; {hint}"))), ..error }
}

/// The key that seals block 0, and its file if it was given.
fn producer(args: &Args, others: &Others) -> Outcome<(SecretKey, Option<KeyFile>)> {
    if let Some(path) = &args.key {
        let file = KeyFile::read(path)?;
        let signer = file.unlock(path, || keyfile::passphrase(path, false))?;
        if signer.account != account_of(&signer.key.public()) {
            let message = format!("{} is a later key of account {}", path.display(), signer.account);
            return Err(CliError::usage("key_rotated", message)
                .hint("a chain starts with first keys: make one with `key new FILE`, without --account"));
        }
        return Ok((signer.key, Some(file)));
    }
    if let Some(seed) = &args.seed {
        return Ok((Seed::of(seed).key("producer"), None));
    }
    for _ in 0..DRAWS_MAX {
        let key = SecretKey::generate()
            .map_err(|error| CliError::new(Exit::Unavailable, "randomness_unavailable", error.to_string()))?;
        if others.come_after(&key.public()) {
            return Ok((key, None));
        }
    }
    let message = format!("none of {DRAWS_MAX} fresh keys is lower than those of the other producers");
    Err(CliError::new(Exit::Unavailable, "producer_not_first", message)
        .hint("give the lowest one's file with --key"))
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
        accounts: vec![GenesisAccount {
            key: key.public(),
            role: Role::Producer,
            weight: 1,
            sponsorships: 0,
        }],
    }
}

/// Fills a new data directory with the producer's key, and its log with block 0. It holds a chain once the answer is
/// sealed into it with [`DataDir::seal`].
pub(crate) async fn write_chain(
    app: &App,
    config: &Config,
    dir: &DataDir,
    genesis: &Genesis,
    key: &SecretKey,
    file: &KeyFile,
) -> Outcome<(Chain, LogHome)> {
    let (id, block) = seal_genesis(&*app.machine, genesis, key)?;
    file.write_new(&dir.producer_key())?;
    let log = LogChoice::of(config, &LogChoice::Embedded)?;
    let chain = Chain { id, name: genesis.name.clone(), domain: genesis.domain.clone(), log };
    let home = open_any_log(config, dir, &chain, true).await?;
    let written = async {
        write_genesis(&*home.log, block).await?;
        // Other nodes may have no permission to make it.
        let board = home.board(config, dir, id, true).await?;
        board.close().await;
        Ok(())
    };
    match written.await {
        Ok(()) => Ok((chain, home)),
        Err(error) => {
            home.close().await;
            Err(error)
        }
    }
}

/// Appends block 0, unless the log begins with this very block already.
async fn write_genesis(log: &dyn EventLog, block: Bytes) -> Outcome {
    match log.append(Sequence(0), block.clone()).await {
        Ok(_) => Ok(()),
        Err(AppendError::TipMoved { .. } | AppendError::Unclear { .. }) => {
            let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
            let first = log.read(Sequence(1), limits).await?.into_iter().next();
            if first.is_some_and(|entry| entry.message == block) {
                return Ok(());
            }
            let message = format!("the {} holds other messages already", log.description());
            Err(CliError::new(Exit::Refused, "log_occupied", message).hint(
                "a chain begins in an empty log; to run a further node of a chain that is there use `join`",
            ))
        }
        Err(error) => Err(error.into()),
    }
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
    time_step_max: Option<Micros>,
    valid_until_max: Option<Micros>,
    registration: Option<Registration>,
    author_events_max: Option<u32>,
    author_window: Option<Micros>,
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
        kernel = Parameters {
            time_step_max: changed.time_step_max.unwrap_or(kernel.time_step_max),
            valid_until_max: changed.valid_until_max.unwrap_or(kernel.valid_until_max),
            registration: changed.registration.unwrap_or(kernel.registration),
            author_events_max: changed.author_events_max.unwrap_or(kernel.author_events_max),
            author_window: changed.author_window.unwrap_or(kernel.author_window),
        };
        kernel.check().map_err(refused)?;
    }
    let domain = match file.domain {
        Some(json) => app.machine.parameters_from_json(&json).map_err(refused)?,
        None => app.machine.default_parameters(),
    };
    Ok((kernel, domain))
}
