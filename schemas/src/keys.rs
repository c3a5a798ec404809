//! Ed25519 public keys and signatures, as bytes. Checking them is the business of `events`.

use std::fmt;

/// An Ed25519 public key, 32 bytes as in RFC 8032. Not checked to be a point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// An Ed25519 signature, 64 bytes as in RFC 8032. Not checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

impl PublicKey {
    /// Wraps the 32 bytes of a key.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Signature {
    /// Wraps the 64 bytes of a signature.
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes of the signature.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::bytes::fixed_bytes!(PublicKey, 32);
crate::bytes::fixed_bytes!(Signature, 64);

/// What a signature is about. The tag precedes the signed bytes, so a signature for one purpose is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningContext {
    /// A transition body.
    Transition,
    /// A block header.
    Header,
    /// A validator's attestation.
    Attestation,
}

impl SigningContext {
    /// The bytes that precede what is signed: `ChaosChain-Ed25519 <what> v1` and a zero byte.
    pub const fn tag(self) -> &'static [u8] {
        match self {
            Self::Transition => b"ChaosChain-Ed25519 transition v1\0",
            Self::Header => b"ChaosChain-Ed25519 header v1\0",
            Self::Attestation => b"ChaosChain-Ed25519 attestation v1\0",
        }
    }
}
