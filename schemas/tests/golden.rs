//! The vectors of `golden/`, read as another implementation reads them: JSON in, the same bytes out, and back.
//!
//! The files hold signed things and are written by the test `golden_blocks` of `events`; here signatures are bytes. A
//! difference is a change of format. When one is meant, run that test with `CHAOSCHAIN_GOLDEN=write` and read it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use chaoschain_schemas::api::{BatchOutcome, BatchSubmission, ErrorBody, ReadPoint, Receipt, Submission};
use chaoschain_schemas::control::{
    Account, AccountRegistration, ChainState, Genesis, KeyRotation, ParameterChange, Parameters, RoleGrant,
    Schedule, Suspension, Validators,
};
use chaoschain_schemas::{
    AccountId, Attachment, Attestation, Body, CodecError, Envelope, Header, NameHash, PROOF_VERSION,
    ProofFile, Purpose, SealedBlock, SignedAttestation, SigningContext, TransitionId, codec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::Bytes;
use serde_json::Value as Json;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(file)
}

fn vectors(file: &str) -> Vec<Json> {
    serde_json::from_slice(&std::fs::read(path(file)).unwrap()).unwrap()
}

fn hex_of(json: &Json) -> Vec<u8> {
    hex::decode(json.as_str().unwrap_or_else(|| panic!("hex digits are wanted, not {json}"))).unwrap()
}

fn of<T: DeserializeOwned>(json: &Json) -> T {
    serde_json::from_value(json.clone()).unwrap()
}

/// JSON → value → bytes and bytes → value → JSON; answers the value and its bytes.
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    vector: &Json,
    decode: impl Fn(&[u8]) -> Result<T, CodecError>,
) -> (T, Vec<u8>) {
    let value: T = of(&vector["json"]);
    let bytes = codec::encode(&value);
    assert_eq!(hex::encode(&bytes), vector["hex"], "bytes");
    assert_eq!(decode(&bytes).unwrap(), value, "value");
    assert_eq!(serde_json::to_value(&value).unwrap(), vector["json"], "JSON");
    (value, bytes)
}

fn plain<T: Serialize + DeserializeOwned + PartialEq + Debug>(vector: &Json) -> (T, Vec<u8>) {
    both_ways(vector, |bytes| codec::decode(bytes, bytes.len()))
}

fn json_only<T: Serialize + DeserializeOwned>(vector: &Json) -> T {
    let value: T = of(&vector["json"]);
    assert_eq!(serde_json::to_value(&value).unwrap(), vector["json"], "JSON");
    value
}

fn check(vector: &Json) {
    match vector["type"].as_str().unwrap() {
        "purpose" => {
            let (purpose, _) = *Purpose::ALL.iter().find(|(_, word)| vector["word"] == *word).unwrap();
            assert_eq!(hex::encode(purpose.key()), vector["key"]);
            assert_eq!(purpose.hash(b""), of(&vector["of_nothing"]));
            assert_eq!(purpose.hash(b"abc"), of(&vector["of_abc"]));
        }
        "tag" if vector["word"] == "header" => {
            assert_eq!(SigningContext::Header.tag(), hex_of(&vector["hex"]));
        }
        "tag" if vector["word"] == "attestation" => {
            assert_eq!(SigningContext::Attestation.tag(), hex_of(&vector["hex"]));
        }
        "tag" => assert_eq!(SigningContext::Transition.tag(), hex_of(&vector["hex"])),
        "key" => assert_eq!(AccountId::from_first_key(&of(&vector["public"])), of(&vector["account"])),
        "name" => {
            assert_eq!(NameHash::of(vector["text"].as_str().unwrap().as_bytes()), of(&vector["hash"]));
        }
        "attachment" => {
            let (salt, payload) = (hex_of(&vector["salt"]), hex_of(&vector["payload"]));
            let commitment = Purpose::Attachment.hash(&[&salt[..], &payload].concat());
            let attachment: Attachment = json_only(vector);
            assert_eq!(attachment, Attachment { commitment, size: payload.len() as u64 });
        }
        "AccountRegistration" => drop(plain::<AccountRegistration>(vector)),
        "KeyRotation" => drop(plain::<KeyRotation>(vector)),
        "RoleGrant" => drop(plain::<RoleGrant>(vector)),
        "Suspension" => drop(plain::<Suspension>(vector)),
        "ParameterChange" => drop(plain::<ParameterChange>(vector)),
        "Schedule" => drop(plain::<Schedule>(vector)),
        "Body" => {
            let (_, bytes) = both_ways(vector, Body::decode);
            assert_eq!(TransitionId::of_body(&bytes), of(&vector["id"]));
        }
        "Envelope" => check_envelope(vector),
        "Receipt" => drop(plain::<Receipt>(vector)),
        "Submission" => drop(json_only::<Submission>(vector)),
        "BatchSubmission" => {
            let batch: BatchSubmission = json_only(vector);
            assert_eq!(hex::encode(codec::encode(&batch.envelopes)), vector["hex"]);
        }
        "ErrorBody" => drop(plain::<ErrorBody>(vector)),
        "Vec<BatchOutcome>" => drop(plain::<Vec<BatchOutcome>>(vector)),
        "ReadPoint" => drop(json_only::<ReadPoint>(vector)),
        "Header" => {
            let (_, bytes) = both_ways(vector, Header::decode);
            assert_eq!(Header::hash_of(&bytes), of(&vector["hash"]));
        }
        "SealedBlock" => check_block(vector),
        "Genesis" => {
            let (genesis, bytes) = both_ways(vector, Genesis::decode);
            assert_eq!(genesis.encode(), (bytes, of(&vector["chain"])));
        }
        "record" => check_record(vector),
        // Roots and trust need trees and signatures, which are not known here.
        "roots" | "blocks" | "trust" => {}
        "ProofFile" => drop(both_ways(vector, ProofFile::decode)),
        "Attestation" => drop(both_ways(vector, Attestation::decode)),
        "SignedAttestation" => drop(both_ways(vector, SignedAttestation::decode)),
        unknown => panic!("nothing checks vectors of type {unknown}"),
    }
}

