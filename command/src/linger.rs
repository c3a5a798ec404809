//! How long a block waits for more events: not at all while there is little to do, so that a lone event is sealed at
//! once, and under load just long enough for a block to be worth its signature, its fsync and its path in the tree.

use std::time::{Duration, Instant};

/// A block with this many events is worth sealing without more waiting.
pub(crate) const ENOUGH_EVENTS: usize = 256;
/// Below this many events a second nothing lingers.
const RATE_CALM: u64 = 4_000;
/// From this many on a block lingers until it has enough.
const RATE_BUSY: u64 = 20_000;
/// The span over which the rate is averaged.
const WINDOW: Duration = Duration::from_millis(50);

/// Watches how fast events come in.
#[derive(Debug)]
pub(crate) struct Linger {
    max: Duration,
    rate: u64,
    since: Instant,
    count: u64,
}

impl Linger {
    pub(crate) const fn new(max: Duration, now: Instant) -> Self {
        Self { max, rate: 0, since: now, count: 0 }
    }

    /// Tells that `events` were put into blocks.
    pub(crate) fn observe(&mut self, events: usize, now: Instant) {
        self.roll(now);
        self.count += events as u64;
    }

    /// Events a second, lately.
    pub(crate) const fn rate(&self) -> u64 {
        self.rate
    }

    /// How long a block should wait for more events from the first one on.
    pub(crate) fn span(&mut self, now: Instant) -> Duration {
        self.roll(now);
        if self.rate <= RATE_CALM {
            return Duration::ZERO;
        }
        let enough = Duration::from_micros(ENOUGH_EVENTS as u64 * 1_000_000 / self.rate);
        let load = (self.rate - RATE_CALM).min(RATE_BUSY - RATE_CALM) as u32;
        enough.min(self.max) * load / (RATE_BUSY - RATE_CALM) as u32
    }

    fn roll(&mut self, now: Instant) {
        let span = now.saturating_duration_since(self.since);
        if span < WINDOW {
            return;
        }
        let seen = self.count.saturating_mul(1_000_000) / (span.as_micros() as u64).max(1);
        // After a pause the past says nothing.
        self.rate = if span >= WINDOW * 4 { seen } else { u64::midpoint(self.rate, seen) };
        self.since = now;
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `per_second` events come in for a while, every 5 ms; answers the linger afterwards.
    fn under(linger: &mut Linger, now: &mut Instant, per_second: usize) -> Duration {
        for _ in 0..100 {
            *now += Duration::from_millis(5);
            linger.observe(per_second / 200, *now);
        }
        linger.span(*now)
    }

    #[test]
    fn it_grows_with_load_within_its_bound_and_ends_with_it() {
        let mut now = Instant::now();
        let max = Duration::from_millis(20);
        let mut linger = Linger::new(max, now);
        assert_eq!(linger.span(now), Duration::ZERO);
        assert_eq!(under(&mut linger, &mut now, 2_000), Duration::ZERO);
        let some = under(&mut linger, &mut now, 8_000);
        let more = under(&mut linger, &mut now, 14_000);
        assert!(Duration::ZERO < some && some < more && more <= max, "{some:?} {more:?}");
        // At high rates a block has enough sooner.
        let less = under(&mut linger, &mut now, 100_000);
        assert!(less < more && less > Duration::from_millis(1), "{less:?}");
        now += Duration::from_secs(1);
        assert_eq!(linger.span(now), Duration::ZERO);
    }
}
