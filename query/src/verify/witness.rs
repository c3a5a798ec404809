//! Verification that a block follows the one before it, from a witness and without a state.

use bytes::Bytes;
use chaoschain_events::block::VerifiedBlock;
use chaoschain_schemas::WitnessFile;
use chaoschain_state::control::SignedTransition;
use chaoschain_state::domain::Machine;
use chaoschain_state::succession::{Parent, Successor, succeed};
use chaoschain_state::witness::{ApplyError, Witness, WitnessError};
use chaoschain_state::{Change, state_root};

use super::{Level, Trust, TrustedHeader, VerifyError};
use crate::named;

/// Decides without a state whether blocks follow the ones before them: with what is trusted and the chain's rules.
#[derive(Clone, Copy)]
pub struct StateVerifier<'a> {
    trust: &'a Trust,
    machine: &'a dyn Machine,
}

/// A block that follows its parent, as every node decides it: form, signatures, header, rules and roots hold.
///
/// # What it proves
/// If the parent's header is the chain's, as [`VerifiedTransition::parent`] is believed for the reason it gives, then
/// this block is a valid next one: its producer was one under its current key, every event was acceptable and signed by
/// whom it had to be, and the roots that the block commits to are those that the rules give.
///
/// # What it does not say
/// That this is the block the log has at this height: a producer can seal two, and both follow. Compare the header's hash
/// with one that is final, or that comes from elsewhere. That the block is final, or the newest. That the parent follows
/// from its own parent. That the rules are right: they are this program's, in the version that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransition {
    /// The header of the block before, and why it is believed.
    pub parent: TrustedHeader,
    /// The block.
    pub block: VerifiedBlock,
    /// What it changes, ascending by key.
    pub changes: Vec<Change>,
    /// The version of the rules that was in force.
    pub rules: u16,
    /// How many records of the parent's state the witness showed.
    pub records_shown: usize,
    /// How far the verification went: always [`Level::ReExecuted`].
    pub level: Level,
}

impl<'a> StateVerifier<'a> {
    /// Believes what `trust` says, and runs `machine`.
    pub const fn new(trust: &'a Trust, machine: &'a dyn Machine) -> Self {
        Self { trust, machine }
    }

    /// Reads a witness file and verifies it.
    ///
    /// # Errors
    /// [`VerifyError`]: the first thing that does not hold.
    pub fn verify_file(&self, bytes: &[u8]) -> Result<VerifiedTransition, VerifyError> {
        self.verify(&WitnessFile::decode(bytes).map_err(VerifyError::Malformed)?)
    }

    /// Decides whether the witness's block follows its parent.
    ///
    /// # Errors
    /// [`VerifyError`]: the first thing that does not hold. [`VerifyError::Unfit`] has the code that a node's fold gives the
    /// same block; where the witness shows too little to decide, the code is `witness_incomplete`.
    pub fn verify(&self, file: &WitnessFile) -> Result<VerifiedTransition, VerifyError> {
        let parent = self.trust.check_header(&file.parent, file.finality.as_ref())?;
        self.trust.check_domain(self.machine)?;
        if !named::fits(self.machine, &parent.header) {
            return Err(VerifyError::DomainWrong("another number of sub-trees"));
        }
        let block = VerifiedBlock::verify(Bytes::copy_from_slice(&file.block));
        let block = block.map_err(|error| VerifyError::Block(error.fault))?;
        let witness = Witness::check(&parent.header, &file.blocks, &file.sub_trees);
        let witness = witness.map_err(|error| match error {
            WitnessError::Shown(error) => VerifyError::Shown(error),
            WitnessError::Blocks(_) => VerifyError::WitnessBlocks,
        })?;
        let changes = self.run(&parent, &witness, &block)?;
        let rules = block.header().rules;
        let records_shown = witness.record_count();
        Ok(VerifiedTransition { parent, block, changes, rules, records_shown, level: Level::ReExecuted })
    }

    /// Runs the rules on what is shown and compares the roots.
    fn run(
        &self,
        parent: &TrustedHeader,
        witness: &Witness,
        block: &VerifiedBlock,
    ) -> Result<Vec<Change>, VerifyError> {
        let hash = parent.at.header_hash;
        let before = Parent { header: &parent.header, hash, state: witness };
        let events: Vec<_> = block
            .events()
            .iter()
            .map(|event| SignedTransition { id: event.id(), body: event.body(), parties: event.parties() })
            .collect();
        let header = block.header();
        let successor = Successor { header, key: block.producer_key(), events: &events };
        let changes = succeed(self.machine, before, successor).map_err(VerifyError::Unfit)?;
        let roots = witness.apply(&changes, hash).map_err(|error| match error {
            ApplyError::Incomplete(sub_tree) => VerifyError::WitnessShort(sub_tree),
            ApplyError::Refused { sub_tree, error } => VerifyError::ChangeRefused { sub_tree, error },
        })?;
        let computed = state_root(&roots);
        if computed != header.state_root || roots != header.sub_roots {
            let differs = roots.iter().zip(&header.sub_roots).position(|(a, b)| a != b);
            let sub_tree = differs.unwrap_or(header.sub_roots.len());
            return Err(VerifyError::Diverged { claimed: header.state_root, computed, sub_tree });
        }
        Ok(changes)
    }
}
