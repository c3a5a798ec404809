//! An ephemeral pull consumer, asked for a bounded number of messages and bytes at a time.
//!
//! Nothing is acknowledged: a message that is lost on the way shows as a gap in the consumer's own count, and then the
//! consumer is made anew from the reader's place.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use futures::StreamExt as _;
use serde_json::json;

use super::shared::{ASK_PATIENCE, Shared};
use crate::nats::{ApiError, SUBSCRIPTION_MESSAGES_MAX};

/// The most messages asked for at once; with what else arrives on the subscription, less than it holds.
const PULL_MESSAGES_MAX: usize = SUBSCRIPTION_MESSAGES_MAX / 2;
/// The most bytes asked for at once.
const PULL_BYTES_MAX: usize = 16 << 20;
/// The fewest bytes asked for at once, so that any message fits.
const PULL_BYTES_MIN: usize = 64 << 10;
/// How long the server keeps a question open.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often it says meanwhile that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A silence that is longer means that the consumer or its server is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_millis(3500);
/// The server forgets a consumer that asks nothing for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(1);

/// A consumer and the question it has open.
pub(super) struct Pull {
    shared: Arc<Shared>,
    consumer: String,
    inbox: String,
    answers: Subscriber,
    pub(super) next_subject: String,
    /// Which question is open, if any: answers to earlier ones are told by it.
    serial: u64,
    left: usize,
    asked: usize,
    /// The consumer's count of its next message.
    next: u64,
    /// How many connections had been lost when it was made.
    pub(super) losses: u64,
}

/// What a consumer brings.
pub(super) enum Brought {
    /// A message; how many more it has.
    Message { sequence: u64, message: bytes::Bytes, pending: u64 },
    /// The question is answered or ran out; ask again.
    Ended,
    /// The consumer is there but has nothing.
    Nothing,
    /// The consumer is not to be relied on any more.
    Broken(String),
}

impl Pull {
    /// Makes a consumer that begins at `from`.
    pub(super) async fn start(shared: &Arc<Shared>, from: u64) -> Result<Self, ApiError> {
        let nats = &shared.nats;
        let link = nats.watch();
        let losses = link.borrow().losses;
        let inbox = nats.client().new_inbox();
        // The inbox's last token is as good a name as any.
        let consumer = format!("reader-{}", inbox.rsplit('.').next().unwrap_or_default());
        let answers = nats.client().subscribe(format!("{inbox}.*")).await;
        let answers = answers.map_err(|_| ApiError::Disconnected)?;
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let request = json!({
            "stream_name": shared.stream,
            "action": "create",
            "config": {
                "name": consumer,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from.max(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "inactive_threshold": nanos(FORGOTTEN_AFTER),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        let subject = format!("CONSUMER.CREATE.{}.{consumer}", shared.stream);
        let _: serde_json::Value = nats.api(&subject, request.to_string(), ASK_PATIENCE).await?;
        let next_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", shared.stream);
        Ok(Self {
            shared: Arc::clone(shared),
            consumer,
            inbox,
            answers,
            next_subject,
            serial: 0,
            left: 0,
            asked: 0,
            next: 1,
            losses,
        })
    }

    /// Asks for up to so much more, unless a question is open.
    pub(super) async fn ask(&mut self, messages: usize, bytes: usize) -> Result<(), String> {
        if self.left > 0 {
            return Ok(());
        }
        let messages = messages.clamp(1, PULL_MESSAGES_MAX);
        let smallest = self.shared.nats.client().max_payload() + PULL_BYTES_MIN;
        let bytes = bytes.clamp(smallest, PULL_BYTES_MAX.max(smallest));
        let request = json!({
            "batch": messages,
            "max_bytes": bytes,
            "expires": PULL_EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        self.serial += 1;
        let reply = format!("{}.{}", self.inbox, self.serial);
        let client = self.shared.nats.client();
        let sent =
            client.publish_with_reply(self.next_subject.clone(), reply, request.to_string().into()).await;
        sent.map_err(|error| error.to_string())?;
        (self.left, self.asked) = (messages, messages);
        Ok(())
    }

    /// The next thing that arrives. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Brought {
        match self.answers.next().await {
            Some(message) => self.take(message),
            None => Brought::Broken("the connection was closed".into()),
        }
    }

    fn take(&mut self, message: Message) -> Brought {
        // Only what stands in the stream comes with a subject to acknowledge to; a stored message may well have headers
        // that look like a status.
        if let Some(place) = message.reply.as_deref().and_then(|reply| Place::parse(reply, &self.consumer)) {
            self.left = self.left.saturating_sub(1);
            if place.count != self.next {
                return Brought::Broken(format!("messages {} to {} did not arrive", self.next, place.count));
            }
            self.next += 1;
            let Place { sequence, pending, .. } = place;
            return Brought::Message { sequence, message: message.payload, pending };
        }
        let current =
            message.subject.rsplit('.').next().is_some_and(|number| number == self.serial.to_string());
        let description = message.description.as_deref().unwrap_or_default();
        match message.status.filter(|_| current) {
            None | Some(StatusCode::IDLE_HEARTBEAT) => Brought::Nothing,
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => self.ended(),
            Some(StatusCode::REQUEST_TERMINATED)
                if description.contains("MaxBytes") || description.contains("Batch Completed") =>
            {
                if self.left == self.asked {
                    return Brought::Broken(format!("the server sends nothing: {description}"));
                }
                self.ended()
            }
            Some(status) => Brought::Broken(format!("the server ended the reading: {status} {description}")),
        }
    }

    fn ended(&mut self) -> Brought {
        self.left = 0;
        Brought::Ended
    }
}

impl Drop for Pull {
    /// Tells the server that the consumer is done with; it would find out by itself.
    fn drop(&mut self) {
        let (client, stream, consumer) = (
            self.shared.nats.client().clone(),
            self.shared.stream.clone(),
            std::mem::take(&mut self.consumer),
        );
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && self.shared.nats.is_connected()
        {
            runtime.spawn(async move {
                let subject = format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}");
                let _ = client.publish(subject, bytes::Bytes::new()).await;
            });
        }
    }
}

/// Where a delivered message stands, from the subject it would be acknowledged to.
struct Place {
    sequence: u64,
    count: u64,
    pending: u64,
}

impl Place {
    /// `$JS.ACK.stream.consumer.delivered.sequence.count.time.pending`, or with domain and account before the stream.
    fn parse(reply: &str, consumer: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = if tokens.len() >= 9 { tokens.get(2..)? } else { &tokens[..] };
        let [_, of, _, sequence, count, _, pending, ..] = tokens else { return None };
        if *of != consumer {
            return None;
        }
        Some(Self {
            sequence: sequence.parse().ok()?,
            count: count.parse().ok()?,
            pending: pending.parse().ok()?,
        })
    }
}
