//! `completions`: scripts for shells.

use clap_complete::Shell;

use crate::args::{Run, command};
use crate::error::Outcome;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  chaoschain completions bash > /etc/bash_completion.d/chaoschain")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

#[expect(clippy::unnecessary_wraps, reason = "every subcommand has this form")]
pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(run.app), run.app.name, &mut script);
    run.output.print(&serde_json::Value::from(String::from_utf8_lossy(&script)), || {
        String::from_utf8_lossy(&script).into_owned()
    });
    Ok(())
}
