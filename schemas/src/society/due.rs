//! Things that block time makes due.

use serde::{Deserialize, Serialize};

use crate::code_enum;

code_enum! {
    /// What is due; part of the key.
    DueKind {
        /// An alliance's time is over.
        AllianceExpiry = 0,
        /// A conflict is decided by what was said until then.
        ConflictDeadline = 1,
    }
}

/// A thing that is due at the time, of the kind and with the id that its key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// How much work it is: the number of members, or of electors and parties.
    pub work: u32,
}
