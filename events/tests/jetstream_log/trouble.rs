//! Lost answers, late messages, servers that go away and leaders that change.

use std::sync::Arc;
use std::time::Duration;

use chaoschain_events::log::{AppendError, EventLog, JetStreamLog, JetStreamOptions, ReadLimits};
use chaoschain_events::nats::Subjects;
use chaoschain_schemas::Sequence;
use chaoschain_test_support::Proxy;
use chaoschain_test_support::nats::{Cluster, SERVERS, Server};

use crate::support::*;

/// The message arrived and its acknowledgement was lost: the log is asked, and the append has succeeded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_made_good_by_reading_back() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.address());
    let chain = new_chain();
    let (log, beside) = (open(&proxy.url(), chain).await, open(&server.url(), chain).await);
    let mut arrived = beside.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    proxy.drop_answers(true);
    let append = log.append(Sequence(0), message(1));
    assert_eq!(take(&mut *arrived, 1).await, filled(1..=1));
    // By the time that this has no answer, the other one is lost.
    assert_eq!(log.tip().await.unwrap_err().code(), "log_unavailable");
    proxy.drop_answers(false);
    assert_eq!(append.await, Ok(Sequence(1)));
    assert_eq!(log.status().appends_read_back, 1);
    assert_eq!(log.append(Sequence(1), message(2)).await, Ok(Sequence(2)), "and it goes on");
}

/// The message was lost on its way, and a rival's took its place: that is a lost race, not an open question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_may_turn_out_to_be_a_lost_place() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.address());
    let chain = new_chain();
    let (log, rival) = (open(&proxy.url(), chain).await, open(&server.url(), chain).await);
    rival.append(Sequence(0), "rival".into()).await.unwrap();
    proxy.drop_answers(true);
    let append = log.append(Sequence(0), message(1));
    // The refusal is lost as well: this has no answer either.
    assert_eq!(log.tip().await.unwrap_err().code(), "log_unavailable");
    rival.append(Sequence(1), "another".into()).await.unwrap();
    proxy.drop_answers(false);
    assert!(matches!(append.await, Err(AppendError::TipMoved { .. })));
    assert_eq!(log.status().appends_read_back, 1);
}

/// Nothing comes through for longer than anyone waits: unclear, and rightly so, as it lands in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_late_is_called_unclear_and_may_land() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.address());
    let chain = new_chain();
    let (log, beside) = (open(&proxy.url(), chain).await, open(&server.url(), chain).await);
    let mut arrived = beside.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    proxy.stall();
    let outcome = log.append(Sequence(0), message(1)).await;
    assert!(matches!(outcome, Err(AppendError::Unclear { expected_tip: Sequence(0), .. })), "{outcome:?}");
    proxy.flow();
    assert_eq!(take(&mut *arrived, 1).await, filled(1..=1));
    // The same bytes again: lost to themselves, as reading back shows.
    let again = log.append(Sequence(0), message(1)).await;
    assert_eq!(again, Err(AppendError::TipMoved { tip: Sequence(1) }));
    assert_eq!(contents(&*log).await, filled(1..=1));
}

/// Without a connection nothing is sent, so nothing is unclear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_appends_are_refused_and_readers_wait() {
    let Some(server) = Server::start() else { return };
    let log = open(&server.url(), new_chain()).await;
    fill(&*log, 5).await;
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    assert_eq!(take(&mut *subscription, 5).await, filled(1..=5));
    let mut link = log.nats().watch();
    server.kill();
    link.wait_for(|link| !link.connected).await.unwrap();
    let refused = log.append(Sequence(5), message(6)).await.unwrap_err();
    assert_eq!(refused.code(), "log_unavailable", "{refused}");
    assert_eq!(refused.to_string(), "the log cannot be written: there is no connection to the NATS server");
    assert_eq!(log.tip().await.unwrap_err().code(), "log_unavailable");
    assert!(!log.nats().state().connected);
    let reader = tokio::spawn(async move { take_patiently(&mut *subscription, 3).await });
    server.restart();
    link.wait_for(|link| link.connected).await.unwrap();
    fill(&*log, 3).await;
    assert_eq!(reader.await.unwrap(), filled(6..=8));
    let state = log.nats().state();
    assert!(state.connected && state.reconnects == 1, "{state:?}");
}

/// A consumer that goes on saying that it is there, and brings nothing of what there is: the leader is asked in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_stands_still_is_found_out() {
    let Some(server) = Server::start() else { return };
    let chain = new_chain();
    let (log, beside) = (open(&server.url(), chain).await, nats(&server.url()).await);
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    fill(&*log, 1).await;
    assert_eq!(take(&mut *subscription, 1).await, filled(1..=1));
    // A reader doubts less often the longer nothing comes, and this one has come as far with that as it gets.
    let idle = tokio::time::timeout(Duration::from_secs(5), subscription.next_batch()).await;
    assert!(idle.is_err(), "{idle:?}");
    let mut names = Vec::new();
    // One that was given up may still be there for a moment.
    eventually("there is one consumer", async || {
        let listed = raw_stream(&beside, chain).await.consumer_names();
        names = futures::StreamExt::collect::<Vec<_>>(listed).await;
        matches!(names[..], [Ok(_)])
    })
    .await;
    let [Ok(name)] = &names[..] else { panic!("{names:?}") };
    let remade = log.status().consumers_remade;
    let subject = format!("$JS.API.CONSUMER.PAUSE.{}.{name}", Subjects::of(chain).log_stream());
    let paused = beside.client().request(subject, r#"{"pause_until":"2200-01-01T00:00:00Z"}"#.into()).await;
    assert!(
        paused.unwrap().payload.windows(13).any(|text| text == b"\"paused\":true"),
        "it does not stand still"
    );
    fill(&*log, 1).await;
    let found = tokio::time::timeout(Duration::from_mins(1), take(&mut *subscription, 1)).await;
    assert_eq!(found, Ok(filled(2..=2)));
    assert!(log.status().consumers_remade > remade);
}

