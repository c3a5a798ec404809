//! Envelopes and blocks: what is made verifies, and nothing else does, by name.

// In tests a panic is the report; the lint's own exception misses their helpers.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use chaoschain_events::block::{
    BlockError, BlockFault, VerifiedBlock, events_root, genesis_events_root, seal, seal_genesis,
    verify_blocks,
};
use chaoschain_events::envelope::{
    EnvelopeError, VerifiedEnvelope, assemble, sign, sign_as, verify_envelopes,
};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::control::{GENESIS_VERSION, Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::limits::{BLOCK_EVENTS_MAX, SIGNATURES_MAX};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Blob, Body, ChainId, Envelope, HEADER_VERSION, Hash, Header, Height,
    SealedBlock, SigningContext, Timestamp, TransitionId, codec,
};
use proptest::prelude::*;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn account(key: &SecretKey) -> AccountId {
    AccountId::from_first_key(&key.public())
}

fn body(author: &SecretKey, nonce: u64) -> Body {
    Body {
        version: BODY_VERSION,
        chain: ChainId::new([7; 32]),
        epoch: 0,
        author: account(author),
        lane: 0,
        nonce,
        valid_until: Timestamp(1_000_000),
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: vec![],
        attachment: None,
        kind: 300,
        payload: Blob(vec![1, 2, 3]),
    }
}

fn event(nonce: u64) -> VerifiedEnvelope {
    let author = key(1 + nonce as u8 % 5);
    sign(&body(&author, nonce), &[(account(&author), &author)]).unwrap()
}

fn header(events: &[VerifiedEnvelope]) -> Header {
    Header {
        version: HEADER_VERSION,
        chain: ChainId::new([7; 32]),
        epoch: 0,
        rules: 1,
        height: Height(4),
        parent: Hash::new([3; 32]),
        timestamp: Timestamp(5),
        producer: account(&key(9)),
        event_count: events.len() as u32,
        events_root: events_root(events),
        state_root: Hash::new([4; 32]),
        sub_roots: vec![Hash::new([5; 32]); 3],
    }
}

fn block(events: Vec<VerifiedEnvelope>) -> VerifiedBlock {
    seal(header(&events), events, &key(9)).unwrap()
}

/// A message sealed over anything, as a faulty producer would.
fn forge(header: &Header, events: &[&[u8]]) -> Bytes {
    let header = codec::encode(header);
    let signature = key(9).sign(SigningContext::Header, &header);
    let events = events.iter().map(|event| serde_bytes::Bytes::new(event)).collect();
    let block =
        SealedBlock { header: serde_bytes::Bytes::new(&header), key: key(9).public(), signature, events };
    codec::encode(&block).into()
}

#[test]
fn an_envelope_carries_what_was_signed() {
    let (ana, bob, eve) = (key(1), key(2), key(3));
    let body = body(&ana, 0);
    let made = sign(&body, &[(account(&ana), &ana), (account(&eve), &eve), (account(&bob), &bob)]).unwrap();
    let read = VerifiedEnvelope::verify(made.bytes().clone()).unwrap();
    assert_eq!(read, made);
    assert_eq!(*read.body(), body);
    assert_eq!(read.body_bytes(), &codec::encode(&body));
    assert_eq!(read.id(), TransitionId::of_body(read.body_bytes()));
    assert_eq!(read.parties()[0].signer, account(&ana), "the author stays first");
    assert!(read.parties()[1..].is_sorted_by_key(|party| party.signer), "{:?}", read.parties());
}

#[test]
fn signers_are_one_to_the_limit() {
    let keys: Vec<_> = (0..=SIGNATURES_MAX as u8).map(key).collect();
    let signers: Vec<_> = keys.iter().map(|key| (account(key), key)).collect();
    assert_eq!(sign(&body(&keys[0], 0), &[]).unwrap_err().code(), "signers_wrong");
    assert_eq!(sign(&body(&keys[0], 0), &signers).unwrap_err().code(), "signers_wrong");
    let all = sign(&body(&keys[0], 0), &signers[..SIGNATURES_MAX]).unwrap();
    assert!(VerifiedEnvelope::verify(all.bytes().clone()).is_ok());
    let twice = [signers[0], signers[1], signers[1]];
    assert_eq!(sign(&body(&keys[0], 0), &twice).unwrap_err().code(), "malformed", "nobody signs twice");
}

