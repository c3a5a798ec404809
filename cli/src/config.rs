//! Configuration: defaults, then a TOML file, then `CHAOSCHAIN_*` of the environment, then flags; later wins.
//!
//! `docs/operating.md` has the table of names. A name that is not in it is refused in the file; in the environment only
//! the known ones are looked at, and those that every NATS tool has (`NATS_CREDS` and its like), which count for less.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chaoschain_command::{CommandOptions, Rate};
use chaoschain_events::nats::NatsOptions;
use chaoschain_projector::{ATTEST_INTERVAL, BlockLimits};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Outcome};

/// The file that is read when no other is named and it is there.
pub(crate) const FILE_DEFAULT: &str = "chaoschain.toml";
/// How variables of the environment start.
const ENV_PREFIX: &str = "CHAOSCHAIN_";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) dir: PathBuf,
    /// The node that clients talk to.
    pub(crate) node: String,
    /// The node that `submit` reads from; empty for the one it submits to.
    pub(crate) query_node: String,
    /// Where a node listens.
    pub(crate) listen: String,
    /// What a node does: `command`, `query`, `validator`, separated by commas; empty for all that its keys allow.
    pub(crate) role: String,
    /// Where the log is: `embedded`, `managed`, `nats` or the addresses of servers; empty for what the directory says.
    pub(crate) log: String,
    /// Credentials for NATS.
    pub(crate) nats_creds: Option<PathBuf>,
    /// An nkey seed for NATS.
    pub(crate) nats_nkey: Option<PathBuf>,
    /// The authorities whose certificates are believed.
    pub(crate) nats_tls_ca: Option<PathBuf>,
    /// Our certificate.
    pub(crate) nats_tls_cert: Option<PathBuf>,
    /// Our certificate's key.
    pub(crate) nats_tls_key: Option<PathBuf>,
    /// What our inboxes start with; empty for `_INBOX`.
    pub(crate) nats_inbox_prefix: String,
    /// On how many servers a new stream is kept.
    pub(crate) nats_replicas: usize,
    /// The nats-server that `managed` runs.
    pub(crate) nats_server: Option<PathBuf>,
    /// The port of that server; 0 takes a free one.
    pub(crate) managed_port: u16,
    /// The least time between two attestations of a validator, milliseconds.
    pub(crate) attest_ms: u64,
    /// What is logged, as `tracing` filters say it; empty for the command's own default.
    pub(crate) log_level: String,
    /// How log lines are written.
    pub(crate) log_format: LogFormat,
    /// How long a block under load waits for more events, milliseconds.
    pub(crate) linger_ms: u64,
    /// The most events in a block.
    pub(crate) block_events: usize,
    /// The most bytes of a block.
    pub(crate) block_bytes: usize,
    /// How many messages are read, verified and folded together.
    pub(crate) fold_batch: usize,
    /// Submissions a second and peer; 0 for no bound.
    pub(crate) peer_rate: u32,
    /// Submissions a second of all peers together; 0 for no bound.
    pub(crate) global_rate: u32,
    /// How long requests under way may take when a node stops, milliseconds.
    pub(crate) drain_ms: u64,
    /// How long a client goes on when a node is busy, milliseconds.
    pub(crate) patience_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let block = BlockLimits::default();
        Self {
            dir: "chaoschain-data".into(),
            node: "http://127.0.0.1:4280".into(),
            query_node: String::new(),
            listen: "127.0.0.1:4280".into(),
            role: String::new(),
            log: String::new(),
            nats_creds: None,
            nats_nkey: None,
            nats_tls_ca: None,
            nats_tls_cert: None,
            nats_tls_key: None,
            nats_inbox_prefix: String::new(),
            nats_replicas: 1,
            nats_server: None,
            managed_port: 0,
            attest_ms: ATTEST_INTERVAL.as_millis() as u64,
            log_level: String::new(),
            log_format: LogFormat::Text,
            linger_ms: 20,
            block_events: block.events,
            block_bytes: block.bytes,
            fold_batch: 256,
            peer_rate: 0,
            global_rate: 0,
            drain_ms: 10_000,
            patience_ms: 30_000,
        }
    }
}

/// What flags say; what they do not say is left to the rest.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query_node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_replicas: Option<usize>,
    #[serde(flatten)]
    pub(crate) log: LogArgs,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log_format: Option<LogFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patience_ms: Option<u64>,
}

/// Flags that say where a chain's log is, for every command that opens it.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
pub(crate) struct LogArgs {
    /// Where the log is: embedded, managed (a nats-server of our own), nats (of `NATS_URL`), or nats://HOST:PORT,…
    /// [default: what the directory was made with]
    #[arg(long, value_name = "HOME", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<String>,
    /// A credentials file for the NATS server
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_creds: Option<PathBuf>,
    /// A file with an nkey seed for the NATS server
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_nkey: Option<PathBuf>,
    /// The authorities whose certificates are believed, PEM
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_tls_ca: Option<PathBuf>,
    /// The certificate to show to the NATS server, PEM
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_tls_cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_tls_key: Option<PathBuf>,
    /// What our inboxes start with [default: _INBOX]
    #[arg(long, value_name = "PREFIX", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_inbox_prefix: Option<String>,
    /// The nats-server that `--log managed` runs [default: `NATS_SERVER_BIN`, or the one on PATH]
    #[arg(long, value_name = "FILE", help_heading = "Log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_server: Option<PathBuf>,
}

