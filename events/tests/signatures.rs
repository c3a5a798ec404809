//! The rule for signatures, held against the published edge cases: the verdict on each is frozen, and one by one, in
//! batches or among others, it is the same.
//!
//! The rule is ZIP-215: all of CCTV's vectors hold but those made for verifiers that hash a re-encoded point; of
//! speccheck's, those fail whose `s` is not reduced (6, 7) and the re-encoded one (8). A change here splits chains.

// In tests a panic is the report; the lint's own exception misses their helpers.
#![allow(clippy::unwrap_used)]

use chaoschain_events::signature::{Claim, SecretKey, raw, verify_batch, verify_one};
use chaoschain_schemas::{PublicKey, Signature, SigningContext};
use chaoschain_state::is_registrable;
use proptest::prelude::*;

struct Vector {
    name: String,
    key: PublicKey,
    signature: Signature,
    message: Vec<u8>,
    flags: String,
}

fn vectors() -> Vec<Vector> {
    let files = [
        ("cctv", include_str!("vectors/cctv.txt")),
        ("speccheck", include_str!("vectors/speccheck.txt")),
        ("rfc8032", include_str!("vectors/rfc8032.txt")),
    ];
    let lines = files.iter().flat_map(|(source, text)| text.lines().map(move |line| (*source, line)));
    let parse = |(source, line): (&str, &str)| {
        let fields: Vec<_> = line.split('\t').collect();
        Vector {
            name: format!("{source} {}", fields[0]),
            key: fields[1].parse().unwrap(),
            signature: fields[2].parse().unwrap(),
            message: if source == "cctv" { fields[3].into() } else { hex::decode(fields[3]).unwrap() },
            flags: fields.get(4).copied().unwrap_or_default().into(),
        }
    };
    lines.filter(|(_, line)| !line.starts_with('#')).map(parse).collect()
}

fn holds(vector: &Vector) -> bool {
    raw::verify_one(&vector.key, &vector.signature, &vector.message).is_ok()
}

#[test]
fn the_verdicts_are_frozen() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 914 + 12 + 5);
    let refused: Vec<_> = vectors.iter().filter(|vector| !holds(vector)).map(|v| v.name.clone()).collect();
    let frozen: Vec<_> = include_str!("vectors/refused.txt").lines().collect();
    assert_eq!(refused, frozen);
    // The table is no accident: it is what the flags say.
    for vector in vectors.iter().filter(|vector| vector.name.starts_with("cctv")) {
        assert!(holds(vector) || vector.flags.contains('k'), "{}: {}", vector.name, vector.flags);
    }
}

#[test]
fn single_and_batch_agree_on_every_vector_alone() {
    for vector in vectors() {
        let batch = raw::verify_batch(&[(vector.key, vector.signature, &vector.message)]);
        assert_eq!(batch.is_empty(), holds(&vector), "{}", vector.name);
        // Torsion does not cancel between equal terms either.
        let twice = [(vector.key, vector.signature, &vector.message[..]); 2];
        let bad = if holds(&vector) { vec![] } else { vec![0, 1] };
        assert_eq!(raw::verify_batch(&twice), bad, "{}", vector.name);
    }
}

#[test]
fn all_that_hold_hold_together() {
    let vectors: Vec<_> = vectors().into_iter().filter(holds).collect();
    let items: Vec<_> = vectors.iter().map(|v| (v.key, v.signature, &v.message[..])).collect();
    assert_eq!(raw::verify_batch(&items), Vec::<usize>::new());
}

#[test]
fn rfc_8032_signatures_are_the_ones_we_make() {
    for line in include_str!("vectors/rfc8032.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let seed = hex::decode(fields[4]).unwrap().try_into().unwrap();
        let key = SecretKey::from_seed(&seed);
        assert_eq!(key.public().to_string(), fields[1]);
        assert_eq!(raw::sign(&key, &hex::decode(fields[3]).unwrap()).to_string(), fields[2]);
        assert_eq!(*key.to_seed(), seed);
    }
}

