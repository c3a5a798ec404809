//! Envelopes: signing a body, and the type that says the signatures hold.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chaoschain_schemas::limits::SIGNATURES_MAX;
use chaoschain_schemas::{
    AccountId, Body, CodecError, Envelope, Hash, PartySignature, SigningContext, TransitionId, codec,
};
use chaoschain_state::merkle::value_hash;
use rayon::prelude::*;

use crate::signature::{Claim, SecretKey, verify_batch};

/// Why bytes are not an envelope whose signatures hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The envelope is not of the required form.
    #[error("the envelope is refused: {0}")]
    Envelope(#[source] CodecError),
    /// The signed body is not of the required form.
    #[error("the body is refused: {0}")]
    Body(#[source] CodecError),
    /// A party's signature does not hold for this body under the key it carries.
    #[error("signature {index}, of {signer}, does not hold")]
    Signature {
        /// The place among the envelope's signatures; 0 is the author's.
        index: usize,
        /// Who is said to have signed.
        signer: AccountId,
    },
    /// Nobody, or too many, would sign.
    #[error("{0} signers, not 1 to {SIGNATURES_MAX}")]
    Signers(usize),
}

impl EnvelopeError {
    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) | Self::Body(error) => error.code(),
            Self::Signature { .. } => "signature_invalid",
            Self::Signers(_) => "signers_wrong",
        }
    }
}

/// An envelope whose signatures hold. Cheap to clone.
///
/// # What it proves
/// The bytes are in canonical form and within the limits, and each signature holds for the body, as received, under
/// the key that the envelope carries for it.
///
/// # What it does not prove
/// That a key is its account's, that the author is among the signers, or anything about chain, epoch, nonce,
/// validity, expectations or rules. The fold checks those.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedEnvelope(Arc<Parsed>);

/// An envelope whose form is checked and whose signatures are not.
#[derive(PartialEq, Eq)]
pub(crate) struct Parsed {
    bytes: Bytes,
    body_bytes: Bytes,
    body: Body,
    parties: Vec<PartySignature>,
    id: TransitionId,
    value_hash: Hash,
}

impl VerifiedEnvelope {
    /// Checks form, limits and signatures of one envelope. [`verify_envelopes`] is several times faster for many.
    ///
    /// # Errors
    /// [`EnvelopeError`]
    pub fn verify(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let parsed = Parsed::read(bytes)?;
        let bad = verify_batch(&parsed.claims().collect::<Vec<_>>());
        match bad.first() {
            None => Ok(parsed.trusted()),
            Some(index) => Err(parsed.bad_signature(*index)),
        }
    }

    /// The envelope as it was received.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The bytes that were signed, without the tag.
    pub fn body_bytes(&self) -> &Bytes {
        &self.0.body_bytes
    }

    /// What was signed.
    pub fn body(&self) -> &Body {
        &self.0.body
    }

    /// The signatures: the author's first, then the others in ascending order of (signer, key).
    pub fn parties(&self) -> &[PartySignature] {
        &self.0.parties
    }

    /// The transition's id: the hash of the body.
    pub fn id(&self) -> TransitionId {
        self.0.id
    }

    /// The hash by which a block's events root commits to the whole envelope.
    pub fn value_hash(&self) -> Hash {
        self.0.value_hash
    }
}

impl fmt::Debug for VerifiedEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signers: Vec<_> = self.0.parties.iter().map(|party| party.signer).collect();
        f.debug_struct("VerifiedEnvelope")
            .field("id", &self.0.id)
            .field("signers", &signers)
            .field("body", &self.0.body)
            .finish_non_exhaustive()
    }
}

impl Parsed {
    pub(crate) fn read(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let Envelope { body, signatures } = Envelope::decode(&bytes).map_err(EnvelopeError::Envelope)?;
        let body_bytes = bytes.slice_ref(body);
        Ok(Self {
            body: Body::decode(&body_bytes).map_err(EnvelopeError::Body)?,
            id: TransitionId::of_body(&body_bytes),
            value_hash: value_hash(&bytes),
            parties: signatures,
            body_bytes,
            bytes,
        })
    }

