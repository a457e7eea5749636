//! The parts answers are made of, from one view of one ledger: transactions, contents, leaves, paths.
//!
//! Contract: a [`Prover`] stands at one size of one ledger, which the view has. Everything it gives belongs to the
//! checkpoint of that size; without proofs (`size` is `None`) paths are left out and the rest is the same. Indexes
//! handed in are within the size.

use std::{collections::BTreeMap, sync::Arc};

use quorate_core::{
    answer::{Contents, LeafProof, Meta, RevealedOperation, TransactionProof},
    entry::{Leaf, Operation, Salt},
    hash::{Hash, leaf_hash},
    position::{LogIndex, Micros, TreeSize},
    tree::{MemoryTree, inclusion_path},
};
use quorate_ledger::effects::Content;

use super::errors::Problem;
use crate::store::{
    faults::StoreFault,
    state::{LedgerView, LogRecord, StoredContent, StoredMeta},
};

/// Operations of loaded transactions that are kept, at most.
const MAX_LOADED: usize = 32_768;

/// Which operations of a transaction are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'k> {
    /// All of them, without paths: their root is computed from them.
    All,
    /// The one on this key, with its path, without what it wrote.
    Key(&'k [u8]),
}

/// Makes proofs from one view of one ledger.
pub(crate) struct Prover {
    ledger: Arc<LedgerView>,
    size: Option<TreeSize>,
    loaded: BTreeMap<LogIndex, Loaded>,
    operations_loaded: usize,
}

/// A transaction read from the store: pages show many operations of few transactions.
struct Loaded {
    record: LogRecord,
    path: Vec<Hash>,
    /// The tree of its operations, made when one of several is shown.
    tree: Option<MemoryTree>,
}

/// What is known of what a write holds.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// A put, and its contents.
    Value(Contents),
    /// A delete.
    Nothing,
    /// A put whose contents were destroyed by the transaction at this log index.
    Erased(LogIndex),
}

impl Prover {
    /// Proves under `size`; without it, makes the same answers without proofs.
    pub(crate) fn new(ledger: Arc<LedgerView>, size: Option<TreeSize>) -> Self {
        Self { ledger, size, loaded: BTreeMap::new(), operations_loaded: 0 }
    }

    /// The view.
    pub(crate) fn ledger(&self) -> &LedgerView {
        &self.ledger
    }

    /// Whether proofs are made.
    pub(crate) const fn proves(&self) -> bool {
        self.size.is_some()
    }

    /// The transaction at `index`; `None` if there is a leaf of another kind.
    pub(crate) fn transaction(
        &mut self,
        index: LogIndex,
        shown: Shown<'_>,
    ) -> Result<Option<TransactionProof>, Problem> {
        self.load(index)?;
        let proves = self.size.is_some();
        let Some(loaded) = self.loaded.get_mut(&index) else {
            return Ok(None);
        };
        if loaded.record.operations.is_empty() {
            return Ok(None);
        }
        let operations = match shown {
            Shown::All => all_operations(&loaded.record)?,
            Shown::Key(key) => vec![loaded.operation_on(key, proves)?],
        };
        let (leaf, path) = (loaded.record.leaf.clone(), loaded.path.clone());
        Ok(Some(TransactionProof { index, leaf, path, operations, meta: None }))
    }

    /// The transaction at `index`, which has an operation on `key`, with that operation.
    pub(crate) fn showing(&mut self, index: LogIndex, key: &[u8]) -> Result<TransactionProof, Problem> {
        let found = self.transaction(index, Shown::Key(key))?;
        found.ok_or_else(|| Problem::Fault(misplaced(index, "a transaction has to be here")))
    }

    /// The transaction of a write of `key`, with that operation and what it wrote, and its meta; and the transaction
    /// that erased what it wrote.
    pub(crate) fn write(
        &mut self,
        index: LogIndex,
        key: &[u8],
    ) -> Result<(TransactionProof, Option<TransactionProof>), Problem> {
        let mut transaction = self.showing(index, key)?;
        transaction.meta = meta(&self.ledger, index)?;
        let erased = match self.held(index, key)? {
            Held::Nothing => None,
            Held::Value(contents) => {
                transaction.operations.iter_mut().for_each(|shown| shown.contents = Some(contents.clone()));
                None
            }
            Held::Erased(by) => Some(self.showing(by, key)?),
        };
        Ok((transaction, erased))
    }

    /// What the write of `key` at `index` holds.
    pub(crate) fn held(&self, index: LogIndex, key: &[u8]) -> Result<Held, Problem> {
        Ok(match self.ledger.written(index, key)? {
            StoredContent::Nothing => Held::Nothing,
            StoredContent::Present(content) => Held::Value(contents(content, index)?),
            StoredContent::Erased { by } => Held::Erased(by),
        })
    }

