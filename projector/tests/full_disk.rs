//! A really full disk under the store: reads go on, and storing resumes when there is room.
#![allow(clippy::unwrap_used, reason = "a test's own helpers may panic")]

mod support;

use chaoschain_test_support::SmallDisk;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_storing_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("small");
    let Some(disk) = SmallDisk::mount(&state, "6m") else { return };
    let log = new_log(&dir.path().join("log")).await;
    let node = open(&state, &log).await;
    let mut ana = Author::new(9, genesis().0);
    node.seal(&[ana.register()]).await;
    let mut slot = 0;
    let failed = loop {
        let events: Vec<_> = (0..1000).map(|next| ana.add(slot + next, u64::MAX / 2)).collect();
        slot += 1000;
        node.seal(&events).await;
        if let Err(failed) = node.projection.flush() {
            break failed;
        }
        assert!(slot < 1_000_000, "the disk never filled up");
    };
    assert_eq!(failed.0, "store_no_space", "{}", failed.1);
    assert!(node.projection.status().store_error.is_some());
    // Blocks are still folded and read, and what is not stored is found all the same.
    let event = ana.add(0, 1);
    let head = node.seal(std::slice::from_ref(&event)).await;
    assert_eq!(node.projection.receipt(&event.id()).unwrap().unwrap().header_hash, head.hash);
    assert!(head.state.tree(2).unwrap().get(slot_key(slot - 1).as_bytes()).is_some());

    disk.grow("200m");
    node.projection.flush().unwrap();
    assert_eq!(node.projection.status().stored_height, head.height());
    assert_eq!(node.projection.status().store_error, None);
    node.close().await;
    let node = open(&state, &log).await;
    assert_eq!(node.projection.head().hash, head.hash);
    assert_eq!(node.projection.status().events_folded, 0);
    node.close().await;
}
