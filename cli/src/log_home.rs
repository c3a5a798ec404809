//! The log's home: which one a directory's chain has, and how it is opened.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use chaoschain_events::attest::{Board, JetStreamBoard, LocalBoard};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog, JetStreamLog, JetStreamOptions};
use chaoschain_events::nats::{self, Nats};
use chaoschain_schemas::ChainId;
use serde::Deserialize;

use crate::config::Config;
use crate::datadir::{Chain, DataDir};
use crate::error::{CliError, Exit, Outcome};
use crate::managed::{self, ManagedServer};

/// Where NATS is when nobody says.
const NATS_URL_DEFAULT: &str = "nats://127.0.0.1:4222";
/// The variable with the address of the servers, as every NATS tool has it.
const NATS_URL_VARIABLE: &str = "NATS_URL";
/// What to do where the directory of a log is not there.
pub(crate) const LOG_MISSING: &str =
    "restore it from a backup; or, if the chain's log is elsewhere, say where with --log";
/// The longest list of addresses, bytes.
const URL_BYTES_MAX: usize = 4096;

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum LogChoice {
    /// In the data directory.
    Embedded,
    /// On a nats-server that this process runs in the data directory.
    Managed,
    /// On the servers of `NATS_URL`.
    Nats,
    /// On these servers, separated by commas.
    Servers(String),
}

impl LogChoice {
    /// The addresses of servers that run without us.
    pub(crate) fn servers(&self) -> Option<String> {
        match self {
            Self::Embedded | Self::Managed => None,
            Self::Nats => {
                let named = std::env::var(NATS_URL_VARIABLE).ok().filter(|url| !url.is_empty());
                Some(named.unwrap_or_else(|| NATS_URL_DEFAULT.to_owned()))
            }
            Self::Servers(url) => Some(url.clone()),
        }
    }

    /// What the configuration says, or else what the directory was made with.
    pub(crate) fn of(config: &Config, recorded: &Self) -> Outcome<Self> {
        if config.log.is_empty() { Ok(recorded.clone()) } else { Self::given(&config.log) }
    }

    /// Reads what was given as a setting.
    pub(crate) fn given(text: &str) -> Outcome<Self> {
        text.parse().map_err(|reason: String| {
            CliError::usage("log_choice_wrong", reason).hint(
                "say embedded, managed, nats, or nats://HOST:PORT (tls://… for TLS), several with commas",
            )
        })
    }
}

impl FromStr for LogChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |part: &str| {
            let rest = part.strip_prefix("nats://").or_else(|| part.strip_prefix("tls://"));
            rest.is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
            })
        };
        match text {
            "embedded" => Ok(Self::Embedded),
            "managed" => Ok(Self::Managed),
            "nats" => Ok(Self::Nats),
            _ if text.len() <= URL_BYTES_MAX && text.split(',').all(address) => {
                Ok(Self::Servers(text.into()))
            }
            _ => Err(format!("{:?} is no place of a log", without_secrets(text))),
        }
    }
}

impl TryFrom<String> for LogChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for LogChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Managed => "managed",
            Self::Nats => "nats",
            Self::Servers(url) => url,
        })
    }
}

/// Addresses as they may be shown: passwords and tokens left out.
pub(crate) fn without_secrets(url: &str) -> String {
    let hide = |part: &str| match (part.split_once("://"), part.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => part.to_owned(),
    };
    url.split(',').map(hide).collect::<Vec<_>>().join(",")
}

/// An open log, and what has to be let go with it.
pub(crate) struct LogHome {
    /// The log.
    pub(crate) log: Arc<dyn EventLog>,
    /// The connection, where the log is on NATS.
    pub(crate) nats: Option<Nats>,
    /// The log as what it is, where it is embedded.
    pub(crate) embedded: Option<Arc<EmbeddedLog>>,
    managed: Option<ManagedServer>,
}

impl LogHome {
    /// Lets go of the log, then stops the server it was on, if that is ours.
    pub(crate) async fn close(self) {
        self.log.close().await;
        if let Some(nats) = &self.nats {
            nats.close().await;
        }
        if let Some(managed) = self.managed {
            drop(tokio::task::spawn_blocking(move || managed.stop()).await);
        }
    }

    /// How often the server of our own was started again, as it goes on; `None` where there is none.
    pub(crate) fn managed_restarts(&self) -> Option<Arc<AtomicU64>> {
        self.managed.as_ref().map(ManagedServer::restarts)
    }

    /// The board on which validators publish, in the same home as the log. One that is not there is made where `create`
    /// says so.
    ///
    /// # Errors
    /// [`LogError`](chaoschain_events::log::LogError), by its code.
    pub(crate) async fn board(
        &self,
        config: &Config,
        dir: &DataDir,
        chain: ChainId,
        create: bool,
    ) -> Outcome<Arc<dyn Board>> {
        if let Some(nats) = &self.nats {
            let replicas = if self.managed.is_some() { 1 } else { config.nats_replicas };
            return Ok(Arc::new(JetStreamBoard::open(nats.clone(), chain, replicas, create).await?));
        }
        let place = dir.attestations();
        let opened = tokio::task::spawn_blocking(move || LocalBoard::open(place)).await;
        Ok(Arc::new(opened.map_err(|error| CliError::panicked(&error))??))
    }