/// A proof file of version 1 is read as one of today's that lacks what came since.
fn check_lifted(vector: &Json) {
    let file = ProofFile::decode(&hex_of(&vector["hex"])).unwrap();
    let mut lifted = vector["json"].clone();
    assert_eq!(lifted["version"], 1);
    lifted["version"] = PROOF_VERSION.into();
    lifted["finality"] = Json::Null;
    for since in ["equivocation", "fork"] {
        lifted["proof"][since] = Json::Null;
    }
    assert_eq!(serde_json::to_value(&file).unwrap(), lifted);
    assert_eq!(ProofFile::decode(&codec::encode(&file)), Ok(file));
}

#[test]
fn proof_files_of_version_1_are_read_for_ever() {
    let (files, rest): (Vec<_>, Vec<_>) =
        vectors("proof-v1.json").into_iter().partition(|vector| vector["type"] == "ProofFile");
    files.iter().for_each(check_lifted);
    rest.iter().for_each(check);
    assert_eq!((files.len(), rest.len()), (9, 2));
}

fn check_envelope(vector: &Json) {
    let (body, bytes) = (hex_of(&vector["body"]), hex_of(&vector["hex"]));
    let envelope = Envelope { body: Bytes::new(&body), signatures: of(&vector["signatures"]) };
    assert_eq!(hex::encode(codec::encode(&envelope)), vector["hex"]);
    assert_eq!(Envelope::decode(&bytes).unwrap(), envelope);
    assert_eq!(Purpose::Value.hash(&bytes), of(&vector["value_hash"]));
}

fn check_block(vector: &Json) {
    let (header, bytes) = (hex_of(&vector["header"]), hex_of(&vector["hex"]));
    let events: Vec<_> = vector["events"].as_array().unwrap().iter().map(hex_of).collect();
    let block = SealedBlock {
        header: Bytes::new(&header),
        key: of(&vector["key"]),
        signature: of(&vector["signature"]),
        events: events.iter().map(|event| Bytes::new(event)).collect(),
    };
    assert_eq!(hex::encode(codec::encode(&block)), vector["hex"]);
    assert_eq!(SealedBlock::decode(&bytes).unwrap(), block);
}

/// The kernel's records both ways; the domain's are frozen in `society.json`.
fn check_record(vector: &Json) {
    assert_eq!(Purpose::Value.hash(&hex_of(&vector["hex"])), of(&vector["value_hash"]));
    if vector["sub_tree"] == 0 {
        match hex_of(&vector["key"])[..] {
            [0x01, ..] => drop(plain::<Account>(vector)),
            [0x02] => drop(plain::<Parameters>(vector)),
            [0x03] => {}
            [0x04] => drop(plain::<Validators>(vector)),
            [0x05] => drop(plain::<ChainState>(vector)),
            ref key => panic!("the control sub-tree has no key {key:?}"),
        }
    }
}

#[test]
fn every_vector_holds_both_ways() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for file in ["transition.json", "genesis.json", "block.json", "proof.json"] {
        for vector in vectors(file) {
            println!("{file}: {}", vector["name"]);
            check(&vector);
            *seen.entry(vector["type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    // A vector that is left out is a format that is frozen no more.
    let least = [("purpose", Purpose::ALL.len()), ("tag", 3), ("Body", 5), ("Envelope", 5), ("Header", 4)];
    let more = [("SealedBlock", 4), ("Genesis", 1), ("record", 20), ("ProofFile", 13), ("Receipt", 1)];
    let decisions = [("RoleGrant", 1), ("Suspension", 1), ("ParameterChange", 2), ("Schedule", 1)];
    for (of, count) in least.into_iter().chain(more).chain(decisions) {
        assert!(seen.get(of).is_some_and(|found| *found >= count), "{of}: {seen:?}");
    }
}
