//! What is canonical and what is refused, with which code: `golden/codec.json`.
//!
//! A difference is a change of format. When one is meant, run this test with `CHAOSCHAIN_GOLDEN=write` and read it.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use chaoschain_schemas::control::{Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::limits::*;
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Blob, Body, ChainId, CodecError, Envelope, Expectation, ForkProof,
    HEADER_VERSION, Hash, Header, Height, Micros, PartySignature, ProofFile, PublicKey, ReadProof,
    SealedBlock, Signature, SignedHeader, Timestamp, codec,
};
use serde::Serialize;
use serde_bytes::Bytes;
use serde_json::json;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/codec.json")
}

fn signature(signer: u8) -> PartySignature {
    PartySignature {
        signer: AccountId::new([signer; 32]),
        key: PublicKey::new([signer; 32]),
        signature: Signature::new([signer; 64]),
    }
}

fn body() -> Body {
    Body {
        version: BODY_VERSION,
        chain: ChainId::new([0xcc; 32]),
        epoch: 0,
        author: AccountId::new([1; 32]),
        lane: 15,
        nonce: 300,
        valid_until: Timestamp(1_700_000_000_000_000),
        occurred_at: None,
        correlation: None,
        causation: None,
        expects: vec![],
        attachment: None,
        kind: 1,
        payload: Blob(vec![0x90]),
    }
}

fn envelope(signers: &[u8]) -> Vec<u8> {
    let body = codec::encode(&body());
    let signatures = signers.iter().map(|signer| signature(*signer)).collect();
    codec::encode(&Envelope { body: Bytes::new(&body), signatures })
}

fn header() -> Header {
    Header {
        version: HEADER_VERSION,
        chain: ChainId::new([0xcc; 32]),
        epoch: 0,
        rules: 1,
        height: Height(1),
        parent: Hash::new([1; 32]),
        timestamp: Timestamp(1_700_000_000_000_000),
        producer: AccountId::new([9; 32]),
        event_count: 0,
        events_root: Hash::ZERO,
        state_root: Hash::new([3; 32]),
        sub_roots: vec![Hash::new([4; 32]); 2],
    }
}

fn block(events: usize) -> Vec<u8> {
    let header = codec::encode(&header());
    let (key, signature) = (PublicKey::new([9; 32]), Signature::new([9; 64]));
    codec::encode(&SealedBlock {
        header: Bytes::new(&header),
        key,
        signature,
        events: vec![Bytes::new(&[]); events],
    })
}

fn genesis() -> Genesis {
    let account =
        |key, role| GenesisAccount { key: PublicKey::new([key; 32]), role, weight: 0, sponsorships: 0 };
    Genesis {
        version: 1,
        name: "golden".into(),
        domain: "none".into(),
        rules: 1,
        sub_trees: vec![],
        timestamp: Timestamp(1),
        parameters: Parameters::default(),
        domain_parameters: Blob(vec![0x90]),
        accounts: vec![account(1, Role::Producer), account(2, Role::Member)],
    }
}

fn proof() -> ProofFile {
    let header = SignedHeader {
        header: codec::encode(&header()).into(),
        key: PublicKey::new([9; 32]),
        signature: Signature::new([9; 64]),
    };
    ProofFile::of_read(ReadProof { header, read: "root".into(), arguments: vec![], sub_trees: vec![] })
}

fn fork() -> ForkProof {
    let side = proof().proof.read.map(|read| read.header).unwrap();
    ForkProof { ours: side.clone(), theirs: side }
}

fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// `bytes` with those at `at` replaced.
fn spliced(bytes: &[u8], at: usize, replaced: usize, by: &[u8]) -> Vec<u8> {
    [&bytes[..at], by, &bytes[at + replaced..]].concat()
}

fn decode_as(of: &str, bytes: &[u8]) -> Result<(), CodecError> {
    match of {
        "unsigned" => codec::decode::<u64>(bytes, 64).map(drop),
        "signed" => codec::decode::<i64>(bytes, 64).map(drop),
        "flag" => codec::decode::<bool>(bytes, 64).map(drop),
        "text" => codec::decode::<String>(bytes, 1 << 20).map(drop),
        "bytes" => codec::decode::<Blob>(bytes, 1 << 20).map(drop),
        "optional unsigned" => codec::decode::<Option<u64>>(bytes, 64).map(drop),
        "list of unsigned" => codec::decode::<Vec<u64>>(bytes, 1 << 20).map(drop),
        "Role" => codec::decode::<Role>(bytes, 64).map(drop),
        "Body" => Body::decode(bytes).map(drop),
        "Envelope" => Envelope::decode(bytes).map(drop),
        "Header" => Header::decode(bytes).map(drop),
        "SealedBlock" => SealedBlock::decode(bytes).map(drop),
        "Genesis" => Genesis::decode(bytes).map(drop),
        "ProofFile" => ProofFile::decode(bytes).map(drop),
        unknown => panic!("nothing reads {unknown}"),
    }
}