#[test]
fn refused_envelopes_are_named() {
    let (ana, bob) = (key(1), key(2));
    let body_bytes = codec::encode(&body(&ana, 0));
    let good = sign_as(account(&ana), &ana, &body_bytes);
    let forged = sign_as(account(&bob), &bob, b"something else");
    let envelopes = [
        assemble(&body_bytes, vec![good.clone()]),
        assemble(&body_bytes, vec![good.clone(), forged.clone()]),
        assemble(b"not a body", vec![sign_as(account(&ana), &ana, b"not a body")]),
        assemble(&body_bytes, vec![]),
        b"garbage".to_vec(),
        [assemble(&body_bytes, vec![good.clone()]), vec![0]].concat(),
        assemble(&body_bytes, vec![forged.clone(), sign_as(account(&bob), &ana, b"neither")]),
    ];
    let envelopes: Vec<Bytes> = envelopes.into_iter().map(Bytes::from).collect();
    let outcomes = verify_envelopes(&envelopes);
    let codes: Vec<_> =
        outcomes.iter().map(|o| o.as_ref().map_or_else(EnvelopeError::code, |_| "ok")).collect();
    let expected = [
        "ok",
        "signature_invalid",
        "trailing_bytes",
        "malformed",
        "trailing_bytes",
        "trailing_bytes",
        "signature_invalid",
    ];
    assert_eq!(codes, expected, "{outcomes:?}");
    assert_eq!(outcomes[1], Err(EnvelopeError::Signature { index: 1, signer: account(&bob) }));
    assert_eq!(outcomes[6], Err(EnvelopeError::Signature { index: 0, signer: account(&bob) }));
    for (bytes, outcome) in envelopes.iter().zip(outcomes) {
        assert_eq!(VerifiedEnvelope::verify(bytes.clone()), outcome, "alone as among others");
    }
}

#[test]
fn a_sealed_block_verifies_and_is_the_same() {
    for count in [0, 1, 2, 300] {
        let sealed = block((0..count).map(event).collect());
        let verified = VerifiedBlock::verify(sealed.message().clone()).unwrap();
        assert_eq!(verified, sealed);
        assert_eq!(verified.events().len(), count as usize);
        assert_eq!(verified.header_hash(), Header::hash_of(verified.header_bytes()));
        assert_eq!(verified.signed_header().header[..], verified.header_bytes()[..]);
        assert_eq!(*verified.producer_key(), key(9).public());
        assert!(verified.genesis().is_none());
    }
}

#[test]
fn the_sealer_is_held_to_the_limits_too() {
    let events = vec![event(0), event(1)];
    let other_count = Header { event_count: 1, ..header(&events) };
    assert_eq!(seal(other_count, events.clone(), &key(9)).unwrap_err().code(), "event_count_wrong");
    let other_root = Header { events_root: Hash::ZERO, ..header(&events) };
    assert_eq!(seal(other_root, events.clone(), &key(9)).unwrap_err().code(), "events_root_wrong");
    let many = vec![event(0); BLOCK_EVENTS_MAX + 1];
    assert_eq!(seal(header(&many), many, &key(9)).unwrap_err().code(), "event_count_wrong");
    let author = key(1);
    let big = Body { payload: Blob(vec![0; 128 << 10]), ..body(&author, 0) };
    let big = vec![sign(&big, &[(account(&author), &author)]).unwrap(); 8];
    assert_eq!(seal(header(&big), big, &key(9)).unwrap_err().code(), "block_malformed");
    let zero = Header { height: Height(0), ..header(&events) };
    assert_eq!(seal(zero, events, &key(9)).unwrap_err().code(), "genesis_refused");
}

