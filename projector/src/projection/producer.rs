//! The moving side: blocks of the log are taken in, and our own are proposed, confirmed or given up.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use chaoschain_events::block::{BlockError, VerifiedBlock};
use chaoschain_events::envelope::VerifiedEnvelope;
use chaoschain_schemas::{Hash, Sequence, Timestamp};

use super::{Condition, Projection};
use crate::anchor::{Findings, Rival, Seen, report};
use crate::divergence::Diverged;
use crate::fold::{BlockLimits, FoldError, Folded, Producer, Proposed, Verdict};
use crate::head::Head;
use crate::skip::Skipped;
use crate::writer::lock;

/// How many skipped messages of a class are logged; afterwards one of so many.
const SKIPS_TOLD: u64 = 20;
const SKIPS_TOLD_EVERY: u64 = 1000;

/// What became of a block of our own that the log has taken.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// It is the head now.
    Adopted(Arc<Head>),
    /// The follower was quicker and has looked at this sequence already; [`Projection::block_record`] tells whether the
    /// block became history.
    AlreadyFolded,
    /// It was given up as speculative before the log's answer came; the follower will judge it.
    Dropped,
}

/// A message with what verification made of it.
pub(crate) struct Brought {
    pub(crate) sequence: Sequence,
    pub(crate) message: Bytes,
    pub(crate) block: Result<Arc<VerifiedBlock>, BlockError>,
    /// The header hash that the archive had at this height when it was opened.
    pub(crate) archived: Option<Hash>,
}

/// What follows from a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The next one may come.
    GoOn,
    /// It does not fit what was folded: is the log still the same?
    LookAgain,
    /// The projection has stopped.
    Stop,
}

impl Projection {
    /// Seals a block on top of the newest one, our own speculative ones included; see [`Fold::propose`]. Blocks while the
    /// fold is busy.
    ///
    /// # Errors
    /// [`FoldError`].
    pub fn propose(
        &self,
        producer: &Producer,
        now: Timestamp,
        limits: BlockLimits,
        candidates: &[VerifiedEnvelope],
        empty: bool,
    ) -> Result<(Option<Proposed>, Vec<Verdict>), FoldError> {
        let mut fold = lock(&self.0.fold);
        let (proposed, verdicts) = fold.propose(producer, now, limits, candidates, empty)?;
        if let Some(proposed) = &proposed {
            lock(&self.0.own).insert(proposed.header_hash(), Arc::clone(&proposed.block));
        }
        Ok((proposed, verdicts))
    }

    /// Reports that the log has our block at `sequence`. Blocks while the fold is busy.
    pub fn confirm(&self, header_hash: &Hash, sequence: Sequence) -> Confirmed {
        let mut fold = lock(&self.0.fold);
        if fold.head().sequence >= sequence {
            return Confirmed::AlreadyFolded;
        }
        match fold.confirm_if(header_hash, sequence) {
            Some(folded) => {
                let head = Arc::clone(&folded.head);
                self.publish(folded);
                Confirmed::Adopted(head)
            }
            None => Confirmed::Dropped,
        }
    }

    /// Gives up our blocks that the log has not confirmed. Blocks while the fold is busy.
    pub fn drop_speculative(&self) {
        let mut fold = lock(&self.0.fold);
        fold.drop_speculative();
        lock(&self.0.own).clear();
    }

    /// The height and log sequence of the tip that the next proposal stands on; the sequence counts our blocks in
    /// flight as if the log had them in a row.
    pub fn tip(&self) -> (Arc<Head>, usize) {
        let fold = lock(&self.0.fold);
        (Arc::clone(fold.tip()), fold.speculative_len())
    }

    /// Hands a folded block to the writer, then makes it visible, so that whoever sees it finds its receipts. Called with
    /// the fold locked, so in order.
    fn publish(&self, mut folded: Folded) {
        let message = std::mem::take(&mut folded.message);
        if let Some(archive) = &self.0.archive {
            archive.push(folded.head.height(), message);
        }
        let head = Arc::clone(&folded.head);
        lock(&self.0.own).retain(|_, own| own.header().height > head.height());
        self.0.events_folded.fetch_add(folded.ids.len() as u64, Ordering::Relaxed);
        lock(&self.0.retained).push(Arc::clone(&head), folded.changes.len());
        let sequence = head.sequence;
        self.0.writer.folded(folded);
        if self.0.writer.has_failed() {
            self.degrade(
                "store_writer_failed",
                "the writer has ended: nothing is stored any more, restart",
                None,
            );
        }
        self.0.published.send_replace(head);
        self.0.cursor.send_if_modified(|cursor| advance(cursor, sequence));
    }

