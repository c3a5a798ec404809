//! Signing and verifying: Ed25519 by one rule, ZIP-215, for one signature and for many.
//!
//! What is signed is a [`SigningContext`]'s tag followed by the bytes. Keys are made and used for signing by
//! `ed25519-dalek`; verification is `ed25519-zebra`'s, because its single and batch verification accept exactly the
//! same signatures, so that no two nodes ever disagree about one. The rule, [ZIP-215]: `s` is canonical; `A` and `R`
//! are encodings of points, canonical or not; `[8][s]B = [8]R + [8][k]A`.
//!
//! # Invariants
//! - [`verify_batch`] names exactly the items that [`verify_one`] refuses. A batch is checked with random coefficients:
//!   a valid batch always passes; an invalid one passes with a chance of 2⁻¹²⁸ that whoever made the signatures cannot
//!   influence. A batch that does not pass is checked one by one. So the verdict does not depend on the randomness.
//! - Nothing here says whose key it is: that is for the fold.
//!
//! [ZIP-215]: https://zips.z.cash/zip-0215

use std::convert::Infallible;
use std::fmt;

use chaoschain_schemas::{PublicKey, Signature, SigningContext};
use ed25519_dalek::{Signer as _, SigningKey};
use ed25519_zebra::batch::{Item, Verifier};
use ed25519_zebra::{Signature as ZebraSignature, VerificationKeyBytes};
use rand_core::{TryCryptoRng, TryRng};
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Signatures in one batch: more gain little each, fewer lose much, and this many fill the cores sooner.
const BATCH_MAX: usize = 1024;
/// Fewer than this are not worth another core.
const BATCH_MIN: usize = 128;

/// A key that signs; wiped from memory when dropped, and never shown.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte seed, as in RFC 8032.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// [`RandomnessError`] when the system has none to give.
    pub fn generate() -> Result<Self, RandomnessError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| RandomnessError(error.to_string()))?;
        Ok(Self::from_seed(&seed))
    }

    /// The seed, to be stored; wiped when dropped.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.0.verifying_key().to_bytes())
    }

    /// Signs `bytes` for one purpose.
    pub fn sign(&self, context: SigningContext, bytes: &[u8]) -> Signature {
        let message = [context.tag(), bytes].concat();
        Signature::new(self.0.sign(&message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// The system gave no random bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct RandomnessError(String);

/// A signature that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold for these bytes under this key")]
pub struct SignatureError;

impl SignatureError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        "signature_invalid"
    }
}

/// A signature and what it is said to sign.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The purpose.
    pub context: SigningContext,
    /// The key it is said to be made with.
    pub key: &'a PublicKey,
    /// The signature.
    pub signature: &'a Signature,
    /// The bytes without the tag.
    pub bytes: &'a [u8],
}

/// Whether `signature` over `bytes` holds under `key`.
///
/// # Errors
/// [`SignatureError`] when it does not.
pub fn verify_one(
    context: SigningContext,
    key: &PublicKey,
    signature: &Signature,
    bytes: &[u8],
) -> Result<(), SignatureError> {
    let mut message = Vec::with_capacity(context.tag().len() + bytes.len());
    Claim { context, key, signature, bytes }.item(&mut message).verify_single().map_err(|_| SignatureError)
}

/// The places of the claims that do not hold, ascending; none when all hold. Runs on rayon's current pool.
pub fn verify_batch(claims: &[Claim<'_>]) -> Vec<usize> {
    // Equal shares for the cores, so that none waits long for another.
    let shares = claims.len().div_ceil(BATCH_MAX).next_multiple_of(rayon::current_num_threads().max(1));
    let share = claims.len().div_ceil(shares.max(1)).clamp(BATCH_MIN, BATCH_MAX);
    let bad = claims.par_chunks(share).enumerate().flat_map_iter(|(nth, claims)| {
        let mut message = Vec::new();
        let items: Vec<_> = claims.iter().map(|claim| claim.item(&mut message)).collect();
        bad_items(items).into_iter().map(move |place| nth * share + place)
    });
    bad.collect()
}

impl Claim<'_> {
    /// What the verifier wants of a claim: the key, the signature and the hash of the message, which is put together
    /// in `scratch`.
    fn item(&self, scratch: &mut Vec<u8>) -> Item {
        scratch.clear();
        scratch.extend_from_slice(self.context.tag());
        scratch.extend_from_slice(self.bytes);
        raw_item(self.key, self.signature, scratch)
    }
}

fn raw_item(key: &PublicKey, signature: &Signature, message: &[u8]) -> Item {
    let key = VerificationKeyBytes::from(*key.as_bytes());
    Item::from((key, ZebraSignature::from_bytes(signature.as_bytes()), message))
}

/// The places of the items that do not hold, ascending.
fn bad_items(items: Vec<Item>) -> Vec<usize> {
    let all_hold = Coefficients::draw().is_some_and(|coefficients| {
        // Signatures of one key are coalesced by the verifier.
        let mut verifier = Verifier::new();
        for item in &items {
            verifier.queue(item.clone());
        }
        verifier.verify(coefficients).is_ok()
    });
    if all_hold {
        return Vec::new();
    }
    let verdicts = items.into_iter().map(|item| item.verify_single().is_err());
    verdicts.enumerate().filter_map(|(place, bad)| bad.then_some(place)).collect()
}

/// The random coefficients of a batch: BLAKE3's output for a seed from the system, which must be unpredictable to
/// whoever made the signatures.
struct Coefficients(blake3::OutputReader);

impl Coefficients {
    /// None when the system gives no randomness; signatures are then verified one by one.
    fn draw() -> Option<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).ok()?;
        Some(Self(blake3::Hasher::new_keyed(&seed).finalize_xof()))
    }
}

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

/// Whole messages, without a tag, for vectors made by others.
#[doc(hidden)]
pub mod raw {
    use ed25519_dalek::Signer as _;

    use super::{PublicKey, SecretKey, Signature, SignatureError, bad_items, raw_item};

    /// As [`SecretKey::sign`], of a whole message.
    pub fn sign(key: &SecretKey, message: &[u8]) -> Signature {
        Signature::new(key.0.sign(message).to_bytes())
    }

    /// As [`super::verify_one`], of a whole message.
    pub fn verify_one(key: &PublicKey, signature: &Signature, message: &[u8]) -> Result<(), SignatureError> {
        raw_item(key, signature, message).verify_single().map_err(|_| SignatureError)
    }

    /// As [`super::verify_batch`], of whole messages, in one batch.
    pub fn verify_batch(items: &[(PublicKey, Signature, &[u8])]) -> Vec<usize> {
        bad_items(items.iter().map(|(key, signature, message)| raw_item(key, signature, message)).collect())
    }
}
