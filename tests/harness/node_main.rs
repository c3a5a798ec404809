//! The chaoschain binary, for tests that start, kill and question it.

use std::process::ExitCode;
use std::sync::Arc;

use chaoschain_society::{Leaderboard, Society};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    chaoschain_cli::run(chaoschain_cli::App {
        name: "chaoschain",
        machine: Arc::new(Society),
        models: || vec![Box::new(Leaderboard::default())],
    })
}
