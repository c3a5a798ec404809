//! Feeding a plan to the producer: sign, seal, append, confirm; no mempool, linger or heartbeat.

use std::collections::VecDeque;
use std::sync::Arc;

use chaoschain_events::envelope::{self, VerifiedEnvelope};
use chaoschain_events::log::AppendError;
use chaoschain_projector::{BlockLimits, Confirmed, Head, Producer, Proposed, Verdict};
use chaoschain_schemas::{AccountId, ChainId, Micros, Sequence};
use futures::future::BoxFuture;
use rayon::prelude::*;
use tokio::sync::watch;

use super::plan::{Event, Plan, block_time};
use crate::App;
use crate::command::init::{genesis, left_behind, write_chain};
use crate::command::up::stop_signal;
use crate::config::Config;
use crate::datadir::{DataDir, write_private};
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::KeyFile;
use crate::node::Node;
use crate::progress::Progress;

/// How many blocks are on their way to the log while the next one is made.
const IN_FLIGHT_MAX: usize = 8;

/// A block on its way to the log.
struct InFlight {
    proposed: Proposed,
    appended: BoxFuture<'static, Result<Sequence, AppendError>>,
}

/// Makes the chain in `dir` and fills it; answers the last block.
pub(super) async fn feed(
    app: &App,
    config: &Config,
    dir: &DataDir,
    plan: &Plan,
    name: &str,
) -> Outcome<Arc<Head>> {
    let stop = stop_signal()?;
    let parameters = plan.parameters();
    let valid = parameters.valid_until_max;
    let domain = app.machine.default_parameters();
    let document = genesis(&*app.machine, name, plan.start(), parameters, domain, &plan.producer);
    let key = KeyFile::new(AccountId::from_first_key(&plan.producer.public()), &plan.producer, None)?;
    write_agents(dir, plan)?;
    let written = write_chain(app, config, dir, &document, &plan.producer, &key).await;
    let (chain, home) = written.map_err(|error| left_behind(error, dir))?;
    let node = Node::open_dir(app, config, home, dir, &chain).await?;
    let fed = seal_all(&node, plan, chain.id, valid, &stop).await;
    let head = node.projection.head();
    node.close().await;
    // Last, so that what was broken off cannot pass for the whole.
    let sealed = fed.and_then(|()| dir.seal(&chain));
    sealed.map(|()| head).map_err(|error| left_behind(error, dir))
}

async fn seal_all(
    node: &Node,
    plan: &Plan,
    chain: ChainId,
    valid: Micros,
    stop: &watch::Receiver<bool>,
) -> Outcome {
    let account = AccountId::from_first_key(&plan.producer.public());
    let producer = Producer { account, key: Arc::new(plan.producer.clone()) };
    let progress = Progress::start("importing", plan.events.len() as u64);
    let mut in_flight: VecDeque<InFlight> = VecDeque::new();
    let (mut tip, mut done) = (node.log.tip().await?, 0);
    for events in plan.blocks() {
        if *stop.borrow() {
            let message = format!("stopped after {done} of {} events", plan.events.len());
            return Err(CliError::new(Exit::Interrupted, "interrupted", message));
        }
        let signed = sign(plan, chain, valid, events)?;
        let proposed = propose(node, &producer, events, &signed)?;
        let appended = node.log.append(tip, proposed.message());
        tip = tip.next();
        in_flight.push_back(InFlight { proposed, appended });
        while in_flight.len() > IN_FLIGHT_MAX {
            confirm_oldest(node, &mut in_flight).await?;
        }
        done += events.len() as u64;
        progress.at(done);
    }
    while !in_flight.is_empty() {
        confirm_oldest(node, &mut in_flight).await?;
    }
    Ok(())
}

fn sign(plan: &Plan, chain: ChainId, valid: Micros, events: &[Event]) -> Outcome<Vec<VerifiedEnvelope>> {
    let now = block_time(events);
    let sign = |event: &Event| {
        let author = plan.author(event);
        envelope::sign(&plan.body(chain, now, valid, event), &[(author.id, &author.key)])
    };
    let signed: Result<Vec<_>, _> = events.par_iter().map(sign).collect();
    signed.map_err(|error| CliError::new(Exit::Refused, "transition_malformed", error.to_string()))
}

fn propose(
    node: &Node,
    producer: &Producer,
    events: &[Event],
    signed: &[VerifiedEnvelope],
) -> Outcome<Proposed> {
    let limits = BlockLimits::default();
    let (proposed, verdicts) =
        node.projection.propose(producer, block_time(events), limits, signed, false)?;
    for verdict in &verdicts {
        match verdict {
            Verdict::Accepted(_) => {}
            Verdict::NoRoom => {
                let message = format!("{} events do not fit a block of {} bytes", events.len(), limits.bytes);
                return Err(CliError::usage("block_full", message).hint("give fewer --events-per-block"));
            }
            Verdict::Rejected(rejection) => {
                let message = format!("an event is refused: {rejection}");
                return Err(CliError::new(Exit::Refused, rejection.code(), message));
            }
        }
    }
    proposed
        .ok_or_else(|| CliError::new(Exit::Refused, "block_empty", "a block without events was to be made"))
}

async fn confirm_oldest(node: &Node, in_flight: &mut VecDeque<InFlight>) -> Outcome {
    let Some(InFlight { proposed, appended }) = in_flight.pop_front() else { return Ok(()) };
    let sequence = appended.await?;
    match node.projection.confirm(&proposed.header_hash(), sequence) {
        Confirmed::Adopted(_) | Confirmed::AlreadyFolded => Ok(()),
        Confirmed::Dropped => {
            let message =
                format!("block {} was dropped while it was appended", proposed.block.header().height);
            Err(CliError::new(Exit::Unavailable, "block_dropped", message))
        }
    }
}

/// Writes down who of the file became which agent.
fn write_agents(dir: &DataDir, plan: &Plan) -> Outcome {
    let path = dir.root().join("agents.csv");
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |node: &str, agent: &str, key: &str| writer.write_record([node, agent, key]);
    write("node", "agent", "public_key")
        .and_then(|()| {
            plan.agents.iter().try_for_each(|agent| {
                write(&agent.node, &agent.id.to_string(), &agent.key.public().to_string())
            })
        })
        .map_err(|error| CliError::file("write", &path, &std::io::Error::other(error)))?;
    let bytes = writer
        .into_inner()
        .map_err(|error| CliError::file("write", &path, &std::io::Error::other(error.to_string())))?;
    write_private(&path, &bytes)
}