fn accepted() -> Vec<serde_json::Value> {
    fn good<T: Serialize>(of: &str, value: &T) -> serde_json::Value {
        json!({ "type": "accepted", "as": of, "json": value, "hex": hex::encode(codec::encode(value)) })
    }
    let edges = [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX];
    let mut vectors: Vec<_> = edges.iter().map(|edge| good("unsigned", edge)).collect();
    let edges = [
        -1,
        -32,
        -33,
        -128,
        -129,
        -32_768,
        -32_769,
        i64::from(i32::MIN),
        i64::from(i32::MIN) - 1,
        i64::MIN,
        500_000,
    ];
    vectors.extend(edges.iter().map(|edge| good("signed", edge)));
    vectors.extend([good("flag", &false), good("flag", &true), good("optional unsigned", &None::<u64>)]);
    vectors.push(good("optional unsigned", &Some(5)));
    vectors.extend([0, 31, 32, 255, 256].map(|length| good("text", &"x".repeat(length))));
    vectors.push(good("text", &"é, ∞"));
    vectors.extend([0, 1, 255, 256].map(|length| good("bytes", &Blob(vec![0xab; length]))));
    vectors.extend([0, 15, 16].map(|length| good("list of unsigned", &vec![1_u64; length])));
    vectors.extend(Role::ALL.iter().map(|role| good("Role", role)));
    vectors
}

