//! What a server sends along to prove an answer, and what is left of it once verified.

use std::collections::BTreeMap;

use super::contents::{Content, Contents, Pool};
use super::error::{AnswerError, key_text};
use super::reading::{Absent, Erased, Reading, Value};
use super::state::CertifiedState;
use super::transaction::{
    IncludedOperation, IncludedTransaction, LeafProof, Paths, ProvenWrite, TransactionProof,
};
use crate::entry::{OpKind, Operation};
use crate::hash::Hash;
use crate::policy::CertifiedCheckpoint;
use crate::position::{LogIndex, Micros};
use crate::state_tree::{self, Query, VerifiedAnswer};

/// Everything that proves an answer, besides the checkpoint it is proven under. Unverified.
///
/// One shape for all questions; each question says in its documentation what it needs. What it does not need
/// may be there and is verified all the same, but never shown.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// The commit leaf, leaf `size − 1`: wanted by every question about the state.
    pub commit: Option<LeafProof>,
    /// State proofs (`docs/formats.md` §2), in the order of the keys asked for.
    pub state_proofs: Vec<Vec<u8>>,
    /// Transactions in any order, each once.
    pub transactions: Vec<TransactionProof>,
    /// Contents of puts that the state proofs reveal, in any order.
    pub contents: Vec<Contents>,
    /// For a question as of an earlier log index: the leaf there.
    pub point: Option<LeafProof>,
}

/// A bundle whose every transaction, operation, value and commit leaf is proven under one certified checkpoint.
///
/// The questions are methods of it: [`Proven::get`], [`Proven::get_many`], [`Proven::scan`],
/// [`Proven::history`], [`Proven::transaction`], [`Proven::as_of`]. Each takes what was *asked*, never what the
/// server says was asked.
#[derive(Debug, Clone)]
pub struct Proven {
    checkpoint: CertifiedCheckpoint,
    state: Option<CertifiedState>,
    state_proofs: Vec<Vec<u8>>,
    transactions: BTreeMap<LogIndex, IncludedTransaction>,
    /// key → log index of a write → place among its transaction's shown operations.
    writes: BTreeMap<Vec<u8>, BTreeMap<LogIndex, usize>>,
    /// (key, log index of a write) → where it was erased.
    erasures: BTreeMap<(Vec<u8>, LogIndex), LogIndex>,
    contents: Pool,
    pub(super) point: Option<LeafProof>,
}

impl Proven {
    /// Verifies a bundle under a checkpoint.
    ///
    /// # Errors
    /// [`AnswerError`] at the first part that is not what the checkpoint covers.
    pub fn open(checkpoint: CertifiedCheckpoint, bundle: Bundle) -> Result<Self, AnswerError> {
        let commit = bundle.commit.as_ref();
        let state = commit.map(|proof| CertifiedState::verify(checkpoint.clone(), proof)).transpose()?;
        let mut proven = Self {
            checkpoint,
            state,
            state_proofs: bundle.state_proofs,
            transactions: BTreeMap::new(),
            writes: BTreeMap::new(),
            erasures: BTreeMap::new(),
            contents: Pool::new(bundle.contents),
            point: bundle.point,
        };
        for proof in bundle.transactions {
            proven.add_transaction(proof)?;
        }
        Ok(proven)
    }

    /// The checkpoint all of it is proven under.
    #[must_use]
    pub const fn checkpoint(&self) -> &CertifiedCheckpoint {
        &self.checkpoint
    }

    /// The state at the checkpoint.
    ///
    /// # Errors
    /// [`AnswerError::Missing`] if the answer came without the commit leaf.
    pub fn state(&self) -> Result<&CertifiedState, AnswerError> {
        self.state.as_ref().ok_or(AnswerError::Missing { part: "the commit leaf" })
    }

    /// The transaction at this log index, with the operations that were shown.
    ///
    /// # Errors
    /// [`AnswerError::MissingTransaction`] if the answer holds another, or none.
    pub fn transaction(&self, index: LogIndex) -> Result<&IncludedTransaction, AnswerError> {
        self.transactions.get(&index).ok_or(AnswerError::MissingTransaction { index })
    }

    /// The transaction of a request, asked for by its id ([`crate::entry::request_id`]).
    ///
    /// # Errors
    /// [`AnswerError::MissingRequest`] if no transaction of the answer carries that id.
    pub fn request(&self, request_id: &Hash) -> Result<&IncludedTransaction, AnswerError> {
        self.transactions
            .values()
            .find(|transaction| transaction.leaf().request_id == *request_id)
            .ok_or(AnswerError::MissingRequest { request_id: *request_id })
    }

    /// All transactions of the answer, by ascending log index.
    pub fn transactions(&self) -> impl Iterator<Item = &IncludedTransaction> {
        self.transactions.values()
    }

