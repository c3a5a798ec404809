//! `get`: reads, from a node or from a stopped node's directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chaoschain_query::{Ask, At, Finality, Query, catalogue};
use chaoschain_schemas::{EventAddress, Height};
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::client::{Client, path_part};
use crate::config::{Config, Flags};
use crate::datadir::DataDir;
use crate::error::{CliError, Exit, Outcome};
use crate::node::{Node, runtime};
use crate::output::human;

/// Read something: state, blocks, witnesses, events, root, finality, status
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain get reads                          # what can be asked
  chaoschain get status
  chaoschain get root
  chaoschain get finality                       # how far validators agree
  chaoschain get agent 9f2c… --proof ana.proof
  chaoschain get agent 9f2c… --finalized --proof ana.proof
  chaoschain get relationship 9f2c… 1f3c…
  chaoschain get block 7 --raw 7.block
  chaoschain get witness 7 --out 7.witness      # the block and what it takes to run it again
  chaoschain get event 7 0                      # by address
  chaoschain get event 55ab…                    # by the transition's id
  chaoschain get leaderboard 20                 # a read model; in no root
  chaoschain get agent 9f2c… --dir demo         # of a stopped node

Every answer is of one height, which it names.")]
pub(crate) struct Args {
    /// What to read
    what: String,
    /// Its arguments
    arguments: Vec<String>,
    /// Write the proof of the answer to a file; of what does not exist, the proof of its absence
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// Write a block as it stands in the log to a file
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Write a witness to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Read the newest state that is final: more than two thirds of the validators' weight attest it. With a height, wait
    /// until that is
    #[arg(long)]
    finalized: bool,
    /// Read the state of exactly this height, while it is kept
    #[arg(long, value_name = "HEIGHT", conflicts_with = "min_height")]
    at_height: Option<u64>,
    /// Wait until this height is reached
    #[arg(long, value_name = "HEIGHT")]
    min_height: Option<u64>,
    /// The node's address
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    node: Option<String>,
    /// Read from the data directory of a stopped node instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What is asked.
enum Question {
    Status,
    Kinds,
    Reads,
    Finality,
    Block(Height),
    Witness(Height),
    Event(EventAddress),
    EventById(String),
    Read(String, Vec<String>),
    Model(String, Vec<String>),
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let flags = Flags { node: args.node.clone(), dir: args.dir.clone(), ..Flags::default() };
    let config = run.configure(flags, "warn")?;
    let question = question(run, args)?;
    if args.raw.is_some() && !matches!(question, Question::Block(_)) {
        return Err(CliError::usage(
            "raw_not_a_block",
            "only a block has a raw form: `get block HEIGHT --raw FILE`",
        ));
    }
    if args.out.is_some() != matches!(question, Question::Witness(_)) {
        return Err(CliError::usage(
            "out_not_a_witness",
            "--out names the file of a witness, which goes nowhere else: `get witness HEIGHT --out FILE`",
        ));
    }
    if args.proof.is_some() && matches!(question, Question::Witness(_)) {
        return Err(CliError::usage("argument_wrong", "a witness carries its own proof: leave --proof away"));
    }
    let (answer, raw) = match &args.dir {
        Some(_) => offline(run, args, &config, &question)?,
        None => online(args, &config, &question)?,
    };
    print(run, args, answer, raw)
}

fn question(run: &Run<'_>, args: &Args) -> Outcome<Question> {
    let wrong = |text: String| CliError::usage("argument_wrong", text);
    let height = |text: &str| text.parse().map(Height).map_err(|_| wrong(format!("{text:?} is no height")));
    Ok(match (args.what.as_str(), args.arguments.as_slice()) {
        ("status", []) => Question::Status,
        ("kinds", []) => Question::Kinds,
        ("reads", []) => Question::Reads,
        ("finality", []) => Question::Finality,
        ("block", [at]) => Question::Block(height(at)?),
        ("event", [id]) => Question::EventById(id.clone()),
        ("event", [at, index]) => {
            let index = index.parse().map_err(|_| wrong(format!("{index:?} is no index")))?;
            Question::Event(EventAddress { height: height(at)?, index })
        }
        ("witness", [at]) => Question::Witness(height(at)?),
        ("block" | "event" | "witness", _) => {
            let forms = "`get block HEIGHT`, `get witness HEIGHT --out FILE`, `get event HEIGHT INDEX` or `get event ID`";
            return Err(wrong(format!("say {forms}")));
        }
        (name, arguments) => {
            let named = catalogue(&*run.app.machine).any(|spec| spec.name == name);
            if named {
                Question::Read(name.to_owned(), arguments.to_vec())
            } else if (run.app.models)().iter().any(|model| model.name() == name) {
                Question::Model(name.to_owned(), arguments.to_vec())
            } else {
                return Err(CliError::usage(
                    "read_unknown",
                    format!("there is nothing named {name:?} to read"),
                )
                .hint(format!("`{} get reads` lists what can be asked", run.app.name)));
            }
        }
    })
}

fn online(args: &Args, config: &Config, question: &Question) -> Outcome<(Json, Option<Vec<u8>>)> {
    let client = Client::new(config)?;
    let mut query = Vec::new();
    query.extend(args.at_height.map(|height| format!("at_height={height}")));
    query.extend(args.min_height.map(|height| format!("min_height={height}")));
    if args.finalized {
        query.push("finality=finalized".to_owned());
    }
    if args.proof.is_some() {
        query.push("proof=true".to_owned());
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let arguments = |arguments: &[String]| {
        arguments.iter().fold(String::new(), |path, text| path + "/" + &path_part(text))
    };
    let path = match question {
        Question::Status => "/v1/status".to_owned(),
        Question::Kinds => "/v1/kinds".to_owned(),
        Question::Reads => "/v1/reads".to_owned(),
        Question::Finality => "/v1/finality".to_owned(),
        Question::Block(height) => format!("/v1/blocks/{height}"),
        Question::Witness(height) => {
            let bytes = client.get_bytes(&format!("/v1/blocks/{height}/witness{query}"))?;
            return Ok((json!({ "height": height }), Some(bytes)));
        }
        Question::Event(EventAddress { height, index }) => format!("/v1/events/{height}/{index}"),
        Question::EventById(id) => format!("/v1/events/by-id/{}", path_part(id)),
        Question::Read(name, rest) => format!("/v1/read/{name}{}", arguments(rest)),
        Question::Model(name, rest) => format!("/v1/models/{name}{}", arguments(rest)),
    };
    let raw = match (&args.raw, question) {
        (Some(_), Question::Block(height)) => Some(client.get_bytes(&format!("/v1/blocks/{height}/raw"))?),
        _ => None,
    };
    Ok((client.get(&format!("{path}{query}"))?, raw))
}

fn offline(
    run: &Run<'_>,
    args: &Args,
    config: &Config,
    question: &Question,
) -> Outcome<(Json, Option<Vec<u8>>)> {
    let dir = DataDir::at(&config.dir);
    let chain = dir.chain_of(run.app)?;
    runtime()?.block_on(async {
        let node = Node::open(run.app, config, &dir, &chain).await?;
        let outcome = async {
            // What a killed node has not stored is still in its log.
            node.catch_up().await?;
            ask(&Query::new(node.projection.clone()), args, question).await
        };
        let outcome = outcome.await;
        node.close().await;
        outcome
    })
}

async fn ask(query: &Query, args: &Args, question: &Question) -> Outcome<(Json, Option<Vec<u8>>)> {
    let at = match (args.at_height, args.min_height) {
        (Some(height), _) => At::Exactly(Height(height)),
        (None, Some(height)) => At::AtLeast(Height(height)),
        (None, None) => At::Newest,
    };
    // Nothing comes any more.
    let finality = if args.finalized { Finality::Finalized } else { Finality::Latest };
    let ask = Ask { at, finality, patience: Duration::ZERO, proof: args.proof.is_some() };
    let answer = match question {
        Question::Status => json!(query.status(&ask).await?),
        Question::Kinds => json!({ "value": query.kinds() }),
        Question::Reads => json!({ "value": query.reads() }),
        Question::Finality => json!(query.finality(&ask).await?),
        Question::Block(height) => json!(query.block(*height, &ask).await?),
        Question::Witness(height) => {
            let bytes = query.witness(*height, &ask).await?;
            return Ok((json!({ "height": height }), Some(bytes)));
        }
        Question::Event(address) => json!(query.event(*address, &ask).await?),
        Question::EventById(id) => {
            let id = id.parse().map_err(|error| {
                CliError::usage("argument_wrong", format!("the transition's id: {error}"))
            })?;
            json!(query.event_by_id(&id, &ask).await?)
        }
        Question::Read(name, arguments) => {
            let answer = query.read(name, arguments, &ask).await?;
            if answer.value.is_null() && !ask.proof {
                let asked_for =
                    std::iter::once(name).chain(arguments).map(String::as_str).collect::<Vec<_>>().join(" ");
                let message = format!("{asked_for}: there is none at height {}", answer.at.height);
                return Err(CliError::new(Exit::Refused, "absent", message)
                    .hint("with --proof its absence is proven"));
            }
            json!(answer)
        }
        Question::Model(name, arguments) => json!(query.model(name, arguments, &ask).await?),
    };
    let raw = match (&args.raw, question) {
        (Some(_), Question::Block(height)) => Some(query.block_message(*height, &ask).await?.0.to_vec()),
        _ => None,
    };
    Ok((answer, raw))
}

fn print(run: &Run<'_>, args: &Args, mut answer: Json, raw: Option<Vec<u8>>) -> Outcome {
    let mut notes = Vec::new();
    if let Some(path) = &args.proof {
        let proof = answer.as_object_mut().and_then(|answer| answer.remove("proof"));
        let proof = proof.as_ref().and_then(Json::as_str).and_then(|text| STANDARD.decode(text).ok());
        let proof = proof.ok_or_else(|| {
            CliError::new(
                Exit::Refused,
                "proof_missing",
                "the answer came without a proof; nothing was written",
            )
        })?;
        write(path, &proof)?;
        notes.push(format!("proof of {} bytes written to {}", proof.len(), path.display()));
        answer["proof_file"] = json!(path);
    }
    let written =
        args.out.as_ref().map(|path| (path, "witness")).or(args.raw.as_ref().map(|path| (path, "block")));
    if let (Some((path, what)), Some(raw)) = (written, raw) {
        write(path, &raw)?;
        notes.push(format!("{what} of {} bytes written to {}", raw.len(), path.display()));
        answer[if args.out.is_some() { "witness_file" } else { "raw_file" }] = json!(path);
        answer["bytes"] = json!(raw.len());
    }
    run.output.print(&answer, || {
        let mut text = match &answer["value"] {
            _ if args.out.is_some() => String::new(),
            Json::Null => "absent\n".to_owned(),
            value => human(value),
        };
        if let (Some(height), Some(root)) =
            (answer["at"]["height"].as_u64(), answer["at"]["state_root"].as_str())
        {
            let label = answer["label"].as_str().unwrap_or("unlabelled");
            notes.insert(0, format!("at height {height}, root {root} ({label})"));
        }
        for note in &notes {
            text = text + "# " + note + "\n";
        }
        text
    });
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    std::fs::write(path, bytes).map_err(|error| CliError::file("write", path, &error))
}
