//! Offline verification: what follows from bytes and from what one trusts, and nothing else.
//!
//! Nothing here does I/O, knows a node or reads a clock. Every check takes a [`Trust`] and gives a type whose docs say what
//! it does *not* tell.
//!
//! # What is checked
//! The header: it is of the trusted chain, its signature holds under a trusted producer's key, its sub-tree roots give its
//! state root. A read: each pruned tree has the root of its sub-tree, every record is opened by its tree and has the value
//! that the leaf commits to; with the chain's machine, the read is then run again on the proven part, in which what is
//! not shown is withheld and never taken for absent. An event: it stands at its index under the events root, and its
//! signatures hold. A block: all of its events do.
//!
//! # What is not
//! Freshness, finality, and that rules were followed. A producer can sign anything; what it signed, it cannot deny.

mod block;
mod error;
mod event;
mod proven;
mod read;
mod trust;

use chaoschain_schemas::ProofFile;
use chaoschain_state::domain::Machine;

pub use block::{VerifiedBlock, verify_block};
pub use error::VerifyError;
pub use event::{EventContent, VerifiedEvent, verify_event};
pub use read::{VerifiedRead, verify_read};
pub use trust::{Level, Trust, TrustedHeader};

/// What a proof file proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The answer of a read.
    Read(Box<VerifiedRead>),
    /// An event at its address.
    Event(Box<VerifiedEvent>),
}

/// Reads and verifies a proof file of either kind.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_file(
    bytes: &[u8],
    trust: &Trust,
    machine: Option<&dyn Machine>,
) -> Result<Verified, VerifyError> {
    let file = ProofFile::decode(bytes).map_err(VerifyError::Malformed)?;
    match (file.proof.read, file.proof.event) {
        (Some(read), _) => verify_read(&read, trust, machine).map(|read| Verified::Read(Box::new(read))),
        (None, Some(event)) => {
            verify_event(&event, trust, machine).map(|event| Verified::Event(Box::new(event)))
        }
        (None, None) => Err(VerifyError::Malformed(chaoschain_schemas::CodecError::Form(
            "a proof file holds one proof".into(),
        ))),
    }
}
