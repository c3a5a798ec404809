//! The society that plays: forty agents of a seeded simulation, and a node that folds what they did.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chaoschain_events::block::VerifiedBlock;
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{Head, OpenError, Projection, ProjectionOptions};
use chaoschain_query::prove::read;
use chaoschain_schemas::control::kind;
use chaoschain_schemas::society::{
    AllianceBetrayal, AllianceFormation, AllianceReconciliation, ConflictReport, DramaRecord,
    MemePublication, Payload, ReputationUpdate,
};
use chaoschain_schemas::{AccountId, AgentId, Sequence};
use chaoschain_society::Leaderboard;
use serde_json::{Value as Json, json};

use super::{Script, broken};
use crate::error::Outcome;
use crate::seed::Seed;
use crate::simulate::{Options, Report, Simulation, VALIDATORS};

/// What the society follows from; `simulate` makes the same chain of it.
pub(super) const SEED: &str = "demo";
/// How many agents there are.
pub(super) const AGENTS: usize = 40;
/// After how many events they stop.
pub(super) const EVENTS: u64 = 3000;
/// How many rows of the leaderboard are shown.
const ROWS: usize = 5;
/// How many kinds of event stand in a line.
const KINDS_IN_LINE: usize = 3;

/// What is told: the first of each of these kinds, and what its author does.
const FIRSTS: [(u16, &str); 9] = [
    (ReputationUpdate::KIND, "rates another: trust moves, and reputation with it"),
    (AllianceFormation::KIND, "forms an alliance, signed by every member"),
    (MemePublication::KIND, "publishes a meme"),
    (DramaRecord::KIND, "makes a scene"),
    (AllianceBetrayal::KIND, "betrays an alliance"),
    (AllianceReconciliation::KIND, "and those it fell out with ally again"),
    (ConflictReport::KIND, "contests a fact about another: a conflict, to be voted on"),
    (kind::SUSPENSION, "and two other validators suspend an agent"),
    (kind::PARAMETER_CHANGE, "and two other validators put the next version of the rules in force"),
];

/// A society that has lived, on its log, and the node that follows it.
pub(super) struct Played {
    pub(super) report: Report,
    /// Block 1 and those after it.
    pub(super) blocks: Vec<VerifiedBlock>,
    pub(super) producer: SecretKey,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) projection: Projection,
    names: BTreeMap<AccountId, String>,
}

/// The best and the last of the leaderboard.
pub(super) struct Standing {
    pub(super) first: AgentId,
    pub(super) last: AgentId,
    pub(super) rows: Json,
}

/// Follows the demo's log with a state in `dir/state`.
pub(super) async fn open(dir: &Path, log: &Arc<dyn EventLog>) -> Result<Projection, OpenError> {
    let options = ProjectionOptions::new(dir.join("state"));
    let models = vec![Box::new(Leaderboard::default()) as Box<_>];
    let machine = Arc::new(chaoschain_society::Society);
    let projection = Projection::open(options, machine, Arc::clone(log), models, &|_| {}).await?;
    projection.start().map_err(OpenError::Thread)?;
    Ok(projection)
}

/// Waits until all of the log is folded.
pub(super) async fn caught_up(projection: &Projection, log: &Arc<dyn EventLog>) -> Outcome<Arc<Head>> {
    let waited = projection.wait_cursor(log.tip().await?).await;
    waited.map_err(|condition| broken(&format!("the node stopped: {condition:?}")))?;
    Ok(projection.head())
}

impl Played {
    /// Lets the society live, with its log in `dir/log` and a node's state in `dir/state`.
    pub(super) async fn in_dir(dir: &Path) -> Outcome<Self> {
        let options = Options { seed: SEED.into(), agents: AGENTS, events: EVENTS };
        let mut simulation = Simulation::new(&options)?;
        let log: Arc<dyn EventLog> =
            Arc::new(EmbeddedLog::open(dir.join("log"), EmbeddedOptions::default())?);
        log.append(Sequence(0), simulation.genesis_message()).await?;
        let (mut blocks, mut appended) = (Vec::new(), Vec::new());
        while let Some(block) = simulation.next_block()? {
            appended.push(log.append(Sequence(block.height.0), block.message.clone()));
            blocks.push(VerifiedBlock::verify(block.message).map_err(|error| broken(&error))?);
        }
        futures::future::try_join_all(appended).await?;
        let report = simulation.report();
        let projection = open(dir, &log).await?;
        if caught_up(&projection, &log).await?.hash != report.header_hash {
            return Err(broken(&"the node came to another block than the society"));
        }
        let producer = simulation.producer_key().clone();
        Ok(Self { report, blocks, producer, log, projection, names: names() })
    }

