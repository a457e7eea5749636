//! What a block changes, as data: the store writes it as one batch.

use prost::bytes::Bytes;
use quorate_core::{hash::Hash, position::LogIndex};

use crate::{
    outcome::BlockOutcome,
    view::{ClusterState, KnownRequest, LedgerHead, LedgerId},
};

/// Everything a block changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// The state of the cluster after the block.
    pub cluster: ClusterState,
    /// The ledgers that grew or were born, by ascending id.
    pub ledgers: Vec<LedgerEffects>,
    /// What became of the requests.
    pub outcome: BlockOutcome,
}

/// What a block changes in one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEffects {
    /// The ledger after the block: its size, roots and time.
    pub head: LedgerHead,
    /// Whether the block gave birth to it.
    pub born: bool,
    /// Log index of the first new leaf.
    pub first_index: LogIndex,
    /// The transactions, in log order from `first_index`.
    pub transactions: Vec<TransactionRecord>,
    /// The commit leaf behind them.
    pub commit_leaf: Vec<u8>,
    /// RFC 6962 hashes of the new leaves, the commit leaf's last.
    pub leaf_hashes: Vec<Hash>,
    /// Keys whose newest write this block made, in key order: log index and encoded operation (which ends with the key).
    pub state_leaves: Vec<(LogIndex, Bytes)>,
    /// Of each of these: the write's position in its transaction.
    pub state_positions: Vec<u16>,
    /// Buckets of the state tree that changed, in key order; `None` = the bucket with this first key is gone.
    pub buckets: Vec<BucketChange>,
    /// What is to be destroyed of what earlier blocks wrote. (What the block itself wrote and erased is not in
    /// `transactions` any more.)
    pub erased: Vec<Erasure>,
    /// Requests now known.
    pub requests: Vec<NewRequest>,
}

/// A request that a transaction of the block is the answer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRequest {
    /// The request.
    pub id: Hash,
    /// Log index of the transaction, and until when it is known.
    pub known: KnownRequest,
    /// Whether the view had an earlier transaction of this request, no longer known by now.
    pub again: bool,
}

impl LedgerEffects {
    /// The ledger's number.
    pub fn id(&self) -> LedgerId {
        self.head.id
    }
}

/// A bucket of the state tree that changed: stored under its first key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketChange {
    /// Its first key.
    pub first_key: Vec<u8>,
    /// What is there now.
    pub bucket: Option<BucketSummary>,
}

/// What is stored of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketSummary {
    /// The root of its subtree.
    pub hash: Hash,
    /// How many keys it has.
    pub count: u32,
}

/// A committed transaction with everything that is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Its leaf, 118 bytes.
    pub leaf: Vec<u8>,
    /// Its encoded operations, which share one run of memory.
    pub operations: Vec<Bytes>,
    /// The bytes of its `TransactionMeta`: stored apart, erasable.
    pub meta: Bytes,
    /// The salt of `meta`, 16 bytes.
    pub meta_salt: Bytes,
    /// What each operation wrote, `None` unless it is a put: stored apart, erasable.
    pub contents: Vec<Option<Content>>,
}

/// An erasure of salt, attributes and value, where the write was a put and they are still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Log index of the transaction that wrote them.
    pub index: LogIndex,
    /// The key it wrote them to.
    pub key: Bytes,
}

/// What a put wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// 16 bytes.
    pub salt: Bytes,
    /// The bytes of a `ValueAttributes`.
    pub attributes: Bytes,
    /// The value.
    pub value: Bytes,
}
