//! Many keys on their way down a tree at once, a level at a time, so that the cache misses of a level overlap.

use super::arena::{Arena, KeyWords, is_leaf, key_words, step};

/// How many keys are worth sending down together: what they bring stays in the cache until it is used.
pub(super) const TOGETHER: usize = 128;

/// Keys, and the leaves they arrive at.
#[derive(Default)]
pub(super) struct Descents {
    pub(super) keys: Vec<KeyWords>,
    pub(super) leaves: Vec<u32>,
}

impl Descents {
    /// Descends from `top` for all `keys`; what each arrives at is in the cache, or on its way there.
    pub(super) fn run<'k>(&mut self, arena: &Arena, top: u32, keys: impl Iterator<Item = &'k [u8]>) {
        let Self { keys: words, leaves } = self;
        words.clear();
        words.extend(keys.map(key_words));
        leaves.clear();
        leaves.resize(words.len(), top);
        if is_leaf(top) {
            return;
        }
        let mut moving: Vec<_> = (0..words.len()).map(|key| (key, arena.fetch_node(top))).collect();
        while !moving.is_empty() {
            moving.retain_mut(|(key, node)| {
                let link = step(node, &words[*key]);
                if is_leaf(link) {
                    arena.fetch_record(link);
                    leaves[*key] = link;
                    return false;
                }
                *node = arena.fetch_node(link);
                true
            });
        }
    }
}