/// A server that was killed and forgot what it had acknowledged: noticed by whoever has seen it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_is_lost_is_noticed() {
    let Some(server) = Server::start() else { return };
    let log = open(&server.url(), new_chain()).await;
    fill(&*log, 3).await;
    server.stop();
    let saved = tempfile::tempdir().unwrap();
    copy(server.store_dir(), saved.path());
    eventually("the loss is noticed", async || !log.nats().is_connected()).await;
    server.restart();
    eventually("there is a connection again", async || log.nats().is_connected()).await;
    let mut subscription = log.follow(Sequence(4), ReadLimits::default()).await.unwrap();
    fill(&*log, 2).await;
    assert_eq!(take(&mut *subscription, 2).await, filled(4..=5));
    server.stop();
    std::fs::remove_dir_all(server.store_dir()).unwrap();
    copy(saved.path(), server.store_dir());
    server.restart();
    let error = loop {
        match subscription.next_batch().await {
            Err(error) if error.code() == "log_unavailable" => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(error.code(), "log_lost");
    assert_eq!(
        error.to_string(),
        "the log ends at 3, though 5 was seen: what it had acknowledged is lost. Restore its tail (`log restore` on a \
         node that has the blocks), then start again"
    );
    assert_eq!(log.tip().await.unwrap_err().code(), "log_lost");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A leader that is only starting knows too few servers for a moment, so that is not believed at once; in the end it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_waits_for_the_servers_that_are_to_keep_it() {
    let Some(cluster) = Cluster::start() else { return };
    let options = JetStreamOptions { replicas: 5, ..options(new_chain()) };
    let opening = tokio::spawn(JetStreamLog::open(nats(&cluster.urls()).await, options));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!opening.is_finished(), "it did not wait");
    let refused = opening.await.unwrap().unwrap_err().to_string();
    let hint =
        "(code 10005); the cluster has fewer usable servers than there are to be replicas, or they lack room";
    assert!(refused.ends_with(hint), "{refused}");
}

/// The servers that would have to agree on a consumer are gone, and the one that is left knows it: it refuses even to read
/// a message as a leader, and what it keeps is read all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_read_without_a_leader_of_leaders() {
    let Some(cluster) = Cluster::start() else { return };
    let chain = new_chain();
    let stream = Subjects::of(chain).log_stream();
    open(&cluster.urls(), chain).await;
    let keeper = cluster.leader_of(&stream);
    let log = open(&cluster.server(keeper).url(), chain).await;
    // More than are read one by one before a consumer is tried again.
    fill(&*log, 70).await;
    for other in (0..SERVERS).filter(|other| *other != keeper) {
        cluster.server(other).kill();
    }
    eventually("it refuses", async || {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let answer = log.nats().client().request(subject, r#"{"seq":1}"#.into()).await;
        answer.is_ok_and(|answer| answer.payload.windows(5).any(|text| text == b"10008"))
    })
    .await;
    let mut entries = Vec::new();
    while entries.len() < 70 {
        entries.extend(log.read(Sequence(1 + entries.len() as u64), ALL).await.unwrap());
    }
    assert_eq!(texts(&entries), filled(1..=70));
    // Whether there is more is for a leader to say: a reader is not told that it has everything.
    let mut subscription = log.follow(Sequence(70), ReadLimits::default()).await.unwrap();
    assert_eq!(take(&mut *subscription, 1).await, filled(70..=70));
    assert_eq!(subscription.next_batch().await.unwrap_err().code(), "log_unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leaders_come_and_go() {
    let Some(cluster) = Cluster::start() else { return };
    let chain = new_chain();
    let options = JetStreamOptions { replicas: 3, ..options(chain) };
    let log = Arc::new(JetStreamLog::open(nats(&cluster.urls()).await, options).await.unwrap());
    let stream = Subjects::of(chain).log_stream();
    let mut subscription = log.follow(Sequence(1), ReadLimits::default()).await.unwrap();
    let reader = tokio::spawn(async move { take_patiently(&mut *subscription, 90).await });
    let stepping_down = Arc::clone(&log);
    for n in 1..=90 {
        match n {
            // Asked to: nothing is lost, and a new one is elected at once.
            30 => {
                let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
                eventually("its leader steps down", async || {
                    let asked = stepping_down.nats().client().request(subject.clone(), "".into()).await;
                    asked.is_ok_and(|said| said.payload.windows(14).any(|text| text == b"\"success\":true"))
                })
                .await;
            }
            // Killed in the middle of it.
            60 => {
                let leader = cluster.leader_of(&stream);
                cluster.server(leader).kill();
            }
            _ => {}
        }
        append_somehow(&*log, n).await;
    }
    let seen = reader.await.unwrap();
    assert_eq!(seen, filled(1..=90));
    assert_eq!(contents_patiently(&*log).await, seen);
    let status = log.status();
    assert_eq!((status.appends_in_flight, status.replicas, status.tip_seen), (0, 3, 90));
}
