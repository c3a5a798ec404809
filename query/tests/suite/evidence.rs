//! Evidence proves itself: two words that contradict each other, and nothing that only looks so.

use chaoschain_events::signature::SecretKey;
use chaoschain_query::verify::{Agreement, Trust, Verified, verify_equivocation, verify_file, verify_fork};
use chaoschain_schemas::{
    Attestation, ChainId, EquivocationProof, FinalityProof, ForkProof, Hash, Height, ProofFile, SignedHeader,
    SigningContext, codec,
};

use crate::council::*;
use crate::shelf::*;

fn equivocation(bend: impl FnOnce(&mut Attestation)) -> EquivocationProof {
    let first = word(1, Height(7), Hash::new([1; 32]));
    let mut second = Attestation { header_hash: Hash::new([2; 32]), ..first.clone() };
    bend(&mut second);
    EquivocationProof { first: signed(1, &first), second: signed(1, &second) }
}

#[test]
fn two_hashes_at_one_height_are_equivocation() {
    let proof = equivocation(|_| {});
    let verified = verify_equivocation(&proof, &council(WEIGHTS)).unwrap();
    assert_eq!((verified.validator, verified.height, verified.weight), (validator_id(1), Height(7), Some(2)));
    assert_eq!(verified.hashes, [Hash::new([1; 32]), Hash::new([2; 32])]);
    // Anyone can sign two words in any account's name; only the trusted key counts.
    let mut stranger = proof.clone();
    for side in [&mut stranger.first, &mut stranger.second] {
        let key = validator_key(2);
        side.signature = key.sign(SigningContext::Attestation, &side.attestation);
        side.key = key.public();
    }
    assert_eq!(verify_equivocation(&stranger, &council(WEIGHTS)).unwrap().weight, None);
    assert_eq!(verify_equivocation(&proof, &trust()).unwrap().weight, None);
}

#[test]
fn what_is_no_equivocation_is_named() {
    let mut two_keys = equivocation(|_| {});
    let key = validator_key(2);
    two_keys.second.signature = key.sign(SigningContext::Attestation, &two_keys.second.attestation);
    two_keys.second.key = key.public();
    let mut unsigned = equivocation(|_| {});
    unsigned.second.signature = unsigned.first.signature;
    let cases = [
        ("the same header", equivocation(|second| second.header_hash = Hash::new([1; 32]))),
        ("two heights", equivocation(|second| second.height = Height(8))),
        ("two validators", equivocation(|second| second.validator = validator_id(2))),
        ("another chain", equivocation(|second| second.chain = ChainId::new([8; 32]))),
        ("another version", equivocation(|second| second.version = 0)),
        ("two keys", two_keys),
        ("a signature of another word", unsigned),
    ];
    let shown = cases.map(|(what, proof)| {
        let error = verify_equivocation(&proof, &council(WEIGHTS)).expect_err(what);
        format!("{what}: {}: {error}", error.code())
    });
    insta::assert_snapshot!(shown.join("\n"));
    let nobody = Trust::in_producers(CHAIN, Vec::new());
    assert_eq!(verify_equivocation(&equivocation(|_| {}), &nobody).unwrap_err().code(), "trust_empty");
    let finality = Some(FinalityProof { attested: Vec::new() });
    let file = ProofFile::of_equivocation(equivocation(|_| {})).with_finality(finality);
    assert_eq!(verify_file(&codec::encode(&file), &trust(), None).unwrap_err().code(), "malformed");
}

fn resigned(header: &chaoschain_schemas::Header, key: &SecretKey) -> SignedHeader {
    let bytes = codec::encode(header);
    let signature = key.sign(SigningContext::Header, &bytes);
    SignedHeader { header: bytes.into(), key: key.public(), signature }
}

fn fork(headers: &Headers, key: &SecretKey, bend: impl FnOnce(&mut chaoschain_schemas::Header)) -> ForkProof {
    let ours = &headers.heads[4];
    let mut theirs = ours.header.clone();
    bend(&mut theirs);
    ForkProof { ours: ours.signed.clone(), theirs: resigned(&theirs, key) }
}

