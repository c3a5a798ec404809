//! NATS: one connection of a process, the names a chain has there, and what a server must be like.
//!
//! [`connect`] finds the server, checks its version and that JetStream is on, and says plainly what is wrong otherwise.
//! The log's home on it is [`crate::log::JetStreamLog`].

mod error;
mod options;
mod subjects;

use std::sync::Arc;

pub use error::NatsError;
pub use options::NatsOptions;
pub use subjects::Subjects;

/// The oldest server that is worked with.
pub const SERVER_VERSION_MIN: (u64, u64, u64) = (2, 10, 0);

/// A connection that the parts of a process share. Clones are the same connection; it reconnects by itself.
#[derive(Clone)]
pub struct Nats(Arc<Inner>);

struct Inner {
    client: async_nats::Client,
    jetstream: async_nats::jetstream::Context,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nats({})", self.0.client.server_info().server_name)
    }
}

impl Nats {
    /// The client, for services.
    pub fn client(&self) -> &async_nats::Client {
        &self.0.client
    }

    /// The JetStream context; made once, since each one runs a task.
    pub fn jetstream(&self) -> &async_nats::jetstream::Context {
        &self.0.jetstream
    }
}

/// Connects, and checks that the server can keep a log.
///
/// # Errors
/// [`NatsError`], each with what to do.
pub async fn connect(options: &NatsOptions) -> Result<Nats, NatsError> {
    let client = async_nats::connect(&options.url).await.map_err(|error| NatsError::Unreachable {
        url: options.url.clone(),
        reason: error.to_string(),
    })?;
    let jetstream = async_nats::jetstream::new(client.clone());
    Ok(Nats(Arc::new(Inner { client, jetstream })))
}
