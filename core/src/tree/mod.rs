//! The log tree of RFC 6962 §2.1: the history of a ledger, and what it takes to build proofs over it.
//!
//! A tree of n leaves has the root `MTH`: `H("")` without leaves, the leaf's hash for one, and otherwise
//! `H(0x01 ‖ MTH(first k) ‖ MTH(the rest))`, k the largest power of two smaller than n. A *node* `(level, index)`
//! is the complete subtree over the 2^level leaves from index × 2^level on. Once complete, a node never
//! changes again: it is the same in every larger tree, which is why proofs for any past size can be made from
//! the nodes of the present one.
//!
//! - [`Frontier`] holds the at most 64 nodes that the next root depends on: enough to append.
//! - [`NodeReader`] is all that the provers below ask of a store. They ask for complete nodes only, at most
//!   128 for a proof, and never walk the leaves.
//! - [`root_at`], [`inclusion_path`], [`consistency_path`] build roots and proofs for any size up to the present
//!   one. The verifiers are in [`crate::proof`] and share nothing with them but the hash.
//! - [`tile`] lays nodes out in tiles of 256 (c2sp.org/tlog-tiles), for stores and for readers over HTTP.
//! - [`MemoryTree`] keeps every node in memory: small trees, tests, oracles.

pub mod tile;

mod frontier;
mod memory;
mod node;
mod path;

pub use frontier::{Frontier, FrontierError};
pub use memory::{MemoryTree, MissingNode};
pub use node::{NodeReader, TreeError};
pub use path::{consistency_path, inclusion_path, root_at};
