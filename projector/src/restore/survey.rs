//! What a log looks like from outside.

use chaoschain_events::log::{EventLog, LogError};
use chaoschain_schemas::{ChainId, Hash, Height, Sequence, Timestamp};
use serde::Serialize;

use super::READ_LIMITS;
use crate::anchor::Seen;

/// How far back from its tip a log is searched for its newest block, messages.
pub const SURVEY_MESSAGES_MAX: u64 = 16 * 1024;

/// What a log looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogSurvey {
    /// Which log.
    pub log: String,
    /// The first message it has.
    pub first: Sequence,
    /// Its last message.
    pub tip: Sequence,
    /// Its newest block, among the last [`SURVEY_MESSAGES_MAX`] messages.
    pub newest: Option<NewestBlock>,
}

/// The newest block of a log, as it says itself: who has signed it was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewestBlock {
    /// Its message.
    pub sequence: Sequence,
    /// Its chain.
    pub chain: ChainId,
    /// Its height.
    pub height: Height,
    /// The hash of its header.
    pub header_hash: Hash,
    /// Its block time.
    pub timestamp: Timestamp,
}

/// Says where a log begins and ends, and what its newest block is; of `chain`, if one is named.
///
/// # Errors
/// [`LogError`].
pub async fn survey(log: &dyn EventLog, chain: Option<ChainId>) -> Result<LogSurvey, LogError> {
    let (first, tip) = (log.first().await?, log.tip().await?);
    let mut newest = None;
    let mut end = tip.0;
    let lowest = first.0.max(tip.0.saturating_sub(SURVEY_MESSAGES_MAX - 1));
    while newest.is_none() && end >= lowest && end > 0 {
        let start = lowest.max(end.saturating_sub(READ_LIMITS.messages as u64 - 1));
        newest = newest_between(log, chain, start, end).await?;
        end = start - 1;
    }
    Ok(LogSurvey { log: log.description(), first, tip, newest })
}

async fn newest_between(
    log: &dyn EventLog,
    chain: Option<ChainId>,
    start: u64,
    end: u64,
) -> Result<Option<NewestBlock>, LogError> {
    let mut newest: Option<NewestBlock> = None;
    let mut next = Sequence(start);
    while next.0 <= end {
        let entries = log.read(next, READ_LIMITS).await?;
        let Some(last) = entries.last() else { break };
        next = last.sequence.next();
        for entry in entries {
            let Some(Seen { header, hash, .. }) = Seen::read(&entry.message) else { continue };
            let wanted = chain.is_none_or(|chain| chain == header.chain) && entry.sequence.0 <= end;
            if wanted && newest.as_ref().is_none_or(|newest| newest.height <= header.height) {
                newest = Some(NewestBlock {
                    sequence: entry.sequence,
                    chain: header.chain,
                    height: header.height,
                    header_hash: hash,
                    timestamp: header.timestamp,
                });
            }
        }
    }
    Ok(newest)
}
