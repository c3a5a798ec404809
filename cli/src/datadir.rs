//! The data directory of a node: where everything is, and who may read it.
//!
//! # Format
//! ```text
//! DIR/                 0700
//!   chain.toml         0600  chain id, name, domain, log; written last, so it stands only in a whole directory
//!   keys/producer.key  0600  see keyfile.rs; where the node may seal blocks
//!   keys/validator.key 0600  where it attests with a key of its own
//!   log/               0700  the embedded log, and
//!   attestations/      0700  beside it what validators have said of it; or
//!   nats/              0700  the files of a managed nats-server, or
//!   blocks/            0700  where the log is on servers elsewhere: the blocks folded from it
//!   validator/         0700  what a validator has signed last; not in `state/`, since that may be thrown away
//!   state/             0700  projection.redb, and evidence-*.json if the node ever stopped
//!   state.resync/      0700  the state that `resync` is replaying
//!   state.diverged-*/  0700  what it has replaced, to be looked at and removed by people
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chaoschain_projector::{Store, create_private_dir};
use chaoschain_schemas::{ChainId, Sequence};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;

use crate::App;
use crate::command::verify::read_bounded;
use crate::error::{CliError, Exit, Outcome};
use crate::log_home::LogChoice;

/// What `chain.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Chain {
    #[serde(rename = "chain")]
    pub(crate) id: ChainId,
    pub(crate) name: String,
    pub(crate) domain: String,
    /// Where its log is, as it was given when the directory was made.
    #[serde(default = "embedded")]
    pub(crate) log: LogChoice,
}

/// Directories made before there was a choice.
const fn embedded() -> LogChoice {
    LogChoice::Embedded
}

