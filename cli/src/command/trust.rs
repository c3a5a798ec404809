//! `trust`: the trust file of a chain, from a directory of one's own or from a node.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chaoschain_query::verify::{Trust, TrustedValidator};
use chaoschain_query::{Ask, Query};
use chaoschain_schemas::control::{Account, Genesis, Role};
use chaoschain_schemas::{AccountId, ChainId, EventAddress, Height, ProofFile, PublicKey};
use chaoschain_state::{StateVersion, control};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::client::{Client, path_part};
use crate::config::{Config, Flags};
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::KeyFile;
use crate::node::{Node, runtime};

/// The most producers that are written down.
const PRODUCERS_MAX: usize = 1024;
/// What a node cannot be asked.
const ONLY_OF_GENESIS: &str = "of producers only those are in it that genesis names and that still are any; those made later a node \
                               cannot be asked for: run this on a directory that no node uses, or add their keys";

/// Write down what to trust for verifying: a chain's id, domain, producers and validators
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain trust --dir demo --out demo.trust                    # of a chain you run
  chaoschain trust --node http://127.0.0.1:7878 --out demo.trust  # of one that somebody runs
  chaoschain verify proof ana.proof --trust demo.trust

Give the file to others by a way they trust: whoever changes it decides what verifies. What --node writes is that node's word:
compare the chain's id and the keys with what you know from elsewhere. Where only validators are to be believed, take the
producers out: then nothing verifies that is not final.
Producers that were granted their role later are found in a directory that no node uses. A node cannot be asked for them: what it
is asked gives those of genesis that still are any.
It needs no passphrase. While the node of a directory runs it is asked for the validators, at --node if that is not the
configured address.")]
pub(crate) struct Args {
    /// The chain's data directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A node of the chain
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// The file to write, as JSON if it ends in .json, else as TOML [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { dir: args.dir.clone(), node: args.node.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    let (trust, note) = match (&args.dir, &args.node) {
        (None, Some(_)) => (
            of_node(&config, None)?,
            Some(format!(
                "this is the node's word: compare the chain's id and the keys with what you know from elsewhere; \
                 {ONLY_OF_GENESIS}"
            )),
        ),
        (_, Some(_)) => {
            (of_node(&config, Some(DataDir::at(&config.dir).chain()?.id))?, Some(ONLY_OF_GENESIS.to_owned()))
        }
        (_, None) => of_dir(run, &config)?,
    };
    let json = json!(trust);
    let as_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    match &args.out {
        Some(out) => {
            let bytes = if as_json(out) { format!("{json}\n") } else { toml(&trust)? };
            std::fs::write(out, bytes).map_err(|error| CliError::file("write", out, &error))?;
            let shown = json!({ "file": out, "trust": json, "note": note });
            run.output.print(&shown, || {
                let note = note.map(|note| format!("\n# {note}")).unwrap_or_default();
                format!("written to {}{note}", out.display())
            });
        }
        None if run.output.json => run.output.show(&json),
        None => {
            let text = toml(&trust)?;
            run.output.print(&json, || note.map(|note| format!("# {note}\n")).unwrap_or_default() + &text);
        }
    }
    Ok(())
}

/// What a directory's state says; while it is in use, what the node says that uses it.
fn of_dir(run: &Run<'_>, config: &Config) -> Outcome<(Trust, Option<String>)> {
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain()?;
    if chain.domain != run.app.machine.id() {
        let note = format!(
            "the validators are not in it: only a program of the domain {:?} can read them",
            chain.domain
        );
        return Ok((of_key_file(&dir, &chain)?, Some(note)));
    }
    match of_state(run, config, &dir, &chain) {
        Ok(trust) => Ok((trust, None)),
        Err(error) if matches!(&*error.code, "log_locked" | "store_locked") => {
            match of_node(config, Some(chain.id)) {
                Ok(trust) => Ok((trust, Some(ONLY_OF_GENESIS.to_owned()))),
                Err(error) => {
                    let note = format!(
                        "the validators are not in it: the directory is in use, and the node at {} could not be asked ({}); \
                         name the right one with --node",
                        config.node, error.code
                    );
                    Ok((of_key_file(&dir, &chain)?, Some(note)))
                }
            }
        }
        Err(error) => Err(error),
    }
}

/// Trusts the chain's producer, whose key is in the directory, and nobody else.
fn of_key_file(dir: &DataDir, chain: &Chain) -> Outcome<Trust> {
    let key = KeyFile::read(&dir.producer_key())?.public_key;
    Ok(Trust { domain: Some(chain.domain.clone()), ..Trust::in_producers(chain.id, vec![key]) })
}