/// What registration refuses: CCTV's flags know which keys are of small order or not canonical.
#[test]
fn weak_and_non_canonical_keys_cannot_be_registered() {
    for vector in vectors().iter().filter(|vector| vector.name.starts_with("cctv")) {
        let weak = vector.flags.contains('A') || vector.flags.contains('N');
        assert_eq!(is_registrable(&vector.key), !weak, "{}", vector.name);
    }
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

#[test]
fn a_signature_is_for_one_purpose_and_one_message() {
    let (key, other) = (key(1), key(2));
    let signature = key.sign(SigningContext::Transition, b"bytes");
    let holds =
        |context, by: &SecretKey, bytes: &[u8]| verify_one(context, &by.public(), &signature, bytes).is_ok();
    assert!(holds(SigningContext::Transition, &key, b"bytes"));
    assert!(!holds(SigningContext::Header, &key, b"bytes"));
    assert!(!holds(SigningContext::Transition, &other, b"bytes"));
    assert!(!holds(SigningContext::Transition, &key, b"other"));
    assert!(raw::verify_one(&key.public(), &signature, b"bytes").is_err(), "the tag is part of it");
}

#[test]
fn a_secret_key_is_never_shown() {
    let seed = [0xab; 32];
    let shown = format!("{:?}", SecretKey::from_seed(&seed));
    assert!(!shown.contains("abab"), "{shown}");
    assert_ne!(*SecretKey::generate().unwrap().to_seed(), *SecretKey::generate().unwrap().to_seed());
}

#[test]
fn bad_ones_are_named_across_chunks() {
    let keys: Vec<_> = (0..7).map(key).collect();
    let messages: Vec<_> = (0..2500_u32).map(u32::to_be_bytes).collect();
    let bad = [0, 1, 1023, 1024, 1249, 1250, 2499];
    let signed: Vec<_> = (0..messages.len())
        .map(|n| {
            let key = &keys[n % 7];
            let message = if bad.contains(&n) { b"else" } else { &messages[n] };
            (key.public(), key.sign(SigningContext::Transition, message))
        })
        .collect();
    let claims: Vec<_> = signed
        .iter()
        .zip(&messages)
        .map(|((key, signature), bytes)| Claim { context: SigningContext::Transition, key, signature, bytes })
        .collect();
    assert_eq!(verify_batch(&claims), bad);
    assert_eq!(verify_batch(&claims[2..1023]), Vec::<usize>::new());
    assert_eq!(verify_batch(&[]), Vec::<usize>::new());
}

proptest! {
    /// Edge cases, good signatures and flipped bits in any mixture: the batch names what the single check refuses.
    #[test]
    fn single_and_batch_agree_on_mixtures(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
        flips in proptest::collection::vec((0..12_u8, 0..96 * 8_usize), 0..8),
        order in any::<u64>(),
    ) {
        let vectors = vectors();
        let mut items: Vec<(PublicKey, Signature, Vec<u8>)> = Vec::new();
        for (pick, good) in picks {
            if good {
                let key = key(pick.index(5) as u8);
                items.push((key.public(), raw::sign(&key, b"good"), b"good".to_vec()));
            } else {
                let vector = &vectors[pick.index(vectors.len())];
                items.push((vector.key, vector.signature, vector.message.clone()));
            }
        }
        for (item, bit) in flips {
            if let Some((key, signature, _)) = items.get_mut(usize::from(item)) {
                let mut bytes = [&key.as_bytes()[..], signature.as_bytes()].concat();
                bytes[bit / 8] ^= 1 << (bit % 8);
                *key = PublicKey::new(bytes[..32].try_into().unwrap());
                *signature = Signature::new(bytes[32..].try_into().unwrap());
            }
        }
        if !items.is_empty() {
            let middle = (order % items.len() as u64) as usize;
            items.rotate_left(middle);
        }
        let bad: Vec<_> = (0..items.len())
            .filter(|n| raw::verify_one(&items[*n].0, &items[*n].1, &items[*n].2).is_err())
            .collect();
        let borrowed: Vec<_> = items.iter().map(|(key, signature, message)| (*key, *signature, &message[..])).collect();
        prop_assert_eq!(raw::verify_batch(&borrowed), bad);
    }
}
