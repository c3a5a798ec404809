//! What must hold of any bytes and any value, tried on many: the readers of signed things never panic, take one form only,
//! and notice every cut and every added byte.

#![allow(clippy::unwrap_used)]

use chaoschain_schemas::{
    AccountId, Attachment, BODY_VERSION, Blob, Body, ChainId, CodecError, CorrelationId, Envelope,
    Expectation, Hash, Header, PartySignature, ProofFile, PublicKey, SealedBlock, Signature, Timestamp,
    TransitionId, codec,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_bytes::Bytes;

fn expectation() -> impl Strategy<Value = Expectation> {
    (any::<u8>(), vec(any::<u8>(), 0..=96), option::of(any::<[u8; 32]>())).prop_map(
        |(sub_tree, key, value)| Expectation { sub_tree, key: Blob(key), value: value.map(Hash::new) },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let fixed = (any::<[u8; 32]>(), any::<u64>(), any::<[u8; 32]>(), 0..16_u8, any::<u64>(), any::<u64>());
    let optional = (option::of(any::<u64>()), option::of(any::<[u8; 16]>()), option::of(any::<[u8; 32]>()));
    let attachment = option::of((any::<[u8; 32]>(), any::<u64>()));
    let rest = (vec(expectation(), 0..=8), attachment, any::<u16>(), vec(any::<u8>(), 0..300));
    (fixed, optional, rest).prop_map(|(fixed, optional, rest)| Body {
        version: BODY_VERSION,
        chain: ChainId::new(fixed.0),
        epoch: fixed.1,
        author: AccountId::new(fixed.2),
        lane: fixed.3,
        nonce: fixed.4,
        valid_until: Timestamp(fixed.5),
        occurred_at: optional.0.map(Timestamp),
        correlation: optional.1.map(CorrelationId::new),
        causation: optional.2.map(TransitionId::new),
        expects: rest.0,
        attachment: rest.1.map(|(commitment, size)| Attachment { commitment: Hash::new(commitment), size }),
        kind: rest.2,
        payload: Blob(rest.3),
    })
}

fn envelope() -> impl Strategy<Value = Vec<u8>> {
    let signers = proptest::collection::btree_set((any::<u8>(), any::<u8>()), 0..5);
    (vec(any::<u8>(), 0..80), any::<u8>(), signers).prop_map(|(body, author, further)| {
        let party = |(signer, key): (u8, u8)| PartySignature {
            signer: AccountId::new([signer; 32]),
            key: PublicKey::new([key; 32]),
            signature: Signature::new([key; 64]),
        };
        let signatures = std::iter::once((author, 0)).chain(further).map(party).collect();
        codec::encode(&Envelope { body: Bytes::new(&body), signatures })
    })
}

/// Whether the reader, if it takes `bytes`, takes them as the form that it would write.
fn one_form(bytes: &[u8]) {
    if let Ok(body) = Body::decode(bytes) {
        assert_eq!(codec::encode(&body), bytes);
    }
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert_eq!(codec::encode(&envelope), bytes);
    }
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(codec::encode(&header), bytes);
    }
    if let Ok(block) = SealedBlock::decode(bytes) {
        assert_eq!(codec::encode(&block), bytes);
    }
    if let Ok(file) = ProofFile::decode(bytes) {
        let again = codec::encode(&file);
        // A file of version 1 is lifted, and has one form as such.
        assert!(again == bytes || bytes[1] == 1 && ProofFile::decode(&again) == Ok(file));
    }
}

proptest! {
    #[test]
    fn a_body_is_read_as_it_was_written(body in body()) {
        prop_assert_eq!(Body::decode(&codec::encode(&body)), Ok(body));
    }

    #[test]
    fn every_cut_and_every_added_byte_is_noticed(body in body(), added in vec(any::<u8>(), 1..20)) {
        let bytes = codec::encode(&body);
        for end in 0..bytes.len() {
            let error = Body::decode(&bytes[..end]).unwrap_err();
            prop_assert!(matches!(error, CodecError::Truncated(_)), "cut at {}: {}", end, error);
        }
        let error = Body::decode(&[&bytes[..], &added].concat()).unwrap_err();
        prop_assert_eq!(error, CodecError::Trailing(added.len()));
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else(body in body(), at: prop::sample::Index, by in 1..=255_u8) {
        let bytes = codec::encode(&body);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= by;
        one_form(&changed);
        prop_assert_ne!(Body::decode(&changed), Ok(body));
        prop_assert_ne!(TransitionId::of_body(&changed), TransitionId::of_body(&bytes));
    }

    #[test]
    fn an_envelope_keeps_the_signed_bytes(bytes in envelope(), at: prop::sample::Index, by in 1..=255_u8) {
        let read = Envelope::decode(&bytes).unwrap();
        prop_assert_eq!(codec::encode(&read), bytes.clone());
        let mut changed = bytes;
        let place = at.index(changed.len());
        changed[place] ^= by;
        one_form(&changed);
    }

    #[test]
    fn no_bytes_upset_a_reader(bytes in vec(any::<u8>(), 0..300)) {
        one_form(&bytes);
    }
}
