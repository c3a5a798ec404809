//! Figures of signatures, blocks and the embedded log, printed with the ceiling of the same run.
//!
//! `cargo bench -p chaoschain-events [-- DIR]`; the log is kept in DIR, or in the system's temporary directory.

// Rates are printed, not computed with.
#![allow(clippy::cast_precision_loss)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use chaoschain_events::block::{events_root, seal, verify_blocks};
use chaoschain_events::envelope::{VerifiedEnvelope, sign, verify_envelopes};
use chaoschain_events::log::{EmbeddedLog, EmbeddedOptions, EventLog as _, ReadLimits};
use chaoschain_events::signature::{Claim, SecretKey, verify_batch, verify_one};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Blob, Body, ChainId, HEADER_VERSION, Hash, Header, Height, PublicKey, Sequence,
    Signature, SigningContext, Timestamp,
};

fn main() {
    let dir = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let cores = rayon::current_num_threads();
    println!("{cores} threads");
    signatures();
    blocks();
    let dir = dir.map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a directory for the log");
    log(dir.path());
}

/// Runs `work` for about a second and prints how many of its `count` items it does in a second.
fn rate(what: &str, count: usize, mut work: impl FnMut()) -> f64 {
    work();
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(1) {
        work();
        rounds += 1;
    }
    let rate = f64::from(rounds) * count as f64 / start.elapsed().as_secs_f64();
    println!("{what:<58} {rate:>12.0}/s");
    rate
}

fn single_core<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool").install(work)
}

fn keys(count: usize) -> Vec<SecretKey> {
    let seed = |n: usize| *blake3::hash(&n.to_be_bytes()).as_bytes();
    (0..count).map(|n| SecretKey::from_seed(&seed(n))).collect()
}

fn claims<'a>(signed: &'a [(PublicKey, Signature)], bytes: &'a [u8]) -> Vec<Claim<'a>> {
    let context = SigningContext::Transition;
    signed.iter().map(|(key, signature)| Claim { context, key, signature, bytes }).collect()
}

fn signatures() {
    let message = [7; 220];
    let signed = |keys: usize, count: usize| -> Vec<(PublicKey, Signature)> {
        let keys = self::keys(keys);
        let sign = |n: usize| keys[n % keys.len()].sign(SigningContext::Transition, &message);
        (0..count).map(|n| (keys[n % keys.len()].public(), sign(n))).collect()
    };
    let distinct = signed(16 * 1024, 16 * 1024);
    let few = signed(64, 16 * 1024);
    rate("verify, one at a time, one core", 256, || {
        for (key, signature) in &distinct[..256] {
            assert!(verify_one(SigningContext::Transition, key, signature, &message).is_ok());
        }
    });
    single_core(|| {
        let batch = claims(&distinct[..1024], &message);
        rate("verify, batch of 1024, distinct keys, one core", 1024, || {
            assert!(verify_batch(&batch).is_empty());
        });
        let batch = claims(&few[..1024], &message);
        rate("verify, batch of 1024, 64 keys, one core", 1024, || assert!(verify_batch(&batch).is_empty()));
    });
    let all = claims(&distinct, &message);
    rate("verify, batches of 1024, distinct keys, all cores", all.len(), || {
        assert!(verify_batch(&all).is_empty());
    });
    let one = claims(&distinct[..1024], &message);
    rate("verify, 1024 at once, distinct keys, all cores", 1024, || assert!(verify_batch(&one).is_empty()));
    let mut bad = distinct[..1024].to_vec();
    bad[500].1 = Signature::new([0; 64]);
    let bad = claims(&bad, &message);
    rate("verify, batch of 1024 of which one is bad, all cores", 1024, || {
        assert_eq!(verify_batch(&bad), [500]);
    });
    let key = &keys(1)[0];
    rate("sign, one core", 256, || {
        for _ in 0..256 {
            std::hint::black_box(key.sign(SigningContext::Transition, &message));
        }
    });
}

