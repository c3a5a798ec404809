//! The seam between the kernel and a domain's own rules.
//!
//! A domain is a pure crate that implements [`Domain`]. [`Machine`] is its object-safe face: a blanket implementation
//! turns every domain into one, so nothing above this crate is generic over the domain.
//!
//! # Invariants
//! - A domain reads the state only through the view it is given and writes only into its own sub-trees.
//! - [`Domain::apply`] is called after [`Domain::verify`] accepted the transition on the same state; it cannot fail.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use chaoschain_schemas::codec;
use chaoschain_schemas::control::Parameters;
use chaoschain_schemas::{
    AccountId, ChainId, CodecError, EventAddress, Hash, Height, Timestamp, TransitionId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::key::Key;
use crate::rejection::Rejection;
use crate::view::{Change, Changes, Value, View};

/// What a block's rules may know of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// The chain.
    pub chain: ChainId,
    /// The block's height.
    pub height: Height,
    /// Block time.
    pub now: Timestamp,
    /// The hash of the header before.
    pub parent: Hash,
    /// The chain's epoch.
    pub epoch: u64,
    /// The version of the domain's rules in force.
    pub rules: u16,
    /// The kernel's parameters.
    pub parameters: Parameters,
    /// The domain's parameters.
    pub domain_parameters: DomainParameters,
}

/// A domain's parameters: their bytes, decoded at most once. Clones share what was decoded.
#[derive(Clone)]
pub struct DomainParameters {
    bytes: Value,
    decoded: Arc<OnceLock<Arc<dyn Any + Send + Sync>>>,
}

impl DomainParameters {
    /// Parameters of these bytes, in the domain's own encoding.
    pub fn new(bytes: Value) -> Self {
        Self { bytes, decoded: Arc::default() }
    }

    /// The bytes.
    pub const fn bytes(&self) -> &Value {
        &self.bytes
    }

    /// The parameters; the default where the bytes are none, which genesis and changes of parameters rule out.
    fn get<P: DeserializeOwned + Serialize + Default + Send + Sync + 'static>(&self) -> Arc<P> {
        let decode = || Arc::new(codec::decode_trusted::<P>(&self.bytes).unwrap_or_default());
        let decoded = self.decoded.get_or_init(|| decode());
        // Another domain's, if two share a context.
        Arc::clone(decoded).downcast().unwrap_or_else(|_| decode())
    }
}

impl PartialEq for DomainParameters {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for DomainParameters {}

impl fmt::Debug for DomainParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

/// What a transition's rules may know besides the state.
#[derive(Debug)]
pub struct EventContext<'a, P> {
    /// The block.
    pub block: &'a BlockContext,
    /// The domain's parameters.
    pub parameters: &'a P,
    /// Where the event will stand.
    pub address: EventAddress,
    /// The transition's id.
    pub id: TransitionId,
    /// Who acts; its account exists and is not suspended.
    pub author: AccountId,
}

impl<P> EventContext<'_, P> {
    /// Block time.
    pub const fn now(&self) -> Timestamp {
        self.block.now
    }
}

/// A kind of transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSpec {
    /// Its number; a domain's is 256 or more.
    pub kind: u16,
    /// Its name, as in JSON and on the command line.
    pub name: &'static str,
    /// The largest payload, bytes.
    pub bytes_max: usize,
    /// Whether it registers the author's account where there is none yet.
    pub registers: bool,
    /// The version of the rules from which on it is known; before that it is refused like any unknown kind.
    pub since: u16,
    /// One line of help, and an example of its JSON form.
    pub help: &'static str,
    /// An example of its JSON form.
    pub example: &'static str,
}

/// A named read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSpec {
    /// Its name.
    pub name: &'static str,
    /// The names of its arguments.
    pub arguments: &'static [&'static str],
    /// One line of help.
    pub help: &'static str,
}

/// Why a named read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No read has this name.
    #[error("there is no read named {0:?}")]
    Unknown(String),
    /// An argument is missing, superfluous or not of its form.
    #[error("{0}")]
    Argument(String),
}

