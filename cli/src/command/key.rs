//! `key new` and `key show`.

use std::path::{Path, PathBuf};

use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::AccountId;
use serde_json::json;

use crate::args::Run;
use crate::config::Flags;
use crate::error::{CliError, Exit, Outcome};
use crate::keyfile::{self, KeyFile};
use crate::seed::Seed;

/// Make and show key files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    New(New),
    Show(Show),
}

/// Make a new key in a new file that only its owner may read
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  chaoschain key new ana.key
  chaoschain key new ana.key --passphrase
  chaoschain key new next.key --account 1f3c…    # to rotate that account to
  chaoschain key new six.key --seed import --label 'agent 6'    # a key of an imported chain

The passphrase is asked for, or taken from CHAOSCHAIN_PASSPHRASE.")]
struct New {
    /// The file to make
    file: PathBuf,
    /// Encrypt the key under a passphrase
    #[arg(long)]
    passphrase: bool,
    /// The account it signs for, where that is not the key's own
    #[arg(long, value_name = "ID")]
    account: Option<AccountId>,
    /// Derive the key from a seed instead of randomness
    #[arg(long, value_name = "HEX|TEXT", requires = "label")]
    seed: Option<String>,
    /// Which of the seed's keys: producer, or agent NODE of an import
    #[arg(long, requires = "seed")]
    label: Option<String>,
}

/// Show the account and the public key of a file; needs no passphrase
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  chaoschain key show ana.key")]
struct Show {
    /// The key file
    file: PathBuf,
}

pub(crate) fn run(run: &Run<'_>, args: &Args) -> Outcome {
    run.configure(Flags::default(), "warn")?;
    match &args.what {
        What::New(args) => new(run, args)?,
        What::Show(args) => show(run, &args.file, &KeyFile::read(&args.file)?),
    }
    Ok(())
}

fn new(run: &Run<'_>, args: &New) -> Outcome {
    let key = match (&args.seed, &args.label) {
        (Some(seed), Some(label)) => Seed::of(seed).key(label),
        _ => SecretKey::generate()
            .map_err(|error| CliError::new(Exit::Unavailable, "randomness_unavailable", error.to_string()))?,
    };
    let account = args.account.unwrap_or_else(|| AccountId::from_first_key(&key.public()));
    let passphrase = args.passphrase.then(|| keyfile::passphrase(&args.file, true)).transpose()?;
    let file = KeyFile::new(account, &key, passphrase.as_deref().map(String::as_str))?;
    file.write_new(&args.file)?;
    show(run, &args.file, &file);
    Ok(())
}

fn show(run: &Run<'_>, path: &Path, file: &KeyFile) {
    run.output.show(&json!({
        "file": path,
        "account": file.account,
        "public_key": file.public_key,
        "passphrase": file.is_sealed(),
    }));
}
