//! The frozen proof files, of every version, verify with nothing but what the vectors say is trusted.

use std::path::PathBuf;

use chaoschain_query::verify::{Agreement, Trust, Verified, verify_file};
use chaoschain_society::Society;
use serde_json::Value as Json;

#[test]
fn every_frozen_proof_file_verifies() {
    for (file, finals, evidence) in [("proof-v1.json", 0, 0), ("proof.json", 2, 2)] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden").join(file);
        let vectors: Vec<Json> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let trusted = vectors.iter().find(|vector| vector["type"] == "trust").unwrap();
        let trust: Trust = serde_json::from_value(trusted["json"].clone()).unwrap();
        let mut counted = (0, 0, 0);
        for vector in vectors.iter().filter(|vector| vector["type"] == "ProofFile") {
            let bytes = hex::decode(vector["hex"].as_str().unwrap()).unwrap();
            let header = match verify_file(&bytes, &trust, Some(&Society)).unwrap() {
                Verified::Read(read) => {
                    assert_eq!(read.value.as_ref(), Some(&vector["answer"]), "{}", vector["name"]);
                    read.header
                }
                Verified::Event(event) => event.header,
                Verified::Equivocation(proof) => {
                    assert_eq!(proof.weight, Some(2));
                    counted.2 += 1;
                    continue;
                }
                Verified::Fork(fork) => {
                    assert!(fork.ours.trusted && fork.theirs.trusted);
                    counted.2 += 1;
                    continue;
                }
            };
            match header.agreement() {
                Agreement::Finalized { weight: 3, total: 3 } => counted.1 += 1,
                by => assert_eq!(by, Agreement::ProducerSigned, "{}", vector["name"]),
            }
            counted.0 += 1;
        }
        assert_eq!(counted, (9 + finals, finals, evidence), "{file}");
    }
}
