//! Entries as blocks: everything checked that one block shows by itself.
//!
//! A [`Block`] can only be had from an archive: its leaves decode, the operations lead to each leaf's `ops_root`, meta
//! and values open their digests, and the commit leaf is where it says. What a block says about those before it
//! (revisions, times, the state root, the log's root) is not checked here.

use bytes::Bytes;
use quorate_core::{
    entry::{CommitLeaf, Leaf, OpKind, Operation, TransactionLeaf, meta_digest, ops_root},
    hash::{Hash, leaf_hash},
    position::LogIndex,
};
use quorate_proto::v1::{Content, LogEntry};

/// The leaves that one block added to a ledger.
#[derive(Debug, Clone)]
pub struct Block {
    transactions: Vec<Transaction>,
    commit: CommitLeaf,
    leaf: Bytes,
    leaf_hashes: Vec<Hash>,
}

/// A transaction of a block.
#[derive(Debug, Clone)]
pub struct Transaction {
    index: LogIndex,
    leaf: TransactionLeaf,
    entry: LogEntry,
    operations: Vec<Operation>,
}

impl Block {
    /// Its transactions, in log order.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// Its commit leaf.
    #[must_use]
    pub const fn commit(&self) -> &CommitLeaf {
        &self.commit
    }

    /// The bytes of its commit leaf.
    #[must_use]
    pub const fn commit_bytes(&self) -> &Bytes {
        &self.leaf
    }

    /// Hashes of its leaves, the commit leaf's last.
    #[must_use]
    pub fn leaf_hashes(&self) -> &[Hash] {
        &self.leaf_hashes
    }

    /// Log index of its first leaf.
    #[must_use]
    pub const fn first(&self) -> LogIndex {
        self.commit.first_index
    }

    /// Its transactions and its commit leaf, taken out.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Transaction>, CommitLeaf) {
        (self.transactions, self.commit)
    }

    /// How many leaves it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leaf_hashes.len()
    }

    /// Never: a block has its commit leaf.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaf_hashes.is_empty()
    }
}

impl Transaction {
    /// Its log index.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// Its leaf.
    #[must_use]
    pub const fn leaf(&self) -> &TransactionLeaf {
        &self.leaf
    }

    /// The bytes of its leaf.
    #[must_use]
    pub const fn leaf_bytes(&self) -> &Bytes {
        &self.entry.leaf
    }

    /// Its operations, in order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The bytes of its operations.
    #[must_use]
    pub fn operation_bytes(&self) -> &[Bytes] {
        &self.entry.operations
    }

    /// What each operation wrote: `None` for deletes and erases, and for puts whose contents were erased.
    pub fn contents(&self) -> impl Iterator<Item = Option<&Content>> {
        self.entry.contents.iter().map(|content| Some(content).filter(|content| !content.salt.is_empty()))
    }

    /// The bytes of its `TransactionMeta`.
    #[must_use]
    pub const fn meta(&self) -> &Bytes {
        &self.entry.meta
    }

    /// The salt of its meta, 16 bytes.
    #[must_use]
    pub const fn meta_salt(&self) -> &Bytes {
        &self.entry.meta_salt
    }

    /// Its leaf, its operations, and the entry as it is stored, taken out. The entry's contents without a salt are none.
    #[must_use]
    pub fn into_parts(self) -> (TransactionLeaf, Vec<Operation>, LogEntry) {
        (self.leaf, self.operations, self.entry)
    }

    /// The entry as it is stored.
    #[must_use]
    pub const fn entry(&self) -> &LogEntry {
        &self.entry
    }
}

/// Makes blocks of consecutive entries.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    next: LogIndex,
    transactions: Vec<Transaction>,
    leaf_hashes: Vec<Hash>,
}

impl Blocks {
    /// Log index of the next entry.
    pub(crate) const fn next(&self) -> LogIndex {
        self.next
    }

    /// Whether the last entry ended a block.
    pub(crate) fn is_between_blocks(&self) -> bool {
        self.leaf_hashes.is_empty()
    }

