//! `verify`: proofs, blocks and evidence, offline, against what is trusted.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use chaoschain_query::verify::{
    Agreement, Level, StateVerifier, Trust, TrustedHeader, Verified, VerifiedEquivocation, VerifiedFork,
    VerifyError, verify_block, verify_file,
};
use chaoschain_schemas::api::ReadPoint;
use chaoschain_schemas::limits::{PROOF_BYTES_MAX, WITNESS_BYTES_MAX};
use chaoschain_schemas::{FinalityProof, ProofFile, WitnessFile};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::config::Flags;
use crate::error::{CliError, Exit, Outcome};
use crate::output::human;

/// The longest trust file that is read, bytes.
const TRUST_BYTES_MAX: u64 = 256 * 1024;

/// Verify a proof, a block or evidence offline, against a trust file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Verify a proof file of `get … --proof FILE`, or evidence that a node has written
    #[command(
        visible_alias = "evidence",
        after_help = "Examples:
  chaoschain get agent 9f2c… --finalized --proof ana.proof
  chaoschain verify proof ana.proof --trust demo.trust
  chaoschain verify evidence equivocation.proof --trust demo.trust"
    )]
    Proof(File),
    /// Verify a block file: `get witness HEIGHT --out FILE` writes one on which the rules can be run again, `get block HEIGHT
    /// --raw FILE` one whose signatures can be checked
    #[command(after_help = "Examples:
  chaoschain get witness 7 --out 7.witness
  chaoschain verify block 7.witness --trust demo.trust   # it follows block 6, by the rules
  chaoschain verify block 7.block --trust demo.trust
  chaoschain get header 7 --finalized --proof 7.proof
  chaoschain verify block 7.block --finality 7.proof --trust demo.trust   # final, whoever sealed it")]
    Block {
        #[command(flatten)]
        file: File,
        /// A proof file about the same block that says it is final; of a witness, about the block before, unless it says so
        /// itself
        #[arg(long, value_name = "FILE")]
        finality: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct File {
    /// The file to verify
    file: PathBuf,
    /// What is trusted: chain id, producers and validators, TOML or JSON; `trust` writes one
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    run.configure(Flags::default(), "warn")?;
    let (What::Proof(file) | What::Block { file, .. }) = &args.what;
    let Some(trust) = &file.trust else {
        let message = format!("nothing of {} is verified: no trust was given", file.file.display());
        return Err(CliError::new(Exit::Refused, "trust_missing", message)
            .hint("give --trust FILE; `chaoschain trust` writes one for a chain you run"));
    };
    let trust = read_trust(trust)?;
    let shown = match &args.what {
        What::Proof(file) => proof(run, &file.file, &trust)?,
        What::Block { file, finality } => block(run, &file.file, finality.as_deref(), &trust)?,
    };
    run.output.print(&shown, || human(&shown));
    Ok(())
}

fn proof(run: &Run<'_>, file: &Path, trust: &Trust) -> Outcome<Json> {
    let bytes = read_bounded(file, PROOF_BYTES_MAX as u64)?;
    let checked = verify_file(&bytes, trust, Some(&*run.app.machine));
    let checked = checked.map_err(|error| match WitnessFile::decode(&bytes) {
        Ok(_) => another_file(file, "a witness", "verify block"),
        Err(_) => error.into(),
    })?;
    match checked {
        Verified::Read(read) => {
            let question = json!({ "read": read.read, "arguments": read.arguments });
            let unchecked = ["that the rules were followed (replay the log for that)"];
            let mut shown = verified(&read.header, read.level, &unchecked);
            shown["question"] = question;
            shown["answer"] = read.value.unwrap_or_default();
            Ok(shown)
        }
        Verified::Event(event) => {
            let unchecked = [
                "that the signing keys were their accounts' and the rules allow it (replay the log for that)",
            ];
            let mut shown = verified(&event.header, event.level, &unchecked);
            shown["address"] = json!(event.address.to_string());
            shown["event"] = event.value.unwrap_or_default();
            Ok(shown)
        }
        Verified::Equivocation(proof) => equivocation(&proof),
        Verified::Fork(proof) => fork(&proof),
    }
}

fn block(run: &Run<'_>, file: &Path, finality: Option<&Path>, trust: &Trust) -> Outcome<Json> {
    trust.check_domain(&*run.app.machine)?;
    let finality = finality.map(read_finality).transpose()?;
    let bytes = read_bounded(file, WITNESS_BYTES_MAX as u64)?;
    if WitnessFile::is_meant(&bytes) {
        let witness = WitnessFile::decode(&bytes).map_err(|error| match ProofFile::decode(&bytes) {
            Ok(_) => another_file(file, "a proof", "verify proof"),
            Err(_) => VerifyError::Malformed(error).into(),
        })?;
        return transition(run, witness, finality, trust);
    }
    let verified_block = verify_block(&bytes, finality.as_ref(), trust)?;
    let unchecked = [
        "that its parent is on the chain",
        "that its events are acceptable and give its state root (replay the log for that)",
    ];
    let mut shown = verified(&verified_block.header, verified_block.level, &unchecked);
    shown["events"] = json!(verified_block.header.header().event_count);
    Ok(shown)
}

fn another_file(file: &Path, what: &str, command: &str) -> CliError {
    CliError::usage("file_of_another_kind", format!("{} is {what}", file.display()))
        .hint(format!("check it with `chaoschain {command}`"))
}

/// Runs the block of a witness file again.
fn transition(
    run: &Run<'_>,
    mut file: WitnessFile,
    finality: Option<FinalityProof>,
    trust: &Trust,
) -> Outcome<Json> {
    file.finality = finality.or(file.finality);
    let followed = StateVerifier::new(trust, &*run.app.machine).verify(&file)?;
    let header = followed.block.header();
    let unchecked = [
        "that this is the block that the log has at its height: a producer can seal two, and both follow",
        "that the parent follows from its own parent",
    ];
    let mut shown = verified(&followed.parent, followed.level, &unchecked);
    shown["rules"] = json!(followed.rules);
    shown["events"] = json!(header.event_count);
    shown["changed_records"] = json!(followed.changes.len());
    shown["shown_records"] = json!(followed.records_shown);
    shown["signed_by"] = json!(followed.block.producer_key());
    // Whoever vouches does so for the parent: the block follows from it.
    shown["parent"] = json!({ "at": shown["at"], "agreement": shown["agreement"], "label": shown["label"] });
    if let Some(shown) = shown.as_object_mut() {
        shown.retain(|name, _| !matches!(name.as_str(), "agreement" | "label"));
    }
    shown["at"] = json!(ReadPoint {
        chain: header.chain,
        height: header.height,
        header_hash: followed.block.header_hash(),
        state_root: header.state_root,
        timestamp: header.timestamp,
    });
    Ok(shown)
}

/// What holds, how far that goes, who vouches for it, and what was not checked.
fn verified(header: &TrustedHeader, level: Level, unchecked: &[&str]) -> Json {
    let agreement = header.agreement();
    let newest = "that this is the newest height";
    let mut not_checked = vec![newest];
    not_checked.extend(beyond(agreement));
    not_checked.extend(unchecked);
    json!({
        "verified": true,
        "level": level,
        "agreement": agreement,
        "label": label(agreement),
        "signed_by": header.producer_key(),
        "at": header.at(),
        "not_checked": not_checked,
    })
}

const fn label(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Finalized { .. } => "finalized",
        Agreement::Pinned => "pinned",
        Agreement::ProducerSigned => "producer-signed",
    }
}

