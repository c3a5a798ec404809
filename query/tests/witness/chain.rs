//! A chain without a node: a fold that is the full node, and whoever acts on it.

use std::sync::Arc;

use chaoschain_events::block::{VerifiedBlock, events_root, seal};
use chaoschain_events::envelope::{VerifiedEnvelope, sign};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{
    BlockLimits, Fold, FoldError, Head, Producer, Verdict as Said, open_genesis, seal_genesis, witness_of,
};
use chaoschain_query::verify::{StateVerifier, Trust, VerifiedTransition, VerifyError};
use chaoschain_schemas::control::{
    GENESIS_VERSION, Genesis, GenesisAccount, KeyRotation, Parameters, Role, kind,
};
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Body, ChainId, Expectation, Header, Sequence, Timestamp, WitnessFile, codec,
};
use chaoschain_state::domain::Machine;

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000_000);
/// The producer's first key, and the one that it may rotate to.
pub(crate) const PRODUCER: u8 = 1;
pub(crate) const ROTATED: u8 = 101;
pub(crate) const OTHER_PRODUCER: u8 = 2;

pub(crate) fn key(number: u8) -> Arc<SecretKey> {
    Arc::new(SecretKey::from_seed(&[number; 32]))
}

/// An account, its current key and the nonce it uses next.
#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) id: AccountId,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) nonce: u64,
    pub(crate) valid_until: Timestamp,
    pub(crate) chain: ChainId,
    pub(crate) expects: Vec<Expectation>,
}

impl Author {
    pub(crate) fn new(number: u8, chain: ChainId) -> Self {
        let key = key(number);
        let id = AccountId::from_first_key(&key.public());
        let valid_until = Timestamp(START.0 + 590_000_000);
        Self { id, key, nonce: 0, valid_until, chain, expects: Vec::new() }
    }

    /// Signs a payload, with `further` keys in the name of accounts.
    pub(crate) fn does(
        &mut self,
        kind: u16,
        payload: Vec<u8>,
        further: &[(AccountId, &SecretKey)],
    ) -> VerifiedEnvelope {
        let body = Body {
            version: BODY_VERSION,
            chain: self.chain,
            epoch: 0,
            author: self.id,
            lane: 0,
            nonce: self.nonce,
            valid_until: self.valid_until,
            occurred_at: None,
            correlation: None,
            causation: None,
            expects: std::mem::take(&mut self.expects),
            attachment: None,
            kind,
            payload: payload.into(),
        };
        self.nonce += 1;
        let signers = [&[(self.id, &*self.key)], further].concat();
        sign(&body, &signers).unwrap()
    }

    pub(crate) fn register(&mut self) -> VerifiedEnvelope {
        self.does(kind::ACCOUNT_REGISTRATION, vec![0x90], &[])
    }

    /// Replaces the key by that of this number.
    pub(crate) fn rotate(&mut self, to: u8) -> VerifiedEnvelope {
        let new = key(to);
        let payload = codec::encode(&KeyRotation { new_key: new.public() });
        let event = self.does(kind::KEY_ROTATION, payload, &[(self.id, &new)]);
        self.key = new;
        event
    }
}

/// A full node of a chain, and what verifiers of it trust.
pub(crate) struct Chain {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) fold: Fold,
    pub(crate) trust: Trust,
    pub(crate) id: ChainId,
    pub(crate) producer: Producer,
    sequence: u64,
}

/// What a full node makes of a block: nothing wrong, or the code.
pub(crate) type Verdict = Result<(), &'static str>;

impl Chain {
    pub(crate) fn new(machine: Arc<dyn Machine>) -> Self {
        let rules = machine.rules();
        Self::under(machine, rules)
    }

    /// A chain that starts under this version of the rules.
    pub(crate) fn under(machine: Arc<dyn Machine>, rules: u16) -> Self {
        let mut accounts: Vec<_> = [PRODUCER, OTHER_PRODUCER]
            .map(|number| GenesisAccount {
                key: key(number).public(),
                role: Role::Producer,
                weight: 1,
                sponsorships: 0,
            })
            .into();
        accounts.sort_by_key(|account| account.key);
        let genesis = Genesis {
            version: GENESIS_VERSION,
            name: "witnessed".into(),
            domain: machine.id().into(),
            rules,
            sub_trees: machine.sub_trees().iter().map(ToString::to_string).collect(),
            timestamp: START,
            parameters: Parameters::default(),
            domain_parameters: machine.default_parameters().into(),
            accounts,
        };
        let first = genesis.first_producer().unwrap().key;
        let sealer =
            [PRODUCER, OTHER_PRODUCER].map(key).into_iter().find(|key| key.public() == first).unwrap();
        let (id, message) = seal_genesis(&*machine, &genesis, &sealer).unwrap();
        let beginning = open_genesis(&*machine, Sequence(1), &message, Some(id)).unwrap();
        let fold = Fold::new(Arc::clone(&machine), beginning.forest, beginning.head);
        let trusted = [PRODUCER, OTHER_PRODUCER, ROTATED].map(|number| key(number).public());
        let account = AccountId::from_first_key(&key(PRODUCER).public());
        let producer = Producer { account, key: key(PRODUCER) };
        Self { machine, fold, trust: Trust::in_producers(id, trusted.into()), id, producer, sequence: 1 }
    }

