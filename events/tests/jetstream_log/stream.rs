//! The stream itself: made, compared, purged, deleted and made anew under readers.

use std::fs;

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use chaoschain_events::log::{EventLog, JetStreamOptions, LogError, ReadLimits};
use chaoschain_events::nats::Subjects;
use chaoschain_schemas::Sequence;
use chaoschain_test_support::nats::Server;

use crate::support::*;

#[tokio::test]
async fn a_stream_that_was_made_is_opened_again_by_anyone() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let first = open(&server.url(), chain).await;
    let second = open(&server.url(), chain).await;
    fill(&*first, 1).await;
    assert_eq!(contents(&*second).await, filled(1..=1));
    let info = raw_stream(first.nats(), chain).await.get_info().await.unwrap();
    assert_eq!(info.config.description.as_deref(), Some("Blocks of the chain test"));
    assert_eq!(info.config.discard, DiscardPolicy::New);
    assert_eq!(info.config.storage, StorageType::File);
    assert_eq!(info.state.consumer_count, 0, "readers leave nothing behind");
    assert_eq!(first.warnings().len(), 1, "{:?}", first.warnings());
    let unknown = JetStreamOptions { fsync_always: false, ..options(chain) };
    let third = chaoschain_events::log::JetStreamLog::open(nats(&server.url()).await, unknown).await.unwrap();
    assert_eq!(
        third.warnings(),
        [
            "it is on one server alone, with whose disk it is lost; for what matters use a cluster and 3 replicas",
            "a power cut may lose acknowledged blocks, unless the jetstream block of every server says \
             `sync_interval: always`, which cannot be seen from here",
        ]
    );
}

#[tokio::test]
async fn what_could_lose_blocks_is_refused_in_a_table() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let nats = nats(&server.url()).await;
    let subjects = Subjects::of(chain);
    let config = Config {
        name: subjects.log_stream(),
        subjects: vec![subjects.block(), format!("{}.more", subjects.block())],
        storage: StorageType::Memory,
        max_age: std::time::Duration::from_hours(1),
        max_messages_per_subject: 10,
        max_message_size: 1000,
        allow_rollup: true,
        no_ack: true,
        ..Config::default()
    };
    nats.jetstream().create_stream(config).await.unwrap();
    let error = refused(&server.url(), options(chain)).await;
    assert_eq!(error.code(), "stream_foreign_config");
    let text = error.to_string().replace(&chain.to_string(), "CHAIN");
    assert_eq!(
        text,
        "the stream chaoschain-CHAIN is not configured as a log has to be:
  setting               has     must be
  subjects              chaoschain.CHAIN.block, chaoschain.CHAIN.block.more  chaoschain.CHAIN.block
  storage               memory  file
  discard               old     new
  max_age               3600 s  unlimited
  max_msgs_per_subject  10      unlimited
  max_msg_size          1000    unlimited, or at least 922624
  no_ack                yes     no
  allow_rollup_hdrs     yes     no
change it with `nats stream edit chaoschain-CHAIN`; what cannot be edited needs a new stream"
    );
}

/// What only limits how much it takes loses nothing, where the newest is refused.
#[tokio::test]
async fn a_stream_with_a_quota_is_warned_about() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let nats = nats(&server.url()).await;
    let subjects = Subjects::of(chain);
    let config = Config {
        name: subjects.log_stream(),
        subjects: vec![subjects.block()],
        discard: DiscardPolicy::New,
        max_bytes: 1_000_000,
        deny_purge: true,
        ..Config::default()
    };
    nats.jetstream().create_stream(config).await.unwrap();
    let log = open(&server.url(), chain).await;
    let warnings = log.warnings().join("\n");
    assert!(warnings.contains("it does not allow purging"), "{warnings}");
    assert!(warnings.contains("it takes at most 1000000 bytes and any messages"), "{warnings}");
}

#[tokio::test]
async fn a_deleted_stream_is_not_taken_for_an_empty_one() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    fill(&*log, 3).await;
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    assert_eq!(take(&mut *subscription, 3).await, filled(1..=3));
    let other = nats(&server.url()).await;
    other.jetstream().delete_stream(Subjects::of(chain).log_stream()).await.unwrap();
    let refused = log.append(Sequence(3), message(4)).await.unwrap_err();
    assert_eq!(refused.code(), "log_unavailable", "{refused}");
    for error in [
        subscription.next_batch().await.unwrap_err(),
        log.tip().await.unwrap_err(),
        log.read(Sequence(1), ALL).await.unwrap_err(),
        log.read(Sequence(1), ReadLimits { messages: 1, ..ALL }).await.unwrap_err(),
        log.compact(Sequence(2)).await.unwrap_err(),
    ] {
        assert!(matches!(&error, LogError::Replaced { reason, .. } if reason == "it was deleted"), "{error}");
    }
}

