//! Errors as people and scripts see them: a stable code, what failed on what, what to do, and an exit code.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use chaoschain_events::log::{AppendError, LogError};
use chaoschain_events::micro::AskError;
use chaoschain_events::nats::NatsError;
use chaoschain_projector::restore::RestoreError;
use chaoschain_projector::{FoldError, GenesisError, OpenError, StoreError};
use chaoschain_query::QueryError;
use chaoschain_query::verify::VerifyError;
use chaoschain_schemas::api::ErrorBody;
use serde::Serialize;

/// What a process of this command line ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Refused by the rules, or a check did not hold. Trying the same again gives the same.
    Refused = 1,
    /// The command line, a configuration or an input file is not of its form.
    Usage = 2,
    /// Something is busy, locked, full or cannot be reached now. The same may work later.
    Unavailable = 3,
    /// Stored data is damaged, or two folds disagree. Somebody has to look.
    Corrupt = 4,
    /// Stopped by a signal; what was done is kept.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CliError {
    /// A stable word for programs.
    pub code: Cow<'static, str>,
    /// What failed, on what.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the process ends with.
    #[serde(skip)]
    pub exit: Exit,
}

/// What a command comes to.
pub type Outcome<T = ()> = Result<T, CliError>;

impl CliError {
    /// An error without a hint.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None, exit }
    }

    /// An error in what was typed or in a file that was given.
    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// A file that cannot be worked on.
    pub fn file(action: &str, path: &Path, error: &std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound
            | std::io::ErrorKind::InvalidInput
            | std::io::ErrorKind::InvalidData
            | std::io::ErrorKind::IsADirectory => Exit::Usage,
            _ => Exit::Unavailable,
        };
        let code = match error.kind() {
            std::io::ErrorKind::NotFound => "file_missing",
            std::io::ErrorKind::PermissionDenied => "file_denied",
            std::io::ErrorKind::AlreadyExists => "file_exists",
            std::io::ErrorKind::StorageFull => "no_space",
            _ => "file_io",
        };
        Self::new(exit, code, format!("cannot {action} {}: {error}", path.display()))
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a node has answered instead of what was asked for, with its HTTP status.
    pub fn answered(status: u16, body: ErrorBody) -> Self {
        let exit = if status == 429 || status >= 500 { Exit::Unavailable } else { Exit::Refused };
        let hint = body.retry_after_ms.map(|ms| format!("try again in {ms} ms"));
        let hint = hint.or_else(|| hint_for(&body.code).map(str::to_owned));
        Self { code: body.code.into(), message: body.message, hint, exit }
    }

    /// Work on another thread that ended in a panic.
    pub(crate) fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::new(Exit::Unavailable, "thread_panicked", format!("work in the background has failed: {error}"))
    }

    fn coded(code: &str, message: String) -> Self {
        let hint = hint_for(code).map(str::to_owned);
        Self { code: code.to_owned().into(), message, hint, exit: exit_of(code) }
    }
}

impl From<AskError> for CliError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { status, body } => Self::answered(status, body),
            AskError::TooLarge { .. } => Self::coded(error.code(), error.to_string()),
            AskError::Unanswered { .. } => Self::new(Exit::Unavailable, "nats_unanswered", error.to_string())
                .hint("is a node with that role connected to this server, and is it this chain's?"),
            _ => Self::new(Exit::Unavailable, error.code().to_owned(), error.to_string()),
        }
    }
}

/// What an error of the crates below ends a process with, by its code.
fn exit_of(code: &str) -> Exit {
    match code {
        "archive_damaged"
        | "archive_differs"
        | "log_lost"
        | "log_replaced"
        | "restore_block_invalid"
        | "restore_differs"
        | "store_corrupt"
        | "row_changed"
        | "root_mismatch"
        | "log_corrupt"
        | "log_behind"
        | "log_rewritten"
        | "store_foreign"
        | "log_foreign_file"
        | "state_diverged"
        | "state_damaged"
        | "genesis_malformed"
        | "record_corrupt"
        | "store_unreadable"
        | "log_changed" => Exit::Corrupt,
        "archive_unwritable" | "restore_raced" | "store_locked" | "store_no_space" | "store_io"
        | "log_locked" | "log_io" | "log_unavailable" | "log_busy" | "log_no_space"
        | "log_append_unclear" | "log_closed" | "thread_unavailable" | "height_not_reached"
        | "not_finalized" | "nats_unreachable" | "nats_no_leader" | "nats_timed_out" => Exit::Unavailable,
        "nats_option" => Exit::Usage,
        _ => Exit::Refused,
    }
}

