//! `join`: makes a directory for a node of a chain that is there.

use std::path::{Path, PathBuf};

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{EventLog, ReadLimits};
use chaoschain_projector::open_genesis;
use chaoschain_schemas::ChainId;
use serde_json::json;

use crate::App;
use crate::args::Run;
use crate::config::{Flags, LogArgs};
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::KeyFile;
use crate::log_home::{LogChoice, open_any_log, without_secrets};
use crate::node::runtime;
use crate::output::human;

/// Make a data directory for a further node of a chain whose log is on NATS
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain join --dir replica --chain 9f2c… --log nats://127.0.0.1:4222
  chaoschain join --dir two --chain 9f2c… --log nats --producer-key-file two.key
  chaoschain join --dir val --chain 9f2c… --log nats --validator-key-file val.key --nats-creds val.creds

The log has to begin with that very chain; its name and domain are taken from there. Key files are copied. What the node
may do with them is for the chain to say: a producer's account must have that role, a validator's some weight.")]
pub(crate) struct Args {
    /// The data directory; must be empty or not there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The chain's id, from somebody you trust
    #[arg(long, value_name = "ID")]
    chain: ChainId,
    /// The key file of a producer, for the role command
    #[arg(long, value_name = "FILE")]
    producer_key_file: Option<PathBuf>,
    /// The key file of a validator, for the role validator
    #[arg(long, value_name = "FILE")]
    validator_key_file: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { dir: args.dir.clone(), log: args.log.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    let log = LogChoice::of(&config, &LogChoice::Embedded)?;
    if log.servers().is_none() {
        let message = format!("the log of a chain that several nodes share cannot be {log}");
        return Err(
            CliError::usage("log_not_shared", message).hint("name its servers: --log nats://HOST:PORT")
        );
    }
    let read = |path: &Option<PathBuf>| path.as_deref().map(KeyFile::read).transpose();
    let (producer, validator) = (read(&args.producer_key_file)?, read(&args.validator_key_file)?);
    // Nothing is made before the log is seen to be that chain's.
    let unnamed = Chain { id: args.chain, name: String::new(), domain: String::new(), log };
    let chain = runtime()?.block_on(async {
        let home = open_any_log(&config, &DataDir::at(&config.dir), &unnamed, false).await?;
        let named = begins_with(run.app, &*home.log, unnamed).await;
        home.close().await;
        named
    })?;
    let dir = DataDir::create(&config.dir)?;
    let copy = |file: Option<KeyFile>, path: &Path| file.map(|file| file.write_new(path)).transpose();
    copy(producer, &dir.producer_key())?;
    copy(validator, &dir.validator_key())?;
    dir.seal(&chain)?;
    let made = json!({
        "chain": chain.id, "name": chain.name, "domain": chain.domain, "dir": dir.root(),
        "log": without_secrets(&chain.log.to_string()),
    });
    run.output.print(&made, || {
        format!("{}\nnext: {} up --dir {}", human(&made), run.app.name, dir.root().display())
    });
    Ok(())
}

/// The chain with its name and domain, out of the block the log begins with.
async fn begins_with(app: &App, log: &dyn EventLog, chain: Chain) -> Outcome<Chain> {
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    let first = log.read(log.first().await?, limits).await?.into_iter().next();
    let entry = first.ok_or_else(|| {
        let message = format!("the {} is empty: no chain begins there", log.description());
        CliError::new(Exit::Refused, "log_empty", message).hint("`init` makes a new chain")
    })?;
    open_genesis(&*app.machine, entry.sequence, &entry.message, Some(chain.id))?;
    let block = VerifiedBlock::verify(entry.message).map_err(|error| {
        CliError::new(
            Exit::Corrupt,
            "genesis_malformed",
            format!("the log's first message is no block: {error}"),
        )
    })?;
    let (genesis, _) = block.genesis().ok_or_else(|| {
        CliError::new(Exit::Corrupt, "genesis_malformed", "the log does not begin with a genesis block")
    })?;
    Ok(Chain { name: genesis.name.clone(), domain: genesis.domain.clone(), ..chain })
}
