//! The simulated chain: its genesis, and how what agents do is signed.

use std::sync::Arc;

use bytes::Bytes;
use chaoschain_events::envelope::{self, VerifiedEnvelope};
use chaoschain_events::signature::SecretKey;
use chaoschain_projector::{Fold, Producer, open_genesis, seal_genesis};
use chaoschain_schemas::control::{Genesis, GenesisAccount, Parameters, Role};
use chaoschain_schemas::society;
use chaoschain_schemas::{
    AccountId, BODY_VERSION, Body, ChainId, CorrelationId, Micros, Sequence, Timestamp, codec,
};
use chaoschain_society::Society;
use chaoschain_state::domain::Domain as _;
use rayon::prelude::*;

use super::act::{Act, Origin};
use super::model::Person;
use crate::command::init::genesis;
use crate::error::{CliError, Exit, Outcome};
use crate::seed::Seed;

/// Block time of block 0: 2026-01-01 00:00:00 UTC.
const START: Timestamp = Timestamp(1_767_225_600_000_000);
/// How long what is signed may wait for its block.
const VALID_FOR: Micros = Micros::from_secs(300);
/// How many validators there are besides the producer, each of weight 1, as is the producer: three of four are a quorum.
pub const VALIDATORS: usize = 3;
/// How many registrations each validator may sponsor.
const SPONSORSHIPS: u32 = 2_000_000;
/// The version of the rules that the chain starts with; a scene activates the newest.
const RULES_AT_START: u16 = Society::RULES - 1;

/// A chain at its beginning.
pub(super) struct Beginning {
    pub(super) id: ChainId,
    pub(super) fold: Fold,
    pub(super) producer: Producer,
    pub(super) validators: Vec<Person>,
    pub(super) document: Genesis,
    /// Block 0.
    pub(super) message: Bytes,
}

/// The society's parameters: the default ones, but for shorter conflicts.
fn parameters() -> society::Parameters {
    society::Parameters { conflict_duration: Micros::from_secs(3 * 3600), ..society::Parameters::default() }
}

pub(super) fn begin(seed: &Seed, name: &str) -> Outcome<Beginning> {
    let key = Arc::new(seed.key("producer"));
    let domain = codec::encode(&parameters());
    let mut document = genesis(&Society, name, START, Parameters::default(), domain, &key);
    document.rules = RULES_AT_START;
    let validators: Vec<Person> =
        (1..=VALIDATORS).map(|number| Person::new(seed, format!("validator {number}"))).collect();
    document.accounts.extend(validators.iter().map(|validator| GenesisAccount {
        key: validator.key.public(),
        role: Role::Validator,
        weight: 1,
        sponsorships: SPONSORSHIPS,
    }));
    document.accounts.sort_by_key(|account| account.key);
    let (id, message) = seal_genesis(&Society, &document, &key)?;
    let beginning = open_genesis(&Society, Sequence(1), &message, Some(id))?;
    let fold = Fold::new(Arc::new(Society), beginning.forest, beginning.head);
    let producer = Producer { account: AccountId::from_first_key(&key.public()), key };
    Ok(Beginning { id, fold, producer, validators, document, message })
}

impl Person {
    pub(super) fn new(seed: &Seed, label: String) -> Self {
        let key = seed.key(&label);
        Self {
            id: AccountId::from_first_key(&key.public()),
            label,
            key,
            keys: 1,
            nonce: 0,
            has_account: false,
            suspended: false,
            agent: None,
        }
    }
}

/// Signs acts for a block at `now`, over all cores.
pub(super) fn sign(
    chain: ChainId,
    now: Timestamp,
    people: &[Person],
    acts: &[Act],
) -> Outcome<Vec<VerifiedEnvelope>> {
    let signed: Result<Vec<_>, _> = acts.par_iter().map(|act| sign_one(chain, now, people, act)).collect();
    signed.map_err(|error| CliError::new(Exit::Corrupt, "simulation_broken", error.to_string()))
}

fn sign_one(
    chain: ChainId,
    now: Timestamp,
    people: &[Person],
    act: &Act,
) -> Result<VerifiedEnvelope, envelope::EnvelopeError> {
    let author = &people[act.author];
    let body = Body {
        version: BODY_VERSION,
        chain,
        epoch: 0,
        author: author.id,
        lane: 0,
        nonce: author.nonce + act.nonce_ahead,
        valid_until: now.saturating_add(VALID_FOR),
        occurred_at: None,
        correlation: correlation(act),
        causation: None,
        expects: Vec::new(),
        attachment: None,
        kind: act.kind,
        payload: act.payload.clone().into(),
    };
    let own_key = act.new_key.iter().map(|key| (author.id, &**key));
    let others = act.cosigners.iter().map(|who| (people[*who].id, &people[*who].key));
    let signers: Vec<(AccountId, &SecretKey)> =
        std::iter::once((author.id, &author.key)).chain(own_key).chain(others).collect();
    envelope::sign(&body, &signers)
}

/// What a scene does bears the scene's id; what the table says bears none.
const fn correlation(act: &Act) -> Option<CorrelationId> {
    match act.origin {
        Origin::Scene(id) => Some(id),
        _ => None,
    }
}