/// Why it is refused, and the bytes.
type Bad = (&'static str, Vec<u8>);

/// Bodies that no reader may take.
fn bodies() -> Vec<Bad> {
    let whole = codec::encode(&body());
    // The body's first bytes: 0x9e (14 fields), 0x01 (version), 0xc4 0x20 (the chain's 32 bytes).
    let version_at = 1;
    let long_bin = spliced(&whole, 2, 2, &[0xc5, 0, 0x20]);
    let as_text = spliced(&codec::encode(&body()), whole.len() - 3, 3, &[0xa1, 0x41]);
    let pair = codec::encode(&with(body(), |body| body.payload = Blob(vec![7; PAYLOAD_BYTES_MAX + 1])));
    let expectation =
        |key| Expectation { sub_tree: 0, key: Blob(vec![2; key]), value: Some(Hash::new([5; 32])) };
    let expects =
        |count, key| codec::encode(&with(body(), |body| body.expects = vec![expectation(key); count]));
    vec![
        ("nothing", vec![]),
        ("cut short", whole[..whole.len() - 1].to_vec()),
        ("one byte more", [&whole[..], &[0xc0]].concat()),
        ("a field less", spliced(&whole[..whole.len() - 3], 0, 1, &[0x9d])),
        ("a field more", [&spliced(&whole, 0, 1, &[0x9f])[..], &[0xc0]].concat()),
        ("a longer array head", spliced(&whole, 0, 1, &[0xdc, 0, 14])),
        ("version in two bytes", spliced(&whole, version_at, 1, &[0xcc, 1])),
        ("version as a signed integer", spliced(&whole, version_at, 1, &[0xd0, 1])),
        ("version as a float", spliced(&whole, version_at, 1, &[0xca, 0x3f, 0x80, 0, 0])),
        ("version 2", spliced(&whole, version_at, 1, &[2])),
        ("version 0", spliced(&whole, version_at, 1, &[0])),
        ("a longer head of bytes", long_bin),
        ("text for bytes", as_text),
        ("a chain id of 31 bytes", spliced(&whole, 2, 3, &[0xc4, 0x1f])),
        ("lane 16", codec::encode(&with(body(), |body| body.lane = 16))),
        ("9 expectations", expects(EXPECTS_MAX + 1, 1)),
        ("an expected key of 97 bytes", expects(1, KEY_BYTES_MAX + 1)),
        ("a payload of a byte too many", pair),
        ("a map", spliced(&whole, 0, 1, &[0x8e])),
    ]
}

/// Envelopes that no reader may take.
fn envelopes() -> Vec<Bad> {
    let good = envelope(&[1]);
    vec![
        ("cut short", good[..good.len() - 1].to_vec()),
        ("one byte more", [&good[..], &[0]].concat()),
        ("no signature", envelope(&[])),
        ("65 signatures", envelope(&(0..=SIGNATURES_MAX as u8).collect::<Vec<_>>())),
        ("further signatures out of order", envelope(&[1, 3, 2])),
        ("a further signature twice", envelope(&[1, 2, 2])),
        ("a body that claims 4 GiB", [&[0x92, 0xc6, 0xff, 0xff, 0xff, 0xff][..], &[0; 100]].concat()),
        ("2³² − 1 signatures claimed", [0x92, 0xc4, 0, 0xdd, 0xff, 0xff, 0xff, 0xff].to_vec()),
    ]
}

/// Genesis documents that no reader may take.
fn documents() -> Vec<Bad> {
    let document = |change: fn(&mut Genesis)| codec::encode(&with(genesis(), change));
    vec![
        ("version 2", document(|genesis| genesis.version = 2)),
        ("no name", document(|genesis| genesis.name.clear())),
        ("a name of 65 bytes", document(|genesis| genesis.name = "x".repeat(65))),
        ("a name with a space", document(|genesis| genesis.name = "a chain".into())),
        (
            "15 sub-trees of the domain",
            document(|genesis| genesis.sub_trees = vec!["x".into(); SUB_TREES_MAX - 1]),
        ),
        ("accounts out of order", document(|genesis| genesis.accounts.reverse())),
        ("an account twice", document(|genesis| genesis.accounts[1].key = genesis.accounts[0].key)),
        ("no producer", document(|genesis| genesis.accounts[0].role = Role::Validator)),
        ("no time step", document(|genesis| genesis.parameters.time_step_max = Micros(0))),
        ("no validity", document(|genesis| genesis.parameters.valid_until_max = Micros(0))),
        (
            "a window of less than a second",
            document(|genesis| genesis.parameters.author_window = Micros(999_999)),
        ),
        (
            "parameters of the domain that are too long",
            document(|genesis| genesis.domain_parameters = Blob(vec![0; DOMAIN_PARAMETERS_BYTES_MAX + 1])),
        ),
        (
            "more validators than there may be",
            document(|genesis| {
                genesis.accounts = (0..=VALIDATORS_MAX as u16)
                    .map(|number| {
                        let mut key = [0; 32];
                        key[..2].copy_from_slice(&number.to_be_bytes());
                        let key = PublicKey::new(key);
                        GenesisAccount { key, role: Role::Producer, weight: 1, sponsorships: 0 }
                    })
                    .collect();
            }),
        ),
    ]
}

/// Single values that no reader may take, by type.
fn values() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let deep = |levels: usize, last: u8| [&vec![0x91; levels][..], &[last]].concat();
    vec![
        ("unsigned", "7 in two bytes", vec![0xcc, 7]),
        ("unsigned", "255 in three bytes", vec![0xcd, 0, 0xff]),
        ("unsigned", "65535 in five bytes", vec![0xce, 0, 0, 0xff, 0xff]),
        ("unsigned", "2³² − 1 in nine bytes", vec![0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        ("unsigned", "a float", vec![0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ("unsigned", "a negative number", vec![0xff]),
        ("unsigned", "nothing", vec![0xc0]),
        ("signed", "−1 in two bytes", vec![0xd0, 0xff]),
        ("signed", "200 as a signed integer", vec![0xd1, 0, 200]),
        ("flag", "1 for true", vec![1]),
        ("text", "one letter behind a longer head", vec![0xd9, 1, 0x41]),
        ("text", "bytes for text", vec![0xc4, 1, 0x41]),
        ("text", "not UTF-8", vec![0xa1, 0xff]),
        ("bytes", "a list for bytes", vec![0x91, 1]),
        ("bytes", "a longer claim than there is", vec![0xc6, 0xff, 0xff, 0xff, 0xff, 0]),
        ("list of unsigned", "an empty map", vec![0x80]),
        ("list of unsigned", "an extension", vec![0xd4, 1, 0]),
        ("list of unsigned", "the unused marker", vec![0xc1]),
        ("list of unsigned", "2³² − 1 items claimed", vec![0xdd, 0xff, 0xff, 0xff, 0xff, 0]),
        ("list of unsigned", "17 levels", deep(DOCUMENT_DEPTH_MAX + 1, 0)),
        ("list of unsigned", "16 levels where 1 belongs", deep(DOCUMENT_DEPTH_MAX, 0)),
        ("Role", "an unknown number", vec![3]),
    ]
}

/// What no reader may take, by type: why, and the bytes.
fn refused() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let whole = codec::encode(&header());
    let headers = [
        ("cut short", whole[..whole.len() - 1].to_vec()),
        ("one byte more", [&whole[..], &[0]].concat()),
        ("version 2", codec::encode(&with(header(), |header| header.version = 2))),
        (
            "17 sub-trees",
            codec::encode(&with(header(), |header| header.sub_roots = vec![Hash::ZERO; SUB_TREES_MAX + 1])),
        ),
        (
            "an event count beyond 32 bits",
            spliced(&whole, whole.len() - 138, 1, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        ),
    ];
    let blocks = [
        ("cut short", block(0)[..block(0).len() - 1].to_vec()),
        ("one byte more", [&block(0)[..], &[0]].concat()),
        ("8193 events", block(BLOCK_EVENTS_MAX + 1)),
    ];
    let files = [
        ("version 3", codec::encode(&with(proof(), |file| file.version = 3))),
        ("version 1 with the fields of version 2", codec::encode(&with(proof(), |file| file.version = 1))),
        (
            "version 2 with the fields of version 1",
            codec::encode(&(2_u16, (&proof().proof.read, None::<()>))),
        ),
        ("version 1 without a proof", codec::encode(&(1_u16, (None::<()>, None::<()>)))),
        ("no proof", codec::encode(&with(proof(), |file| file.proof.read = None))),
        ("two proofs", codec::encode(&with(proof(), |file| file.proof.fork = Some(fork())))),
    ];
    let mut all = values();
    all.extend(bodies().into_iter().map(|(why, bytes)| ("Body", why, bytes)));
    all.extend(envelopes().into_iter().map(|(why, bytes)| ("Envelope", why, bytes)));
    all.extend(headers.map(|(why, bytes)| ("Header", why, bytes)));
    all.extend(blocks.map(|(why, bytes)| ("SealedBlock", why, bytes)));
    all.extend(documents().into_iter().map(|(why, bytes)| ("Genesis", why, bytes)));
    all.extend(files.map(|(why, bytes)| ("ProofFile", why, bytes)));
    for (of, max) in [
        ("Body", BODY_BYTES_MAX),
        ("Envelope", ENVELOPE_BYTES_MAX),
        ("Header", HEADER_BYTES_MAX),
        ("SealedBlock", BLOCK_BYTES_MAX),
        ("Genesis", GENESIS_BYTES_MAX),
        ("ProofFile", PROOF_BYTES_MAX),
    ] {
        all.push((of, "a byte too many, whatever they are", vec![0; max + 1]));
    }
    all
}

/// A long run of one byte at the end is told by its length.
fn shown(bytes: &[u8]) -> (String, usize) {
    let last = bytes.last().copied().unwrap_or_default();
    let run = bytes.iter().rev().take_while(|byte| **byte == last).count();
    let kept = if run > 256 { bytes.len() - run + 1 } else { bytes.len() };
    (hex::encode(&bytes[..kept]), bytes.len() - kept)
}

#[test]
fn canonical_and_refused_bytes_are_as_they_always_were() {
    let mut vectors = accepted();
    for (of, why, bytes) in refused() {
        let error = decode_as(of, &bytes).expect_err(why).code();
        let (hex, repeated) = shown(&bytes);
        let mut vector = json!({ "type": "refused", "as": of, "name": why, "error": error, "hex": hex });
        if repeated > 0 {
            // How often the last byte of `hex` follows once more.
            vector["last_byte_repeated"] = json!(repeated);
        }
        vectors.push(vector);
    }
    let lines: Vec<_> = vectors.iter().map(ToString::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("CHAOSCHAIN_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(path(), &text).unwrap();
    }
    let golden = std::fs::read_to_string(path()).unwrap();
    for (line, (got, want)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(got, want, "codec.json, line {}", line + 1);
    }
    assert_eq!(text, golden, "codec.json: vectors were added or left out");
}

#[test]
fn what_is_refused_differs_from_what_is_read() {
    assert_eq!(Body::decode(&codec::encode(&body())), Ok(body()));
    assert!(Envelope::decode(&envelope(&[1, 1, 2])).is_ok(), "the author may sign with a second key");
    assert!(Envelope::decode(&envelope(&(0..SIGNATURES_MAX as u8).collect::<Vec<_>>())).is_ok());
    assert_eq!(Header::decode(&codec::encode(&header())), Ok(header()));
    assert!(SealedBlock::decode(&block(BLOCK_EVENTS_MAX)).is_ok());
    assert_eq!(Genesis::decode(&genesis().encode().0), Ok(genesis()));
    assert_eq!(ProofFile::decode(&codec::encode(&proof())), Ok(proof()));
}
