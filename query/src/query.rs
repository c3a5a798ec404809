//! Questions to a projection, every answer of one height.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_projector::{BlockRecord, Head, Projection};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::limits::PROOF_BYTES_MAX;
use chaoschain_schemas::{
    EventAddress, Hash, Header, Height, ProofFile, ReadProof, SignedHeader, TransitionId, codec,
};
use chaoschain_state::control;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::answer::{Answer, Label};
use crate::error::QueryError;
use crate::limits::{PATIENCE_DEFAULT, PATIENCE_MAX, WAITING_MAX, WITNESSES_MAX};
use crate::stored::StoredBlock;
use crate::{ReadFailure, named, prove, show};

/// The state of which block to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum At {
    /// The newest there is.
    #[default]
    Newest,
    /// The newest, once it has reached this height.
    AtLeast(Height),
    /// Exactly this height, if it has come and is still kept.
    Exactly(Height),
}

/// Which blocks count as come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finality {
    /// Those in the log.
    #[default]
    Latest,
    /// Those that are final: validators with more than two thirds of the weight attest them or a descendant.
    Finalized,
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The state of which block to read.
    pub at: At,
    /// Whether it has to be final.
    pub finality: Finality,
    /// How long to wait for its height; at most [`PATIENCE_MAX`].
    pub patience: Duration,
    /// Whether to prove the answer.
    pub proof: bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self { at: At::Newest, finality: Finality::Latest, patience: PATIENCE_DEFAULT, proof: false }
    }
}

/// Answers questions about one chain from its projection. A clone is another handle.
#[derive(Clone)]
pub struct Query {
    projection: Projection,
    /// The places of those that wait for a height.
    waiting: Arc<Semaphore>,
    /// The places of those that have a witness made.
    witnesses: Arc<Semaphore>,
}

