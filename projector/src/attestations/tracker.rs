//! What each validator has said, held against this node's chain. Nothing here reads a file, a clock or a signature.

use std::collections::{BTreeMap, VecDeque};

use chaoschain_schemas::{AccountId, EquivocationProof, Hash, Height, SignedAttestation};

use super::electorate::{Electorates, Member, Span};
use super::weights::{Share, highest};

/// How many attestations of a validator are kept at or below the head, to tell equivocation; the newest stay.
pub(super) const SETTLED_MAX: usize = 256;
/// How many attestations of a validator wait for this node to come up to their height; the newest stay.
pub(super) const AHEAD_MAX: usize = 64;
/// How many attestations said to be a validator's, under another key than its current one, wait for a rotation that this
/// node has not folded yet.
pub(super) const PARKED_MAX: usize = 8;

/// This node's chain, as far as it goes.
pub(super) struct Place<'a> {
    pub(super) head: Height,
    /// The header hash at a height at or below the head; `None` when it cannot be read now.
    pub(super) hash_at: &'a dyn Fn(Height) -> Option<Hash>,
}

/// An attestation of a known validator whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) height: Height,
    pub(super) header_hash: Hash,
    pub(super) signed: SignedAttestation,
}

#[derive(Clone, Debug)]
struct Settled {
    word: Word,
    on_chain: bool,
}

/// What became of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is news.
    New,
    /// It was known, or is too old to matter.
    Known,
    /// It contradicts another word of the validator, under the same key.
    Equivocation(Box<EquivocationProof>),
}

#[derive(Clone, Debug, Default)]
struct Voice {
    /// The newest that is of this node's chain; it stays when `settled` has forgotten it.
    newest_on_chain: Option<Word>,
    settled: BTreeMap<Height, Settled>,
    ahead: BTreeMap<Height, Word>,
    parked: VecDeque<SignedAttestation>,
    equivocated: bool,
}

/// What follows from all words together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Of each set of validators, oldest first: the newest of its heights that more than two thirds of it attest on
    /// this node's chain.
    pub(super) finalized: Vec<Reached>,
    /// The greatest height that more than a third attests, on whatever chain.
    pub(super) highest: Height,
    /// Whether more than two thirds say that this node's chain is not the one.
    pub(super) conflict: bool,
}

/// A height that a set of validators makes final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Which set, as it stands among the [`Electorates`].
    pub(super) span: usize,
    pub(super) height: Height,
    /// The weight that attests it.
    pub(super) weight: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tracker {
    voices: BTreeMap<AccountId, Voice>,
}

impl Tracker {
    /// Takes in a word of `validator`, whose current key has signed it.
    pub(super) fn hear(&mut self, place: &Place<'_>, validator: AccountId, word: Word) -> Heard {
        let voice = self.voices.entry(validator).or_default();
        if voice.equivocated {
            return Heard::Known;
        }
        if let Some(known) = voice.at(word.height) {
            // Under two keys it is no proof: whoever held the former one may have said the other.
            if known.header_hash == word.header_hash || known.signed.key != word.signed.key {
                return Heard::Known;
            }
            let (first, second) = (known.signed.clone(), word.signed);
            self.condemn(validator);
            return Heard::Equivocation(Box::new(EquivocationProof { first, second }));
        }
        let news = voice.newest().is_none_or(|newest| newest < word.height);
        voice.put(place, word);
        if news { Heard::New } else { Heard::Known }
    }

    /// Counts nothing of a validator that has signed two hashes at one height, from now on.
    pub(super) fn condemn(&mut self, validator: AccountId) {
        self.voices.insert(validator, Voice { equivocated: true, ..Voice::default() });
    }

    pub(super) fn is_condemned(&self, validator: &AccountId) -> bool {
        self.voices.get(validator).is_some_and(|voice| voice.equivocated)
    }

    /// How many validators have signed two hashes at one height.
    pub(super) fn condemned(&self) -> u64 {
        self.voices.values().filter(|voice| voice.equivocated).count() as u64
    }

