//! Keys from a seed, for chains that can be made again.
//!
//! # Format
//! A seed of 64 hex digits stands for these 32 bytes, any other text for its plain BLAKE3. The seed of the key with a
//! label is BLAKE3 keyed with that, over the label. Whoever knows the seed has every key.

use chaoschain_events::signature::SecretKey;

/// Derives keys by label.
pub(crate) struct Seed([u8; 32]);

impl Seed {
    pub(crate) fn of(text: &str) -> Self {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Self(bytes),
            Err(_) => Self(*blake3::hash(text.as_bytes()).as_bytes()),
        }
    }

    /// The key of this label: `producer`, or `agent <node id>` in an import.
    pub(crate) fn key(&self, label: &str) -> SecretKey {
        SecretKey::from_seed(blake3::keyed_hash(&self.0, label.as_bytes()).as_bytes())
    }

    /// Bytes without end that follow from the seed and this label.
    pub(crate) fn stream(&self, label: &str) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&self.0).update(b"stream ").update(label.as_bytes()).finalize_xof()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_seeds_tell_keys_apart() {
        let key = |seed: &str, label: &str| Seed::of(seed).key(label).public();
        assert_eq!(key("a", "producer"), key("a", "producer"));
        assert_ne!(key("a", "producer"), key("a", "agent 1"));
        assert_ne!(key("a", "producer"), key("b", "producer"));
        let zeros = "00".repeat(32);
        assert_eq!(Seed::of(&zeros).0, [0; 32]);
    }
}