    /// What an account is called.
    pub(super) fn name(&self, id: &AccountId) -> &str {
        self.names.get(id).map_or("somebody", String::as_str)
    }

    /// Tells the beginning, what came first of its kind, and what it all came to.
    pub(super) fn tell(&self, script: &Script) -> Vec<Json> {
        let founders = self.blocks.first().map_or(0, |block| block.header().event_count);
        let mut told = Vec::from_iter(self.blocks.first().map(|block| {
            (block, format!("{founders} agents register, each with a key and a personality of its own"))
        }));
        for (kind, what) in FIRSTS {
            told.extend(self.blocks.iter().find_map(|block| {
                let event = block.events().iter().find(|event| event.body().kind == kind)?;
                Some((block, format!("{} {what}", self.name(&event.body().author))))
            }));
        }
        told.sort_by_key(|(block, _)| block.header().height);
        let blocks = told.iter().map(|(block, what)| {
            let header = block.header();
            let (height, root) = (header.height, header.state_root);
            script.say(&format!("  block {:<4} root {}…  {what}", height.0, super::short(&root)));
            let events = header.event_count;
            let hash = block.header_hash();
            json!({ "height": height, "events": events, "header_hash": hash, "state_root": root, "what": what })
        });
        let blocks = blocks.collect();
        let Report { events, height, state_root, .. } = &self.report;
        script.say(&format!(
            "  block {:<4} root {}…  the last\n\n{events} events stand in these {height} blocks:",
            height.0,
            super::short(state_root)
        ));
        self.tell_counts(script);
        blocks
    }

    fn tell_counts(&self, script: &Script) {
        let mut kinds: Vec<_> = self.report.kinds.iter().filter(|kind| kind.count > 0).collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.count));
        for line in kinds.chunks(KINDS_IN_LINE) {
            let line: Vec<_> =
                line.iter().map(|kind| format!("{:>6} {:<23}", kind.count, kind.name)).collect();
            script.say(line.concat().trim_end());
        }
        let refused = self.report.refused.iter().filter(|refused| refused.meant > 0);
        let refused: Vec<_> = refused.map(|refused| format!("{} {}", refused.code, refused.meant)).collect();
        script.say(&format!("Tried against the rules, refused, and in no block:\n  {}", refused.join(", ")));
    }

    /// Who is trusted most.
    pub(super) async fn tell_standing(&self, script: &Script) -> Outcome<Standing> {
        // Read models are told of blocks by the writer, so what is stored is told.
        let projection = self.projection.clone();
        let flushed = tokio::task::spawn_blocking(move || projection.flush()).await;
        flushed.map_err(|error| broken(&error))?.map_err(|(_, text)| broken(&text))?;
        let rows = self.projection.model("leaderboard", &[AGENTS.to_string()]).transpose();
        let rows = rows.map_err(|error| broken(&error))?.unwrap_or_default();
        let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
        let id = |row: &Json| row["id"].as_str().and_then(|id| id.parse().ok());
        let (Some(first), Some(last)) = (rows.first().and_then(id), rows.last().and_then(id)) else {
            return Err(broken(&"the leaderboard is empty"));
        };
        script.say("\nThe leaderboard, by reputation:");
        let (head, machine) = (self.projection.head(), self.projection.machine());
        let shown = &rows[..rows.len().min(ROWS)];
        for row in shown {
            let (name, reputation) = (id(row).map_or("?", |id| self.name(&id)), text(&row["reputation"]));
            let agent = read(&head, &**machine, "agent", &[text(&row["id"]).to_owned()]);
            let agent = agent.map_err(|error| broken(&error))?;
            script.say(&format!(
                "  {}. {name:9} {reputation:9} {}",
                row["rank"],
                text(&agent["personality"])
            ));
        }
        Ok(Standing { first, last, rows: shown.into() })
    }
}

/// Stops a node.
pub(super) async fn close(projection: &Projection) {
    let projection = projection.clone();
    drop(tokio::task::spawn_blocking(move || projection.close()).await);
}

pub(super) fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn names() -> BTreeMap<AccountId, String> {
    let seed = Seed::of(SEED);
    let agents = (0..AGENTS).map(|number| format!("agent {number}"));
    let labels = agents.chain((1..=VALIDATORS).map(|number| format!("validator {number}")));
    labels.map(|label| (AccountId::from_first_key(&seed.key(&label).public()), label)).collect()
}
