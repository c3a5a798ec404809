//! How to reach a NATS server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use super::NatsError;

/// The most servers a URL may list.
const SERVERS_MAX: usize = 64;

/// How to reach a NATS server, with the options every NATS tool has.
#[derive(Clone, Default, PartialEq, Eq)]
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

impl fmt::Debug for NatsOptions {
    /// Shows no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("url", &self.shown_url())
            .field("creds", &self.creds)
            .field("nkey", &self.nkey)
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key)
            .field("name", &self.name)
            .field("inbox_prefix", &self.inbox_prefix)
            .finish()
    }
}

/// Who we say we are, as a URL holds it.
#[derive(Clone, PartialEq, Eq)]
enum Login {
    Token(String),
    User(String, String),
}

/// The servers of a URL, without what may be secret, and that.
pub(super) struct Servers {
    pub(super) addresses: Vec<ServerAddr>,
    /// For people.
    pub(super) shown: String,
    login: Option<Login>,
}

impl NatsOptions {
    /// The URL without users, passwords and tokens.
    pub fn shown_url(&self) -> String {
        let hide = |url: &str| match url.trim().rsplit_once('@') {
            None => url.trim().to_owned(),
            Some((before, host)) => match before.split_once("://") {
                Some((scheme, _)) => format!("{scheme}://{host}"),
                None => host.to_owned(),
            },
        };
        self.url.split(',').map(hide).collect::<Vec<_>>().join(",")
    }

    fn refused(&self, option: &'static str, reason: impl Into<String>) -> NatsError {
        let path = |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).display().to_string();
        let value = match option {
            "creds" => path(&self.creds),
            "nkey" => path(&self.nkey),
            "tls_ca" => path(&self.tls_ca),
            "tls_cert" => path(&self.tls_cert),
            "tls_key" => path(&self.tls_key),
            "inbox_prefix" => self.inbox_prefix.clone(),
            _ => self.shown_url(),
        };
        NatsError::Option { option, value, reason: reason.into() }
    }

    /// Takes the URL apart: the client takes no logins from it.
    pub(super) fn servers(&self) -> Result<Servers, NatsError> {
        let refused = |reason: String| self.refused("url", reason);
        let mut servers = Servers { addresses: Vec::new(), shown: self.shown_url(), login: None };
        for url in self.url.split(',').map(str::trim).filter(|url| !url.is_empty()) {
            let address: ServerAddr =
                url.parse().map_err(|error: std::io::Error| refused(error.to_string()))?;
            if address.is_websocket() {
                return Err(refused("WebSockets are not supported: use nats:// or tls://".into()));
            }
            if address.host().is_empty() {
                return Err(refused("a server's name is missing".into()));
            }
            let login = match (address.username(), address.password()) {
                (None, _) => None,
                (Some(token), None) => Some(Login::Token(unescaped(token))),
                (Some(user), Some(password)) => Some(Login::User(unescaped(user), unescaped(password))),
            };
            if servers.login.is_some() && login.is_some() && login != servers.login {
                return Err(refused("all servers must have the same user and password, or token".into()));
            }
            servers.login = login.or(servers.login);
            let mut plain = address.into_inner();
            if plain.set_password(None).and_then(|()| plain.set_username("")).is_err() {
                return Err(refused("it has no server's name".into()));
            }
            servers.addresses.push(
                ServerAddr::from_url(plain).map_err(|error: std::io::Error| refused(error.to_string()))?,
            );
        }
        match servers.addresses.len() {
            0 => Err(refused("it names no server: nats://host:4222".into())),
            1..=SERVERS_MAX => Ok(servers),
            _ => Err(refused(format!("it names more than {SERVERS_MAX} servers"))),
        }
    }

    /// Everything but what is the same for every connection. Reads the files that are named.
    pub(super) fn connect_options(&self, servers: &Servers) -> Result<ConnectOptions, NatsError> {
        let mut options = ConnectOptions::new();
        options = match servers.login.clone() {
            None => options,
            Some(Login::Token(token)) => options.token(token),
            Some(Login::User(user, password)) => options.user_and_password(user, password),
        };
        if let Some(path) = &self.creds {
            let text = self.text("creds", path, "-----BEGIN NATS USER JWT-----")?;
            options = options.credentials(&text).map_err(|error| {
                self.refused("creds", format!("it is no credentials file as `nsc` writes it ({error})"))
            })?;
        }
        if let Some(path) = &self.nkey {
            let text = self.text("nkey", path, "")?;
            let seed = text.lines().map(str::trim).find(|line| line.starts_with('S'));
            let seed = seed.ok_or_else(|| self.refused("nkey", "it holds no nkey seed (a line SU…)"))?;
            options = options.nkey(seed.to_owned());
        }
        if let Some(path) = &self.tls_ca {
            self.text("tls_ca", path, "-----BEGIN CERTIFICATE-----")?;
            options = options.add_root_certificates(path.clone()).require_tls(true);
        }
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => {}
            (Some(certificate), Some(key)) => {
                self.text("tls_cert", certificate, "-----BEGIN CERTIFICATE-----")?;
                self.text("tls_key", key, "PRIVATE KEY-----")?;
                options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
            }
            (Some(_), None) => return Err(self.refused("tls_cert", "it needs its key: set tls_key as well")),
            (None, Some(_)) => {
                return Err(self.refused("tls_key", "it needs its certificate: set tls_cert as well"));
            }
        }
        if !self.inbox_prefix.is_empty() {
            let prefix = &self.inbox_prefix;
            if prefix.starts_with('.')
                || prefix.ends_with('.')
                || prefix.contains("..")
                || prefix.contains(|c: char| c.is_whitespace() || c == '*' || c == '>')
            {
                return Err(
                    self.refused("inbox_prefix", "it must be tokens separated by dots, without * and >")
                );
            }
            options = options.custom_inbox_prefix(prefix);
        }
        if !self.name.is_empty() {
            options = options.name(&self.name);
        }
        Ok(options)
    }

    /// A file's text, which must hold `mark`.
    fn text(&self, option: &'static str, path: &Path, mark: &str) -> Result<String, NatsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| self.refused(option, format!("the file cannot be read ({error})")))?;
        if text.contains(mark) { Ok(text) } else { Err(self.refused(option, format!("it holds no {mark}"))) }
    }

    /// What is wrong where the nonce could not be signed.
    pub(super) fn unsigned(&self) -> NatsError {
        let option = if self.creds.is_some() { "creds" } else { "nkey" };
        self.refused(option, "its seed is not one: nothing can be signed with it")
    }
}

/// How long one server may take for the first connection when there are several to try within `total`.
pub(super) fn share(total: Duration, servers: usize) -> Duration {
    (total / u32::try_from(servers).unwrap_or(u32::MAX).max(1)).max(Duration::from_secs(1))
}

/// Undoes `%xx`; what is not of that form stays.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                plain.push(byte);
                at += 3;
            }
            _ => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
