//! Ingest: signed bytes in, receipts out, all roles in one process.
//!
//! - **Burst**: from the first submission to the last receipt; storing goes on behind, within its bound.
//! - **Sustained**: the same, until everything is stored as well.
//! - **Latency**: from submission to receipt, under a steady load of half the burst's rate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_command::{CommandService, OnOutcome, Peer};
use chaoschain_events::envelope::VerifiedEnvelope;
use tokio::sync::Notify;

use super::chain::{Bench, failed};
use super::{BenchArgs, Figure, per_second};
use crate::error::Outcome;

/// How many submissions may be unanswered at a time: fewer than the service's queue takes, so that nothing is refused.
const OUTSTANDING_MAX: usize = 16 * 1024;
/// How many are handed over at a time.
const CHUNK: usize = 1024;
/// How often the steady load submits.
const TICK: Duration = Duration::from_millis(2);

/// What was measured.
pub(super) struct Ingest {
    burst: f64,
    sustained: f64,
    rows_an_event: f64,
    blocks: u64,
    events: usize,
    load: f64,
    latencies: Vec<Duration>,
}

/// Counts answers, and keeps the first refusal.
#[derive(Default)]
struct Answers {
    answered: AtomicUsize,
    changed: Notify,
    refusal: Mutex<Option<String>>,
}

impl Answers {
    fn refuse(&self, why: String) {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }

    async fn wait_for(&self, count: usize) -> Outcome {
        loop {
            let changed = self.changed.notified();
            if let Some(why) = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return Err(failed(&format!("a submission was refused: {why}")));
            }
            if self.answered.load(Ordering::Acquire) >= count {
                return Ok(());
            }
            changed.await;
        }
    }

    fn one_more(&self) {
        self.answered.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }
}

pub(super) async fn measure(bench: &mut Bench, args: &BenchArgs) -> Outcome<Ingest> {
    let ratings = bench.sign_ratings(args.events)?;
    eprintln!("registering {} authors …", args.authors);
    feed(&bench.service, &bytes_of(bench.registrations())).await?;
    flush(bench).await?;

    eprintln!("burst of {} events …", ratings.len());
    let before = bench.projection.status();
    let blocks = bench.service.status().blocks;
    let submissions = bytes_of(&ratings);
    let start = Instant::now();
    feed(&bench.service, &submissions).await?;
    let burst = per_second(ratings.len(), start.elapsed());
    flush(bench).await?;
    let sustained = per_second(ratings.len(), start.elapsed());
    let after = bench.projection.status();
    let blocks = bench.service.status().blocks - blocks;
    let rows_an_event = (after.rows_written - before.rows_written) as f64 / ratings.len() as f64;

    let load = burst / 2.0;
    let steady = bench.sign_ratings((load * args.seconds as f64) as usize)?;
    eprintln!("steady load of {load:.0} events/s for {} s …", args.seconds);
    let latencies = latencies(bench, &bytes_of(&steady), load).await?;
    Ok(Ingest { burst, sustained, rows_an_event, blocks, events: ratings.len(), load, latencies })
}

fn bytes_of(events: &[VerifiedEnvelope]) -> Vec<Bytes> {
    events.iter().map(|event| event.bytes().clone()).collect()
}

/// The burst once more, shared between two services on one chain; events a second.
///
/// An author's transitions go to one service: what one accepts the other has to fold before it can take the next.
pub(super) async fn measure_two(bench: &mut Bench, args: &BenchArgs) -> Outcome<Figure> {
    let ratings = bench.sign_ratings(args.events)?;
    let second = bench.start_second().await?;
    eprintln!("burst of {} events through two services …", ratings.len());
    let lost = |first: &CommandService| first.status().tip_lost + second.status().tip_lost;
    let before = lost(&bench.service);
    let mut halves = [Vec::new(), Vec::new()];
    for event in &ratings {
        halves[usize::from(event.body().author.as_bytes()[0] & 1)].push(event.bytes().clone());
    }
    let start = Instant::now();
    let (one, two) = futures::join!(feed(&bench.service, &halves[0]), feed(&second, &halves[1]));
    one.and(two)?;
    let rate = per_second(ratings.len(), start.elapsed());
    let note = format!("{} appends lost the tip to the other", lost(&bench.service) - before);
    Ok(Figure::new("ingest, burst, two services", rate, "events/s").note(note))
}

