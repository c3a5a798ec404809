//! `diff`: where two nodes disagree.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chaoschain_query::diff::{
    COMPARISON_MAX, DiffError, Diverged, Found, KeyDiffers, Peer, PeerError, Report, Side, TreeFragment,
    TreePoint, TreeRoots, compare_within,
};
use chaoschain_schemas::limits::{PROOF_BYTES_MAX, VALUE_BYTES_MAX};
use chaoschain_schemas::{Blob, Height, ProofFile, SignedHeader, SubTreeProof};
use chaoschain_state::Key;
use chaoschain_state::control::record_to_json;
use chaoschain_state::merkle::Region;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::args::Run;
use crate::client::{Client, HttpClient};
use crate::config::{Config, Flags};
use crate::datadir::write_private;
use crate::error::{CliError, Exit, Outcome};
use crate::output::human;

/// The longest answer that is read of a node, bytes: a part of a tree and a record, in base64, and what is around them.
const ANSWER_BYTES_MAX: u64 = (PROOF_BYTES_MAX + VALUE_BYTES_MAX) as u64 * 3 / 2;
/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Find where two nodes disagree: the height, the sub-tree, the keys
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain diff http://other:4280
  chaoschain diff http://other:4280 --node http://127.0.0.1:4280 --out report.json

Both nodes are asked over HTTP, also when one of them has stopped; what they say is checked against the roots they state.
Only those parts of the state are fetched in which the two differ. Nodes keep states for minutes: ask soon; later the
sub-trees that differ can still be told, and no keys. The report names each key with both values and both proofs, says which of
the two the block's header commits to, and whether that block is final, as our node or only as the peer says.

Exit codes:
  0  the nodes agree
  1  they differ: other blocks (chains_forked) or two states of one block (state_differs)
  2  these two cannot be compared: no HTTP address, another chain, no role query (node_address_wrong, chain_wrong, role_absent)
  3  they could not be compared now: no answer, a block that has not come, too slow (height_not_reached, comparison_timed_out …)
  4  somebody has to look: a node contradicts itself (peer_lied), or both compute what the header does not say (both_refuse)")]
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
    let until = Instant::now() + COMPARISON_MAX;
    let mut ours = HttpPeer::at(&config.node, &config, until)?;
    let mut theirs = HttpPeer::at(&args.peer, &config, until)?;
    let report =
        compare_within(COMPARISON_MAX, &mut ours, &mut theirs).map_err(|error| not_compared(&error))?;
    let whole = whole(run, &report, [&config.node, &args.peer]);
    if let Some(file) = &args.out {
        write_private(file, format!("{whole:#}\n").as_bytes())?;
    }
    run.output.print(&whole, || people(&whole, &report, args.out.as_deref()));
    differing(&report)
}

/// A node over HTTP.
struct HttpPeer {
    client: HttpClient,
    /// When the comparison has to be done.
    until: Instant,
}

/// What of an answer is used.
#[derive(Deserialize)]
struct Answer<T> {
    value: T,
    proof: Option<Blob>,
}

