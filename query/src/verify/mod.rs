//! Offline verification: what follows from bytes and from what one trusts, and nothing else.
//!
//! Nothing here does I/O, knows a node or reads a clock. Every check takes a [`Trust`] and gives a type whose docs say what
//! it does *not* tell.
//!
//! # What is checked
//! The header: it is of the trusted chain, its signature holds under the key it carries, its sub-tree roots give its
//! state root, and something trusted vouches for it, which [`Agreement`] names: its producer, validators with more than
//! two thirds of the weight, or the trust itself. A read: each pruned tree has the root of its sub-tree, every record is
//! opened by its tree and has the value that the leaf commits to; with the chain's machine, the read is then run again on
//! the proven part, in which what is not shown is withheld and never taken for absent. An event: it stands at its index
//! under the events root, and its signatures hold. A block: all of its events do; with a witness, the rules are run again
//! on the proven part of the state before it, and give the roots that it commits to. Evidence: two signed words that
//! contradict each other.
//!
//! # What is not
//! Freshness, and, but by a witness, that rules were followed. A producer can sign anything; what it signed, it cannot deny. Finality is as
//! good as the validators that are trusted: less than a third of their weight can be faulty.

mod block;
mod error;
mod event;
mod evidence;
mod finality;
mod read;
mod trust;
mod witness;

use chaoschain_schemas::{CodecError, Proof, ProofFile};
use chaoschain_state::domain::Machine;

pub use block::{VerifiedBlock, verify_block};
pub use error::VerifyError;
pub use event::{EventContent, VerifiedEvent, verify_event};
pub use evidence::{ForkSide, VerifiedEquivocation, VerifiedFork, verify_equivocation, verify_fork};
pub use finality::FinalityFault;
pub use read::{VerifiedRead, verify_read};
pub(crate) use trust::check_signature;
pub use trust::{Agreement, Level, Trust, TrustedHeader, TrustedValidator};
pub use witness::{StateVerifier, VerifiedTransition};

/// What a proof file proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// The answer of a read.
    Read(Box<VerifiedRead>),
    /// An event at its address.
    Event(Box<VerifiedEvent>),
    /// A validator's two words on one height.
    Equivocation(Box<VerifiedEquivocation>),
    /// Two blocks at one height.
    Fork(Box<VerifiedFork>),
}

/// Reads and verifies a proof file of any kind.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_file(
    bytes: &[u8],
    trust: &Trust,
    machine: Option<&dyn Machine>,
) -> Result<Verified, VerifyError> {
    let ProofFile { proof, finality, .. } = ProofFile::decode(bytes).map_err(VerifyError::Malformed)?;
    let finality = finality.as_ref();
    let malformed = |text: &str| Err(VerifyError::Malformed(CodecError::Form(text.into())));
    match proof {
        Proof { read: Some(read), .. } => {
            verify_read(&read, finality, trust, machine).map(|read| Verified::Read(Box::new(read)))
        }
        Proof { event: Some(event), .. } => {
            verify_event(&event, finality, trust, machine).map(|event| Verified::Event(Box::new(event)))
        }
        Proof { fork: Some(fork), .. } => {
            verify_fork(&fork, finality, trust).map(|fork| Verified::Fork(Box::new(fork)))
        }
        Proof { equivocation: Some(_), .. } if finality.is_some() => {
            malformed("an equivocation is about no header that could be final")
        }
        Proof { equivocation: Some(proof), .. } => {
            verify_equivocation(&proof, trust).map(|proof| Verified::Equivocation(Box::new(proof)))
        }
        Proof { .. } => malformed("a proof file holds one proof"),
    }
}
