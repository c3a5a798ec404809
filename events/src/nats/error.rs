//! What can be wrong with a NATS server, told to those who can mend it.

use std::fmt::{self, Display};

use super::SERVER_VERSION_MIN;

/// Why a NATS server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// Nobody answers there.
    #[error("no NATS server can be reached at {url}: {reason}; is it running, and is this its address?")]
    Unreachable {
        /// Where, without passwords.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server does not let us in.
    #[error(
        "the NATS server at {url} does not let us in ({reason}): check the user and password or token in the URL, or \
         the credentials or nkey file"
    )]
    Unauthorised {
        /// Where, without passwords.
        url: String,
        /// The server's word.
        reason: String,
    },
    /// An option cannot be used.
    #[error("the NATS option {option} cannot be used: {value}: {reason}")]
    Option {
        /// Which: `url`, `creds`, `nkey`, `tls_ca`, `tls_cert`, `tls_key`, `inbox_prefix`.
        option: &'static str,
        /// Its value, without passwords.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No TLS connection can be made.
    #[error(
        "no TLS connection to the NATS server at {url} ({reason}): check that the server speaks TLS, that tls_ca holds \
         the authority that signed its certificate, that the certificate names this host, and tls_cert and tls_key if \
         the server asks for them"
    )]
    Tls {
        /// Where, without passwords.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server is older than what is worked with.
    #[error(
        "the NATS server {server} has version {version}, {}.{}.{} or newer is needed: take a release from \
         https://nats.io/download or the image nats:2 (Debian's own package is too old)",
        SERVER_VERSION_MIN.0, SERVER_VERSION_MIN.1, SERVER_VERSION_MIN.2
    )]
    ServerTooOld {
        /// Which one.
        server: String,
        /// Its version.
        version: String,
    },
    /// The server, or the account, has no JetStream.
    #[error(
        "JetStream is not on at the NATS server {server} ({reason}): start it with -js, or with a jetstream block in its \
         configuration, and enable it for the account"
    )]
    JetStreamOff {
        /// Which one.
        server: String,
        /// How it can be told.
        reason: String,
    },
    /// The user may not do what is needed.
    #[error("this NATS user may not {action} {subject}: have its permissions extended{}", inbox_hint(*.action))]
    Permission {
        /// What is not allowed.
        action: Denied,
        /// To what.
        subject: String,
    },
    /// The chain has no stream there.
    #[error(
        "the NATS server {server} has no stream {stream}: is this the right server and account? `init` makes a chain's \
         stream, and `log restore --apply` makes one that was lost again"
    )]
    StreamMissing {
        /// Which server.
        server: String,
        /// Its name.
        stream: String,
    },
    /// The stream's configuration could lose or reorder blocks.
    #[error(
        "the stream {stream} is not configured as a log has to be:\n{}\nchange it with `nats stream edit {stream}`; what \
         cannot be edited needs a new stream",
        Table(.differences)
    )]
    StreamForeignConfig {
        /// Its name.
        stream: String,
        /// What differs; never empty.
        differences: Vec<Difference>,
    },
    /// The server does not make or show the stream.
    #[error("the NATS server refuses the stream {stream}: {reason} (code {error_code}){}", refusal_hint(*.error_code))]
    StreamRefused {
        /// Its name.
        stream: String,
        /// The server's word.
        reason: String,
        /// The server's number for it.
        error_code: u32,
    },
    /// The cluster has no leader for what was asked.
    #[error(
        "JetStream has no leader for {subject} ({reason}): is more than half of the cluster running and connected? It \
         may be starting; try again"
    )]
    NoLeader {
        /// What was asked.
        subject: String,
        /// What was heard.
        reason: String,
    },
    /// The server did not answer.
    #[error("the NATS server {server} does not answer {subject} in time: try again")]
    TimedOut {
        /// Which one.
        server: String,
        /// What was asked.
        subject: String,
    },
    /// The answer is not one.
    #[error("the answer of the NATS server to {subject} cannot be read: {reason}")]
    Malformed {
        /// What was asked.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a user may not do with a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Publish, or ask.
    Publish,
    /// Subscribe, or be answered.
    Subscribe,
}

impl Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        })
    }
}

/// A setting of a stream that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name in the stream's configuration.
    pub field: &'static str,
    /// What it is.
    pub has: String,
    /// What it must be.
    pub must_be: String,
}

impl NatsError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "nats_unreachable",
            Self::Unauthorised { .. } => "nats_unauthorised",
            Self::Option { .. } => "nats_option",
            Self::Tls { .. } => "nats_tls",
            Self::ServerTooOld { .. } => "nats_server_too_old",
            Self::JetStreamOff { .. } => "nats_jetstream_off",
            Self::Permission { .. } => "nats_permission",
            Self::StreamMissing { .. } => "stream_missing",
            Self::StreamForeignConfig { .. } => "stream_foreign_config",
            Self::StreamRefused { .. } => "stream_refused",
            Self::NoLeader { .. } => "nats_no_leader",
            Self::TimedOut { .. } => "nats_timed_out",
            Self::Malformed { .. } => "nats_malformed",
        }
    }
}

fn inbox_hint(action: Denied) -> &'static str {
    match action {
        Denied::Publish => "",
        Denied::Subscribe => ", or set the inbox prefix it may use",
    }
}

fn refusal_hint(error_code: u32) -> &'static str {
    match error_code {
        10074 => "; several replicas need a cluster: keep one replica, or connect to a cluster",
        10005 => "; the cluster has fewer usable servers than there are to be replicas, or they lack room",
        10052 => "; say 1, 3 or 5",
        10065 => "; another stream takes the same subject: name the streams it belongs to and remove one",
        10113 => {
            "; the account wants a size limit: make the stream by hand with `--max-bytes` and `--discard new`"
        }
        10002 | 10023 | 10027 | 10028 | 10047 | 10122 => "; raise the limits of the account or of the server",
        _ => "",
    }
}

/// The widest column.
const CELL_CHARS_MAX: usize = 30;

/// Differences in columns.
struct Table<'a>(&'a [Difference]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.0.iter().map(|row| row.field.len()).chain([7]).max().unwrap_or(7);
        // What is longer stands out of its column, rather than that all are as wide.
        let lengths = self.0.iter().map(|row| row.has.chars().count());
        let has = lengths.filter(|length| *length <= CELL_CHARS_MAX).chain([3]).max().unwrap_or(3);
        write!(f, "  {:field$}  {:has$}  must be", "setting", "has")?;
        self.0
            .iter()
            .try_for_each(|row| write!(f, "\n  {:field$}  {:has$}  {}", row.field, row.has, row.must_be))
    }
}
