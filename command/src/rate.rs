//! Token buckets: how fast a peer, and all peers together, may submit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most peers whose rate is kept; beyond that, strangers share one bucket.
pub const PEERS_MAX: usize = 16 * 1024;

/// A rate with room for bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Submissions a second, at least 1.
    pub per_second: u32,
    /// Submissions that may come at once after a pause, at least 1.
    pub burst: u32,
}

/// Who submits, as far as the transport can tell peers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A caller in this process, not limited by peer.
    Local,
    /// An address; of IPv6 only the first 64 bits count, since one host has all of the rest.
    Address(IpAddr),
    /// Whatever else a transport knows a client by.
    Client(u64),
}

impl Peer {
    fn key(self) -> Self {
        match self {
            Self::Address(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(address) => Self::Address(address.into()),
                None => Self::Address(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
            },
            other => other,
        }
    }
}

/// The buckets of a service.
#[derive(Debug)]
pub(crate) struct Buckets {
    peer_rate: Option<Rate>,
    global_rate: Option<Rate>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    global: Bucket,
    strangers: Bucket,
    peers: HashMap<Peer, Bucket>,
}

/// Tokens are counted in nanoseconds of refill, so that no fraction is lost.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    nanos: u64,
    at: Instant,
}

impl Rate {
    fn token_nanos(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.max(1))
    }

    fn full(self, at: Instant) -> Bucket {
        Bucket { nanos: self.token_nanos() * u64::from(self.burst.max(1)), at }
    }
}

impl Bucket {
    fn refill(&mut self, rate: Rate, now: Instant) {
        let gained = u64::try_from(now.saturating_duration_since(self.at).as_nanos()).unwrap_or(u64::MAX);
        self.nanos = self.nanos.saturating_add(gained).min(rate.full(now).nanos);
        self.at = self.at.max(now);
    }

    /// How many of `wanted` tokens there are; takes none.
    fn available(&self, rate: Rate, wanted: usize) -> usize {
        wanted.min(usize::try_from(self.nanos / rate.token_nanos()).unwrap_or(usize::MAX))
    }

    fn take(&mut self, rate: Rate, tokens: usize) {
        self.nanos = self.nanos.saturating_sub(rate.token_nanos().saturating_mul(tokens as u64));
    }
}

impl Buckets {
    pub(crate) fn new(peer_rate: Option<Rate>, global_rate: Option<Rate>, now: Instant) -> Self {
        let empty = Bucket { nanos: 0, at: now };
        let full = |rate: Option<Rate>| rate.map_or(empty, |rate| rate.full(now));
        let state = State { global: full(global_rate), strangers: full(peer_rate), peers: HashMap::new() };
        Self { peer_rate, global_rate, state: Mutex::new(state) }
    }

    /// Takes up to `wanted` tokens of `peer`: how many it got, and when the next one would be there.
    pub(crate) fn take(&self, peer: Peer, wanted: usize, now: Instant) -> (usize, Duration) {
        let peer_rate = self.peer_rate.filter(|_| peer != Peer::Local);
        if peer_rate.is_none() && self.global_rate.is_none() {
            return (wanted, Duration::ZERO);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { global, strangers, peers } = &mut *state;
        let mut buckets: [Option<(&mut Bucket, Rate)>; 2] = [
            peer_rate.map(|rate| (own_bucket(strangers, peers, rate, peer.key(), now), rate)),
            self.global_rate.map(|rate| (global, rate)),
        ];
        let mut granted = wanted;
        let mut wait = Duration::ZERO;
        for (bucket, rate) in buckets.iter_mut().flatten() {
            bucket.refill(*rate, now);
            granted = bucket.available(*rate, granted);
            wait = wait.max(Duration::from_nanos(rate.token_nanos()));
        }
        for (bucket, rate) in buckets.iter_mut().flatten() {
            bucket.take(*rate, granted);
        }
        (granted, wait)
    }
}

fn own_bucket<'a>(
    strangers: &'a mut Bucket,
    peers: &'a mut HashMap<Peer, Bucket>,
    rate: Rate,
    peer: Peer,
    now: Instant,
) -> &'a mut Bucket {
    if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
        // A full bucket says nothing that a new one would not.
        let full = rate.full(now).nanos;
        peers.retain(|_, bucket| {
            bucket.refill(rate, now);
            bucket.nanos < full
        });
        if peers.len() >= PEERS_MAX {
            return strangers;
        }
    }
    peers.entry(peer).or_insert_with(|| rate.full(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Rate = Rate { per_second: 10, burst: 3 };

    fn address(last: u8) -> Peer {
        Peer::Address(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn bursts_then_the_rate() {
        let start = Instant::now();
        let buckets = Buckets::new(Some(SLOW), None, start);
        assert_eq!(buckets.take(address(1), 5, start).0, 3);
        assert_eq!(buckets.take(address(1), 1, start), (0, Duration::from_millis(100)));
        assert_eq!(buckets.take(address(2), 1, start).0, 1, "another peer has tokens of its own");
        assert_eq!(buckets.take(address(1), 2, start + Duration::from_millis(100)).0, 1);
        assert_eq!(
            buckets.take(address(1), 9, start + Duration::from_mins(1)).0,
            3,
            "a pause fills it, no more"
        );
        assert_eq!(buckets.take(Peer::Local, 1000, start).0, 1000);
    }

    #[test]
    fn the_global_rate_binds_everyone() {
        let start = Instant::now();
        let buckets = Buckets::new(None, Some(SLOW), start);
        assert_eq!(buckets.take(Peer::Local, 2, start).0, 2);
        assert_eq!(buckets.take(address(1), 2, start).0, 1);
        assert_eq!(buckets.take(address(2), 2, start).0, 0);
    }

    #[test]
    fn one_ipv6_network_is_one_peer() {
        let start = Instant::now();
        let buckets = Buckets::new(Some(SLOW), None, start);
        let host = |text: &str| Peer::Address(text.parse().unwrap());
        assert_eq!(buckets.take(host("2001:db8::1"), 3, start).0, 3);
        assert_eq!(buckets.take(host("2001:db8::2"), 1, start).0, 0);
        assert_eq!(buckets.take(host("2001:db8:0:1::1"), 1, start).0, 1);
        assert_eq!(buckets.take(host("::ffff:10.0.0.9"), 3, start).0, 3);
        assert_eq!(buckets.take(address(9), 1, start).0, 0);
    }

    #[test]
    fn strangers_beyond_the_bound_share_a_bucket() {
        let start = Instant::now();
        let buckets = Buckets::new(Some(SLOW), None, start);
        for client in 0..PEERS_MAX as u64 {
            assert_eq!(buckets.take(Peer::Client(client), 1, start).0, 1);
        }
        assert_eq!(buckets.take(Peer::Client(u64::MAX), 3, start).0, 3);
        assert_eq!(buckets.take(Peer::Client(u64::MAX - 1), 1, start).0, 0);
        let later = start + Duration::from_secs(1);
        assert_eq!(buckets.take(Peer::Client(u64::MAX - 1), 3, later).0, 3, "idle peers make room");
    }
}
