//! How fast reads are proven in this process, without transport.

use std::time::{Duration, Instant};

use chaoschain_projector::Head;
use chaoschain_schemas::{ProofFile, codec};
use chaoschain_state::domain::Machine;

use crate::named::ReadFailure;
use crate::prove;

/// What a run of proven reads took, on one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ProvenReads {
    /// How many reads were answered and proven.
    pub reads: u64,
    /// How many bytes their proof files have together.
    pub proof_bytes: u64,
    /// How long that took.
    pub elapsed: Duration,
}

impl ProvenReads {
    /// Reads a second.
    pub fn per_second(&self) -> u64 {
        let nanos = self.elapsed.as_nanos().max(1);
        u64::try_from(u128::from(self.reads) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }
}

/// Answers the same named read for each of `arguments`, with its proof file, one after the other.
///
/// # Errors
/// [`ReadFailure`] of the first read that fails.
pub fn proven_reads(
    head: &Head,
    machine: &dyn Machine,
    name: &str,
    arguments: &[Vec<String>],
) -> Result<ProvenReads, ReadFailure> {
    let start = Instant::now();
    let mut measured = ProvenReads::default();
    for arguments in arguments {
        let (_, proof) = prove::read_with_proof(head, machine, name, arguments)?;
        measured.proof_bytes += codec::encode(&ProofFile::of_read(proof)).len() as u64;
        measured.reads += 1;
    }
    Ok(ProvenReads { elapsed: start.elapsed(), ..measured })
}
