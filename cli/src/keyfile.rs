//! Key files: one Ed25519 key, in the clear or under a passphrase, readable by its owner only.
//!
//! # Format
//! JSON with these fields, byte strings in lower-case hex:
//!
//! | field | meaning |
//! |---|---|
//! | `format` | `"chaoschain key v1"` |
//! | `account` | the account the key signs for (32) |
//! | `public_key` | the Ed25519 public key (32) |
//! | `seed` | the RFC 8032 seed (32), in a file without a passphrase |
//! | `sealed` | instead of `seed`: `memory_kib`, `passes`, `lanes`, `salt` (16), `nonce` (24), `ciphertext` (48) |
//!
//! The ciphertext is XChaCha20-Poly1305 of the seed under the nonce, with `"ChaosChain key v1\0"` ‖ account ‖ public key
//! as associated data. Its key is Argon2id (version 0x13, 32 bytes) of the passphrase's UTF-8 with the salt and the three
//! costs given.

use std::fs;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::{AccountId, PublicKey, bytes::from_hex};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::datadir::{open_to_others, write_private};
use crate::error::{CliError, Exit, Outcome};

const FORMAT: &str = "chaoschain key v1";
const TAG: &[u8] = b"ChaosChain key v1\0";
/// Argon2id's costs for new files; each file names its own.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// The highest costs that a file may ask for, so that a forged one cannot eat the machine.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;
/// The longest key file that is read, bytes.
const FILE_BYTES_MAX: u64 = 4096;
/// The variable of the environment that holds a passphrase.
pub(crate) const PASSPHRASE_VARIABLE: &str = "CHAOSCHAIN_PASSPHRASE";

/// A key file's content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    format: String,
    pub(crate) account: AccountId,
    pub(crate) public_key: PublicKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    nonce: String,
    ciphertext: String,
}

/// An account and the key that signs for it.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) account: AccountId,
    pub(crate) key: SecretKey,
}

impl KeyFile {
    /// A file for `key`, under the passphrase if there is one.
    pub(crate) fn new(account: AccountId, key: &SecretKey, passphrase: Option<&str>) -> Outcome<Self> {
        let public_key = key.public();
        let seed = key.to_seed();
        let (clear, sealed) = match passphrase {
            None => (Some(Zeroizing::new(hex::encode(*seed))), None),
            Some(passphrase) => (None, Some(Sealed::seal(&account, &public_key, &seed, passphrase)?)),
        };
        Ok(Self { format: FORMAT.to_owned(), account, public_key, seed: clear, sealed })
    }

    /// Writes the file with mode 0600; there must be none.
    pub(crate) fn write_new(&self, path: &Path) -> Outcome {
        if path.exists() {
            let message = format!("{} exists already", path.display());
            let error = CliError::new(Exit::Refused, "key_exists", message);
            return Err(error.hint("a key that is lost is lost for ever: choose another file"));
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| malformed(path, &error.to_string()))?;
        write_private(path, Zeroizing::new(text + "\n").as_bytes())
    }

    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        let metadata = fs::metadata(path).map_err(|error| CliError::file("read", path, &error))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(malformed(path, "it is too long"));
        }
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => malformed(path, "it is not text"),
            _ => CliError::file("read", path, &error),
        })?;
        let text = Zeroizing::new(text);
        let file: Self = serde_json::from_str(&text).map_err(|error| malformed(path, &error.to_string()))?;
        if file.format != FORMAT {
            return Err(malformed(path, &format!("its format is {:?}, not {FORMAT:?}", file.format)));
        }
        if file.seed.is_some() == file.sealed.is_some() {
            return Err(malformed(path, "it must have either a seed or a sealed one"));
        }
        Ok(file)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// The key, with `passphrase` asked for where the file needs one.
    pub(crate) fn unlock(
        &self,
        path: &Path,
        passphrase: impl FnOnce() -> Outcome<Zeroizing<String>>,
    ) -> Outcome<Signer> {
        let seed = match (&self.seed, &self.sealed) {
            (Some(seed), _) => {
                Zeroizing::new(from_hex(seed).map_err(|_| malformed(path, "its seed is not 64 hex digits"))?)
            }
            (None, Some(sealed)) => sealed.open(path, &self.account, &self.public_key, &passphrase()?)?,
            (None, None) => return Err(malformed(path, "it has no seed")),
        };
        let key = SecretKey::from_seed(&seed);
        if key.public() != self.public_key {
            return Err(malformed(path, "its seed is not that of its public key"));
        }
        Ok(Signer { account: self.account, key })
    }
}

