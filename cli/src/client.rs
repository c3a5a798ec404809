//! A node, as clients of its HTTP interface see it.

use std::time::{Duration, Instant};

use chaoschain_schemas::api::ErrorBody;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::error::{CliError, Exit, Outcome};

/// How long a single request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, bytes: a proof in base64 with its answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// The longest pause before a busy node is asked again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Talks to one node.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    patience: Duration,
}

impl Client {
    /// Talks to the node at `base`; a busy node is asked again for as long as `patience`.
    pub(crate) fn new(base: &str, patience: Duration) -> Outcome<Self> {
        if !base.starts_with("http://") {
            let message = format!("the node's address {base:?} does not start with http://");
            return Err(CliError::usage("node_address_wrong", message)
                .hint("TLS is the business of a proxy in front of the node; see docs/operating.md"));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build()
            .into();
        Ok(Self { agent, base: base.trim_end_matches('/').to_owned(), patience })
    }

    /// Reads JSON from `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.parse(&self.get_bytes(path)?)
    }

    /// Reads bytes from `path`.
    pub(crate) fn get_bytes(&self, path: &str) -> Outcome<Vec<u8>> {
        let url = format!("{}{path}", self.base);
        self.insist(|| self.agent.get(&url).call())
    }

    /// Posts an envelope's bytes, the same on every try, and reads the JSON answer.
    pub(crate) fn post_envelope<T: DeserializeOwned>(&self, path: &str, envelope: &[u8]) -> Outcome<T> {
        let url = format!("{}{path}", self.base);
        let send = || self.agent.post(&url).content_type("application/msgpack").send(envelope);
        self.parse(&self.insist(send)?)
    }

    /// Sends until there is an answer that is not "later", or patience ends.
    fn insist(&self, send: impl Fn() -> Result<Response<Body>, ureq::Error>) -> Outcome<Vec<u8>> {
        let start = Instant::now();
        loop {
            let response = send().map_err(|error| self.unreachable(&error))?;
            let status = response.status().as_u16();
            let read = response.into_body().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
            let answer = read.map_err(|error| self.unreachable(&error))?;
            if status < 400 {
                return Ok(answer);
            }
            let body: ErrorBody = serde_json::from_slice(&answer).unwrap_or_else(|_| ErrorBody {
                code: "answer_malformed".into(),
                message: format!("{} answers with HTTP status {status} and no reason", self.base),
                retry_after_ms: None,
            });
            let pause =
                body.retry_after_ms.map(Duration::from_millis).filter(|_| status == 429 || status == 503);
            let Some(pause) = pause.filter(|pause| start.elapsed() + *pause < self.patience) else {
                return Err(CliError::answered(status, body));
            };
            tracing::info!(
                code = body.code,
                "the node is not ready, asking again in {} ms",
                pause.as_millis()
            );
            std::thread::sleep(pause.min(RETRY_PAUSE_MAX));
        }
    }

    fn parse<T: DeserializeOwned>(&self, answer: &[u8]) -> Outcome<T> {
        serde_json::from_slice(answer).map_err(|error| {
            let message = format!("{} gave an answer that cannot be read: {error}", self.base);
            CliError::new(Exit::Unavailable, "answer_malformed", message)
                .hint("is this a chaoschain node of this version?")
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let message = format!("the node at {} cannot be reached: {error}", self.base);
        CliError::new(Exit::Unavailable, "node_unreachable", message)
            .hint("start one with `chaoschain up`, or name another with --node URL")
    }
}

/// An argument as a part of a URL's path.
pub(crate) fn path_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}
