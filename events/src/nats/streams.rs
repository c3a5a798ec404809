//! Streams: found, or made where there is none.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, Info};

use super::{ApiError, Nats};

/// How long opening waits for a cluster that is only starting.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long one question may take meanwhile: without a leader there is no answer at all.
const ASK_PATIENCE: Duration = Duration::from_secs(1);
const OPEN_RETRY: Duration = Duration::from_millis(200);

impl Nats {
    /// Finds the stream of `wanted`'s name; where there is none it is made as `wanted`, if `create` says so. How a stream
    /// that was there is configured is for the caller to look at.
    ///
    /// What may pass is tried again for 10 s: a cluster that is only starting, a server that is still about the files of a
    /// stream of that name which was deleted.
    pub(crate) async fn open_stream(&self, wanted: &Config, create: bool) -> Result<Info, ApiError> {
        let started = Instant::now();
        loop {
            match self.find_or_make(wanted, create).await {
                Err(error) if may_pass(&error, create) && started.elapsed() < OPEN_PATIENCE => {
                    tracing::debug!(%error, stream = wanted.name, "the stream cannot be opened yet");
                    tokio::time::sleep(OPEN_RETRY).await;
                }
                done => return done,
            }
        }
    }

    async fn find_or_make(&self, wanted: &Config, create: bool) -> Result<Info, ApiError> {
        let info = format!("STREAM.INFO.{}", wanted.name);
        match self.api(&info, "", ASK_PATIENCE).await {
            Err(ApiError::Refused(refusal)) if refusal.is_stream_not_found() && create => {}
            other => return other,
        }
        let config = serde_json::to_vec(wanted).map_err(|error| ApiError::Malformed {
            subject: wanted.name.clone(),
            reason: error.to_string(),
        })?;
        // A cluster places the stream and elects its leader before it answers.
        match self.api(&format!("STREAM.CREATE.{}", wanted.name), config, OPEN_PATIENCE).await {
            // Somebody was quicker; how theirs is configured is looked at all the same.
            Err(ApiError::Refused(refusal)) if refusal.is_stream_name_taken() => {
                self.api(&info, "", ASK_PATIENCE).await
            }
            other => other,
        }
    }
}

/// A stream that somebody was making is gone again where that failed.
fn may_pass(error: &ApiError, create: bool) -> bool {
    error.may_pass()
        || (create && matches!(error, ApiError::Refused(refusal) if refusal.is_stream_not_found()))
}
