//! A transaction that is in the log: its leaf under a checkpoint, its operations under its leaf.

use super::contents::Contents;
use super::error::{AnswerError, key_text};
use crate::checkpoint::Checkpoint;
use crate::entry::{EntryError, Leaf, OpKind, Operation, Salt, TransactionLeaf, meta_digest, ops_root};
use crate::hash::{Hash, leaf_hash};
use crate::position::{LogIndex, TreeSize};
use crate::proof::inclusion;

/// A leaf and its RFC 6962 inclusion path, whose index and tree the context names. Unverified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafProof {
    /// Bytes of the leaf.
    pub leaf: Vec<u8>,
    /// Inclusion path, from the leaf's sibling upwards.
    pub path: Vec<Hash>,
}

/// One transaction as a server shows it. Unverified.
///
/// The one shape in which transactions travel: in answers and, with the checkpoint, in receipts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionProof {
    /// Position of the leaf.
    pub index: LogIndex,
    /// Bytes of the transaction leaf (118).
    pub leaf: Vec<u8>,
    /// Inclusion path of the leaf under the checkpoint's root.
    pub path: Vec<Hash>,
    /// The operations shown, by ascending position. If these are all of them, their paths may all be left
    /// empty: the root is then computed from the operations.
    pub operations: Vec<RevealedOperation>,
    /// The transaction's meta, if shown.
    pub meta: Option<Meta>,
}

/// One operation of a transaction as a server shows it. Unverified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevealedOperation {
    /// Its encoding.
    pub operation: Vec<u8>,
    /// Its place among the transaction's operations, from 0.
    pub position: u32,
    /// Inclusion path under the leaf's `ops_root`.
    pub path: Vec<Hash>,
    /// What a put wrote; `None` for other kinds, and if it is not shown.
    pub contents: Option<Contents>,
}

/// Meta of a transaction with the salt of its digest. Unverified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// 16 random bytes.
    pub salt: Salt,
    /// Bytes of `TransactionMeta`.
    pub bytes: Vec<u8>,
}

/// A transaction proven to be in the log, made only by verifying a [`TransactionProof`].
///
/// - `operations()` are proven to be at their positions; whether they are all is `is_complete()`.
/// - Operations of a kind that this version does not know are proven like the others, and only counted.
/// - Contents that are there fit their digests; contents that are not there are just not there.
#[derive(Debug, Clone)]
pub struct IncludedTransaction {
    index: LogIndex,
    leaf: TransactionLeaf,
    operations: Vec<IncludedOperation>,
    opaque: usize,
    meta: Option<Vec<u8>>,
}

/// An operation proven to be part of its transaction.
#[derive(Debug, Clone)]
pub struct IncludedOperation {
    position: u32,
    operation: Operation,
    contents: Option<Contents>,
}

/// Whether operations may come without paths when all are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paths {
    /// Each operation has its path (receipts).
    Required,
    /// All operations together need none (answers).
    MayBeOmitted,
}

impl IncludedTransaction {
    /// Verifies a transaction under a checkpoint.
    ///
    /// # Errors
    /// [`AnswerError`] if the leaf, one of the operations, contents or meta are not what the log holds.
    pub(crate) fn verify(
        checkpoint: &Checkpoint,
        proof: TransactionProof,
        paths: Paths,
    ) -> Result<Self, AnswerError> {
        let index = proof.index;
        include(checkpoint, index, &proof.leaf, &proof.path)?;
        let Leaf::Transaction(leaf) = Leaf::decode(&proof.leaf)? else {
            return Err(AnswerError::WrongLeaf { index, wanted: "transaction" });
        };
        verify_operations(index, &leaf, &proof.operations, paths)?;
        let shown = proof.operations.len();
        let operations = proof
            .operations
            .into_iter()
            .filter_map(|revealed| IncludedOperation::open(index, revealed).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let opaque = shown.saturating_sub(operations.len());
        let meta = proof.meta.map(|meta| open_meta(index, &leaf, meta)).transpose()?;
        Ok(Self { index, leaf, operations, opaque, meta })
    }

    /// Its log index.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// Its leaf: time, request id, roots.
    #[must_use]
    pub const fn leaf(&self) -> &TransactionLeaf {
        &self.leaf
    }

    /// The operations shown, by ascending position.
    #[must_use]
    pub fn operations(&self) -> &[IncludedOperation] {
        &self.operations
    }

    /// How many operations were shown whose kind this version does not know.
    #[must_use]
    pub const fn opaque_operations(&self) -> usize {
        self.opaque
    }

    /// Whether `operations()`, with the opaque ones, are all operations of the transaction.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        usize::try_from(self.leaf.op_count) == Ok(self.operations.len().saturating_add(self.opaque))
    }