    /// What an operation of a transaction wrote. An erase wrote nothing: `None`.
    ///
    /// # Errors
    /// [`AnswerError::MissingContents`] for a put whose value is not shown and not proven to be erased.
    pub fn content<'a>(
        &'a self,
        transaction: &IncludedTransaction,
        operation: &'a IncludedOperation,
    ) -> Result<Option<Content<'a>>, AnswerError> {
        match ProvenWrite::new(transaction.index(), operation.operation()) {
            Some(write) => self.content_of(&write, operation.contents()).map(Some),
            None => Ok(None),
        }
    }

    fn add_transaction(&mut self, proof: TransactionProof) -> Result<(), AnswerError> {
        let tree = self.checkpoint.checkpoint();
        let transaction = IncludedTransaction::verify(tree, proof, Paths::MayBeOmitted)?;
        let index = transaction.index();
        for (place, item) in transaction.operations().iter().enumerate() {
            let operation = item.operation();
            if operation.kind.is_write() {
                self.writes.entry(operation.key.clone()).or_default().insert(index, place);
            } else if let Some(written) = operation.prev_index {
                self.erasures.insert((operation.key.clone(), written), index);
            }
        }
        match self.transactions.insert(index, transaction) {
            Some(_) => Err(AnswerError::DuplicateTransaction { index }),
            None => Ok(()),
        }
    }

    /// The state proof number `place` of the answer, verified for this query.
    pub(super) fn query(&self, place: usize, query: &Query) -> Result<VerifiedAnswer, AnswerError> {
        let proof = self.state_proofs.get(place).ok_or(AnswerError::Missing { part: "a state proof" })?;
        let root = &self.state()?.commit().state_root;
        Ok(state_tree::verify(root, query, proof)?)
    }

    /// How many state proofs there are; none is an answer from the log alone.
    pub(super) const fn state_proof_count(&self) -> usize {
        self.state_proofs.len()
    }

    /// The newest write of a key at the checkpoint; `None` if it was never written.
    pub(crate) fn newest(&self, place: usize, key: &[u8]) -> Result<Option<ProvenWrite>, AnswerError> {
        let answer = self.query(place, &Query::Key(key.to_vec()))?;
        // The query asks for one key, so there is one leaf or none.
        answer.leaves().first().map(|leaf| state_write(leaf.index(), leaf.op())).transpose()
    }

    /// The write of this key at this log index, if the answer shows it.
    pub(super) fn write_at(&self, key: &[u8], index: LogIndex) -> Option<(ProvenWrite, Option<&Contents>)> {
        let place = *self.writes.get(key)?.get(&index)?;
        let item = self.transactions.get(&index)?.operations().get(place)?;
        Some((ProvenWrite::new(index, item.operation())?, item.contents()))
    }

    /// The first write of this key after a log index (`None`: at all) that the answer shows.
    pub(super) fn write_after(&self, key: &[u8], after: Option<LogIndex>) -> Option<ProvenWrite> {
        let from = match after {
            Some(index) => index.next()?,
            None => LogIndex::default(),
        };
        let (index, _) = self.writes.get(key)?.range(from..).next()?;
        self.write_at(key, *index).map(|(write, _)| write)
    }

    /// What a write holds: from its transaction, from the contents that came along, or proven to be erased.
    pub(super) fn content_of<'a>(
        &'a self,
        write: &ProvenWrite,
        shown: Option<&'a Contents>,
    ) -> Result<Content<'a>, AnswerError> {
        if write.is_delete() {
            return Ok(Content::Deleted);
        }
        let operation = write.operation();
        if let Some(contents) = shown.or_else(|| self.contents.open(operation)) {
            return Ok(Content::Value(contents));
        }
        self.erasure(write).map(|at| Content::Erased { at }).ok_or_else(|| AnswerError::MissingContents {
            key: key_text(&operation.key),
            index: write.index(),
        })
    }

    /// What a reader sees of a write at a time.
    pub(crate) fn read(&self, write: ProvenWrite, time: Micros) -> Result<Reading, AnswerError> {
        if write.operation().is_expired_at(time) {
            return Ok(Reading::Absent(Absent::Expired(write)));
        }
        let shown = self
            .write_at(write.key(), write.index())
            .filter(|(same, _)| *same == write)
            .and_then(|(_, contents)| contents);
        match self.content_of(&write, shown)? {
            Content::Deleted => Ok(Reading::Absent(Absent::Deleted(write))),
            Content::Erased { at } => Ok(Reading::Erased(Erased::new(write, at))),
            Content::Value(contents) => {
                let contents = contents.clone();
                Ok(Reading::Value(Value::new(write, contents)))
            }
        }
    }

    /// Where a write was erased: an erase operation of this key that names the write's index and revision, in a
    /// later transaction.
    fn erasure(&self, write: &ProvenWrite) -> Option<LogIndex> {
        let at = *self.erasures.get(&(write.key().to_vec(), write.index()))?;
        let erase = self.transactions.get(&at)?.operation_on(write.key())?.operation();
        let fits = erase.kind == OpKind::Erase && erase.revision == write.operation().revision;
        (fits && at > write.index()).then_some(at)
    }
}

/// A leaf of the state tree as a write. The tree of an honest log holds nothing else.
pub(super) fn state_write(index: LogIndex, operation: &Operation) -> Result<ProvenWrite, AnswerError> {
    ProvenWrite::new(index, operation)
        .ok_or_else(|| AnswerError::MissingWrite { key: key_text(&operation.key), index })
}
