//! The chaoschain command line, as a library that takes machines.
//!
//! A binary is a few lines: it names itself and the domain it runs, and calls [`run`]. Everything here works on any
//! domain, except `import`, `simulate`, `demo` and `bench`, which play the society and are offered where the machine is.
//!
//! # Example
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! fn main() -> ExitCode {
//!     chaoschain_cli::run(chaoschain_cli::App {
//!         name: "chaoschain",
//!         machine: Arc::new(chaoschain_society::Society),
//!         models: || vec![Box::new(chaoschain_society::Leaderboard::default())],
//!     })
//! }
//! ```

mod args;
mod bench;
mod client;
mod command;
mod config;
mod datadir;
mod demo;
mod error;
mod import;
mod keyfile;
mod log_home;
mod logging;
mod managed;
mod metered;
mod metrics;
mod node;
mod output;
mod progress;
mod roles;
mod routes;
mod seed;
mod server;
pub mod simulate;

use std::process::ExitCode;
use std::sync::Arc;

use chaoschain_state::domain::{Machine, ReadModel};

pub use error::{CliError, Exit, Outcome};

/// A program: its name and the domain it runs.
#[derive(Clone)]
pub struct App {
    /// The name of the binary, as in its help.
    pub name: &'static str,
    /// The domain.
    pub machine: Arc<dyn Machine>,
    /// Makes the domain's read models, empty.
    pub models: fn() -> Vec<Box<dyn ReadModel>>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "App({}, {})", self.name, self.machine.id())
    }
}

/// Runs the process's command line and says what the process is to end with.
#[expect(clippy::needless_pass_by_value, reason = "a program is made here and nowhere else")]
pub fn run(app: App) -> ExitCode {
    args::run(&app, std::env::args_os())
}