fn of_state(run: &Run<'_>, config: &Config, dir: &DataDir, chain: &Chain) -> Outcome<Trust> {
    runtime()?.block_on(async {
        let node = Node::open(run.app, config, dir, chain).await?;
        let outcome = async {
            node.catch_up().await?;
            let query = Query::new(node.projection.clone());
            let ask = Ask { patience: Duration::ZERO, proof: true, ..Ask::default() };
            let head = node.projection.head();
            let read = async |wanted: Wanted| match wanted {
                Wanted::Genesis => {
                    let first = EventAddress { height: Height::GENESIS, index: 0 };
                    Ok(json!(query.event(first, &ask).await?))
                }
                Wanted::Account(id) => Ok(json!(query.read("account", &[id.to_string()], &ask).await?)),
                Wanted::Validators => Ok(json!(query.read("validators", &[], &ask).await?)),
            };
            let mut trust = gather(Some(chain.id), read).await?;
            trust.producers = producers_of(&head.state)?;
            Ok(trust)
        };
        let outcome = outcome.await;
        node.close().await;
        outcome
    })
}

fn of_node(config: &Config, chain: Option<ChainId>) -> Outcome<Trust> {
    let client = Client::new(config)?;
    let read = async |wanted: Wanted| {
        client.get::<Json>(&match wanted {
            Wanted::Genesis => "/v1/events/0/0?proof=true".to_owned(),
            Wanted::Account(id) => format!("/v1/read/account/{}", path_part(&id.to_string())),
            Wanted::Validators => "/v1/read/validators".to_owned(),
        })
    };
    runtime()?.block_on(gather(chain, read))
}

/// The keys of all who may seal blocks by this state.
fn producers_of(state: &StateVersion) -> Outcome<Vec<PublicKey>> {
    let mut keys: Vec<_> =
        control::producers(state).map(|(_, account)| account.key).take(PRODUCERS_MAX + 1).collect();
    if keys.len() > PRODUCERS_MAX {
        let message = format!("the chain has more than {PRODUCERS_MAX} producers, the most that are written");
        return Err(CliError::new(Exit::Refused, "producers_too_many", message)
            .hint("write a trust file of those that you trust by hand"));
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// What is asked for.
enum Wanted {
    /// The genesis document, with its proof.
    Genesis,
    Account(AccountId),
    Validators,
}

/// The genesis document is checked against the chain's id; which keys accounts have now is the word of whoever answers. Of
/// producers those of genesis are asked for, and taken if they still are any: nobody answers who was made one later.
async fn gather(chain: Option<ChainId>, read: impl AsyncFn(Wanted) -> Outcome<Json>) -> Outcome<Trust> {
    let answer = read(Wanted::Genesis).await?;
    let chain = chain.map_or_else(|| field(&answer["at"]["chain"]), Ok)?;
    let genesis = genesis(&answer, chain)?;
    let mut producers: Vec<PublicKey> = Vec::new();
    for account in genesis.accounts.iter().filter(|account| account.role == Role::Producer) {
        let account = read(Wanted::Account(AccountId::from_first_key(&account.key))).await?;
        let account: Account = field(&account["value"])?;
        if control::may_produce(&account) {
            producers.push(account.key);
        }
    }
    producers.sort_unstable();
    let validators: Vec<TrustedValidator> = field(&read(Wanted::Validators).await?["value"]["members"])?;
    Ok(Trust { domain: Some(genesis.domain), validators, ..Trust::in_producers(chain, producers) })
}

fn genesis(answer: &Json, chain: ChainId) -> Outcome<Genesis> {
    let file = answer["proof"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let file = file.and_then(|bytes| ProofFile::decode(&bytes).ok());
    let document = file.and_then(|file| file.proof.event).map(|event| event.envelope);
    let document = document.ok_or_else(|| malformed("it gives no proof of the genesis document"))?;
    let got = ChainId::of_genesis(&document);
    if got != chain {
        let message = format!("the answer is of chain {got}, not of {chain}");
        return Err(CliError::new(Exit::Refused, "chain_wrong", message).hint("is this the right node?"));
    }
    Genesis::decode(&document).map_err(|error| malformed(&error.to_string()))
}

fn field<T: for<'a> Deserialize<'a>>(json: &Json) -> Outcome<T> {
    T::deserialize(json).map_err(|error| malformed(&error.to_string()))
}

fn malformed(what: &str) -> CliError {
    CliError::new(Exit::Unavailable, "answer_malformed", format!("the answer cannot be read: {what}"))
        .hint("is this a chaoschain node of this version?")
}

fn toml(trust: &Trust) -> Outcome<String> {
    use std::fmt::Write as _;
    let producers: Vec<_> = trust.producers.iter().map(|key| format!("\"{key}\"")).collect();
    let mut text = format!("chain = \"{}\"\n", trust.chain);
    if let Some(domain) = &trust.domain {
        let _ = writeln!(text, "domain = {}", json!(domain));
    }
    let _ = writeln!(text, "producers = [{}]", producers.join(", "));
    for TrustedValidator { account, key, weight } in &trust.validators {
        if i64::try_from(*weight).is_err() {
            let message =
                format!("validator {account} has a weight of {weight}, and TOML has no numbers that large");
            return Err(CliError::usage("weight_too_large", message).hint("write JSON: --out FILE.json"));
        }
        let _ =
            write!(text, "\n[[validators]]\naccount = \"{account}\"\nkey = \"{key}\"\nweight = {weight}\n");
    }
    Ok(text)
}
