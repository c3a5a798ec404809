//! `--log managed`: a nats-server of our own, in the data directory, for as long as this process lives.
//!
//! # Format
//! ```text
//! DIR/nats/                    0700
//!   lock                       0600  locked by the process whose server it is; its pid
//!   nats-server.conf           0600  written anew at each start, with a password of that start
//!   nats-server_PID.ports      what the server listens on, as the server says
//!   server.url                 0600  the address with its password, for tools beside us
//!   server.log, server.err     what the server says
//!   store/                     JetStream's files: the log
//! ```
//!
//! # Invariants
//! - The server fsyncs every write before it acknowledges (`sync_interval: always`).
//! - One process runs the server of a directory; another one is told that it is locked.
//! - The server does not outlive us: it is stopped in order when we end, and on Linux also when we are killed.
//! - A server that dies is started again on the same port and the same files, so that clients find it.

mod find;
mod supervise;

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use chaoschain_projector::create_private_dir;

use crate::config::Config;
use crate::datadir::write_private;
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::LOG_MISSING;
use supervise::Supervisor;

pub(crate) use supervise::{SUBCOMMAND, exec_server};

/// The name of the one user the server knows.
const USER: &str = "chaoschain";
/// The longest file of the server's log, bytes; it keeps [`LOG_FILES_MAX`] of them.
const LOG_BYTES_MAX: u64 = 8 << 20;
const LOG_FILES_MAX: u64 = 4;

/// A server that runs for us. Dropping it stops it.
pub(crate) struct ManagedServer {
    supervisor: Supervisor,
    url: String,
    dir: PathBuf,
    // Held for as long as the server may write.
    _lock: File,
}

impl ManagedServer {
    /// Starts the server whose files are in `dir`. Blocks until it listens.
    ///
    /// # Errors
    /// That there is no server program, or one that is too old; that another process has the directory; or what the
    /// server itself says.
    pub(crate) fn start(config: &Config, dir: &Path, create: bool) -> Outcome<Self> {
        if !create && !dir.join("store").is_dir() {
            let message = format!("{} is not the directory of a managed server", dir.display());
            return Err(CliError::usage("log_missing", message).hint(LOG_MISSING));
        }
        let program = find::server(config.nats_server.as_deref())?;
        let dir = made(dir)?;
        let lock = lock(&dir)?;
        made(&dir.join("store"))?;
        let password = password()?;
        let render = |port: u16| rendered(&dir, port, &password);
        let supervisor = Supervisor::start(&program, &dir, config.managed_port, &render)?;
        let url = format!("nats://{USER}:{password}@127.0.0.1:{}", supervisor.port());
        write_private(&dir.join("server.url"), format!("{url}\n").as_bytes())?;
        tracing::info!("nats-server {} listens on 127.0.0.1:{}", program.version, supervisor.port());
        Ok(Self { supervisor, url, dir, _lock: lock })
    }

    /// Its address, with the password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How often it was started again, as it goes on.
    pub(crate) fn restarts(&self) -> Arc<AtomicU64> {
        self.supervisor.restarts()
    }

    /// Stops it in order; kills it if that takes too long. Blocks.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for ManagedServer {
    fn drop(&mut self) {
        self.supervisor.stop();
        drop(fs::remove_file(self.dir.join("server.url")));
    }
}

/// Looks for the server program without starting it.
///
/// # Errors
/// That there is none, or one that is too old.
pub(crate) fn find(config: &Config) -> Outcome {
    find::server(config.nats_server.as_deref()).map(drop)
}

/// Makes a private directory if it is not there; its absolute path.
fn made(dir: &Path) -> Outcome<PathBuf> {
    create_private_dir(dir).map_err(|error| CliError::file("make", dir, &error))?;
    fs::canonicalize(dir).map_err(|error| CliError::file("find", dir, &error))
}

fn lock(dir: &Path) -> Outcome<File> {
    let path = dir.join("lock");
    let failed = |error: &std::io::Error| CliError::file("lock", &path, error);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(failed(&error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            drop(file.read_to_string(&mut holder));
            let message = format!("{} is in use by process {}", dir.display(), holder.trim());
            return Err(CliError::new(Exit::Unavailable, "log_locked", message)
                .hint("a node has this directory open: ask that node with --node URL, or stop it first"));
        }
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| failed(&error))?;
    Ok(file)
}

fn password() -> Outcome<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| {
        let message = format!("the system gives no random bytes: {error}");
        CliError::new(Exit::Unavailable, "randomness_unavailable", message)
    })?;
    Ok(hex::encode(bytes))
}

/// The server's configuration. Port 0 has it take a free one.
fn rendered(dir: &Path, port: u16, password: &str) -> String {
    let quoted = |path: &Path| {
        let text = path.display().to_string();
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    };
    let port = if port == 0 { "-1".to_owned() } else { port.to_string() };
    format!(
        "# Written by chaoschain at each start: what is changed here is lost.
listen: \"127.0.0.1:{port}\"
server_name: \"chaoschain-managed\"
ports_file_dir: {dir}
log_file: {log}
logfile_size_limit: {LOG_BYTES_MAX}
logfile_max_num: {LOG_FILES_MAX}
authorization {{ users: [ {{ user: \"{USER}\", password: \"{password}\" }} ] }}
jetstream {{
  store_dir: {store}
  # Without this a write is acknowledged up to two minutes before it is on the disk.
  sync_interval: always
}}
",
        dir = quoted(dir),
        log = quoted(&dir.join("server.log")),
        store = quoted(&dir.join("store")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let error = lock(dir.path()).unwrap_err();
        assert_eq!((error.code.as_ref(), error.exit), ("log_locked", Exit::Unavailable));
        assert!(error.message.ends_with(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        lock(dir.path()).unwrap();
    }

    #[test]
    fn paths_are_quoted() {
        let text = rendered(Path::new("/a \"b\"\\c"), 0, "p");
        assert!(text.contains(r#"ports_file_dir: "/a \"b\"\\c""#), "{text}");
        assert!(
            text.contains("listen: \"127.0.0.1:-1\"") && text.contains("sync_interval: always"),
            "{text}"
        );
    }
}
