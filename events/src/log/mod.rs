//! The log: an append-only sequence of messages in which the tip decides who wins.
//!
//! [`EventLog`] is the contract; [`EmbeddedLog`] keeps it in a directory of this machine, [`JetStreamLog`] in a stream of
//! a NATS server that several processes share. The log knows nothing of blocks: a message is bytes, and whether it is
//! history is for the fold to say.

#[doc(hidden)]
pub mod conformance;
mod embedded;
mod error;
mod jetstream;

use std::fmt::Debug;

use bytes::Bytes;
use chaoschain_schemas::Sequence;
use futures::future::BoxFuture;

pub use embedded::{EmbeddedLog, EmbeddedOptions, ScrubProgress};
pub use error::{AppendError, LogError};
pub use jetstream::{JetStreamLog, JetStreamOptions, JetStreamStatus};

/// One message of a log, with its number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The log's number of this message.
    pub sequence: Sequence,
    /// The message, byte for byte as it was appended. May share its memory with the rest of its batch: copy it to
    /// keep it for long.
    pub message: Bytes,
}

/// How much one read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// The most messages; 0 counts as 1.
    pub messages: usize,
    /// The most payload bytes, except that a first message is returned however large it is.
    pub bytes: usize,
}

impl Default for ReadLimits {
    /// 4096 messages, 4 MiB.
    fn default() -> Self {
        Self { messages: 4096, bytes: 4 << 20 }
    }
}

/// An append-only log of messages.
///
/// # Guarantees
/// - **Order.** Messages are numbered upwards from 1. [`append`](Self::append) at expected tip *t* yields *t* + 1 or
///   fails. Readers must not assume that numbers are contiguous: an erased message may leave a gap.
/// - **The tip decides.** Of several appends that expect the same tip, from whatever process, at most one succeeds.
/// - **Durable before acknowledged.** A success is on stable storage. Readers and followers see a message only when
///   it is durable, so what was read is never taken back.
/// - **Pipelining.** Appends made through one handle take effect in the order of the calls to `append`, whether or
///   not the futures are polled. `append(t, a)` and `append(t + 1, b)` may be in flight together: if the first
///   fails, so does the second, unless another writer took exactly the first one's place. A log that several processes
///   write compares numbers, not messages, and `b` then stands behind a message it was not made for. Whoever pipelines
///   must not believe a success before those of all earlier appends; whoever reads must see for himself whether a message
///   fits the one before, as the fold does.
/// - **Immutable.** A sequence once read has the same bytes for ever, until it is compacted away.
/// - **Bytes are checked.** A damaged message is answered with [`LogError::Corrupt`], never returned and never
///   skipped; where a server keeps the bytes, it is the one to check them.
/// - **One log.** What was deleted, made anew or cut short behind an open handle's back is answered with
///   [`LogError::Replaced`] or [`LogError::Lost`], as far as the handle has seen it.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadLimits};
/// # use chaoschain_schemas::Sequence;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let log: Arc<dyn EventLog> = Arc::new(EmbeddedLog::open(dir.path(), EmbeddedOptions::default())?);
/// let tip = log.append(log.tip().await?, "first".into()).await?;
/// assert_eq!(tip, Sequence(1));
/// let read = log.read(Sequence(1), ReadLimits::default()).await?;
/// assert_eq!(read[0].message, "first");
/// # Ok(()) }
/// ```
pub trait EventLog: Debug + Send + Sync {
    /// Appends `message` if and only if the last sequence is `expected_tip`; answers its sequence once it is durable.
    ///
    /// The append is under way when this returns: dropping the future does not withdraw it.
    fn append(
        &self,
        expected_tip: Sequence,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Sequence, AppendError>>;

    /// The last durable sequence; 0 when nothing was ever appended. Compaction does not change it.
    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>>;

    /// The first sequence that can still be read, or tip + 1 when there is none.
    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>>;

    /// Messages from `from` upwards, ascending, within `limits`. Empty only when `from` is beyond the tip.
    ///
    /// [`LogError::Compacted`] when `from` lies before [`first`](Self::first); sequence 0 reads as 1.
    fn read(&self, from: Sequence, limits: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>>;

    /// Everything from `from` upwards, what is there and then what comes, in batches within `limits`.
    ///
    /// `from` may be beyond the tip. Fails as [`read`](Self::read) does.
    fn follow(
        &self,
        from: Sequence,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>>;

    /// Drops messages before `before`, at most all up to the tip; answers the new [`first`](Self::first).
    ///
    /// A home drops in units of its own, so the answer may be less than `before`; it is never more. A reader that is
    /// overtaken may still be handed what was on its way to it.
    /// [`LogError::BeyondTip`] when `before` is more than tip + 1.
    fn compact(&self, before: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>>;

    /// The longest message this log takes, bytes.
    fn message_bytes_max(&self) -> usize;

    /// Which log this is, for messages to people: `embedded log at /var/lib/…`.
    fn description(&self) -> String;

    /// Finishes the appends under way and lets go of the log. Afterwards every call answers `Closed`, and
    /// subscriptions end with it. Closing twice is closing once.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A reader's place in a log. It holds no message that was not yet asked for, so a slow reader costs nothing.
pub trait Subscription: Debug + Send {
    /// The next messages, ascending, at least one; waits until there are some.
    ///
    /// Dropping the future loses nothing: the next call yields the same messages. After an error the place is kept,
    /// and asking again tries again.
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Vec<Entry>, LogError>>;
}
