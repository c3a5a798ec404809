//! A simulated society: blocks of mixed events, many of them signed by several.
//!
//! - **Seal**: the events' signatures verified, each judged, and the blocks sealed, without queue and log.
//! - **Replay**: the log folded from its beginning with every signature verified.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use chaoschain_events::block::{VerifiedBlock, verify_blocks};
use chaoschain_events::envelope::{VerifiedEnvelope, verify_envelopes};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_projector::{BlockLimits, Fold, Producer, open_genesis};
use chaoschain_schemas::{AccountId, Hash, Sequence};
use chaoschain_society::Society;

use super::chain::{failed, open, runtime};
use super::{BenchArgs, Figure, batch_verify_ceiling, per_second};
use crate::error::{CliError, Exit, Outcome};
use crate::simulate::{Options, Simulation};

/// How many agents take part.
const AGENTS: usize = 1000;

/// A society on its log, in a directory that is removed afterwards.
struct Sample {
    simulation: Simulation,
    messages: Vec<Bytes>,
    blocks: Vec<VerifiedBlock>,
    end: Hash,
    events: usize,
}

pub(super) fn measure(args: &BenchArgs) -> Outcome<Vec<Figure>> {
    eprintln!("a society of {AGENTS} agents and {} events …", args.events);
    let sample = Sample::make(args.events as u64)?;
    let events: Vec<VerifiedEnvelope> =
        sample.blocks.iter().flat_map(|block| block.events().to_vec()).collect();
    let signatures: usize = events.iter().map(|event| event.parties().len()).sum();
    let an_event = signatures as f64 / events.len().max(1) as f64;
    let before = batch_verify_ceiling(&events);
    let sealed = sample.seal()?;
    let replayed = runtime()?.block_on(sample.replay())?;
    let ceiling = before.max(batch_verify_ceiling(&events)) / an_event;
    let note = format!(
        "{} events in {} blocks; {an_event:.2} signatures an event",
        sample.events,
        sample.blocks.len()
    );
    Ok(vec![
        Figure::new("simulated society, verify and seal", sealed, "events/s").under(ceiling).note(note),
        Figure::new("simulated society, replay", replayed, "events/s").under(ceiling).note("same root"),
    ])
}

impl Sample {
    fn make(events: u64) -> Outcome<Self> {
        let mut simulation = Simulation::new(&Options { seed: "bench".into(), agents: AGENTS, events })?;
        let mut messages = vec![simulation.genesis_message()];
        while let Some(block) = simulation.next_block()? {
            messages.push(block.message);
        }
        let report = simulation.report();
        let blocks: Result<Vec<_>, _> = verify_blocks(&messages[1..]).into_iter().collect();
        let blocks = blocks.map_err(|error| failed(&error))?;
        Ok(Self { simulation, messages, blocks, end: report.header_hash, events: report.events as usize })
    }

    /// Makes every block again out of its events' bytes; events a second.
    fn seal(&self) -> Outcome<f64> {
        let key = Arc::new(self.simulation.producer_key().clone());
        let producer = Producer { account: AccountId::from_first_key(&key.public()), key };
        let beginning = open_genesis(&Society, Sequence(1), &self.messages[0], None)?;
        let mut fold = Fold::new(Arc::new(Society), beginning.forest, beginning.head);
        let start = Instant::now();
        for block in &self.blocks {
            let bytes: Vec<Bytes> = block.events().iter().map(|event| event.bytes().clone()).collect();
            let verified: Result<Vec<_>, _> = verify_envelopes(&bytes).into_iter().collect();
            let verified = verified.map_err(|error| failed(&error))?;
            let now = block.header().timestamp;
            fold.propose(&producer, now, BlockLimits::default(), &verified, true)?;
            fold.confirm(Sequence(block.header().height.0 + 1));
        }
        let rate = per_second(self.events, start.elapsed());
        self.check(fold.head().hash)?;
        Ok(rate)
    }

    /// Events a second from the log to the newest head.
    async fn replay(&self) -> Outcome<f64> {
        let dir = tempfile::tempdir().map_err(|error| failed(&error))?;
        let log: Arc<dyn EventLog> =
            Arc::new(EmbeddedLog::open(dir.path().join("log"), EmbeddedOptions::default())?);
        for (tip, message) in (0..).map(Sequence).zip(&self.messages) {
            log.append(tip, message.clone()).await?;
        }
        let start = Instant::now();
        let projection = open(&log, dir.path().join("state"), 256).await?;
        let waited = projection.wait_cursor(log.tip().await?).await;
        let rate = per_second(self.events, start.elapsed());
        let head = projection.head();
        drop(tokio::task::spawn_blocking(move || projection.close()).await);
        log.close().await;
        waited.map_err(|condition| failed(&format!("the replay stopped: {condition:?}")))?;
        self.check(head.hash)?;
        Ok(rate)
    }

    fn check(&self, came_to: Hash) -> Outcome {
        if came_to == self.end {
            return Ok(());
        }
        let message = format!("the society ends with block {}, here it ends with {came_to}", self.end);
        Err(CliError::new(Exit::Corrupt, "replay_differs", message))
    }
}
