//! What is in the log.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use quorate_core::answer::{IncludedTransaction, LeafProof, Proven};
use quorate_core::entry::{CommitLeaf, OpKind, Operation};
use quorate_core::hash::Hash;
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::{LogIndex, Micros, Revision, TreeSize};
use quorate_core::receipt::{Receipt, TransactionMeta};

use super::Value;
use crate::verify::Rebuilt;

/// A transaction that is in the ledger.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its log index.
    pub index: LogIndex,
    /// Size of the ledger at the checkpoint that covers it; where none was waited for, the least that can.
    pub size: TreeSize,
    /// Time of its block.
    pub time: Micros,
    /// The revision of each written key after this transaction, in the order of the writes.
    pub revisions: Vec<Revision>,
    /// The checkpoint that covers it; `None` if certification was not waited for, and then all of this is the
    /// leader's word.
    pub checkpoint: Option<Arc<CertifiedCheckpoint>>,
    /// Whether it was known already: it is the transaction of an earlier request with this idempotency key.
    pub known: bool,
    /// What was verified, for a receipt.
    pub(crate) proof: Option<Arc<Rebuilt>>,
}

impl Committed {
    /// The proof of it, self-contained, values included; `None` if certification was not waited for. It is made when
    /// it is asked for, of what was verified: most writers never look at it.
    #[must_use]
    pub fn receipt(&self) -> Option<Receipt> {
        let (proof, certified) = self.proof.as_ref().zip(self.checkpoint.as_ref())?;
        Some(Receipt::of_transaction(certified.note().clone(), &proof.to_proof()))
    }
}

/// Which transaction is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionId {
    /// The one at this log index.
    Index(LogIndex),
    /// The one of this request.
    Request {
        /// Who asked; `None`: this client.
        author: Option<String>,
        /// The idempotency key it was asked with.
        idempotency_key: Vec<u8>,
    },
}

impl From<LogIndex> for TransactionId {
    fn from(index: LogIndex) -> Self {
        Self::Index(index)
    }
}

/// A leaf of the log with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// A transaction.
    Transaction(TransactionRecord),
    /// The end of a block.
    Commit(CommitRecord),
    /// A leaf of a kind that this version does not know.
    Opaque {
        /// Its log index.
        index: LogIndex,
        /// Its bytes.
        leaf: Bytes,
    },
}

impl LogRecord {
    /// Its log index.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        match self {
            Self::Transaction(record) => record.index,
            Self::Commit(record) => record.index,
            Self::Opaque { index, .. } => *index,
        }
    }
}

/// What a subscription delivers.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A transaction that the subscription is about.
    Transaction(TransactionRecord),
    /// Every transaction below `next` that the subscription is about has been delivered; none was left out.
    UpTo {
        /// Where to subscribe from to go on after this.
        next: LogIndex,
        /// The checkpoint that all of it was proven under.
        checkpoint: Arc<CertifiedCheckpoint>,
    },
}

/// Consecutive leaves of the log, proven; none, where nothing is new but the signatures.
#[derive(Debug, Clone)]
pub struct Segment {
    /// In the order of the log, without gaps, from one segment to the next too.
    pub leaves: Vec<LogLeaf>,
    /// The log index after the last of them.
    pub next: LogIndex,
    /// The checkpoint that they were proven under.
    pub checkpoint: Arc<CertifiedCheckpoint>,
}

/// A leaf as it is in the log, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLeaf {
    /// Its log index.
    pub index: LogIndex,
    /// The leaf: proven.
    pub leaf: Vec<u8>,
    /// Of a transaction, the encoded operations in order, as the replica sent them: whether they hash to the leaf's
    /// `ops_root` is for the reader to check.
    pub operations: Vec<Vec<u8>>,
}

/// The end of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecord {
    /// Log index of its leaf.
    pub index: LogIndex,
    /// Time, first transaction, number of transactions, state root and epoch of the block.
    pub leaf: CommitLeaf,
}

/// A transaction as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Its log index.
    pub index: LogIndex,
    /// Time of its block.
    pub time: Micros,
    /// Until when its request is known as done.
    pub not_after: Micros,
    /// Id of its request.
    pub request_id: Hash,
    /// Who asked, by the word of the leader of then; `None` if it is not shown.
    pub author: Option<String>,
    /// How many operations it has.
    pub op_count: u32,
    /// Its operations, in order, but for those of a kind that this version does not know.
    pub operations: Vec<OperationRecord>,
}

/// An operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRecord {
    /// Its place in the transaction, from 0.
    pub position: u32,
    /// What it does.
    pub kind: OpKind,
    /// To which key.
    pub key: Bytes,
    /// The key's revision with it; of an erase, the erased write's.
    pub revision: Revision,
    /// Log index of the key's previous write; of an erase, of the erased write.
    pub prev_index: Option<LogIndex>,
    /// From when on the value reads as absent.
    pub expires_at: Option<Micros>,
    /// Length of the value in bytes.
    pub value_len: u32,
    /// Digest of the value, its attributes and its salt.
    pub value_digest: Hash,
    /// What a put wrote; `None` if it was not asked for, or was erased.
    pub value: Option<Value>,
}

/// A leaf that is proven to be in the log.
#[derive(Debug, Clone)]
pub struct ProvenInclusion {
    /// Its log index.
    pub index: LogIndex,
    /// The leaf and its inclusion path under the checkpoint.
    pub proof: LeafProof,
    /// The checkpoint.
    pub checkpoint: Arc<CertifiedCheckpoint>,
}

impl OperationRecord {
    pub(crate) fn new(position: u32, operation: Operation, value: Option<Value>) -> Self {
        Self {
            position,
            kind: operation.kind,
            revision: operation.revision,
            prev_index: operation.prev_index,
            expires_at: operation.expires_at,
            value_len: operation.value_len,
            value_digest: operation.value_digest,
            key: operation.key.into(),
            value,
        }
    }
}

impl TransactionRecord {
    /// The transaction at an index of a verified answer.
    pub(crate) fn of(proven: &Proven, included: &IncludedTransaction) -> Self {
        let index = included.index();
        let leaf = included.leaf();
        let operations = included.operations().iter().map(|shown| {
            let contents = match proven.content(included, shown) {
                Ok(Some(quorate_core::answer::Content::Value(contents))) => Some(contents.clone()),
                _ => None,
            };
            let operation = shown.operation();
            let value = contents.map(|contents| Value::new(index, operation, contents));
            OperationRecord::new(shown.position(), operation.clone(), value)
        });
        Self {
            index,
            time: leaf.time,
            not_after: leaf.not_after,
            request_id: leaf.request_id,
            author: author_of(included),
            op_count: leaf.op_count,
            operations: operations.collect(),
        }
    }
}

/// Who asked for a transaction, if its meta is shown.
pub(crate) fn author_of(included: &IncludedTransaction) -> Option<String> {
    author_from_meta(included.meta()?)
}

/// Who asked, as the bytes of a `TransactionMeta` message say it.
pub(crate) fn author_from_meta(meta: &[u8]) -> Option<String> {
    TransactionMeta::decode(meta).ok().map(|meta| meta.author)
}
