//! Why a question has no answer.

use chaoschain_schemas::{EventAddress, Hash, Height, TransitionId};
use chaoschain_state::Fault;
use chaoschain_state::domain::ReadError;

use crate::named::ReadFailure;

/// Why a question has no answer, shaped by what the asker does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The wanted height has not come; wait longer or ask another node.
    #[error("height {wanted} was not reached in the time given; the newest here is {newest}: try again")]
    HeightNotReached {
        /// What was asked for.
        wanted: Height,
        /// What there is.
        newest: Height,
    },
    /// The wanted height is not final, or nothing is yet; wait longer or ask for what is not final.
    #[error("{}", not_finalized(*.wanted, *.newest))]
    NotFinalized {
        /// What was asked for.
        wanted: Height,
        /// The newest final height.
        newest: Option<Height>,
    },
    /// The state of the wanted height is not kept any more; ask for a newer one.
    #[error(
        "the state at height {wanted} is no longer kept; the newest is {newest}: ask at that or replay the log"
    )]
    HeightNotRetained {
        /// What was asked for.
        wanted: Height,
        /// What there is.
        newest: Height,
    },
    /// The read is refused: unknown, wrong arguments, or too much at once.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// A parameter of the request is not of its form.
    #[error("{0}")]
    Argument(String),
    /// What was read does not exist in that state.
    #[error("{read}: there is none at height {height}, state root {root}; proof=true proves its absence")]
    Absent {
        /// The read and its arguments.
        read: String,
        /// The height whose state was read.
        height: Height,
        /// The state root at that height.
        root: Hash,
    },
    /// There is no such block.
    #[error("there is no block {wanted}; the newest is {newest}")]
    BlockUnknown {
        /// What was asked for.
        wanted: Height,
        /// What there is.
        newest: Height,
    },
    /// The block is in the chain, but its message is in this node's log no more.
    #[error("the message of block {0} is not in this node's log: ask a node that keeps an archive")]
    BlockGone(Height),
    /// The state before the block is not kept any more, so there is no witness of it; ask a node that has folded it lately.
    #[error("{}", outside_window(*.wanted, *.first, *.newest))]
    OutsideWindow {
        /// What was asked for.
        wanted: Height,
        /// The oldest block with a witness.
        first: Height,
        /// The newest.
        newest: Height,
    },
    /// The witness is larger than anyone reads.
    #[error(
        "the witness of block {height} has {size} {unit}, more than the {max} that are read: replay the log to check it"
    )]
    WitnessTooLarge {
        /// The block.
        height: Height,
        /// What it takes.
        size: usize,
        /// What is read.
        max: usize,
        /// Of what: bytes, or elements of trees.
        unit: &'static str,
    },
    /// As many answers of this sort are being made as may be at once; ask again.
    #[error("{0} witnesses are being made already: try again")]
    Busy(usize),
    /// The block has no event at this index.
    #[error("there is no event {0}")]
    EventUnknown(EventAddress),
    /// No accepted transition has this id.
    #[error("transition {0} has not been accepted, as far as this node has read")]
    TransitionUnknown(TransitionId),
    /// There is no such read model.
    #[error("there is no model named {0:?}")]
    ModelUnknown(String),
    /// The answer is in no root.
    #[error("{0} is in no root, so there is no proof of it: ask without")]
    NotProvable(&'static str),
    /// This node's own data cannot be used; what is wrong is in its log.
    #[error("this node cannot answer: {text}")]
    Node {
        /// A stable word for the reason.
        code: &'static str,
        /// What failed.
        text: String,
    },
}

fn outside_window(wanted: Height, first: Height, newest: Height) -> String {
    let there = if first > newest {
        "a node has none before it folds blocks, a stopped one never: replay the log, or start a node on an empty `state/`"
            .to_owned()
    } else {
        format!("there are witnesses of blocks {first} to {newest}; replay the log to check others")
    };
    format!("the state before block {wanted} is not kept: {there}")
}

fn not_finalized(wanted: Height, newest: Option<Height>) -> String {
    match newest {
        Some(newest) => format!(
            "height {wanted} did not become final in the time given; the newest final one is {newest}: try again"
        ),
        None => "no block is final yet, as far as this node knows: validators with more than two thirds of the weight \
                 have to attest one; finality=latest answers without"
            .to_owned(),
    }
}

impl QueryError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HeightNotReached { .. } => "height_not_reached",
            Self::NotFinalized { .. } => "not_finalized",
            Self::HeightNotRetained { .. } => "height_not_retained",
            Self::Read(failure) => failure.code(),
            Self::Argument(_) => "argument_wrong",
            Self::Absent { .. } => "absent",
            Self::BlockUnknown { .. } => "block_unknown",
            Self::BlockGone(_) => "block_gone",
            Self::OutsideWindow { .. } => "outside_window",
            Self::WitnessTooLarge { .. } => "witness_too_large",
            Self::Busy(_) => "busy",
            Self::EventUnknown(_) => "event_unknown",
            Self::TransitionUnknown(_) => "transition_unknown",
            Self::ModelUnknown(_) => "model_unknown",
            Self::NotProvable(_) => "not_provable",
            Self::Node { code, .. } => code,
        }
    }
}

impl ReadFailure {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Asked(ReadError::Unknown(_)) => "read_unknown",
            Self::Asked(ReadError::Argument(_)) => "argument_wrong",
            Self::TooLarge => "read_too_large",
            Self::Fault(fault) => match **fault {
                Fault::Withheld(_) => "record_withheld",
                Fault::Corrupt(..) => "record_corrupt",
            },
        }
    }
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        Self::Read(error.into())
    }
}
