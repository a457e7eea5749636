//! Refusals: why a message of a peer is not passed on to Raft, and the hook that looks into blocks.

use crate::store::{
    faults::StoreFault,
    log::{LogEntry, LogFault, LogId},
};

use super::{codec::Malformed, envelope::EnvelopeError, machine::InstallError};

/// Looks at the entries of a leader before Raft sees them: proposer's signature, chain, time (formats.md §1).
///
/// Called in the order of arrival, on an async worker: it must be quick. The same entries may come again,
/// and uncommitted ones may be replaced by those of a later leader.
pub trait BlockGuard: Send + Sync + 'static {
    /// Checks entries that follow `prev` (`None`: they start the log).
    ///
    /// # Errors
    /// The reason to refuse all of them.
    fn check(&self, prev: Option<LogId>, entries: &[LogEntry]) -> Result<(), String>;
}

/// Why a message of a peer is refused. The peer gets an error; Raft never learns of the message.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not for this node, or not from who it says.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// No correct peer sends it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The block guard refused an entry.
    #[error("entries refused: {0}")]
    Block(String),
    /// It contradicts what is committed here: one of the two nodes is wrong or lies.
    #[error("the leader has {theirs} (term/index) where {ours} is committed here")]
    Contradiction {
        /// The committed entry.
        ours: LogId,
        /// The leader's.
        theirs: LogId,
    },
    /// A snapshot was not taken.
    #[error("snapshot refused: {0}")]
    Snapshot(String),
    /// This node cannot answer because its own store failed; it stops.
    #[error("this node failed: {0}")]
    Fault(String),
    /// Consensus is not running any more.
    #[error("consensus has stopped")]
    Stopped,
    /// Consensus is not running yet.
    #[error("this node does not take part yet")]
    NotYet,
}

impl From<LogFault> for Refusal {
    fn from(fault: LogFault) -> Self {
        Refusal::Fault(fault.to_string())
    }
}

impl From<InstallError> for Refusal {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Refused(why) => Refusal::Snapshot(why),
            InstallError::Fault(fault) => fault.into(),
        }
    }
}

impl From<StoreFault> for Refusal {
    fn from(fault: StoreFault) -> Self {
        Refusal::Fault(fault.to_string())
    }
}
