//! Block 0: made from a genesis document, and read back out of a log.

use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::block::{self, BlockError, VerifiedBlock};
use chaoschain_events::signature::SecretKey;
use chaoschain_schemas::control::Genesis;
use chaoschain_schemas::{AccountId, ChainId, HEADER_VERSION, Hash, Header, Height, Sequence};
use chaoschain_state::domain::Machine;
use chaoschain_state::{Base, Change, Changes, Forest, Key, Value, control};

use crate::head::Head;

/// Why a genesis document or block cannot start a chain here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// The first message of the log is no block.
    #[error("the first message of the log is not a genesis block: {0}")]
    Block(#[from] BlockError),
    /// Something the document says does not hold.
    #[error("the genesis document is not usable: {0}")]
    Unusable(String),
    /// The document is for another domain.
    #[error("the chain runs the domain {wanted:?}, this program runs {here:?}")]
    DomainWrong {
        /// The chain's domain.
        wanted: String,
        /// This program's.
        here: &'static str,
    },
    /// The chain is not the one that was expected.
    #[error("the log holds chain {found}, expected is {wanted}")]
    ChainWrong {
        /// The expected chain.
        wanted: ChainId,
        /// The log's.
        found: ChainId,
    },
}

impl GenesisError {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Block(_) => "genesis_malformed",
            Self::Unusable(_) => "genesis_unusable",
            Self::DomainWrong { .. } => "domain_wrong",
            Self::ChainWrong { .. } => "chain_wrong",
        }
    }
}

fn unusable(reason: impl Into<String>) -> GenesisError {
    GenesisError::Unusable(reason.into())
}

/// A chain at its beginning.
pub struct Beginning {
    /// The state after block 0.
    pub forest: Forest,
    /// Block 0.
    pub head: Arc<Head>,
    /// What block 0 wrote.
    pub changes: Vec<Change>,
}

/// The state a genesis document describes.
fn initial_state(machine: &dyn Machine, genesis: &Genesis) -> Result<(Forest, Vec<Change>), GenesisError> {
    genesis.check().map_err(unusable)?;
    if genesis.domain != machine.id() {
        return Err(GenesisError::DomainWrong { wanted: genesis.domain.clone(), here: machine.id() });
    }
    if genesis.sub_trees != machine.sub_trees() {
        return Err(unusable(format!("sub-trees {:?} are not the domain's", genesis.sub_trees)));
    }
    if genesis.rules == 0 || genesis.rules > machine.rules() {
        let known = machine.rules();
        return Err(unusable(format!("rules version {} is not one of 1 to {known}", genesis.rules)));
    }
    machine
        .check_parameters(genesis.rules, &genesis.domain_parameters)
        .map_err(|error| unusable(format!("domain parameters: {error}")))?;
    if let Some(weak) =
        genesis.accounts.iter().find(|account| !chaoschain_state::is_registrable(&account.key))
    {
        return Err(unusable(format!("key {} is weak or not in canonical form", weak.key)));
    }
    let nothing = std::collections::BTreeMap::<Key, Value>::new();
    let mut changes = Changes::new(&nothing as &dyn Base);
    control::apply_genesis(genesis, &mut changes);
    let changes = changes.into_changes();
    let mut forest = Forest::new(machine.sub_trees().len());
    forest.apply(&changes, None).map_err(|error| unusable(error.to_string()))?;
    Ok((forest, changes))
}

fn header_of(genesis: &Genesis, document: &[u8], forest: &Forest) -> Result<Header, GenesisError> {
    let producer = genesis.first_producer().ok_or_else(|| unusable("no account is a producer"))?;
    Ok(Header {
        version: HEADER_VERSION,
        chain: ChainId::of_genesis(document),
        epoch: 0,
        rules: genesis.rules,
        height: Height::GENESIS,
        parent: Hash::ZERO,
        timestamp: genesis.timestamp,
        producer: AccountId::from_first_key(&producer.key),
        event_count: 1,
        events_root: block::genesis_events_root(document),
        state_root: forest.head().root(),
        sub_roots: forest.head().sub_roots().to_vec(),
    })
}

/// Makes block 0, signed by the document's first producer.
///
/// # Errors
/// [`GenesisError`] when the document is not usable or `key` is not its first producer's.
pub fn seal_genesis(
    machine: &dyn Machine,
    genesis: &Genesis,
    key: &SecretKey,
) -> Result<(ChainId, Bytes), GenesisError> {
    let (forest, _) = initial_state(machine, genesis)?;
    let (document, chain) = genesis.encode();
    if genesis.first_producer().is_none_or(|producer| producer.key != key.public()) {
        return Err(unusable(format!("key {} is not the first producer's", key.public())));
    }
    let header = header_of(genesis, &document, &forest)?;
    let sealed =
        block::seal_genesis(header, document.into(), key).map_err(|fault| unusable(fault.to_string()))?;
    Ok((chain, sealed.message().clone()))
}

/// Reads block 0 and computes the state after it.
///
/// # Errors
/// [`GenesisError`] when the message is not a genesis block this program can start from, or of another chain.
pub fn open_genesis(
    machine: &dyn Machine,
    sequence: Sequence,
    message: &Bytes,
    expected: Option<ChainId>,
) -> Result<Beginning, GenesisError> {
    let block = VerifiedBlock::verify(message.clone())?;
    let Some((genesis, document)) = block.genesis() else {
        return Err(unusable("the first message of the log is not a genesis block"));
    };
    let found = ChainId::of_genesis(document);
    if let Some(wanted) = expected.filter(|wanted| *wanted != found) {
        return Err(GenesisError::ChainWrong { wanted, found });
    }
    let (forest, changes) = initial_state(machine, genesis)?;
    if *block.header() != header_of(genesis, document, &forest)? {
        return Err(unusable("its header does not follow from the document"));
    }
    if genesis.first_producer().is_none_or(|producer| producer.key != *block.producer_key()) {
        return Err(unusable("it is not sealed by the document's first producer"));
    }
    let head = Arc::new(Head {
        header: block.header().clone(),
        hash: block.header_hash(),
        signed: block.signed_header(),
        sequence,
        state: Arc::clone(forest.head()),
    });
    Ok(Beginning { forest, head, changes })
}
