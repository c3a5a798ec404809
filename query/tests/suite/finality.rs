//! A header is final when more than two thirds of the trusted weight attest it or a descendant, and by nothing less.

use std::collections::{BTreeMap, BTreeSet};

use chaoschain_projector::Head;
use chaoschain_query::prove;
use chaoschain_query::verify::{Agreement, Trust, Verified, VerifyError, verify_file};
use chaoschain_schemas::limits::VALIDATORS_MAX;
use chaoschain_schemas::{
    Attestation, AttestedHeader, ChainId, FinalityProof, Hash, Height, ProofFile, SignedAttestation,
    SigningContext, codec,
};
use proptest::prelude::*;

use crate::council::*;
use crate::shelf::*;

fn verify(file: &ProofFile, trust: &Trust) -> Result<Agreement, VerifyError> {
    let Verified::Read(read) = verify_file(&codec::encode(file), trust, Some(&Shelf))? else {
        panic!("a read became something else")
    };
    Ok(read.header.agreement())
}

#[test]
fn two_thirds_are_not_enough() {
    let headers = Headers::new(6);
    for subset in 1_u8..16 {
        let who: Vec<u8> = (0..4).filter(|validator| subset >> validator & 1 == 1).collect();
        let weight: u64 = who.iter().map(|validator| WEIGHTS[usize::from(*validator)]).sum();
        let file = headers.read(2, vec![headers.attested(2, &who, 2)]);
        let agreement = verify(&file, &council(WEIGHTS));
        if weight >= 5 {
            assert_eq!(agreement, Ok(Agreement::Finalized { weight, total: 6 }), "{who:?}");
        } else {
            assert_eq!(agreement, Err(VerifyError::FinalityShort { weight, total: 6 }), "{who:?}");
        }
    }
}

proptest! {
    /// Whoever attests whichever descendant: what counts is the weight of those who do.
    #[test]
    fn weight_decides(
        weights: [u64; 4],
        words in prop::collection::vec((0_u8..4, 3_u64..12), 1..8),
        producer: bool,
    ) {
        let weights = weights.map(|weight| weight / 4);
        let headers = Headers::new(12);
        let heights: BTreeMap<u64, BTreeSet<u8>> =
            words.iter().fold(BTreeMap::new(), |mut heights, (validator, height)| {
                let at: &mut BTreeSet<u8> = heights.entry(*height).or_default();
                at.insert(*validator);
                heights
            });
        let attested = heights.iter().map(|(height, who)| {
            headers.attested(*height, &who.iter().copied().collect::<Vec<_>>(), 3)
        });
        let file = headers.read(3, attested.collect());
        let who: BTreeSet<u8> = words.iter().map(|(validator, _)| *validator).collect();
        let weight: u64 = who.iter().map(|validator| weights[usize::from(*validator)]).sum();
        let total: u64 = weights.iter().sum();
        let trust = Trust {
            producers: if producer { trust().producers } else { Vec::new() },
            ..council(weights)
        };
        let expected = if 3 * u128::from(weight) > 2 * u128::from(total) {
            Ok(Agreement::Finalized { weight, total })
        } else if producer {
            Ok(Agreement::ProducerSigned)
        } else if total > 0 {
            Err(VerifyError::FinalityShort { weight, total })
        } else {
            Err(VerifyError::FinalityMissing)
        };
        prop_assert_eq!(verify(&file, &trust), expected);
    }
}

/// Whether the producer is trusted as well or not, nothing wrong in a proof of finality goes unnoticed.
#[test]
fn every_flipped_bit_is_noticed() {
    let headers = Headers::new(9);
    let attested = vec![headers.attested(2, &[0], 2), headers.attested(7, &[1, 2, 3], 2)];
    let file = codec::encode(&headers.read(2, attested));
    let truth = |verified: &chaoschain_query::verify::VerifiedRead| {
        prove::read(&headers.heads[2], &Shelf, &verified.read, &verified.arguments).ok()
    };
    for trust in [council(WEIGHTS), Trust { producers: trust().producers, ..council(WEIGHTS) }, trust()] {
        assert!(verify_file(&file, &trust, Some(&Shelf)).is_ok());
        for at in 0..file.len() {
            // One bit of each byte where a second trust only adds to who vouches.
            let bits = if trust.producers.is_empty() { 0..8 } else { at % 8..at % 8 + 1 };
            for bit in bits {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                let Ok(verified) = verify_file(&changed, &trust, Some(&Shelf)) else { continue };
                let Verified::Read(verified) = verified else { panic!("a read became something else") };
                // Another question may be answered by the same records.
                assert_ne!(verified.arguments, ["2"], "bit {bit} of byte {at}");
                assert_eq!(verified.value, truth(&verified), "bit {bit} of byte {at}");
            }
        }
        for end in 0..file.len() {
            assert!(verify_file(&file[..end], &trust, Some(&Shelf)).is_err(), "cut at {end}");
        }
    }
}

