//! Log lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::error::{CliError, Outcome};

/// Starts logging. `default` is the filter where the configuration has none.
pub(crate) fn start(config: &Config, default: &str) -> Outcome {
    // What the NATS client says of its connection our own lines say too.
    let quiet = format!("{default},async_nats=off");
    let wanted = if config.log_level.is_empty() { &quiet } else { &config.log_level };
    // Whatever is logged of a request says of which one.
    let filter = EnvFilter::try_new(format!("{wanted},chaoschain_events::trace=info")).map_err(|error| {
        CliError::usage("log_level_invalid", format!("log level {wanted:?} is refused: {error}"))
            .hint("say error, warn, info, debug or trace, or a filter such as chaoschain_command=debug")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A line that cannot be written, to a full disk say, is lost; telling so on standard error too would panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start, in tests, keeps the first.
    let _ = match config.log_format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
