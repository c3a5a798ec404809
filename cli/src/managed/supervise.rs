//! Running the server: started, watched, started again, stopped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::find::Program;
use crate::datadir::write_private;
use crate::error::{CliError, Exit, Outcome};

/// How long a server may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end when asked to; then it is killed.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The first pause before one that has died is started again; each further one is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest such pause.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long it has to have run for the pauses to start over.
const STEADY: Duration = Duration::from_secs(30);
/// How much of what a server says is shown when it does not start, bytes.
const SAID_BYTES_MAX: usize = 2000;

/// The thread that has the server. The signal of a parent's death comes when the *thread* that started the child ends,
/// so every start happens there, and the thread ends after the server.
pub(super) struct Supervisor {
    port: u16,
    watched: Arc<Watched>,
    stop: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

/// What is known of the server.
#[derive(Default)]
struct Watched {
    /// It has listened once: from then on its end is a mishap, before that it is a failed start.
    listened: AtomicBool,
    restarts: Arc<AtomicU64>,
}

impl Supervisor {
    /// Starts the server and waits until it listens. `render` makes its configuration for a port.
    pub(super) fn start(
        program: &Program,
        dir: &Path,
        port: u16,
        render: &dyn Fn(u16) -> String,
    ) -> Outcome<Self> {
        let configuration = dir.join("nats-server.conf");
        write_private(&configuration, render(port).as_bytes())?;
        let run = Runs { program: program.path.clone(), dir: dir.to_path_buf(), configuration };
        let (started, first) = mpsc::channel();
        let (stop, asked) = mpsc::channel();
        let watched = Arc::new(Watched::default());
        let (theirs, shared) = (run.clone(), Arc::clone(&watched));
        let thread = std::thread::Builder::new()
            .name("nats-server".into())
            .spawn(move || theirs.watch(&started, &asked, &shared))
            .map_err(|error| CliError::new(Exit::Unavailable, "thread_unavailable", error.to_string()))?;
        let mut this = Self { port: 0, watched, stop: Mutex::new(Some((stop, thread))) };
        let pid = first.recv().map_err(|_| run.not_started("its thread has ended"))??;
        this.port = run.await_port(pid, &this)?;
        // The next start takes the same port, so that clients find the server again.
        write_private(&run.configuration, render(this.port).as_bytes())?;
        this.watched.listened.store(true, Ordering::Release);
        Ok(this)
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn restarts(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.watched.restarts)
    }

    /// Stops the server and waits for its end. Doing so twice is doing it once.
    pub(super) fn stop(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = stop {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the thread of the nats-server has panicked");
            }
        }
    }

    fn is_over(&self) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.as_ref().is_none_or(|(_, thread)| thread.is_finished())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How the server is run.
#[derive(Clone)]
struct Runs {
    program: PathBuf,
    dir: PathBuf,
    configuration: PathBuf,
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

impl Runs {
    /// Starts the server and keeps it running until it is to stop. The first start that fails is the last.
    fn watch(&self, started: &Sender<Outcome<u32>>, asked: &mpsc::Receiver<()>, watched: &Watched) {
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => return drop(started.send(Err(error))),
        };
        drop(started.send(Ok(child.id())));
        let mut pause = BACKOFF_FIRST;
        loop {
            let since = Instant::now();
            let Some(status) = watch_one(&mut child, asked) else { return end(child) };
            if !watched.listened.load(Ordering::Acquire) {
                // Whoever waits for it says why.
                return;
            }
            self.forget_ports(child.id());
            pause = if since.elapsed() >= STEADY { BACKOFF_FIRST } else { pause };
            tracing::error!(
                "nats-server has ended ({status}); it is started again in {} ms",
                pause.as_millis()
            );
            loop {
                if asked.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                pause = (pause * 2).min(BACKOFF_MAX);
                match self.spawn() {
                    Ok(again) => {
                        child = again;
                        watched.restarts.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    Err(error) => tracing::error!("{error}"),
                }
            }
        }
    }

    fn spawn(&self) -> Outcome<Child> {
        let said = self.dir.join("server.err");
        write_private(&said, b"")?;
        let said = File::options()
            .append(true)
            .open(&said)
            .map_err(|error| CliError::file("write", &said, &error))?;
        let mut command = self.command();
        command.arg("-c").arg(&self.configuration);
        // A Ctrl-C at the terminal is for us: the server is stopped when the log is closed.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let streams = said.try_clone().map(|copy| {
            command.stdin(Stdio::null()).stdout(copy).stderr(said);
        });
        streams.and_then(|()| command.spawn()).map_err(|error| self.not_started(&error.to_string()))
    }

