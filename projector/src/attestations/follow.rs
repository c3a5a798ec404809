//! Reading a board: one thread hears what comes and judges it against every new head.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chaoschain_events::attest::{Board, Posted, check_attestation};
use chaoschain_events::log::LogError;
use chaoschain_schemas::{Attestation, Blob, EquivocationProof, SignedAttestation, codec};
use chaoschain_state::CONTROL;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde_json::json;

use super::electorate::{Electorate, key_in};
use super::tracker::{Heard, Place, Word};
use super::{Attestations, Known, evidence, hash_at};
use crate::head::Head;
use crate::private_file::replace_file;
use crate::projection::Projection;
use crate::writer::lock;

/// How many attestations are taken in before conclusions are drawn.
const HEARD_AT_ONCE: usize = 64;
/// How long to wait before a board that cannot be followed is tried again.
const FOLLOW_RETRY: Duration = Duration::from_millis(500);

impl Projection {
    /// Starts to read what validators publish on `board`, until the projection is closed.
    ///
    /// Must be called within a tokio runtime, once. [`Attestations::is_caught_up`] is false until everything that the
    /// board keeps now has been read.
    pub fn follow_board(&self, board: Arc<dyn Board>) {
        self.attestations().0.behind.store(true, Ordering::Release);
        let runtime = tokio::runtime::Handle::current();
        let projection = self.clone();
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = closing(&projection) => {}
                    () = follow(&projection, &*board) => {}
                }
            });
        };
        match std::thread::Builder::new().name("projection-attestations".into()).spawn(work) {
            Ok(thread) => lock(&self.inner().threads).push(thread),
            Err(error) => {
                tracing::error!(%error, "no thread to read attestations: nothing becomes final here");
            }
        }
    }
}

/// Resolves when the projection is being closed.
async fn closing(projection: &Projection) {
    let mut condition = projection.watch_condition();
    while !projection.inner().closing.load(Ordering::Acquire) {
        // Told also without a change of the condition; see `Projection::close`.
        if condition.changed().await.is_err() {
            return;
        }
    }
}

async fn follow(projection: &Projection, board: &dyn Board) {
    let attestations = projection.attestations();
    let mut heads = projection.subscribe();
    let posts: BoxStream<'static, Posted> = loop {
        match board.follow().await {
            Ok(posts) => break posts,
            Err(LogError::Closed) => break stream::pending().boxed(),
            Err(error) => {
                tracing::warn!(%error, "attestations cannot be followed, trying again");
                tokio::time::sleep(FOLLOW_RETRY).await;
            }
        }
    };
    // A closed board says no more; what it has said is still held against new heads.
    let mut posts = posts.chain(stream::pending()).ready_chunks(HEARD_AT_ONCE);
    let mut in_conflict = false;
    loop {
        let news = tokio::select! {
            news = posts.next() => news.unwrap_or_default(),
            changed = heads.changed() => {
                if changed.is_err() {
                    return;
                }
                Vec::new()
            }
        };
        let head = Arc::clone(&heads.borrow_and_update());
        let Concluded { equivocations, against } = attestations.take(&head, &news);
        for proof in &equivocations {
            let kept = evidence::keep_equivocation(&attestations.0.dir, proof);
            let file = kept.map(|path| path.display().to_string()).unwrap_or_default();
            tracing::error!(file, "a validator has signed two hashes at one height and counts no more");
        }
        if !against.is_empty() && !std::mem::replace(&mut in_conflict, true) {
            let evidence = keep_conflict(projection, &head, &against);
            let text = "more than two thirds of the validators' weight attest blocks that are not on this node's chain: \
                its log was rewritten or is not theirs; compare the evidence with another node";
            projection.degrade("finality_conflict", text, evidence);
        }
    }
}

/// What came out of what was heard.
struct Concluded {
    equivocations: Vec<EquivocationProof>,
    /// Words against this node's chain, if they are of more than two thirds of the weight.
    against: Vec<Word>,
}

