//! Reads with proof, in process, one core.

use chaoschain_query::bench::proven_reads;

use super::Figure;
use super::chain::{Bench, failed};
use crate::error::Outcome;

/// How many reads are made.
const READS: usize = 20_000;

pub(super) fn measure(bench: &Bench) -> Outcome<Figure> {
    let head = bench.projection.head();
    let ids: Vec<_> = bench.author_ids().map(|id| vec![id.to_string()]).collect();
    let arguments: Vec<Vec<String>> = ids.into_iter().cycle().take(READS).collect();
    let measured = proven_reads(&head, &**bench.projection.machine(), "agent", &arguments)
        .map_err(|error| failed(&error))?;
    let size = measured.proof_bytes / measured.reads.max(1);
    let note = format!(
        "an agent: two records, proof file of {size} B, {} records in all",
        head.state.record_count()
    );
    Ok(Figure::new("read with proof, one core", measured.per_second() as f64, "/s").note(note))
}
