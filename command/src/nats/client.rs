//! The submitting side.

use std::time::Duration;

use bytes::Bytes;
use chaoschain_events::micro::{AskError, Asking, Form, ask, read_json};
use chaoschain_events::nats::{Nats, Subjects};
use chaoschain_schemas::api::{BatchOutcome, Receipt};
use chaoschain_schemas::{Blob, ChainId, codec};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{BATCH, DRY_RUN, SUBMIT};

/// Submits to the command services of one chain. A clone is another handle.
///
/// Until patience ends it sends the same bytes again: when nobody answers, when the service is busy, and when the outcome is
/// unknown. However often they arrive, they give one event.
#[derive(Clone, Debug)]
pub struct Client {
    nats: Nats,
    subjects: Subjects,
}

impl Client {
    /// Submits to `chain`.
    pub fn new(nats: &Nats, chain: ChainId) -> Self {
        Self { nats: nats.clone(), subjects: Subjects::of(chain) }
    }

    /// Submits an envelope's bytes.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn submit(&self, envelope: Bytes, patience: Duration) -> Result<Receipt, AskError> {
        self.ask(SUBMIT, envelope, patience).await
    }

    /// Submits up to [`crate::BATCH_EVENTS_MAX`] envelopes; each outcome is its own, and refusals that ask to come back are
    /// among them.
    ///
    /// # Errors
    /// [`AskError`], when there is no answer for the batch.
    pub async fn submit_batch(
        &self,
        envelopes: Vec<Bytes>,
        patience: Duration,
    ) -> Result<Vec<BatchOutcome>, AskError> {
        let envelopes: Vec<Blob> = envelopes.into_iter().map(|envelope| Blob(envelope.into())).collect();
        self.ask(BATCH, codec::encode(&envelopes).into(), patience).await
    }

    /// What would become of an envelope, as over HTTP; nothing is submitted.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn dry_run(&self, envelope: Bytes, patience: Duration) -> Result<Json, AskError> {
        self.ask(DRY_RUN, envelope, patience).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        payload: Bytes,
        patience: Duration,
    ) -> Result<T, AskError> {
        let subject = &format!("{}.{endpoint}", self.subjects.command());
        let asking = Asking { subject, payload, content: Form::MsgPack, accept: Form::Json, patience };
        read_json(subject, &ask(self.nats.client(), asking).await?)
    }
}
