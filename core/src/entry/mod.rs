//! What is in a ledger: the leaves of the log, the operations of a transaction, and their digests.
//!
//! Contract: the encodings here are frozen (`docs/formats.md` §1); one value has exactly one encoding, and
//! `decode` accepts nothing else. All integers are big-endian.
//!
//! - [`TransactionLeaf`] and [`CommitLeaf`] are the two kinds of log leaf. A leaf of another version or type is
//!   [`Leaf::Opaque`]: it counts in the tree, and is never taken for one of the two.
//! - [`Operation`] is one put, delete or erase of one key; the operations of a transaction are the leaves of a
//!   small RFC 6962 tree of their own, whose root ([`ops_root`]) the transaction leaf carries.
//! - [`value_digest`], [`meta_digest`] and [`request_id`] bind what is stored apart from the log: it can be
//!   erased, and every proof still holds.
//!
//! What `decode` does *not* know is context: whether the revision follows the one before, whether the index is
//! the leaf's own. That is for whoever holds the neighbours (`crate::answer`, and the ledger's apply).

mod digest;
mod error;
mod leaf;
mod limits;
mod op;
mod reader;
#[cfg(test)]
mod tests;

pub use digest::{Salt, meta_digest, op_path, op_paths, ops_root, request_id, value_digest};
pub use error::EntryError;
pub use leaf::{CommitLeaf, Leaf, TransactionLeaf};
pub use limits::{
    MAX_AUTHOR, MAX_IDEMPOTENCY_KEY, MAX_KEY_LEN, MAX_LEAF, MAX_LEDGERS_PER_BLOCK, MAX_NOT_AFTER, MAX_OPS,
};
pub use op::{OpKind, Operation};