impl Sealed {
    fn seal(account: &AccountId, public: &PublicKey, seed: &[u8; 32], passphrase: &str) -> Outcome<Self> {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut nonce)).map_err(|error| {
            CliError::new(
                Exit::Unavailable,
                "randomness_unavailable",
                format!("the system gives no random bytes: {error}"),
            )
        })?;
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(kdf)?;
        let cipher = cipher(params, passphrase, &salt)?;
        let aad = associated(account, public);
        let ciphertext = cipher.encrypt(&nonce.into(), Payload { msg: seed, aad: &aad }).map_err(|_| {
            CliError::new(Exit::Unavailable, "key_seal_failed", "the key could not be encrypted")
        })?;
        Ok(Self {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: hex::encode(salt),
            nonce: hex::encode(nonce),
            ciphertext: hex::encode(ciphertext),
        })
    }

    fn open(
        &self,
        path: &Path,
        account: &AccountId,
        public: &PublicKey,
        passphrase: &str,
    ) -> Outcome<Zeroizing<[u8; 32]>> {
        if self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX || self.lanes > LANES_MAX {
            return Err(malformed(path, "it asks for more Argon2 work than is allowed"));
        }
        let field = |name: &str| malformed(path, &format!("its {name} is not of the expected length"));
        let salt: [u8; 16] = from_hex(&self.salt).map_err(|_| field("salt"))?;
        let nonce: [u8; 24] = from_hex(&self.nonce).map_err(|_| field("nonce"))?;
        let ciphertext: [u8; 48] = from_hex(&self.ciphertext).map_err(|_| field("ciphertext"))?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|error| malformed(path, &format!("its costs are refused: {error}")))?;
        let cipher = cipher(params, passphrase, &salt)?;
        let aad = associated(account, public);
        let opened = cipher.decrypt(&nonce.into(), Payload { msg: &ciphertext, aad: &aad });
        let opened = Zeroizing::new(opened.map_err(|_| {
            let message = format!("the passphrase does not open {}, or the file was changed", path.display());
            CliError::new(Exit::Refused, "passphrase_wrong", message)
        })?);
        opened.as_slice().try_into().map(Zeroizing::new).map_err(|_| field("seed"))
    }
}

fn cipher(params: Params, passphrase: &str, salt: &[u8]) -> Outcome<XChaCha20Poly1305> {
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .map_err(kdf)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

fn associated(account: &AccountId, public: &PublicKey) -> Vec<u8> {
    [TAG, account.as_bytes(), public.as_bytes()].concat()
}

fn kdf(error: argon2::Error) -> CliError {
    CliError::new(Exit::Unavailable, "key_derivation_failed", format!("Argon2 failed: {error}"))
}

fn malformed(path: &Path, reason: &str) -> CliError {
    CliError::usage("key_malformed", format!("{} is not a key file: {reason}", path.display()))
}

/// Reads a key file and unlocks it, asking for the passphrase where it needs one.
pub(crate) fn load(path: &Path) -> Outcome<Signer> {
    let file = KeyFile::read(path)?;
    if open_to_others(path) == Some(true) {
        tracing::warn!("{} can be read by others: chmod 600 it", path.display());
    }
    file.unlock(path, || passphrase(path, false))
}

/// The passphrase of the environment, or what is typed; twice where it is new.
pub(crate) fn passphrase(path: &Path, new: bool) -> Outcome<Zeroizing<String>> {
    if let Ok(passphrase) = std::env::var(PASSPHRASE_VARIABLE) {
        return Ok(Zeroizing::new(passphrase));
    }
    let ask = |what: &str| {
        rpassword::prompt_password(format!("{what} {}: ", path.display())).map(Zeroizing::new).map_err(
            |error| {
                let message =
                    format!("{} needs a passphrase, and none can be asked for: {error}", path.display());
                CliError::usage("passphrase_missing", message).hint(format!("set {PASSPHRASE_VARIABLE}"))
            },
        )
    };
    let typed = ask(if new { "New passphrase for" } else { "Passphrase of" })?;
    if new && *ask("Again, for")? != *typed {
        return Err(CliError::usage("passphrase_differs", "the two passphrases are not the same"));
    }
    Ok(typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &SecretKey) -> AccountId {
        AccountId::from_first_key(&key.public())
    }

    #[test]
    fn sealed_keys_open_with_their_passphrase_only() {
        let key = SecretKey::from_seed(&[7; 32]);
        let file = KeyFile::new(account(&key), &key, Some("correct horse")).unwrap();
        let text = serde_json::to_string(&file).unwrap();
        assert!(!text.contains(&hex::encode([7; 32])));
        let path = Path::new("a.key");
        let open = |file: &KeyFile, passphrase: &str| {
            file.unlock(path, || Ok(Zeroizing::new(passphrase.to_owned())))
        };
        assert_eq!(open(&file, "correct horse").unwrap().key.public(), key.public());
        assert_eq!(open(&file, "wrong").unwrap_err().code, "passphrase_wrong");
        let mut other = file.clone();
        other.account = AccountId::new([1; 32]);
        assert_eq!(open(&other, "correct horse").unwrap_err().code, "passphrase_wrong");
        let mut greedy = file;
        greedy.sealed.as_mut().unwrap().memory_kib = MEMORY_KIB_MAX + 1;
        assert_eq!(open(&greedy, "correct horse").unwrap_err().code, "key_malformed");
    }

    #[test]
    fn files_are_private_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        let key = SecretKey::from_seed(&[7; 32]);
        let file = KeyFile::new(account(&key), &key, None).unwrap();
        file.write_new(&path).unwrap();
        assert_ne!(open_to_others(&path), Some(true));
        assert_eq!(file.write_new(&path).unwrap_err().code, "key_exists");
        assert_eq!(load(&path).unwrap().key.public(), key.public());
        fs::write(&path, "{}").unwrap();
        assert_eq!(load(&path).unwrap_err().code, "key_malformed");
    }
}