/// Submits everything as fast as answers come back.
async fn feed(service: &CommandService, submissions: &[Bytes]) -> Outcome {
    let answers = Arc::new(Answers::default());
    let theirs = Arc::clone(&answers);
    let on_outcome: OnOutcome = Arc::new(move |_, outcome| {
        if let Err(error) = outcome {
            theirs.refuse(format!("{} ({})", error, error.code()));
        }
        theirs.one_more();
    });
    let mut submitted: usize = 0;
    for chunk in submissions.chunks(CHUNK) {
        answers.wait_for((submitted + chunk.len()).saturating_sub(OUTSTANDING_MAX)).await?;
        service.submit_many(chunk.to_vec(), Peer::Local, &on_outcome);
        submitted += chunk.len();
    }
    answers.wait_for(submitted).await
}

async fn flush(bench: &Bench) -> Outcome {
    let projection = bench.projection.clone();
    let flushed = tokio::task::spawn_blocking(move || projection.flush()).await;
    flushed.map_err(|error| failed(&error))?.map_err(|(_, text)| failed(&text))
}

/// Submits at a steady rate, whatever comes back, and measures each answer's time.
async fn latencies(bench: &Bench, submissions: &[Bytes], load: f64) -> Outcome<Vec<Duration>> {
    let answers = Arc::new(Answers::default());
    let measured = Arc::new(Mutex::new(Vec::with_capacity(submissions.len())));
    let start = Instant::now();
    let mut submitted = 0;
    while submitted < submissions.len() {
        let due = ((start.elapsed().as_secs_f64() * load) as usize).min(submissions.len());
        if due > submitted {
            let (theirs, into, sent) = (Arc::clone(&answers), Arc::clone(&measured), Instant::now());
            let on_outcome: OnOutcome = Arc::new(move |_, outcome| {
                let took = sent.elapsed();
                match outcome {
                    Ok(_) => into.lock().unwrap_or_else(PoisonError::into_inner).push(took),
                    Err(error) => theirs.refuse(format!("{} ({})", error, error.code())),
                }
                theirs.one_more();
            });
            bench.service.submit_many(submissions[submitted..due].to_vec(), Peer::Local, &on_outcome);
            submitted = due;
        }
        tokio::time::sleep(TICK).await;
    }
    answers.wait_for(submitted).await?;
    let mut sorted = std::mem::take(&mut *measured.lock().unwrap_or_else(PoisonError::into_inner));
    sorted.sort_unstable();
    Ok(sorted)
}

impl Ingest {
    /// Events a second of the burst, until everything was stored.
    pub(super) const fn sustained(&self) -> f64 {
        self.sustained
    }

    /// Events a second of the burst.
    pub(super) const fn burst(&self) -> f64 {
        self.burst
    }

    /// The figures, under the ceiling that holds for each.
    pub(super) fn figures(&self, home: &str, burst_under: f64, sustained_under: f64) -> Vec<Figure> {
        let blocks = format!("{} events in {} blocks", self.events, self.blocks);
        let rows = format!("until stored; {:.2} rows an event", self.rows_an_event);
        let at = |share: f64| {
            let place =
                ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(place).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let load = format!("at {:.0} events/s", self.load);
        vec![
            Figure::new(format!("ingest, burst{home}"), self.burst, "events/s")
                .under(burst_under)
                .note(blocks),
            Figure::new(format!("ingest, sustained{home}"), self.sustained, "events/s")
                .under(sustained_under)
                .note(rows),
            Figure::new(format!("receipt latency{home}, p50"), at(0.5), "ms").note(load.clone()),
            Figure::new(format!("receipt latency{home}, p99"), at(0.99), "ms").note(load),
        ]
    }
}
