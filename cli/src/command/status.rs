//! `status`: how a node is doing.

use std::path::PathBuf;
use std::time::Duration;

use chaoschain_schemas::Header;
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::client::Client;
use crate::config::{Config, Flags, LogArgs};
use crate::datadir::{DataDir, evidence_in, stop_in};
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::open_any_log;
use crate::node::{log_is_behind, runtime};
use crate::output::human;

/// How long a node may take to say how it is doing: it has nothing to wait for, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Show how a node is doing, or what a stopped node's directory holds
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain status
  chaoschain status --dir demo      # of a stopped node

A node that has stopped at its last good height ends this with exit code 4, also when it was ended meanwhile.")]
pub(crate) struct Args {
    /// The node's address
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    node: Option<String>,
    /// Look into the data directory of a stopped node instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags =
        Flags { node: args.node.clone(), dir: args.dir.clone(), log: args.log.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    if args.dir.is_some() {
        let Stored { shown, trouble } = stored(&config)?;
        run.output.show(&shown);
        return trouble.map_or(Ok(()), Err);
    }
    let client = Client::new(&config)?;
    let mut status = json!({ "node": config.node });
    let node: Json = client.get_within("/v1/node", PATIENCE)?;
    if let (Some(whole), Some(node)) = (status.as_object_mut(), node.as_object()) {
        whole.extend(node.clone());
    }
    run.output.print(&status, || human(&status));
    let condition = &status["projection"]["condition"];
    match condition["state"].as_str() {
        Some("following") | None => Ok(()),
        Some(_) => {
            let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
            let next = status["projection"]["divergence"]["next"].as_str();
            let next = next.unwrap_or(
                "the node serves its last good height; stop it and run `chaoschain doctor --deep`",
            );
            Err(CliError::new(Exit::Corrupt, text("code"), text("message")).hint(next))
        }
    }
}

/// What a directory holds.
struct Stored {
    shown: Json,
    /// What is wrong with it, as far as that shows without checking anything.
    trouble: Option<CliError>,
}

/// What a directory holds, without checking it.
fn stored(config: &Config) -> Outcome<Stored> {
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain()?;
    let (log, tip) = runtime()?.block_on(async {
        let home = open_any_log(config, &dir, &chain, false).await?;
        let ends = async { Ok::<_, CliError>((home.log.first().await?, home.log.tip().await?)) }.await;
        let place = home.log.description();
        home.close().await;
        ends.map(|(first, tip)| (json!({ "place": place, "first": first, "tip": tip }), tip))
    })?;
    let store = dir.open_store()?;
    let head = store.head()?;
    let header = head.as_ref().and_then(|(_, stored)| Header::decode(&stored.signed.header).ok());
    let skipped = store.skipped(5)?;
    let skipped: Vec<Json> = skipped
        .iter()
        .map(|skipped| json!({ "sequence": skipped.sequence, "class": skipped.class, "code": skipped.code }))
        .collect();
    let (at, cursor) = head.as_ref().map_or_else(Default::default, |(_, head)| (head.sequence, head.cursor));
    let behind = (at > tip).then(|| log_is_behind(tip, at));
    let trouble = behind.or_else(|| stop_in(&dir, cursor));
    let shown = json!({
        "dir": dir.root(),
        "chain": chain.id,
        "name": chain.name,
        "domain": chain.domain,
        "log": log,
        "stored": header.map(|header| json!({
            "height": header.height,
            "header_hash": head.as_ref().map(|(_, stored)| Header::hash_of(&stored.signed.header)),
            "state_root": header.state_root,
            "timestamp": header.timestamp,
            "cursor": head.as_ref().map(|(_, stored)| stored.cursor),
        })),
        "skipped": skipped,
        "evidence": evidence_in(&dir.state()),
    });
    Ok(Stored { shown, trouble })
}
