//! What is taken from the machine: processes that end with ours, Python, disks.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test's own helpers may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use chaoschain_test_support::{SmallDisk, process, python};

#[test]
fn a_child_outlives_the_thread_that_asked_for_it() {
    let mut command = process::command("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = std::thread::spawn(|| process::spawn(command)).join().unwrap().unwrap();
    child.stdin.take().unwrap().write_all(b"alive").unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "alive");
    assert!(child.wait().unwrap().success());
}

/// Runs this test alone in a process of its own, which starts a child and waits to be killed.
#[test]
fn a_child_ends_with_a_process_that_is_killed() {
    const ROLE: &str = "CHAOSCHAIN_TEST_PARENT";
    if std::env::var_os(ROLE).is_some() {
        let mut command = process::command("sh");
        // The child says itself that it runs: before that, it is not bound yet.
        command.args(["-c", "echo child runs; exec cat"]);
        process::spawn(command).unwrap().wait().unwrap();
        return;
    }
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_ends_with_a_process_that_is_killed", "--nocapture"])
        .env(ROLE, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("child runs") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the parent ended");
    }
    // The child has inherited both pipes: it would end with its input, and the other one closes only with it.
    let _input = parent.stdin.take();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let (closed, on_closed) = channel();
    std::thread::spawn(move || closed.send(said.read_to_end(&mut Vec::new()).is_ok()));
    assert_eq!(on_closed.recv_timeout(Duration::from_mins(1)), Ok(true), "the child lives on");
}

#[test]
fn python_has_the_packages_that_were_asked_for() {
    let Some(python) = python::with_packages(&["msgpack==1.2.4"]) else { return };
    let script = "import msgpack, sys; print(msgpack.version, sys.prefix != sys.base_prefix)";
    let output = Command::new(&python).args(["-c", script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "(1, 2, 4) True\n", "{output:?}");
    assert_eq!(python::with_packages(&["msgpack==1.2.4"]), Some(python));
}

#[test]
fn a_small_disk_is_full_and_grows() {
    let dir = tempfile::tempdir().unwrap();
    let small = dir.path().join("small");
    let Some(disk) = SmallDisk::mount(&small, "1m") else { return };
    let written = vec![7; 2 << 20];
    let error = std::fs::write(small.join("file"), &written).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    disk.grow("4m");
    std::fs::write(small.join("file"), &written).unwrap();
    drop(disk);
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
}
