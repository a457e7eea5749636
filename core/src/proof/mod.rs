//! Verifies proofs over a log tree: that a leaf is in it, and that one tree is a prefix of another.
//!
//! A proof is a list of hashes; its length and the side on which each hash goes follow from the positions alone, so
//! nothing in a proof steers the verifier. The length must be exactly that: one hash too many or too few is
//! refused before anything is hashed, and so a proof has one form only. Verifying allocates nothing and
//! costs at most 64 hashes for an inclusion proof, 128 for a consistency proof.
//!
//! A success says: *if* the root given is the root of the tree, then so and so. Where that root comes from,
//! a note signed by enough of the right keys, is the business of [`crate::policy`].
//!
//! The method is that of RFC 9162 §2.1.3.2 and §2.1.4.2, over the trees of RFC 6962 §2.1. The provers are in
//! [`crate::tree`] and share nothing with this module but the hash.

pub mod consistency;
pub mod inclusion;

mod chain;
mod error;

pub use error::ProofError;
