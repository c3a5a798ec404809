//! The file with what a validator has signed last.
//!
//! # Format
//! `attested.json`, an object: `message`, the signed attestation in base64, is what counts; `height` and `header_hash`
//! repeat it for people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chaoschain_events::attest::verify_attestation;
use chaoschain_schemas::{AccountId, Attestation, Blob, ChainId, SignedAttestation, codec};
use serde_json::{Value as Json, json};

use super::AttestError;
use crate::private_file::replace_file;
use crate::store::{create_private_dir, create_private_file};

/// The file's name.
const FILE: &str = "attested.json";
/// The name of the file that is locked while a validator attests.
const LOCK: &str = "attested.lock";

/// An attestation that was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) attestation: Attestation,
    pub(super) signed: SignedAttestation,
}

/// The file, which no other process uses.
#[derive(Debug)]
pub(super) struct LastSigned {
    path: PathBuf,
    _lock: File,
}

impl LastSigned {
    /// Opens the file in `dir` and reads what is in it, if it is there.
    pub(super) fn open(
        dir: &Path,
        chain: ChainId,
        validator: AccountId,
    ) -> Result<(Self, Option<Said>), AttestError> {
        let unusable = |path: &Path, reason: String| AttestError::File { path: path.to_owned(), reason };
        create_private_dir(dir).map_err(|error| unusable(dir, error.to_string()))?;
        let lock = dir.join(LOCK);
        let file = create_private_file(&lock).and_then(|()| OpenOptions::new().append(true).open(&lock));
        let file = file.map_err(|error| unusable(&lock, error.to_string()))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => unusable(&lock, "another validator's process uses it".into()),
            TryLockError::Error(error) => unusable(&lock, error.to_string()),
        })?;
        let path = dir.join(FILE);
        let said = match std::fs::read(&path) {
            Ok(bytes) => {
                Some(parse(&bytes, chain, validator).map_err(|reason| unusable(&path, reason.to_owned()))?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(&path, error.to_string())),
        };
        Ok((Self { path, _lock: file }, said))
    }

    /// Makes `said` what was signed last; it is durable when this returns. Blocks.
    pub(super) fn store(&self, said: &Said) -> Result<(), AttestError> {
        let Attestation { height, header_hash, .. } = said.attestation;
        let message = Blob(codec::encode(&said.signed));
        let text = json!({ "height": height, "header_hash": header_hash, "message": message }).to_string();
        replace_file(&self.path, text.as_bytes())
            .map_err(|error| AttestError::File { path: self.path.clone(), reason: error.to_string() })
    }
}

fn parse(bytes: &[u8], chain: ChainId, validator: AccountId) -> Result<Said, &'static str> {
    let json: Json = serde_json::from_slice(bytes).map_err(|_| "it is no JSON")?;
    let message: Blob =
        serde_json::from_value(json["message"].clone()).map_err(|_| "it holds no message in base64")?;
    let (attestation, signed) = verify_attestation(&message)
        .map_err(|_| "its message is no attestation, or the signature is wrong")?;
    if attestation.chain != chain {
        return Err("it is of another chain");
    }
    if attestation.validator != validator {
        return Err("it is of another validator");
    }
    Ok(Said { attestation, signed })
}
