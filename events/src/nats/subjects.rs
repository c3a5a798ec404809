//! The names a chain has on a NATS server.
//!
//! All of them hold the chain's id, so chains that share a server cannot be taken for each other, and permissions are
//! written for one chain.
//!
//! | name | what |
//! |---|---|
//! | stream `chaoschain-<id>` | the log: subject `chaoschain.<id>.block` |
//! | stream `chaoschain-<id>-attest` | attestations: subjects `chaoschain.<id>.attest.<validator>` |
//! | `chaoschain.<id>.command.…` | submission, answered by command services |
//! | `chaoschain.<id>.query.…` | reads, answered by query services |

use chaoschain_schemas::{AccountId, ChainId};

/// The names of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subjects(ChainId);

impl Subjects {
    /// The names of `chain`.
    pub const fn of(chain: ChainId) -> Self {
        Self(chain)
    }

    /// The name of the stream that is the log.
    pub fn log_stream(self) -> String {
        format!("chaoschain-{}", self.0)
    }

    /// The subject of blocks.
    pub fn block(self) -> String {
        format!("chaoschain.{}.block", self.0)
    }

    /// The name of the stream of attestations.
    pub fn attest_stream(self) -> String {
        format!("chaoschain-{}-attest", self.0)
    }

    /// The subject of every attestation.
    pub fn attest_all(self) -> String {
        format!("chaoschain.{}.attest.*", self.0)
    }

    /// The subject of a validator's attestations.
    pub fn attest(self, validator: &AccountId) -> String {
        format!("chaoschain.{}.attest.{validator}", self.0)
    }

    /// What the subjects of command services start with.
    pub fn command(self) -> String {
        format!("chaoschain.{}.command", self.0)
    }

    /// What the subjects of query services start with.
    pub fn query(self) -> String {
        format!("chaoschain.{}.query", self.0)
    }
}