fn event(key: &SecretKey, nonce: u64) -> VerifiedEnvelope {
    let author = AccountId::from_first_key(&key.public());
    let body = Body {
        version: BODY_VERSION,
        chain: ChainId::new([7; 32]),
        epoch: 0,
        author,
        lane: 0,
        nonce,
        valid_until: Timestamp(1_700_000_000_000_000),
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: vec![],
        attachment: None,
        kind: 300,
        payload: Blob(vec![1; 60]),
    };
    sign(&body, &[(author, key)]).expect("a sound body")
}

fn blocks() {
    let events: Vec<_> = keys(16 * 512).iter().map(|key| event(key, 0)).collect();
    let envelopes: Vec<Bytes> = events.iter().map(|event| event.bytes().clone()).collect();
    println!("an envelope has {} bytes", envelopes[0].len());
    rate("envelopes read and verified, all cores", envelopes.len(), || {
        assert!(verify_envelopes(&envelopes).iter().all(Result::is_ok));
    });
    let producer = SecretKey::from_seed(&[9; 32]);
    let header = |events: &[VerifiedEnvelope]| Header {
        version: HEADER_VERSION,
        chain: ChainId::new([7; 32]),
        epoch: 0,
        rules: 1,
        height: Height(4),
        parent: Hash::ZERO,
        timestamp: Timestamp(5),
        producer: AccountId::from_first_key(&producer.public()),
        event_count: events.len() as u32,
        events_root: events_root(events),
        state_root: Hash::ZERO,
        sub_roots: vec![Hash::ZERO; 5],
    };
    let seal =
        |events: &[VerifiedEnvelope]| seal(header(events), events.to_vec(), &producer).expect("a block");
    let messages: Vec<Bytes> = events.chunks(512).map(|events| seal(events).message().clone()).collect();
    rate("events, in 16 blocks of 512 verified together, all cores", events.len(), || {
        assert!(verify_blocks(&messages).iter().all(Result::is_ok));
    });
    rate("events sealed in blocks of 512, one core", 512, || drop(seal(&events[..512])));
}

fn log(dir: &std::path::Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    runtime.block_on(async {
        println!("log in {}", dir.display());
        for (bytes, in_flight, total) in
            [(300, 1, 500), (300, 16, 4000), (100_000, 1, 300), (100_000, 4, 600)]
        {
            let log = EmbeddedLog::open(dir.join(format!("{bytes}-{in_flight}")), EmbeddedOptions::default())
                .expect("a log");
            let mut tip = 0;
            let start = Instant::now();
            let mut under_way = std::collections::VecDeque::new();
            while tip < total {
                under_way.push_back(log.append(Sequence(tip), vec![7; bytes].into()));
                tip += 1;
                if under_way.len() == in_flight {
                    under_way.pop_front().expect("one").await.expect("appended");
                }
            }
            for append in under_way {
                append.await.expect("appended");
            }
            let rate = total as f64 / start.elapsed().as_secs_f64();
            println!("appends of {bytes} B, {in_flight} in flight {rate:>37.0}/s");
        }
        let path = dir.join("million");
        let log = EmbeddedLog::open(&path, EmbeddedOptions::default()).expect("a log");
        let mut under_way = Vec::new();
        for at in 0..1_000_000 {
            under_way.push(log.append(Sequence(at), Bytes::from_static(&[7; 250])));
            if under_way.len() == 250 {
                for append in under_way.drain(..) {
                    append.await.expect("appended");
                }
            }
        }
        drop(log);
        let start = Instant::now();
        let log = EmbeddedLog::open(&path, EmbeddedOptions::default()).expect("a log");
        println!("opening a log of 1M messages of 250 B {:>32.1?}", start.elapsed());
        let start = Instant::now();
        let mut follower = log.follow(Sequence(1), ReadLimits::default()).await.expect("a follower");
        let mut seen = 0;
        while seen < 1_000_000 {
            seen += follower.next_batch().await.expect("a batch").len();
        }
        println!("followed {:>60.0}/s", 1e6 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        log.scrub(|_| {}).expect("whole");
        println!("scrubbed {:>60.0}/s", 1e6 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        for at in (1..1_000_000).step_by(997) {
            let limits = ReadLimits { messages: 1, bytes: 1 };
            assert_eq!(log.read(Sequence(at), limits).await.expect("a read").len(), 1);
        }
        println!("single reads all over {:>47.0}/s", 1003.0 / start.elapsed().as_secs_f64());
    });
}
