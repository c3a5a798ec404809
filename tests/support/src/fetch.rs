//! What is fetched once into the target folder and shared by every test process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The finished folder `name`; where it is absent, `make` fills a new one, which then takes its place.
///
/// One process makes, the others wait; a folder that was left half made is made anew.
pub(crate) fn folder(name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    folder_in(&target_dir().join("test-support"), name, make)
}

fn folder_in(
    root: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let finished = root.join(name);
    if finished.exists() {
        return Ok(finished);
    }
    let failed = |error: std::io::Error| format!("{}: {error}", root.display());
    fs::create_dir_all(root).map_err(failed)?;
    let lock = File::create(root.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if finished.exists() {
        return Ok(finished);
    }
    let partial = root.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    fs::create_dir(&partial).map_err(failed)?;
    make(&partial)?;
    fs::rename(&partial, &finished).map_err(failed)?;
    Ok(finished)
}

/// Installs a requirements file into `target`; wheels only, so nothing is compiled and no package's code runs.
pub(crate) fn pip_install(requirements: &Path, target: &Path) -> Result<(), String> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--retries", "2"])
        .arg("--target")
        .arg(target)
        .arg("--requirement")
        .arg(requirements)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_USER", "0");
    run(pip)
}

/// Runs a command to its end. The error is its last words.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program} did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let arguments = command.get_args().collect::<Vec<_>>().join(" ".as_ref());
    Err(format!("`{program} {}` ended with {}: {}", arguments.display(), output.status, said.trim()))
}

/// Where cargo builds: this program lies in it. A relative `CARGO_TARGET_DIR` could not be told, as cargo starts tests
/// in the folder of their package.
fn target_dir() -> PathBuf {
    let program = std::env::current_exe().ok();
    let above = program.iter().flat_map(|program| program.ancestors());
    if let Some(target) = above.skip(1).find(|folder| folder.join("CACHEDIR.TAG").is_file()) {
        return target.to_owned();
    }
    let configured = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    configured.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{folder_in, run};

    #[test]
    fn many_who_want_a_folder_get_the_one_that_is_made() {
        let root = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let want = || {
            let folder = folder_in(root.path(), "wanted", |partial| {
                made.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
                fs::write(partial.join("whole"), "").map_err(|error| error.to_string())
            });
            assert!(folder.unwrap().join("whole").is_file());
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(want);
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn what_was_left_half_made_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let failed = folder_in(root.path(), "wanted", |partial| {
            fs::write(partial.join("half"), "").unwrap();
            Err("no network".to_owned())
        });
        assert_eq!(failed, Err("no network".to_owned()));
        assert!(!root.path().join("wanted").exists());
        let folder = folder_in(root.path(), "wanted", |_| Ok(())).unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo reason >&2; exit 3"]);
        let error = run(command).unwrap_err();
        assert!(error.contains("exit status: 3: reason"), "{error}");
        assert!(run(Command::new("/nowhere/program")).unwrap_err().contains("did not start"));
    }
}