/// A domain: a closed set of transitions, their rules, and how its state is shown.
pub trait Domain: Send + Sync + 'static {
    /// The domain's id; a chain's genesis names it.
    const ID: &'static str;
    /// The newest version of the rules that this build knows. A version is of the kernel's rules and the domain's together,
    /// and a build knows all before its newest.
    const RULES: u16;
    /// The domain's sub-trees, numbered from 2 in this order.
    const SUB_TREES: &'static [&'static str];
    /// The domain's kinds, by ascending number.
    const KINDS: &'static [KindSpec];
    /// The domain's reads.
    const READS: &'static [ReadSpec];

    /// The closed enumeration of transitions.
    type Transition;
    /// The domain's parameters; the default is what a new chain starts with. The type reads those of every version of the
    /// rules up to [`Domain::RULES`].
    type Parameters: Serialize + DeserializeOwned + Default + Send + Sync + 'static;

    /// Reads a payload. The kernel has checked its length against the kind's limit.
    fn decode(kind: u16, payload: &[u8]) -> Result<Self::Transition, CodecError>;

    /// The accounts besides the author that must have signed, ascending and without the author.
    fn parties(transition: &Self::Transition, author: &AccountId) -> Vec<AccountId>;

    /// Adds keys of records that the rules are likely to read for this transition, as far as they are plain from it: a fold
    /// prefetches those of many transitions at once. A hint on which nothing depends but speed, unlike a body's
    /// expectations; the transition may be one that the rules refuse.
    fn likely_reads(author: &AccountId, transition: &Self::Transition, keys: &mut Vec<Key>) {
        let _ = (author, transition, keys);
    }

    /// Decides whether the transition is acceptable now.
    fn verify(
        context: &EventContext<'_, Self::Parameters>,
        view: &dyn View,
        transition: &Self::Transition,
    ) -> Result<(), Rejection>;

    /// Carries out a transition that [`Domain::verify`] has accepted.
    fn apply(
        context: &EventContext<'_, Self::Parameters>,
        changes: &mut Changes<'_>,
        transition: &Self::Transition,
    );

    /// Work that block time makes due, bounded, before the block's events.
    fn begin_block(block: &BlockContext, parameters: &Self::Parameters, changes: &mut Changes<'_>) {
        let _ = (block, parameters, changes);
    }

    /// The block time at which something becomes due next, for [`Domain::begin_block`] of the first block at or after it.
    /// While that time lies behind the clock, producers seal blocks even without events.
    fn next_due(view: &dyn View) -> Option<Timestamp> {
        let _ = view;
        None
    }

    /// What is out of its range in parameters under a version of the rules, if anything.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn check_parameters(rules: u16, parameters: &Self::Parameters) -> Result<(), String> {
        let _ = (rules, parameters);
        Ok(())
    }

    /// A payload as JSON.
    fn transition_to_json(kind: u16, payload: &[u8]) -> Result<Json, CodecError>;

    /// A payload from JSON.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn transition_from_json(kind: u16, json: &Json) -> Result<Vec<u8>, String>;

    /// A record as JSON; `None` when the domain has no such key.
    fn record_to_json(key: &Key, value: &[u8]) -> Option<Json>;

    /// Answers a named read of the state at block time `now`; `Json::Null` when what is asked for does not exist.
    fn read(name: &str, arguments: &[String], now: Timestamp, view: &dyn View) -> Result<Json, ReadError>;
}

/// A domain as everything above this crate sees it.
pub trait Machine: Send + Sync {
    /// [`Domain::ID`]
    fn id(&self) -> &'static str;
    /// [`Domain::RULES`]
    fn rules(&self) -> u16;
    /// [`Domain::SUB_TREES`]
    fn sub_trees(&self) -> &'static [&'static str];
    /// [`Domain::KINDS`]
    fn kinds(&self) -> &'static [KindSpec];
    /// [`Domain::READS`]
    fn reads(&self) -> &'static [ReadSpec];
    /// What a new chain starts with, encoded.
    fn default_parameters(&self) -> Vec<u8>;
    /// Domain parameters from JSON, or what is wrong with them under the newest rules.
    fn parameters_from_json(&self, json: &Json) -> Result<Vec<u8>, String>;
    /// Domain parameters as JSON.
    fn parameters_to_json(&self, bytes: &[u8]) -> Result<Json, CodecError>;
    /// Whether these are domain parameters, well-formed and within their ranges under a version of the rules that this build
    /// knows.
    fn check_parameters(&self, rules: u16, bytes: &[u8]) -> Result<(), CodecError>;
    /// [`Domain::next_due`]
    fn next_due(&self, view: &dyn View) -> Option<Timestamp>;
    /// [`Domain::begin_block`]
    fn begin_block(&self, block: &BlockContext, changes: &mut Changes<'_>);
    /// Decodes a payload, checks that exactly the needed parties have signed, and verifies it; then applies it unless
    /// `dry`.
    fn execute(
        &self,
        event: &MachineEvent<'_>,
        changes: &mut Changes<'_>,
        dry: bool,
    ) -> Result<(), Rejection>;
    /// [`Domain::transition_to_json`]
    fn transition_to_json(&self, kind: u16, payload: &[u8]) -> Result<Json, CodecError>;
    /// [`Domain::transition_from_json`]
    fn transition_from_json(&self, kind: u16, json: &Json) -> Result<Vec<u8>, String>;
    /// The accounts besides `author` that a payload needs signatures of.
    fn parties(&self, kind: u16, payload: &[u8], author: &AccountId) -> Result<Vec<AccountId>, CodecError>;
    /// [`Domain::likely_reads`] of a payload of any length; nothing where it is none.
    fn likely_reads(&self, kind: u16, payload: &[u8], author: &AccountId, keys: &mut Vec<Key>);
    /// [`Domain::record_to_json`]
    fn record_to_json(&self, key: &Key, value: &[u8]) -> Option<Json>;
    /// [`Domain::read`]
    fn read(
        &self,
        name: &str,
        arguments: &[String],
        now: Timestamp,
        view: &dyn View,
    ) -> Result<Json, ReadError>;
}