    fn load(&mut self, index: LogIndex) -> Result<(), Problem> {
        if self.loaded.contains_key(&index) {
            return Ok(());
        }
        let record = self.ledger.record(index)?;
        let record = record.ok_or_else(|| misplaced(index, "a leaf has to be here"))?;
        let path = match self.size {
            Some(size) => path(&self.ledger, index, size)?,
            None => Vec::new(),
        };
        if self.operations_loaded > MAX_LOADED {
            self.loaded.clear();
            self.operations_loaded = 0;
        }
        self.operations_loaded = self.operations_loaded.saturating_add(record.operations.len());
        self.loaded.insert(index, Loaded { record, path, tree: None });
        Ok(())
    }
}

impl Loaded {
    fn operation_on(&mut self, key: &[u8], proves: bool) -> Result<RevealedOperation, Problem> {
        let index = self.record.index;
        let operations = &self.record.operations;
        let missing = || misplaced(index, "an operation on the key has to be here");
        let place =
            operations.iter().position(|operation| operation.get(Operation::FIXED_LEN..) == Some(key));
        let place = place.ok_or_else(missing)?;
        let path = if proves && operations.len() > 1 {
            let leaves = operations.iter().map(|operation| leaf_hash(operation));
            let tree = self.tree.get_or_insert_with(|| leaves.collect());
            let leaf = LogIndex::new(u64::try_from(place).map_err(|_| missing())?);
            inclusion_path(tree, leaf, tree.size()).map_err(|error| misplaced(index, error))?
        } else {
            Vec::new()
        };
        revealed(operations, place, path, index)
    }
}

fn all_operations(record: &LogRecord) -> Result<Vec<RevealedOperation>, Problem> {
    let places = 0..record.operations.len();
    places.map(|place| revealed(&record.operations, place, Vec::new(), record.index)).collect()
}

fn revealed(
    operations: &[Vec<u8>],
    place: usize,
    path: Vec<Hash>,
    index: LogIndex,
) -> Result<RevealedOperation, Problem> {
    let position = u32::try_from(place).map_err(|error| misplaced(index, error))?;
    let operation = operations.get(place).cloned();
    let operation = operation.ok_or_else(|| misplaced(index, "an operation has to be here"))?;
    Ok(RevealedOperation { operation, position, path, contents: None })
}

/// The meta of the transaction at `index`; `None` where it was erased.
pub(crate) fn meta(ledger: &LedgerView, index: LogIndex) -> Result<Option<Meta>, Problem> {
    shown_meta(ledger.meta(index)?, index)
}

/// Stored meta for an answer; `None` where it was erased.
pub(crate) fn shown_meta(stored: StoredMeta, index: LogIndex) -> Result<Option<Meta>, Problem> {
    Ok(match stored {
        StoredMeta::Present { meta, salt } => {
            Some(Meta { salt: fixed_salt(&salt, index)?, bytes: meta.to_vec() })
        }
        StoredMeta::Erased { .. } => None,
    })
}

/// Stored contents for an answer.
pub(crate) fn contents(content: Content, index: LogIndex) -> Result<Contents, Problem> {
    Ok(Contents {
        salt: fixed_salt(&content.salt, index)?,
        attributes: content.attributes.into(),
        value: content.value.into(),
    })
}

fn fixed_salt(salt: &[u8], index: LogIndex) -> Result<Salt, Problem> {
    salt.try_into().map_err(|_| Problem::Fault(misplaced(index, "a salt has to have 16 bytes")))
}

/// The inclusion path of a leaf under a size; both are within the view.
pub(crate) fn path(ledger: &LedgerView, index: LogIndex, size: TreeSize) -> Result<Vec<Hash>, Problem> {
    let path = ledger.inclusion_path(index, size)?;
    path.ok_or_else(|| Problem::Fault(misplaced(index, format!("it has to be in the tree of size {size}"))))
}

/// The leaf at `index` and its path under `size`; both are within the view.
pub(crate) fn leaf(ledger: &LedgerView, index: LogIndex, size: TreeSize) -> Result<LeafProof, Problem> {
    let leaf = ledger.leaf(index)?.ok_or_else(|| misplaced(index, "a leaf has to be here"))?;
    Ok(LeafProof { leaf, path: path(ledger, index, size)? })
}

/// The time of the leaf at `index`: by which a reading as of then judges expiry.
pub(crate) fn time_of(ledger: &LedgerView, index: LogIndex) -> Result<Micros, Problem> {
    let leaf = ledger.leaf(index)?.ok_or_else(|| misplaced(index, "a leaf has to be here"))?;
    match Leaf::decode(&leaf) {
        Ok(Leaf::Transaction(leaf)) => Ok(leaf.time),
        Ok(Leaf::Commit(leaf)) => Ok(leaf.time),
        Ok(Leaf::Opaque(_)) => Err(misplaced(index, "a leaf of a known kind has to be here").into()),
        Err(error) => Err(misplaced(index, error).into()),
    }
}

/// The store contradicts itself at a log index.
pub(crate) fn misplaced(index: LogIndex, problem: impl std::fmt::Display) -> StoreFault {
    StoreFault::damaged(format!("the log at index {index}"), problem)
}