impl HttpPeer {
    fn at(address: &str, config: &Config, until: Instant) -> Outcome<Self> {
        let named = if address.starts_with("http://") { Some(Client::to(address, config)?) } else { None };
        if let Some(Client::Http(client)) = named {
            return Ok(Self { client, until });
        }
        let message =
            format!("{address} is not the HTTP address of one node, and two nodes are to be compared");
        Err(CliError::usage("node_address_wrong", message).hint("name nodes by http://HOST:PORT"))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, PeerError> {
        let within = REQUEST_MAX.min(self.until.saturating_duration_since(Instant::now()));
        self.client
            .get_within(path, ANSWER_BYTES_MAX, within)
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

fn not_compared(error: &DiffError) -> CliError {
    let told = |exit| CliError::new(exit, error.code().to_owned(), error.to_string());
    match error.code() {
        "role_absent" => told(Exit::Usage).hint("ask a node with the role query"),
        "chain_wrong" => told(Exit::Usage).hint("are these the nodes that were meant?"),
        "peer_lied" => told(Exit::Corrupt).hint("compare with other nodes, and find out what runs at that one"),
        "height_not_retained" => told(Exit::Unavailable).hint(
            "nodes keep states for minutes, and fewer while much changes: ask another node soon after it has folded that block",
        ),
        _ => told(Exit::Unavailable),
    }
}

/// What the process is to end with.
fn differing(report: &Report) -> Outcome {
    match &report.found {
        Found::Same { .. } => Ok(()),
        Found::NotYet { behind, height } => {
            let message =
                format!("{behind} does not have block {height} yet, at which the other one has stopped");
            Err(CliError::new(Exit::Unavailable, "height_not_reached", message).hint("ask again later"))
        }
        Found::BothRefuse { height, .. } => {
            let message =
                format!("both nodes compute one root at block {height}, and its header commits to another");
            Err(CliError::new(Exit::Corrupt, "both_refuse", message).hint(
                "compare with a node that runs another build: two of one build come to the same, right or wrong",
            ))
        }
        Found::Forked { height, .. } => {
            let message = format!("the two nodes have different blocks from height {height} on");
            Err(CliError::new(Exit::Refused, "chains_forked", message)
                .hint("their logs are not one: `chaoschain log status` at both, and see docs/operating.md"))
        }
        Found::Diverged(diverged) => {
            let message =
                format!("the two nodes have computed different states at block {}", diverged.height);
            let hint = match (Finality::of(report, diverged), diverged.committed_by) {
                (Finality::Known, Some(Side::Theirs)) => {
                    "our node computed wrong: stop it, put the right program in place and run `chaoschain resync` there"
                }
                (Finality::Known, Some(Side::Ours)) => {
                    "the peer computed wrong: it is to be stopped, given the right program, and `chaoschain resync` run there"
                }
                _ => "who is wrong is not known yet: see \"When nodes disagree\" in docs/operating.md",
            };
            Err(CliError::new(Exit::Refused, "state_differs", message).hint(hint))
        }
    }
}

/// What is known of a block's finality.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finality {
    /// Our own node has heard more than two thirds of the weight.
    Known,
    /// The peer says so, and nobody else.
    Claimed,
    /// Neither node says so.
    Open,
}

impl Finality {
    fn of(report: &Report, diverged: &Diverged) -> Self {
        let by = |point: &TreePoint| {
            point.finalized.is_some_and(|height| height >= diverged.height)
                || point.divergence["this_node_is_faulty"] == json!(true)
        };
        match (by(&report.ours), by(&report.theirs)) {
            (true, _) => Self::Known,
            (false, true) => Self::Claimed,
            (false, false) => Self::Open,
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Self::Known => "that block is final, as our node knows: who computed otherwise is wrong",
            Self::Claimed => {
                "that block is final as the peer says; our node does not know that, so who is wrong is open"
            }
            Self::Open => "that block is not known to be final: who is wrong is open",
        }
    }
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
    let finality = Finality::of(report, diverged);
    whole["found"]["final"] = json!(finality == Finality::Known);
    whole["found"]["final_by_peer"] = json!(finality == Finality::Claimed);
    whole
}

fn items(list: &mut Json) -> impl Iterator<Item = &mut Json> {
    list.as_array_mut().into_iter().flatten()
}

fn people(whole: &Json, report: &Report, out: Option<&Path>) -> String {
    let cost = format!("{} requests, {} bytes of trees and records", report.requests, report.bytes);
    let text = match &report.found {
        Found::Same { height, states_compared, .. } => {
            let states = if *states_compared { "" } else { "; their states at it are not kept any more" };
            format!("the nodes agree up to height {height}{states}\n")
        }
        Found::BothRefuse { height, committed_root, computed_root, .. } => format!(
            "both nodes compute root {computed_root} at block {height}, whose header commits to {committed_root}: its producer \
             computed wrong, or both nodes did, as two of one build would\n"
        ),
        Found::NotYet { behind, height } => format!("{behind} does not have block {height} yet\n"),
        Found::Forked { height, ours, our_hash, theirs, their_hash } => format!(
            "other blocks from height {height} on\n  ours    {our_hash}, signed with {}\n  theirs  {their_hash}, signed with {}\n",
            ours.key, theirs.key
        ),
        Found::Diverged(diverged) => states(whole, report, diverged),
    };
    let written = out.map(|file| format!("the whole report is in {}\n", file.display())).unwrap_or_default();
    format!("{text}{cost}\n{written}")
}

fn states(whole: &Json, report: &Report, diverged: &Diverged) -> String {
    let nodes = &whole["nodes"];
    let committed = match diverged.committed_by {
        Some(side) => format!("the block's header commits to the state of {side}"),
        None => "the block's header commits to neither state".to_owned(),
    };
    let finality = Finality::of(report, diverged);
    let mut text = format!(
        "two states of block {} ({})\n  committed  {}\n  ours       {}  {}\n  theirs     {}  {}\n{committed}\n{}\n",
        diverged.height,
        diverged.header_hash,
        diverged.committed_root,
        diverged.our_root,
        nodes["ours"].as_str().unwrap_or_default(),
        diverged.their_root,
        nodes["theirs"].as_str().unwrap_or_default(),
        finality.told(),
    );
    for shown in whole["found"]["sub_trees"].as_array().into_iter().flatten() {
        let name = shown["name"].as_str().unwrap_or_default();
        let _ = writeln!(text, "sub-tree {} ({name}) differs", shown["number"]);
    }
    let listed = whole["found"]["keys"].as_array().into_iter().flatten();
    for (shown, key) in listed.zip(&diverged.keys) {
        text += &key_told(shown, key, diverged.committed_by);
    }
    if let Some(unnamed) = &diverged.keys_unnamed {
        let _ = writeln!(text, "\nkeys are not named, or not all: of {}: {}", unnamed.side, unnamed.message);
    } else if diverged.more {
        text += "\nthere are more keys that differ than are named\n";
    }
    if let (Finality::Known, Some(committed)) = (finality, diverged.committed_by) {
        let wrong = if committed == Side::Ours { Side::Theirs } else { Side::Ours };
        let _ = writeln!(text, "\n{wrong} computed wrong");
    }
    text
}

/// A key with both values; the one that the block's header commits to is said to be it.
fn key_told(shown: &Json, key: &KeyDiffers, committed_by: Option<Side>) -> String {
    let name = shown["sub_tree_name"].as_str().unwrap_or_default();
    let mut text = format!("\nsub-tree {} ({name}), key {}\n", key.sub_tree, hex::encode(&key.key));
    let sides = [(Side::Ours, "ours", "our_record"), (Side::Theirs, "theirs", "their_record")];
    for (side, bytes, record) in sides {
        let record = if shown[record].is_null() { &shown[bytes] } else { &shown[record] };
        let record = if record.is_null() { "there is none\n".to_owned() } else { human(record) };
        let committed = if committed_by == Some(side) { ", to which the header commits" } else { "" };
        let _ = writeln!(text, "  {bytes}{committed}");
        for line in record.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use chaoschain_schemas::{ChainId, Hash, PublicKey, Signature};

    use super::*;

    fn hash(number: u8) -> Hash {
        Hash::new([number; 32])
    }

    /// Which of the two says that block 5 is final.
    #[derive(Clone, Copy, Debug)]
    enum Says {
        Nothing,
        Final,
        Faulty,
    }

    fn point(says: Says) -> TreePoint {
        TreePoint {
            chain: ChainId::new([1; 32]),
            height: Height(4),
            header_hash: hash(4),
            finalized: Some(Height(if matches!(says, Says::Final) { 5 } else { 4 })),
            diverged: Some(Height(5)),
            divergence: json!({ "this_node_is_faulty": matches!(says, Says::Faulty) }),
        }
    }

    fn report(ours: Says, theirs: Says, found: Found) -> Report {
        let (ours, theirs) = (point(ours), point(theirs));
        Report { chain: ours.chain, ours, theirs, found, requests: 1, bytes: 1 }
    }

    fn diverged(committed_by: Option<Side>) -> Diverged {
        Diverged {
            height: Height(5),
            header_hash: hash(5),
            header: SignedHeader {
                header: Blob(Vec::new()),
                key: PublicKey::new([0; 32]),
                signature: Signature::new([0; 64]),
            },
            committed_root: hash(1),
            our_root: hash(1),
            their_root: hash(2),
            committed_by,
            sub_trees: Vec::new(),
            keys: Vec::new(),
            more: false,
            keys_unnamed: None,
        }
    }

    /// A header says what its producer computed, and a peer's word is a peer's word.
    #[test]
    fn nobody_is_called_wrong_on_less_than_our_own_nodes_knowledge() {
        for (ours, theirs, finality) in [
            (Says::Nothing, Says::Nothing, Finality::Open),
            (Says::Nothing, Says::Final, Finality::Claimed),
            (Says::Nothing, Says::Faulty, Finality::Claimed),
            (Says::Final, Says::Nothing, Finality::Known),
            (Says::Faulty, Says::Final, Finality::Known),
        ] {
            for (committed_by, culprit) in
                [(Some(Side::Ours), Some("the peer")), (Some(Side::Theirs), Some("our node")), (None, None)]
            {
                let found = diverged(committed_by);
                let report = report(ours, theirs, Found::Diverged(Box::new(found.clone())));
                assert_eq!(Finality::of(&report, &found), finality, "{ours:?} {theirs:?}");
                let told = states(&json!({}), &report, &found);
                let named = culprit.filter(|_| finality == Finality::Known);
                let known = named.is_some_and(|culprit| told.contains(&format!("{culprit} computed wrong")));
                assert_eq!(known, named.is_some(), "{told}");
                assert_eq!(told.contains("computed wrong"), named.is_some(), "{told}");
                assert_eq!(told.contains("as the peer says"), finality == Finality::Claimed, "{told}");
                let error = differing(&report).unwrap_err();
                assert_eq!((error.exit, &*error.code), (Exit::Refused, "state_differs"));
                assert_eq!(error.hint.unwrap().contains("computed wrong"), named.is_some());
            }
        }
    }

    #[test]
    fn each_outcome_has_its_exit() {
        let (height, header_hash) = (Height(5), hash(5));
        let exit =
            |found| differing(&report(Says::Nothing, Says::Nothing, found)).map_err(|error| error.exit);
        assert_eq!(exit(Found::Same { height, header_hash, states_compared: true }), Ok(()));
        assert_eq!(exit(Found::NotYet { behind: Side::Ours, height }), Err(Exit::Unavailable));
        let (committed_root, computed_root) = (hash(1), hash(2));
        let refuse = Found::BothRefuse { height, header_hash, committed_root, computed_root };
        let told = people(&json!({}), &report(Says::Nothing, Says::Nothing, refuse.clone()), None);
        assert!(told.contains("its producer computed wrong, or both nodes did"), "{told}");
        assert_eq!(exit(refuse), Err(Exit::Corrupt));
        let of_peer = |code: &str| {
            let error = PeerError { code: code.into(), message: "no".into() };
            not_compared(&DiffError::Peer { side: Side::Theirs, what: "it".into(), error }).exit
        };
        for (code, exit) in [
            ("height_not_retained", Exit::Unavailable),
            ("node_unreachable", Exit::Unavailable),
            ("answer_malformed", Exit::Unavailable),
            ("role_absent", Exit::Usage),
        ] {
            assert_eq!(of_peer(code), exit, "{code}");
        }
        let lied = DiffError::Lied { side: Side::Theirs, reason: "so".into() };
        assert_eq!(not_compared(&lied).exit, Exit::Corrupt);
        let chain = |number| ChainId::new([number; 32]);
        assert_eq!(
            not_compared(&DiffError::ChainsDiffer { ours: chain(1), theirs: chain(2) }).exit,
            Exit::Usage
        );
    }
}
