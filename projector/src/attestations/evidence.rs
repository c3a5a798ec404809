//! Proofs of misconduct, as files beside the store.
//!
//! A validator's first equivocation is kept in `equivocation-<validator>-<height>.proof`, a proof file that anyone can
//! verify. At the next start these files say whose word counts for nothing.

use std::path::{Path, PathBuf};

use chaoschain_events::attest::check_attestation;
use chaoschain_schemas::limits::{ATTESTATION_BYTES_MAX, VALIDATORS_MAX};
use chaoschain_schemas::{AccountId, Attestation, ChainId, EquivocationProof, ProofFile, codec};

use crate::private_file::replace_file;

/// What the name of such a file begins with.
const EQUIVOCATION: &str = "equivocation-";
/// The longest such file, bytes: two attestations and what surrounds them.
const EQUIVOCATION_BYTES_MAX: u64 = 2 * ATTESTATION_BYTES_MAX as u64 + 64;

/// Writes the proof, at most one for each validator.
pub(super) fn keep_equivocation(dir: &Path, proof: &EquivocationProof) -> Option<PathBuf> {
    let attestation = Attestation::decode(&proof.first.attestation).ok()?;
    let (validator, height) = (attestation.validator, attestation.height);
    let path = dir.join(format!("{EQUIVOCATION}{validator}-{height}.proof"));
    match replace_file(&path, &codec::encode(&ProofFile::of_equivocation(proof.clone()))) {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::error!(%error, "the proof of equivocation could not be written to {}", path.display());
            None
        }
    }
}

/// The validators of `chain` whose equivocation is proven by a file in `dir`.
pub(super) fn equivocators(dir: &Path, chain: ChainId) -> Vec<AccountId> {
    let Ok(files) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = files.flatten().map(|file| file.path());
    let proofs = paths.filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(EQUIVOCATION) && path.extension().is_some_and(|extension| extension == "proof")
    });
    // A chain has no more validators, and none has more than one file.
    proofs.take(VALIDATORS_MAX).filter_map(|path| equivocator(&path, chain)).collect()
}

fn equivocator(path: &Path, chain: ChainId) -> Option<AccountId> {
    let short = std::fs::metadata(path).ok()?.len() <= EQUIVOCATION_BYTES_MAX;
    let bytes = if short { std::fs::read(path).ok()? } else { Vec::new() };
    let proof = ProofFile::decode(&bytes).ok().and_then(|file| file.proof.equivocation);
    let proven = proof.and_then(|EquivocationProof { first, second }| {
        let (a, b) = (check_attestation(&first).ok()?, check_attestation(&second).ok()?);
        let one = first.key == second.key && (a.validator, a.height) == (b.validator, b.height);
        let holds = one && a.header_hash != b.header_hash && a.chain == chain && b.chain == chain;
        holds.then_some(a.validator)
    });
    if proven.is_none() {
        tracing::warn!("{} proves nothing; it is not minded", path.display());
    }
    proven
}