/// What the one who vouches for a header leaves open.
const fn beyond(agreement: Agreement) -> Option<&'static str> {
    match agreement {
        Agreement::ProducerSigned => Some("that validators agreed: the header is producer-signed"),
        Agreement::Pinned => Some("who else vouches for the header: it is the one in the trust file"),
        Agreement::Finalized { .. } => None,
    }
}

fn equivocation(proof: &VerifiedEquivocation) -> Outcome<Json> {
    let VerifiedEquivocation { validator, key, height, hashes, weight } = proof;
    let Some(weight) = weight else {
        let message = format!(
            "both attestations of height {height} in the name of {validator} are signed with {key}, but the trust file has no \
             such validator: anyone can sign that"
        );
        return Err(untrusted(
            message,
            "add the validator with its key and weight to the trust file, if it is one",
        ));
    };
    Ok(json!({
        "verified": true,
        "level": Level::SignaturesAndProofs,
        "evidence": "equivocation",
        "validator": validator,
        "key": key,
        "weight": weight,
        "height": height,
        "header_hashes": hashes,
        "proves": "the validator has signed two headers at one height, which no honest one does",
        "not_checked": ["which of the two is history, or that either exists"],
    }))
}

fn fork(proof: &VerifiedFork) -> Outcome<Json> {
    let VerifiedFork { height, ours, theirs, agreement, by_producer } = proof;
    if !by_producer {
        let message = format!(
            "both blocks of height {height} are signed with {}, but the trust file has no such producer, and no block that it \
             vouches for names that key's account: anyone can sign that",
            ours.key
        );
        return Err(untrusted(message, "add the producer's key to the trust file, if it is one"));
    }
    let side = |side: &chaoschain_query::verify::ForkSide| {
        json!({
            "header_hash": side.hash,
            "parent": side.header.parent,
            "state_root": side.header.state_root,
            "timestamp": side.header.timestamp,
            "signed_by": side.key,
            "trusted_producer": side.trusted,
        })
    };
    let mut not_checked =
        vec!["that the producer meant it: a block that lost its place in the log is replaced honestly"];
    if !matches!(agreement, Some(Agreement::Finalized { .. } | Agreement::Pinned)) {
        not_checked
            .push("which of the two is history: that `ours` was is the word of whoever wrote the file");
    }
    if !ours.trusted {
        not_checked
            .push("that the key was still the producer's at that height: it is the first one of its account");
    }
    Ok(json!({
        "verified": true,
        "level": Level::SignaturesAndProofs,
        "evidence": "fork",
        "height": height,
        "agreement": agreement,
        "ours": side(ours),
        "theirs": side(theirs),
        "proves": "two blocks of one height are signed; a log that had one of them and now has the other was rewritten",
        "not_checked": not_checked,
    }))
}

