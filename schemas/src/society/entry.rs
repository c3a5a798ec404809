//! Entries: state of an agent's own, by names of its own.

use serde::{Deserialize, Serialize};

use super::{Payload, check_bytes, check_text};
use crate::Blob;
use crate::limits::{ENTRY_KEY_BYTES_MAX, ENTRY_NAMESPACE_BYTES_MAX, ENTRY_VALUE_BYTES_MAX};

/// An entry; whose it is stands in its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The namespace, of which the record's key holds a hash.
    pub namespace: String,
    /// The key in the namespace, of which the record's key holds a hash.
    pub key: String,
    /// The value.
    pub value: Blob,
}

/// Writes an entry of the author's, whether there was one or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomSet {
    /// The namespace, 1 to 32 bytes.
    pub namespace: String,
    /// The key in the namespace, 1 to 64 bytes.
    pub key: String,
    /// The value, at most 4 KiB.
    pub value: Blob,
}

impl Payload for CustomSet {
    const KIND: u16 = 320;
    const NAME: &'static str = "CustomSet";

    fn check(&self) -> Result<(), String> {
        check_names(&self.namespace, &self.key)?;
        check_bytes("value", self.value.len(), 0, ENTRY_VALUE_BYTES_MAX)
    }
}

/// Removes an entry of the author's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomDelete {
    /// The namespace, 1 to 32 bytes.
    pub namespace: String,
    /// The key in the namespace, 1 to 64 bytes.
    pub key: String,
}

impl Payload for CustomDelete {
    const KIND: u16 = 321;
    const NAME: &'static str = "CustomDelete";

    fn check(&self) -> Result<(), String> {
        check_names(&self.namespace, &self.key)
    }
}

fn check_names(namespace: &str, key: &str) -> Result<(), String> {
    check_text("namespace", namespace, 1, ENTRY_NAMESPACE_BYTES_MAX)?;
    check_text("key", key, 1, ENTRY_KEY_BYTES_MAX)
}
