//! `submit`: builds, signs and submits a transition.

use std::path::PathBuf;
use std::time::Duration;

use chaoschain_command::Clock;
use chaoschain_events::envelope::{self, VerifiedEnvelope};
use chaoschain_schemas::api::{ReadPoint, Receipt};
use chaoschain_schemas::control::{Account, ChainState, Parameters};
use chaoschain_schemas::{
    BODY_VERSION, Blob, Body, CorrelationId, Expectation, Hash, Micros, Timestamp, TransitionId,
};
use chaoschain_state::control;
use chaoschain_state::domain::{KindSpec, Machine};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::args::Run;
use crate::client::Client;
use crate::config::Flags;
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::{self, Signer};
use crate::output::human;

/// How long a transition may wait for a block where nothing is said and the chain allows as much.
const VALID_FOR: Micros = Micros::from_secs(5 * 60);
/// How often a transition is signed at most, when block time runs away from it.
const SIGNINGS_MAX: usize = 3;

/// Build, sign and submit a transition, and print its receipt
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain submit --kinds
  chaoschain submit AgentRegistration --field personality=Chaotic --key ana.key
  chaoschain submit ReputationUpdate --field subject=9f2c… --field rating=0.8 --key ana.key
  chaoschain submit AllianceFormation --json-body '{…}' --key ana.key --cosign bob.key
  chaoschain key new next.key --account <ana's account>
  chaoschain submit KeyRotation --field new_key=77ab… --key ana.key --cosign next.key

The new key of a KeyRotation signs for the account it comes to: next.key has to be made with `key new --account`,
else it would sign for an account of its own and be refused with cosignature_unneeded.
A field's value is text where the kind's example has text, JSON otherwise; NAME:=JSON is always JSON.
While the node is busy the same bytes are sent again: they give one event and one receipt.")]
pub(crate) struct Args {
    /// The kind of the transition
    #[arg(required_unless_present = "kinds")]
    kind: Option<String>,
    /// List the kinds with their help and an example, and end
    #[arg(long)]
    kinds: bool,
    /// The payload as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "field")]
    json_body: Option<String>,
    /// A field of the payload; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    field: Vec<String>,
    /// The author's key file
    #[arg(long, value_name = "FILE", required_unless_present = "kinds")]
    key: Option<PathBuf>,
    /// The key file of a further party; may be repeated
    #[arg(long, value_name = "FILE")]
    cosign: Vec<PathBuf>,
    /// Which of the author's 16 independent nonce counters to use
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..16))]
    lane: u8,
    /// The nonce [default: the lane's next, asked of the node]
    #[arg(long)]
    nonce: Option<u64>,
    /// What must hold: SUBTREE/KEYHEX=VALUEHASH, or SUBTREE/KEYHEX=absent; may be repeated
    #[arg(long, value_name = "EXPECTATION")]
    expect: Vec<String>,
    /// How long it may wait for a block: 30s, 5m, 1h [default: 5m, or the most that the chain allows]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    valid_for: Option<Duration>,
    /// When the thing happened, microseconds since the Unix epoch
    #[arg(long, value_name = "MICROS")]
    occurred_at: Option<u64>,
    /// The piece of work it belongs to, 32 hex digits
    #[arg(long, value_name = "ID")]
    correlation: Option<CorrelationId>,
    /// The transition that caused it
    #[arg(long, value_name = "ID")]
    causation: Option<TransitionId>,
    /// Only say what would become of it
    #[arg(long)]
    dry_run: bool,
    /// The node's address, or nats://HOST:PORT?chain=ID
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// The node to read from, where the one that is submitted to has no role query [default: that one]
    #[arg(long, value_name = "URL")]
    query_node: Option<String>,
}

/// An answer of the node.
#[derive(Deserialize)]
struct Answer {
    at: ReadPoint,
    value: Json,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let config = run.configure(
        Flags { node: args.node.clone(), query_node: args.query_node.clone(), ..Flags::default() },
        "warn",
    )?;
    let (Some(kind), Some(key), false) = (&args.kind, &args.key, args.kinds) else {
        list_kinds(run);
        return Ok(());
    };
    let machine = &*run.app.machine;
    let spec = control::kind_named(machine, kind).ok_or_else(|| unknown_kind(machine, kind))?;
    let payload = payload(machine, spec, args)?;
    let expects: Vec<Expectation> =
        args.expect.iter().map(|text| expectation(machine, text)).collect::<Outcome<_>>()?;
    let author = keyfile::load(key)?;
    let cosigners: Vec<Signer> =
        args.cosign.iter().map(|path| keyfile::load(path)).collect::<Outcome<_>>()?;
    let (client, reads) = (Client::new(&config)?, Client::for_reads(&config)?);
    let signers: Vec<_> =
        std::iter::once(&author).chain(&cosigners).map(|signer| (signer.account, &signer.key)).collect();
    let mut signings_left = SIGNINGS_MAX;
    loop {
        signings_left -= 1;
        let body = body(&reads, args, &author, spec, payload.clone(), expects.clone())?;
        let signed = envelope::sign(&body, &signers)
            .map_err(|error| CliError::usage("transition_malformed", error.to_string()))?;
        match send(run, args, &client, &signed) {
            // Block time was far behind and has caught up meanwhile. What has expired can never be accepted.
            Err(error) if error.code == "expired" && signings_left > 0 => {
                tracing::info!("block time has moved on, signing again: {}", error.message);
            }
            sent => return sent,
        }
    }
}

