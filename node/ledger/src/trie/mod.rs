//! The state tree of a ledger as a node keeps it: small in memory, whatever the number of keys.
//!
//! Contract: the root, and every proof, are those of the plain tree over the same leaves
//! (`docs/formats.md`, "The state tree"). How the tree is cut up leaves no trace in them.
//!
//! The tree is cut into *buckets*: the largest complete subtrees of at most [`MAX_BUCKET_KEYS`] keys. So the cut
//! follows from the set of keys alone, not from the order of writes or from batches.
//!
//! | part | where | how much |
//! |---|---|---|
//! | the branches above the buckets, and each bucket's first key, hash and count | memory | about 280 bytes per bucket, 25 per key |
//! | the buckets' leaves, with all hashes inside | a cache with a fixed bound | at most the bound |
//! | the leaves; each bucket's first key, hash and count | the store ([`LeafSource`](crate::view::LeafSource), [`BucketChange`](crate::effects::BucketChange)) | everything |
//!
//! A writer who makes every key extend the last gets buckets of one key, and pays for them with keys of that length.
//!
//! - [`Trie`] is the newest version, changed once per block: [`Trie::update`] takes the block's leaves in key
//!   order and hashes each branch above them once, however many of them it has below.
//! - [`TrieSnapshot`] is one version. It never changes; it shares with later versions what they did not change.
//!   It must be read with a [`LeafSource`](crate::view::LeafSource) of the same version.
//! - [`Tries`] holds the tries of all ledgers and the one cache they share. A bucket in memory hangs at its node, so
//!   whatever is found there is right for every version that has the node.
//! - [`LeafReader`] reads buckets that are not in memory, and checks them.
//!
//! A bucket whose leaves do not have its hash is a fault of the store ([`TrieError::Damaged`]), found before
//! anything of it is used. A failed update changes nothing.
//!
//! A tree of nested keys may be 9,217 branches deep: nothing here recurses, not even dropping a tree.

mod assemble;
mod bucket;
mod cache;
mod error;
mod node;
mod reader;
mod snapshot;
mod tries;
mod update;
mod walk;

pub use bucket::MAX_BUCKET_KEYS;
pub use error::{OpenError, TrieError};
pub use reader::LeafReader;
pub use snapshot::TrieSnapshot;
pub use tries::{Trie, TrieStats, Tries};
pub use walk::{TrieWalk, WalkNode};
