//! Drama: what happened, for the record.

use serde::{Deserialize, Serialize};

use super::{Payload, check_text};
use crate::limits::ACT_TEXT_BYTES_MAX;
use crate::{AgentId, AllianceId, Timestamp, code_enum};

code_enum! {
    /// What kind of drama it was. Agents record the first two; the others come of what they do.
    DramaKind {
        /// An agent did something.
        Drama = 0,
        /// Somebody stirred things up.
        Chaos = 1,
        /// A member left its alliance with a bang.
        DramaticBreakup = 2,
        /// A member betrayed its alliance.
        Betrayal = 3,
        /// A dissolved alliance was revived.
        Reconciliation = 4,
        /// An agent changed its personality.
        PersonalityShift = 5,
    }
}

/// A drama event. Its id is the address of the transition it came of, which is also where it stands in the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DramaEvent {
    /// What kind it was.
    pub kind: DramaKind,
    /// Who acted, or stirred things up.
    pub agent: AgentId,
    /// The action, or the description.
    pub text: String,
    /// How dramatic it was, 0 to 10.
    pub level: u8,
    /// Block time.
    pub at: Timestamp,
    /// The alliance it was about, if any.
    pub alliance: Option<AllianceId>,
}

/// Records drama of the author's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DramaRecord {
    /// `Drama` or `Chaos`.
    pub kind: DramaKind,
    /// The action, or the description: 1 to [`ACT_TEXT_BYTES_MAX`] bytes.
    pub text: String,
    /// How dramatic it is, 0 to 10.
    pub level: u8,
}

impl Payload for DramaRecord {
    const KIND: u16 = 289;
    const NAME: &'static str = "DramaRecord";

    fn check(&self) -> Result<(), String> {
        check_text("text", &self.text, 1, ACT_TEXT_BYTES_MAX)
    }
}
