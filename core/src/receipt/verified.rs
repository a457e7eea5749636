//! Receipts that hold.

use prost::Message as _;

use super::message::{ReceiptExtra, TransactionMeta};
use super::reveal::revealed_leaves;
use super::{Receipt, ReceiptError};
use crate::answer::{AnswerError, Direction};
use crate::answer::{
    Bundle, CertifiedState, Contents, IncludedTransaction, KeyRange, LeafProof, Page, Paths, Proven,
    ProvenWrite, Reading,
};
use crate::entry::{Leaf, Operation};
use crate::policy::{CertifiedCheckpoint, Policy};

/// A receipt that was verified with a policy. Only [`Receipt::verify`] makes one.
#[derive(Debug, Clone)]
pub enum VerifiedReceipt {
    /// That a transaction was committed.
    Transaction(Box<TransactionReceipt>),
    /// What keys held at a checkpoint.
    State(Box<StateReceipt>),
}

/// Proves that a transaction is in the log, with the operations it shows.
#[derive(Debug, Clone)]
pub struct TransactionReceipt {
    checkpoint: CertifiedCheckpoint,
    transaction: IncludedTransaction,
}

/// Proves what keys held at a checkpoint.
///
/// It answers for the keys that its state proof covers, and refuses to answer for others.
#[derive(Debug, Clone)]
pub struct StateReceipt {
    proven: Proven,
    state: CertifiedState,
    readings: Vec<Reading>,
}

impl VerifiedReceipt {
    pub(super) fn verify(receipt: &Receipt, policy: &Policy) -> Result<Self, ReceiptError> {
        let checkpoint = policy.certify(receipt.note.clone())?;
        match Leaf::decode(&receipt.extra.leaf).map_err(AnswerError::from)? {
            Leaf::Transaction(_) => TransactionReceipt::verify(receipt, checkpoint)
                .map(|receipt| Self::Transaction(Box::new(receipt))),
            Leaf::Commit(_) => {
                StateReceipt::verify(receipt, checkpoint).map(|receipt| Self::State(Box::new(receipt)))
            }
            Leaf::Opaque(_) => Err(ReceiptError::UnknownLeaf),
        }
    }

    /// The certified checkpoint it is proven under.
    #[must_use]
    pub const fn checkpoint(&self) -> &CertifiedCheckpoint {
        match self {
            Self::Transaction(receipt) => &receipt.checkpoint,
            Self::State(receipt) => receipt.proven.checkpoint(),
        }
    }
}

impl TransactionReceipt {
    fn verify(receipt: &Receipt, checkpoint: CertifiedCheckpoint) -> Result<Self, ReceiptError> {
        let proof = receipt.extra.transaction(receipt.index, &receipt.path)?;
        let transaction = IncludedTransaction::verify(checkpoint.checkpoint(), proof, Paths::Required)?;
        Ok(Self { checkpoint, transaction })
    }

    /// The certified checkpoint it is proven under.
    #[must_use]
    pub const fn checkpoint(&self) -> &CertifiedCheckpoint {
        &self.checkpoint
    }

    /// The transaction: its leaf, and the operations shown, with their values.
    #[must_use]
    pub const fn transaction(&self) -> &IncludedTransaction {
        &self.transaction
    }

    /// Who sent the request, by the word of the leader of that time; `None` if the meta is not shown or has no
    /// author.
    #[must_use]
    pub fn author(&self) -> Option<String> {
        let meta = TransactionMeta::decode(self.transaction.meta()?).ok()?;
        Some(meta.author).filter(|author| !author.is_empty())
    }
}

impl StateReceipt {
    fn verify(receipt: &Receipt, checkpoint: CertifiedCheckpoint) -> Result<Self, ReceiptError> {
        let extra = &receipt.extra;
        if checkpoint.checkpoint().size.last_index() != Some(receipt.index) {
            let problem = "a receipt of state is of the last leaf of its checkpoint";
            return Err(ReceiptError::Field { field: "index", problem });
        }
        if extra.meta()?.is_some() {
            let problem = "only a receipt of a transaction has one";
            return Err(ReceiptError::Field { field: "meta", problem });
        }
        let revealed = revealed_leaves(&extra.state_proof);
        let shown = shown_values(extra, &revealed)?;
        let commit = LeafProof { leaf: extra.leaf.clone(), path: receipt.path.clone() };
        let (operations, contents) = shown.into_iter().unzip::<_, _, Vec<_>, _>();
        let bundle = Bundle {
            commit: Some(commit),
            state_proofs: vec![extra.state_proof.clone()],
            contents,
            ..Bundle::default()
        };
        let proven = Proven::open(checkpoint, bundle)?;
        let state = proven.state()?.clone();
        // The question that every proof answers: one of the leaves it reveals. An empty tree reveals none.
        let any_key = revealed.first().map_or_else(Vec::new, |(_, operation)| operation.key.clone());
        proven.newest(0, &any_key)?;
        let readings =
            operations.into_iter().map(|write| proven.read(write, state.time())).collect::<Result<_, _>>()?;
        Ok(Self { proven, state, readings })
    }

    /// The state it is about: checkpoint, state root, time.
    #[must_use]
    pub const fn state(&self) -> &CertifiedState {
        &self.state
    }

    /// The keys whose values the file carries, and what they read as at the checkpoint.
    #[must_use]
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// What a key held at the checkpoint, or the proof that it held nothing.
    ///
    /// # Errors
    /// [`AnswerError`] if the receipt is not about this key.
    pub fn get(&self, key: &[u8]) -> Result<Reading, AnswerError> {
        self.proven.get(key)
    }

    /// All keys of a range at the checkpoint, in ascending order.
    ///
    /// # Errors
    /// [`AnswerError`] if the receipt is not about the whole range.
    pub fn scan(&self, range: &KeyRange) -> Result<Page, AnswerError> {
        self.proven.scan(range, Direction::Ascending, range)
    }
}

/// The values that a receipt of state carries, each of a write that its proof reveals.
fn shown_values(
    extra: &ReceiptExtra,
    revealed: &[(crate::position::LogIndex, Operation)],
) -> Result<Vec<(ProvenWrite, Contents)>, ReceiptError> {
    let mut shown = Vec::with_capacity(extra.operations.len());
    // Both are in the order of the keys, so one walk finds them all, and none twice.
    let mut leaves = revealed.iter();
    for message in &extra.operations {
        if message.position != 0 || !message.path.is_empty() {
            let problem = "an operation of a receipt of state has no place in a transaction";
            return Err(ReceiptError::Field { field: "position", problem });
        }
        let problem = "an operation of a receipt of state has no use without its value";
        let contents = message.contents()?.ok_or(ReceiptError::Field { field: "value", problem })?;
        let (index, operation) = leaves
            .find(|(_, operation)| operation.encode() == message.operation)
            .ok_or(ReceiptError::NotRevealed)?;
        if !contents.opens(operation) {
            let key = crate::answer::key_text(&operation.key);
            return Err(AnswerError::WrongContents { key, index: *index }.into());
        }
        let write = ProvenWrite::new(*index, operation).ok_or(ReceiptError::NotRevealed)?;
        shown.push((write, contents));
    }
    Ok(shown)
}
