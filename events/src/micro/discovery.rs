//! `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`: how an instance is found and looked at.

use std::future::Future;
use std::sync::Arc;

use async_nats::datetime::{self, DateTime};
use async_nats::service::{Info, PingResponse, Stats as AllStats, endpoint};
use async_nats::{Client, Subscriber};
use futures::StreamExt;
use futures::stream::{SelectAll, select_all};
use serde::Serialize;
use tokio::sync::watch;

use super::message::answerable;
use super::{Counted, Definition, ServeError, figures, not_listening, stopping};
use crate::trace::TraceContext;

/// An id that no other instance has.
pub(super) fn instance_id() -> String {
    // The trace id of a new trace is 128 random bits.
    TraceContext::fresh().to_string()[3..35].to_owned()
}

/// What an instance says of itself.
pub(super) struct Words {
    info: Info,
    started: DateTime,
    counted: Counted,
}

impl Words {
    pub(super) fn new(id: String, definition: &Definition, counted: Counted) -> Self {
        let endpoints = counted.iter().map(|counted| {
            let figures = figures(counted);
            endpoint::Info {
                name: figures.name.clone(),
                subject: figures.subject.clone(),
                queue_group: figures.queue_group.clone(),
                ..endpoint::Info::default()
            }
        });
        let info = Info {
            kind: "io.nats.micro.v1.info_response".into(),
            name: definition.name.into(),
            id,
            description: definition.description.clone(),
            version: definition.version.into(),
            metadata: definition.metadata.clone(),
            endpoints: endpoints.collect(),
        };
        Self { info, started: datetime::now(), counted }
    }

    fn ping(&self) -> Vec<u8> {
        let Info { name, id, version, metadata, .. } = self.info.clone();
        json(&PingResponse { kind: "io.nats.micro.v1.ping_response".into(), name, id, version, metadata })
    }

    fn stats(&self) -> Vec<u8> {
        let Info { name, id, version, .. } = self.info.clone();
        let endpoints = self.counted.iter().map(|counted| figures(counted).clone()).collect();
        let kind = "io.nats.micro.v1.stats_response".into();
        json(&AllStats { kind, name, id, version, started: self.started, endpoints })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Subscribes; the future that comes back answers until it is to stop.
pub(super) async fn answer(
    client: &Client,
    words: Words,
    mut stopped: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, ServeError> {
    let mut pings = listen(client, "PING", &words.info).await?;
    let mut infos = listen(client, "INFO", &words.info).await?;
    let mut stats = listen(client, "STATS", &words.info).await?;
    let client = client.clone();
    let words = Arc::new(words);
    Ok(async move {
        loop {
            let (asked, said) = tokio::select! {
                Some(asked) = pings.next() => (asked, words.ping()),
                Some(asked) = infos.next() => (asked, json(&words.info)),
                Some(asked) = stats.next() => (asked, words.stats()),
                () = stopping(&mut stopped) => break,
                else => break,
            };
            if let Ok(reply) = answerable(asked.reply.as_ref())
                && client.publish(reply, said.into()).await.is_err()
            {
                tracing::debug!("a service could not say what it is, the connection is closed");
            }
        }
    })
}

async fn listen(client: &Client, verb: &str, info: &Info) -> Result<SelectAll<Subscriber>, ServeError> {
    let Info { name, id, .. } = info;
    let mut subscribers = Vec::new();
    for subject in [format!("$SRV.{verb}"), format!("$SRV.{verb}.{name}"), format!("$SRV.{verb}.{name}.{id}")]
    {
        let subscribed = client.subscribe(subject.clone()).await;
        subscribers.push(subscribed.map_err(|error| not_listening(&subject, &error))?);
    }
    Ok(select_all(subscribers))
}
