//! Child processes that do not outlive the test that started them.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{LazyLock, OnceLock};

type Order = (Command, SyncSender<io::Result<Child>>);

/// A command for `program` that, on Linux, the kernel kills when this process ends, even by SIGKILL.
///
/// Start it with [`spawn`]. The process id is the program's own. Elsewhere this is a plain command. The binding holds
/// from when the program runs: a death within the few milliseconds before leaves it behind.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    static BOUND: LazyLock<bool> = LazyLock::new(|| {
        let mut probe = Command::new("setpriv");
        probe.args(["--pdeathsig", "KILL", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    if *BOUND {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Starts a command from a thread that lives as long as this process.
///
/// The kernel ends a bound child with the *thread* that started it, and a test's own thread ends with the test.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, received) = channel::<Order>();
        let run = move || {
            for (mut command, answer) in received {
                answer.send(command.spawn()).ok();
            }
        };
        std::thread::Builder::new().name("spawner".to_owned()).spawn(run).expect("a thread");
        orders
    });
    let (answer, answered) = sync_channel(1);
    spawner.send((command, answer)).expect("the spawner never ends");
    answered.recv().expect("the spawner answers every order")
}
