//! `diff`: where two nodes disagree.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chaoschain_query::diff::{
    DiffError, Diverged, Found, KeyDiffers, Peer, PeerError, Report, Side, TreeFragment, TreePoint,
    TreeRoots, compare,
};
use chaoschain_schemas::{Blob, Height, ProofFile, SignedHeader, SubTreeProof};
use chaoschain_state::Key;
use chaoschain_state::control::record_to_json;
use chaoschain_state::merkle::Region;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::client::Client;
use crate::config::{Config, Flags};
use crate::datadir::write_private;
use crate::error::{CliError, Exit, Outcome};
use crate::output::human;

/// Find where two nodes disagree: the height, the sub-tree, the keys
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain diff http://other:4280
  chaoschain diff http://other:4280 --node http://127.0.0.1:4280 --out report.json

Both nodes are asked over HTTP, also when one of them has stopped; what they say is checked against the roots they state.
Only those parts of the state are fetched in which the two differ. Nodes keep states for some minutes: ask soon. The report
names each key with both values and both proofs, says which of the two the block's header commits to, and whether that block
is final. Exit code 0 if the nodes agree, 1 if they differ, 3 if one does not answer.")]
pub(crate) struct Args {
    /// The other node's address
    #[arg(value_name = "URL")]
    peer: String,
    /// The node it is compared with
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// Write the whole report, with both proofs of every key, to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let config = run.configure(Flags { node: args.node.clone(), ..Flags::default() }, "warn")?;
    let mut ours = HttpPeer::at(&config.node, &config)?;
    let mut theirs = HttpPeer::at(&args.peer, &config)?;
    let report = compare(&mut ours, &mut theirs).map_err(not_compared)?;
    let whole = whole(run, &report, [&config.node, &args.peer]);
    if let Some(file) = &args.out {
        write_private(file, format!("{whole:#}\n").as_bytes())?;
    }
    run.output.print(&whole, || people(&whole, &report, args.out.as_deref()));
    differing(&report.found)
}

/// A node over HTTP.
struct HttpPeer {
    client: Client,
}

/// What of an answer is used.
#[derive(Deserialize)]
struct Answer<T> {
    value: T,
    proof: Option<Blob>,
}

