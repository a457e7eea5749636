//! Why a change of the members is not made.

use quorate_core::{name::LedgerName, position::NodeId};

use crate::{consensus::ReadError, sequencer::SubmitError, store::faults::StoreFault};

/// Nothing was changed, unless the outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No node of this id ever was.
    #[error(
        "node {0} is no node of this cluster and never was: `quorate member list` shows them; `quorate member invite` makes one"
    )]
    Unknown(NodeId),
    /// It is one that never comes back.
    #[error(
        "node {node} was removed in epoch {epoch}: a removed node never comes back; let its machine join as a new node (`quorate member invite`)"
    )]
    Removed {
        /// The node.
        node: NodeId,
        /// The first epoch without it.
        epoch: u64,
    },
    /// Its state does not allow it.
    #[error("{0}")]
    State(String),
    /// Somebody else was faster.
    #[error(
        "epoch {expected} was expected, and epoch {found} is in force: somebody else changed the members; look at `quorate member list`, then decide again"
    )]
    Epoch {
        /// What the caller expected.
        expected: u64,
        /// What is in force.
        found: u64,
    },
    /// One change at a time.
    #[error(
        "another change of the members is under way ({0}): wait until it is done (`quorate member list`), then ask again"
    )]
    UnderWay(String),
    /// It would vote without knowing what it votes on.
    #[error("node {node} has not caught up: {why}; `quorate member add {node}` waits for it")]
    Behind {
        /// The node.
        node: NodeId,
        /// How far it is.
        why: String,
    },
    /// Nothing could be committed afterwards.
    #[error(
        "this would lose the quorum: {0}; start the silent nodes first, or replace them (`quorate member replace`)"
    )]
    Quorum(String),
    /// No ledger of this name.
    #[error("ledger {0} does not exist: `quorate ledger list` shows the ledgers")]
    UnknownLedger(LedgerName),
    /// The cluster could not go on without it.
    #[error("ledger {0} is the cluster's own and cannot be frozen: freeze the ledgers that clients write to")]
    NotFreezable(LedgerName),
    /// More than a reason.
    #[error("the reason has {bytes} bytes, and {most} are allowed: shorten it")]
    ReasonTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// Somebody else froze or thawed the ledger.
    #[error(
        "the freeze of ledger {ledger} was expected at revision {expected}, and is at {found}: somebody else froze or thawed \
         it; look at `quorate ledger show {ledger}`, then decide again"
    )]
    Freeze {
        /// The ledger.
        ledger: LedgerName,
        /// What the caller expected.
        expected: u64,
        /// What is in force.
        found: u64,
    },
    /// The rules of `_system` are against it.
    #[error("{0}")]
    Rules(String),
    /// It could not be sequenced.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// This node does not know whether it is up to date.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It did not happen in time.
    #[error("{0}")]
    Timeout(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The operating system.
    #[error("{0}")]
    System(String),
}
