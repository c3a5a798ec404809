//! The writer: one task that sends appends in the order of the calls, and what each one's answer means.
//!
//! The server takes a message only at the sequence it expects (`Nats-Expected-Last-Sequence`). Where an answer is lost
//! or cannot be believed the position is read back through the stream's leader, for a bounded time. No message has an id
//! by which the server would look for duplicates: that memory outlives a purge and would swallow a restored block.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::{HeaderMap, Message, StatusCode, Subscriber};
use bytes::Bytes;
use chaoschain_schemas::{Header, SealedBlock, Sequence, codec};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::shared::{ASK_PATIENCE, Shared};
use super::status::add;
use super::{APPENDS_IN_FLIGHT_MAX, header_names};
use crate::log::{AppendError, LogError};
use crate::nats::{Answer, Denial, NatsError, Refusal, denied};

/// What the headers of a message may take of the server's limit, bytes.
pub(super) const HEADERS_BYTES_MAX: usize = 1024;
/// How long an append waits for a connection before it is given up unsent.
const SEND_PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer is waited for before the position is read.
const ACK_PATIENCE: Duration = Duration::from_secs(5);
/// How long a message that no leader took is sent again, and how often.
const NO_LEADER_PATIENCE: Duration = Duration::from_secs(3);
const NO_LEADER_RETRY: Duration = Duration::from_millis(50);
/// How long an unclear position is read, all attempts together.
const READ_BACK_PATIENCE: Duration = Duration::from_secs(5);
/// How long a position that the leader says is still free may fill before the append is called unclear.
const LATE_PATIENCE: Duration = Duration::from_secs(1);
const READ_BACK_RETRY: Duration = Duration::from_millis(100);

/// An append on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) expected_tip: Sequence,
    pub(super) message: Bytes,
    pub(super) reply: oneshot::Sender<Result<Sequence, AppendError>>,
    pub(super) queued: Instant,
    /// Given back when the append is answered.
    pub(super) room: Room,
}

/// A share of what may be under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) shared: Arc<Shared>,
    pub(super) _bytes: OwnedSemaphorePermit,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where answers go, and which appends are not done with.
struct Line {
    shared: Arc<Shared>,
    inbox: String,
    /// Who waits for which answer, by the last token of its subject.
    pending: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
    next: AtomicU64,
    /// The appends under way, by their order.
    under_way: Mutex<BTreeSet<u64>>,
    done: watch::Sender<()>,
}

impl Line {
    /// Sends a message; its answer comes by the receiver, and by its number it can be forgotten.
    async fn send(
        &self,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<(u64, oneshot::Receiver<Message>), PublishError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (waiting, answer) = oneshot::channel();
        lock(&self.pending).insert(number, waiting);
        let reply = format!("{}.{number}", self.inbox);
        let client = self.shared.nats.client();
        let sent =
            client.publish_with_reply_and_headers(self.shared.subject.clone(), reply, headers, message).await;
        if let Err(error) = sent {
            self.forget(number);
            return Err(error);
        }
        Ok((number, answer))
    }

    fn forget(&self, number: u64) {
        lock(&self.pending).remove(&number);
    }

    fn is_first(&self, place: u64) -> bool {
        lock(&self.under_way).first().is_none_or(|first| *first >= place)
    }

    /// Resolves when no earlier append is under way.
    async fn turn_of(&self, place: u64) {
        let mut done = self.done.subscribe();
        while !self.is_first(place) {
            // An error means that the sender is gone, which `self` prevents.
            let _ = done.changed().await;
        }
    }

    fn leave(&self, place: u64) {
        lock(&self.under_way).remove(&place);
        self.done.send_replace(());
    }
}

