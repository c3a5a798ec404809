//! A chain of headers over one state, and four validators who attest them, without a node.

use chaoschain_events::signature::SecretKey;
use chaoschain_projector::Head;
use chaoschain_query::prove;
use chaoschain_query::verify::{Trust, TrustedValidator};
use chaoschain_schemas::{
    ATTESTATION_VERSION, AccountId, Attestation, AttestedHeader, FinalityProof, Hash, Height, ProofFile,
    SignedAttestation, SigningContext, codec,
};
use chaoschain_state::merkle::blocks::{self, Frontier, MemoryTiles};

use crate::shelf::*;

/// The weights of the four: 6 in all, so 4 are two thirds and 5 are more.
pub(crate) const WEIGHTS: [u64; 4] = [2, 2, 1, 1];
/// All of them.
pub(crate) const ALL: &[u8] = &[0, 1, 2, 3];

pub(crate) fn validator_key(validator: u8) -> SecretKey {
    SecretKey::from_seed(&[40 + validator; 32])
}

pub(crate) fn validator_id(validator: u8) -> AccountId {
    AccountId::from_first_key(&validator_key(validator).public())
}

/// Trusts validators and nobody else.
pub(crate) fn council(weights: [u64; 4]) -> Trust {
    let validators = (0..).zip(weights).map(|(validator, weight)| TrustedValidator {
        account: validator_id(validator),
        key: validator_key(validator).public(),
        weight,
    });
    Trust { producers: Vec::new(), validators: validators.collect(), ..trust() }
}

/// What a validator says of a header; to be bent before it is signed.
pub(crate) fn word(validator: u8, height: Height, header_hash: Hash) -> Attestation {
    let (version, validator) = (ATTESTATION_VERSION, validator_id(validator));
    Attestation { version, chain: CHAIN, validator, height, header_hash }
}

pub(crate) fn signed(validator: u8, word: &Attestation) -> SignedAttestation {
    let (key, bytes) = (validator_key(validator), codec::encode(word));
    let signature = key.sign(SigningContext::Attestation, &bytes);
    SignedAttestation { attestation: bytes.into(), key: key.public(), signature }
}

/// Headers from height 0 on, each over those before it.
pub(crate) struct Headers {
    pub(crate) heads: Vec<Head>,
    tiles: MemoryTiles,
}

impl Headers {
    pub(crate) fn new(count: u64) -> Self {
        let state = head([(LEFT, 1), (LEFT, 2), (LEFT, 300), (RIGHT, 2)]);
        let (mut tiles, mut frontier, mut heads) =
            (MemoryTiles::default(), Frontier::new(), Vec::<Head>::new());
        for height in 0..count {
            let mut header = state.header.clone();
            header.height = Height(height);
            header.parent = heads.last().map_or(Hash::ZERO, |parent| parent.hash);
            header.sub_roots[1] = frontier.root();
            header.state_root = chaoschain_state::state_root(&header.sub_roots);
            let head = sign(header, state.state.clone());
            tiles.append(&mut frontier, head.hash);
            heads.push(head);
        }
        Self { heads, tiles }
    }

    /// The pruned tree of the header at `under` that opens `height`.
    pub(crate) fn ancestor(&self, height: u64, under: u64) -> Vec<u8> {
        blocks::prove(&self.tiles, &[height], under).unwrap()
    }

    /// The header at `height` as `validators` attest it, tied to the one at `below`.
    pub(crate) fn attested(&self, height: u64, validators: &[u8], below: u64) -> AttestedHeader {
        let head = &self.heads[height as usize];
        let ancestor = if below == height { Vec::new() } else { self.ancestor(below, height) };
        let words = validators.iter().map(|of| signed(*of, &word(*of, head.height(), head.hash)));
        let mut attestations: Vec<_> = words.collect();
        attestations.sort_by_key(|attestation| attestation.key);
        AttestedHeader { header: head.signed.header.clone(), ancestor: ancestor.into(), attestations }
    }

    /// A read at `height` that needs two sub-trees.
    pub(crate) fn read(&self, height: u64, attested: Vec<AttestedHeader>) -> ProofFile {
        let head = &self.heads[height as usize];
        let (_, proof) = prove::read_with_proof(head, &Shelf, "pair", &arguments(&[2])).unwrap();
        ProofFile::of_read(proof).with_finality(Some(FinalityProof { attested }))
    }
}