/// Where a setting came from.
pub(crate) struct Sourced {
    pub(crate) config: Config,
    figment: Figment,
}

impl Config {
    /// Puts the configuration together. `file` is the one asked for; without it [`FILE_DEFAULT`] is read if it is there.
    pub(crate) fn load(file: Option<&Path>, flags: &Flags) -> Outcome<Sourced> {
        if let Some(file) = file.filter(|file| !file.is_file()) {
            let message = format!("the configuration {} is not a file", file.display());
            return Err(CliError::usage("config_missing", message));
        }
        let names: Vec<String> = names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut figment = Figment::from(Serialized::defaults(Config::default()))
            .merge(Env::raw().filter_map(|name| common_name(name.as_str()).map(Into::into)));
        if let Some(file) = file.or_else(|| Some(Path::new(FILE_DEFAULT)).filter(|file| file.is_file())) {
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment =
            figment.merge(Env::prefixed(ENV_PREFIX).only(&names)).merge(Serialized::defaults(flags));
        let config: Config = figment.extract().map_err(|error| {
            CliError::usage("config_invalid", format!("the configuration is refused: {error}"))
                .hint("see the table of settings in docs/operating.md")
        })?;
        Ok(Sourced { config, figment })
    }

    /// How the command service behaves.
    pub(crate) fn command_options(&self) -> CommandOptions {
        let rate = |per_second: u32| {
            (per_second > 0).then_some(Rate { per_second, burst: per_second.saturating_mul(2) })
        };
        CommandOptions {
            block: BlockLimits { events: self.block_events, bytes: self.block_bytes },
            linger_max: Duration::from_millis(self.linger_ms),
            peer_rate: rate(self.peer_rate),
            global_rate: rate(self.global_rate),
            ..CommandOptions::default()
        }
    }

    /// How the servers at `url` are reached.
    pub(crate) fn nats_options(&self, url: &str) -> NatsOptions {
        NatsOptions {
            url: url.to_owned(),
            creds: self.nats_creds.clone(),
            nkey: self.nats_nkey.clone(),
            tls_ca: self.nats_tls_ca.clone(),
            tls_cert: self.nats_tls_cert.clone(),
            tls_key: self.nats_tls_key.clone(),
            name: "chaoschain".into(),
            inbox_prefix: self.nats_inbox_prefix.clone(),
        }
    }

    /// How long a client goes on when a node is busy.
    pub(crate) const fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }
}

impl Sourced {
    /// Every setting: its name, value, and where that came from.
    pub(crate) fn settings(&self) -> Vec<(String, serde_json::Value, String)> {
        let values = serde_json::to_value(&self.config).unwrap_or_default();
        let source = |name: &str| match self.figment.find_metadata(name) {
            None => "default".to_owned(),
            Some(metadata) => match (&metadata.source, metadata.name.as_ref()) {
                (Some(figment::Source::File(path)), _) => path.display().to_string(),
                (_, name) if name.contains("environment") => "environment".to_owned(),
                (_, name) if name.contains("Flags") => "flag".to_owned(),
                _ => "default".to_owned(),
            },
        };
        let settings = names().into_iter();
        settings.map(|name| (name.clone(), values[&name].clone(), source(&name))).collect()
    }
}

/// The setting behind a variable that NATS's own tools know too.
fn common_name(variable: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 5] = [
        ("NATS_CREDS", "nats_creds"),
        ("NATS_NKEY", "nats_nkey"),
        ("NATS_CA", "nats_tls_ca"),
        ("NATS_CERT", "nats_tls_cert"),
        ("NATS_KEY", "nats_tls_key"),
    ];
    NAMES.iter().find(|(name, _)| variable.eq_ignore_ascii_case(name)).map(|(_, setting)| *setting)
}

fn names() -> Vec<String> {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    defaults.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_file_and_file_over_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\nlinger_ms = 5\n").unwrap();
        let flags = Flags { listen: Some("127.0.0.1:2".into()), ..Flags::default() };
        let sourced = Config::load(Some(&file), &flags).unwrap();
        assert_eq!(sourced.config.listen, "127.0.0.1:2");
        assert_eq!(sourced.config.linger_ms, 5);
        assert_eq!(sourced.config.fold_batch, 256);
        let settings: Vec<_> =
            sourced.settings().into_iter().map(|(name, _, source)| (name, source)).collect();
        let source = |wanted: &str| settings.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        assert_eq!(source("listen"), "flag");
        assert!(source("linger_ms").ends_with("c.toml"), "{}", source("linger_ms"));
        assert_eq!(source("fold_batch"), "default");
    }

    #[test]
    fn unknown_names_and_missing_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        assert_eq!(Config::load(Some(&file), &Flags::default()).err().unwrap().code, "config_missing");
        std::fs::write(&file, "lingerms = 5\n").unwrap();
        let error = Config::load(Some(&file), &Flags::default()).err().unwrap();
        assert_eq!(error.code, "config_invalid");
        assert!(error.message.contains("lingerms"), "{error}");
    }
}