    /// Keeps an attestation that is said to be a validator's and is signed with another key than its current one.
    pub(super) fn park(&mut self, validator: AccountId, signed: SignedAttestation) {
        let parked = &mut self.voices.entry(validator).or_default().parked;
        if !parked.contains(&signed) {
            if parked.len() == PARKED_MAX {
                parked.pop_front();
            }
            parked.push_back(signed);
        }
    }

    /// Takes out what was parked and is signed with what is now the validator's key.
    pub(super) fn unpark(&mut self, electorates: &Electorates) -> Vec<SignedAttestation> {
        let mut out = Vec::new();
        for (account, voice) in &mut self.voices {
            let Some(member) = electorates.member(account) else { continue };
            let of_now = |signed: &SignedAttestation| signed.key == member.key;
            let (ready, parked): (VecDeque<_>, _) = voice.parked.drain(..).partition(of_now);
            voice.parked = parked;
            out.extend(ready);
        }
        out
    }

    /// Judges what this node has come up to, and forgets who is no validator any more.
    pub(super) fn settle(&mut self, electorates: &Electorates, place: &Place<'_>) {
        self.voices.retain(|account, voice| voice.equivocated || electorates.member(account).is_some());
        for voice in self.voices.values_mut() {
            voice.settle(place);
        }
    }

    pub(super) fn tally(&self, electorates: &Electorates) -> Tally {
        let mut tally = Tally { finalized: Vec::new(), highest: Height(0), conflict: false };
        for (number, span) in electorates.spans().iter().enumerate() {
            let (mut ours, mut any, mut against) = (Vec::new(), Vec::new(), 0_u64);
            for (account, voice) in self.counted() {
                let Some(Member { weight, .. }) = span.electorate.members.get(account) else { continue };
                let spoken = |height: Height| Some((span.within(height)?, *weight));
                ours.extend(voice.newest_on_chain.as_ref().and_then(|word| spoken(word.height)));
                any.extend(voice.newest().and_then(spoken));
                if voice.against(span).is_some() {
                    against = against.saturating_add(*weight);
                }
            }
            let total = span.electorate.total;
            let reached = highest(&ours, total, Share::TwoThirds);
            tally.finalized.extend(reached.map(|(height, weight)| Reached { span: number, height, weight }));
            let attested = highest(&any, total, Share::Third).map_or(Height(0), |(height, _)| height);
            tally.highest = tally.highest.max(attested);
            tally.conflict |= Share::TwoThirds.is_exceeded(against, total);
        }
        tally
    }

    /// The newest word of each validator that is of this node's chain, at or above `height`.
    pub(super) fn covering(&self, height: Height) -> impl Iterator<Item = (&AccountId, &Word)> {
        let newest =
            self.counted().filter_map(|(account, voice)| Some((account, voice.newest_on_chain.as_ref()?)));
        newest.filter(move |(_, word)| word.height >= height)
    }

    /// The words that say that this node's chain is not the one: of each set, about the blocks that it decides about.
    pub(super) fn against(&self, electorates: &Electorates) -> Vec<Word> {
        let of_set = |span: &Span| {
            let members = self.counted().filter(|(account, _)| span.electorate.members.contains_key(account));
            members.filter_map(|(_, voice)| voice.against(span)).cloned().collect::<Vec<_>>()
        };
        electorates.spans().iter().flat_map(of_set).collect()
    }

    /// What a validator has said last, and whether it is of this node's chain.
    pub(super) fn newest_of(&self, validator: &AccountId) -> Option<(&Word, bool)> {
        let voice = self.voices.get(validator)?;
        let settled = voice.newest_settled().map(|settled| (&settled.word, settled.on_chain));
        let on_chain = voice.newest_on_chain.as_ref().map(|word| (word, true));
        let newest = settled.into_iter().chain(on_chain).max_by_key(|(word, _)| word.height);
        newest.or_else(|| voice.ahead.values().next_back().map(|word| (word, false)))
    }

