//! Why something is not verified.

use chaoschain_events::attest::AttestationError;
use chaoschain_events::block::BlockFault;
use chaoschain_events::envelope::EnvelopeError;
use chaoschain_schemas::{ChainId, CodecError, Hash, PublicKey};
use chaoschain_state::merkle::{ProofError, TreeError};
use chaoschain_state::succession::Unfit;
use chaoschain_state::{ShownError, SubTree};

use super::FinalityFault;
use crate::named::ReadFailure;

/// What failed. Whichever it is, nothing of what was checked may be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Nothing is trusted.
    #[error(
        "the trust names no producer, no validator and no header, so nothing can be verified: add one you trust"
    )]
    TrustEmpty,
    /// What is trusted does not make sense.
    #[error("this cannot be trusted: {0}")]
    TrustMalformed(String),
    /// The file or message is not one.
    #[error("this is not a proof or block that can be read: {0}")]
    Malformed(CodecError),
    /// The header's bytes are not a header.
    #[error("the header cannot be read: {0}")]
    HeaderMalformed(CodecError),
    /// The header or attestation is another chain's.
    #[error("this is of chain {got}, the trusted one is {trusted}")]
    ChainWrong {
        /// The trusted chain.
        trusted: ChainId,
        /// The one it is of.
        got: ChainId,
    },
    /// Only one header is trusted, and this is another.
    #[error("the header {0} is not the trusted one")]
    HeaderUntrusted(Hash),
    /// Only validators are trusted, and nothing says what they attest.
    #[error(
        "only validators are trusted, and no proof of finality came along: ask for it with finality=finalized"
    )]
    FinalityMissing,
    /// Too few of the trusted validators attest the header.
    #[error(
        "validators with {weight} of the trusted weight of {total} attest the header: more than two thirds must"
    )]
    FinalityShort {
        /// What attests it.
        weight: u64,
        /// What all have together.
        total: u64,
    },
    /// The proof of finality does not hold.
    #[error("the proof that the header is final does not hold: {0}")]
    Finality(#[from] FinalityFault),
    /// An attestation cannot be read, or its signature does not hold.
    #[error("the attestation signed with {key} does not hold: {error}")]
    Attestation {
        /// The key it carries.
        key: PublicKey,
        /// What is wrong.
        error: AttestationError,
    },
    /// The signing key is none of the trusted ones.
    #[error("the header is signed with {0}, which is not among the trusted producers")]
    ProducerUntrusted(PublicKey),
    /// The header's signature does not hold.
    #[error("the signature of {0} on the header does not hold")]
    HeaderSignature(PublicKey),
    /// The header's sub-tree roots do not give its state root.
    #[error("the header's sub-tree roots do not give its state root")]
    StateRoot,
    /// What is shown of the state does not hold.
    #[error(transparent)]
    Shown(#[from] ShownError),
    /// The witness's frontier is not of the tree of blocks that the parent commits to.
    #[error("the witness does not show the tree of blocks that the parent commits to")]
    WitnessBlocks,
    /// The block does not follow its parent, or the witness shows too little to tell.
    #[error("the block does not follow its parent: {0}")]
    Unfit(#[source] Unfit),
    /// The update of a sub-tree needs what the witness does not show.
    #[error("the witness shows too little of sub-tree {0} to tell its root after the block")]
    WitnessShort(SubTree),
    /// A sub-tree can take no such change.
    #[error("the block changes sub-tree {sub_tree} as no sub-tree can be: {error}")]
    ChangeRefused {
        /// The sub-tree.
        sub_tree: SubTree,
        /// What is wrong.
        error: TreeError,
    },
    /// The rules give other roots than the block commits to.
    #[error(
        "the block commits to state root {claimed}, the rules give {computed}: its producer did not follow them, or not these"
    )]
    Diverged {
        /// The block's.
        claimed: Hash,
        /// What follows.
        computed: Hash,
        /// The number of the first sub-tree whose root differs.
        sub_tree: usize,
    },
    /// The header needs another domain or newer rules than the verifier has.
    #[error("the chain's rules are not those of this program ({0}): verify with the chain's own")]
    DomainWrong(&'static str),
    /// The trusted chain is of another domain than the verifier.
    #[error(
        "the trusted chain runs the domain {trusted:?}, this program runs {program:?}: verify with the chain's own"
    )]
    DomainOther {
        /// The trusted chain's domain.
        trusted: String,
        /// The program's.
        program: String,
    },
    /// Two attestations that do not contradict each other.
    #[error("the two attestations are no equivocation: {0}")]
    NoEquivocation(&'static str),
    /// Two headers that do not contradict each other.
    #[error("the two headers are no fork: {0}")]
    NoFork(&'static str),
    /// The read cannot be answered from what is proven.
    #[error("the proven part of the state does not answer the read: {0}")]
    Read(ReadFailure),
    /// The event's tree is none.
    #[error("the proof's tree of events cannot be read: {0}")]
    EventTreeMalformed(ProofError),
    /// The event's tree has another root than the header.
    #[error("the events have not the root that the header commits to")]
    EventsRoot,
    /// The event does not stand at the index.
    #[error("the event does not stand at index {0} of the block")]
    EventPlace(u32),
    /// The genesis document is another chain's, or not in block 0.
    #[error("the genesis document is not the one of the trusted chain")]
    Genesis,
    /// The envelope cannot be read, or a signature on it does not hold.
    #[error("the event does not hold: {0}")]
    Envelope(EnvelopeError),
    /// The message is not a block that holds by itself.
    #[error("the block does not hold: {0}")]
    Block(BlockFault),
}

impl VerifyError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TrustEmpty => "trust_empty",
            Self::TrustMalformed(_) => "trust_malformed",
            Self::Malformed(error) => error.code(),
            Self::HeaderMalformed(_) => "header_malformed",
            Self::ChainWrong { .. } => "chain_wrong",
            Self::ProducerUntrusted(_) => "producer_untrusted",
            Self::HeaderUntrusted(_) => "header_untrusted",
            Self::FinalityMissing => "finality_missing",
            Self::FinalityShort { .. } => "finality_short",
            Self::Finality(fault) => fault.code(),
            Self::Attestation { error: AttestationError::Signature, .. } => "attestation_signature_invalid",
            Self::Attestation { error, .. } => error.code(),
            Self::HeaderSignature(_) => "header_signature_invalid",
            Self::StateRoot | Self::Diverged { .. } => "state_root_wrong",
            Self::EventTreeMalformed(_) => "tree_malformed",
            Self::Shown(error) => shown_code(error),
            Self::WitnessBlocks => "blocks_root_wrong",
            Self::Unfit(unfit) => unfit.code(),
            Self::WitnessShort(_) => "witness_incomplete",
            Self::ChangeRefused { .. } => "change_refused",
            Self::DomainWrong(_) | Self::DomainOther { .. } => "domain_wrong",
            Self::NoEquivocation(_) => "equivocation_unproven",
            Self::NoFork(_) => "fork_unproven",
            Self::Read(_) => "read_unproven",
            Self::EventsRoot => "events_root_wrong",
            Self::EventPlace(_) => "event_place_wrong",
            Self::Genesis => "genesis_wrong",
            Self::Envelope(error) => error.code(),
            Self::Block(fault) => fault.code(),
        }
    }
}

const fn shown_code(error: &ShownError) -> &'static str {
    match error {
        ShownError::SubTree(_) => "sub_tree_wrong",
        ShownError::TreeMalformed { .. } => "tree_malformed",
        ShownError::TreeRoot(_) => "tree_root_wrong",
        ShownError::RecordOrder(_) => "records_unordered",
        ShownError::RecordUnproven(_) => "record_unproven",
        ShownError::RecordValue(_) => "record_value_wrong",
        _ => "witness_malformed",
    }
}