impl Attestations {
    fn take(&self, head: &Head, posts: &[Posted]) -> Concluded {
        let mut equivocations = Vec::new();
        let mut known = self.known();
        let known = &mut *known;
        self.advance(known, head);
        for signed in known.tracker.unpark(&known.electorates) {
            equivocations.extend(self.hear(known, signed));
        }
        let mut caught_up = false;
        for posted in posts {
            let Posted::Attestation(bytes) = posted else {
                caught_up = true;
                continue;
            };
            match SignedAttestation::decode(bytes) {
                Ok(signed) => equivocations.extend(self.hear(known, signed)),
                Err(_) => known.refuse("attestation_malformed"),
            }
        }
        let conflict = self.conclude(known);
        if caught_up {
            self.0.behind.store(false, Ordering::Release);
        }
        let against = if conflict { known.tracker.against(&known.electorates) } else { Vec::new() };
        Concluded { equivocations, against }
    }

    /// Comes up to a new head.
    fn advance(&self, known: &mut Known, head: &Head) {
        known.head = head.height();
        let control = head.state.sub_roots()[usize::from(CONTROL)];
        if control == known.control {
            known.electorates.unchanged(known.head);
        } else {
            let newest = Electorate::of(&head.state);
            known.electorates.advance(newest, known.head, |account| key_in(&head.state, account));
            known.control = control;
        }
        let hash_at = |height| hash_at(&self.0.history, height);
        known.tracker.settle(&known.electorates, &Place { head: known.head, hash_at: &hash_at });
    }

    /// Takes in one attestation. The cheap questions come first: only what may count is worth a verification.
    fn hear(&self, known: &mut Known, signed: SignedAttestation) -> Option<EquivocationProof> {
        match self.judge(known, signed) {
            Ok(Heard::New) => known.heard += 1,
            Ok(Heard::Known) => {}
            Ok(Heard::Equivocation(proof)) => return Some(*proof),
            Err(code) => known.refuse(code),
        }
        None
    }

    fn judge(&self, known: &mut Known, signed: SignedAttestation) -> Result<Heard, &'static str> {
        let attestation = Attestation::decode(&signed.attestation).map_err(|_| "attestation_malformed")?;
        let validator = attestation.validator;
        if attestation.chain != self.0.chain {
            return Err("chain_wrong");
        }
        let member = known.electorates.member(&validator).ok_or("validator_unknown")?;
        if known.tracker.is_condemned(&validator) {
            return Err("validator_equivocated");
        }
        if member.key != signed.key {
            known.tracker.park(validator, signed);
            return Err("key_wrong");
        }
        check_attestation(&signed).map_err(|error| error.code())?;
        let hash_at = |height| hash_at(&self.0.history, height);
        let place = Place { head: known.head, hash_at: &hash_at };
        let Attestation { height, header_hash, .. } = attestation;
        Ok(known.tracker.hear(&place, validator, Word { height, header_hash, signed }))
    }
}

impl Known {
    fn refuse(&mut self, code: &'static str) {
        *self.refused.entry(code).or_default() += 1;
    }
}

/// Writes down what validators say against this node's chain, and what this node has there.
fn keep_conflict(projection: &Projection, head: &Head, against: &[Word]) -> Option<PathBuf> {
    let path = projection.dir().join(format!("finality-conflict-{}.json", head.height()));
    if path.exists() {
        return Some(path);
    }
    let words = against.iter().map(|word| {
        let ours = projection.block_record(word.height).ok().flatten();
        json!({
            "height": word.height,
            "header_hash": word.header_hash,
            "message": Blob(codec::encode(&word.signed)),
            "ours": ours.as_ref().map(|record| record.header_hash),
            "our_header": ours.map(|record| Blob(codec::encode(&record.signed))),
        })
    });
    let evidence = json!({
        "code": "finality_conflict",
        "head": { "height": head.height(), "header_hash": head.hash },
        "attestations": words.collect::<Vec<_>>(),
    });
    match replace_file(&path, evidence.to_string().as_bytes()) {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::error!(%error, "the evidence could not be written to {}", path.display());
            None
        }
    }
}
