//! Finding our place in a log: its numbers may have changed, its blocks may not.
//!
//! A sequence is the log's and a height the chain's, and a log that was put back from an archive numbers the same blocks
//! otherwise. So a node whose head does not stand where it was looks for it in the whole log, and begins there. Only if
//! the head is nowhere does it stop, and then it says which of two things happened: the log ends before
//! ([`OpenError::LogBehind`]), or another block stands in the place of one of ours ([`OpenError::LogRewritten`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaoschain_events::log::{Entry, EventLog, LogError, ReadLimits};
use chaoschain_events::signature::verify_one;
use chaoschain_schemas::{
    Blob, ChainId, Hash, Header, Height, PublicKey, SealedBlock, Sequence, SignedHeader, SigningContext,
};
use serde_json::json;

use crate::evidence::{write_fork, write_report};
use crate::genesis::GenesisError;
use crate::head::Head;
use crate::recover::OpenError;
use crate::store::{BlockRecord, Store, StoreError};

/// How many messages are looked at between two reads.
const SCAN_LIMITS: ReadLimits = ReadLimits { messages: 4096, bytes: 8 << 20 };
/// How often a long scan tells where it is.
const SCAN_TELL: Duration = Duration::from_secs(5);
/// How many new places of blocks are stored at a time.
const RENUMBER_ROWS: usize = 16 * 1024;

/// What this node knows of the chain, to compare a log with.
pub(crate) trait History: Sync {
    /// Hash and sealing key of our block at `height`; `None` beyond what is known.
    fn block(&self, height: Height) -> Result<Option<Known>, StoreError>;

    /// The header of our block at `height`.
    fn signed(&self, height: Height) -> Result<Option<SignedHeader>, StoreError>;

    /// Whether a header that this key has signed is one of a producer's.
    fn is_producer(&self, header: &Header, key: &PublicKey) -> bool;
}

/// One of our blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) header_hash: Hash,
    pub(crate) key: PublicKey,
    /// Where it stood when it was folded.
    pub(crate) sequence: Sequence,
}

impl From<&BlockRecord> for Known {
    fn from(record: &BlockRecord) -> Self {
        Self { header_hash: record.header_hash, key: record.signed.key, sequence: record.sequence }
    }
}

/// A producer's block that stands where the log should have one of ours.
#[derive(Clone, Debug)]
pub(crate) struct Rival {
    pub(crate) height: Height,
    pub(crate) sequence: Sequence,
    pub(crate) header_hash: Hash,
    pub(crate) signed: SignedHeader,
}

/// A message read as a block, without its events.
pub(crate) struct Seen {
    pub(crate) header: Header,
    pub(crate) hash: Hash,
    pub(crate) signed: SignedHeader,
}

impl Seen {
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let sealed = SealedBlock::decode(message).ok()?;
        let header = Header::decode(sealed.header).ok()?;
        let signed = SignedHeader {
            header: Blob::from(&sealed.header[..]),
            key: sealed.key,
            signature: sealed.signature,
        };
        Some(Self { header, hash: Header::hash_of(sealed.header), signed })
    }

    /// Whether the signature holds under the key that the message carries.
    pub(crate) fn is_signed(&self) -> bool {
        let SignedHeader { header, key, signature } = &self.signed;
        verify_one(SigningContext::Header, key, signature, header).is_ok()
    }
}

/// Compares a log with a history, message by message, as the fold would go through it: in order of height, skipping
/// what is not the next block.
pub(crate) struct Walk<'a> {
    chain: ChainId,
    history: &'a dyn History,
    /// The height that is looked for; none until a block of ours was seen in a log whose beginning is gone.
    next: Option<Height>,
    parent: Hash,
    /// The newest block of ours that was found.
    pub(crate) newest: Option<(Height, Sequence)>,
    /// A producer's block at the height that is looked for.
    pub(crate) rival: Option<Rival>,
    /// The newest block that continues our history beyond what we know.
    pub(crate) ahead: Option<Height>,
    /// The chain whose genesis block the log begins with, where it is not ours.
    pub(crate) stranger: Option<ChainId>,
}

impl<'a> Walk<'a> {
    /// A walk from the log's first message on.
    pub(crate) fn new(chain: ChainId, history: &'a dyn History, first: Sequence) -> Self {
        let next = (first <= Sequence(1)).then_some(Height::GENESIS);
        Self {
            chain,
            history,
            next,
            parent: Hash::ZERO,
            newest: None,
            rival: None,
            ahead: None,
            stranger: None,
        }
    }