    /// Of the set that decides about the block at `height`: the weight of those who have attested a header that `is_one`,
    /// at that height or above and as far as their words are kept, and the weight of all.
    pub(super) fn weight_of(
        &self,
        electorates: &Electorates,
        height: Height,
        is_one: &dyn Fn(&Hash) -> bool,
    ) -> (u64, u64) {
        let Some(span) = electorates.spans().iter().find(|span| span.decides(height)) else { return (0, 0) };
        let said = |voice: &Voice| {
            let settled = voice.settled.values().map(|settled| &settled.word);
            let mut words = settled.chain(voice.ahead.values());
            words.any(|word| word.height >= height && is_one(&word.header_hash))
        };
        let members = self.counted().filter(|(_, voice)| said(voice));
        let members = members.filter_map(|(account, _)| span.electorate.members.get(account));
        let weight = members.fold(0, |sum: u64, member| sum.saturating_add(member.weight));
        (weight, span.electorate.total)
    }

    fn counted(&self) -> impl Iterator<Item = (&AccountId, &Voice)> {
        self.voices.iter().filter(|(_, voice)| !voice.equivocated)
    }
}

impl Voice {
    fn at(&self, height: Height) -> Option<&Word> {
        let settled = self.settled.get(&height).map(|settled| &settled.word);
        let kept = || self.newest_on_chain.as_ref().filter(|word| word.height == height);
        settled.or_else(|| self.ahead.get(&height)).or_else(kept)
    }

    /// Its newest word about a block that this set decides about, if that is of another chain and it has not come over to
    /// this node's since. Another header above those blocks does not contradict them.
    fn against(&self, span: &Span) -> Option<&Word> {
        let (height, newest) = self.settled.range(..=span.until()).next_back()?;
        let came_over = self.newest_on_chain.as_ref().is_some_and(|word| word.height > *height);
        (!newest.on_chain && span.decides(*height) && !came_over).then_some(&newest.word)
    }

    fn newest_settled(&self) -> Option<&Settled> {
        self.settled.values().next_back()
    }

    /// The greatest height it has attested.
    fn newest(&self) -> Option<Height> {
        let heights = [
            self.newest_on_chain.as_ref().map(|word| word.height),
            self.settled.keys().next_back().copied(),
            self.ahead.keys().next_back().copied(),
        ];
        heights.into_iter().flatten().max()
    }

    fn put(&mut self, place: &Place<'_>, word: Word) {
        let ours = if word.height <= place.head { (place.hash_at)(word.height) } else { None };
        let Some(ours) = ours else {
            self.ahead.insert(word.height, word);
            if self.ahead.len() > AHEAD_MAX {
                self.ahead.pop_first();
            }
            return;
        };
        let on_chain = ours == word.header_hash;
        if on_chain && self.newest_on_chain.as_ref().is_none_or(|newest| newest.height < word.height) {
            self.newest_on_chain = Some(word.clone());
        }
        self.settled.insert(word.height, Settled { word, on_chain });
        if self.settled.len() > SETTLED_MAX {
            self.settled.pop_first();
        }
    }

