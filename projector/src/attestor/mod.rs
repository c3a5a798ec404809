//! A validator's voice: it attests the newest block this node has folded, at most once per interval.
//!
//! # Invariants
//! - No two hashes at one height, and no height after a greater one: what is signed is durable in a file before anyone
//!   sees it, and nothing is signed before the file and the board were read.
//! - Only what this node has folded out of the log, whose root it has computed itself, while it follows the log.
//! - A chain that has another block at the height that was signed last is never attested.

mod last;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaoschain_events::attest::Board;
use chaoschain_schemas::{AccountId, Hash, Height};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fold::Producer;
use crate::projection::Projection;
use crate::writer::lock;
use last::LastSigned;
use work::Work;
pub use work::{CLOCK_TOLERANCE, PUBLISH_PATIENCE};

/// How often a validator attests, at most, unless it is told otherwise.
pub const ATTEST_INTERVAL: Duration = Duration::from_millis(500);

/// How an attestor works.
#[derive(Clone, Debug)]
pub struct AttestorOptions {
    /// The directory of the file with what was signed last. Where it is lost, the board's memory has to do; an older copy
    /// of it is worse than none.
    pub dir: PathBuf,
    /// How often it attests, at most.
    pub interval: Duration,
}

impl AttestorOptions {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), interval: ATTEST_INTERVAL }
    }
}

/// Why a validator does not attest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The file with what was signed last cannot be read or written.
    #[error(
        "{} cannot be used: {reason}; without it this validator might contradict itself, so it does not attest",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// This validator has attested another block than this node's chain has.
    #[error(
        "this validator has attested {signed} at height {height}, where this node's chain has {ours}: the log was \
        rewritten, or the validator's key or file is in use elsewhere; it does not attest this chain"
    )]
    Conflict {
        /// The height.
        height: Height,
        /// What was attested.
        signed: Hash,
        /// What is there, or was attested as well.
        ours: Hash,
    },
}

impl AttestError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "attest_file",
            Self::Conflict { .. } => "attest_conflict",
        }
    }
}

/// Figures of an attestor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttestorStatus {
    /// The validator's account.
    pub validator: AccountId,
    /// The height that was signed last.
    pub signed: Option<Height>,
    /// The height that was published last, since the start.
    pub published: Option<Height>,
    /// Attestations published since the start.
    pub publications: u64,
    /// Publications that failed since the start, each of which is tried again.
    pub failures: u64,
    /// Why it does not attest, `None` while it does or has nothing new to attest: `board_unread`, `board_unavailable`,
    /// `behind_last_signed`, `projection_stopped`, `block_from_future`, `not_validator`, `stopped`, or the code of an
    /// [`AttestError`].
    pub obstacle: Option<&'static str>,
}

/// Attests in the background, until it is shut down or dropped.
#[derive(Debug)]
pub struct Attestor {
    status: Arc<Mutex<AttestorStatus>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Attestor {
    /// Starts to attest as `validator`. Must be called within a tokio runtime; reads a file.
    ///
    /// As long as the account is no validator under this key, it waits.
    ///
    /// # Errors
    /// [`AttestError`]. What comes up later is logged, ends the attesting and stands in [`Attestor::status`].
    pub fn start(
        projection: Projection,
        board: Arc<dyn Board>,
        validator: Producer,
        options: AttestorOptions,
    ) -> Result<Self, AttestError> {
        let AttestorOptions { dir, interval } = options;
        let account = validator.account;
        let (file, last) = LastSigned::open(&dir, projection.chain(), account)?;
        let status = Arc::new(Mutex::new(AttestorStatus {
            validator: account,
            signed: last.as_ref().map(|said| said.attestation.height),
            published: None,
            publications: 0,
            failures: 0,
            obstacle: Some("board_unread"),
        }));
        let shared = Arc::clone(&status);
        let work =
            Work { projection, board, validator, interval, file: Arc::new(file), last, status: shared };
        work.check_last()?;
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(work.run(stop.subscribe()));
        Ok(Self { status, stop, task: Mutex::new(Some(task)) })
    }

    /// Ends. What was signed and not published is published at the next start.
    pub async fn shut_down(&self) {
        self.stop.send_replace(true);
        let task = lock(&self.task).take();
        if let Some(task) = task
            && task.await.is_err_and(|error| error.is_panic())
        {
            tracing::error!("the attestor has panicked");
        }
    }

    /// Figures for metrics.
    pub fn status(&self) -> AttestorStatus {
        lock(&self.status).clone()
    }
}
