//! Evidence: files that say why a node has stopped, and proofs of it that need no trust in this node.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chaoschain_schemas::{ForkProof, Height, ProofFile, SignedHeader, codec};
use serde_json::Value as Json;

use crate::store::create_private_file;

/// Writes a report; `None` when that is not possible, which is logged.
pub(crate) fn write_report(dir: &Path, name: &str, report: &Json) -> Option<PathBuf> {
    write(dir, &format!("{name}.json"), format!("{report:#}\n").as_bytes())
}

/// Writes the proof that two headers of `height` are signed, as `fork-<height>.proof`; anyone verifies it offline.
///
/// Answers where it is, or `None` when it could not be written, which is logged.
pub fn write_fork(dir: &Path, height: Height, ours: SignedHeader, theirs: SignedHeader) -> Option<PathBuf> {
    let proof = ProofFile::of_fork(ForkProof { ours, theirs });
    write(dir, &format!("fork-{height}.proof"), &codec::encode(&proof))
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Option<PathBuf> {
    let path = dir.join(name);
    let put = || {
        create_private_file(&path)?;
        let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    match put() {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::error!(%error, "the evidence could not be written to {}", path.display());
            None
        }
    }
}
