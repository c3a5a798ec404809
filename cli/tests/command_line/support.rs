//! Runs the built binary.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A directory that commands run in, gone at the end.
pub(crate) struct Bench {
    dir: TempDir,
}

/// What a command came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaoschain"));
        command.args(line).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CHAOSCHAIN_") || name.starts_with("NATS_"))
            {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &[&str]) -> Ran {
        self.run_with(line, &[])
    }

    /// Runs a command with variables of the environment.
    pub(crate) fn run_with(&self, line: &[&str], environment: &[(&str, &str)]) -> Ran {
        let output = self.command(line).envs(environment.iter().copied()).output().unwrap();
        let Output { status, stdout, stderr } = output;
        Ran {
            code: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs a command that has to succeed, and reads its JSON.
    pub(crate) fn json(&self, line: &[&str]) -> Json {
        let ran = self.run(&[&["--json"], line].concat());
        assert_eq!(ran.code, 0, "{line:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{line:?}: {error}: {}", ran.stdout))
    }

    /// Runs a command that has to fail, and says how: exit code, error code, message and hint without this directory.
    pub(crate) fn fails(&self, line: &[&str]) -> String {
        self.fails_with(line, &[])
    }

    pub(crate) fn fails_with(&self, line: &[&str], environment: &[(&str, &str)]) -> String {
        let ran = self.run_with(line, environment);
        assert_ne!(ran.code, 0, "{line:?} should fail: {}", ran.stdout);
        let error =
            ran.stderr.lines().skip_while(|line| !line.starts_with("error")).collect::<Vec<_>>().join("\n");
        format!("exit {}\n{error}", ran.code).replace(&self.dir.path().display().to_string(), "DIR")
    }

    /// Starts a node and waits until it serves.
    pub(crate) fn up(&self, dir: &str) -> Node {
        self.up_with(dir, &[])
    }

    /// Starts a node with further flags.
    pub(crate) fn up_with(&self, dir: &str, more: &[&str]) -> Node {
        let line = ["up", "--json", "--dir", dir, "--listen", "127.0.0.1:0", "--log-level", "error"];
        let mut child = self.command(&[&line, more].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let ready: Json = serde_json::from_str(&ready).unwrap();
        Node { child, _stdout: stdout, url: ready["address"].as_str().unwrap().to_owned(), ready }
    }
}

/// A running node, killed when dropped.
pub(crate) struct Node {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
    pub(crate) ready: Json,
}

impl Node {
    /// What it answers at a path: the status and the text.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The last bits of a file's mode.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
