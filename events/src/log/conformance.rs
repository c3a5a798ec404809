//! What every home of the log has to do, as a suite that any home is run through.
//!
//! Each check takes a fresh log. A home's own test calls [`run`] (or the checks one by one) with its [`Home`].

use std::sync::Arc;

use bytes::Bytes;
use chaoschain_schemas::Sequence;
use futures::future::{BoxFuture, join_all};

use super::{AppendError, Entry, EventLog, LogError, ReadLimits, Subscription};

/// A place where logs are made for the suite.
pub trait Home: Sync {
    /// Opens a log that nothing was appended to yet.
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn EventLog>>;

    /// Closes `log` and opens it again, as a restart would.
    fn reopen(&self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Arc<dyn EventLog>>;

    /// Opens what a crash of its process would leave of `log`, without closing it first.
    fn crash(&self, log: Arc<dyn EventLog>) -> BoxFuture<'_, Arc<dyn EventLog>>;

    /// Whether a reader may be served by somebody who has not heard yet of what was acknowledged to others.
    fn readers_may_lag(&self) -> bool {
        false
    }
}

/// Runs the whole suite; panics where the contract is not kept.
pub async fn run(home: &dyn Home) {
    empty_log(home.fresh().await).await;
    appends_are_numbered_from_one(home.fresh().await).await;
    a_wrong_tip_is_refused(home.fresh().await).await;
    one_of_two_wins_each_position(home.fresh().await).await;
    pipelined_appends_take_effect_in_order(home.fresh().await).await;
    a_failed_append_fails_those_behind_it(home.fresh().await).await;
    a_retry_finds_its_bytes_by_reading_back(home.fresh().await).await;
    a_dropped_future_does_not_withdraw_the_append(home.fresh().await).await;
    sizes(home.fresh().await).await;
    messages_that_are_no_blocks_are_kept(home).await;
    reads_keep_to_their_limits(home.fresh().await).await;
    follow_goes_from_old_to_live(home.fresh().await).await;
    follow_waits_beyond_the_tip(home.fresh().await).await;
    a_dropped_next_batch_loses_nothing(home.fresh().await).await;
    many_readers_see_the_same(home.fresh().await).await;
    restart_keeps_everything(home).await;
    a_crash_keeps_what_was_acknowledged(home).await;
    compaction_drops_a_prefix(home).await;
    closing_ends_everything(home.fresh().await).await;
}

fn message(n: u64) -> Bytes {
    // Of varying length, the empty one included.
    let text = format!("message {n} ");
    text.repeat((n % 7) as usize).into()
}

const ALL: ReadLimits = ReadLimits { messages: usize::MAX, bytes: usize::MAX };

async fn fill(log: &dyn EventLog, messages: u64) {
    let tip = log.tip().await.expect("tip").0;
    let appends = (tip..tip + messages).map(|at| (at, log.append(Sequence(at), message(at + 1))));
    let mut under_way: Vec<_> = Vec::new();
    for (at, append) in appends {
        under_way.push((at, append));
        if under_way.len() == 100 {
            settle(&mut under_way).await;
        }
    }
    settle(&mut under_way).await;
}

type UnderWay = Vec<(u64, BoxFuture<'static, Result<Sequence, AppendError>>)>;

async fn settle(under_way: &mut UnderWay) {
    for (at, append) in under_way.drain(..) {
        assert_eq!(append.await, Ok(Sequence(at + 1)));
    }
}

fn expect_messages(entries: &[Entry], sequences: std::ops::RangeInclusive<u64>) {
    let got: Vec<_> = entries.iter().map(|entry| entry.sequence.0).collect();
    assert_eq!(got, sequences.collect::<Vec<_>>());
    for entry in entries {
        assert_eq!(entry.message, message(entry.sequence.0), "at {}", entry.sequence);
    }
}

/// Everything from `from` to the tip: one read may bring only a part of it.
///
/// # Errors
/// As [`EventLog::read`].
pub async fn read_on(log: &dyn EventLog, from: Sequence) -> Result<Vec<Entry>, LogError> {
    let mut entries = Vec::new();
    let mut next = from;
    loop {
        let part = log.read(next, ALL).await?;
        let Some(last) = part.last() else { return Ok(entries) };
        next = last.sequence.next();
        entries.extend(part);
    }
}

async fn rest(log: &dyn EventLog, from: Sequence) -> Vec<Entry> {
    read_on(log, from).await.expect("read")
}

async fn take(subscription: &mut dyn Subscription, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        let batch = subscription.next_batch().await.expect("next batch");
        assert!(!batch.is_empty(), "a batch holds at least one message");
        entries.extend(batch);
    }
    entries
}

async fn empty_log(log: Arc<dyn EventLog>) {
    assert_eq!(log.tip().await.expect("tip"), Sequence(0));
    assert_eq!(log.first().await.expect("first"), Sequence(1));
    for from in [0, 1, 2, 1000] {
        assert_eq!(log.read(Sequence(from), ALL).await.expect("read"), []);
    }
    assert_eq!(log.compact(Sequence(0)).await.expect("compact"), Sequence(1));
    assert_eq!(log.compact(Sequence(1)).await.expect("compact"), Sequence(1));
    assert!(matches!(log.compact(Sequence(2)).await, Err(LogError::BeyondTip { tip: Sequence(0) })));
    assert!(!log.description().is_empty());
}

async fn appends_are_numbered_from_one(log: Arc<dyn EventLog>) {
    for at in 0..20 {
        assert_eq!(log.append(Sequence(at), message(at + 1)).await, Ok(Sequence(at + 1)));
        assert_eq!(log.tip().await.expect("tip"), Sequence(at + 1));
    }
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=20);
    expect_messages(&rest(&*log, Sequence(0)).await, 1..=20);
    expect_messages(&rest(&*log, Sequence(13)).await, 13..=20);
    assert_eq!(log.read(Sequence(21), ALL).await.expect("read"), []);
}

