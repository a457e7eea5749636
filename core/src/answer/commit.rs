//! The answer to a commit: the leaf rebuilt from what the client sent and the server added.
//!
//! Nothing the server says about the transaction is taken on trust. The operations are encoded again from the
//! keys, values and expiry that were sent, with the revision and previous index that were added; their root
//! must be the leaf's, and the leaf's request id must be that of the idempotency key. So a leaf of somebody
//! else's request, or of other values, cannot pass.

use super::contents::Contents;
use super::error::AnswerError;
use super::transaction::{IncludedTransaction, Meta, Paths, RevealedOperation, TransactionProof, include};
use crate::entry::{
    Leaf, OpKind, Operation, Salt, TransactionLeaf, meta_digest, ops_root, request_id, value_digest,
};
use crate::hash::Hash;
use crate::policy::CertifiedCheckpoint;
use crate::position::{LogIndex, Micros, Revision};

/// A request as the client sent it.
#[derive(Debug, Clone)]
pub struct SentRequest<'a> {
    /// The principal the client is known as; `None` if it does not know.
    pub author: Option<&'a str>,
    /// The idempotency key it chose, 1 to 64 bytes.
    pub idempotency_key: &'a [u8],
    /// Until when it asked the request to be known as done; `None` left that to the server.
    pub not_after: Option<Micros>,
    /// The operations, in order.
    pub operations: Vec<SentOperation<'a>>,
}

/// One operation as the client sent it.
#[derive(Clone)]
pub enum SentOperation<'a> {
    /// Write a value.
    Put {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// Bytes of the value's attributes, may be empty.
        attributes: &'a [u8],
        /// The salt the client drew; `None` leaves it to the leader.
        salt: Option<Salt>,
        /// From when on the value reads as absent.
        expires_at: Option<Micros>,
    },
    /// Delete a key.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// Destroy the value of an earlier write.
    Erase {
        /// The key.
        key: &'a [u8],
        /// Which write.
        revision: Revision,
    },
}

/// Kind, key and lengths only: values have no place in a log file.
impl std::fmt::Debug for SentOperation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = super::error::key_text(self.key());
        match self {
            Self::Put { value, .. } => write!(f, "put {key} ({} bytes)", value.len()),
            Self::Delete { .. } => write!(f, "delete {key}"),
            Self::Erase { revision, .. } => write!(f, "erase {key} revision {revision}"),
        }
    }
}

/// What the server added to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedToOperation {
    /// The write's revision; of an erase, the erased write's.
    pub revision: Revision,
    /// Log index of the key's previous write; of an erase, the erased write's own.
    pub prev_index: Option<LogIndex>,
    /// The salt of a put, where the client sent none.
    pub salt: Option<Salt>,
}

/// What the server answers to a commit, besides checkpoint and inclusion path. Unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitAnswer {
    /// Where the transaction is in the log.
    pub index: LogIndex,
    /// Bytes of its leaf (118).
    pub leaf: Vec<u8>,
    /// The principal the server knows the client as.
    pub author: String,
    /// What was added to each operation, in request order.
    pub operations: Vec<AddedToOperation>,
    /// The transaction's meta.
    pub meta: Meta,
}

/// A leaf that says exactly what was sent. That it is in the log is not shown yet: this is all there is of a
/// write that is committed and not certified, and it is the leader's word.
#[derive(Debug, Clone)]
pub struct RebuiltTransaction {
    index: LogIndex,
    leaf: TransactionLeaf,
    operations: Vec<Operation>,
    contents: Vec<Option<Contents>>,
    meta: Meta,
}

impl SentOperation<'_> {
    /// The key it is about.
    #[must_use]
    pub const fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Erase { key, .. } => key,
        }
    }

    /// The operation that the log must hold, and its contents if it is a put.
    fn rebuild(&self, added: AddedToOperation) -> Result<(Operation, Option<Contents>), AnswerError> {
        let bare = |kind| Operation {
            kind,
            revision: added.revision,
            prev_index: added.prev_index,
            expires_at: None,
            value_len: 0,
            value_digest: Hash::ZERO,
            key: self.key().to_vec(),
        };
        let Self::Put { value, attributes, salt, expires_at, .. } = self else {
            let kind = match self {
                Self::Erase { .. } => OpKind::Erase,
                _ => OpKind::Delete,
            };
            return Ok((bare(kind), None));
        };
        let salt = match (salt, added.salt) {
            (Some(sent), _) => *sent,
            (None, Some(drawn)) => drawn,
            (None, None) => {
                return Err(AnswerError::CommitShape { what: "a salt is missing" });
            }
        };
        let contents = Contents { salt, attributes: attributes.to_vec(), value: value.to_vec() };
        let value_len = u32::try_from(value.len())
            .map_err(|_| AnswerError::CommitShape { what: "a value of 4 GiB or more" })?;
        let operation = Operation {
            expires_at: *expires_at,
            value_len,
            value_digest: value_digest(&salt, attributes, value),
            ..bare(OpKind::Put)
        };
        Ok((operation, Some(contents)))
    }
}

