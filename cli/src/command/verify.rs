//! `verify`: proofs and blocks, offline, against what is trusted.

use std::path::{Path, PathBuf};

use chaoschain_query::verify::{Trust, TrustedHeader, Verified, verify_block, verify_file};
use chaoschain_schemas::limits::{BLOCK_BYTES_MAX, PROOF_BYTES_MAX};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::config::Flags;
use crate::error::{CliError, Exit, Outcome};
use crate::output::human;

/// The longest trust file that is read, bytes.
const TRUST_BYTES_MAX: u64 = 64 * 1024;

/// Verify a proof or a block offline, against a trust file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verify a proof file of `get … --proof FILE`
    #[command(after_help = "Example:
  chaoschain verify proof ana.proof --trust demo.trust")]
    Proof(File),
    /// Verify a block file of `get block HEIGHT --raw FILE`
    #[command(after_help = "Example:
  chaoschain verify block 7.block --trust demo.trust")]
    Block(File),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The file to verify
    file: PathBuf,
    /// What is trusted: chain id and producer keys, TOML or JSON; `trust` writes one
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    run.configure(Flags::default(), "warn")?;
    let (What::Proof(file) | What::Block(file)) = &args.what;
    let Some(trust) = &file.trust else {
        let message = format!("nothing of {} is verified: no trust was given", file.file.display());
        return Err(CliError::new(Exit::Refused, "trust_missing", message)
            .hint("give --trust FILE; `chaoschain trust` writes one for a chain you run"));
    };
    let trust = read_trust(trust)?;
    let shown = match &args.what {
        What::Proof(file) => proof(run, &file.file, &trust)?,
        What::Block(file) => block(&file.file, &trust)?,
    };
    run.output.print(&shown, || human(&shown));
    Ok(())
}

fn proof(run: &Run<'_>, file: &Path, trust: &Trust) -> Outcome<Json> {
    let bytes = read_bounded(file, PROOF_BYTES_MAX as u64)?;
    Ok(match verify_file(&bytes, trust, Some(&*run.app.machine))? {
        Verified::Read(read) => {
            let question = json!({ "read": read.read, "arguments": read.arguments });
            let mut shown = verified(
                &read.header,
                &json!(read.level),
                &["that the producer followed the rules (replay the log for that)"],
            );
            shown["question"] = question;
            shown["answer"] = read.value.unwrap_or_default();
            shown
        }
        Verified::Event(event) => {
            let mut shown = verified(
                &event.header,
                &json!(event.level),
                &[
                    "that the signing keys were their accounts' and the rules allow it (replay the log for that)",
                ],
            );
            shown["address"] = json!(event.address.to_string());
            shown["event"] = event.value.unwrap_or_default();
            shown
        }
    })
}

fn block(file: &Path, trust: &Trust) -> Outcome<Json> {
    let bytes = read_bounded(file, BLOCK_BYTES_MAX as u64)?;
    let verified_block = verify_block(&bytes, trust)?;
    let unchecked = [
        "that its parent is on the chain",
        "that its events are acceptable and give its state root (replay the log for that)",
    ];
    let mut shown = verified(&verified_block.header, &json!(verified_block.level), &unchecked);
    shown["events"] = json!(verified_block.header.header().event_count);
    Ok(shown)
}

/// What holds, how far that goes, and what was not checked.
fn verified(header: &TrustedHeader, level: &Json, unchecked: &[&str]) -> Json {
    let always = ["that this is the newest height", "that validators agreed: the header is producer-signed"];
    let unchecked: Vec<_> = always.iter().chain(unchecked).collect();
    json!({
        "verified": true,
        "level": level,
        "label": "producer-signed",
        "signed_by": header.producer_key(),
        "at": header.at(),
        "not_checked": unchecked,
    })
}

fn read_trust(path: &Path) -> Outcome<Trust> {
    let bytes = read_bounded(path, TRUST_BYTES_MAX)?;
    let refused = |error: String| {
        let message = format!("{} is not a trust file: {error}", path.display());
        CliError::usage("trust_malformed", message)
            .hint("it holds chain = \"<64 hex>\" and producers = [\"<64 hex>\"], as TOML or JSON")
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| refused(error.to_string()))?;
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| refused(error.to_string()))
    } else {
        Figment::from(Toml::string(text)).extract().map_err(|error| refused(error.to_string()))
    }
}

/// Reads a file that may have so many bytes.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Outcome<Vec<u8>> {
    let failed = |error: std::io::Error| CliError::file("read", path, &error);
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > bytes_max {
        let message =
            format!("{} has {bytes} bytes, more than the {bytes_max} such a file may have", path.display());
        return Err(CliError::usage("file_too_large", message));
    }
    std::fs::read(path).map_err(failed)
}
