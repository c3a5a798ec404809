# What is done with this repository, and how.

default:
    @just --list

# Install what development needs besides Rust; the nats-server goes below the target folder, and where is printed
setup:
    cargo install --locked just cargo-deny cargo-insta
    cargo run --quiet --package chaoschain-test-support --example nats-server

# Run the main job on the embedded log: a small society that then attacks itself
run *ARGS:
    cargo run --release -- {{ if ARGS == "" { "demo" } else { ARGS } }}

# All tests, as in the README
test:
    cargo test --workspace

# Formatting and lints; warnings are errors
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Licenses, sources and advisories of what we depend on
deny:
    cargo deny check

# The figures of this machine, each with its ceiling
bench *ARGS:
    cargo run --release -- bench {{ARGS}}

# Property tests with many more cases than a test run has
fuzz CASES="20000":
    PROPTEST_CASES={{CASES}} cargo test --release --workspace

# Faults of every kind at random under load, then a flood; SEED repeats an order of faults
torture SECONDS="600" SEED="":
    CHAOSCHAIN_TORTURE_SECONDS={{SECONDS}} CHAOSCHAIN_SEED={{SEED}} CHAOSCHAIN_OVERLOAD_SECONDS=30 \
        cargo test --release -p chaoschain-tests --test suite -- --nocapture --test-threads 1 torture:: overload::

fmt:
    cargo fmt --all

# Write the golden vectors anew: changes a frozen format, so say why
golden:
    CHAOSCHAIN_GOLDEN=write cargo test -p chaoschain-schemas -p chaoschain-events -p chaoschain-state -p chaoschain-query \
        -p chaoschain-society --test 'golden*' --test merkle_golden --test witness --test formulas
