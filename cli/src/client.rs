//! A node, as clients of its HTTP interface or of the NATS services see it.

mod over_nats;

use std::time::{Duration, Instant};

use chaoschain_schemas::api::ErrorBody;
use chaoschain_schemas::limits::WITNESS_BYTES_MAX;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::config::Config;
use crate::error::{CliError, Exit, Outcome};
use over_nats::Services;

/// How long a single request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(75);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read, bytes: a witness. A proof in base64 with its answer is shorter.
const ANSWER_BYTES_MAX: u64 = WITNESS_BYTES_MAX as u64 + 1;
/// The least time that a request is given when little is left.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The longest pause before a busy node is asked again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Talks to one node, or to whichever of a chain's services answers.
pub(crate) enum Client {
    /// A node's HTTP interface.
    Http(HttpClient),
    /// The services of a chain on NATS.
    Nats(Services),
}

impl Client {
    /// Talks to the configured node; one that is busy is asked again for as long as patience lasts.
    pub(crate) fn new(config: &Config) -> Outcome<Self> {
        Self::to(&config.node, config)
    }

    /// Talks to the node that reads are asked of.
    pub(crate) fn for_reads(config: &Config) -> Outcome<Self> {
        if config.query_node.is_empty() { Self::new(config) } else { Self::to(&config.query_node, config) }
    }

    /// Talks to the node at `address`.
    pub(crate) fn to(address: &str, config: &Config) -> Outcome<Self> {
        if address.starts_with("http://") {
            return Ok(Self::Http(HttpClient::new(address, config.patience())));
        }
        if let Some(services) = Services::at(address, config)? {
            return Ok(Self::Nats(services));
        }
        let message = format!("the node's address {address:?} does not start with http://");
        Err(CliError::usage("node_address_wrong", message).hint(
            "nats://HOST:PORT?chain=ID asks the services on NATS; TLS for HTTP is the business of a proxy in front of \
             the node, see docs/operating.md",
        ))
    }

    /// Reads JSON from `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        match self {
            Self::Http(node) => node.parse(&node.get_bytes(path)?),
            Self::Nats(services) => services.get(path),
        }
    }

    /// The same of a node that has to answer within `within`. Services on NATS have a time of their own.
    pub(crate) fn get_within<T: DeserializeOwned>(&self, path: &str, within: Duration) -> Outcome<T> {
        match self {
            Self::Http(node) => node.get_within(path, ANSWER_BYTES_MAX, within),
            Self::Nats(services) => services.get(path),
        }
    }

    /// Reads bytes from `path`.
    pub(crate) fn get_bytes(&self, path: &str) -> Outcome<Vec<u8>> {
        match self {
            Self::Http(node) => node.get_bytes(path),
            Self::Nats(services) => services.get_bytes(path),
        }
    }

    /// Submits an envelope's bytes, the same on every try, and reads the JSON answer.
    pub(crate) fn submit<T: DeserializeOwned>(&self, envelope: &[u8], dry_run: bool) -> Outcome<T> {
        match self {
            Self::Http(node) => {
                let path = if dry_run { "/v1/transitions?dry_run=true" } else { "/v1/transitions" };
                node.post_envelope(path, envelope)
            }
            Self::Nats(services) => services.submit(envelope, dry_run),
        }
    }
}

/// Talks to one node over HTTP.
pub(crate) struct HttpClient {
    agent: Agent,
    base: String,
    patience: Duration,
}

impl HttpClient {
    fn new(base: &str, patience: Duration) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build()
            .into();
        Self { agent, base: base.trim_end_matches('/').to_owned(), patience }
    }

    fn get_bytes(&self, path: &str) -> Outcome<Vec<u8>> {
        let url = format!("{}{path}", self.base);
        self.insist(|| self.agent.get(&url).call(), ANSWER_BYTES_MAX, self.patience)
    }

    /// Reads JSON of at most `bytes_max` from `path`, asking for no longer than `within`, however the node behaves.
    pub(crate) fn get_within<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes_max: u64,
        within: Duration,
    ) -> Outcome<T> {
        let (url, started) = (format!("{}{path}", self.base), Instant::now());
        let send = || {
            let left = within.saturating_sub(started.elapsed()).max(TIMEOUT_MIN);
            let request = self.agent.get(&url).config().timeout_global(Some(left.min(REQUEST_TIMEOUT)));
            request.build().call()
        };
        self.parse(&self.insist(send, bytes_max, self.patience.min(within))?)
    }

    fn post_envelope<T: DeserializeOwned>(&self, path: &str, envelope: &[u8]) -> Outcome<T> {
        let url = format!("{}{path}", self.base);
        let send = || self.agent.post(&url).content_type("application/msgpack").send(envelope);
        self.parse(&self.insist(send, ANSWER_BYTES_MAX, self.patience)?)
    }

    /// Sends until there is an answer that is not "later", or patience ends.
    fn insist(
        &self,
        send: impl Fn() -> Result<Response<Body>, ureq::Error>,
        bytes_max: u64,
        patience: Duration,
    ) -> Outcome<Vec<u8>> {
        let start = Instant::now();
        loop {
            let response = send().map_err(|error| self.unreachable(&error))?;
            let status = response.status().as_u16();
            let read = response.into_body().with_config().limit(bytes_max).read_to_vec();
            let answer = read.map_err(|error| self.unread(&error))?;
            if status < 400 {
                return Ok(answer);
            }
            let Ok(body) = serde_json::from_slice::<ErrorBody>(&answer) else {
                let message = format!("{} answers with HTTP status {status} and no reason", self.base);
                return Err(CliError::new(Exit::Unavailable, "answer_malformed", message));
            };
            let pause =
                body.retry_after_ms.map(Duration::from_millis).filter(|_| status == 429 || status == 503);
            let Some(pause) = pause.filter(|pause| start.elapsed() + *pause < patience) else {
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

    /// An answer that began and did not come whole.
    fn unread(&self, error: &ureq::Error) -> CliError {
        match error {
            ureq::Error::BodyExceedsLimit(max) => {
                let message = format!("{} gave an answer of more than {max} bytes", self.base);
                CliError::new(Exit::Unavailable, "answer_malformed", message)
                    .hint("is this a chaoschain node of this version?")
            }
            error => self.unreachable(error),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        let message = format!("the node at {} cannot be reached: {error}", self.base);
        let hint = match error {
            ureq::Error::Timeout(_) => {
                "it takes too long: see whether it hangs, or name another with --node URL"
            }
            _ => "start one with `chaoschain up`, or name another with --node URL",
        };
        CliError::new(Exit::Unavailable, "node_unreachable", message).hint(hint)
    }
}

/// An argument as a part of a URL's path.
pub(crate) fn path_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}
