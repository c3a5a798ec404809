//! One nats-server, in a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tempfile::TempDir;

use super::{LOOK_EVERY, Options, PATIENCE, binary, monitor};
use crate::{ports, process};

/// How often ports are chosen anew because others were faster.
pub(super) const PORT_TRIES_MAX: u32 = 10;

/// A nats-server on loopback. It keeps its port and its store when it is restarted, and ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    dir: TempDir,
    store_dir: PathBuf,
    name: String,
    address: SocketAddr,
    monitor: SocketAddr,
    /// What belongs to the server's place in a cluster.
    cluster: String,
    options: Mutex<Options>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Length of the log when this process was started.
    log_start: u64,
}

/// Another process was faster to listen on a port.
#[derive(Debug)]
pub(super) struct PortTaken;

impl Server {
    /// A server with JetStream that syncs every write. `None`, and says so, where there is no nats-server.
    ///
    /// # Panics
    /// With the server's log, if it does not start; where there is no nats-server and `CI` is `true`.
    pub fn start() -> Option<Self> {
        Self::with(&Options::new())
    }

    /// A server as configured.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn with(options: &Options) -> Option<Self> {
        let binary = binary()?;
        for _ in 0..PORT_TRIES_MAX {
            let server = Self::prepare(&binary, &unique_name("server"), options.clone(), String::new());
            server.spawn();
            if server.await_listening().is_ok() {
                return Some(server);
            }
        }
        panic!("no free port for a nats-server in {PORT_TRIES_MAX} tries");
    }

    /// A server that has a name, ports and a folder, and does not run yet.
    pub(super) fn prepare(binary: &Path, name: &str, options: Options, cluster: String) -> Self {
        let dir = tempfile::Builder::new().prefix("chaoschain-nats-").tempdir().expect("a temporary folder");
        let store_dir = options.store_dir.as_deref().unwrap_or(dir.path()).join(name);
        Self {
            binary: binary.to_owned(),
            store_dir,
            dir,
            name: name.to_owned(),
            address: ports::unused(),
            monitor: ports::unused(),
            cluster,
            options: Mutex::new(options),
            running: Mutex::new(None),
        }
    }

    /// What clients connect to, without credentials: `nats://127.0.0.1:…`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name the server goes by, the same after a restart.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of the server's streams, the same after a restart. A test may copy and replace it while the server
    /// does not run.
    pub fn store_dir(&self) -> &Path {
        &self.store_dir
    }

    /// The id of the process, where it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running().as_ref().map(|running| running.child.id())
    }

    /// What every process of this server has logged so far.
    pub fn log(&self) -> String {
        self.log_from(0)
    }

    /// What the monitoring port says at `path`, such as `/varz` or `/jsz?streams=1`: HTTP status and JSON. `None` where
    /// the server does not run or does not answer within a second.
    pub fn monitor(&self, path: &str) -> Option<(u16, Value)> {
        self.pid()?;
        monitor::get(self.monitor, path)
    }

    /// Other configuration from the next start on.
    pub fn configure(&self, options: Options) {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner) = options;
    }

    /// Ends the server as a crash does, by SIGKILL, and waits for it. Nothing where it does not run.
    pub fn kill(&self) {
        if let Some(mut running) = self.running().take() {
            running.child.kill().ok();
            running.child.wait().ok();
        }
    }

    /// Ends the server as an operator does, by SIGTERM, and waits for it. Nothing where it does not run.
    ///
    /// # Panics
    /// If it does not end within [`PATIENCE`].
    pub fn stop(&self) {
        self.resume();
        self.signal(Signal::TERM);
        let Some(mut running) = self.running().take() else { return };
        let begun = Instant::now();
        while running.child.try_wait().expect("a child of this process").is_none() {
            if begun.elapsed() > PATIENCE {
                running.child.kill().ok();
                panic!("the nats-server did not end: {}", self.log());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Starts the server again on the same port and store, and waits until it serves. A running one is killed.
    ///
    /// # Panics
    /// With the server's log, if it does not start.
    pub fn restart(&self) {
        self.kill();
        self.spawn();
        self.await_serving();
    }

    /// Stops the process where it is, by SIGSTOP: connections stay and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        if let Some(running) = self.running().as_ref() {
            // Its threads stop one by one. A process that has ended stays to be waited for.
            let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(Pid::from_child(&running.child)), stopped).ok();
        }
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(running) = self.running().as_ref() {
            // The child has not been waited for, so the id is still its own.
            kill_process(Pid::from_child(&running.child), signal).ok();
        }
    }

    /// Starts the process, and does not wait for it.
    pub(super) fn spawn(&self) {
        let config = self.dir.path().join("nats.conf");
        fs::write(&config, self.config()).expect("the server's folder is writable");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let log_start = log.metadata().expect("a log file").len();
        let mut command = process::command(&self.binary);
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = process::spawn(command).expect("nats-server starts");
        *self.running() = Some(Running { child, log_start });
    }

    fn config(&self) -> String {
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        format!(
            "server_name: {:?}\nlisten: \"{}\"\nhttp: \"{}\"\n{}{}",
            self.name,
            self.address,
            self.monitor,
            self.cluster,
            options.text(&self.store_dir)
        )
    }

    /// Waits until the server greets clients.
    pub(super) fn await_listening(&self) -> Result<(), PortTaken> {
        let begun = Instant::now();
        loop {
            // By name: whoever has taken the port might greet us too.
            if monitor::info(self.address).is_some_and(|info| info["server_name"] == self.name.as_str()) {
                return Ok(());
            }
            let (ended, log_start) = {
                let mut running = self.running();
                let running = running.as_mut().expect("a server that was started");
                (running.child.try_wait().expect("a child of this process"), running.log_start)
            };
            if let Some(status) = ended {
                *self.running() = None;
                let log = self.log_from(log_start);
                if log.contains("address already in use") {
                    return Err(PortTaken);
                }
                panic!("the nats-server ended with {status}: {log}");
            }
            assert!(begun.elapsed() < PATIENCE, "the nats-server does not serve: {}", self.log());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until a server that was started again serves on the port it had.
    pub(super) fn await_serving(&self) {
        let begun = Instant::now();
        while self.await_listening().is_err() {
            assert!(begun.elapsed() < PATIENCE, "port {} or {} stays taken", self.address, self.monitor);
            std::thread::sleep(LOOK_EVERY);
            self.spawn();
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("nats.log")
    }

    fn log_from(&self, start: u64) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(log.get(start as usize..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A name no other server of this machine has now.
pub(super) fn unique_name(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{kind}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
