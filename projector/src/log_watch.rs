//! What is known of the log besides its blocks: how far it goes, and whether it can be read.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use chaoschain_events::log::LogError;
use chaoschain_schemas::{Sequence, Timestamp};
use serde::Serialize;

use crate::writer::lock;

/// How long the follower waits after a first failed read, and at most after later ones; each time twice as long, less a
/// random part of up to half.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often a log that stays away is logged about.
const TELL_INTERVAL: Duration = Duration::from_secs(30);
/// How many moments are remembered at which the log was seen to have grown.
const MARKS_MAX: usize = 256;

/// Whether the log can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LogState {
    /// It can.
    Reachable,
    /// It cannot at present; reads of what was folded go on.
    Away {
        /// Since when, by this node's clock.
        since: Timestamp,
        /// A stable word for the reason.
        code: String,
        /// The reason.
        message: String,
    },
}

/// Who has trouble with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The subscription.
    Follower = 0,
    /// The regular question for the tip.
    Tip = 1,
}

struct Trouble {
    since: Timestamp,
    began: Instant,
    told: Instant,
    code: &'static str,
    message: String,
}

#[derive(Default)]
struct Known {
    tip: Sequence,
    /// That the log had this message, and when that was first seen; ascending, only what is not folded yet.
    marks: VecDeque<(Sequence, Instant)>,
    troubles: [Option<Trouble>; 2],
}

/// What is known of the log.
#[derive(Default)]
pub(crate) struct LogWatch(Mutex<Known>);

impl LogWatch {
    /// Notes that the log goes at least to `tip`.
    pub(crate) fn saw(&self, tip: Sequence) {
        let mut known = lock(&self.0);
        if tip <= known.tip {
            return;
        }
        known.tip = tip;
        // When there is no room the newest is left out: the age that counts is that of the oldest.
        if known.marks.len() < MARKS_MAX {
            known.marks.push_back((tip, Instant::now()));
        }
    }

    /// The last message known, and how old the knowledge of the oldest one is that lies behind `cursor`.
    pub(crate) fn lag(&self, cursor: Sequence) -> (Sequence, Duration) {
        let mut known = lock(&self.0);
        while known.marks.front().is_some_and(|(mark, _)| *mark <= cursor) {
            known.marks.pop_front();
        }
        let age = known.marks.front().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        (known.tip.max(cursor), age)
    }

    /// Notes that a reader cannot read; tells of it now and then.
    pub(crate) fn trouble(&self, reader: Reader, error: &LogError) {
        let mut known = lock(&self.0);
        let (code, message, now) = (error.code(), error.to_string(), Instant::now());
        match &mut known.troubles[reader as usize] {
            Some(trouble) => {
                if trouble.told.elapsed() >= TELL_INTERVAL {
                    trouble.told = now;
                    let seconds = trouble.began.elapsed().as_secs();
                    tracing::warn!(code, seconds, "the log still cannot be read: {message}");
                }
                (trouble.code, trouble.message) = (code, message);
            }
            slot @ None => {
                tracing::warn!(
                    code,
                    "the log cannot be read, trying again; reads of what was folded go on: {message}"
                );
                *slot = Some(Trouble { since: clock(), began: now, told: now, code, message });
            }
        }
    }

    /// Notes that a reader can read.
    pub(crate) fn well(&self, reader: Reader) {
        let was = lock(&self.0).troubles[reader as usize].take();
        if let Some(trouble) = was {
            tracing::info!(seconds = trouble.began.elapsed().as_secs(), "the log can be read again");
        }
    }

    pub(crate) fn state(&self) -> LogState {
        let known = lock(&self.0);
        let first = known.troubles.iter().flatten().min_by_key(|trouble| trouble.began);
        first.map_or(LogState::Reachable, |trouble| LogState::Away {
            since: trouble.since,
            code: trouble.code.to_owned(),
            message: trouble.message.clone(),
        })
    }
}

/// The node's clock. Nothing that is folded depends on it.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// How long to wait between attempts: longer each time, up to a bound, and never in step with others.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let full = RETRY_FIRST.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
        self.failures += 1;
        let half = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX);
        // A fresh state hashes differently every time, and that is all that jitter needs.
        full.saturating_sub(Duration::from_millis(RandomState::new().hash_one(self.failures) % (half + 1)))
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> LogError {
        LogError::Unavailable { reason: "cut".into() }
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.next()).collect();
        for (nth, wait) in waits.iter().enumerate() {
            let full = RETRY_FIRST.saturating_mul(1 << nth.min(16)).min(RETRY_MAX);
            assert!(*wait >= full / 2 && *wait <= full, "{nth}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= RETRY_FIRST);
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_known_message_that_is_not_folded() {
        let watch = LogWatch::default();
        assert_eq!(watch.lag(Sequence(0)), (Sequence(0), Duration::ZERO));
        watch.saw(Sequence(5));
        watch.saw(Sequence(3));
        watch.saw(Sequence(9));
        assert_eq!(watch.lag(Sequence(2)).0, Sequence(9));
        assert_eq!(lock(&watch.0).marks.len(), 2);
        // The first mark is gone once it is folded.
        assert_eq!(watch.lag(Sequence(5)).0, Sequence(9));
        assert_eq!(lock(&watch.0).marks.len(), 1);
        assert_eq!(watch.lag(Sequence(9)), (Sequence(9), Duration::ZERO));
        assert!(lock(&watch.0).marks.is_empty());
        // A cursor beyond the known tip is a known tip.
        assert_eq!(watch.lag(Sequence(12)).0, Sequence(12));
    }

    #[test]
    fn marks_are_bounded() {
        let watch = LogWatch::default();
        (1..=2 * MARKS_MAX as u64).for_each(|tip| watch.saw(Sequence(tip)));
        assert_eq!(lock(&watch.0).marks.len(), MARKS_MAX);
        assert_eq!(watch.lag(Sequence(0)).0, Sequence(2 * MARKS_MAX as u64));
    }

    #[test]
    fn the_log_is_back_when_every_reader_says_so() {
        let watch = LogWatch::default();
        watch.trouble(Reader::Follower, &away());
        watch.trouble(Reader::Tip, &away());
        watch.well(Reader::Tip);
        let state = watch.state();
        assert!(matches!(&state, LogState::Away { code, .. } if code == "log_unavailable"), "{state:?}");
        watch.well(Reader::Follower);
        assert_eq!(watch.state(), LogState::Reachable);
    }
}
