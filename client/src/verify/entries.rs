//! The log itself, leaf by leaf, against a certified root.

use std::sync::Arc;

use quorate_core::answer::{AnswerError, Contents};
use quorate_core::entry::{EntryError, Leaf, Operation, TransactionLeaf, meta_digest, ops_root};
use quorate_core::hash::{Hash, leaf_hash};
use quorate_core::policy::CertifiedCheckpoint;
use quorate_core::position::{LogIndex, TreeSize};
use quorate_core::proof::{ProofError, consistency, inclusion};
use quorate_core::tree::Frontier;
use quorate_proto::convert::{EntryParts, LeafAt};

use crate::error::Distrust;
use crate::values::{CommitRecord, LogRecord, OperationRecord, TransactionRecord, Value, author_from_meta};

/// Verifies consecutive leaves: they must lead from a tree that the log begins with to the log's root.
///
/// Everything that is read is kept back until [`LeafCheck::prove`] has shown that the tree so far is a prefix of the
/// certified one, so nothing unproven is ever handed out.
#[derive(Debug)]
pub(crate) struct LeafCheck {
    certified: Arc<CertifiedCheckpoint>,
    tree: Frontier,
    first: LogIndex,
}

impl LeafCheck {
    /// From the first leaf of the log.
    pub(crate) fn from_start(certified: Arc<CertifiedCheckpoint>) -> Self {
        Self { certified, tree: Frontier::new(), first: LogIndex::default() }
    }

    /// From a later leaf. The inclusion path of a tree's last leaf is the right edge of the tree before it; `path`
    /// proves that this last leaf's tree is a prefix of the certified one.
    pub(crate) fn from_leaf(
        certified: Arc<CertifiedCheckpoint>,
        first: &LeafAt,
        path: &[Hash],
    ) -> Result<Self, Distrust> {
        let (index, size) = (first.index, first.size);
        if index.size_through() != Some(size) {
            return Err(Distrust::NotAsked { what: "the proof of another leaf" });
        }
        let hash = leaf_hash(&first.proof.leaf);
        let root = inclusion::root_from_path(&hash, index, size, &first.proof.path)?;
        let tree = certified.checkpoint();
        consistency::verify(size, &root, tree.size, &tree.root, path)?;
        let peaks = first.proof.path.iter().rev().copied().collect();
        let before = TreeSize::new(index.get());
        let tree = Frontier::from_parts(before, peaks)
            .map_err(|_| Distrust::Missing { part: "hashes of the right edge of the tree" })?;
        Ok(Self { certified, tree, first: index })
    }

    /// From a later leaf, by the peaks of the tree before it. They are not proven yet: [`LeafCheck::prove`] does it,
    /// with or without leaves after them.
    pub(crate) fn from_edge(
        certified: Arc<CertifiedCheckpoint>,
        first: LogIndex,
        peaks: Vec<Hash>,
    ) -> Result<Self, Distrust> {
        let tree = Frontier::from_parts(TreeSize::new(first.get()), peaks)
            .map_err(|_| Distrust::Missing { part: "hashes of the right edge of the tree" })?;
        Ok(Self { certified, tree, first })
    }

    /// Goes on under another certified checkpoint, which covers all that was read; nothing of it is proven under this
    /// one yet.
    pub(crate) fn go_on_under(&mut self, certified: Arc<CertifiedCheckpoint>) {
        self.certified = certified;
    }

    /// Size of the tree that has been read.
    pub(crate) const fn size(&self) -> TreeSize {
        self.tree.size()
    }

    /// Size of the certified tree.
    pub(crate) fn goal(&self) -> TreeSize {
        self.certified.checkpoint().size
    }

    /// Adds the next leaf.
    pub(crate) fn push(&mut self, entry: &EntryParts) -> Result<(), Distrust> {
        if entry.index != self.tree.size().next_index() {
            return Err(Distrust::NotAsked { what: "a leaf out of order" });
        }
        self.tree.push(leaf_hash(&entry.leaf));
        Ok(())
    }

    /// Whether the tree is the certified one itself, so that no path is needed.
    pub(crate) fn is_at_goal(&self) -> bool {
        self.size() == self.goal()
    }

    /// Proves that all that has been read is what the log holds. The path is from this size to the certified one.
    pub(crate) fn prove(&self, path: &[Hash]) -> Result<(), Distrust> {
        let (tree, root) = (self.certified.checkpoint(), self.tree.root());
        match consistency::verify(self.size(), &root, tree.size, &tree.root, path) {
            Ok(()) => Ok(()),
            Err(ProofError::WrongRoot { expected, computed, .. }) => {
                Err(Distrust::WrongLeaves { first: self.first, expected, computed })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a proven leaf stands for, with everything that was sent along held against it.
pub(crate) fn record(entry: EntryParts) -> Result<LogRecord, Distrust> {
    let index = entry.index;
    match Leaf::decode(&entry.leaf).map_err(AnswerError::from)? {
        Leaf::Transaction(leaf) => transaction(&leaf, entry).map(LogRecord::Transaction),
        Leaf::Commit(leaf) => Ok(LogRecord::Commit(CommitRecord { index, leaf })),
        Leaf::Opaque(_) => Ok(LogRecord::Opaque { index, leaf: entry.leaf.into() }),
    }
}

fn transaction(leaf: &TransactionLeaf, entry: EntryParts) -> Result<TransactionRecord, Distrust> {
    let index = entry.index;
    if ops_root(&entry.operations) != leaf.ops_root {
        return Err(AnswerError::OperationsRoot { index }.into());
    }
    let author = match &entry.meta {
        Some(meta) if meta_digest(&meta.salt, &meta.bytes) != leaf.meta_digest => {
            return Err(AnswerError::WrongMeta { index }.into());
        }
        meta => meta.as_ref().and_then(|meta| author_from_meta(&meta.bytes)),
    };
    let contents = entry.contents.into_iter().chain(std::iter::repeat(None));
    let operations = entry.operations.iter().zip(contents).zip(0..);
    let operations = operations
        .filter_map(|((bytes, contents), position)| operation(index, position, bytes, contents).transpose());
    Ok(TransactionRecord {
        index,
        time: leaf.time,
        not_after: leaf.not_after,
        request_id: leaf.request_id,
        author,
        op_count: leaf.op_count,
        operations: operations.collect::<Result<_, _>>()?,
    })
}

/// `None` for an operation of a later version's kind.
fn operation(
    index: LogIndex,
    position: u32,
    bytes: &[u8],
    contents: Option<Contents>,
) -> Result<Option<OperationRecord>, Distrust> {
    let operation = match Operation::decode(bytes) {
        Err(EntryError::ReservedKind { .. }) => return Ok(None),
        decoded => decoded.map_err(AnswerError::from)?,
    };
    if contents.as_ref().is_some_and(|contents| !contents.opens(&operation)) {
        let key = operation.key.escape_ascii().to_string();
        return Err(AnswerError::WrongContents { key, index }.into());
    }
    let value = contents.map(|contents| Value::new(index, &operation, contents));
    Ok(Some(OperationRecord::new(position, operation, value)))
}