    /// Looks at the next message; the block's height and what was known of it, if it is the next one of our history.
    pub(crate) fn look(&mut self, entry: &Entry) -> Result<Option<(Height, Known)>, StoreError> {
        let Some(seen) = Seen::read(&entry.message) else { return Ok(None) };
        let height = seen.header.height;
        if seen.header.chain != self.chain {
            if height == Height::GENESIS {
                self.stranger.get_or_insert(seen.header.chain);
            }
            return Ok(None);
        }
        if self.next.is_some_and(|next| next != height) {
            return Ok(None);
        }
        let follows = self.next.is_none() || seen.header.parent == self.parent;
        let is_producers = |known: Option<&Known>| {
            let key = &seen.signed.key;
            let sealed = known.is_some_and(|known| known.key == *key);
            (sealed || self.history.is_producer(&seen.header, key)) && seen.is_signed()
        };
        match self.history.block(height)? {
            Some(known) if known.header_hash == seen.hash => {
                self.advance(height, seen.hash);
                self.newest = Some((height, entry.sequence));
                // What was not known in between is behind now, and so was ours too.
                self.ahead = None;
                return Ok(Some((height, known)));
            }
            Some(known) => {
                if self.rival.is_none() && follows && is_producers(Some(&known)) {
                    let (sequence, header_hash) = (entry.sequence, seen.hash);
                    self.rival = Some(Rival { height, sequence, header_hash, signed: seen.signed });
                }
            }
            None => {
                if self.next.is_some() && follows && is_producers(None) {
                    self.ahead = Some(height);
                    self.advance(height, seen.hash);
                }
            }
        }
        Ok(None)
    }

    fn advance(&mut self, height: Height, hash: Hash) {
        self.next = Some(height.next());
        self.parent = hash;
        self.rival = None;
    }
}

/// What became of our history in a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) first: Sequence,
    pub(crate) tip: Sequence,
    /// The newest block of ours that it has, and where.
    pub(crate) newest: Option<(Height, Sequence)>,
    pub(crate) rival: Option<Rival>,
    pub(crate) stranger: Option<ChainId>,
}

impl Findings {
    /// The header of ours in whose place the rival stands.
    pub(crate) fn ours(&self, history: &dyn History) -> Option<SignedHeader> {
        let rival = self.rival.as_ref()?;
        history.signed(rival.height).unwrap_or_else(|error| {
            tracing::error!(%error, height = %rival.height, "our own header cannot be read");
            None
        })
    }
}

/// Goes through the log from its first message to our block at `until`, or to its end. `found` is told of every block of
/// ours: its height, what is known of it, and where it stands.
pub(crate) async fn examine(
    log: &dyn EventLog,
    history: &dyn History,
    chain: ChainId,
    until: Height,
    found: &mut (dyn FnMut(Height, &Known, Sequence) -> Result<(), StoreError> + Send),
) -> Result<Findings, OpenError> {
    let (first, tip) = (log.first().await?, log.tip().await?);
    let mut walk = Walk::new(chain, history, first);
    let mut next = first;
    let mut told = Instant::now();
    'scan: while next <= tip {
        let entries = log.read(next, SCAN_LIMITS).await?;
        let Some(last) = entries.last() else { break };
        next = last.sequence.next();
        for entry in &entries {
            if let Some((height, known)) = walk.look(entry)? {
                found(height, &known, entry.sequence)?;
                if height >= until {
                    break 'scan;
                }
            }
        }
        if told.elapsed() >= SCAN_TELL {
            told = Instant::now();
            tracing::info!(sequence = %next, %tip, "looking for our head in the log");
        }
    }
    let Walk { newest, rival, stranger, .. } = walk;
    Ok(Findings { first, tip, newest, rival, stranger })
}

/// What a store and its head know.
struct Stored<'a> {
    store: &'a Store,
    head: &'a Head,
}

impl History for Stored<'_> {
    fn block(&self, height: Height) -> Result<Option<Known>, StoreError> {
        Ok(self.store.block(height)?.as_ref().map(Known::from))
    }

    fn signed(&self, height: Height) -> Result<Option<SignedHeader>, StoreError> {
        Ok(self.store.block(height)?.map(|record| record.signed))
    }

    fn is_producer(&self, header: &Header, key: &PublicKey) -> bool {
        crate::fold::is_producer(self.head, header.producer, key)
    }
}