    /// Ourselves, who ask to be ended with our parent and then become the server; see [`exec_server`].
    #[cfg(target_os = "linux")]
    fn command(&self) -> Command {
        // The link holds even where the file was replaced under a running program.
        let mut command = Command::new("/proc/self/exe");
        command.arg(SUBCOMMAND).arg(std::process::id().to_string()).arg(&self.program);
        command
    }

    #[cfg(not(target_os = "linux"))]
    fn command(&self) -> Command {
        Command::new(&self.program)
    }

    fn ports_file(&self, pid: u32) -> PathBuf {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        self.dir.join(format!("{name}_{pid}.ports"))
    }

    fn forget_ports(&self, pid: u32) {
        // A killed server leaves its file behind.
        drop(fs::remove_file(self.ports_file(pid)));
    }

    /// The port the server listens on, once its file says so. The file is not written atomically: until it can be read
    /// it is read again.
    fn await_port(&self, pid: u32, supervisor: &Supervisor) -> Outcome<u16> {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(self.ports_file(pid)).unwrap_or_default();
            if let Ok(Ports { nats }) = serde_json::from_str(&text) {
                let port = nats.first().and_then(|url| url.rsplit_once(':')?.1.parse().ok());
                return port.ok_or_else(|| self.not_started("it listens nowhere"));
            }
            if supervisor.is_over() {
                return Err(self.not_started("it has ended"));
            }
            if start.elapsed() > START_PATIENCE {
                let text = format!("it does not listen after {} s", START_PATIENCE.as_secs());
                return Err(self.not_started(&text));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn not_started(&self, reason: &str) -> CliError {
        let message = format!("{} did not start: {reason}{}", self.program.display(), self.said());
        CliError::new(Exit::Unavailable, "nats_server_not_started", message)
            .hint(format!("see {} and server.log beside it", self.dir.join("server.err").display()))
    }

    /// What it said last.
    fn said(&self) -> String {
        let files = [self.dir.join("server.err"), self.dir.join("server.log")];
        let said = files.iter().map(|file| fs::read(file).unwrap_or_default()).find(|said| !said.is_empty());
        let said = said.unwrap_or_default();
        let last = &said[said.len().saturating_sub(SAID_BYTES_MAX)..];
        let last = String::from_utf8_lossy(last);
        let told = what_is_wrong(&last);
        if told.is_empty() { String::new() } else { format!("; it says: {told}") }
    }
}

/// Its lines about errors without their time; all of them where there are none.
fn what_is_wrong(said: &str) -> String {
    let wrong =
        |line: &str| ["[FTL] ", "[ERR] "].iter().find_map(|mark| Some(line.split_once(mark)?.1.to_owned()));
    let lines: Vec<String> = said.lines().filter_map(wrong).collect();
    if lines.is_empty() { said.trim().to_owned() } else { lines.join("; ") }
}

/// Waits for the end of the server, or until it is to stop: `None`.
fn watch_one(child: &mut Child, asked: &mpsc::Receiver<()>) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if asked.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            return None;
        }
    }
}

/// Asks the server to end, and kills it if it does not.
fn end(mut child: Child) {
    ask_to_end(&mut child);
    let start = Instant::now();
    while start.elapsed() < STOP_GRACE {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    tracing::warn!("nats-server takes too long to end and is killed");
    drop(child.kill());
    drop(child.wait());
}

#[cfg(unix)]
fn ask_to_end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // One that has ended by itself needs no asking.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn ask_to_end(child: &mut Child) {
    drop(child.kill());
}

/// The hidden subcommand behind [`exec_server`].
pub(crate) const SUBCOMMAND: &str = "__nats-server";

/// Becomes the server, after asking the system to end it when the thread that started us ends. Answers only on failure.
#[cfg(target_os = "linux")]
pub(crate) fn exec_server(parent: u32, program: &Path, arguments: &[std::ffi::OsString]) -> CliError {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    let failed = |error: &std::io::Error| CliError::file("run", program, error);
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return failed(&error.into());
    }
    // A parent that had died before the request is not reported any more.
    let orphaned = getppid().is_none_or(|now| u32::try_from(now.as_raw_nonzero().get()).ok() != Some(parent));
    if orphaned {
        return CliError::new(Exit::Interrupted, "interrupted", "the process that wanted a server has ended");
    }
    failed(&Command::new(program).args(arguments).exec())
}

/// There is no such signal here, and nobody asks for this.
#[cfg(not(target_os = "linux"))]
pub(crate) fn exec_server(_: u32, program: &Path, _: &[std::ffi::OsString]) -> CliError {
    CliError::usage("nats_server_unusable", format!("{} is started directly here", program.display()))
}
