//! Questions to a projection, every answer of one height.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaoschain_projector::{BlockRecord, Head, Projection};
use chaoschain_schemas::api::Receipt;
use chaoschain_schemas::{
    EventAddress, Hash, Header, Height, ProofFile, ReadProof, SignedHeader, TransitionId,
};
use chaoschain_state::control;
use serde_json::{Value as Json, json};

use crate::answer::Answer;
use crate::error::QueryError;
use crate::limits::{PATIENCE_DEFAULT, PATIENCE_MAX};
use crate::stored::StoredBlock;
use crate::{named, prove, show};

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

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The state of which block to read.
    pub at: At,
    /// How long to wait for its height; at most [`PATIENCE_MAX`].
    pub patience: Duration,
    /// Whether to prove the answer.
    pub proof: bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self { at: At::Newest, patience: PATIENCE_DEFAULT, proof: false }
    }
}

/// Answers questions about one chain from its projection. A clone is another handle.
#[derive(Clone)]
pub struct Query {
    projection: Projection,
}

impl Query {
    /// Answers from `projection`.
    pub const fn new(projection: Projection) -> Self {
        Self { projection }
    }

    /// The projection that answers come from.
    pub const fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The head to read, waiting for its height where that was asked for.
    ///
    /// # Errors
    /// [`QueryError::HeightNotReached`], [`QueryError::HeightNotRetained`].
    pub async fn head(&self, ask: &Ask) -> Result<Arc<Head>, QueryError> {
        let (At::AtLeast(wanted) | At::Exactly(wanted)) = ask.at else { return Ok(self.projection.head()) };
        let reached = self.projection.wait_for(wanted, ask.patience.min(PATIENCE_MAX)).await;
        let head =
            reached.map_err(|newest| QueryError::HeightNotReached { wanted, newest: newest.height() })?;
        if ask.at == At::AtLeast(wanted) || head.height() == wanted {
            return Ok(head);
        }
        let kept = self.projection.head_at(wanted);
        kept.ok_or(QueryError::HeightNotRetained { wanted, newest: head.height() })
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
            return Ok(Answer::at(&head, prove::read(&head, machine, name, arguments)?));
        }
        let (value, proof) = prove::read_with_proof(&head, machine, name, arguments)?;
        Ok(Answer::at(&head, value).proven_by(Some(&ProofFile::of_read(proof))))
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
        Ok(Answer::at(&head, status).proven_by(proof.as_ref()))
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

    /// A block with its events decoded. Its proof is its signed header; [`Query::block_message`] proves its events too.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn block(&self, height: Height, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let block = self.stored_block(&head, height).await?;
        let shown =
            show::block(&**self.projection.machine(), &block).map_err(|error| node("log_changed", &error))?;
        let proof = ask.proof.then(|| prove_header(block.signed, height));
        Ok(Answer::at(&head, shown).proven_by(proof.as_ref()))
    }

    async fn header(&self, height: Height, ask: &Ask) -> Result<Answer<Json>, QueryError> {
        let head = self.head(ask).await?;
        let signed = self.block_record(&head, height)?.signed;
        let header = Header::decode(&signed.header).map_err(|error| node("block_record_damaged", &error))?;
        let proof = ask.proof.then(|| prove_header(signed, height));
        Ok(Answer::at(&head, json!(header)).proven_by(proof.as_ref()))
    }

    /// A block's message as it stands in the log, and the hash of its header.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn block_message(&self, height: Height, ask: &Ask) -> Result<(Bytes, Hash), QueryError> {
        let head = self.head(ask).await?;
        let hash = self.block_record(&head, height)?.header_hash;
        Ok((self.message(height).await?, hash))
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
        let answer = Answer::at(head, json!({ "event": event, "receipt": receipt }));
        Ok((id, answer.proven_by(proof.map(ProofFile::of_event).as_ref())))
    }

    /// Asks a read model. What it answers follows the newest head and is in no root.
    ///
    /// # Errors
    /// [`QueryError`]; [`QueryError::NotProvable`] when a proof is asked for.
    pub async fn model(
        &self,
        name: &str,
        arguments: &[String],
        ask: &Ask,
    ) -> Result<Answer<Json>, QueryError> {
        if ask.proof {
            return Err(QueryError::NotProvable("a read model's answer"));
        }
        let head = self.head(ask).await?;
        let answer = self.projection.model(name, arguments);
        let answer = answer.ok_or_else(|| QueryError::ModelUnknown(name.to_owned()))??;
        Ok(Answer::at(&head, answer))
    }
}

/// A header's proof is the header itself with its signature.
fn prove_header(header: SignedHeader, height: Height) -> ProofFile {
    let (read, arguments) = ("header".to_owned(), vec![height.to_string()]);
    ProofFile::of_read(ReadProof { header, read, arguments, sub_trees: Vec::new() })
}

fn node(code: &'static str, error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Node { code, text: error.to_string() }
}
