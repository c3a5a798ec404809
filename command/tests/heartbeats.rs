//! Block time stands still without blocks: what is due is handled all the same, and nothing else makes a block.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chaoschain_command::{Clock, CommandOptions, CommandService, Peer};
use chaoschain_events::attest::{Board, LocalBoard, sign_attestation};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_projector::{Head, Projection, ProjectionOptions};
use chaoschain_schemas::{ATTESTATION_VERSION, Attestation, Hash, Height, Sequence, Timestamp};
use chaoschain_state::BaseView;
use chaoschain_state::domain::Machine;
use support::alarms::{ALARMS, RINGS_MAX, Rung, set};
use support::{DAY, Fate, START, Scripted, Stopped, genesis_of, options, producer};

const HOUR: u64 = DAY / 24;

fn after(micros: u64) -> Timestamp {
    Timestamp(START.0 + micros)
}

/// One service on the chain of alarms, whose clock is the test's.
struct Node {
    service: CommandService,
    projection: Projection,
    log: Arc<Scripted>,
    clock: Stopped,
    rung: Rung,
    dir: tempfile::TempDir,
}

async fn open(dir: &std::path::Path, log: Arc<dyn EventLog>) -> (Projection, Rung) {
    let (machine, rung): (Arc<dyn Machine>, _) = (Arc::new(ALARMS), Rung::default());
    let models: Vec<Box<dyn chaoschain_state::domain::ReadModel>> = vec![Box::new(rung.clone())];
    let projection =
        Projection::open(ProjectionOptions::new(dir), machine, log, models, &|_| {}).await.unwrap();
    projection.start().unwrap();
    (projection, rung)
}

async fn new_log(dir: &std::path::Path) -> Arc<dyn EventLog> {
    let log = EmbeddedLog::open(dir.join("log"), EmbeddedOptions::default()).unwrap();
    log.append(Sequence(0), genesis_of(&ALARMS).1).await.unwrap();
    Arc::new(log)
}

async fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Scripted::new(new_log(dir.path()).await, []));
    let (projection, rung) = open(&dir.path().join("state"), log.clone()).await;
    let clock = Stopped::default();
    let options = CommandOptions { clock: clock.clock(), ..options() };
    let service = CommandService::start(projection.clone(), producer(1), options).unwrap();
    Node { service, projection, log, clock, rung, dir }
}

impl Node {
    async fn set(&self, number: u16, nonce: u64, at: Timestamp, count: u32) -> Height {
        self.service.submit(set(number, nonce, at, count), Peer::Local).await.unwrap().height
    }

    fn appends(&self) -> u64 {
        self.log.appends.load(Ordering::SeqCst)
    }

