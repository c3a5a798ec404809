//! The one encoding of everything: compact MessagePack, in one canonical form.
//!
//! A structure is an array of its fields in declared order, byte strings are `bin`, integers take their shortest
//! form, `None` is `nil`. A document that would not be written the same way again is refused, so every value has
//! exactly one form and may be compared and hashed by its bytes.
//!
//! # Errors
//! [`decode`] walks the document before any of it is built: a claimed length is checked against what is there before
//! anything is allocated for it.

use serde::{Deserialize, Serialize};

use crate::limits::DOCUMENT_DEPTH_MAX;

/// Why bytes are not a document of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Longer than this document may be.
    #[error("{bytes} bytes are more than the {max} allowed here")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Ends before what it announces.
    #[error("ends at byte {0}, in the middle of a value")]
    Truncated(usize),
    /// Goes on after the document.
    #[error("{0} bytes too many after the document")]
    Trailing(usize),
    /// Nested deeper than [`DOCUMENT_DEPTH_MAX`].
    #[error("nested deeper than {DOCUMENT_DEPTH_MAX} levels")]
    TooDeep,
    /// Uses a MessagePack form that no document of ours contains (floats, extensions, maps).
    #[error("byte {at} starts a MessagePack form 0x{form:02x} that is not used here")]
    FormUnknown {
        /// Where.
        at: usize,
        /// The marker byte.
        form: u8,
    },
    /// Is not of the wanted type.
    #[error("not of the expected form: {0}")]
    Form(String),
    /// Means a value that is written differently (a longer integer than needed, say).
    #[error("not in canonical form: the same value is written differently from byte {0} on")]
    NotCanonical(usize),
}

impl CodecError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Truncated(_) => "truncated",
            Self::Trailing(_) => "trailing_bytes",
            Self::TooDeep => "too_deep",
            Self::FormUnknown { .. } | Self::Form(_) => "malformed",
            Self::NotCanonical(_) => "not_canonical",
        }
    }
}

/// Writes `value` in its one form.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    encode_into(value, &mut bytes);
    bytes
}

/// Appends `value` in its one form to `bytes`.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    value
        .serialize(&mut rmp_serde::Serializer::new(bytes))
        .expect("our own types hold nothing that MessagePack cannot write, and a Vec takes every byte");
}

/// Reads a document of at most `max` bytes, refusing anything but its one form.
///
/// # Errors
/// Says where and why the bytes are refused; see [`CodecError`].
pub fn decode<'a, T: Deserialize<'a> + Serialize>(bytes: &'a [u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLarge { bytes: bytes.len(), max });
    }
    check_structure(bytes)?;
    let value: T = rmp_serde::from_slice(bytes).map_err(|error| CodecError::Form(error.to_string()))?;
    let again = encode(&value);
    if again != bytes {
        let same = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CodecError::NotCanonical(same));
    }
    Ok(value)
}

/// Reads a document that was checked when it was accepted, such as a record of our own state.
///
/// # Errors
/// When the bytes are not of the wanted type after all.
pub fn decode_trusted<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(bytes).map_err(|error| CodecError::Form(error.to_string()))
}

/// Checks that `bytes` are one whole MessagePack value of the forms we use, without building it.
fn check_structure(bytes: &[u8]) -> Result<(), CodecError> {
    // One entry a level: how many values are still to come there.
    let mut open = [0_u32; DOCUMENT_DEPTH_MAX + 1];
    open[0] = 1;
    let (mut level, mut at) = (0, 0);
    loop {
        while open[level] == 0 {
            if level == 0 {
                return match bytes.len() - at {
                    0 => Ok(()),
                    extra => Err(CodecError::Trailing(extra)),
                };
            }
            level -= 1;
        }
        open[level] -= 1;
        let form = *bytes.get(at).ok_or(CodecError::Truncated(at))?;
        let (head, body, items) = measure(bytes, at, form)?;
        let left = bytes.len() - at;
        // Every announced item takes at least a byte, so an absurd count is caught here.
        if head + body + items as usize > left {
            return Err(CodecError::Truncated(bytes.len()));
        }
        at += head + body;
        if items > 0 {
            if level == DOCUMENT_DEPTH_MAX {
                return Err(CodecError::TooDeep);
            }
            level += 1;
            open[level] = items;
        }
    }
}

/// The bytes of a value's head, of its own content, and how many values nest in it.
fn measure(bytes: &[u8], at: usize, form: u8) -> Result<(usize, usize, u32), CodecError> {
    let length = |width: usize| -> Result<usize, CodecError> {
        let digits = bytes.get(at + 1..at + 1 + width).ok_or(CodecError::Truncated(bytes.len()))?;
        Ok(digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)))
    };
    Ok(match form {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (1, 0, 0),
        0x90..=0x9f => (1, 0, u32::from(form & 0x0f)),
        0xa0..=0xbf => (1, usize::from(form & 0x1f), 0),
        0xcc | 0xd0 => (2, 0, 0),
        0xcd | 0xd1 => (3, 0, 0),
        0xce | 0xd2 => (5, 0, 0),
        0xcf | 0xd3 => (9, 0, 0),
        0xc4 | 0xd9 => (2, length(1)?, 0),
        0xc5 | 0xda => (3, length(2)?, 0),
        0xc6 | 0xdb => (5, length(4)?, 0),
        0xdc => (3, 0, length(2)? as u32),
        0xdd => (5, 0, length(4)? as u32),
        _ => return Err(CodecError::FormUnknown { at, form }),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Sample = (u64, Option<u16>, Vec<String>, (bool, i64));

    #[test]
    fn refusals_are_named() {
        let sample: Sample = (300, None, vec!["a".into()], (true, -5));
        let good = encode(&sample);
        assert_eq!(decode::<Sample>(&good, 100), Ok(sample));
        assert_eq!(decode::<Sample>(&good, 3).unwrap_err().code(), "too_large");
        assert_eq!(decode::<Sample>(&good[..good.len() - 1], 100).unwrap_err().code(), "truncated");
        assert_eq!(decode::<Sample>(&[&good[..], &[0]].concat(), 100).unwrap_err().code(), "trailing_bytes");
        // 7 written in two bytes.
        assert_eq!(decode::<u64>(&[0xcc, 7], 100).unwrap_err(), CodecError::NotCanonical(0));
        assert_eq!(decode::<u64>(&[0xca, 0, 0, 0, 0], 100).unwrap_err().code(), "malformed");
        // An array that claims four billion items.
        assert_eq!(decode::<Vec<u64>>(&[0xdd, 255, 255, 255, 255], 100).unwrap_err().code(), "truncated");
        assert_eq!(decode::<u64>(&[0x91; 5], 100).unwrap_err().code(), "truncated");
        let deep = [&[0x91; DOCUMENT_DEPTH_MAX + 1][..], &[0]].concat();
        assert_eq!(decode::<u64>(&deep, 100).unwrap_err(), CodecError::TooDeep);
    }

    proptest! {
        #[test]
        fn whatever_decodes_is_what_would_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = decode::<Sample>(&bytes, 100) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }

        #[test]
        fn round_trip(sample: Sample) {
            prop_assert_eq!(decode::<Sample>(&encode(&sample), 1 << 20), Ok(sample));
        }
    }
}