async fn a_wrong_tip_is_refused(log: Arc<dyn EventLog>) {
    fill(&*log, 3).await;
    for wrong in [0, 2, 4, u64::MAX] {
        let refused = log.append(Sequence(wrong), message(9)).await;
        assert_eq!(refused, Err(AppendError::TipMoved { tip: Sequence(3) }), "expected tip {wrong}");
    }
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=3);
}

async fn one_of_two_wins_each_position(log: Arc<dyn EventLog>) {
    for at in 0..50 {
        let rivals = ["a", "b"].map(|name| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.append(Sequence(at), format!("{name}{at}").into()).await })
        });
        let outcomes = join_all(rivals).await.into_iter().map(|outcome| outcome.expect("no panic"));
        let outcomes: Vec<_> = outcomes.collect();
        let won: Vec<_> = outcomes.iter().filter(|outcome| **outcome == Ok(Sequence(at + 1))).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let moved = Err(AppendError::TipMoved { tip: Sequence(at + 1) });
        assert!(outcomes.contains(&moved), "{outcomes:?}");
        let winner = if outcomes[0].is_ok() { "a" } else { "b" };
        let there = log.read(Sequence(at + 1), ALL).await.expect("read");
        assert_eq!(there[0].message, format!("{winner}{at}"));
    }
}

async fn pipelined_appends_take_effect_in_order(log: Arc<dyn EventLog>) {
    let appends: Vec<_> = (0..50).map(|at| log.append(Sequence(at), message(at + 1))).collect();
    let outcomes = join_all(appends).await;
    assert_eq!(outcomes, (1..=50).map(|at| Ok(Sequence(at))).collect::<Vec<_>>());
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=50);
}

async fn a_failed_append_fails_those_behind_it(log: Arc<dyn EventLog>) {
    fill(&*log, 2).await;
    // The first loses its position to what is there already; the others were built upon it.
    let appends: Vec<_> = [1, 3, 4].map(|at| log.append(Sequence(at), message(99))).into();
    for outcome in join_all(appends).await {
        assert_eq!(outcome, Err(AppendError::TipMoved { tip: Sequence(2) }));
    }
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=2);
}

async fn a_retry_finds_its_bytes_by_reading_back(log: Arc<dyn EventLog>) {
    fill(&*log, 1).await;
    assert_eq!(log.append(Sequence(1), message(2)).await, Ok(Sequence(2)));
    // The same again, as after an answer that was lost.
    let again = log.append(Sequence(1), message(2)).await;
    assert_eq!(again, Err(AppendError::TipMoved { tip: Sequence(2) }));
    expect_messages(&rest(&*log, Sequence(2)).await, 2..=2);
    assert_eq!(log.tip().await.expect("tip"), Sequence(2), "the bytes are there once");
    // Equal bytes at the next position are another message.
    assert_eq!(log.append(Sequence(2), message(2)).await, Ok(Sequence(3)));
}

async fn a_dropped_future_does_not_withdraw_the_append(log: Arc<dyn EventLog>) {
    drop(log.append(Sequence(0), message(1)));
    let second = log.append(Sequence(1), message(2)).await;
    assert_eq!(second, Ok(Sequence(2)));
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=2);
}

async fn sizes(log: Arc<dyn EventLog>) {
    let max = log.message_bytes_max();
    let refused = log.append(Sequence(0), vec![7; max + 1].into()).await;
    assert_eq!(refused, Err(AppendError::TooLarge { bytes: max + 1, max }));
    let messages = [vec![], vec![8; max], vec![9], vec![10; max]];
    for (at, message) in messages.iter().enumerate() {
        let appended = log.append(Sequence(at as u64), message.clone().into()).await;
        assert_eq!(appended, Ok(Sequence(at as u64 + 1)));
    }
    let there = rest(&*log, Sequence(1)).await;
    assert!(there.iter().map(|entry| &entry.message[..]).eq(messages.iter().map(|message| &message[..])));
}