pub(super) struct Writer {
    line: Arc<Line>,
    jobs: mpsc::Receiver<Job>,
    answers: Subscriber,
    next_place: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: mpsc::Receiver<Job>,
        inbox: String,
        answers: Subscriber,
    ) -> Self {
        let line = Line {
            shared,
            inbox,
            pending: Mutex::default(),
            next: AtomicU64::new(0),
            under_way: Mutex::default(),
            done: watch::Sender::new(()),
        };
        Self { line: Arc::new(line), jobs, answers, next_place: 0 }
    }

    /// Works until the log is let go of and every append is answered.
    pub(super) async fn run(mut self) {
        let mut waits = JoinSet::new();
        let mut open = true;
        while open || !waits.is_empty() {
            tokio::select! {
                biased;
                answer = self.answers.next() => match answer {
                    Some(answer) => self.route(answer),
                    // The client is gone, and nothing will ever be answered.
                    None => break,
                },
                Some(_) = waits.join_next() => {}
                job = self.jobs.recv(), if open => match job {
                    Some(job) => self.send(job, &mut waits).await,
                    None => open = false,
                },
            }
        }
        // What is still queued is answered by the dropping of its reply.
        waits.detach_all();
    }

    fn route(&self, answer: Message) {
        let number = answer.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let waiting = number.and_then(|number: u64| lock(&self.line.pending).remove(&number));
        if let Some(waiting) = waiting {
            // Whoever waited may have found out otherwise.
            let _ = waiting.send(answer);
        }
    }

    async fn send(&mut self, job: Job, waits: &mut JoinSet<()>) {
        let shared = &self.line.shared;
        if !shared.nats.is_connected() {
            let left = SEND_PATIENCE.saturating_sub(job.queued.elapsed());
            let mut link = shared.nats.watch();
            let connected = tokio::time::timeout(left, link.wait_for(|link| link.connected)).await;
            if connected.is_err() || !shared.nats.is_connected() {
                return self.refuse(job, "there is no connection to the NATS server".into());
            }
        }
        // Known before it is sent, so that nothing that happens to it is missed.
        let (losses, denials) = (shared.nats.watch().borrow().losses, shared.nats.denials());
        let (headers, sent) = (self.headers(&job), Instant::now());
        let (number, answer) = match self.line.send(headers.clone(), job.message.clone()).await {
            Ok(sent) => sent,
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                let (bytes, max) = (job.message.len(), shared.message_bytes_max());
                return answer_job(job, Err(AppendError::TooLarge { bytes, max }));
            }
            Err(error) => return self.refuse(job, error.to_string()),
        };
        let place = self.next_place;
        self.next_place += 1;
        lock(&self.line.under_way).insert(place);
        let wait = Wait {
            line: Arc::clone(&self.line),
            place,
            losses,
            denials,
            expected_tip: job.expected_tip,
            headers,
            message: job.message.clone(),
            begun: sent,
            sent,
            number,
            answer,
            answered: false,
        };
        waits.spawn(async move {
            let line = Arc::clone(&wait.line);
            let outcome = wait.outcome().await;
            line.leave(place);
            count(&line.shared, &outcome);
            answer_job(job, outcome);
        });
    }

    fn refuse(&self, job: Job, reason: String) {
        add(&self.line.shared.counters.refused, 1);
        answer_job(job, Err(AppendError::Unavailable { reason }));
    }

    /// What the server goes by, and what people like to see of a block without decoding it.
    fn headers(&self, job: &Job) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers
            .insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, job.expected_tip.0.to_string().as_str());
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, self.line.shared.stream.as_str());
        let block = codec::decode_trusted::<SealedBlock<'_>>(&job.message).ok();
        let header = block.and_then(|block| codec::decode_trusted::<Header>(block.header).ok());
        if let Some(header) = header {
            headers.insert(header_names::HEIGHT, header.height.0.to_string().as_str());
            headers.insert(header_names::STATE_ROOT, header.state_root.to_string().as_str());
            headers.insert(header_names::EVENTS, header.event_count.to_string().as_str());
        }
        headers
    }
}

fn answer_job(job: Job, outcome: Result<Sequence, AppendError>) {
    let Job { reply, room, .. } = job;
    // Room first: whoever gets the answer may append at once.
    drop(room);
    // Whoever asked may have stopped waiting.
    let _ = reply.send(outcome);
}

fn count(shared: &Shared, outcome: &Result<Sequence, AppendError>) {
    let counters = &shared.counters;
    match outcome {
        Ok(sequence) => {
            shared.saw(sequence.0);
            add(&counters.appends, 1);
        }
        Err(AppendError::TipMoved { .. }) => add(&counters.tip_moved, 1),
        Err(AppendError::Unclear { .. }) => add(&counters.unclear, 1),
        Err(_) => add(&counters.refused, 1),
    }
}

/// One append that was sent.
struct Wait {
    line: Arc<Line>,
    /// Its place among the appends of this handle.
    place: u64,
    /// How many connections had been lost when it was sent.
    losses: u64,
    denials: broadcast::Receiver<Denial>,
    expected_tip: Sequence,
    headers: HeaderMap,
    message: Bytes,
    /// When it was sent first, and last.
    begun: Instant,
    sent: Instant,
    /// The number of its answer.
    number: u64,
    answer: oneshot::Receiver<Message>,
    /// Whether it has come: there is no other.
    answered: bool,
}

