//! What an attestor does: read, compare, then sign, store, publish, over and over.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use chaoschain_events::attest::{Board, Posted, sign_attestation, verify_attestation};
use chaoschain_events::log::LogError;
use chaoschain_schemas::{ATTESTATION_VERSION, Attestation, Height, Timestamp};
use futures::StreamExt as _;
use tokio::sync::watch;

use super::last::{LastSigned, Said};
use super::{AttestError, AttestorStatus};
use crate::attestations::Electorate;
use crate::fold::Producer;
use crate::head::Head;
use crate::projection::{Condition, Projection};
use crate::writer::lock;

/// How far a block's time may be ahead of this machine's clock to be attested.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);
/// How long one publication may take before it is tried again.
pub const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after a failure, the first time and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

pub(super) struct Work {
    pub(super) projection: Projection,
    pub(super) board: Arc<dyn Board>,
    pub(super) validator: Producer,
    pub(super) interval: Duration,
    pub(super) file: Arc<LastSigned>,
    pub(super) last: Option<Said>,
    pub(super) status: Arc<Mutex<AttestorStatus>>,
}

impl Work {
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let status = Arc::clone(&self.status);
        let ended = tokio::select! {
            // Also when nobody is there any more to stop it.
            _ = async { stop.wait_for(|stop| *stop).await.map(|_| ()) } => None,
            Err(error) = self.attest() => Some(error),
        };
        let code = ended.as_ref().map_or("stopped", AttestError::code);
        if let Some(error) = ended {
            tracing::error!(code, "this validator has stopped to attest: {error}");
        }
        // The file is free for another before anyone is told.
        drop(self);
        lock(&status).obstacle = Some(code);
    }

    async fn attest(&mut self) -> Result<Infallible, AttestError> {
        self.read_board().await?;
        self.come_up_to_last().await?;
        if let Some(last) = self.last.clone() {
            self.publish(&last).await;
        }
        loop {
            let head = self.next_head().await;
            let said = self.sign(&head);
            self.keep(said.clone()).await;
            self.publish(&said).await;
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Takes as signed what the board has of this validator: the file may be lost, or older.
    async fn read_board(&mut self) -> Result<(), AttestError> {
        let mut pause = RETRY_FIRST;
        loop {
            match self.board.follow().await {
                Ok(mut posts) => loop {
                    match posts.next().await {
                        Some(Posted::CaughtUp) => return Ok(()),
                        Some(Posted::Attestation(bytes)) => self.recall(&bytes).await?,
                        None => return self.closed().await,
                    }
                },
                Err(LogError::Closed) => return self.closed().await,
                Err(error) => tracing::warn!(%error, "the board cannot be read; nothing is signed before"),
            }
            self.retry_after(&mut pause).await;
        }
    }

    async fn recall(&mut self, bytes: &[u8]) -> Result<(), AttestError> {
        let Ok((attestation, signed)) = verify_attestation(bytes) else { return Ok(()) };
        let own = attestation.validator == self.validator.account
            && attestation.chain == self.projection.chain()
            // Anyone can sign in this validator's name with another key.
            && signed.key == self.validator.key.public();
        let last = self.last.as_ref().map(|said| &said.attestation);
        match last {
            _ if !own => Ok(()),
            Some(last) if last.height > attestation.height => Ok(()),
            Some(last) if last.height == attestation.height => {
                let (height, signed, ours) = (last.height, last.header_hash, attestation.header_hash);
                if signed == ours { Ok(()) } else { Err(AttestError::Conflict { height, signed, ours }) }
            }
            _ => {
                self.keep(Said { attestation, signed }).await;
                Ok(())
            }
        }
    }

    /// Waits until this node has folded the block that was attested last, and sees that it is the same.
    async fn come_up_to_last(&self) -> Result<(), AttestError> {
        let Some(last) = &self.last else { return Ok(()) };
        let mut heads = self.projection.subscribe();
        while heads.borrow_and_update().height() < last.attestation.height {
            self.obstacle(Some("behind_last_signed"));
            if heads.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
        self.check_last()
    }

    /// Whether this node's chain has the block that was attested last; if it goes that far.
    pub(super) fn check_last(&self) -> Result<(), AttestError> {
        let Some(Said { attestation: Attestation { height, header_hash, .. }, .. }) = &self.last else {
            return Ok(());
        };
        let record = self.projection.block_record(*height).map_err(|error| AttestError::File {
            path: self.projection.dir().to_owned(),
            reason: error.to_string(),
        })?;
        match record {
            Some(record) if record.header_hash != *header_hash => {
                Err(AttestError::Conflict { height: *height, signed: *header_hash, ours: record.header_hash })
            }
            _ => Ok(()),
        }
    }

    /// The newest head, once it may be attested.
    async fn next_head(&self) -> Arc<Head> {
        let mut heads = self.projection.subscribe();
        loop {
            let head = Arc::clone(&heads.borrow_and_update());
            let obstacle = self.obstacle_to(&head);
            if self.obstacle(obstacle) && obstacle == Some("not_validator") {
                let account = self.validator.account;
                tracing::warn!(%account, "is no validator under this node's key; waiting to become one");
            }
            let news = self.last.as_ref().is_none_or(|last| last.attestation.height < head.height());
            if obstacle.is_none() && news {
                return head;
            }
            // The clock changes a verdict as well as a new head does.
            let clock = async {
                match obstacle {
                    Some("block_from_future") => tokio::time::sleep(RETRY_MAX).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = heads.changed() => if changed.is_err() {
                    return std::future::pending().await;
                },
                () = clock => {}
            }
        }
    }

    fn obstacle_to(&self, head: &Head) -> Option<&'static str> {
        let Producer { account, key } = &self.validator;
        if self.projection.condition() != Condition::Following {
            return Some("projection_stopped");
        }
        if head.header.timestamp > latest() {
            return Some("block_from_future");
        }
        let mut electorate = Electorate::of(&head.state);
        if electorate.since > head.height() {
            // The set that this block brings counts from the next one on.
            let before =
                head.height().0.checked_sub(1).and_then(|height| self.projection.head_at(Height(height)));
            electorate = before.map_or(electorate, |before| Electorate::of(&before.state));
        }
        let member = electorate.members.get(account).is_some_and(|member| member.key == key.public());
        if member { None } else { Some("not_validator") }
    }

    fn sign(&self, head: &Head) -> Said {
        let attestation = Attestation {
            version: ATTESTATION_VERSION,
            chain: head.header.chain,
            validator: self.validator.account,
            height: head.height(),
            header_hash: head.hash,
        };
        let signed = sign_attestation(&attestation, &self.validator.key);
        Said { attestation, signed }
    }

    /// Makes it durable that this was signed; on a full disk that waits for room, and nothing else is signed meanwhile.
    async fn keep(&mut self, said: Said) {
        let mut pause = RETRY_FIRST;
        loop {
            let (file, stored) = (Arc::clone(&self.file), said.clone());
            match tokio::task::spawn_blocking(move || file.store(&stored)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    tracing::warn!(code = error.code(), %error, "what was signed waits to be written down");
                    self.obstacle(Some(error.code()));
                }
                // The runtime is going down, or the write has panicked: what is not stored is not published.
                Err(_) => return std::future::pending().await,
            }
            self.retry_after(&mut pause).await;
        }
        lock(&self.status).signed = Some(said.attestation.height);
        self.last = Some(said);
    }

    /// Publishes until the board has it. Nothing else is signed in the meantime.
    async fn publish(&self, said: &Said) {
        let mut pause = RETRY_FIRST;
        loop {
            let published = self.board.publish(said.signed.clone());
            let failed = match tokio::time::timeout(PUBLISH_PATIENCE, published).await {
                Ok(Ok(())) => break,
                Ok(Err(LogError::Closed)) => return self.closed().await,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the board has not answered".into(),
            };
            tracing::warn!(failed, height = %said.attestation.height, "not published, trying again");
            lock(&self.status).failures += 1;
            self.obstacle(Some("board_unavailable"));
            self.retry_after(&mut pause).await;
        }
        let mut status = lock(&self.status);
        status.published = Some(said.attestation.height);
        status.publications += 1;
        status.obstacle = None;
    }

    /// Sets why nothing is attested; whether that is news.
    fn obstacle(&self, obstacle: Option<&'static str>) -> bool {
        let mut status = lock(&self.status);
        std::mem::replace(&mut status.obstacle, obstacle) != obstacle
    }

    async fn retry_after(&self, pause: &mut Duration) {
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(RETRY_MAX);
    }

    /// A closed board stays so.
    async fn closed<T>(&self) -> T {
        self.obstacle(Some("board_unavailable"));
        std::future::pending().await
    }
}

/// The latest block time that may be attested now.
fn latest() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + CLOCK_TOLERANCE;
    Timestamp(u64::try_from(now.as_micros()).unwrap_or(u64::MAX))
}