impl Query {
    /// Answers from `projection`.
    pub fn new(projection: Projection) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { projection, waiting: places(WAITING_MAX), witnesses: places(WITNESSES_MAX) }
    }

    /// The projection that answers come from.
    pub const fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The head to read, waiting for its height where that was asked for, and until it is final where that was.
    ///
    /// # Errors
    /// [`QueryError::HeightNotReached`], [`QueryError::NotFinalized`], [`QueryError::HeightNotRetained`].
    pub async fn head(&self, ask: &Ask) -> Result<Arc<Head>, QueryError> {
        if ask.finality == Finality::Finalized {
            return self.final_head(ask).await;
        }
        let (At::AtLeast(wanted) | At::Exactly(wanted)) = ask.at else { return Ok(self.projection.head()) };
        let (patience, _place) = self.patience(ask);
        let reached = self.projection.wait_for(wanted, patience).await;
        let head =
            reached.map_err(|newest| QueryError::HeightNotReached { wanted, newest: newest.height() })?;
        if ask.at == At::AtLeast(wanted) || head.height() == wanted {
            return Ok(head);
        }
        let kept = self.projection.head_at(wanted);
        kept.ok_or(QueryError::HeightNotRetained { wanted, newest: head.height() })
    }

    /// How long this question may wait for its height, and its place among those that wait; none where there are enough.
    fn patience(&self, ask: &Ask) -> (Duration, Option<SemaphorePermit<'_>>) {
        let place = self.waiting.try_acquire().ok();
        let patience = if place.is_some() { ask.patience.min(PATIENCE_MAX) } else { Duration::ZERO };
        (patience, place)
    }

    async fn final_head(&self, ask: &Ask) -> Result<Arc<Head>, QueryError> {
        let (wanted, (patience, _place)) = match ask.at {
            At::Newest => (Height::GENESIS, (Duration::ZERO, None)),
            At::AtLeast(wanted) | At::Exactly(wanted) => (wanted, self.patience(ask)),
        };
        let attestations = self.projection.attestations();
        let mut points = attestations.watch_finalized();
        let come = points.wait_for(|point| point.is_some_and(|point| point.height >= wanted));
        let come = tokio::time::timeout(patience, come).await.is_ok_and(|point| point.is_ok());
        let newest = attestations.finalized().map(|point| point.height);
        let Some(newest) = newest.filter(|_| come) else {
            return Err(QueryError::NotFinalized { wanted, newest });
        };
        match ask.at {
            At::Exactly(_) => self.projection.head_at(wanted),
            At::Newest | At::AtLeast(_) => {
                self.projection.finalized_head().filter(|head| head.height() >= wanted)
            }
        }
        .ok_or(QueryError::HeightNotRetained {
            wanted: if ask.at == At::Exactly(wanted) { wanted } else { newest },
            newest: self.projection.head().height(),
        })
    }

    pub(crate) fn is_final(&self, height: Height) -> bool {
        self.projection.attestations().finalized().is_some_and(|point| height <= point.height)
    }

    /// An answer read at `head`, labelled.
    pub(crate) fn answer<T>(&self, head: &Head, value: T) -> Answer<T> {
        let label = if self.is_final(head.height()) { Label::Finalized } else { Label::ProducerSigned };
        Answer::at(head, label, value)
    }

    /// The bytes of a proof about the block at `height`, with the proof that it is final, if it is.
    fn encode(&self, file: ProofFile, height: Height, ask: &Ask) -> Result<Vec<u8>, QueryError> {
        if !self.is_final(height) {
            return Ok(codec::encode(&file));
        }
        let finality = self.projection.attestations().finality_proof(height);
        let file = file.with_finality(finality.map_err(|error| node("store_unreadable", &error))?);
        let bytes = codec::encode(&file);
        match bytes.len() {
            ..=PROOF_BYTES_MAX => Ok(bytes),
            _ if ask.finality == Finality::Finalized => Err(ReadFailure::TooLarge.into()),
            // It was not asked for, and there is no room for it.
            _ => Ok(codec::encode(&file.with_finality(None))),
        }
    }

    /// `answer` with a proof, where one was made.
    fn proven<T>(
        &self,
        answer: Answer<T>,
        proof: Option<ProofFile>,
        height: Height,
        ask: &Ask,
    ) -> Result<Answer<T>, QueryError> {
        let proof = proof.map(|file| self.encode(file, height, ask)).transpose()?;
        Ok(Answer { proof: proof.map(Into::into), ..answer })
    }

    /// Answers a named read; see [`named::catalogue`].
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn read(
        &self,
        name: &str,
        arguments: &[String],
        ask: &Ask,
    ) -> Result<Answer<Json>, QueryError> {
        if let ("header", [height]) = (name, arguments) {
            let height =
                height.parse().map_err(|_| QueryError::Argument(format!("{height:?} is no height")))?;
            return self.header(Height(height), ask).await;
        }
        let head = self.head(ask).await?;
        let machine = &**self.projection.machine();
        if !ask.proof {
            return Ok(self.answer(&head, prove::read(&head, machine, name, arguments)?));
        }
        let (value, proof) = prove::read_with_proof(&head, machine, name, arguments)?;
        self.proven(self.answer(&head, value), Some(ProofFile::of_read(proof)), head.height(), ask)
    }

    /// What the node says of itself. With a proof, that is of the state root it names; the rest is the node's word.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn status(&self, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let proof =
            ask.proof.then(|| prove::read_with_proof(&head, &**self.projection.machine(), "root", &[]));
        let proof = proof.transpose()?.map(|(_, proof)| ProofFile::of_read(proof));
        let status =
            serde_json::to_value(self.projection.status()).map_err(|error| node("status", &error))?;
        self.proven(self.answer(&head, status), proof, head.height(), ask)
    }

    /// How far the chain is final, and what each validator has said last, as this node knows it. The proof is of the newest
    /// final header, for whoever trusts the validators.
    ///
    /// # Errors
    /// [`QueryError`]; [`QueryError::NotFinalized`] when a proof is asked for and nothing is final.
    pub async fn finality(&self, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let attestations = self.projection.attestations();
        let point = attestations.finalized();
        let value = json!({
            "finalized": point,
            "highest_attested": attestations.highest_attested(),
            "validators": attestations.validators(),
        });
        let answer = self.answer(&head, value);
        if !ask.proof {
            return Ok(answer);
        }
        let none = QueryError::NotFinalized { wanted: Height::GENESIS, newest: None };
        let height = point.ok_or(none)?.height;
        let proof = prove_header(self.block_record(&self.projection.head(), height)?.signed, height);
        self.proven(answer, Some(proof), height, ask)
    }

    /// The kinds of transitions, the kernel's and the domain's.
    pub fn kinds(&self) -> Json {
        let machine = self.projection.machine();
        let kinds = control::KINDS.iter().chain(machine.kinds());
        kinds
            .map(|spec| {
                json!({
                    "kind": spec.kind,
                    "name": spec.name,
                    "bytes_max": spec.bytes_max,
                    "registers": spec.registers,
                    "help": spec.help,
                    "example": serde_json::from_str(spec.example).unwrap_or_else(|_| json!(spec.example)),
                })
            })
            .collect()
    }

    /// The named reads and the read models.
    pub fn reads(&self) -> Json {
        let reads = named::catalogue(&**self.projection.machine());
        let reads: Vec<_> = reads
            .map(|spec| json!({ "name": spec.name, "arguments": spec.arguments, "help": spec.help }))
            .collect();
        json!({ "reads": reads, "models": self.projection.model_names() })
    }

    /// A block with its events decoded, and who vouches for it: its producer, and the validators whose newest attestation
    /// covers it. Its proof is its signed header; [`Query::block_message`] proves its events too.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn block(&self, height: Height, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let block = self.stored_block(&head, height).await?;
        let attestations = self.projection.attestations().covering(height);
        let shown = show::block(&**self.projection.machine(), &block, &attestations, self.is_final(height));
        let shown = shown.map_err(|error| node("log_changed", &error))?;
        let proof = ask.proof.then(|| prove_header(block.signed, height));
        self.proven(self.answer(&head, shown), proof, height, ask)
    }

    async fn header(&self, height: Height, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let signed = self.block_record(&head, height)?.signed;
        let header = Header::decode(&signed.header).map_err(|error| node("block_record_damaged", &error))?;
        let proof = ask.proof.then(|| prove_header(signed, height));
        self.proven(self.answer(&head, json!(header)), proof, height, ask)
    }

    /// A block's message as it stands in the log, and the hash of its header.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn block_message(&self, height: Height, ask: &Ask) -> Result<(Bytes, Hash), QueryError> {
        let head = self.head(ask).await?;
        let hash = self.block_record(&head, height)?.header_hash;
        let message = self.message(height).await?;
        StoredBlock::read(&message, hash).map_err(|error| node("log_changed", &error))?;
        Ok((message, hash))
    }

    /// Waits for a place among those that have a witness made. Hold it until the witness is.
    pub(crate) async fn witness_place(&self, ask: &Ask) -> Result<OwnedSemaphorePermit, QueryError> {
        let place = Arc::clone(&self.witnesses).acquire_owned();
        match tokio::time::timeout(ask.patience.min(PATIENCE_MAX), place).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(QueryError::Busy(WITNESSES_MAX)),
        }
    }

    async fn message(&self, height: Height) -> Result<Bytes, QueryError> {
        let message = self.projection.block_message(height).await;
        message.map_err(|error| node("log_unreadable", &error))?.ok_or(QueryError::BlockGone(height))
    }

    fn block_record(&self, head: &Head, height: Height) -> Result<BlockRecord, QueryError> {
        let unknown = QueryError::BlockUnknown { wanted: height, newest: head.height() };
        if height > head.height() {
            return Err(unknown);
        }
        let record = self.projection.block_record(height);
        record.map_err(|error| node("store_unreadable", &error))?.ok_or(unknown)
    }

    async fn stored_block(&self, head: &Head, height: Height) -> Result<StoredBlock, QueryError> {
        let hash = self.block_record(head, height)?.header_hash;
        let message = self.message(height).await?;
        StoredBlock::read(&message, hash).map_err(|error| node("log_changed", &error))
    }

    /// An event by its address, with its receipt.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn event(&self, address: EventAddress, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let block = self.stored_block(&head, address.height).await?;
        self.event_of(&head, &block, address, ask).map(|(_, answer)| answer)
    }

    /// An event by its transition's id, with its receipt.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn event_by_id(&self, id: &TransitionId, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let receipt = self.projection.receipt(id).map_err(|error| node("store_unreadable", &error))?;
        let receipt = receipt.filter(|receipt| receipt.height <= head.height());
        let receipt = receipt.ok_or(QueryError::TransitionUnknown(*id))?;
        let address = EventAddress { height: receipt.height, index: receipt.index };
        let block = self.stored_block(&head, address.height).await?;
        let (found, answer) = self.event_of(&head, &block, address, ask)?;
        // An index may keep ids shortened; the event itself has the whole one.
        if found == Some(*id) { Ok(answer) } else { Err(QueryError::TransitionUnknown(*id)) }
    }

    fn event_of(
        &self,
        head: &Head,
        block: &StoredBlock,
        address: EventAddress,
        ask: &Ask,
    ) -> Result<(Option<TransitionId>, Answer<Json>), QueryError> {
        let EventAddress { height, index } = address;
        let unknown = QueryError::EventUnknown(address);
        let shown = block.show_event(&**self.projection.machine(), index).ok_or(unknown.clone())?;
        let (id, event) = shown.map_err(|error| node("log_changed", &error))?;
        let receipt = id.map(|id| Receipt { id, height, index, header_hash: block.hash });
        let proof = if ask.proof { Some(block.prove_event(index).ok_or(unknown)?) } else { None };
        let shown = json!({ "event": event, "receipt": receipt, "finalized": self.is_final(height) });
        let answer = self.proven(self.answer(head, shown), proof.map(ProofFile::of_event), height, ask)?;
        Ok((id, answer))
    }

    /// Asks a read model. What it answers follows the newest head and is in no root, so it is never called final.
    ///
    /// # Errors
    /// [`QueryError`]; [`QueryError::NotProvable`] when a proof is asked for, [`QueryError::Argument`] for a final answer.
    pub async fn model(
        &self,
        name: &str,
        arguments: &[String],
        ask: &Ask,
    ) -> Result<Answer<Json>, QueryError> {
        if ask.proof {
            return Err(QueryError::NotProvable("a read model's answer"));
        }
        if ask.finality == Finality::Finalized {
            let text = "a read model follows the newest head, final or not: ask without finality=finalized";
            return Err(QueryError::Argument(text.into()));
        }
        let head = self.head(ask).await?;
        let answer = self.projection.model(name, arguments);
        let answer = answer.ok_or_else(|| QueryError::ModelUnknown(name.to_owned()))??;
        Ok(Answer::at(&head, Label::ProducerSigned, answer))
    }
}

/// A header's proof is the header itself with its signature.
fn prove_header(header: SignedHeader, height: Height) -> ProofFile {
    let (read, arguments) = ("header".to_owned(), vec![height.to_string()]);
    ProofFile::of_read(ReadProof { header, read, arguments, sub_trees: Vec::new() })
}

pub(crate) fn node(code: &'static str, error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Node { code, text: error.to_string() }
}