    /// What is to be verified: a claim for each party, in order.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim<'_>> {
        self.parties.iter().map(|party| Claim {
            context: SigningContext::Transition,
            key: &party.key,
            signature: &party.signature,
            bytes: &self.body_bytes,
        })
    }

    pub(crate) fn value_hash(&self) -> Hash {
        self.value_hash
    }

    pub(crate) fn bad_signature(&self, index: usize) -> EnvelopeError {
        EnvelopeError::Signature { index, signer: self.parties[index].signer }
    }

    /// To be called when every claim was found to hold.
    pub(crate) fn trusted(self) -> VerifiedEnvelope {
        VerifiedEnvelope(Arc::new(self))
    }
}

/// Checks many envelopes, their signatures in batches on rayon's current pool. The answers are in the order given.
pub fn verify_envelopes(envelopes: &[Bytes]) -> Vec<Result<VerifiedEnvelope, EnvelopeError>> {
    verify_envelopes_if(envelopes, |_, _| Ok(()))
}

/// As [`verify_envelopes`], but spends no signature check on an envelope whose id and body `admit` refuses.
pub fn verify_envelopes_if<E: From<EnvelopeError> + Send>(
    envelopes: &[Bytes],
    admit: impl Fn(&TransitionId, &Body) -> Result<(), E> + Sync,
) -> Vec<Result<VerifiedEnvelope, E>> {
    let read = |bytes: &Bytes| {
        let parsed = Parsed::read(bytes.clone())?;
        admit(&parsed.id, &parsed.body)?;
        Ok(parsed)
    };
    let mut parsed: Vec<Result<Parsed, E>> = envelopes.par_iter().with_min_len(64).map(read).collect();
    let mut claims = Vec::with_capacity(parsed.len());
    let mut owners = Vec::with_capacity(parsed.len());
    for (owner, envelope) in parsed.iter().enumerate() {
        for (index, claim) in envelope.iter().flat_map(Parsed::claims).enumerate() {
            claims.push(claim);
            owners.push((owner, index));
        }
    }
    for place in verify_batch(&claims) {
        let (owner, index) = owners[place];
        // The first bad signature of an envelope is the one to name.
        if let Ok(envelope) = &parsed[owner] {
            parsed[owner] = Err(envelope.bad_signature(index).into());
        }
    }
    parsed.into_iter().map(|envelope| envelope.map(Parsed::trusted)).collect()
}

/// A party's signature on a body, to be put into an envelope by [`assemble`].
pub fn sign_as(signer: AccountId, key: &SecretKey, body: &[u8]) -> PartySignature {
    PartySignature { signer, key: key.public(), signature: key.sign(SigningContext::Transition, body) }
}

/// Puts a body and its signatures into an envelope's bytes: the first is the author's, the others are put in order.
/// Nothing is verified.
pub fn assemble(body: &[u8], mut parties: Vec<PartySignature>) -> Vec<u8> {
    if let Some((_, further)) = parties.split_first_mut() {
        further.sort_unstable_by_key(|party| (party.signer, party.key));
    }
    codec::encode(&Envelope { body: serde_bytes::Bytes::new(body), signatures: parties })
}

/// Signs `body` as every one of `signers`, the author first, and puts it into an envelope.
///
/// # Errors
/// [`EnvelopeError`] when the body is not of the required form or there are too few or too many signers.
pub fn sign(body: &Body, signers: &[(AccountId, &SecretKey)]) -> Result<VerifiedEnvelope, EnvelopeError> {
    if signers.is_empty() || signers.len() > SIGNATURES_MAX {
        return Err(EnvelopeError::Signers(signers.len()));
    }
    let body = codec::encode(body);
    let parties = signers.iter().map(|(signer, key)| sign_as(*signer, key, &body)).collect();
    // Read back, so that nothing leaves that others would refuse; the signatures are our own.
    Parsed::read(assemble(&body, parties).into()).map(Parsed::trusted)
}
