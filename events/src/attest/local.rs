//! A board in a directory of this machine, for a chain on the embedded log.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_schemas::limits::ATTESTATION_BYTES_MAX;
use chaoschain_schemas::{Sequence, SignedAttestation, codec};
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Mutex;

use super::{Board, Posted};
use crate::log::{AppendError, EmbeddedLog, EmbeddedOptions, EventLog, LogError, ReadLimits, Subscription};

/// How many attestations a local board keeps at least; it drops the oldest when it has a good deal more.
pub const LOCAL_KEPT_MIN: u64 = 4096;
/// The length of one of its files, bytes: what is dropped is dropped by whole files.
const SEGMENT_BYTES: u64 = 256 << 10;
/// How long a reader waits after a failed read.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Attestations in an [`EmbeddedLog`] of their own. One process has it open; anyone there may follow it.
#[derive(Debug)]
pub struct LocalBoard {
    log: Arc<EmbeddedLog>,
    /// How many are kept at least.
    kept: u64,
    /// One publication at a time, so that each finds the tip where it expects it.
    publishing: Mutex<()>,
}

impl LocalBoard {
    /// Opens the board in `dir`, or makes one. Blocks.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LogError> {
        Self::open_keeping(dir.as_ref(), LOCAL_KEPT_MIN, SEGMENT_BYTES)
    }

    fn open_keeping(dir: &Path, kept: u64, segment_bytes: u64) -> Result<Self, LogError> {
        let options = EmbeddedOptions { message_bytes_max: ATTESTATION_BYTES_MAX, segment_bytes };
        Ok(Self { log: Arc::new(EmbeddedLog::open(dir, options)?), kept, publishing: Mutex::default() })
    }

    async fn append(&self, message: Bytes) -> Result<(), LogError> {
        let _one = self.publishing.lock().await;
        loop {
            let tip = self.log.tip().await?;
            match self.log.append(tip, message.clone()).await {
                Ok(sequence) => {
                    self.forget(sequence).await;
                    return Ok(());
                }
                // A publication that nobody waited for any more has landed in between.
                Err(AppendError::TipMoved { .. }) => {}
                Err(AppendError::Closed) => return Err(LogError::Closed),
                Err(error) => return Err(LogError::Unavailable { reason: error.to_string() }),
            }
        }
    }

    /// Drops the oldest when there are far more than are kept.
    async fn forget(&self, newest: Sequence) {
        let compacted = async {
            let first = self.log.first().await?;
            if newest.0 - first.0 >= 2 * self.kept {
                self.log.compact(Sequence(newest.0 - self.kept)).await?;
            }
            Ok::<_, LogError>(())
        };
        if let Err(error) = compacted.await {
            tracing::warn!(%error, "old attestations cannot be dropped; they stay for now");
        }
    }
}

impl Board for LocalBoard {
    fn publish(&self, attestation: SignedAttestation) -> BoxFuture<'_, Result<(), LogError>> {
        self.append(codec::encode(&attestation).into()).boxed()
    }

    fn follow(&self) -> BoxFuture<'_, Result<BoxStream<'static, Posted>, LogError>> {
        async move {
            let kept = self.log.tip().await?;
            let next = self.log.first().await?;
            let mut reader = Reader {
                log: Arc::clone(&self.log),
                subscription: None,
                next,
                kept: Some(kept),
                ready: VecDeque::new(),
            };
            reader.tell_caught_up();
            Ok(stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) })
                .boxed())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.log.close()
    }
}

/// A follower's place on the board.
struct Reader {
    log: Arc<EmbeddedLog>,
    subscription: Option<Box<dyn Subscription>>,
    next: Sequence,
    /// The last of what was kept at the beginning, until it was handed over.
    kept: Option<Sequence>,
    ready: VecDeque<Posted>,
}

