//! The asking side.

use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::micro::{self, AskError, Form, read_json};
use chaoschain_events::nats::{Nats, Subjects};
use chaoschain_schemas::{ChainId, Height};
use serde::de::DeserializeOwned;

use super::{Asking, BLOCK_RAW};

/// Asks the query services of one chain. A clone is another handle.
///
/// Until patience ends it asks again: when nobody answers, when the service is busy, and when a height has not come.
#[derive(Clone, Debug)]
pub struct Client {
    nats: Nats,
    subjects: Subjects,
}

impl Client {
    /// Asks of `chain`.
    pub fn new(nats: &Nats, chain: ChainId) -> Self {
        Self { nats: nats.clone(), subjects: Subjects::of(chain) }
    }

    /// Asks an endpoint; the answer is the JSON document that HTTP answers.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        asking: &Asking,
        patience: Duration,
    ) -> Result<T, AskError> {
        let subject = &self.subject(endpoint);
        read_json(subject, &self.send(subject, asking, patience).await?)
    }

    /// A block's message as it stands in the log.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn block_raw(&self, height: Height, patience: Duration) -> Result<Bytes, AskError> {
        let asking = Asking { arguments: vec![height.to_string()], ..Asking::default() };
        self.send(&self.subject(BLOCK_RAW), &asking, patience).await
    }

    fn subject(&self, endpoint: &str) -> String {
        format!("{}.{endpoint}", self.subjects.query())
    }

    async fn send(&self, subject: &str, asking: &Asking, patience: Duration) -> Result<Bytes, AskError> {
        let payload = Form::Json.write(asking).bytes;
        let (content, accept) = (Form::Json, Form::Json);
        micro::ask(self.nats.client(), micro::Asking { subject, payload, content, accept, patience }).await
    }
}