/// A domain's event on its way to the rules.
#[derive(Debug)]
pub struct MachineEvent<'a> {
    /// The block.
    pub block: &'a BlockContext,
    /// Where it will stand.
    pub address: EventAddress,
    /// The transition's id.
    pub id: TransitionId,
    /// Who acts.
    pub author: AccountId,
    /// Who else signed, ascending.
    pub cosigners: &'a [AccountId],
    /// The kind.
    pub kind: u16,
    /// The payload.
    pub payload: &'a [u8],
}

/// Checks that exactly the `needed` parties are among the `cosigners`; both ascend.
pub(crate) fn check_parties(needed: &[AccountId], cosigners: &[AccountId]) -> Result<(), Rejection> {
    if let Some(missing) = needed.iter().find(|party| !cosigners.contains(party)) {
        return Err(Rejection::CosignatureMissing(*missing));
    }
    match cosigners.iter().find(|party| !needed.contains(party)) {
        Some(unneeded) => Err(Rejection::CosignatureUnneeded(*unneeded)),
        None => Ok(()),
    }
}

impl<D: Domain> Machine for D {
    fn id(&self) -> &'static str {
        D::ID
    }

    fn rules(&self) -> u16 {
        D::RULES
    }

    fn sub_trees(&self) -> &'static [&'static str] {
        D::SUB_TREES
    }

    fn kinds(&self) -> &'static [KindSpec] {
        D::KINDS
    }

    fn reads(&self) -> &'static [ReadSpec] {
        D::READS
    }

    fn default_parameters(&self) -> Vec<u8> {
        codec::encode(&D::Parameters::default())
    }

    fn parameters_from_json(&self, json: &Json) -> Result<Vec<u8>, String> {
        let parameters: D::Parameters =
            serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
        D::check_parameters(D::RULES, &parameters)?;
        Ok(codec::encode(&parameters))
    }

    fn parameters_to_json(&self, bytes: &[u8]) -> Result<Json, CodecError> {
        let parameters: D::Parameters = codec::decode_trusted(bytes)?;
        serde_json::to_value(&parameters).map_err(|error| CodecError::Form(error.to_string()))
    }

    fn check_parameters(&self, rules: u16, bytes: &[u8]) -> Result<(), CodecError> {
        let parameters: D::Parameters = codec::decode(bytes, chaoschain_schemas::limits::VALUE_BYTES_MAX)?;
        D::check_parameters(rules, &parameters).map_err(CodecError::Form)
    }

    fn next_due(&self, view: &dyn View) -> Option<Timestamp> {
        D::next_due(view)
    }

    fn begin_block(&self, block: &BlockContext, changes: &mut Changes<'_>) {
        D::begin_block(block, &block.domain_parameters.get::<D::Parameters>(), changes);
    }

    fn execute(
        &self,
        event: &MachineEvent<'_>,
        changes: &mut Changes<'_>,
        dry: bool,
    ) -> Result<(), Rejection> {
        let transition = D::decode(event.kind, event.payload)
            .map_err(|error| Rejection::Payload { kind: event.kind, error })?;
        check_parties(&D::parties(&transition, &event.author), event.cosigners)?;
        let parameters = event.block.domain_parameters.get::<D::Parameters>();
        let context = EventContext {
            block: event.block,
            parameters: &*parameters,
            address: event.address,
            id: event.id,
            author: event.author,
        };
        D::verify(&context, changes.view(), &transition)?;
        if !dry {
            D::apply(&context, changes, &transition);
        }
        Ok(())
    }

    fn transition_to_json(&self, kind: u16, payload: &[u8]) -> Result<Json, CodecError> {
        D::transition_to_json(kind, payload)
    }

    fn transition_from_json(&self, kind: u16, json: &Json) -> Result<Vec<u8>, String> {
        D::transition_from_json(kind, json)
    }

    fn parties(&self, kind: u16, payload: &[u8], author: &AccountId) -> Result<Vec<AccountId>, CodecError> {
        D::decode(kind, payload).map(|transition| D::parties(&transition, author))
    }

    fn likely_reads(&self, kind: u16, payload: &[u8], author: &AccountId, keys: &mut Vec<Key>) {
        let fits = |spec: &KindSpec| spec.kind == kind && payload.len() <= spec.bytes_max;
        if D::KINDS.iter().any(fits)
            && let Ok(transition) = D::decode(kind, payload)
        {
            D::likely_reads(author, &transition, keys);
        }
    }

    fn record_to_json(&self, key: &Key, value: &[u8]) -> Option<Json> {
        D::record_to_json(key, value)
    }

    fn read(
        &self,
        name: &str,
        arguments: &[String],
        now: Timestamp,
        view: &dyn View,
    ) -> Result<Json, ReadError> {
        D::read(name, arguments, now, view)
    }
}

/// Something that is derived from the state and kept up to date block by block: a leaderboard, a search index.
///
/// It is told the whole state as one set of changes when a node starts, then every block's changes in order of height. It
/// is in no root; what it answers is a convenience, not a fact.
pub trait ReadModel: Send {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Takes in what a block changed.
    fn apply(&mut self, height: Height, changes: &[Change]);

    /// Answers a question.
    fn query(&self, arguments: &[String]) -> Result<Json, ReadError>;
}