fn send(run: &Run<'_>, args: &Args, client: &Client, signed: &VerifiedEnvelope) -> Outcome {
    if args.dry_run {
        let verdict: Json = client.submit(signed.bytes(), true)?;
        run.output.print(&verdict, || format!("not submitted\n{}", human(&verdict)));
        return Ok(());
    }
    tracing::info!(id = %signed.id(), "submitting");
    let receipt: Receipt = client.submit(signed.bytes(), false)?;
    run.output.show(&json!(receipt));
    Ok(())
}

fn list_kinds(run: &Run<'_>) {
    let machine = &*run.app.machine;
    let kinds: Vec<&KindSpec> = control::KINDS.iter().chain(machine.kinds()).collect();
    let listed: Json = kinds
        .iter()
        .map(|spec| json!({ "kind": spec.kind, "name": spec.name, "help": spec.help, "example": spec.example }))
        .collect();
    run.output.print(&listed, || {
        let line = |spec: &&KindSpec| {
            format!("{} ({})\n  {}\n  --json-body '{}'\n", spec.name, spec.kind, spec.help, spec.example)
        };
        kinds.iter().map(line).collect()
    });
}

fn unknown_kind(machine: &dyn Machine, kind: &str) -> CliError {
    let names: Vec<_> = control::KINDS.iter().chain(machine.kinds()).map(|spec| spec.name).collect();
    CliError::usage("kind_unknown", format!("there is no kind of transition named {kind:?}"))
        .hint(format!("one of {}; --kinds tells more", names.join(", ")))
}

/// The payload's bytes, out of its JSON form or its fields.
fn payload(machine: &dyn Machine, spec: &KindSpec, args: &Args) -> Outcome<Blob> {
    let refused = |reason: String| {
        CliError::usage("payload_invalid", format!("the payload of {} is refused: {reason}", spec.name))
            .hint(format!("for example --json-body '{}'", spec.example))
    };
    let json = match &args.json_body {
        Some(text) => serde_json::from_str(text).map_err(|error| refused(error.to_string()))?,
        None => fields(spec, &args.field).map_err(refused)?,
    };
    control::transition_from_json(machine, spec.kind, &json).map_err(refused)
}

fn fields(spec: &KindSpec, fields: &[String]) -> Result<Json, String> {
    let example: Json = serde_json::from_str(spec.example).unwrap_or_default();
    let mut object = Map::new();
    for field in fields {
        let (name, value) = field.split_once('=').ok_or_else(|| format!("{field:?} is not NAME=VALUE"))?;
        let parse = |value: &str| {
            serde_json::from_str::<Json>(value)
                .map_err(|error| format!("field {name}: {value:?} is not JSON: {error}"))
        };
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => (name, parse(value)?),
            None => match example.get(name) {
                Some(Json::String(_)) => (name, Json::from(value)),
                Some(_) => (name, parse(value)?),
                None => (name, serde_json::from_str(value).unwrap_or_else(|_| Json::from(value))),
            },
        };
        if object.insert(name.to_owned(), value).is_some() {
            return Err(format!("field {name} is given twice"));
        }
    }
    Ok(object.into())
}

/// Reads `SUBTREE/KEYHEX=VALUEHASH|absent`.
fn expectation(machine: &dyn Machine, text: &str) -> Outcome<Expectation> {
    let parse = || {
        let (place, value) = text.split_once('=')?;
        let (sub_tree, key) = place.split_once('/')?;
        let named =
            ["control", "blocks"].iter().chain(machine.sub_trees()).position(|name| *name == sub_tree);
        let sub_tree =
            named.and_then(|number| u8::try_from(number).ok()).or_else(|| sub_tree.parse().ok())?;
        let value = if value == "absent" { None } else { Some(value.parse::<Hash>().ok()?) };
        Some(Expectation { sub_tree, key: hex::decode(key).ok()?.into(), value })
    };
    parse().ok_or_else(|| {
        CliError::usage(
            "expectation_malformed",
            format!("the expectation {text:?} is not of the form SUBTREE/KEYHEX=VALUEHASH"),
        )
        .hint("`chaoschain get record SUBTREE KEYHEX` prints the value hash of a record")
    })
}

