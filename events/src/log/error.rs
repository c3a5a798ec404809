//! What can go wrong with a log, sorted by what the caller does next.

use std::io;
use std::path::PathBuf;

use chaoschain_schemas::Sequence;

/// Why an append did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Nothing was appended: fold what is there and try again at the new tip.
    #[error("the log's tip is {tip} and not the expected one")]
    TipMoved {
        /// The last sequence when the append was refused.
        tip: Sequence,
    },
    /// Nothing was appended, and never will be: the message is too long for this log.
    #[error("a message of {bytes} bytes is too large: this log takes {max}")]
    TooLarge {
        /// How long the message is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Nothing was appended: wait for the appends under way, then try again.
    #[error("{in_flight_max} appends are under way already: wait for them")]
    Busy {
        /// The most appends that may be under way.
        in_flight_max: usize,
    },
    /// Nothing was appended: the disk (or quota) is full. Appends succeed again when there is room.
    #[error("no space left for the log: make room; reads go on and appends resume by themselves")]
    NoSpace,
    /// It is not known whether the message was appended: read `expected_tip + 1` back and compare.
    #[error(
        "it is unclear whether the append after {expected_tip} took place ({reason}): read it back and compare"
    )]
    Unclear {
        /// The tip the append expected.
        expected_tip: Sequence,
        /// What happened.
        reason: String,
    },
    /// Nothing was appended: the log cannot be written now.
    #[error("the log cannot be written: {reason}")]
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// Nothing was appended: this handle was closed.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TipMoved { .. } => "log_tip_moved",
            Self::TooLarge { .. } => "log_message_too_large",
            Self::Busy { .. } => "log_busy",
            Self::NoSpace => "log_no_space",
            Self::Unclear { .. } => "log_append_unclear",
            Self::Unavailable { .. } => "log_unavailable",
            Self::Closed => "log_closed",
        }
    }
}

/// Why a log could not be opened, read, followed or compacted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// What was asked for is gone: start from a snapshot, or read from `first`.
    #[error("the log was compacted: it starts at {first}")]
    Compacted {
        /// The first sequence that can be read.
        first: Sequence,
    },
    /// Compaction was asked to go further than the log does.
    #[error("the log ends at {tip}: it cannot be compacted beyond that")]
    BeyondTip {
        /// The last sequence.
        tip: Sequence,
    },
    /// Stored bytes are damaged: restore the file from a copy, or the log from another node.
    #[error("{} is damaged at byte {offset}, sequence {sequence}: {reason}; restore it from a copy", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damage starts, bytes from the start of the file.
        offset: u64,
        /// The first message that cannot be read.
        sequence: Sequence,
        /// What does not hold.
        reason: &'static str,
    },
    /// Another process has the log open.
    #[error("{} is in use by {holder}: stop that process, or use another directory", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// Who has it, as far as known.
        holder: String,
    },
    /// A file in the log's directory is not one of the log's.
    #[error("{} is not a chaoschain log file ({reason}): is this the right directory?", file.display())]
    Foreign {
        /// The strange file.
        file: PathBuf,
        /// How it can be told.
        reason: &'static str,
    },
    /// A file was written by a newer version of this program.
    #[error("{} has log format {found}, this program knows up to {known}: use a newer one", file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format version.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// This is not the log that was opened: it was deleted, or made anew under the same name.
    #[error(
        "{log} is not the one that was opened: {reason}; nothing of it is believed. Restore it (`log restore` on a node \
         that has the blocks), then start again"
    )]
    Replaced {
        /// Which log.
        log: String,
        /// How it can be told.
        reason: String,
    },
    /// The log ends before what was already read from it or acknowledged by it.
    #[error(
        "the log ends at {tip}, though {seen} was seen: what it had acknowledged is lost. Restore its tail (`log restore` \
         on a node that has the blocks), then start again"
    )]
    Lost {
        /// The last sequence now.
        tip: Sequence,
        /// The last one that was seen.
        seen: Sequence,
    },
    /// The log cannot be reached or worked on now: try again.
    #[error("the log is not available: {reason}")]
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// This handle was closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Compacted { .. } => "log_compacted",
            Self::BeyondTip { .. } => "log_beyond_tip",
            Self::Corrupt { .. } => "log_corrupt",
            Self::Locked { .. } => "log_locked",
            Self::Foreign { .. } => "log_foreign_file",
            Self::NewerFormat { .. } => "log_newer_format",
            Self::Io { .. } => "log_io",
            Self::Replaced { .. } => "log_replaced",
            Self::Lost { .. } => "log_lost",
            Self::Unavailable { .. } => "log_unavailable",
            Self::Closed => "log_closed",
        }
    }
}
