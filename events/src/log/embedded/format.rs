//! The bytes of a segment file.
//!
//! # Format
//! A log is a directory of segment files, each named by the first sequence it holds, twenty decimal digits and
//! `.log`. Integers are big-endian. A file is a header and then records without anything between them.
//!
//! | offset | bytes | file header |
//! |---|---|---|
//! | 0 | 8 | magic, `CHAOSLOG` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 6 | zero |
//! | 16 | 8 | sequence of the first record; equals the file's name |
//! | 24 | 8 | the same of the file before this one, or 0 |
//! | 32 | 8 | length in bytes of the file before this one, or 0 |
//! | 40 | 32 | key of the checks in this file, random |
//! | 72 | 8 | check of bytes 0 to 71: the first 8 bytes of their plain BLAKE3 |
//!
//! | offset | bytes | record |
//! |---|---|---|
//! | 0 | 4 | payload length *n*, at most 16 MiB |
//! | 4 | 4 | place in its group: how many records were written before it and synced together with it |
//! | 8 | 8 | sequence |
//! | 16 | 8 | check of the payload |
//! | 24 | 8 | check of bytes 0 to 23 |
//! | 32 | *n* | payload |
//!
//! A check in a record is the first 8 bytes of a BLAKE3 keyed with the file's key. Whoever chooses payloads does not
//! know that key, so a payload cannot pass for a record when a damaged file is searched for one.
//!
//! The place in the group tells a crash from damage. A group is written only when the one before it is on stable
//! storage, so a record that is unreadable although a *later group* follows it was durable once: that is damage. If
//! nothing follows but records of its own group, it may never have been acknowledged: that is a torn tail.
//!
//! The length of the file before is final when it is written down, so a file that was cut short or is missing in
//! the middle is found without reading the records.

use std::ops::Range;

pub(super) const VERSION: u16 = 1;
pub(super) const FILE_HEADER_BYTES: usize = 80;
pub(super) const RECORD_HEADER_BYTES: usize = 32;
/// The longest payload the format knows, bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"CHAOSLOG";

pub(super) type Key = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) base: u64,
    pub(super) previous_base: u64,
    pub(super) previous_len: u64,
    pub(super) key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Foreign(&'static str),
    Newer(u16),
    Damaged(&'static str),
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.previous_base.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.previous_len.to_be_bytes());
        bytes[40..72].copy_from_slice(&self.key);
        let check = first_8(blake3::hash(&bytes[..72]));
        bytes[72..].copy_from_slice(&check);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::Foreign("it does not start with CHAOSLOG"));
        }
        if bytes.len() < FILE_HEADER_BYTES {
            return Err(HeaderError::Damaged("the file header is cut short"));
        }
        let version = u16::from_be_bytes([bytes[8], bytes[9]]);
        if version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        if bytes[72..80] != first_8(blake3::hash(&bytes[..72])) {
            return Err(HeaderError::Damaged("the file header's check fails"));
        }
        if version != VERSION {
            return Err(HeaderError::Damaged("format version 0 does not exist"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[40..72]);
        Ok(Self {
            base: u64_at(bytes, 16),
            previous_base: u64_at(bytes, 24),
            previous_len: u64_at(bytes, 32),
            key,
        })
    }
}

/// The head of one record, its check already verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) len: usize,
    pub(super) place_in_group: u32,
    pub(super) sequence: u64,
    payload_check: [u8; 8],
}

impl RecordHeader {
    /// Reads a head from the first [`RECORD_HEADER_BYTES`] of `bytes`; none when they are too few or the check fails.
    pub(super) fn decode(bytes: &[u8], key: &Key) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        if bytes[24..32] != first_8(blake3::keyed_hash(key, &bytes[..24])) {
            return None;
        }
        let len = u32_at(bytes, 0) as usize;
        let mut payload_check = [0; 8];
        payload_check.copy_from_slice(&bytes[16..24]);
        (len <= PAYLOAD_BYTES_MAX).then_some(Self {
            len,
            place_in_group: u32_at(bytes, 4),
            sequence: u64_at(bytes, 8),
            payload_check,
        })
    }

    /// The sequence of the first record that was synced together with this one.
    pub(super) fn group_first(&self) -> u64 {
        self.sequence.saturating_sub(u64::from(self.place_in_group))
    }

    pub(super) fn holds(&self, payload: &[u8], key: &Key) -> bool {
        payload.len() == self.len && self.payload_check == first_8(blake3::keyed_hash(key, payload))
    }
}

/// Appends one record to `out`. The caller has checked the length.
pub(super) fn push_record(out: &mut Vec<u8>, key: &Key, sequence: u64, place_in_group: u32, payload: &[u8]) {
    let mut head = [0; RECORD_HEADER_BYTES];
    head[..4].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    head[4..8].copy_from_slice(&place_in_group.to_be_bytes());
    head[8..16].copy_from_slice(&sequence.to_be_bytes());
    head[16..24].copy_from_slice(&first_8(blake3::keyed_hash(key, payload)));
    let check = first_8(blake3::keyed_hash(key, &head[..24]));
    head[24..].copy_from_slice(&check);
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
}

/// The first offset in `bytes` at which a record of a group after `sequence` was written begins.
///
/// `candidates` are the sequences such a record may have; it keeps the search from hashing at every byte.
pub(super) fn find_later_group(
    bytes: &[u8],
    key: &Key,
    sequence: u64,
    candidates: Range<u64>,
) -> Option<usize> {
    (0..bytes.len().saturating_sub(RECORD_HEADER_BYTES - 1)).find(|&at| {
        candidates.contains(&u64_at(bytes, at + 8))
            && RecordHeader::decode(&bytes[at..], key).is_some_and(|head| head.group_first() > sequence)
    })
}

fn first_8(hash: blake3::Hash) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&hash.as_bytes()[..8]);
    check
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(raw)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader { base: 7, previous_base: 1, previous_len: 999, key: [5; 32] }
    }

    /// The format is frozen: these are the bytes a file of version 1 starts with.
    #[test]
    fn frozen_bytes() {
        let mut bytes = header().encode().to_vec();
        push_record(&mut bytes, &[5; 32], 7, 0, b"payload");
        assert_eq!(
            hex::encode(&bytes),
            include_str!("format.golden.hex").trim(),
            "the log format changed: that needs a new version"
        );
        assert_eq!(FileHeader::decode(&bytes), Ok(header()));
        let head = RecordHeader::decode(&bytes[80..], &[5; 32]).unwrap();
        assert_eq!((head.sequence, head.len, head.place_in_group), (7, 7, 0));
        assert!(head.holds(b"payload", &[5; 32]));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&bad).is_err(), "bit {bit}");
        }
        let mut record = Vec::new();
        push_record(&mut record, &[5; 32], 7, 3, b"payload");
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let head = RecordHeader::decode(&bad, &[5; 32]);
            assert!(!head.is_some_and(|h| h.holds(&bad[RECORD_HEADER_BYTES..], &[5; 32])), "bit {bit}");
        }
    }

    #[test]
    fn a_payload_cannot_pass_for_a_record() {
        let mut forged = Vec::new();
        push_record(&mut forged, &[6; 32], 9, 0, b"");
        assert_eq!(find_later_group(&forged, &[5; 32], 7, 8..20), None);
        assert_eq!(find_later_group(&forged, &[6; 32], 7, 8..20), Some(0));
        assert_eq!(find_later_group(&forged, &[6; 32], 9, 8..20), None, "not later than itself");
    }
}
