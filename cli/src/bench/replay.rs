//! Replay: the log folded from its beginning with every signature verified.

use std::time::Instant;

use super::chain::{Bench, open};
use super::{Figure, per_second};
use crate::error::{CliError, Exit, Outcome};

pub(super) async fn measure(bench: &Bench) -> Outcome<Figure> {
    let start = Instant::now();
    let projection = open(&bench.log, bench.state_dir("replay"), 256).await?;
    let tip = bench.log.tip().await?;
    if let Err(condition) = projection.wait_cursor(tip).await {
        let text = format!("the replay stopped: {condition:?}");
        return Err(CliError::new(Exit::Corrupt, "replay_stopped", text));
    }
    let elapsed = start.elapsed();
    let (ours, theirs) = (bench.projection.head(), projection.head());
    let events = projection.status().events_folded;
    drop(tokio::task::spawn_blocking(move || projection.close()).await);
    if ours.hash != theirs.hash {
        let text = format!("the replay gives {theirs:?}, the node has {ours:?}");
        return Err(CliError::new(Exit::Corrupt, "replay_differs", text));
    }
    let rate = per_second(events as usize, elapsed);
    Ok(Figure::new("replay with full verification", rate, "events/s")
        .note(format!("{events} events, same root")))
}
