//! Why an answer is not believed.

use crate::entry::EntryError;
use crate::hash::Hash;
use crate::position::{LogIndex, Revision, TreeSize};
use crate::proof::ProofError;
use crate::state_tree::StateProofError;

/// An answer that does not prove what was asked. Whoever sent it is wrong or lies; the caller asks another
/// replica, and never shows what it got. It is not evidence: nothing here is signed.
///
/// Keys are printed as text with other bytes escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A leaf or an operation is not of the format.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The log index lies beyond the checkpoint.
    #[error(
        "log index {index} is not in the checkpoint's tree of {size} leaves; ask under a later checkpoint"
    )]
    NotInTree {
        /// The index asked about.
        index: LogIndex,
        /// Size of the checkpoint's tree.
        size: TreeSize,
    },
    /// The inclusion path of a leaf does not lead to the checkpoint's root.
    #[error("leaf {index} is not proven to be in the log")]
    NotIncluded {
        /// The leaf's position.
        index: LogIndex,
        /// What is wrong with the path.
        #[source]
        source: ProofError,
    },
    /// The leaf is of another kind than the answer needs.
    #[error("leaf {index} is no {wanted} leaf of this version")]
    WrongLeaf {
        /// The leaf's position.
        index: LogIndex,
        /// `transaction`, `commit`, or `known`.
        wanted: &'static str,
    },
    /// A commit leaf that names another position than its own.
    #[error("the commit leaf at {index} says that its block ends elsewhere")]
    CommitPosition {
        /// Where the leaf is.
        index: LogIndex,
    },
    /// A part without which the answer proves nothing.
    #[error("the answer lacks {part}")]
    Missing {
        /// The part.
        part: &'static str,
    },
    /// A state proof does not hold.
    #[error("the state proof does not hold")]
    StateProof(#[from] StateProofError),
    /// As many state proofs as keys were asked for.
    #[error("the answer has {got} state proofs, the question needs {wanted}")]
    StateProofCount {
        /// How many the question needs.
        wanted: usize,
        /// How many came.
        got: usize,
    },
    /// One transaction twice in one answer.
    #[error("transaction {index} occurs twice in the answer")]
    DuplicateTransaction {
        /// Its position.
        index: LogIndex,
    },
    /// A revealed operation is not proven to be part of its transaction.
    #[error("operation {position} is not proven to be in transaction {index}")]
    OperationNotIncluded {
        /// The transaction.
        index: LogIndex,
        /// The operation's claimed place, from 0.
        position: u32,
        /// What is wrong with the path.
        #[source]
        source: ProofError,
    },
    /// All operations are revealed, and do not give the leaf's `ops_root`.
    #[error("the operations shown for transaction {index} are not the ones it consists of")]
    OperationsRoot {
        /// The transaction.
        index: LogIndex,
    },
    /// Revealed operations must come in ascending order, each once.
    #[error("operation {position} of transaction {index} is out of order or beyond the last")]
    OperationOrder {
        /// The transaction.
        index: LogIndex,
        /// The operation's claimed place, from 0.
        position: u32,
    },
    /// Value, attributes and salt do not fit the digest.
    #[error("the value sent for key \"{key}\" is not the one that was written at {index}")]
    WrongContents {
        /// The key.
        key: String,
        /// The write.
        index: LogIndex,
    },
    /// A put whose value is neither shown nor proven to be erased.
    #[error(
        "the value of key \"{key}\" written at {index} is missing, and nothing proves that it was erased"
    )]
    MissingContents {
        /// The key.
        key: String,
        /// The write.
        index: LogIndex,
    },
    /// The meta does not fit the leaf's digest.
    #[error("the meta sent for transaction {index} is not the one that was committed")]
    WrongMeta {
        /// The transaction.
        index: LogIndex,
    },
    /// The transaction asked for is not in the answer.
    #[error("the answer does not hold transaction {index}")]
    MissingTransaction {
        /// The transaction.
        index: LogIndex,
    },
    /// No transaction in the answer carries this request id.
    #[error("the answer does not hold the transaction of request {request_id}")]
    MissingRequest {
        /// The id asked for.
        request_id: Hash,
    },
    /// A write that the proof needs is not in the answer.
    #[error("the answer lacks the write of key \"{key}\" at {index}")]
    MissingWrite {
        /// The key.
        key: String,
        /// Where the write must be.
        index: LogIndex,
    },
    /// Nothing shows which write came next.
    #[error("nothing proves what became of key \"{key}\" after {after}")]
    MissingNextWrite {
        /// The key.
        key: String,
        /// The log index after which the next write was looked for.
        after: LogIndex,
    },
    /// Two neighbours in a key's history do not fit: something was left out or slipped in.
    #[error("history of key \"{key}\": the write at {index} has revision {got}, its place asks for {wanted}")]
    BrokenChain {
        /// The key.
        key: String,
        /// The write that does not fit.
        index: LogIndex,
        /// The revision its place asks for.
        wanted: Revision,
        /// The revision it has.
        got: Revision,
    },
    /// The newest write shown is not the one of the state tree.
    #[error("the write of key \"{key}\" at {index} differs from the one that the state tree holds")]
    NotNewest {
        /// The key.
        key: String,
        /// The write shown.
        index: LogIndex,
    },
    /// A page that shows nothing new although there is more.
    #[error("the page shows nothing, and does not prove that nothing is left")]
    EmptyPage,
    /// A page that covers another range than the one asked for.
    #[error("the page covers another range than its place in the scan asks for")]
    WrongRange,
    /// The pages of one scan come from different checkpoints.
    #[error("the scan began at size {pinned}, this page is of size {got}; start again or ask at that size")]
    CheckpointMoved {
        /// Size of the first page's checkpoint.
        pinned: TreeSize,
        /// Size of this page's.
        got: TreeSize,
    },
    /// A range whose end is not greater than its first key.
    #[error("the end of a range must be greater than its first key")]
    EmptyRange,
    /// The leaf is of another request than the one sent.
    #[error("transaction {index} belongs to another request than the one that was sent")]
    AnotherRequest {
        /// The transaction that was answered.
        index: LogIndex,
    },
    /// The leaf is of this request id, and not of these operations: the idempotency key was used before.
    #[error(
        "transaction {index} carries the idempotency key that was sent, but other operations: the key was \
         used before, or the answer is wrong; use a new key"
    )]
    KeyReused {
        /// The transaction that the key belongs to.
        index: LogIndex,
    },
    /// The answer to a commit does not fit the request in form.
    #[error("the answer to the commit does not fit what was sent: {what}")]
    CommitShape {
        /// What does not fit.
        what: &'static str,
    },
}

/// A key as text for an error: printable ASCII as it is, all else escaped, and not more than a line of it.
pub(crate) fn key_text(key: &[u8]) -> String {
    const SHOWN: usize = 80;
    match key.get(..SHOWN) {
        Some(head) if key.len() > SHOWN => format!("{}…", head.escape_ascii()),
        _ => key.escape_ascii().to_string(),
    }
}