/// What an answer, or its absence, says.
enum Verdict {
    Is(Result<Sequence, AppendError>),
    /// Only the log itself can tell, and why.
    ReadBack(String),
    /// It lost its place; the server did not say to whom.
    AskTip,
    /// It was certainly not kept, for a reason that passes; what to say when it does not.
    Again(AppendError),
}

#[derive(Deserialize)]
struct Ack {
    stream: String,
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.line.forget(self.number);
    }
}

impl Wait {
    async fn outcome(mut self) -> Result<Sequence, AppendError> {
        loop {
            match self.verdict().await {
                Verdict::Is(outcome) => return outcome,
                Verdict::AskTip => return Err(self.moved().await),
                Verdict::ReadBack(reason) => return self.read_back(reason).await,
                Verdict::Again(error) => {
                    if self.begun.elapsed() > NO_LEADER_PATIENCE || !self.send_again().await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Waits for the answer, or until there will be none.
    async fn verdict(&mut self) -> Verdict {
        let line = Arc::clone(&self.line);
        let shared = &line.shared;
        let mut connection = shared.nats.watch();
        let losses = self.losses;
        let lost = async { connection.wait_for(|link| link.losses != losses || link.closed).await.map(drop) };
        tokio::select! {
            biased;
            answer = &mut self.answer => {
                self.answered = true;
                match answer {
                    Ok(answer) => self.judge(&answer),
                    Err(_) => Verdict::ReadBack("its answer can no longer come".into()),
                }
            }
            denial = denied(&mut self.denials, &shared.subject) => {
                let reason = NatsError::from(denial).to_string();
                Verdict::Is(Err(AppendError::Unavailable { reason }))
            }
            _ = lost => Verdict::ReadBack("the connection was lost before the answer came".into()),
            () = tokio::time::sleep(ACK_PATIENCE) => {
                Verdict::ReadBack(format!("no answer within {} s", ACK_PATIENCE.as_secs()))
            }
        }
    }

    /// Sends a message again that was certainly not kept, after those before it: they were made to stand there first.
    async fn send_again(&mut self) -> bool {
        let line = Arc::clone(&self.line);
        if line.is_first(self.place) {
            tokio::time::sleep(NO_LEADER_RETRY).await;
        } else {
            let left = NO_LEADER_PATIENCE.saturating_sub(self.begun.elapsed());
            if tokio::time::timeout(left, line.turn_of(self.place)).await.is_err() {
                return false;
            }
        }
        let nats = &line.shared.nats;
        if !nats.is_connected() {
            return false;
        }
        self.losses = nats.watch().borrow().losses;
        self.sent = Instant::now();
        match line.send(self.headers.clone(), self.message.clone()).await {
            Ok(sent) => {
                (self.number, self.answer) = sent;
                self.answered = false;
                true
            }
            Err(_) => false,
        }
    }

    fn judge(&self, answer: &Message) -> Verdict {
        let shared = &self.line.shared;
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            let reason = format!("the {} has no leader now, or was deleted", shared.name());
            return Verdict::Again(AppendError::Unavailable { reason });
        }
        let sequence = self.expected_tip.0.checked_add(1);
        match serde_json::from_slice::<Answer<Ack>>(&answer.payload) {
            Ok(Answer::Yes(ack)) if ack.duplicate => {
                Verdict::ReadBack("the server takes it for one it has already".into())
            }
            Ok(Answer::Yes(ack)) if Some(ack.seq) == sequence && ack.stream == shared.stream => {
                shared.counters.acknowledged(self.sent.elapsed());
                Verdict::Is(Ok(Sequence(ack.seq)))
            }
            Ok(Answer::Yes(ack)) => {
                Verdict::ReadBack(format!("it was acknowledged at {} of the stream {}", ack.seq, ack.stream))
            }
            Ok(Answer::No { error }) => self.refusal(&error),
            Err(error) => Verdict::ReadBack(format!("its answer cannot be read ({error})")),
        }
    }

    /// Sorts JetStream's refusals by what the caller does next.
    fn refusal(&self, refusal: &Refusal) -> Verdict {
        let text = &refusal.description;
        let is = |error| Verdict::Is(Err(error));
        match refusal.err_code {
            // "wrong last sequence: 17".
            10071 => match text.rsplit(' ').next().and_then(|tip| tip.parse().ok()) {
                // It came before one that is sent again.
                Some(tip) if Sequence(tip) < self.expected_tip && !self.line.is_first(self.place) => {
                    Verdict::Again(AppendError::TipMoved { tip: Sequence(tip) })
                }
                Some(tip) => is(AppendError::TipMoved { tip: Sequence(tip) }),
                None => Verdict::AskTip,
            },
            10164 => Verdict::AskTip,
            // Too many requests at once.
            10167 => is(AppendError::Busy { in_flight_max: APPENDS_IN_FLIGHT_MAX }),
            10054 | 10097 => is(AppendError::TooLarge {
                bytes: self.message.len(),
                max: self.line.shared.message_bytes_max(),
            }),
            // Limits of the account, the server, its disk.
            10002 | 10023 | 10028 | 10047 | 10122 => is(AppendError::NoSpace),
            10077 if ["maximum", "exceeded", "space"].iter().any(|word| text.contains(word)) => {
                is(AppendError::NoSpace)
            }
            // The store failed, or the server did: it may have kept the message all the same.
            10077 => Verdict::ReadBack(refusal.to_string()),
            _ if refusal.code >= 500 => Verdict::ReadBack(refusal.to_string()),
            _ => is(AppendError::Unavailable { reason: refusal.to_string() }),
        }
    }

    async fn moved(&self) -> AppendError {
        // Its word is only a hint where to fold to; the refusal is certain without it.
        let tip = self.line.shared.look().await.map_or(self.expected_tip.0, |view| view.tip);
        AppendError::TipMoved { tip: Sequence(tip) }
    }

    /// Reads the position until the log says what stands there; a late answer is as good.
    async fn read_back(mut self, reason: String) -> Result<Sequence, AppendError> {
        let expected_tip = self.expected_tip;
        tracing::warn!(%expected_tip, reason, "it is unclear whether a message was appended; reading back");
        let unclear = || AppendError::Unclear { expected_tip, reason: reason.clone() };
        let Some(position) = expected_tip.0.checked_add(1) else { return Err(unclear()) };
        let line = Arc::clone(&self.line);
        let shared = &*line.shared;
        let message = self.message.clone();
        let reading = tokio::time::timeout(READ_BACK_PATIENCE, find(shared, position, &message));
        tokio::pin!(reading);
        loop {
            tokio::select! {
                biased;
                answer = &mut self.answer, if !self.answered => {
                    self.answered = true;
                    if let Ok(Verdict::Is(outcome)) = answer.map(|answer| self.judge(&answer)) {
                        return outcome;
                    }
                }
                found = &mut reading => {
                    return match found {
                        Ok(Some(outcome)) => {
                            add(&shared.counters.read_back, 1);
                            outcome
                        }
                        _ => Err(unclear()),
                    };
                }
            }
        }
    }
}

/// Asks the leader what stands at `position`, until something does or has had the time to. Errors are tried again.
async fn find(shared: &Shared, position: u64, message: &Bytes) -> Option<Result<Sequence, AppendError>> {
    let mut free_since = None;
    let mut seen = 0;
    loop {
        // While what was sent before it still arrives, it may yet do so.
        let newest = shared.seen.load(Ordering::Relaxed);
        if newest > std::mem::replace(&mut seen, newest) {
            free_since = None;
        }
        match shared.get(position, ASK_PATIENCE).await {
            Ok(Some(entry)) if entry.sequence.0 == position && entry.message == *message => {
                return Some(Ok(Sequence(position)));
            }
            Ok(Some(entry)) if entry.sequence.0 == position => {
                let tip = Sequence(shared.seen.load(Ordering::Relaxed).max(position));
                return Some(Err(AppendError::TipMoved { tip }));
            }
            // What stood there was compacted or erased, or all of it is gone: it might have been ours.
            Ok(Some(_)) | Err(LogError::Replaced { .. } | LogError::Lost { .. }) => return None,
            Ok(None) => {
                let since = *free_since.get_or_insert_with(Instant::now);
                if since.elapsed() > LATE_PATIENCE {
                    return None;
                }
            }
            Err(error) => {
                tracing::debug!(%error, position, "reading back");
                free_since = None;
            }
        }
        tokio::time::sleep(READ_BACK_RETRY).await;
    }
}

/// Every critical section here leaves its data whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