fn untrusted(message: String, hint: &str) -> CliError {
    CliError::new(Exit::Refused, "evidence_untrusted", message).hint(hint)
}

fn read_finality(path: &Path) -> Outcome<FinalityProof> {
    let refused = |error: &str| {
        let message = format!("{} proves no finality: {error}", path.display());
        CliError::new(Exit::Refused, "finality_missing", message)
            .hint("`get header HEIGHT --finalized --proof FILE` writes one that does")
    };
    let file = ProofFile::decode(&read_bounded(path, PROOF_BYTES_MAX as u64)?);
    let file = file.map_err(|error| refused(&error.to_string()))?;
    file.finality.ok_or_else(|| refused("its block was not final when it was written"))
}

fn read_trust(path: &Path) -> Outcome<Trust> {
    let bytes = read_bounded(path, TRUST_BYTES_MAX)?;
    let refused = |error: String| {
        let message = format!("{} is not a trust file: {error}", path.display());
        CliError::usage("trust_malformed", message).hint(
            "it holds chain = \"<64 hex>\", producers = [\"<64 hex>\"], and [[validators]] with account, key and weight, as TOML \
             or JSON; `trust` writes one",
        )
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
    let mut bytes = Vec::new();
    // Not by the length that is told: a pipe or a device has none.
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("{} has more than the {bytes_max} bytes such a file may have", path.display());
        return Err(CliError::usage("file_too_large", message));
    }
    Ok(bytes)
}