/// What a message means is for others to judge; the log neither refuses nor mends it.
async fn messages_that_are_no_blocks_are_kept(home: &dyn Home) {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let messages: [&[u8]; 9] = [
        b"",
        b"\0",
        &[0; 300],
        &[0xff; 300],
        b"not a block\r\n\r\n",
        // MessagePack: nothing at all, an array that is cut off, a map where a block would be an array.
        b"\xc0",
        b"\x93\x01",
        b"\x81\xa1a\x01",
        &every_byte,
    ];
    let log = home.fresh().await;
    for (at, message) in messages.iter().enumerate() {
        let appended = log.append(Sequence(at as u64), Bytes::copy_from_slice(message)).await;
        assert_eq!(appended, Ok(Sequence(at as u64 + 1)), "{message:?}");
    }
    let expect = |entries: &[Entry]| {
        let got = entries.iter().map(|entry| (entry.sequence.0, &entry.message[..]));
        assert!(got.eq((1..).zip(messages)), "{entries:?}");
    };
    expect(&rest(&*log, Sequence(1)).await);
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.expect("follow");
    expect(&take(&mut *subscription, messages.len()).await);
    let log = home.reopen(log).await;
    expect(&rest(&*log, Sequence(1)).await);
}

async fn reads_keep_to_their_limits(log: Arc<dyn EventLog>) {
    for at in 0..10 {
        log.append(Sequence(at), vec![1; 1000].into()).await.expect("append");
    }
    for (messages, bytes, got) in [
        (3, usize::MAX, 3),
        (0, usize::MAX, 1),
        (100, 3000, 3),
        (100, 3999, 3),
        (100, 0, 1),
        (100, 10_000, 10),
    ] {
        let limits = ReadLimits { messages, bytes };
        let there = log.read(Sequence(1), limits).await.expect("read");
        assert_eq!(there.len(), got, "{limits:?}");
        let mut subscription = log.follow(Sequence(1), limits).await.expect("follow");
        // A reader may be handed a part, where the rest takes long.
        let batch = subscription.next_batch().await.expect("batch");
        assert!((1..=got).contains(&batch.len()), "{limits:?}: {}", batch.len());
    }
}

async fn follow_goes_from_old_to_live(log: Arc<dyn EventLog>) {
    fill(&*log, 150).await;
    let limits = ReadLimits { messages: 32, bytes: 4096 };
    let mut subscription = log.follow(Sequence(70), limits).await.expect("follow");
    let reader = tokio::spawn(async move { take(&mut *subscription, 231).await });
    fill(&*log, 150).await;
    expect_messages(&reader.await.expect("no panic"), 70..=300);
}

async fn follow_waits_beyond_the_tip(log: Arc<dyn EventLog>) {
    let mut subscription = log.follow(Sequence(3), ReadLimits::default()).await.expect("follow");
    fill(&*log, 2).await;
    assert!(futures::poll!(subscription.next_batch()).is_pending(), "3 was not appended yet");
    fill(&*log, 1).await;
    expect_messages(&take(&mut *subscription, 1).await, 3..=3);
}

async fn a_dropped_next_batch_loses_nothing(log: Arc<dyn EventLog>) {
    fill(&*log, 40).await;
    let limits = ReadLimits { messages: 10, bytes: usize::MAX };
    let mut subscription = log.follow(Sequence(1), limits).await.expect("follow");
    let mut seen = Vec::new();
    while seen.len() < 40 {
        // Given up at once, whatever it had begun; if it was ready all the same, it counts.
        if let std::task::Poll::Ready(batch) = futures::poll!(subscription.next_batch()) {
            seen.extend(batch.expect("batch"));
        }
        if seen.len() < 40 {
            seen.extend(subscription.next_batch().await.expect("batch"));
        }
    }
    expect_messages(&seen, 1..=40);
}

async fn many_readers_see_the_same(log: Arc<dyn EventLog>) {
    let readers: Vec<_> = (0..8)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let limits = ReadLimits { messages: 1 + n, bytes: 1 << (n + 4) };
                let mut subscription = log.follow(Sequence(1), limits).await.expect("follow");
                take(&mut *subscription, 400).await
            })
        })
        .collect();
    fill(&*log, 400).await;
    for reader in readers {
        let seen = reader.await.expect("no panic");
        expect_messages(&seen[..400], 1..=400);
    }
}

