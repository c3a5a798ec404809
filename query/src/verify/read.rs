//! Verification of an answer.

use chaoschain_schemas::{FinalityProof, ReadProof};
use chaoschain_state::domain::Machine;
use chaoschain_state::{Key, ShownState, Value};
use serde_json::Value as Json;

use super::{Level, Trust, TrustedHeader, VerifyError};
use crate::named;

/// A read whose answer follows from a header that is believed.
///
/// # What it does not say
/// That the state is the newest: compare [`TrustedHeader::at`] with what you have seen elsewhere. That this is the
/// question you asked: compare [`VerifiedRead::read`] and [`VerifiedRead::arguments`] with it. That the rules were
/// followed: replay the log for that. Below [`Level::DecodedBySchema`] the name and the arguments of the read were not
/// used at all, and only [`VerifiedRead::records`] are proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRead {
    /// The header whose state was read.
    pub header: TrustedHeader,
    /// The read.
    pub read: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The records it was answered from, ascending by key.
    pub records: Vec<(Key, Value)>,
    /// The answer, `null` for absence; `None` when there was no machine to decode it.
    pub value: Option<Json>,
    /// How far the verification went.
    pub level: Level,
}

/// Verifies the proof of a read; with the chain's machine the answer is computed again from the proven records.
///
/// # Errors
/// [`VerifyError`]: the first thing that does not hold.
pub fn verify_read(
    proof: &ReadProof,
    finality: Option<&FinalityProof>,
    trust: &Trust,
    machine: Option<&dyn Machine>,
) -> Result<VerifiedRead, VerifyError> {
    let header = trust.check_header(&proof.header, finality)?;
    let state = ShownState::of_proof(&header.header.sub_roots, &proof.sub_trees)?;
    let value = machine.map(|machine| {
        check_domain(machine, trust, &header)?;
        named::answer(machine, &header.header, &proof.read, &proof.arguments, &state)
            .map_err(VerifyError::Read)
    });
    let value = value.transpose()?;
    Ok(VerifiedRead {
        header,
        read: proof.read.clone(),
        arguments: proof.arguments.clone(),
        records: state.into_records(),
        level: if value.is_some() { Level::DecodedBySchema } else { Level::SignaturesAndProofs },
        value,
    })
}

/// Checks as far as the trust and a header tell that the machine is the chain's.
pub(super) fn check_domain(
    machine: &dyn Machine,
    trust: &Trust,
    header: &TrustedHeader,
) -> Result<(), VerifyError> {
    trust.check_domain(machine)?;
    if !named::fits(machine, &header.header) {
        return Err(VerifyError::DomainWrong("another number of sub-trees"));
    }
    if header.header.rules > machine.rules() {
        return Err(VerifyError::DomainWrong("a newer version of the rules"));
    }
    Ok(())
}
