//! How fixed-length byte strings are written: binary in MessagePack, lower-case hex for people.

use std::fmt;
use std::marker::PhantomData;

use serde::de;

/// A byte string of wrong length or form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} bytes as {} hex digits, got {got:?}", expected * 2)]
pub struct BytesError {
    /// How many bytes are wanted.
    pub expected: usize,
    /// What was there instead, shortened.
    pub got: String,
}

/// Reads exactly `N` bytes from hex digits of either case.
///
/// # Errors
/// [`BytesError`] when `text` is not `2 N` hex digits.
pub fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], BytesError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| BytesError { expected: N, got: text.chars().take(80).collect() })?;
    Ok(bytes)
}

pub(crate) struct FixedVisitor<const N: usize>(pub(crate) PhantomData<[u8; N]>);

impl<const N: usize> de::Visitor<'_> for FixedVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; N], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; N], E> {
        from_hex(text).map_err(E::custom)
    }
}

/// Gives a newtype over `[u8; N]` its text and serde forms.
macro_rules! fixed_bytes {
    ($name:ident, $len:expr) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::bytes::BytesError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::bytes::from_hex(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = $crate::bytes::FixedVisitor::<$len>(std::marker::PhantomData);
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(visitor).map(Self)
                } else {
                    deserializer.deserialize_bytes(visitor).map(Self)
                }
            }
        }
    };
}
pub(crate) use fixed_bytes;
