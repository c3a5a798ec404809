//! `chaoschain-escrow`: the node and command line of chaoschain, run on the escrow domain.

use std::process::ExitCode;
use std::sync::Arc;

use chaoschain_escrow::{EscrowDomain, Totals};

fn main() -> ExitCode {
    chaoschain_cli::run(chaoschain_cli::App {
        name: "chaoschain-escrow",
        machine: Arc::new(EscrowDomain),
        models: || vec![Box::new(Totals::default())],
    })
}
