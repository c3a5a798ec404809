//! The command line: what can be typed, and what it runs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command::{
    completions, config as config_command, diff, doctor, get, init, join, key, log, replay, resync, simulate,
    status, submit, trust, up, verify,
};
use crate::config::{Config, Flags, LogFormat, Sourced};
use crate::error::{CliError, Exit, Outcome};
use crate::output::Output;
use crate::{App, bench, demo, import, logging, managed};

const EXAMPLES: &str = "\
A first run, in two terminals:
  chaoschain init --dir demo --name demo
  chaoschain up --dir demo

  chaoschain key new ana.key
  chaoschain submit AgentRegistration --field personality=Chaotic --key ana.key
  chaoschain get status

Exit codes: 0 done, 1 refused or a check failed, 2 usage, 3 busy or not reachable, 4 damaged data, 130 interrupted.";

/// Shared state that nobody has to trust you about: signed transitions in, verifiable state out.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Print JSON for programs; errors too, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The configuration file [default: chaoschain.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "CHAOSCHAIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter of `tracing`
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log_level: Option<String>,
    /// How to write log lines
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Join(join::Args),
    Up(up::Args),
    Key(key::Args),
    Submit(submit::Args),
    Get(get::Args),
    Verify(verify::Args),
    Trust(trust::Args),
    Status(status::Args),
    Diff(diff::Args),
    Replay(replay::Args),
    Resync(resync::Args),
    Doctor(doctor::Args),
    Log(log::Args),
    Import(import::Args),
    Simulate(simulate::Args),
    Demo(demo::DemoArgs),
    Bench(bench::BenchArgs),
    Config(config_command::Args),
    Completions(completions::Args),
    /// Becomes a managed nats-server; for this program's own use
    #[command(name = managed::SUBCOMMAND, hide = true)]
    NatsServer(ServerArgs),
}

/// A server that is to end with the process that wants it.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// That process
    parent: u32,
    /// The program
    program: PathBuf,
    /// What it is told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What a subcommand runs with.
pub(crate) struct Run<'a> {
    pub(crate) app: &'a App,
    pub(crate) global: &'a Global,
    pub(crate) output: Output,
}

impl Run<'_> {
    /// The configuration under these flags; from here on it is logged as it says, `level` where it does not say.
    pub(crate) fn configure(&self, flags: Flags, level: &str) -> Outcome<Config> {
        let sourced = self.load(flags)?;
        logging::start(&sourced.config, level)?;
        Ok(sourced.config)
    }

    pub(crate) fn load(&self, flags: Flags) -> Outcome<Sourced> {
        let flags =
            Flags { log_level: self.global.log_level.clone(), log_format: self.global.log_format, ..flags };
        Config::load(self.global.config.as_deref(), &flags)
    }
}

/// The command line of this program, for parsing, help and completions.
pub(crate) fn command(app: &App) -> clap::Command {
    let is_society = import::is_offered(app);
    let command =
        ["import", "simulate", "demo", "bench"].into_iter().fold(Cli::command(), |command, name| {
            command.mut_subcommand(name, |societys| societys.hide(!is_society))
        });
    renamed(command, app.name).name(app.name).bin_name(app.name)
}

/// Puts the program's own name into the examples.
fn renamed(command: clap::Command, name: &str) -> clap::Command {
    let help =
        command.get_after_help().map(|help| help.to_string().replace("chaoschain ", &format!("{name} ")));
    let command = match help {
        Some(help) => command.after_help(help),
        None => command,
    };
    command.mut_subcommands(|command| renamed(command, name))
}

/// Runs a command line and says what the process is to end with.
pub(crate) fn run(app: &App, line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line: Vec<OsString> = line.into_iter().collect();
    let parsed = command(app).try_get_matches_from(&line).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is parsed, so whether JSON is wanted can only be guessed.
            if error.use_stderr() && line.iter().any(|part| part == "--json") {
                Output { json: true }.error(&unparsed(&error));
                return Exit::Usage.into();
            }
            // Help and version are no errors; clap says which stream each goes to.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let output = Output { json: cli.global.json };
    let run = Run { app, global: &cli.global, output };
    match dispatch(&run, &cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            error.exit.into()
        }
    }
}

/// What clap says of a line that is none, as an error like any other.
fn unparsed(error: &clap::Error) -> CliError {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or("the command line is not understood");
    let rest: Vec<&str> = lines.take_while(|line| !line.starts_with("For more information")).collect();
    let error = CliError::usage("usage", message.trim_start_matches("error: "));
    if rest.is_empty() { error } else { error.hint(rest.join("; ")) }
}

fn dispatch(run: &Run<'_>, command: &Command) -> Outcome {
    match command {
        Command::Init(args) => init::run(run, args),
        Command::Join(args) => join::run(run, args),
        Command::Up(args) => up::run(run, args),
        Command::Key(args) => key::run(run, args),
        Command::Submit(args) => submit::run(run, args),
        Command::Get(args) => get::run(run, args),
        Command::Verify(args) => verify::run(run, args),
        Command::Trust(args) => trust::run(run, args),
        Command::Status(args) => status::run(run, args),
        Command::Diff(args) => diff::run(run, args),
        Command::Replay(args) => replay::run(run, args),
        Command::Resync(args) => resync::run(run, args),
        Command::Doctor(args) => doctor::run(run, args),
        Command::Log(args) => log::run(run, args),
        Command::Import(args) => import::run(run, args),
        Command::Simulate(args) => simulate::run(run, args),
        Command::Demo(args) => demo::run(run, args),
        Command::Bench(args) => bench::run(run, args),
        Command::Config(args) => config_command::run(run, args),
        Command::Completions(args) => completions::run(run, args),
        Command::NatsServer(ServerArgs { parent, program, arguments }) => {
            Err(managed::exec_server(*parent, program, arguments))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