    /// What has rung, by height, once all `count` have.
    async fn rung(&self, count: usize) -> Vec<(Height, usize)> {
        loop {
            let rung = self.rung.0.lock().unwrap().clone();
            if rung.iter().map(|(_, count)| *count).sum::<usize>() == count {
                return rung;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn shut_down(self) {
        self.service.shut_down().await;
        self.projection.close();
    }
}

/// Waits until nothing is due any more; the head there.
async fn nothing_due(projection: &Projection) -> Arc<Head> {
    let mut heads = projection.subscribe();
    let none = |head: &Arc<Head>| ALARMS.next_due(&BaseView::new(&*head.state)).is_none();
    heads.wait_for(none).await.unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_handled_without_events() {
    let node = node().await;
    assert_eq!(node.set(1, 0, after(HOUR), 1).await, Height(1));
    node.clock.set(after(HOUR + 5));
    let head = nothing_due(&node.projection).await;
    assert_eq!((head.height(), head.header.event_count), (Height(2), 0));
    assert_eq!(head.header.timestamp, after(HOUR + 5));
    // The answer to the log's own word may still be on its way.
    while node.service.status().blocks < 2 {
        tokio::task::yield_now().await;
    }
    let status = node.service.status();
    assert_eq!((status.blocks, status.heartbeats, status.catch_up_blocks), (2, 1, 0));
    node.shut_down().await;
}

/// With a block for each of them, a thousand things that become due within a minute would be a thousand blocks.
#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_due_one_by_one_is_gathered() {
    const SCATTERED: u64 = 4;
    let node = node().await;
    for nth in 0..=SCATTERED {
        node.set(1, nth, after(HOUR + nth), 1).await;
    }
    let begun = std::time::Instant::now();
    node.clock.set(after(HOUR));
    let mut heads = node.projection.subscribe();
    let first =
        heads.wait_for(|head| head.header.event_count == 0 && head.height().0 > 0).await.unwrap().height();
    for nth in 1..=SCATTERED {
        node.clock.set(after(HOUR + nth));
    }
    let head = nothing_due(&node.projection).await;
    assert_eq!(node.rung(1 + SCATTERED as usize).await, [(first, 1), (head.height(), SCATTERED as usize)]);
    assert_eq!(head.height(), first.next());
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    node.shut_down().await;
}

/// A step of block time is a day at most, so far away takes several blocks; no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn block_time_goes_as_far_as_something_is_due_and_no_further() {
    let node = node().await;
    node.set(1, 0, after(10 * DAY), 1).await;
    node.clock.set(after(300 * DAY));
    let head = nothing_due(&node.projection).await;
    assert_eq!((head.height(), head.header.timestamp), (Height(11), after(10 * DAY + 1)));
    while node.service.status().blocks < 11 {
        tokio::task::yield_now().await;
    }
    let status = node.service.status();
    assert_eq!((status.heartbeats, status.due_lag_us), (10, 0));
    assert_eq!(status.block_time_lag_us, 290 * DAY - 1);
    // Nobody needs block time to come closer to the clock.
    let appends = node.appends();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(node.appends(), appends);
    node.shut_down().await;
}

/// An idle chain writes nothing, however far the clock has gone, and neither does one that waits.
#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_is_due_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Scripted::new(new_log(dir.path()).await, []));
    let (projection, _) = open(&dir.path().join("state"), log.clone()).await;
    let clock = Stopped::default();
    let looks = Arc::new(AtomicU64::new(0));
    let (time, count) = (clock.clock(), Arc::clone(&looks));
    let counting = Clock::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        time.now()
    });
    let service = CommandService::start(
        projection.clone(),
        producer(1),
        CommandOptions { clock: counting, ..options() },
    )
    .unwrap();
    let appends = || log.appends.load(Ordering::SeqCst);
    // Nobody looks at the clock while nothing waits for it.
    clock.set(after(DAY));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((looks.load(Ordering::SeqCst), appends()), (0, 0));
    clock.set(after(1));
    service.submit(set(1, 0, after(HOUR), 1), Peer::Local).await.unwrap();
    clock.set(after(HOUR - 1));
    let before = (looks.load(Ordering::SeqCst), appends());
    while looks.load(Ordering::SeqCst) < before.0 + 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(appends(), before.1);
    assert_eq!(service.status().due_lag_us, 0);
    clock.set(after(HOUR));
    nothing_due(&projection).await;
    service.shut_down().await;
    projection.close();
}

/// A block handles a share of what is due; events that come meanwhile are neither kept waiting nor left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_in_pieces_while_events_go_on() {
    const ALARMS: u32 = 90;
    const LATER: u64 = 20;
    let node = node().await;
    node.set(1, 0, after(30_000_000), ALARMS).await;
    node.clock.set(after(30_000_000));
    let mut heights = Vec::new();
    for nonce in 1..=LATER {
        heights.push(node.set(1, nonce, after(HOUR), 0).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let head = nothing_due(&node.projection).await;
    let rung = node.rung(ALARMS as usize).await;
    let shares = (ALARMS as usize).div_ceil(RINGS_MAX);
    assert_eq!(rung.len(), shares);
    assert!(rung.iter().all(|(_, count)| *count <= RINGS_MAX), "{rung:?}");
    // Blocks with events did their share as well, so as many fewer were empty.
    let joint = heights.iter().filter(|height| rung.iter().any(|(at, _)| at == *height)).count();
    assert!(joint > 0, "{heights:?} {rung:?}");
    assert_eq!(head.height().0, LATER + 1 + (shares - joint) as u64);
    node.shut_down().await;
}

/// What the log does to a block of no events is what it does to any.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_trouble_only_delays_it() {
    let node = node().await;
    node.set(1, 0, after(HOUR), 17).await;
    node.log.script([
        Fate::NoSpace,
        Fate::UnclearLost,
        Fate::Pass,
        Fate::UnclearLanded,
        Fate::Beaten,
        Fate::NoSpace,
        Fate::Pass,
    ]);
    node.clock.set(after(HOUR));
    nothing_due(&node.projection).await;
    let rung: Vec<_> = node.rung(17).await.iter().map(|(_, count)| *count).collect();
    assert_eq!(rung, [4, 4, 4, 4, 1]);
    assert_eq!(node.service.status().tip_lost, 2);
    node.shut_down().await;
}

