//! What the transition function reads: the state of everything before the block.

use std::{collections::BTreeMap, sync::Arc};

use prost::bytes::Bytes;
use quorate_core::{
    hash::Hash,
    name::{ClusterId, ClusterOrigin, LedgerName},
    position::{BlockHeight, Epoch, LogIndex, Micros, Revision},
    tree::Frontier,
};

use crate::registry::Registry;

/// The number a ledger has in the store of every replica, given in the order of birth: 0 is `_system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub u32);

impl std::fmt::Display for LedgerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// The replicated state of the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterState {
    /// The origin of the cluster; `None` before the first block.
    pub origin: Option<ClusterOrigin>,
    /// Height and hash of the last applied block.
    pub last_block: Option<(BlockHeight, Hash)>,
    /// The cluster's id; `None` before the first block.
    pub id: Option<ClusterId>,
    /// The epoch of the cosigner set in force; 0 before there is one.
    pub epoch: Epoch,
    /// The nodes of the cluster, from the documents of `_system`.
    pub registry: Arc<Registry>,
    /// The replicated settings.
    pub settings: Settings,
    /// The id of the next ledger.
    pub next_ledger: LedgerId,
    /// In a cluster that continues another, until its first transaction: the encoded
    /// [`Lineage`](crate::system::Lineage) that this transaction has to write.
    pub continues: Option<Bytes>,
    /// The ledgers that take no transactions, each with the reason that its document in `_system` gives.
    pub frozen: Arc<BTreeMap<LedgerName, String>>,
}

/// Settings that affect apply: replicated in `_system`, never per-node configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How far after a block's time `not_after` may be, microseconds.
    pub max_not_after_us: u64,
    /// Largest value, bytes.
    pub max_value_len: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_not_after_us: 15 * 60 * 1_000_000, max_value_len: 4 << 20 }
    }
}

/// The state of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerHead {
    /// Its number in the store.
    pub id: LedgerId,
    /// Its name.
    pub name: LedgerName,
    /// The right edge of its log tree, which knows its size and root.
    pub frontier: Frontier,
    /// The time of its last commit leaf.
    pub time: Micros,
    /// The root of its state tree.
    pub state_root: Hash,
}

/// A request that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRequest {
    /// Log index of its transaction.
    pub index: LogIndex,
    /// Until when it is known.
    pub not_after: Micros,
}

/// Reads of the stored state before the block. Every method fails only when the store does: that is a fault which
/// stops the node, never an outcome. What is unreadable is not absent.
pub trait View {
    /// The store's fault.
    type Error;

    /// The state of the cluster.
    fn cluster(&self) -> Result<ClusterState, Self::Error>;

    /// The state of a ledger, `None` where there is none of this name.
    fn ledger(&self, name: &LedgerName) -> Result<Option<Arc<LedgerHead>>, Self::Error>;

    /// The newest transaction with this request id.
    fn request(&self, ledger: LedgerId, request_id: &Hash) -> Result<Option<KnownRequest>, Self::Error>;

    /// The log index of the write of a key that has this revision, `None` where there is none. Asked for erases.
    fn write_index(
        &self,
        ledger: LedgerId,
        key: &[u8],
        revision: Revision,
    ) -> Result<Option<LogIndex>, Self::Error>;
}

/// Reads of state leaves for the state tree: present leaves in key order, one per key ever written.
pub trait LeafSource {
    /// The store's fault.
    type Error;
    /// Reads of one ledger's leaves.
    type Leaves<'s>: LeafCursor<Error = Self::Error>
    where
        Self: 's;

    /// The leaves of a ledger. What is read through one cursor is of one moment.
    fn leaves(&self, ledger: LedgerId) -> Result<Self::Leaves<'_>, Self::Error>;
}

/// Reads of one ledger's state leaves, again and again: what a store prepares for a read, it prepares once.
pub trait LeafCursor {
    /// The store's fault.
    type Error;

    /// Hands up to `count` leaves with keys from `first` on to `each`, in key order: log index, the operation's fixed
    /// part ([`Operation::FIXED_LEN`](quorate_core::entry::Operation::FIXED_LEN) bytes), key. What they hold is not
    /// checked here: the tree's hashes do that.
    fn read(
        &mut self,
        first: &[u8],
        count: usize,
        each: impl FnMut(LogIndex, &[u8], &[u8]),
    ) -> Result<(), Self::Error>;
}
