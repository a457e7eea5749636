//! The answer to a commit: is it what was sent, and is it in the log?

use prost::Message as _;
use quorate_core::answer::{
    AddedToOperation, AnswerError, CommitAnswer, Contents, IncludedTransaction, Meta, RebuiltTransaction,
    SentOperation, SentRequest, TransactionProof,
};
use quorate_core::entry::Operation;
use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::proof::inclusion;
use quorate_core::receipt::TransactionMeta;
use quorate_proto::convert::{WireError, WireProblem};

use crate::error::Distrust;

/// A transaction that says exactly what was sent.
#[derive(Debug, Clone)]
pub(crate) struct Rebuilt {
    pub(crate) transaction: RebuiltTransaction,
    /// Its inclusion path; verified by [`Rebuilt::certify`].
    path: Vec<Hash>,
}

impl Rebuilt {
    /// Proves that it is in the log under this checkpoint.
    ///
    /// # Errors
    /// [`AnswerError::NotIncluded`], [`AnswerError::NotInTree`].
    pub(crate) fn certify(&self, checkpoint: &CertifiedCheckpoint) -> Result<(), AnswerError> {
        self.transaction.prove(checkpoint, &self.path)
    }

    /// The transaction as others may be shown it.
    pub(crate) fn to_proof(&self) -> TransactionProof {
        self.transaction.clone().into_proof(self.path.clone())
    }
}

/// Rebuilds the transaction from what was sent and what the server added.
///
/// # Errors
/// [`Distrust::Answer`] with [`AnswerError::KeyReused`] if another request was made under this idempotency key: not yet
/// proven, see [`prove_leaf`].
pub(crate) fn rebuild(sent: &SentRequest<'_>, proof: &TransactionProof) -> Result<Rebuilt, Distrust> {
    let meta = proof.meta.clone().ok_or_else(|| WireError::new("transaction.meta", WireProblem::Missing))?;
    let operations = proof.operations.iter().map(|revealed| {
        let operation = Operation::decode(&revealed.operation).map_err(AnswerError::from)?;
        Ok(AddedToOperation {
            revision: operation.revision,
            prev_index: operation.prev_index,
            salt: revealed.contents.as_ref().map(|contents| contents.salt),
        })
    });
    let answer = CommitAnswer {
        index: proof.index,
        leaf: proof.leaf.clone(),
        author: author(&meta)?,
        operations: operations.collect::<Result<_, Distrust>>()?,
        meta,
    };
    Ok(Rebuilt { transaction: sent.rebuild(answer)?, path: proof.path.clone() })
}

/// That a leaf is in the log, before somebody is told that a key was used for it.
///
/// # Errors
/// [`Distrust::Proof`].
pub(crate) fn prove_leaf(proof: &TransactionProof, checkpoint: &CertifiedCheckpoint) -> Result<(), Distrust> {
    let tree = checkpoint.checkpoint();
    Ok(inclusion::verify(&leaf_hash(&proof.leaf), proof.index, tree.size, &proof.path, &tree.root)?)
}

/// Whether a transaction of the log, shown with its contents, wrote what was sent, under other salts: the same
/// request, made again by somebody who did not keep the salts of the first time.
///
/// Gives the salts of then, one per operation; `None` if it wrote something else.
pub(crate) fn same_request_as(
    sent: &[SentOperation<'_>],
    transaction: &IncludedTransaction,
) -> Option<Vec<Option<Contents>>> {
    let shown = transaction.operations();
    if shown.len() != sent.len() {
        return None;
    }
    let same = sent.iter().zip(shown).map(|(sent, shown)| match (sent, shown.contents()) {
        (SentOperation::Put { key, value, attributes, expires_at, .. }, Some(contents)) => {
            let operation = shown.operation();
            let is_same = operation.key == *key
                && operation.expires_at == *expires_at
                && contents.value == *value
                && contents.attributes == *attributes;
            is_same.then(|| Some(contents.clone()))
        }
        (SentOperation::Delete { key }, None) => (shown.operation().key == *key).then_some(None),
        _ => None,
    });
    same.collect()
}

fn author(meta: &Meta) -> Result<String, Distrust> {
    let decoded = TransactionMeta::decode(meta.bytes.as_slice());
    let decoded =
        decoded.map_err(|_| Distrust::NotAsked { what: "its meta is no TransactionMeta message" })?;
    Ok(decoded.author)
}
