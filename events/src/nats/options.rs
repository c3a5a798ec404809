//! How to reach a NATS server.

use std::path::PathBuf;

/// How to reach a NATS server, with the options every NATS tool has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsOptions {
    /// One or several servers, separated by commas: `nats://host:4222`, `tls://…`; may hold `user:password@` or `token@`.
    pub url: String,
    /// A credentials file (JWT and seed), as `nsc` writes it.
    pub creds: Option<PathBuf>,
    /// A file with an nkey seed.
    pub nkey: Option<PathBuf>,
    /// A file with the certificates of the authorities to believe, PEM.
    pub tls_ca: Option<PathBuf>,
    /// The client's certificate, PEM.
    pub tls_cert: Option<PathBuf>,
    /// The client's private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// The connection's name in the server's lists.
    pub name: String,
    /// What inboxes start with; `_INBOX` when empty. Give each user one of its own and permission for no other.
    pub inbox_prefix: String,
}