/// A data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Names the directory without looking at it.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The state that `resync` is replaying.
    pub(crate) fn fresh_state(&self) -> PathBuf {
        self.root.join("state.resync")
    }

    /// Whether `resync` has set the old state aside, and has not come to put the new one in its place.
    pub(crate) fn is_swap_unfinished(&self) -> bool {
        !self.state().is_dir() && self.fresh_state().is_dir()
    }

    /// Refuses a directory in the middle of a `resync`: a node that opened it would begin an empty state, and know nothing of
    /// what it had heard of equivocators.
    pub(crate) fn check_state_in_place(&self) -> Outcome {
        if !self.is_swap_unfinished() {
            return Ok(());
        }
        let message = format!(
            "there is no {}, and {} waits to become it: a resync was interrupted",
            self.state().display(),
            self.fresh_state().display()
        );
        Err(CliError::new(Exit::Refused, "resync_unfinished", message)
            .hint("run `chaoschain resync` again: it goes on from there"))
    }

    /// Opens what is stored.
    pub(crate) fn open_store(&self) -> Outcome<Store> {
        self.check_state_in_place()?;
        Ok(Store::open(&self.state())?)
    }

    pub(crate) fn producer_key(&self) -> PathBuf {
        self.root.join("keys").join("producer.key")
    }

    pub(crate) fn validator_key(&self) -> PathBuf {
        self.root.join("keys").join("validator.key")
    }

    pub(crate) fn nats(&self) -> PathBuf {
        self.root.join("nats")
    }

    pub(crate) fn attestations(&self) -> PathBuf {
        self.root.join("attestations")
    }

    pub(crate) fn validator(&self) -> PathBuf {
        self.root.join("validator")
    }

    pub(crate) fn blocks(&self) -> PathBuf {
        self.root.join("blocks")
    }

    fn chain_file(&self) -> PathBuf {
        self.root.join("chain.toml")
    }

    /// Whether there is a `chain.toml`.
    pub(crate) fn holds_chain(&self) -> bool {
        self.chain_file().is_file()
    }

    /// Makes the directory for a new chain; it must be empty or not there.
    pub(crate) fn create(root: &Path) -> Outcome<Self> {
        let this = Self::at(root);
        let occupied = match fs::read_dir(root) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(CliError::file("list", root, &error)),
        };
        if occupied {
            let (code, what) = if this.holds_chain() {
                ("chain_exists", "holds a chain")
            } else {
                ("dir_occupied", "is not empty")
            };
            let message = format!("{} {what} already", root.display());
            return Err(CliError::new(Exit::Refused, code, message)
                .hint("name another directory with --dir or --into"));
        }
        for dir in [root.to_path_buf(), this.root.join("keys"), this.state()] {
            create_private_dir(&dir).map_err(|error| CliError::file("make", &dir, &error))?;
        }
        Ok(this)
    }

    /// Writes `chain.toml`: from now on the directory holds a chain.
    pub(crate) fn seal(&self, chain: &Chain) -> Outcome {
        let Chain { id, name, domain, log } = chain;
        let text = format!("chain = \"{id}\"\nname = \"{name}\"\ndomain = \"{domain}\"\nlog = \"{log}\"\n");
        write_private(&self.chain_file(), text.as_bytes())
    }

    /// Reads `chain.toml`.
    pub(crate) fn chain(&self) -> Outcome<Chain> {
        let file = self.chain_file();
        if !self.holds_chain() {
            let message = format!("{} holds no chain: there is no chain.toml", self.root.display());
            return Err(CliError::usage("chain_missing", message)
                .hint("make one with `chaoschain init --dir DIR`, or name another with --dir"));
        }
        Figment::from(Toml::file_exact(&file)).extract().map_err(|error| {
            let message = format!("{} cannot be read: {error}", file.display());
            CliError::new(Exit::Corrupt, "chain_file_malformed", message)
        })
    }

    /// [`DataDir::chain`], which has to be of the program's domain.
    pub(crate) fn chain_of(&self, app: &App) -> Outcome<Chain> {
        let chain = self.chain()?;
        if chain.domain == app.machine.id() {
            return Ok(chain);
        }
        let message = format!(
            "the chain in {} runs the domain {:?}, this program runs {:?}",
            self.root.display(),
            chain.domain,
            app.machine.id()
        );
        Err(CliError::new(Exit::Refused, "domain_wrong", message)
            .hint("run the program of the chain's own domain"))
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Outcome {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = private_file(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // A key whose name a power cut forgets is lost.
        #[cfg(unix)]
        File::open(path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new(".")))?
            .sync_all()?;
        Ok(())
    };
    write().map_err(|error| CliError::file("write", path, &error))
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether others than the owner may read or write `path`; `None` where that cannot be told.
pub(crate) fn open_to_others(path: &Path) -> Option<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// What the names of files begin with that say why a node stopped.
const EVIDENCE: [&str; 3] = ["evidence-", "fork-", "finality-conflict-"];

/// The most that is read of a file of evidence, bytes: what it may hold in hex and as records, with room to spare.
const EVIDENCE_FILE_BYTES_MAX: u64 = 256 << 20;

/// The files in a state's directory that say why its node stopped, by name.
pub(crate) fn evidence_in(state: &Path) -> Vec<PathBuf> {
    files_of(state, &EVIDENCE)
}

/// Why the node stopped that has looked at nothing after the message at `cursor`, if there is evidence of the next one.
pub(crate) fn stop_in(dir: &DataDir, cursor: Sequence) -> Option<CliError> {
    #[derive(Deserialize)]
    struct Report {
        code: String,
        reason: String,
    }
    let path = dir.state().join(format!("evidence-{}.json", cursor.next()));
    let bytes = path.is_file().then(|| read_bounded(&path, EVIDENCE_FILE_BYTES_MAX))?;
    let report = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Report { code, reason } = report.unwrap_or_else(|| Report {
        code: "evidence_unread".into(),
        reason: "the evidence cannot be read".into(),
    });
    let message = format!("the node stopped: {reason}; see {}", path.display());
    Some(CliError::new(Exit::Corrupt, code, message).hint(
        "with a program that computes what the log says, `chaoschain up` goes on from here, and `chaoschain resync` begins anew",
    ))
}

/// The files of a directory whose names begin with one of `starts`, by name.
pub(crate) fn files_of(dir: &Path, starts: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        paths.filter(|path| starts.iter().any(|start| file_name(path).starts_with(start))).collect();
    paths.sort();
    paths
}

/// The last part of a path; nothing where it is not text.
pub(crate) fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
