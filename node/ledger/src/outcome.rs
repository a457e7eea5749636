//! What became of each request of a block: replicated, part of the answer, the same on every replica.

use std::sync::Arc;

use prost::bytes::Bytes;
use quorate_core::{
    hash::Hash,
    name::LedgerName,
    position::{BlockHeight, LogIndex, Micros, Revision, TreeSize},
};

use crate::registry::CosignerSet;

/// What a block did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockOutcome {
    /// Height of the block.
    pub height: BlockHeight,
    /// One for each request, in order.
    pub requests: Vec<RequestOutcome>,
    /// The checkpoints the block made, one for each ledger that grew.
    pub checkpoints: Vec<NewCheckpoint>,
}

/// A checkpoint that a block made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// The ledger.
    pub ledger: LedgerName,
    /// Its size after the block.
    pub size: TreeSize,
    /// Its log root at that size.
    pub root: Hash,
    /// Its state root at that size.
    pub state_root: Hash,
    /// The time of the commit leaf.
    pub time: Micros,
    /// The cosigner sets of each of which a majority certifies it: the one in force, and the new one too where the block
    /// changes it in `_system`. None before there is a set.
    pub sets: Vec<Arc<CosignerSet>>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestOutcome {
    /// It was committed.
    Committed(Committed),
    /// The same request was committed before, at this index; nothing was done.
    Known {
        /// Log index of the transaction that answers it.
        index: LogIndex,
    },
    /// It was rejected and left nothing.
    Rejected(Rejection),
}

/// A committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Log index of its leaf.
    pub index: LogIndex,
    /// Its leaf, 118 bytes.
    pub leaf: Vec<u8>,
    /// Its encoded operations, in order.
    pub operations: Vec<Bytes>,
    /// Size of the first checkpoint that covers it.
    pub size: TreeSize,
}

/// Why a request was rejected. Rejections are not proven; asked again, a request is judged again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such ledger.
    #[error("ledger {ledger:?} does not exist: create it first")]
    UnknownLedger {
        /// The name asked for.
        ledger: String,
    },
    /// The block's time is later than the request's `not_after`.
    #[error(
        "the request was valid until {not_after} µs and reached the log at {time} µs: send it again with a later not_after"
    )]
    TooLate {
        /// The request's limit.
        not_after: Micros,
        /// The block's time.
        time: Micros,
    },
    /// `not_after` is further ahead than the cluster allows.
    #[error(
        "not_after {not_after} µs is more than {limit_us} µs after the block's time {time} µs: choose an earlier one"
    )]
    TooFarAhead {
        /// The request's limit.
        not_after: Micros,
        /// The block's time.
        time: Micros,
        /// The cluster's setting, microseconds.
        limit_us: u64,
    },
    /// A precondition does not hold.
    #[error("precondition {position} does not hold: {state}")]
    Precondition {
        /// Which, from 0.
        position: u32,
        /// What the key's state is.
        state: KeyState,
    },
    /// A delete of a key that was never written or is already deleted.
    #[error("writes[{position}].delete.key does not exist: {state}")]
    DeleteOfAbsent {
        /// Which write, from 0.
        position: u32,
        /// What the key's state is.
        state: KeyState,
    },
    /// An erase of a revision that the key does not have.
    #[error("writes[{position}].erase: there is no revision {revision}: {state}")]
    EraseOfUnknown {
        /// Which write, from 0.
        position: u32,
        /// The revision asked for.
        revision: Revision,
        /// What the key's state is.
        state: KeyState,
    },
    /// The request itself is malformed; a correct proposer refuses it before it reaches the log.
    #[error("{field}: {problem}")]
    Malformed {
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The cluster continues another one, and its first transaction, which says so, is not in the log yet.
    #[error("the cluster was restored or recovered and is being founded: send the request again in a moment")]
    NotContinued,
    /// The ledger is frozen: it takes no transactions.
    #[error(
        "ledger {ledger} is frozen and takes no writes{}; an operator thaws it (`quorate ledger thaw {ledger}`)",
        because(.reason)
    )]
    Frozen {
        /// The ledger.
        ledger: LedgerName,
        /// Why it was frozen; may be empty.
        reason: String,
    },
    /// The block already touches as many ledgers as a block may.
    #[error("the block touches more than 64 ledgers: send the request again")]
    TooManyLedgers,
}

/// A reason, if there is one, as it stands in a sentence.
fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" (\"{}\")", reason.escape_debug()) }
}

/// The present state of a key, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyState {
    /// Index and revision of the newest write, put or delete.
    pub newest: Option<(LogIndex, Revision)>,
    /// Whether the key exists: put, not deleted, not expired at the block's time.
    pub exists: bool,
}

impl std::fmt::Display for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.newest, self.exists) {
            (None, _) => f.write_str("the key was never written"),
            (Some((index, revision)), true) => {
                write!(f, "the key exists at revision {revision}, written at index {index}")
            }
            (Some((index, revision)), false) => {
                write!(f, "the key is deleted or expired at revision {revision}, written at index {index}")
            }
        }
    }
}