#[test]
fn refused_blocks_are_named_and_tell_who_sealed_them() {
    let good = block((0..3).map(event).collect());
    let events: Vec<_> = good.events().iter().map(|event| &event.bytes()[..]).collect();
    let header = good.header();
    let flipped = |event: usize| {
        let mut bytes = events[event].to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let (bad_0, bad_2) = (flipped(0), flipped(2));
    // The root over the forged events, so that nothing but the signatures is wrong.
    let over = |events: &[&[u8]]| {
        let values = events.iter().map(|event| chaoschain_state::merkle::value_hash(event));
        let keys = (0_u32..).map(u32::to_be_bytes);
        Header { events_root: chaoschain_state::merkle::root_of(keys.zip(values)), ..header.clone() }
    };
    let forged_two = [&bad_0[..], events[1], &bad_2];
    let malformed = [events[0], b"garbage"];
    let mut wrong_signature = good.message().to_vec();
    let place = wrong_signature
        .windows(64)
        .position(|w| w == &good.signed_header().signature.as_bytes()[..])
        .unwrap();
    wrong_signature[place + 40] ^= 1;
    let cases: [(&str, Bytes, bool); 10] = [
        ("block_malformed", Bytes::from_static(b"garbage"), false),
        ("block_malformed", Bytes::new(), false),
        ("block_malformed", [good.message(), &[0][..]].concat().into(), false),
        ("header_malformed", forge(&Header { version: 9, ..header.clone() }, &events), false),
        ("producer_signature_invalid", wrong_signature.into(), false),
        ("event_count_wrong", forge(header, &events[..2]), true),
        ("events_root_wrong", forge(header, &[events[1], events[0], events[2]]), true),
        ("events_refused", forge(&over(&forged_two), &forged_two), true),
        ("events_refused", forge(&Header { event_count: 2, ..over(&malformed) }, &malformed), true),
        ("genesis_refused", forge(&Header { height: Height(0), ..header.clone() }, &events), true),
    ];
    let mut messages: Vec<_> = cases.iter().map(|(_, message, _)| message.clone()).collect();
    messages.insert(4, good.message().clone());
    messages.push(good.message().clone());
    let mut outcomes = verify_blocks(&messages);
    assert_eq!(outcomes.pop().unwrap().unwrap(), good, "bad neighbours do no harm");
    assert_eq!(outcomes.remove(4).unwrap(), good);
    for ((code, message, signed), outcome) in cases.iter().zip(outcomes) {
        let error = outcome.unwrap_err();
        assert_eq!(error.code(), *code, "{error}");
        let by = error.sealed_by.as_ref().map(|by| by.1);
        assert_eq!(by, signed.then(|| key(9).public()), "{code}");
        assert_eq!(VerifiedBlock::verify(message.clone()).unwrap_err(), error, "alone as among others");
    }
    let BlockError { fault: BlockFault::Events(refused), .. } =
        VerifiedBlock::verify(forge(&over(&forged_two), &forged_two)).unwrap_err()
    else {
        panic!("events are refused")
    };
    let signer = |event: usize| good.events()[event].parties()[0].signer;
    let named = |event: usize| (event as u32, EnvelopeError::Signature { index: 0, signer: signer(event) });
    assert_eq!(refused, [named(0), named(2)], "every bad one is named");
}

fn genesis() -> (Genesis, Header, Bytes) {
    let document = Genesis {
        version: GENESIS_VERSION,
        name: "test".into(),
        domain: "society".into(),
        rules: 1,
        sub_trees: vec!["agents".into()],
        timestamp: Timestamp(5),
        parameters: Parameters::default(),
        domain_parameters: Blob::default(),
        accounts: vec![GenesisAccount {
            key: key(9).public(),
            role: Role::Producer,
            weight: 1,
            sponsorships: 0,
        }],
    };
    let (bytes, chain) = document.encode();
    let header = Header {
        chain,
        height: Height(0),
        parent: Hash::ZERO,
        event_count: 1,
        events_root: genesis_events_root(&bytes),
        ..header(&[])
    };
    (document, header, bytes.into())
}

#[test]
fn genesis_proves_itself() {
    let (document, header, bytes) = genesis();
    let sealed = seal_genesis(header.clone(), bytes.clone(), &key(9)).unwrap();
    let verified = VerifiedBlock::verify(sealed.message().clone()).unwrap();
    assert_eq!(verified, sealed);
    assert_eq!(verified.genesis(), Some((&document, &bytes)));
    assert!(verified.events().is_empty());

    assert_eq!(seal_genesis(header.clone(), bytes.clone(), &key(8)).unwrap_err().code(), "genesis_refused");
    let wrong = [
        Header { chain: ChainId::new([1; 32]), ..header.clone() },
        Header { parent: Hash::new([1; 32]), ..header.clone() },
        Header { producer: account(&key(8)), ..header.clone() },
    ];
    for header in wrong {
        assert_eq!(
            seal_genesis(header.clone(), bytes.clone(), &key(9)).unwrap_err().code(),
            "genesis_refused"
        );
        let error = VerifiedBlock::verify(forge(&header, &[&bytes])).unwrap_err();
        assert_eq!(error.code(), "genesis_refused", "{error}");
    }
    // Elsewhere a document is no envelope.
    let error = VerifiedBlock::verify(forge(&Header { height: Height(1), ..header }, &[&bytes])).unwrap_err();
    assert_eq!(error.code(), "events_refused");
}

#[test]
fn no_byte_of_a_block_can_be_changed() {
    let good = block((0..2).map(event).collect());
    let flipped: Vec<Bytes> = (0..good.message().len())
        .map(|at| {
            let mut bytes = good.message().to_vec();
            bytes[at] ^= 1 << (at % 8);
            bytes.into()
        })
        .collect();
    for (at, outcome) in verify_blocks(&flipped).into_iter().enumerate() {
        assert!(outcome.is_err(), "byte {at}");
    }
}

proptest! {
    /// Whatever an envelope's bytes, reading them either fails or gives back exactly what would be written.
    #[test]
    fn what_verifies_is_canonical(at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>()) {
        let good = event(3);
        let mut bytes = good.bytes().to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = with }
        match VerifiedEnvelope::verify(bytes.clone().into()) {
            Ok(envelope) => {
                let again = Envelope {
                    body: serde_bytes::Bytes::new(envelope.body_bytes()),
                    signatures: envelope.parties().to_vec(),
                };
                prop_assert_eq!(codec::encode(&again), bytes);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