    /// Folds what a message brought.
    pub(crate) fn take(&self, brought: Brought) -> Taken {
        let Brought { sequence, message, block, archived } = brought;
        let mut fold = lock(&self.0.fold);
        if *self.0.condition.borrow() != Condition::Following {
            return Taken::Stop;
        }
        if fold.head().sequence >= sequence {
            return Taken::GoOn;
        }
        let before = Arc::clone(fold.head());
        let outcome = match &block {
            Ok(block) => fold.fold(sequence, block),
            Err(error) => Err(fold.refusal(error, &message)),
        };
        match outcome {
            Ok(folded) if archived.is_some_and(|archived| archived != folded.head.hash) => {
                self.stop_for_rival(&before, folded.head.as_ref());
                Taken::Stop
            }
            Ok(folded) => {
                self.publish(folded);
                Taken::GoOn
            }
            Err(FoldError::Skip(skip)) => {
                let count = {
                    let mut skipped = lock(&self.0.skipped);
                    let count = skipped.entry(skip.class).or_default();
                    *count += 1;
                    *count
                };
                // Whoever may publish must not fill our disk with log lines; the store has every one.
                if count <= SKIPS_TOLD || count.is_multiple_of(SKIPS_TOLD_EVERY) {
                    tracing::warn!(%sequence, class = skip.class.name(), code = skip.code, count, "{skip}");
                }
                // A producer's block that does not fit ours: it has lost a race, or this is another log.
                let odd = matches!(skip.code, "height_taken" | "parent_wrong" | "height_skipped");
                let (class, code) = (skip.class.name().to_owned(), skip.code.to_owned());
                self.0.writer.skipped(Skipped { sequence, class, code, message: skip.message });
                self.0.cursor.send_if_modified(|cursor| advance(cursor, sequence));
                if odd { Taken::LookAgain } else { Taken::GoOn }
            }
            Err(error) => {
                let diverged = block.ok().and_then(|block| Diverged::of(&error, &block, sequence));
                if let Some(diverged) = diverged {
                    self.0.diverged.get_or_init(|| diverged);
                }
                let evidence = self.write_evidence(sequence, fold.head(), &error, &message);
                self.degrade(error.code(), &error.to_string(), evidence);
                Taken::Stop
            }
        }
    }

    /// Stops because the log has another block than the archive, which had it from the log.
    fn stop_for_rival(&self, last_good: &Head, theirs: &Head) {
        let height = theirs.height();
        let rival = Rival {
            height,
            sequence: theirs.sequence,
            header_hash: theirs.hash,
            signed: theirs.signed.clone(),
        };
        let archived = self.0.archive.as_ref().and_then(|archive| archive.message_blocking(height).ok()?);
        let ours = archived.and_then(|message| Seen::read(&message)).map(|seen| seen.signed);
        let findings = Findings { tip: theirs.sequence, rival: Some(rival), ..Findings::default() };
        let evidence = report(&findings, last_good, ours, "log_rewritten", &self.0.options.dir);
        let message = format!(
            "the log has block {} at height {height}, the block archive has another: the log was rewritten or is another \
             one; put the right one in place",
            theirs.hash
        );
        self.degrade("log_rewritten", &message, evidence);
    }

    /// Stops if the log has ended before what is archived; called when something was folded.
    pub(crate) fn check_archived_tail(&self) -> Taken {
        let archived = self.0.archive.as_ref().and_then(|archive| archive.opened_height());
        let head = self.head();
        let Some(archived) = archived.filter(|archived| *archived > head.height()) else {
            return Taken::GoOn;
        };
        if self.cursor() < self.0.opened_tip {
            return Taken::GoOn;
        }
        let newest = Some((head.height(), head.sequence));
        let findings = Findings { tip: self.0.opened_tip, newest, ..Findings::default() };
        let evidence = report(&findings, &head, None, "log_behind", &self.0.options.dir);
        let message = format!(
            "the log ends at height {} of this chain, the block archive has height {archived}: the log has lost acknowledged \
             blocks; put them back with `log restore`",
            head.height()
        );
        self.degrade("log_behind", &message, evidence);
        Taken::Stop
    }

    /// Our own block of this hash, if we have proposed it and it is not history yet.
    pub(crate) fn own_block(&self, header_hash: &Hash) -> Option<Arc<VerifiedBlock>> {
        lock(&self.0.own).get(header_hash).cloned()
    }
}

fn advance(cursor: &mut Sequence, to: Sequence) -> bool {
    let ahead = *cursor < to;
    *cursor = to.max(*cursor);
    ahead
}