#[tokio::test]
async fn a_stream_made_anew_is_not_read_on() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    fill(&*log, 2).await;
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    assert_eq!(take(&mut *subscription, 2).await, filled(1..=2));
    log.nats().jetstream().delete_stream(Subjects::of(chain).log_stream()).await.unwrap();
    let anew = open(&server.url(), chain).await;
    fill(&*anew, 5).await;
    let error = subscription.next_batch().await.unwrap_err();
    assert!(
        matches!(&error, LogError::Replaced { reason, .. } if reason.starts_with("it was made at 20")),
        "{error}"
    );
    assert_eq!(error.code(), "log_replaced");
    let text = error.to_string();
    assert!(text.ends_with("on a node that has the blocks), then start again"), "{text}");
}

/// As right after a stream of this name was deleted, while the server is still about its files. What is in the way here
/// the server removes itself once it has failed on it.
#[tokio::test]
async fn a_stream_whose_files_cannot_be_made_yet_is_waited_for() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let streams = server.store_dir().join("jetstream/$G/streams");
    fs::create_dir_all(&streams).unwrap();
    fs::write(streams.join(Subjects::of(chain).log_stream()), "in the way").unwrap();
    let log = open(&server.url(), chain).await;
    assert!(server.log().contains("Stream create failed"), "nothing was in the way: {}", server.log());
    fill(&*log, 1).await;
}

/// An operator's purge is a compaction by another hand: readers that were overtaken are told.
#[tokio::test]
async fn a_purge_by_others_is_a_compaction() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    fill(&*log, 20).await;
    let one = ReadLimits { messages: 1, ..ALL };
    let mut behind = log.follow(Sequence(1), one).await.unwrap();
    let mut ahead = log.follow(Sequence(15), one).await.unwrap();
    assert_eq!(take(&mut *behind, 1).await, filled(1..=1));
    assert_eq!(take(&mut *ahead, 1).await, filled(15..=15));
    raw_stream(log.nats(), chain).await.purge().sequence(11).await.unwrap();
    let error = behind.next_batch().await.unwrap_err();
    assert!(matches!(error, LogError::Compacted { first: Sequence(11) }), "{error}");
    let again = behind.next_batch().await.unwrap_err();
    assert!(matches!(again, LogError::Compacted { first: Sequence(11) }), "the place is kept: {again}");
    assert_eq!(take(&mut *ahead, 5).await, filled(16..=20));
    assert_eq!(log.first().await.unwrap(), Sequence(11));
}

/// Erased messages leave gaps, at the end as well; readers go over them.
#[tokio::test]
async fn erased_messages_are_gaps() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let log = open(&server.url(), chain).await;
    fill(&*log, 20).await;
    let stream = raw_stream(log.nats(), chain).await;
    for gone in [3, 4, 5, 19, 20] {
        stream.delete_message(gone).await.unwrap();
    }
    let mut left = filled(1..=18);
    left.retain(|(n, _)| ![3, 4, 5].contains(n));
    assert_eq!(contents(&*log).await, left);
    assert_eq!(log.tip().await.unwrap(), Sequence(20));
    // One by one, from within a gap, and where there is nothing left but the tip's number.
    let one = ReadLimits { messages: 1, ..ALL };
    assert_eq!(texts(&log.read(Sequence(4), one).await.unwrap()), filled(6..=6));
    assert_eq!(log.read(Sequence(19), one).await.unwrap(), []);
    assert_eq!(log.read(Sequence(19), ALL).await.unwrap(), []);
    let mut subscription = log.follow(Sequence(4), ReadLimits::default()).await.unwrap();
    assert_eq!(take(&mut *subscription, 13).await, filled(6..=18));
    let mut beyond = log.follow(Sequence(19), ReadLimits::default()).await.unwrap();
    let beyond = tokio::spawn(async move { take(&mut *beyond, 2).await });
    fill(&*log, 2).await;
    assert_eq!(beyond.await.unwrap(), filled(21..=22));
    assert_eq!(take(&mut *subscription, 2).await, filled(21..=22));
}