async fn restart_keeps_everything(home: &dyn Home) {
    let log = home.fresh().await;
    fill(&*log, 120).await;
    let log = home.reopen(log).await;
    assert_eq!(log.tip().await.expect("tip"), Sequence(120));
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=120);
    // A follower goes on where it was before the restart, and sees what comes after.
    let mut subscription = log.follow(Sequence(101), ReadLimits::default()).await.expect("follow");
    fill(&*log, 30).await;
    expect_messages(&take(&mut *subscription, 50).await, 101..=150);
    let refused = log.append(Sequence(120), message(0)).await;
    assert_eq!(refused, Err(AppendError::TipMoved { tip: Sequence(150) }));
}

async fn a_crash_keeps_what_was_acknowledged(home: &dyn Home) {
    let mut log = home.fresh().await;
    for acknowledged in [1, 90, 180] {
        let tip = log.tip().await.expect("tip").0;
        fill(&*log, acknowledged - tip).await;
        log = home.crash(log).await;
        assert_eq!(log.tip().await.expect("tip"), Sequence(acknowledged));
        expect_messages(&rest(&*log, Sequence(1)).await, 1..=acknowledged);
    }
    // It goes on, and what goes on is kept as well.
    let mut subscription = log.follow(Sequence(171), ReadLimits::default()).await.expect("follow");
    fill(&*log, 20).await;
    expect_messages(&take(&mut *subscription, 30).await, 171..=200);
    let log = home.reopen(log).await;
    expect_messages(&rest(&*log, Sequence(1)).await, 1..=200);
}

async fn compaction_drops_a_prefix(home: &dyn Home) {
    let log = home.fresh().await;
    fill(&*log, 200).await;
    assert!(matches!(log.compact(Sequence(202)).await, Err(LogError::BeyondTip { tip: Sequence(200) })));
    let first = log.compact(Sequence(150)).await.expect("compact");
    assert!(first <= Sequence(150), "no more was dropped than asked");
    assert!(first > Sequence(1), "something was dropped");
    let log = home.reopen(log).await;
    assert_eq!(log.first().await.expect("first"), first, "compaction outlives a restart");
    assert_eq!(log.tip().await.expect("tip"), Sequence(200), "the tip stays");
    expect_messages(&rest(&*log, first).await, first.0..=200);
    for gone in [0, 1, first.0 - 1] {
        let read = log.read(Sequence(gone), ALL).await;
        assert!(matches!(read, Err(LogError::Compacted { first: f }) if f == first), "{gone}: {read:?}");
        let follow = log.follow(Sequence(gone), ALL).await;
        assert!(matches!(follow, Err(LogError::Compacted { first: f }) if f == first), "{gone}");
    }
    // A reader that was overtaken is told so; one that lags may have everything before it hears of it.
    let mut overtaken =
        log.follow(first, ReadLimits { messages: 1, bytes: usize::MAX }).await.expect("follow");
    assert_eq!(overtaken.next_batch().await.expect("batch")[0].sequence, first);
    assert_eq!(log.compact(Sequence(201)).await.expect("compact"), Sequence(201), "all can go");
    let mut next = first.next();
    while next <= Sequence(200) {
        match overtaken.next_batch().await {
            Ok(batch) if home.readers_may_lag() => {
                assert_eq!(batch.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [next]);
                next = next.next();
            }
            told => {
                assert!(matches!(told, Err(LogError::Compacted { first: Sequence(201) })), "{told:?}");
                break;
            }
        }
    }
    let log = home.reopen(log).await;
    assert_eq!(log.tip().await.expect("tip"), Sequence(200));
    assert_eq!(log.first().await.expect("first"), Sequence(201));
    assert_eq!(log.read(Sequence(201), ALL).await.expect("read"), []);
    fill(&*log, 2).await;
    expect_messages(&rest(&*log, Sequence(201)).await, 201..=202);
}

async fn closing_ends_everything(log: Arc<dyn EventLog>) {
    fill(&*log, 1).await;
    let mut subscription = log.follow(Sequence(2), ALL).await.expect("follow");
    let waiting = tokio::spawn(async move { subscription.next_batch().await });
    let last = log.append(Sequence(1), message(2));
    log.close().await;
    assert_eq!(last.await, Ok(Sequence(2)), "what was under way is finished");
    log.close().await;
    // The follower may have seen the last message before the end.
    let ended = waiting.await.expect("no panic");
    assert!(matches!(&ended, Err(LogError::Closed)) || ended.is_ok_and(|batch| batch.len() == 1));
    assert_eq!(log.append(Sequence(2), message(3)).await, Err(AppendError::Closed));
    assert!(matches!(log.tip().await, Err(LogError::Closed)));
    assert!(matches!(log.first().await, Err(LogError::Closed)));
    assert!(matches!(log.read(Sequence(1), ALL).await, Err(LogError::Closed)));
    assert!(matches!(log.follow(Sequence(1), ALL).await, Err(LogError::Closed)));
    assert!(matches!(log.compact(Sequence(1)).await, Err(LogError::Closed)));
}
