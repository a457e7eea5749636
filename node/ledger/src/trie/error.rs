//! What can go wrong with a trie: only the store.

use quorate_core::hash::Hash;

use crate::view::LedgerId;

/// Why a trie could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrieError<E> {
    /// The store failed.
    #[error(transparent)]
    Source(E),
    /// The store's leaves are not those that the tree was built from.
    #[error(
        "the state leaves of ledger {ledger} from key {} on are damaged: {problem}; stop this node and let it \
         fetch its state from the others",
        hex(first_key)
    )]
    Damaged {
        /// The ledger.
        ledger: LedgerId,
        /// First key of the bucket.
        first_key: Vec<u8>,
        /// What is wrong with its leaves.
        problem: String,
    },
}

/// Why a trie could not be opened from what is stored of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError<E> {
    /// The store failed.
    #[error(transparent)]
    Source(E),
    /// A stored bucket cannot be one.
    #[error("bucket number {number} (from 0) of ledger {ledger} is damaged: {problem}")]
    Bucket {
        /// The ledger.
        ledger: LedgerId,
        /// Which bucket, in key order.
        number: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The buckets do not have the root of the ledger's head.
    #[error(
        "the stored buckets of ledger {ledger} have the state root {found}, its head has {expected}: \
         stop this node and let it fetch its state from the others"
    )]
    Root {
        /// The ledger.
        ledger: LedgerId,
        /// The root of the ledger's head.
        expected: Hash,
        /// The root of the buckets.
        found: Hash,
    },
}

/// A key for people.
fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
