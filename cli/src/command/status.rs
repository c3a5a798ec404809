//! `status`: how a node is doing.

use std::path::PathBuf;

use chaoschain_events::log::EventLog as _;
use chaoschain_projector::Store;
use chaoschain_schemas::Header;
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::client::Client;
use crate::config::Flags;
use crate::datadir::DataDir;
use crate::error::{CliError, Exit, Outcome};
use crate::node::{open_log, runtime};
use crate::output::human;

/// Show how a node is doing, or what a stopped node's directory holds
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain status
  chaoschain status --dir demo      # of a stopped node

A node that has stopped at its last good height ends this with exit code 4.")]
pub(crate) struct Args {
    /// The node's address
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    node: Option<String>,
    /// Look into the data directory of a stopped node instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { node: args.node.clone(), dir: args.dir.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    if args.dir.is_some() {
        let status = stored(&DataDir::at(config.dir))?;
        run.output.show(&status);
        return Ok(());
    }
    let client = Client::new(&config.node, config.patience())?;
    let projection: Json = client.get("/v1/status")?;
    let command: Json = client.get("/v1/node/command")?;
    let status = json!({ "node": config.node, "projection": projection["value"], "command": command });
    run.output.print(&status, || human(&status));
    let condition = &status["projection"]["condition"];
    match condition["state"].as_str() {
        Some("following") | None => Ok(()),
        Some(_) => {
            let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
            Err(CliError::new(Exit::Corrupt, text("code"), text("message"))
                .hint("the node serves its last good height; stop it and run `chaoschain doctor --deep`"))
        }
    }
}

/// What a directory holds, without checking it.
fn stored(dir: &DataDir) -> Outcome<Json> {
    let chain = dir.chain()?;
    let log = open_log(&dir.log())?;
    let (first, tip) =
        runtime()?.block_on(async { Ok::<_, CliError>((log.first().await?, log.tip().await?)) })?;
    let store = Store::open(&dir.state())?;
    let head = store.head()?;
    let header = head.as_ref().and_then(|(_, stored)| Header::decode(&stored.signed.header).ok());
    let skipped = store.skipped(5)?;
    let skipped: Vec<Json> = skipped
        .iter()
        .map(|skipped| json!({ "sequence": skipped.sequence, "class": skipped.class, "code": skipped.code }))
        .collect();
    Ok(json!({
        "dir": dir.root(),
        "chain": chain.id,
        "name": chain.name,
        "domain": chain.domain,
        "log": { "first": first, "tip": tip },
        "stored": header.map(|header| json!({
            "height": header.height,
            "header_hash": head.as_ref().map(|(_, stored)| Header::hash_of(&stored.signed.header)),
            "state_root": header.state_root,
            "timestamp": header.timestamp,
            "cursor": head.as_ref().map(|(_, stored)| stored.cursor),
        })),
        "skipped": skipped,
    }))
}