/// Any one of several services will do: no block is sealed for nothing, and none waits for who is gone.
#[tokio::test(flavor = "multi_thread")]
async fn several_services_do_it_once_and_stand_in_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = new_log(dir.path()).await;
    let clock = Stopped::default();
    let mut nodes = Vec::new();
    for number in [1, 2] {
        let (projection, _) = open(&dir.path().join(number.to_string()), Arc::clone(&log)).await;
        let options = CommandOptions { clock: clock.clock(), ..options() };
        let service = CommandService::start(projection.clone(), producer(number), options).unwrap();
        nodes.push((service, projection));
    }
    let [one, two] = [&nodes[0], &nodes[1]];
    for (nonce, at) in [(0, HOUR), (1, 2 * HOUR)] {
        one.0.submit(set(1, nonce, after(at), 10), Peer::Local).await.unwrap();
    }
    clock.set(after(HOUR));
    let shares = 10_u64.div_ceil(RINGS_MAX as u64);
    for (_, projection) in &nodes {
        let mut heads = projection.subscribe();
        heads.wait_for(|head| head.height().0 >= 2 + shares).await.unwrap();
        let next = ALARMS.next_due(&BaseView::new(&*projection.head().state));
        assert_eq!((projection.head().height(), next), (Height(2 + shares), Some(after(2 * HOUR))));
    }
    // Whoever sealed the newest would go first, and is gone.
    let newest = one.1.head().header.producer;
    let (gone, left) = if newest == producer(1).account { (one, two) } else { (two, one) };
    gone.0.shut_down().await;
    clock.set(after(2 * HOUR));
    let head = nothing_due(&left.1).await;
    assert_eq!(head.height(), Height(2 + 2 * shares));
    assert_ne!(head.header.producer, newest);
    assert_eq!(log.tip().await.unwrap(), Sequence(3 + 2 * shares), "every message is a block");
    left.0.shut_down().await;
    for (_, projection) in &nodes {
        projection.close();
    }
}

/// Validators have attested blocks that the log does not have: nothing takes their place, also no block of no events.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_held_back_below_what_is_attested() {
    let node = node().await;
    node.set(1, 0, after(HOUR), 1).await;
    let board = Arc::new(LocalBoard::open(node.dir.path().join("board")).unwrap());
    node.projection.follow_board(board.clone());
    let (chain, two, version) = (genesis_of(&ALARMS).0, producer(2), ATTESTATION_VERSION);
    let (validator, header_hash) = (two.account, Hash::new([7; 32]));
    let attestation = Attestation { version, chain, validator, height: Height(9), header_hash };
    board.publish(sign_attestation(&attestation, &two.key)).await.unwrap();
    while node.projection.attestations().highest_attested() < Height(9) {
        tokio::task::yield_now().await;
    }
    let appends = node.appends();
    node.clock.set(after(HOUR));
    let stalled = loop {
        if let Some(stalled) = node.service.status().stalled {
            break stalled;
        }
        tokio::task::yield_now().await;
    };
    assert!(stalled.contains("attested block 9"), "{stalled}");
    assert_eq!(node.appends(), appends);
    node.shut_down().await;
}