impl Reader {
    async fn next(&mut self) -> Option<Posted> {
        loop {
            if let Some(posted) = self.ready.pop_front() {
                return Some(posted);
            }
            match self.read().await {
                Ok(()) => {}
                Err(LogError::Closed) => return None,
                // It was dropped before it was read; others of the validator have come since.
                Err(LogError::Compacted { first }) => (self.subscription, self.next) = (None, first),
                Err(error) => {
                    tracing::warn!(%error, "attestations cannot be read, trying again");
                    tokio::time::sleep(READ_RETRY).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), LogError> {
        let subscription = match &mut self.subscription {
            Some(subscription) => subscription,
            none => none.insert(self.log.follow(self.next, ReadLimits::default()).await?),
        };
        for entry in subscription.next_batch().await? {
            self.next = entry.sequence.next();
            self.ready.push_back(Posted::Attestation(entry.message));
        }
        self.tell_caught_up();
        Ok(())
    }

    fn tell_caught_up(&mut self) {
        if self.kept.take_if(|kept| *kept < self.next).is_some() {
            self.ready.push_back(Posted::CaughtUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use chaoschain_schemas::{
        ATTESTATION_VERSION, AccountId, Attestation, ChainId, Hash, Height, SignedAttestation,
    };

    use super::*;
    use crate::attest::{sign_attestation, verify_attestation};
    use crate::signature::SecretKey;

    fn said(height: u64) -> SignedAttestation {
        let attestation = Attestation {
            version: ATTESTATION_VERSION,
            chain: ChainId::new([1; 32]),
            validator: AccountId::new([2; 32]),
            height: Height(height),
            header_hash: Hash::new([3; 32]),
        };
        sign_attestation(&attestation, &SecretKey::from_seed(&[4; 32]))
    }

    fn height(posted: &Posted) -> Option<u64> {
        match posted {
            Posted::Attestation(bytes) => Some(verify_attestation(bytes).expect("an attestation").0.height.0),
            Posted::CaughtUp => None,
        }
    }

    async fn heights(posts: &mut BoxStream<'static, Posted>, count: usize) -> Vec<Option<u64>> {
        posts.take(count).map(|posted| height(&posted)).collect().await
    }

    #[tokio::test]
    async fn what_is_kept_comes_first_then_what_comes() {
        let dir = tempfile::tempdir().expect("a folder");
        let board = LocalBoard::open(dir.path()).expect("a board");
        let mut early = board.follow().await.expect("posts");
        assert_eq!(heights(&mut early, 1).await, [None]);
        board.publish(said(1)).await.expect("kept");
        board.publish(said(2)).await.expect("kept");
        let mut late = board.follow().await.expect("posts");
        board.publish(said(3)).await.expect("kept");
        assert_eq!(heights(&mut early, 3).await, [Some(1), Some(2), Some(3)]);
        assert_eq!(heights(&mut late, 4).await.iter().flatten().copied().collect::<Vec<_>>(), [1, 2, 3]);
        board.close().await;
        // What was published is durable.
        let board = LocalBoard::open(dir.path()).expect("a board");
        let mut again = board.follow().await.expect("posts");
        assert_eq!(heights(&mut again, 4).await, [Some(1), Some(2), Some(3), None]);
        board.close().await;
        assert_eq!(again.next().await, None);
        assert!(matches!(board.publish(said(4)).await, Err(LogError::Closed)));
        assert!(matches!(board.follow().await, Err(LogError::Closed)));
    }

    #[tokio::test]
    async fn the_oldest_are_dropped_and_a_slow_reader_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let board = LocalBoard::open_keeping(dir.path(), 8, 1024).expect("a board");
        board.publish(said(0)).await.expect("kept");
        let mut slow = board.follow().await.expect("posts");
        assert_eq!(heights(&mut slow, 2).await, [Some(0), None]);
        for height in 1..200 {
            board.publish(said(height)).await.expect("kept");
        }
        let first = board.log.first().await.expect("a log").0;
        assert!((100..=192).contains(&first), "{first} is the first of 200");
        let mut seen = Vec::new();
        while seen.last() != Some(&199) {
            seen.extend(heights(&mut slow, 1).await.into_iter().flatten());
        }
        assert!(seen.is_sorted() && seen.len() >= 8, "{seen:?}");
        let mut fresh = board.follow().await.expect("posts");
        let kept = (200 - first) as usize + 1;
        let posts = heights(&mut fresh, kept + 1).await;
        assert_eq!((posts[0], posts[kept]), (Some(first - 1), None));
    }
}