/// What to do, where the message does not say it already.
fn hint_for(code: &str) -> Option<&'static str> {
    Some(match code {
        "log_locked" | "store_locked" => {
            "a node has this directory open: ask that node with --node URL, or stop it first"
        }
        "row_changed" | "root_mismatch" | "store_corrupt" => {
            "the log is the truth: move the state directory away and rebuild it with `chaoschain replay`"
        }
        "state_diverged" => {
            "`chaoschain diff URL` with another node's address names the record; `chaoschain resync` replays the state once the \
             right program is in place"
        }
        "log_corrupt" => "restore the log from a backup or from another node; do not edit it",
        "log_behind" | "log_lost" => {
            "stop the nodes; `chaoschain log restore` on one that has the blocks shows what it would put back"
        }
        "log_replaced" => {
            "stop the command services; `chaoschain log status` says what is there now, `chaoschain log restore` on a node that \
             has the blocks what it would put back"
        }
        "stream_missing" => {
            "`chaoschain log restore` in the directory of a node that has the blocks says what it would put back"
        }
        "nats_permission" => {
            "`chaoschain config nats` prints what each role needs; `init` and `log restore` take its operator"
        }
        "restore_empty" => "name the directory of a node that has the blocks with --from DIR",
        "log_rewritten" => {
            "fork-HEIGHT.proof beside the evidence proves it to others: `chaoschain verify proof` checks it"
        }
        "restore_differs" => {
            "find out which of the two is the chain: `chaoschain get finality` shows what validators have attested"
        }
        "archive_damaged" | "archive_differs" => {
            "move blocks/ aside and start the node: it is filled again from the log, once that is known to be right"
        }
        "restore_raced" => "stop every command service of the chain, then run it again",
        "domain_wrong" => "run the program of the chain's own domain",
        "nonce_used" | "nonce_ahead" => "leave --nonce away to take the account's next one",
        "account_unknown" => {
            "register it first, with a kind that registers (see `chaoschain submit --kinds`)"
        }
        "validity_too_long" => "give a shorter --valid-for, and check the clocks",
        "expired" => "give a longer --valid-for, and check the clocks",
        "absent" => "with --proof its absence is proven",
        "producer_untrusted" => "is this the trust file of that chain?",
        "not_finalized" => "`get finality` shows what validators have attested",
        "finality_missing" => {
            "ask for the proof with `get … --finalized --proof FILE`, or trust a producer as well"
        }
        "finality_short" => {
            "are these the chain's validators? `get validators` lists them with keys and weights"
        }
        "chain_wrong" => {
            "two chains are mixed up: compare the id in the trust file, in chain.toml or at the node"
        }
        "store_foreign" => "move that file away and rebuild the state from the log with `chaoschain replay`",
        "log_foreign_file" => {
            "if it does not belong there move it away; if it stands in the place of a log file restore that from a backup"
        }
        "log_missing" => "restore the log from a backup; the state alone cannot go on",
        "producer_unauthorised" => {
            "put the key the chain knows at keys/producer.key: its own, or after a rotation the new one"
        }
        "role_absent" => {
            "submit and ask at nodes with that role; `submit --query-node URL` reads from another node than it submits to"
        }
        "read_unknown" | "model_unknown" => "`chaoschain get reads` lists what can be asked",
        _ => return None,
    })
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

macro_rules! from_coded {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::coded(error.code(), error.to_string())
            }
        }
    )*};
}
from_coded!(
    NatsError,
    OpenError,
    StoreError,
    LogError,
    AppendError,
    GenesisError,
    FoldError,
    RestoreError,
    VerifyError,
    QueryError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_code_message_and_hint() {
        let error = CliError::usage("key_missing", "no key was given").hint("give one with --key FILE");
        assert_eq!(
            error.to_string(),
            "error[key_missing]: no key was given\n  hint: give one with --key FILE"
        );
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"code":"key_missing","message":"no key was given","hint":"give one with --key FILE"}"#
        );
    }

    #[test]
    fn exits_follow_from_codes() {
        let of = |error: CliError| error.exit;
        assert_eq!(of(StoreError::Corrupt("x".into()).into()), Exit::Corrupt);
        assert_eq!(of(StoreError::NoSpace.into()), Exit::Unavailable);
        assert_eq!(of(VerifyError::TrustEmpty.into()), Exit::Refused);
        let busy = ErrorBody { code: "busy".into(), message: "full".into(), retry_after_ms: Some(5) };
        assert_eq!(of(CliError::answered(429, busy)), Exit::Unavailable);
    }
}
