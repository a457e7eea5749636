//! All a verifier of a Quorate ledger needs, and nothing else.
//!
//! Everything here is pure: no I/O, no async, no clock, no randomness. The same code runs in the client, in
//! the node, in auditors, tests and fuzzers, so that there is one meaning of "verified".
//!
//! What is verified is a type that only the verifier can make: raw bytes, parsed values and verified values
//! are three different types, and skipping a step does not compile.
//!
//! The formats are those of `docs/formats.md`: RFC 6962 trees, C2SP notes, checkpoints, policies and proofs,
//! and an ordered Merkle crit-bit tree for the present state.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)
)]

pub mod agreement;
pub mod answer;
pub mod block;
pub mod checkpoint;
pub mod entry;
pub mod epochs;
pub mod evidence;
pub mod frozen;
pub mod hash;
pub mod key;
pub mod lineage;
pub mod name;
pub mod note;
pub mod policy;
pub mod position;
pub mod possession;
pub mod proof;
pub mod receipt;
pub mod state_tree;
pub mod tree;