    pub(crate) fn head(&self) -> Arc<Head> {
        Arc::clone(self.fold.head())
    }

    /// A sealed block of what of `events` is acceptable, `seconds` after the head. It is not folded.
    pub(crate) fn propose(&mut self, seconds: u64, events: &[VerifiedEnvelope]) -> Arc<VerifiedBlock> {
        self.foresee(seconds, events).0
    }

    /// The same block with what is said of each of the events, and the head that it would be.
    pub(crate) fn foresee(
        &mut self,
        seconds: u64,
        events: &[VerifiedEnvelope],
    ) -> (Arc<VerifiedBlock>, Vec<Said>, Arc<Head>) {
        let now = Timestamp(self.head().header.timestamp.0 + 1_000_000 * seconds);
        let proposed = self.fold.propose(&self.producer, now, BlockLimits::default(), events, true);
        let (proposed, said) = proposed.unwrap();
        let ahead = Arc::clone(self.fold.tip());
        self.fold.drop_speculative();
        (proposed.unwrap().block, said, ahead)
    }

    /// The block with another header, sealed with key `by` in the name of that key's account.
    pub(crate) fn altered(block: &VerifiedBlock, by: u8, change: impl FnOnce(&mut Header)) -> VerifiedBlock {
        Self::with_events(block, block.events().to_vec(), by, change)
    }

    /// The block with other events.
    pub(crate) fn with_events(
        block: &VerifiedBlock,
        events: Vec<VerifiedEnvelope>,
        by: u8,
        change: impl FnOnce(&mut Header),
    ) -> VerifiedBlock {
        let mut header = block.header().clone();
        header.event_count = events.len() as u32;
        header.events_root = events_root(&events);
        change(&mut header);
        seal(header, events, &key(by)).unwrap()
    }

    /// What the full node makes of a block; it goes on where that is good.
    pub(crate) fn fold(&mut self, block: &VerifiedBlock) -> Verdict {
        self.judge(block).map_err(|error| code(&error))
    }

    fn judge(&mut self, block: &VerifiedBlock) -> Result<(), FoldError> {
        self.sequence += 1;
        self.fold.fold(Sequence(self.sequence), block).map(drop)
    }

    /// The witness of a block upon the head.
    pub(crate) fn witness(&self, block: &VerifiedBlock) -> WitnessFile {
        witness_of(&*self.machine, self.fold.head(), block, None)
    }

    pub(crate) fn verify(&self, witness: &WitnessFile) -> Result<VerifiedTransition, VerifyError> {
        StateVerifier::new(&self.trust, &*self.machine).verify_file(&codec::encode(witness))
    }

    /// Holds the verifier's verdict on a block against the full node's, and folds it where it is good.
    pub(crate) fn compare(&mut self, what: &str, block: &VerifiedBlock) -> Verdict {
        let witness = self.witness(block);
        let verified = self.verify(&witness);
        let before = self.head();
        let judged = self.judge(block);
        match (&verified, &judged) {
            (Ok(verified), Ok(())) => {
                let after = self.head();
                assert_eq!(verified.block.header_hash(), after.hash, "{what}");
                assert_eq!(verified.parent.at().header_hash, before.hash, "{what}");
                assert_eq!(verified.rules, after.header.rules, "{what}");
            }
            (Err(error), Err(refusal)) => {
                assert_eq!(error.code(), code(refusal), "{what}: {error}");
                if let (VerifyError::Unfit(unfit), FoldError::Skip(skip)) = (error, refusal) {
                    // The same event for the same reason.
                    assert_eq!(unfit.to_string(), skip.message, "{what}");
                }
            }
            _ => panic!("{what}: the full node says {judged:?}, the verifier {verified:?}"),
        }
        judged.map_err(|refusal| code(&refusal))
    }
}

fn code(error: &FoldError) -> &'static str {
    match error {
        // A node cannot tell whose fold is wrong; a verifier is told the state before.
        FoldError::Diverged { .. } => "state_root_wrong",
        error => error.code(),
    }
}