#[test]
fn two_blocks_at_one_height_are_a_fork() {
    let headers = Headers::new(6);
    let stranger = SecretKey::from_seed(&[77; 32]);
    let later = |header: &mut chaoschain_schemas::Header| header.timestamp.0 += 1;
    let same_key = fork(&headers, &producer(), later);
    let verified = verify_fork(&same_key, None, &trust()).unwrap();
    assert_eq!((verified.height, verified.agreement), (Height(4), Some(Agreement::ProducerSigned)));
    assert!(verified.ours.trusted && verified.theirs.trusted);
    assert_eq!(verified.ours.hash, headers.heads[4].hash);
    assert_eq!(verified.theirs.header.timestamp.0, headers.heads[4].header.timestamp.0 + 1);
    // Which one was history is shown by finality alone.
    let finality = FinalityProof { attested: vec![headers.attested(4, ALL, 4)] };
    let verified = verify_fork(&same_key, Some(&finality), &council(WEIGHTS)).unwrap();
    assert_eq!(verified.agreement, Some(Agreement::Finalized { weight: 6, total: 6 }));
    // The header that is final names the account of the key that signed both.
    assert!(!verified.ours.trusted && verified.by_producer);
    let swapped = ForkProof { ours: same_key.theirs.clone(), theirs: same_key.ours.clone() };
    let refused = verify_fork(&swapped, Some(&finality), &council(WEIGHTS)).unwrap_err();
    assert_eq!(refused.code(), "finality_not_descendant");
    // A pair that anyone could have made says of itself that nobody trusted made it.
    let verified = verify_fork(&same_key, None, &council(WEIGHTS)).unwrap();
    assert!(!verified.ours.trusted && !verified.theirs.trusted && verified.agreement.is_none());
    assert!(!verified.by_producer);
    // Two producers, both trusted.
    let two = fork(&headers, &stranger, later);
    let both = Trust::in_producers(CHAIN, vec![producer().public(), stranger.public()]);
    assert!(verify_fork(&two, None, &both).is_ok());
}

/// Finality and a pin vouch for a header's bytes, and anyone can sign those once more, beside a header of their own making.
#[test]
fn a_pair_that_a_stranger_signed_is_no_producers() {
    let headers = Headers::new(6);
    let stranger = SecretKey::from_seed(&[77; 32]);
    let later = |header: &mut chaoschain_schemas::Header| header.timestamp.0 += 1;
    let made = fork(&headers, &stranger, later);
    let forged = ForkProof { ours: resigned(&headers.heads[4].header, &stranger), ..made };
    let finality = FinalityProof { attested: vec![headers.attested(4, ALL, 4)] };
    let pinned = Trust { header: Some(headers.heads[4].hash), ..trust() };
    let both = Trust { producers: trust().producers, ..council(WEIGHTS) };
    for (finality, trust) in [(Some(&finality), council(WEIGHTS)), (Some(&finality), both), (None, pinned)] {
        let verified = verify_fork(&forged, finality, &trust).unwrap();
        assert!(verified.agreement.is_some(), "the header itself is believed");
        assert!(!verified.by_producer && !verified.ours.trusted && !verified.theirs.trusted);
    }
}

#[test]
fn what_is_no_fork_is_named() {
    let headers = Headers::new(6);
    let stranger = SecretKey::from_seed(&[77; 32]);
    let mut unsigned = fork(&headers, &producer(), |header| header.timestamp.0 += 1);
    unsigned.theirs.signature = unsigned.ours.signature;
    let cases = [
        ("the same header", fork(&headers, &producer(), |_| {})),
        ("two heights", fork(&headers, &producer(), |header| header.height = Height(5))),
        ("another chain", fork(&headers, &producer(), |header| header.chain = ChainId::new([8; 32]))),
        ("a stranger's", fork(&headers, &stranger, |header| header.timestamp.0 += 1)),
        ("a signature of another header", unsigned),
    ];
    let shown = cases.map(|(what, proof)| {
        let error = verify_fork(&proof, None, &trust()).expect_err(what);
        format!("{what}: {}: {error}", error.code())
    });
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let headers = Headers::new(6);
    let finality =
        FinalityProof { attested: vec![headers.attested(4, &[0, 2], 4), headers.attested(5, &[1], 4)] };
    let fork = fork(&headers, &producer(), |header| header.timestamp.0 += 1);
    let trust = Trust { producers: trust().producers, ..council(WEIGHTS) };
    for file in [
        ProofFile::of_equivocation(equivocation(|_| {})),
        ProofFile::of_fork(fork.clone()),
        ProofFile::of_fork(fork).with_finality(Some(finality)),
    ] {
        let file = codec::encode(&file);
        let verified = verify_file(&file, &trust, None).unwrap();
        assert!(matches!(verified, Verified::Equivocation(_) | Verified::Fork(_)));
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                assert!(verify_file(&changed, &trust, None).is_err(), "bit {bit} of byte {at}");
            }
        }
        for end in 0..file.len() {
            assert!(verify_file(&file[..end], &trust, None).is_err(), "cut at {end}");
        }
    }
}