impl SentRequest<'_> {
    /// Rebuilds the leaf from what was sent and what the server added, and compares.
    ///
    /// # Errors
    /// [`AnswerError::AnotherRequest`] if the leaf is not of this idempotency key and author;
    /// [`AnswerError::KeyReused`] if it is, but not of these operations; others if the answer does not fit in
    /// form.
    pub fn rebuild(&self, answer: CommitAnswer) -> Result<RebuiltTransaction, AnswerError> {
        let index = answer.index;
        let Leaf::Transaction(leaf) = Leaf::decode(&answer.leaf)? else {
            return Err(AnswerError::WrongLeaf { index, wanted: "transaction" });
        };
        if self.author.is_some_and(|author| author != answer.author)
            || leaf.request_id != request_id(&answer.author, self.idempotency_key)?
        {
            return Err(AnswerError::AnotherRequest { index });
        }
        if meta_digest(&answer.meta.salt, &answer.meta.bytes) != leaf.meta_digest {
            return Err(AnswerError::WrongMeta { index });
        }
        // From here on the request id is right: what else differs was sent under it by another request.
        if usize::try_from(leaf.op_count) != Ok(self.operations.len()) {
            return Err(AnswerError::KeyReused { index });
        }
        if answer.operations.len() != self.operations.len() {
            return Err(AnswerError::CommitShape { what: "not one addition per operation" });
        }
        let (operations, contents) = self
            .operations
            .iter()
            .zip(answer.operations)
            .map(|(sent, added)| sent.rebuild(added))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip::<Operation, Option<Contents>, Vec<_>, Vec<_>>();
        if ops_root(operations.iter().map(Operation::encode)) != leaf.ops_root {
            return Err(AnswerError::KeyReused { index });
        }
        self.check_erased(&operations)?;
        if self.not_after.is_some_and(|sent| sent != leaf.not_after) {
            return Err(AnswerError::CommitShape {
                what: "the leaf has another not_after than the one sent",
            });
        }
        Ok(RebuiltTransaction { index, leaf, operations, contents, meta: answer.meta })
    }

    /// An erase must be of the write that was named.
    fn check_erased(&self, operations: &[Operation]) -> Result<(), AnswerError> {
        let differs = |(sent, operation): (&SentOperation<'_>, &Operation)| match sent {
            SentOperation::Erase { revision, .. } => *revision != operation.revision,
            SentOperation::Put { .. } | SentOperation::Delete { .. } => false,
        };
        if self.operations.iter().zip(operations).any(differs) {
            return Err(AnswerError::CommitShape { what: "another write was erased than the one named" });
        }
        Ok(())
    }
}

impl RebuiltTransaction {
    /// Where the server says it is in the log.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// The leaf.
    #[must_use]
    pub const fn leaf(&self) -> &TransactionLeaf {
        &self.leaf
    }

    /// The operations as the log must hold them, in request order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The transaction as it is shown to others, with all operations and their contents; `path` is its
    /// inclusion path under a checkpoint.
    #[must_use]
    pub fn into_proof(self, path: Vec<Hash>) -> TransactionProof {
        let revealed = self.operations.iter().zip(self.contents).zip(0_u32..);
        let operations = revealed.map(|((operation, contents), position)| RevealedOperation {
            operation: operation.encode(),
            position,
            path: Vec::new(),
            contents,
        });
        TransactionProof {
            index: self.index,
            leaf: self.leaf.encode().to_vec(),
            path,
            operations: operations.collect(),
            meta: Some(self.meta),
        }
    }

    /// Proves that the leaf is in the log, under a certified checkpoint: the write is certified. The operations need no
    /// second look, since the leaf was rebuilt from them.
    ///
    /// # Errors
    /// [`AnswerError::NotIncluded`], [`AnswerError::NotInTree`].
    pub fn prove(&self, checkpoint: &CertifiedCheckpoint, path: &[Hash]) -> Result<(), AnswerError> {
        include(checkpoint.checkpoint(), self.index, &self.leaf.encode(), path)
    }

    /// The same, giving what is proven.
    ///
    /// # Errors
    /// [`AnswerError::NotIncluded`], [`AnswerError::NotInTree`].
    pub fn included(
        self,
        checkpoint: &CertifiedCheckpoint,
        path: Vec<Hash>,
    ) -> Result<IncludedTransaction, AnswerError> {
        IncludedTransaction::verify(checkpoint.checkpoint(), self.into_proof(path), Paths::MayBeOmitted)
    }
}
