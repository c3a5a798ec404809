//! A service that knows only older rules: it keeps out what would stop it, and where others have let it in, it stops there.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;

use chaoschain_command::{CommandService, DryRun, Peer};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog};
use chaoschain_projector::{Condition, Projection, ProjectionOptions};
use chaoschain_schemas::{Height, Sequence, Timestamp};
use chaoschain_state::domain::Machine;
use support::alarms::{ALARMS, AlarmsOf, move_to, set};
use support::{START, genesis_of, options, producer};

async fn service(
    dir: &Path,
    log: &Arc<dyn EventLog>,
    machine: Arc<dyn Machine>,
    number: u16,
) -> (CommandService, Projection) {
    let opened = Projection::open(ProjectionOptions::new(dir), machine, Arc::clone(log), Vec::new(), &|_| {});
    let projection = opened.await.unwrap();
    projection.start().unwrap();
    (CommandService::start(projection.clone(), producer(number), options()).unwrap(), projection)
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_a_service_does_not_know_are_not_let_in_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path().join("log"), EmbeddedOptions::default()).unwrap();
    log.append(Sequence(0), genesis_of(&ALARMS).1).await.unwrap();
    let log: Arc<dyn EventLog> = Arc::new(log);
    let (older, at_older) = service(&dir.path().join("older"), &log, Arc::new(ALARMS), 1).await;

    let change = move_to(2, Height(3), 0);
    let refused = older.submit(change.clone(), Peer::Local).await.unwrap_err();
    assert_eq!((refused.code(), refused.http_status(), refused.retry_after()), ("rules_unknown", 503, None));
    assert_eq!(older.dry_run(change.clone(), Peer::Local).await, Err(refused));
    assert_eq!(log.tip().await.unwrap(), Sequence(1));
    // That the version is not the next is for the rules to say, where it is one that is known.
    let again = older.submit(move_to(1, Height(3), 0), Peer::Local).await.unwrap_err();
    assert_eq!(again.http_status(), 422, "{again}");

    // A newer one lets it in; then it is history, and the older one has the receipt like everybody.
    let (newer, at_newer) = service(&dir.path().join("newer"), &log, Arc::new(AlarmsOf::<2>), 2).await;
    let receipt = newer.submit(change.clone(), Peer::Local).await.unwrap();
    assert_eq!(receipt.height, Height(1));
    at_older.subscribe().wait_for(|head| head.height() >= Height(1)).await.unwrap();
    assert_eq!(older.submit(change.clone(), Peer::Local).await, Ok(receipt));
    assert_eq!(older.dry_run(change, Peer::Local).await, Ok(DryRun::Accepted(receipt)));

    // Up to that height they work together; from there on the newer one goes on alone.
    let later = Timestamp(START.0 + 3_600_000_000);
    assert_eq!(older.submit(set(1, 0, later, 0), Peer::Local).await.unwrap().height, Height(2));
    let refused = older.submit(set(1, 1, later, 0), Peer::Local).await.unwrap_err();
    assert_eq!(refused.code(), "rules_unknown", "{refused}");
    assert_eq!(newer.submit(set(1, 1, later, 0), Peer::Local).await.unwrap().height, Height(3));
    let stopped = |condition: &Condition| matches!(condition, Condition::Degraded { .. });
    while !stopped(&at_older.condition()) {
        tokio::task::yield_now().await;
    }
    let Condition::Degraded { code, .. } = at_older.condition() else { unreachable!("it has just stopped") };
    assert_eq!((code.as_str(), at_older.head().height()), ("rules_unknown", Height(2)));
    let refused = older.submit(set(2, 0, later, 0), Peer::Local).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry_after()), ("rules_unknown", None));
    assert_eq!(at_newer.head().header.rules, 2);

    for (service, projection) in [(older, at_older), (newer, at_newer)] {
        service.shut_down().await;
        tokio::task::spawn_blocking(move || projection.close()).await.unwrap();
    }
}
