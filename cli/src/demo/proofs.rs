//! What somebody finds out who has the files, the chain's id and the producer's key, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use chaoschain_events::block::seal;
use chaoschain_projector::{Head, witness_of};
use chaoschain_query::prove::read_with_proof;
use chaoschain_query::verify::{StateVerifier, Trust, Verified, VerifiedRead, verify_file};
use chaoschain_schemas::society::{Conflict, ConflictKind, DecidedBy};
use chaoschain_schemas::{AgentId, Blob, ConflictId, Fixed, Height, ProofFile, WitnessFile, codec};
use chaoschain_society::keys;
use chaoschain_state::Base;
use chaoschain_state::domain::Machine;
use serde_json::{Value as Json, json};

use super::society::{Played, text};
use super::{Script, broken};
use crate::error::Outcome;
use crate::simulate::Report;

/// How many conflicts are looked through for one to show.
const CONFLICTS_MAX: usize = 1024;
/// How many of the last blocks' drama is listed.
const DRAMA_BLOCKS: u64 = 6;
/// More drama than there is in them.
const DRAMAS_MAX: &str = "256";

/// Makes files as a node does, and checks them as somebody does who has no node.
pub(super) struct Auditor<'a> {
    society: &'a Played,
    head: Arc<Head>,
    machine: &'a dyn Machine,
    trust: Trust,
}

impl<'a> Auditor<'a> {
    pub(super) fn of(society: &'a Played) -> Self {
        let trust = Trust::in_producers(society.report.chain, vec![society.producer.public()]);
        let (head, machine) = (society.projection.head(), &**society.projection.machine());
        Self { society, head, machine, trust }
    }

    fn file(&self, read: &str, arguments: &[String]) -> Outcome<Vec<u8>> {
        let (_, proof) =
            read_with_proof(&self.head, self.machine, read, arguments).map_err(|error| broken(&error))?;
        Ok(codec::encode(&ProofFile::of_read(proof)))
    }

    fn verify(&self, file: &[u8]) -> Outcome<Box<VerifiedRead>> {
        match verify_file(file, &self.trust, Some(self.machine))? {
            Verified::Read(read) => Ok(read),
            _ => Err(broken(&"the proof is of something else")),
        }
    }

    /// An agent, and its proof with each byte bent.
    pub(super) fn agent(&self, script: &Script, id: &AgentId) -> Outcome<Json> {
        let file = self.file("agent", &[id.to_string()])?;
        let read = self.verify(&file)?;
        let value = read.value.clone().unwrap_or_default();
        let unnoticed = (0..file.len()).filter(|at| {
            let mut bytes = file.clone();
            bytes[*at] ^= 1;
            // A flip in the question itself proves another question's answer; the same answer must never come out.
            self.verify(&bytes)
                .is_ok_and(|other| other.arguments == read.arguments && other.read == read.read)
        });
        let unnoticed = unnoticed.count();
        let (bytes, level) = (file.len(), read.level);
        script.say(&format!(
            "\nA read with its proof, verified offline with nothing but the chain id and the producer's key:\n  \
             {}: reputation {}, {} alliance(s); {bytes} bytes of proof; level: {level}\n  \
             one bit of each of its {bytes} bytes flipped in turn: {unnoticed} went unnoticed",
            self.society.name(id),
            text(&value["reputation"]),
            value["alliances"].as_array().map_or(0, Vec::len),
        ));
        Ok(json!({ "value": value, "proof_bytes": bytes, "level": level, "flips_unnoticed": unnoticed }))
    }

    /// All drama of the last blocks, and what becomes of the list when one is left out.
    pub(super) fn dramas(&self, script: &Script) -> Outcome<Json> {
        let from = Height(self.head.height().0.saturating_sub(DRAMA_BLOCKS - 1));
        let file = self.file("dramas", &[from.to_string(), DRAMAS_MAX.to_owned()])?;
        let value = self.verify(&file)?.value.unwrap_or_default();
        script.say(&format!(
            "\nAll drama from block {from} on, proven to be all ({} bytes of proof):",
            file.len()
        ));
        let events = value["events"].as_array().map_or(&[][..], Vec::as_slice);
        for event in events {
            let who = text(&event["agent"]).parse().ok();
            script.say(&format!(
                "  {}/{}  {}, level {:>2}, {}: {}",
                event["height"],
                event["index"],
                who.map_or("?", |who| self.society.name(&who)),
                event["level"],
                text(&event["kind"]),
                text(&event["text"])
            ));
        }
        let mut short = ProofFile::decode(&file).map_err(|error| broken(&error))?;
        let trees = short.proof.read.iter_mut().flat_map(|read| &mut read.sub_trees);
        for tree in trees {
            tree.records.pop();
        }
        let Err(refused) = self.verify(&codec::encode(&short)) else {
            return Err(broken(&"a list with one left out went unnoticed"));
        };
        script.say(&format!("  the last of them left out of the proof: refused, {}", refused.code));
        Ok(json!({ "from": from, "events": events, "proof_bytes": file.len(), "one_left_out": refused.code }))
    }