/// A wrong change to a proof, and what to call it.
type Bend = (&'static str, fn(&Headers, &mut FinalityProof));

/// Wrong in number or order.
const LISTS: &[Bend] = &[
    ("nothing attested", |_, proof| proof.attested.clear()),
    ("a header without attestations", |_, proof| proof.attested[0].attestations.clear()),
    ("more attestations than validators can be", |_, proof| {
        let one = proof.attested[0].attestations[0].clone();
        proof.attested[0].attestations = vec![one; VALIDATORS_MAX];
    }),
    ("an attestation twice", |_, proof| {
        let one = proof.attested[1].attestations[0].clone();
        proof.attested[1].attestations.insert(0, one);
    }),
    ("a validator at two heights", |headers, proof| proof.attested[1] = headers.attested(7, &[0, 2], 2)),
    ("attestations turned round", |_, proof| proof.attested[1].attestations.reverse()),
    ("headers turned round", |_, proof| proof.attested.reverse()),
    ("a header twice", |_, proof| {
        let one = proof.attested[0].clone();
        proof.attested.push(one);
    }),
    ("one validator left out", |_, proof| drop(proof.attested.remove(0))),
];

/// Wrong in what ties an attested header to the final one.
const TIES: &[Bend] = &[
    ("a header below", |headers, proof| proof.attested[0] = headers.attested(1, &[0], 1)),
    ("a sibling of the header itself", |headers, proof| {
        let other = sibling(&headers.heads[2]);
        proof.attested[0].header = other.signed.header;
        proof.attested[0].attestations = vec![signed(0, &word(0, Height(2), other.hash))];
    }),
    ("a tie where none is needed", |headers, proof| {
        proof.attested[0].ancestor = headers.ancestor(1, 2).into();
    }),
    ("no tie", |_, proof| proof.attested[1].ancestor.0.clear()),
    ("a tie that opens another height", |headers, proof| {
        proof.attested[1].ancestor = headers.ancestor(3, 7).into();
    }),
    ("a tie under another header", |headers, proof| {
        proof.attested[1].ancestor = headers.ancestor(2, 6).into();
    }),
    ("a tie cut short", |_, proof| proof.attested[1].ancestor.0.truncate(20)),
    ("a tie that is too long", |_, proof| proof.attested[1].ancestor.0.resize(3000, 0)),
    ("a header that is none", |_, proof| proof.attested[0].header.0.clear()),
];

/// Wrong in what validators say, or in who says it.
const WORDS: &[Bend] = &[
    ("attestations of a sibling at a header", |headers, proof| {
        let other = sibling(&headers.heads[7]);
        proof.attested[1].attestations = all_say(&[1, 2], Height(7), other.hash);
    }),
    ("another height", |_, proof| again(proof, 1, |word| word.height = Height(6))),
    ("another chain", |_, proof| again(proof, 1, |word| word.chain = ChainId::new([8; 32]))),
    ("another version", |_, proof| again(proof, 1, |word| word.version = 2)),
    ("another's account", |_, proof| again(proof, 2, |word| word.validator = validator_id(1))),
    ("a key that is not the account's", |headers, proof| {
        let stranger = signed(9, &word(1, Height(7), headers.heads[7].hash));
        proof.attested[1].attestations.retain(|known| known.key != validator_key(1).public());
        proof.attested[1].attestations.push(stranger);
        proof.attested[1].attestations.sort_by_key(|known| known.key);
    }),
    ("a signature for another purpose", |_, proof| {
        let one = &mut proof.attested[0].attestations[0];
        one.signature = validator_key(0).sign(SigningContext::Header, &one.attestation);
    }),
    ("another's key", |_, proof| proof.attested[0].attestations[0].key = validator_key(1).public()),
    ("bytes that are none", |_, proof| proof.attested[0].attestations[0].attestation.0.clear()),
];

/// Another header of the same height.
fn sibling(head: &Head) -> Head {
    let mut header = head.header.clone();
    header.timestamp.0 += 1;
    sign(header, head.state.clone())
}

fn all_say(validators: &[u8], height: Height, header_hash: Hash) -> Vec<SignedAttestation> {
    let words = validators.iter().map(|of| signed(*of, &word(*of, height, header_hash)));
    let mut attestations: Vec<_> = words.collect();
    attestations.sort_by_key(|attestation| attestation.key);
    attestations
}

/// Lets a validator sign a bent word in place of the one it has at the second header.
fn again(proof: &mut FinalityProof, validator: u8, bend: impl FnOnce(&mut Attestation)) {
    let key = validator_key(validator).public();
    let mut all = proof.attested[1].attestations.iter_mut();
    let place = all.find(|known| known.key == key).unwrap();
    let mut word = Attestation::decode(&place.attestation).unwrap();
    bend(&mut word);
    *place = signed(validator, &word);
}

#[test]
fn what_is_wrong_is_named() {
    let headers = Headers::new(9);
    let mut shown = Vec::new();
    for (what, bend) in [LISTS, TIES, WORDS].concat() {
        let mut file = headers.read(2, vec![headers.attested(2, &[0], 2), headers.attested(7, &[1, 2], 2)]);
        assert!(verify(&file, &council(WEIGHTS)).is_ok());
        bend(&headers, file.finality.as_mut().unwrap());
        let error = verify(&file, &council(WEIGHTS)).expect_err(what);
        shown.push(format!("{what}: {}: {error}", error.code()));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_final_fork_makes_no_other_header_final() {
    // All validators attest a sibling of header 7: its own tie reaches 2, which both have, but nothing of 7.
    let headers = Headers::new(9);
    let sibling = sibling(&headers.heads[7]);
    let of_sibling = |ancestor: Vec<u8>| AttestedHeader {
        header: sibling.signed.header.clone(),
        ancestor: ancestor.into(),
        attestations: all_say(ALL, Height(7), sibling.hash),
    };
    let common = headers.read(2, vec![of_sibling(headers.ancestor(2, 7))]);
    assert_eq!(verify(&common, &council(WEIGHTS)), Ok(Agreement::Finalized { weight: 6, total: 6 }));
    let own = headers.read(7, vec![of_sibling(Vec::new())]);
    assert_eq!(verify(&own, &council(WEIGHTS)).unwrap_err().code(), "finality_not_descendant");
}

#[test]
fn a_producer_that_is_not_listed_must_have_signed_all_the_same() {
    let headers = Headers::new(3);
    let mut file = headers.read(2, vec![headers.attested(2, ALL, 2)]);
    assert_eq!(verify(&file, &council(WEIGHTS)), Ok(Agreement::Finalized { weight: 6, total: 6 }));
    let read = file.proof.read.as_mut().unwrap();
    read.header.key = validator_key(0).public();
    assert_eq!(verify(&file, &council(WEIGHTS)).unwrap_err().code(), "header_signature_invalid");
}

#[test]
fn who_vouches_is_told() {
    let headers = Headers::new(3);
    let plain = |file: ProofFile| ProofFile { finality: None, ..file };
    let final_file = || headers.read(2, vec![headers.attested(2, ALL, 2)]);
    let hash = Some(headers.heads[2].hash);
    let everything = Trust { header: hash, producers: trust().producers, ..council(WEIGHTS) };
    let pinned = Trust { header: hash, ..Trust::in_producers(CHAIN, Vec::new()) };
    let another = Trust { header: Some(Hash::new([1; 32])), ..pinned.clone() };
    let (by, code) = (
        |trust: &Trust, file| verify(&file, trust).unwrap().to_string(),
        |trust: &Trust, file| verify(&file, trust).unwrap_err().code(),
    );
    assert_eq!(by(&everything, final_file()), "finalized (6 of 6)");
    assert_eq!(by(&everything, plain(final_file())), "pinned");
    assert_eq!(by(&trust(), final_file()), "producer-signed");
    assert_eq!(by(&pinned, plain(final_file())), "pinned");
    assert_eq!(code(&another, plain(final_file())), "header_untrusted");
    assert_eq!(code(&council(WEIGHTS), plain(final_file())), "finality_missing");
    assert_eq!(code(&council([0; 4]), final_file()), "finality_missing");
}