    /// The operation on this key, if it is among those shown. A key occurs at most once in a transaction.
    #[must_use]
    pub fn operation_on(&self, key: &[u8]) -> Option<&IncludedOperation> {
        self.operations.iter().find(|item| item.operation.key == key)
    }

    /// Bytes of the transaction's meta, if shown: fits the leaf's digest.
    #[must_use]
    pub fn meta(&self) -> Option<&[u8]> {
        self.meta.as_deref()
    }
}

impl IncludedOperation {
    /// Its place among the transaction's operations, from 0.
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.position
    }

    /// What it does.
    #[must_use]
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// What a put wrote, if shown: fits the operation's digest.
    #[must_use]
    pub const fn contents(&self) -> Option<&Contents> {
        self.contents.as_ref()
    }

    /// `None` for an operation of a later version's kind, shown without contents.
    fn open(index: LogIndex, revealed: RevealedOperation) -> Result<Option<Self>, AnswerError> {
        let operation = match Operation::decode(&revealed.operation) {
            Err(EntryError::ReservedKind { .. }) if revealed.contents.is_none() => return Ok(None),
            decoded => decoded?,
        };
        match &revealed.contents {
            Some(contents) if !contents.opens(&operation) => {
                let key = key_text(&operation.key);
                Err(AnswerError::WrongContents { key, index })
            }
            _ => Ok(Some(Self { position: revealed.position, operation, contents: revealed.contents })),
        }
    }
}

/// Proves a leaf to be at `index` of the checkpoint's tree (RFC 6962 §2.1.1).
pub(crate) fn include(
    checkpoint: &Checkpoint,
    index: LogIndex,
    leaf: &[u8],
    path: &[Hash],
) -> Result<(), AnswerError> {
    let size = checkpoint.size;
    if !size.contains(index) {
        return Err(AnswerError::NotInTree { index, size });
    }
    inclusion::verify(&leaf_hash(leaf), index, size, path, &checkpoint.root)
        .map_err(|source| AnswerError::NotIncluded { index, source })
}

/// Proves the operations to be at their positions under the leaf's `ops_root`.
fn verify_operations(
    index: LogIndex,
    leaf: &TransactionLeaf,
    operations: &[RevealedOperation],
    paths: Paths,
) -> Result<(), AnswerError> {
    let mut free = 0;
    for revealed in operations {
        let position = revealed.position;
        if position < free || position >= leaf.op_count {
            return Err(AnswerError::OperationOrder { index, position });
        }
        free = position.saturating_add(1);
    }
    // Positions ascend below op_count, so this many can only be all of them.
    let complete = usize::try_from(leaf.op_count) == Ok(operations.len());
    if paths == Paths::MayBeOmitted && complete && operations.iter().all(|item| item.path.is_empty()) {
        let root = ops_root(operations.iter().map(|item| &item.operation));
        let same = root == leaf.ops_root;
        return same.then_some(()).ok_or(AnswerError::OperationsRoot { index });
    }
    operations.iter().try_for_each(|revealed| verify_operation(index, leaf, revealed))
}

fn verify_operation(
    index: LogIndex,
    leaf: &TransactionLeaf,
    revealed: &RevealedOperation,
) -> Result<(), AnswerError> {
    // The operations of a transaction are a log tree of their own.
    let size = TreeSize::new(u64::from(leaf.op_count));
    let place = LogIndex::new(u64::from(revealed.position));
    inclusion::verify(&leaf_hash(&revealed.operation), place, size, &revealed.path, &leaf.ops_root)
        .map_err(|source| AnswerError::OperationNotIncluded { index, position: revealed.position, source })
}

fn open_meta(index: LogIndex, leaf: &TransactionLeaf, meta: Meta) -> Result<Vec<u8>, AnswerError> {
    if meta_digest(&meta.salt, &meta.bytes) == leaf.meta_digest {
        Ok(meta.bytes)
    } else {
        Err(AnswerError::WrongMeta { index })
    }
}

/// A write whose place in the log is proven, by its transaction or by the state tree.
///
/// `index()` is the log index of the transaction; the operation is a put or a delete, never an erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenWrite {
    index: LogIndex,
    operation: Operation,
}

impl ProvenWrite {
    /// `None` for an erase, which is no write.
    pub(crate) fn new(index: LogIndex, operation: &Operation) -> Option<Self> {
        operation.kind.is_write().then(|| Self { index, operation: operation.clone() })
    }

    /// Log index of the transaction that wrote.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// The operation: key, revision, previous write, expiry, digest.
    #[must_use]
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The key written.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.operation.key
    }

    /// Whether this write deleted the key.
    #[must_use]
    pub fn is_delete(&self) -> bool {
        self.operation.kind == OpKind::Delete
    }
}
