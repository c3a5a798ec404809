//! Prints where the nats-server of the tests is, and fetches it where the machine has none.

use std::process::ExitCode;

use chaoschain_test_support::nats;

fn main() -> ExitCode {
    let Some(binary) = nats::binary() else { return ExitCode::FAILURE };
    println!("{}", binary.display());
    ExitCode::SUCCESS
}