    fn embedded(dir: &Path, create: bool) -> Outcome<Self> {
        if !create && !dir.is_dir() {
            let message = format!("{} is not the directory of a log", dir.display());
            return Err(CliError::usage("log_missing", message));
        }
        let log = Arc::new(EmbeddedLog::open(dir, EmbeddedOptions::default())?);
        Ok(Self { log: log.clone(), nats: None, embedded: Some(log), managed: None })
    }

    async fn jetstream(
        config: &Config,
        url: &str,
        chain: ChainId,
        name: &str,
        create: bool,
        managed: Option<ManagedServer>,
    ) -> Outcome<Self> {
        let mut options = config.nats_options(url);
        if managed.is_some() {
            // The server is ours and knows one user: the one in its address.
            (options.creds, options.nkey) = (None, None);
            (options.tls_ca, options.tls_cert, options.tls_key) = (None, None, None);
            options.inbox_prefix.clear();
        }
        let nats = nats::connect(&options).await?;
        let replicas = if managed.is_some() { 1 } else { config.nats_replicas };
        let options = JetStreamOptions {
            chain,
            name: name.to_owned(),
            create,
            replicas,
            fsync_always: managed.is_some(),
        };
        let log = JetStreamLog::open(nats.clone(), options).await?;
        // A server of our own is on one disk because that was asked for.
        let warnings = if managed.is_some() { Vec::new() } else { log.warnings() };
        for warning in warnings {
            tracing::warn!("{}: {warning}", log.description());
        }
        Ok(Self { log: Arc::new(log), nats: Some(nats), embedded: None, managed })
    }
}

/// Opens the log of the chain in `dir`, wherever it is. With `create` one that is not there is made.
///
/// # Errors
/// What is wrong with the place, each with what to do.
pub(crate) async fn open_any_log(
    config: &Config,
    dir: &DataDir,
    chain: &Chain,
    create: bool,
) -> Outcome<LogHome> {
    let choice = LogChoice::of(config, &chain.log)?;
    match &choice {
        LogChoice::Embedded => LogHome::embedded(&dir.log(), create).map_err(|error| match &*error.code {
            // The chain's own place for it: the log was lost.
            "log_missing" if chain.log == LogChoice::Embedded => {
                CliError { exit: Exit::Corrupt, ..error.hint(LOG_MISSING) }
            }
            "log_missing" => error.hint(LOG_MISSING),
            _ => error,
        }),
        LogChoice::Managed => {
            let (config_of, place) = (config.clone(), dir.nats());
            let started =
                tokio::task::spawn_blocking(move || ManagedServer::start(&config_of, &place, create));
            let server = started.await.map_err(|error| CliError::panicked(&error))??;
            let url = server.url().to_owned();
            LogHome::jetstream(config, &url, chain.id, &chain.name, create, Some(server)).await
        }
        LogChoice::Nats | LogChoice::Servers(_) => {
            let url = choice.servers().unwrap_or_default();
            LogHome::jetstream(config, &url, chain.id, &chain.name, create, None).await
        }
    }
}

/// Whether a new chain's log could be put where the configuration says, as far as can be told before anything is made.
///
/// # Errors
/// As [`open_any_log`].
pub(crate) async fn preflight(config: &Config) -> Outcome {
    let choice = LogChoice::of(config, &LogChoice::Embedded)?;
    if choice == LogChoice::Managed {
        managed::find(config)?;
    }
    if let Some(url) = choice.servers() {
        nats::connect(&config.nats_options(&url)).await?.close().await;
    }
    Ok(())
}

/// Opens an embedded log that stands for itself, without a data directory around it.
pub(crate) fn open_bare_log(dir: &Path) -> Outcome<LogHome> {
    LogHome::embedded(dir, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for text in ["embedded", "managed", "nats", "nats://a:4222", "tls://u:p@a:1,nats://b"] {
            assert_eq!(text.parse::<LogChoice>().unwrap().to_string(), text);
        }
        for bad in
            ["", "Embedded", "http://a", "nats://", "nats://a,b", "nats://a b", "nats://a\"", "nats://a,"]
        {
            assert!(bad.parse::<LogChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_win_over_what_was_recorded() {
        let config = Config { log: "managed".into(), ..Config::default() };
        assert_eq!(LogChoice::of(&config, &LogChoice::Nats).unwrap(), LogChoice::Managed);
        assert_eq!(LogChoice::of(&Config::default(), &LogChoice::Nats).unwrap(), LogChoice::Nats);
        let config = Config { log: "here".into(), ..Config::default() };
        assert_eq!(LogChoice::of(&config, &LogChoice::Nats).unwrap_err().code, "log_choice_wrong");
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(without_secrets("nats://u:p@a:1,tls://b:2"), "nats://***@a:1,tls://b:2");
        let error = LogChoice::given("nats://u:secret@a b").unwrap_err();
        assert!(!error.message.contains("secret"), "{error}");
    }
}
