//! Messages in a format that this build does not know.
//!
//! Headers and bodies are arrays whose first item is their format's number, and whatever their format, a block is header,
//! key, signature and events, and the signature is made over the header's bytes in the purpose of a header. So a block of a
//! newer program can be told from a broken one: by its number, signed with a producer's key.

use chaoschain_events::signature::verify_one;
use chaoschain_schemas::{
    BODY_VERSION, Envelope, HEADER_VERSION, Hash, PublicKey, SealedBlock, SigningContext,
};
use chaoschain_state::merkle::{root_of, value_hash};

/// The number and the key of a header whose format is newer than this build's, if its signature holds.
pub(crate) fn newer_header(message: &[u8]) -> Option<(u64, PublicKey)> {
    let sealed = SealedBlock::decode(message).ok()?;
    let version = version_of(sealed.header).filter(|version| *version > u64::from(HEADER_VERSION))?;
    verify_one(SigningContext::Header, &sealed.key, &sealed.signature, sealed.header).ok()?;
    Some((version, sealed.key))
}

/// The number of the first body in a block whose format is newer than this build's, if the events have the root that the
/// header commits to: others are not its producer's.
pub(crate) fn newer_body(message: &[u8], events_root: Hash) -> Option<u64> {
    let sealed = SealedBlock::decode(message).ok()?;
    let hashes = sealed.events.iter().map(|event| value_hash(event));
    if root_of((0_u32..).map(u32::to_be_bytes).zip(hashes)) != events_root {
        return None;
    }
    let versions =
        sealed.events.iter().filter_map(|event| version_of(Envelope::decode(event).ok()?.body.as_ref()));
    versions.into_iter().find(|version| *version > u64::from(BODY_VERSION))
}

/// The unsigned integer that an array begins with.
fn version_of(document: &[u8]) -> Option<u64> {
    let items = match document.first()? {
        0x91..=0x9f => &document[1..],
        0xdc => document.get(3..)?,
        _ => return None,
    };
    let (form, digits) = items.split_first()?;
    let width = match form {
        0x00..=0x7f => return Some(u64::from(*form)),
        0xcc => 1,
        0xcd => 2,
        0xce => 4,
        0xcf => 8,
        _ => return None,
    };
    Some(digits.get(..width)?.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)))
}

#[cfg(test)]
mod tests {
    use chaoschain_schemas::codec;

    use super::*;

    #[test]
    fn the_version_is_the_first_item_of_an_array() {
        for version in [0_u64, 1, 127, 128, 255, 256, 65_536, u64::MAX] {
            assert_eq!(version_of(&codec::encode(&(version, "x"))), Some(version));
            let long = (version, [0_u8; 16], [0_u8; 8]);
            assert_eq!(version_of(&codec::encode(&long)), Some(version));
        }
        let many: Vec<u64> = (300..340).collect();
        assert_eq!(version_of(&codec::encode(&many)), Some(300));
        for none in [&b""[..], &[0x90], &[0x91], &[0x91, 0xcd, 1], &[0xdc, 0, 1], b"text", &[0x92, 0xc0, 1]] {
            assert_eq!(version_of(none), None);
        }
    }
}