    fn settle(&mut self, place: &Place<'_>) {
        if self.ahead.first_key_value().is_some_and(|(lowest, _)| *lowest <= place.head) {
            for word in std::mem::take(&mut self.ahead).into_values() {
                self.put(place, word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chaoschain_schemas::{Blob, PublicKey, Signature};
    use proptest::prelude::*;

    use super::super::electorate::Electorate;
    use super::*;

    fn account(number: u8) -> AccountId {
        AccountId::new([number; 32])
    }

    fn key(number: u8) -> PublicKey {
        PublicKey::new([number; 32])
    }

    fn word(number: u8, height: u64, header: u8) -> Word {
        let header_hash = Hash::new([header; 32]);
        let signed = SignedAttestation {
            attestation: Blob(vec![number, height as u8, header]),
            key: key(number),
            signature: Signature::new([header; 64]),
        };
        Word { height: Height(height), header_hash, signed }
    }

    fn set(since: u64, weights: &[u64]) -> Electorate {
        let member =
            |(number, weight): (u8, &u64)| (account(number), Member { weight: *weight, key: key(number) });
        let members = (0..).zip(weights).filter(|(_, weight)| **weight > 0).map(member).collect();
        Electorate { members, total: weights.iter().sum(), since: Height(since) }
    }

    fn electorate(weights: &[u64]) -> Electorates {
        Electorates::new(set(0, weights), Height(0))
    }

    /// The chain has header 0 at every height up to the head.
    fn on_chain<T>(head: u64, judge: impl FnOnce(&Place<'_>) -> T) -> T {
        let hash_at = move |height: Height| (height.0 <= head).then(|| Hash::new([0; 32]));
        judge(&Place { head: Height(head), hash_at: &hash_at })
    }

    /// What follows from a set of words, each (validator, height, header), by the definitions.
    fn defined(words: &BTreeSet<(u8, u64, u8)>, head: u64, weights: &[u64]) -> Tally {
        let of = |number: u8| words.iter().filter(move |(by, ..)| *by == number);
        let honest: Vec<u8> = (0..weights.len() as u8)
            .filter(|number| {
                let heights: BTreeSet<u64> = of(*number).map(|(_, height, _)| *height).collect();
                heights.len() == of(*number).count()
            })
            .collect();
        let weight = |counts: &dyn Fn(u8) -> bool| -> u64 {
            honest.iter().filter(|number| counts(**number)).map(|number| weights[usize::from(*number)]).sum()
        };
        let total: u64 = weights.iter().sum();
        let ours = |at: u64| {
            weight(&|number| {
                of(number).any(|(_, height, header)| *height >= at && *height <= head && *header == 0)
            })
        };
        let any = |at: u64| weight(&|number| of(number).any(|(_, height, _)| *height >= at));
        let against = weight(&|number| {
            let settled = of(number).filter(|(_, height, _)| *height <= head);
            settled.max_by_key(|(_, height, _)| *height).is_some_and(|(.., header)| *header != 0)
        });
        Tally {
            finalized: (0..=head)
                .rev()
                .map(|at| Reached { span: 0, height: Height(at), weight: ours(at) })
                .find(|reached| 3 * reached.weight > 2 * total)
                .into_iter()
                .collect(),
            highest: Height((0..20).rev().find(|at| 3 * any(*at) > total).unwrap_or(0)),
            conflict: 3 * against > 2 * total,
        }
    }

    proptest! {
        /// Words in any order, some twice, some that contradict others, some before their block.
        #[test]
        fn the_tally_is_the_definition(
            weights in prop::collection::vec(1..4_u64, 1..6),
            steps in prop::collection::vec((0..6_u8, 0..10_u64, prop_oneof![5 => Just(0_u8), 1 => 1..3_u8], any::<bool>()), 0..60),
        ) {
            let electorate = electorate(&weights);
            let mut tracker = Tracker::default();
            let mut heard = BTreeSet::new();
            let mut head = 0;
            for (number, height, header, grow) in steps {
                let number = number % weights.len() as u8;
                head += u64::from(grow);
                on_chain(head, |place| {
                    tracker.settle(&electorate, place);
                    let known = heard.iter().any(|(by, at, hash)| (*by, *at) == (number, height) && *hash != header);
                    let condemned = tracker.is_condemned(&account(number));
                    let outcome = tracker.hear(place, account(number), word(number, height, header));
                    prop_assert_eq!(matches!(outcome, Heard::Equivocation(_)), known && !condemned);
                    Ok(())
                })?;
                heard.insert((number, height, header));
                prop_assert_eq!(tracker.tally(&electorate), defined(&heard, head, &weights));
            }
        }
    }

    #[test]
    fn who_has_attested_one_of_some_headers_is_weighed_once() {
        let electorate = electorate(&[1, 2, 4, 8]);
        let mut tracker = Tracker::default();
        on_chain(3, |place| {
            for (validator, height, header) in
                [(0, 2, 0), (0, 4, 7), (0, 5, 8), (1, 6, 8), (2, 6, 9), (9, 6, 8)]
            {
                tracker.hear(place, account(validator), word(validator, height, header));
            }
        });
        let any_of = |hashes: &[u8]| {
            tracker
                .weight_of(&electorate, Height(2), &|hash| {
                    hashes.iter().any(|header| *hash == Hash::new([*header; 32]))
                })
                .0
        };
        assert_eq!([any_of(&[7, 8]), any_of(&[9]), any_of(&[0]), any_of(&[1]), any_of(&[])], [3, 4, 1, 0, 0]);
        tracker.condemn(account(0));
        assert_eq!(tracker.weight_of(&electorate, Height(2), &|_| true), (6, 15));
    }

    /// Validator 0 leaves and 2 comes with block 1: each is weighed among those of its time.
    #[test]
    fn who_has_attested_is_weighed_in_the_set_of_that_height() {
        let mut electorates = electorate(&[3, 1]);
        electorates.advance(set(2, &[0, 1, 5]), Height(1), |_| None);
        let mut tracker = Tracker::default();
        on_chain(0, |place| {
            for (validator, height, header) in [(0, 1, 7), (0, 3, 8), (1, 3, 8), (2, 1, 9), (2, 2, 6)] {
                tracker.hear(place, account(validator), word(validator, height, header));
            }
        });
        let of = |height: u64, header: u8| {
            tracker.weight_of(&electorates, Height(height), &|hash| *hash == Hash::new([header; 32]))
        };
        assert_eq!(of(1, 7), (3, 4), "the old set's");
        assert_eq!(of(2, 6), (5, 6), "the new set's");
        // A word on a block of the new set is one on those before, for who is in the old set; about its own block
        // the old set has nothing to say any more.
        assert_eq!(of(1, 8), (4, 4));
        assert_eq!(of(2, 8), (1, 6));
        // Nobody of the set of that height has said it, and a word on a block is none on those after it.
        assert_eq!([of(1, 9), of(2, 7)], [(0, 4), (0, 6)]);
    }

    #[test]
    fn of_too_many_words_the_newest_stay() {
        let electorate = electorate(&[1]);
        let mut tracker = Tracker::default();
        on_chain(0, |place| {
            for height in 1..=2 * AHEAD_MAX as u64 {
                tracker.hear(place, account(0), word(0, height, 0));
            }
        });
        assert_eq!(tracker.voices[&account(0)].ahead.len(), AHEAD_MAX);
        let head = 4 * SETTLED_MAX as u64;
        on_chain(head, |place| {
            tracker.settle(&electorate, place);
            for height in (2 * AHEAD_MAX as u64..=head).rev() {
                tracker.hear(place, account(0), word(0, height, 0));
            }
        });
        let voice = &tracker.voices[&account(0)];
        assert_eq!((voice.ahead.len(), voice.settled.len()), (0, SETTLED_MAX));
        assert_eq!(voice.newest(), Some(Height(head)));
        for number in 0..=255 {
            tracker.park(account(0), word(number, 1, 0).signed);
        }
        assert_eq!(tracker.voices[&account(0)].parked.len(), PARKED_MAX);
    }

    /// Whoever had the key before a rotation can have signed anything; no file would prove it against the key of now.
    #[test]
    fn words_under_two_keys_are_no_equivocation() {
        let mut tracker = Tracker::default();
        let mut under_new_key = word(0, 5, 0);
        under_new_key.signed.key = key(9);
        on_chain(5, |place| {
            assert_eq!(tracker.hear(place, account(0), word(0, 5, 1)), Heard::New);
            assert_eq!(tracker.hear(place, account(0), under_new_key), Heard::Known);
        });
        assert!(!tracker.is_condemned(&account(0)));
    }

    #[test]
    fn what_was_parked_is_heard_under_its_key() {
        let mut tracker = Tracker::default();
        tracker.park(account(0), word(7, 1, 0).signed);
        tracker.park(account(0), word(8, 1, 0).signed);
        let mut electorates = electorate(&[1]);
        assert_eq!(tracker.unpark(&electorates), []);
        let mut rotated = set(0, &[1]);
        rotated.members.insert(account(0), Member { weight: 1, key: key(7) });
        electorates.advance(rotated, Height(1), |_| None);
        assert_eq!(tracker.unpark(&electorates), [word(7, 1, 0).signed]);
        assert_eq!(tracker.unpark(&electorates), []);
    }

    /// Of four validators two leave and two come with block 5; the two that stay have a third of either set.
    #[test]
    fn words_count_by_the_set_of_their_height() {
        let mut electorates = electorate(&[1, 1, 1, 1]);
        electorates.advance(set(0, &[1, 1, 1, 1]), Height(4), |_| None);
        electorates.advance(set(6, &[0, 0, 1, 1, 1, 1]), Height(5), |_| None);
        let mut tracker = Tracker::default();
        let mut finalized = |words: &[(u8, u64)]| {
            on_chain(9, |place| {
                for (number, height) in words {
                    tracker.hear(place, account(*number), word(*number, *height, 0));
                }
            });
            let tally = tracker.tally(&electorates);
            assert!(!tally.conflict);
            tally
                .finalized
                .iter()
                .map(|reached| (reached.span, reached.height.0, reached.weight))
                .collect::<Vec<_>>()
        };
        // The new ones count nothing for what is before them, and the old ones nothing for what is after.
        assert_eq!(finalized(&[(0, 9), (1, 9), (4, 5), (5, 5)]), []);
        // One that stays speaks for both.
        assert_eq!(finalized(&[(2, 7)]), [(0, 5, 3)]);
        assert_eq!(finalized(&[(4, 8)]), [(0, 5, 3)]);
        assert_eq!(finalized(&[(5, 9)]), [(0, 5, 3), (1, 7, 3)]);
        assert_eq!(finalized(&[(3, 8)]), [(0, 5, 4), (1, 8, 3)]);
        electorates.forget(Height(8));
        tracker.settle(&electorates, &Place { head: Height(9), hash_at: &|_| None });
        assert_eq!(tracker.newest_of(&account(0)), None);
    }

    /// Block 5 brings another set here, and not on the chain that the old set goes on with.
    #[test]
    fn a_set_contradicts_the_blocks_that_it_decides_about() {
        let mut electorates = electorate(&[1, 1, 1]);
        electorates.advance(set(0, &[1, 1, 1]), Height(4), |_| None);
        electorates.advance(set(6, &[0, 0, 1, 1, 1, 1]), Height(5), |_| None);
        let conflict = |words: &[(u8, u64, u8)]| {
            let mut tracker = Tracker::default();
            on_chain(9, |place| {
                for (number, height, header) in words {
                    tracker.hear(place, account(*number), word(*number, *height, *header));
                }
            });
            let against: Vec<_> = tracker.against(&electorates).iter().map(|word| word.height.0).collect();
            (tracker.tally(&electorates).conflict, against)
        };
        // Also when they have gone on since.
        let others: Vec<_> = (0..3).flat_map(|number| [(number, 5, 7), (number, 9, 8)]).collect();
        assert_eq!(conflict(&others), (true, vec![5, 5, 5, 9]), "2 is of both sets");
        // What they say of blocks that the new set decides about says nothing of the old set's.
        let later: Vec<_> = (0..3).map(|number| (number, 9, 8)).collect();
        assert_eq!(conflict(&later), (false, vec![9]));
        // Whoever came over does not contradict any more.
        let came_over = [&others[..], &[(0, 10, 0), (1, 8, 0)]].concat();
        assert!(!conflict(&came_over).0);
    }
}