    /// Adds the next entry; a block, if it ends one.
    pub(crate) fn push(&mut self, entry: LogEntry) -> Result<Option<Block>, String> {
        let index = self.next;
        if entry.index != index.get() {
            return Err(format!("the entry says that it is leaf {}", entry.index));
        }
        self.next = index.next().ok_or_else(|| "a log does not get that long".to_owned())?;
        self.leaf_hashes.push(leaf_hash(&entry.leaf));
        match Leaf::decode(&entry.leaf).map_err(|error| error.to_string())? {
            Leaf::Transaction(leaf) => {
                self.transactions.push(transaction(index, leaf, entry)?);
                Ok(None)
            }
            Leaf::Commit(commit) => self.close(index, commit, entry).map(Some),
            Leaf::Opaque(_) => {
                Err("a leaf of a kind that this version does not know: use a newer one".to_owned())
            }
        }
    }

    fn close(&mut self, index: LogIndex, commit: CommitLeaf, entry: LogEntry) -> Result<Block, String> {
        if !entry.operations.is_empty() || !entry.contents.is_empty() || !entry.meta_salt.is_empty() {
            return Err("a commit leaf with operations, contents or meta".to_owned());
        }
        let transactions = std::mem::take(&mut self.transactions);
        let leaf_hashes = std::mem::take(&mut self.leaf_hashes);
        if commit.index() != Some(index) || usize::try_from(commit.tx_count).ok() != Some(transactions.len())
        {
            return Err(format!(
                "the commit leaf says that its block has {} transactions from {} on, and there are {}",
                commit.tx_count,
                commit.first_index,
                transactions.len()
            ));
        }
        if let Some(other) = transactions.iter().find(|transaction| transaction.leaf.time != commit.time) {
            return Err(format!(
                "the block's time is {}, and transaction {} says {}",
                commit.time, other.index, other.leaf.time
            ));
        }
        Ok(Block { transactions, commit, leaf: entry.leaf, leaf_hashes })
    }
}

/// Checks all that a transaction shows by itself.
fn transaction(index: LogIndex, leaf: TransactionLeaf, entry: LogEntry) -> Result<Transaction, String> {
    if usize::try_from(leaf.op_count).ok() != Some(entry.operations.len())
        || ops_root(&entry.operations) != leaf.ops_root
    {
        return Err("the operations do not lead to the leaf's ops_root".to_owned());
    }
    if entry.contents.len() != entry.operations.len() {
        return Err(format!(
            "contents of {} for {} operations",
            entry.contents.len(),
            entry.operations.len()
        ));
    }
    let salt =
        entry.meta_salt.as_ref().try_into().map_err(|_| "the meta has no salt of 16 bytes".to_owned())?;
    if meta_digest(&salt, &entry.meta) != leaf.meta_digest {
        return Err("the meta does not open the leaf's meta_digest".to_owned());
    }
    let mut operations = Vec::with_capacity(entry.operations.len());
    for (position, (bytes, content)) in entry.operations.iter().zip(&entry.contents).enumerate() {
        let operation = Operation::decode(bytes).map_err(|error| format!("operation {position}: {error}"))?;
        check_content(&operation, content).map_err(|problem| format!("operation {position}: {problem}"))?;
        operations.push(operation);
    }
    Ok(Transaction { index, leaf, entry, operations })
}

fn check_content(operation: &Operation, content: &Content) -> Result<(), String> {
    if content.salt.is_empty() {
        let nothing = content.attributes.is_empty() && content.value.is_empty();
        return if nothing { Ok(()) } else { Err("contents without a salt".to_owned()) };
    }
    if operation.kind != OpKind::Put {
        return Err(format!("contents of a {}", operation.kind));
    }
    let salt = content.salt.as_ref().try_into().map_err(|_| "a salt that has not 16 bytes".to_owned())?;
    if !operation.wrote(&salt, &content.attributes, &content.value) {
        return Err("the contents do not open the operation's value_digest".to_owned());
    }
    Ok(())
}