/// Puts the body together, asking the node for what only it knows.
fn body(
    client: &Client,
    args: &Args,
    author: &Signer,
    spec: &KindSpec,
    payload: Blob,
    expects: Vec<Expectation>,
) -> Outcome<Body> {
    let parameters: Answer = client.get("/v1/parameters")?;
    let unreadable = |error: serde_json::Error| {
        CliError::new(
            Exit::Unavailable,
            "answer_malformed",
            format!("the node's answer cannot be read: {error}"),
        )
    };
    let kernel: Parameters =
        serde_json::from_value(parameters.value["kernel"].clone()).map_err(unreadable)?;
    let state: ChainState = serde_json::from_value(parameters.value["chain"].clone()).map_err(unreadable)?;
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => next_nonce(client, author, args.lane)?,
    };
    Ok(Body {
        version: BODY_VERSION,
        chain: parameters.at.chain,
        epoch: state.epoch,
        author: author.account,
        lane: args.lane,
        nonce,
        valid_until: valid_until(Clock::system().now(), parameters.at.timestamp, &kernel, args.valid_for)?,
        occurred_at: args.occurred_at.map(Timestamp),
        correlation: args.correlation,
        causation: args.causation,
        expects,
        attachment: None,
        kind: spec.kind,
        payload,
    })
}

fn next_nonce(client: &Client, author: &Signer, lane: u8) -> Outcome<u64> {
    match client.get::<Answer>(&format!("/v1/account/{}", author.account)) {
        Ok(answer) => {
            let account: Account = serde_json::from_value(answer.value).map_err(|error| {
                CliError::new(
                    Exit::Unavailable,
                    "answer_malformed",
                    format!("the node's account cannot be read: {error}"),
                )
            })?;
            Ok(account.nonces[usize::from(lane)])
        }
        // Whoever is not registered yet starts at the beginning.
        Err(error) if error.code == "absent" => Ok(0),
        Err(error) => Err(error),
    }
}

/// The end of validity in block time, which may lag behind the clock: the next block's time is the clock's, held within
/// one step of the newest block's.
fn valid_until(
    now: Timestamp,
    head: Timestamp,
    kernel: &Parameters,
    valid_for: Option<Duration>,
) -> Outcome<Timestamp> {
    let next = now.clamp(head, head.saturating_add(kernel.time_step_max));
    let longest = kernel.valid_until_max;
    let wanted = match valid_for.map(|span| Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))) {
        Some(wanted) if wanted > longest => {
            let message = format!(
                "--valid-for is longer than this chain allows: {:?}",
                Duration::from_micros(longest.0)
            );
            return Err(CliError::new(Exit::Refused, "validity_too_long", message)
                .hint("give a shorter one, or none for the longest up to 5 minutes"));
        }
        Some(wanted) => wanted,
        None => VALID_FOR.min(longest),
    };
    Ok(next.saturating_add(wanted))
}

/// Reads `30s`, `5m`, `1h` or `250ms`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} does not start with a number"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{unit:?} is none of ms, s, m, h")),
    };
    Ok(Duration::from_millis(number.saturating_mul(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_take_their_form_from_the_example() {
        let spec = KindSpec {
            kind: 300,
            name: "X",
            bytes_max: 10,
            registers: false,
            since: 1,
            help: "",
            example: r#"{"rating":"0.5","drama":4,"targets":["a"]}"#,
        };
        let given = ["rating=0.8", "drama=7", "targets=[\"b\"]", "note=hi", "n:=null"].map(str::to_owned);
        assert_eq!(
            fields(&spec, &given).unwrap(),
            json!({ "rating": "0.8", "drama": 7, "targets": ["b"], "note": "hi", "n": null })
        );
        assert!(fields(&spec, &["drama=x".into()]).unwrap_err().contains("not JSON"));
        assert!(fields(&spec, &["drama".into()]).unwrap_err().contains("NAME=VALUE"));
        assert!(fields(&spec, &["rating=1".into(), "rating=1".into()]).unwrap_err().contains("twice"));
    }

    #[test]
    fn spans_have_units() {
        assert_eq!(span("5m").unwrap(), Duration::from_mins(5));
        assert_eq!(span("250ms").unwrap(), Duration::from_millis(250));
        for bad in ["", "5", "m", "5d", "-5s"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn validity_is_in_block_time() {
        let kernel =
            Parameters { time_step_max: Micros(100), valid_until_max: Micros(60), ..Parameters::default() };
        let until = |now, micros: Option<u64>| {
            valid_until(Timestamp(now), Timestamp(990), &kernel, micros.map(Duration::from_micros))
        };
        assert_eq!(until(1000, Some(50)).unwrap(), Timestamp(1050));
        // Far behind the clock: one step at a time.
        assert_eq!(until(9000, Some(60)).unwrap(), Timestamp(1150));
        // Ahead of the clock.
        assert_eq!(until(10, Some(50)).unwrap(), Timestamp(1040));
        // Who says nothing gets what there is; who wants more is told.
        assert_eq!(until(1000, None).unwrap(), Timestamp(1060));
        assert_eq!(until(1000, Some(61)).unwrap_err().code, "validity_too_long");
    }
}