/// Whether the log has our head where it was folded from. Also if that place was compacted away: then the log cannot say
/// otherwise.
pub(crate) async fn is_in_place(log: &dyn EventLog, head: &Head) -> Result<bool, LogError> {
    let limits = ReadLimits { messages: 1, ..ReadLimits::default() };
    let entry = match log.read(head.sequence, limits).await {
        Ok(entries) => entries.into_iter().find(|entry| entry.sequence == head.sequence),
        Err(LogError::Compacted { .. }) => return Ok(true),
        Err(error) => return Err(error),
    };
    let found = entry.and_then(|entry| {
        SealedBlock::decode(&entry.message).ok().map(|sealed| Header::hash_of(sealed.header))
    });
    Ok(found == Some(head.hash))
}

/// Finds our head in the log; where it stands now, and `None` if that is where it was. New places are stored.
///
/// # Errors
/// [`OpenError`], with evidence in `dir`, when the log does not have it.
pub(crate) async fn anchor(
    log: &dyn EventLog,
    store: &Store,
    head: &Arc<Head>,
    dir: &Path,
) -> Result<Option<Sequence>, OpenError> {
    let (first, tip) = (log.first().await?, log.tip().await?);
    let folded = head.sequence;
    if tip >= folded && first <= folded && is_in_place(log, head).await? {
        return Ok(None);
    }
    tracing::warn!(
        %first, %tip, %folded, height = %head.height(),
        "the log does not have our head where it was folded from: looking for it"
    );
    let chain = head.header.chain;
    let history = Stored { store, head };
    let mut moved: Vec<(Height, Sequence)> = Vec::new();
    let findings = examine(log, &history, chain, head.height(), &mut |height, known, sequence| {
        if known.sequence != sequence {
            moved.push((height, sequence));
        }
        if moved.len() >= RENUMBER_ROWS {
            store.renumber(&moved, None)?;
            moved.clear();
        }
        Ok(())
    })
    .await?;
    match findings.newest {
        Some((height, sequence)) if height == head.height() => {
            store.renumber(&moved, Some(sequence))?;
            tracing::warn!(%height, was = %folded, now = %sequence, "the log has our head under another number");
            Ok(Some(sequence))
        }
        // Compacted beyond our head, and nothing that is left contradicts us: that is how compaction is meant.
        None if first > folded && tip >= folded && findings.rival.is_none() => Ok(None),
        _ => Err(lost(findings, head, &history, dir)),
    }
}

/// The error for a log that does not have our head, with its evidence written.
fn lost(findings: Findings, head: &Head, history: &dyn History, dir: &Path) -> OpenError {
    if let (None, None, Some(found)) = (findings.newest, &findings.rival, findings.stranger) {
        return GenesisError::ChainWrong { wanted: head.header.chain, found }.into();
    }
    let (height, folded, tip) = (head.height(), head.sequence, findings.tip);
    let code = if findings.rival.is_some() { "log_rewritten" } else { "log_behind" };
    let ours = findings.ours(history);
    let expected = ours.as_ref().map_or(Hash::ZERO, |ours| Header::hash_of(&ours.header));
    let evidence = report(&findings, head, ours, code, dir);
    let Some(rival) = findings.rival else {
        let log_height = findings.newest.map(|(height, _)| height);
        return OpenError::LogBehind { tip, log_height, folded, height, evidence };
    };
    OpenError::LogRewritten {
        sequence: rival.sequence,
        height: rival.height,
        expected,
        found: rival.header_hash,
        evidence,
    }
}

/// Writes what was found into `dir`: a report, and where there is a rival of `ours` the proof of the fork.
pub(crate) fn report(
    findings: &Findings,
    head: &Head,
    ours: Option<SignedHeader>,
    code: &str,
    dir: &Path,
) -> Option<PathBuf> {
    let rival = findings.rival.as_ref().map(|rival| {
        let proof = ours.clone().and_then(|ours| write_fork(dir, rival.height, ours, rival.signed.clone()));
        json!({
            "height": rival.height,
            "sequence": rival.sequence,
            "ours": ours.map(|ours| Header::hash_of(&ours.header)),
            "theirs": rival.header_hash,
            "theirs_signed": rival.signed,
            "proof": proof,
        })
    });
    let newest = findings.newest.map(|(height, sequence)| json!({ "height": height, "sequence": sequence }));
    let evidence = json!({
        "code": code,
        "chain": head.header.chain,
        "last_good": {
            "height": head.height(),
            "header_hash": head.hash,
            "state_root": head.header.state_root,
            "sequence": head.sequence,
            "signed": head.signed,
        },
        "log": {
            "first": findings.first,
            "tip": findings.tip,
            "newest_of_ours": newest,
            "begins_with_chain": findings.stranger,
        },
        "rival": rival,
    });
    write_report(dir, &format!("evidence-log-{}", head.height()), &evidence)
}