impl HttpPeer {
    fn at(address: &str, config: &Config) -> Outcome<Self> {
        match Client::to(address, config)? {
            client @ Client::Http(_) => Ok(Self { client }),
            Client::Nats(_) => {
                let message = format!("{address} is whichever node answers; to compare, one is to be named");
                Err(CliError::usage("node_address_wrong", message).hint("name nodes by http://HOST:PORT"))
            }
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, PeerError> {
        self.client
            .get(path)
            .map_err(|CliError { code, message, .. }| PeerError { code: code.into(), message })
    }
}

impl Peer for HttpPeer {
    fn point(&mut self) -> Result<TreePoint, PeerError> {
        Ok(self.get("/v1/tree")?.value)
    }

    fn header(&mut self, height: Height) -> Result<SignedHeader, PeerError> {
        let answer: Answer<Json> = self.get(&format!("/v1/header/{height}?proof=true"))?;
        let file = answer.proof.and_then(|proof| ProofFile::decode(&proof).ok());
        let header = file.and_then(|file| file.proof.read).map(|read| read.header);
        let message = "the answer has no proof of a header";
        header.ok_or_else(|| PeerError { code: "answer_malformed".into(), message: message.into() })
    }

    fn roots(&mut self, height: Height) -> Result<TreeRoots, PeerError> {
        Ok(self.get(&format!("/v1/tree/{height}"))?.value)
    }

    fn fragment(&mut self, height: Height, sub_tree: u8, region: &Region) -> Result<Vec<u8>, PeerError> {
        let answer: Answer<TreeFragment> = self.get(&format!("/v1/tree/{height}/{sub_tree}/{region}"))?;
        Ok(answer.value.tree.0)
    }

    fn record(&mut self, height: Height, sub_tree: u8, key: &[u8]) -> Result<SubTreeProof, PeerError> {
        Ok(self.get(&format!("/v1/tree/{height}/{sub_tree}/{}", hex::encode(key)))?.value)
    }
}

fn not_compared(error: DiffError) -> CliError {
    let told = |exit| CliError::new(exit, error.code().to_owned(), error.to_string());
    match &error {
        DiffError::Peer { error: of_peer, .. } => match &*of_peer.code {
            "height_not_retained" => told(Exit::Refused).hint(
                "that node keeps states for minutes: ask another one soon after it has folded that block, or restart one on an \
                 empty state directory and ask while it follows",
            ),
            "role_absent" => told(Exit::Refused).hint("ask a node with the role query"),
            _ => told(Exit::Unavailable),
        },
        _ => told(Exit::Refused),
    }
}

/// What the process is to end with.
fn differing(found: &Found) -> Outcome {
    let (code, message) = match found {
        Found::Same { .. } | Found::BothRefuse { .. } => return Ok(()),
        Found::NotYet { behind, height } => {
            let message =
                format!("{behind} does not have block {height} yet, at which the other one has stopped");
            return Err(
                CliError::new(Exit::Unavailable, "height_not_reached", message).hint("ask again later")
            );
        }
        Found::Forked { height, .. } => {
            ("chains_forked", format!("the two nodes have different blocks from height {height} on"))
        }
        Found::Diverged(diverged) => (
            "state_differs",
            format!("the two nodes have computed different states at block {}", diverged.height),
        ),
    };
    let hint = match found {
        Found::Forked { .. } => {
            "their logs are not one: `chaoschain log status` at both, and see docs/operating.md"
        }
        _ => "stop the one that is wrong, put the right program in place and run `chaoschain resync` there",
    };
    Err(CliError::new(Exit::Refused, code, message).hint(hint))
}

/// The whole report, decoded where the program can.
fn whole(run: &Run<'_>, report: &Report, nodes: [&str; 2]) -> Json {
    let mut whole = json!({
        "nodes": { "ours": nodes[0], "theirs": nodes[1] },
        "checked": "headers by their signatures, roots by the headers and each other, every proof by its root",
    });
    if let (Some(whole), Json::Object(report)) = (whole.as_object_mut(), json!(report)) {
        whole.extend(report);
    }
    let Found::Diverged(diverged) = &report.found else { return whole };
    let machine = &*run.app.machine;
    let names: Vec<&str> =
        ["control", "blocks"].into_iter().chain(machine.sub_trees().iter().copied()).collect();
    let name = |number: u8| names.get(usize::from(number)).copied().unwrap_or_default();
    for (shown, one) in items(&mut whole["found"]["sub_trees"]).zip(&diverged.sub_trees) {
        shown["name"] = json!(name(one.number));
    }
    for (shown, one) in items(&mut whole["found"]["keys"]).zip(&diverged.keys) {
        let record = |value: Option<&Blob>| {
            let key = Key::from_bytes(one.sub_tree, &one.key);
            key.zip(value).and_then(|(key, value)| record_to_json(machine, &key, value))
        };
        shown["sub_tree_name"] = json!(name(one.sub_tree));
        shown["our_record"] = json!(record(one.ours.as_ref()));
        shown["their_record"] = json!(record(one.theirs.as_ref()));
    }
    whole["found"]["final"] = json!(is_final(report, diverged));
    whole
}

fn items(list: &mut Json) -> impl Iterator<Item = &mut Json> {
    list.as_array_mut().into_iter().flatten()
}

/// What the two nodes know of the block's finality, as their word.
fn is_final(report: &Report, diverged: &Diverged) -> bool {
    let by = |point: &TreePoint| {
        point.finalized.is_some_and(|height| height >= diverged.height)
            || point.divergence["this_node_is_faulty"] == json!(true)
    };
    by(&report.ours) || by(&report.theirs)
}

fn people(whole: &Json, report: &Report, out: Option<&Path>) -> String {
    let cost = format!("{} requests, {} bytes of trees and records", report.requests, report.bytes);
    let text = match &report.found {
        Found::Same { height, states_compared, .. } => {
            let states = if *states_compared { "" } else { "; their states at it are not kept any more" };
            format!("the nodes agree up to height {height}{states}\n")
        }
        Found::BothRefuse { height, committed_root, computed_root, .. } => format!(
            "both nodes compute root {computed_root} at block {height}, whose header commits to {committed_root}: its producer is \
             the odd one\n"
        ),
        Found::NotYet { behind, height } => format!("{behind} does not have block {height} yet\n"),
        Found::Forked { height, our_hash, their_hash, .. } => {
            format!("other blocks from height {height} on\n  ours    {our_hash}\n  theirs  {their_hash}\n")
        }
        Found::Diverged(diverged) => states(whole, report, diverged),
    };
    let written = out.map(|file| format!("the whole report is in {}\n", file.display())).unwrap_or_default();
    format!("{text}{cost}\n{written}")
}

fn states(whole: &Json, report: &Report, diverged: &Diverged) -> String {
    let nodes = &whole["nodes"];
    let committed = match diverged.committed_by {
        Some(side) => format!("the header commits to the state of {side}"),
        None => "the header commits to neither state".to_owned(),
    };
    let finality = if is_final(report, diverged) {
        "that block is final: who computed otherwise is wrong"
    } else {
        "that block is not known to be final: who is wrong is open"
    };
    let mut text = format!(
        "two states of block {} ({})\n  committed  {}\n  ours       {}  {}\n  theirs     {}  {}\n{committed}\n{finality}\n",
        diverged.height,
        diverged.header_hash,
        diverged.committed_root,
        diverged.our_root,
        nodes["ours"].as_str().unwrap_or_default(),
        diverged.their_root,
        nodes["theirs"].as_str().unwrap_or_default(),
    );
    let listed = whole["found"]["keys"].as_array().into_iter().flatten();
    for (shown, KeyDiffers { sub_tree, key, .. }) in listed.zip(&diverged.keys) {
        let name = shown["sub_tree_name"].as_str().unwrap_or_default();
        let _ = writeln!(text, "\nsub-tree {sub_tree} ({name}), key {}", hex::encode(key));
        for (title, record, bytes) in [("ours", "our_record", "ours"), ("theirs", "their_record", "theirs")] {
            let record = if shown[record].is_null() { &shown[bytes] } else { &shown[record] };
            let record = if record.is_null() { "there is none\n".to_owned() } else { human(record) };
            let _ = writeln!(text, "  {title}");
            for line in record.lines() {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    if diverged.more {
        text += "\nthere are more keys that differ than are named\n";
    }
    if let Some(side) = diverged.committed_by {
        let wrong = if side == Side::Ours { Side::Theirs } else { Side::Ours };
        let _ = writeln!(text, "\nby the block's header, {wrong} computed wrong");
    }
    text
}