    /// A decided conflict, counted again; with the block in which it was decided.
    pub(super) fn conflict(&self, script: &Script) -> Outcome<(Json, Height)> {
        let chosen = self.chosen_conflict().ok_or_else(|| broken(&"no conflict about a fact was decided"))?;
        let file = self.file("conflict", &[chosen.id().to_string()])?;
        let read = self.verify(&file)?;
        let conflict = read.value.clone().unwrap_or_default();
        let (outcome, tally, bytes) = (&conflict["outcome"], &conflict["tally"], file.len());
        let fact = &conflict["subject"]["fact"];
        let name = |id: &Json| text(id).parse().map_or("?", |id| self.society.name(&id));
        let electors = conflict["electors"].as_array().map_or(&[][..], Vec::as_slice);
        let spoken = electors.iter().filter(|elector| elector["opinion"].is_number()).count();
        let won = match outcome["option"].as_u64().and_then(|option| usize::try_from(option).ok()) {
            Some(0) => "it stays as it is".to_owned(),
            option => format!("it becomes {}", claimed(&conflict["options"][option.unwrap_or_default()])),
        };
        let weights = tally["weights"].as_array().into_iter().flatten().filter_map(Json::as_i64);
        let weights: Vec<_> = weights.map(|weight| Fixed::from_millionths(weight).to_string()).collect();
        script.say(&format!(
            "\n{}\nOne of them, proven and counted again offline:\n  \
             {} contests the {} of {}: {:?}\n  \
             {spoken} of {} electors speak, weighed by {}: {}\n  \
             decided in block {}, by {}: {won}; the count from {bytes} bytes of proof agrees: {}",
            decisions(&self.society.report),
            name(&conflict["reporter"]),
            text(&fact["field"]).to_lowercase(),
            name(&fact["agent"]),
            text(&conflict["reason"]),
            electors.len(),
            text(&conflict["strategy"]),
            weights.join(" against "),
            outcome["height"],
            text(&outcome["by"]).to_lowercase(),
            tally["agrees"],
        ));
        let height = chosen.outcome.map_or(Height::GENESIS, |outcome| outcome.height);
        Ok((json!({ "value": conflict, "proof_bytes": bytes, "level": read.level }), height))
    }

    /// The newest about a fact that a deadline decided, or else the newest decided one.
    fn chosen_conflict(&self) -> Option<Conflict> {
        let (first, last) = (ConflictId::new([0; 32]), ConflictId::new([255; 32]));
        let range = self.head.state.range(&keys::conflict(&first), &keys::conflict(&last), CONFLICTS_MAX);
        let records = range.unwrap_or_default();
        let conflicts = records.iter().filter_map(|(_, value)| codec::decode_trusted::<Conflict>(value).ok());
        let decided = conflicts.filter_map(|conflict| {
            let outcome = conflict.outcome.as_ref()?;
            let rank = (outcome.by == DecidedBy::Deadline, outcome.height);
            (conflict.kind == ConflictKind::InconsistentAgentState).then_some((rank, conflict))
        });
        decided.max_by_key(|(rank, _)| *rank).map(|(_, conflict)| conflict)
    }

    /// A block, run again on what its witness shows, and the same block with a root that does not follow.
    pub(super) fn block(&self, script: &Script, height: Height) -> Outcome<Json> {
        let before = height.0.checked_sub(1).map(Height);
        let place = before.and_then(|before| usize::try_from(before.0).ok());
        let block = place.and_then(|place| self.society.blocks.get(place));
        let parent = before.and_then(|before| self.society.projection.head_at(before));
        let (Some(block), Some(parent)) = (block, parent) else {
            return Err(broken(&format!("block {height} or the state before it is not at hand")));
        };
        let witness = witness_of(self.machine, &parent, block, None);
        let bytes = codec::encode(&witness).len();
        let verifier = StateVerifier::new(&self.trust, self.machine);
        let followed = verifier.verify(&witness)?;
        let mut header = block.header().clone();
        (header.state_root, header.sub_roots) = (parent.header.state_root, parent.header.sub_roots.clone());
        let lie = seal(header, block.events().to_vec(), &self.society.producer);
        let lie = Blob::from(&lie.map_err(|error| broken(&error))?.message()[..]);
        let Err(refused) = verifier.verify(&WitnessFile { block: lie, ..witness }) else {
            return Err(broken(&"a block with a root that does not follow was believed"));
        };
        let (events, changed) = (block.events().len(), followed.changes.len());
        let (shown, rules, level) = (followed.records_shown, followed.rules, followed.level);
        script.say(&format!(
            "\nThat block, run again offline on the {shown} records of the state before it that its witness shows:\n  \
             {events} events change {changed} records and give its root; {bytes} bytes of witness; level: {level}\n  \
             the same block, its producer signing that nothing changed: refused, {}",
            refused.code()
        ));
        Ok(json!({
            "height": height, "events": events, "changed_records": changed, "shown_records": shown,
            "witness_bytes": bytes, "rules": rules, "level": level, "another_root": refused.code(),
        }))
    }
}

/// How many conflicts there were, and what decided them.
fn decisions(report: &Report) -> String {
    let mut decided = BTreeMap::<DecidedBy, u64>::new();
    for count in &report.conflicts {
        *decided.entry(count.by).or_default() += count.count;
    }
    let decided: Vec<_> = decided.iter().map(|(by, count)| format!("{by} {count}")).collect();
    format!("{} conflicts were opened. What decided: {}.", report.conflicts_opened, decided.join(", "))
}

/// What an option claims, whichever field it is about.
fn claimed(option: &Json) -> &str {
    let claim = option["claim"].as_object();
    claim.and_then(|claim| claim.values().find_map(Json::as_str)).unwrap_or("?")
}
